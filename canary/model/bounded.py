"""Numbers and texts within bounds, of which the members of a status are made."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated

from pydantic import Field, PlainSerializer

from canary.model.values import decimal_text


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


Number = Annotated[float, Field(allow_inf_nan=False), PlainSerializer(_whole)]
"""Written without a fraction where it has none: 50, not 50.0."""
Percent = Annotated[Number, Field(ge=0, le=100)]
MOST_COUNTED = 1e15
"""More than any counter says."""
Count = Annotated[Number, Field(ge=0, le=MOST_COUNTED)]
Text = Annotated[str, Field(max_length=1024)]

MAX_RUNS = 1_000_000_000
"""More runs than any Rollout has; what says more is not ours."""


def percent_text(value: float) -> str:
    """Write a share of the status for people: `50 %`, `0.5 %`."""
    return f"{decimal_text(Fraction(str(value)))} %"
