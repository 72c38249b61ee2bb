"""What a comparison can say after the looks so far. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What is proved so far."""

    FAIL = "Fail"
    GOOD = "Good"
    INCONCLUSIVE = "Inconclusive"
    NOT_APPLICABLE = "NotApplicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """What stands, why in a word, and a sentence for people."""

    standing: Standing
    reason: str
    message: str
