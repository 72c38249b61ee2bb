"""What is found, how bad it is, and where in which file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

Path = tuple[str | int, ...]
"""The way to a field: `("spec", "checks", 0, "window")`."""


class Severity(StrEnum):
    """How bad. A note says what was not looked at, or what may be better otherwise, and never fails anything."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(StrEnum):
    """What was looked at."""

    YAML = "yaml"
    SCHEMA = "schema"
    CEL = "cel"
    PLAN = "plan"
    TEMPLATE = "template"
    QUERY = "query"
    CONDITION = "condition"
    PROMQL = "promql"
    ROUTE = "route"
    SERVICE = "service"
    WORKLOAD = "workload"
    RIVAL = "rival"
    GRANT = "grant"
    TARGET = "target"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about one place. `line` and `column` count from 1; 0 means that the place is not known."""

    severity: Severity
    rule: Rule
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    subject: str = ""
    """The object, such as `Rollout team-shop/shop`."""
    field: str = ""
    advice: str = ""
    """What to do about it, where the message does not say it already."""
    reason: str = ""
    """What is the matter, by a name to go by, where there is one: those of a preflight, and those of routes."""

    @property
    def id(self) -> str:
        """What stays the same about all findings of its sort: its reason, else what was looked at."""
        return self.reason or self.rule.value

    @property
    def text(self) -> str:
        """Message and advice as one line."""
        return f"{self.message}; {self.advice}" if self.advice else self.message


def field_of(path: Path) -> str:
    """A path as people write it: `spec.checks[0].window`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_PART = re.compile(r"\[(\d+)\]|([^.\[\]]+)")


def path_of(field: str) -> Path:
    """The opposite of `field_of`, for fields whose names have no dots and brackets."""
    return tuple(int(index) if index else name for index, name in _PART.findall(field))
