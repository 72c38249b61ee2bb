"""What comes of an attempt to tell somebody. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivered:
    """It arrived, as far as the receiver says so."""

    reason = "Delivered"
    message: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    """It did not, or nobody can tell. `retryable`: the same attempt may succeed later without anybody editing anything.

    `retry_after`: seconds that the receiver asked for.
    """

    reason: str
    message: str
    retryable: bool = False
    retry_after: float | None = None


Outcome = Delivered | Undelivered
