"""How large the canary workload has to be for the share that it gets, and what becomes of it after a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from canary.model.base import ApiModel
from canary.model.values import Duration, _Parsed, number_or_string

MOST_REPLICAS = 1000
"""More than a canary is ever given: a record that somebody forged orders no fleet."""

MATCH_SHARE = "MatchShare"
SIZE_PATTERN = rf"^({MATCH_SHARE}|[1-9][0-9]{{0,2}}|1000)$"


@dataclass(frozen=True, slots=True)
class CanarySize(_Parsed):
    """How many replicas the canary needs: as many as its share of stable's (`replicas` is None), or so many."""

    replicas: int | None

    _schema: ClassVar[dict[str, Any]] = number_or_string(
        minimum=1, maximum=MOST_REPLICAS, pattern=SIZE_PATTERN, maxLength=10
    )

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read `MatchShare`, or a number of replicas.

        Raises:
            ValueError: neither, or a number that is not from 1 to 1000.

        """
        match raw:
            case "MatchShare":
                return cls(None)
            case bool():
                pass
            case int() | float() if 1 <= raw <= MOST_REPLICAS and raw == int(raw):
                return cls(int(raw))
            case str() if raw.isascii() and raw.isdecimal() and raw[0] != "0" and int(raw) <= MOST_REPLICAS:
                return cls(int(raw))
            case _:
                pass
        raise ValueError(f"{raw!r} is no size of a canary; write {MATCH_SHARE}, or a number from 1 to {MOST_REPLICAS}")

    def dump(self) -> str | int:
        return MATCH_SHARE if self.replicas is None else self.replicas

    def __str__(self) -> str:
        return str(self.dump())


class AfterRun(StrEnum):
    """What becomes of the canary's replicas after a run."""

    ZERO = "Zero"
    KEEP = "Keep"


class Scale(ApiModel):
    """Replicas of the canary workload, before its share rises and after the run."""

    canary: Annotated[
        CanarySize,
        Field(
            description="MatchShare: as many replicas as its share of stable's, rounded up; of stable's at most in this run. "
            "A number: so many at every step."
        ),
    ]
    min: Annotated[
        int, Field(ge=1, le=MOST_REPLICAS, description="MatchShare gives no fewer, however small the share is.")
    ] = 1
    after: Annotated[
        AfterRun,
        Field(
            description="What becomes of the canary after a run, won or lost. Zero: no replicas, once it has had no traffic for "
            "`drain`. Keep: it stays as large as it is."
        ),
    ] = AfterRun.ZERO
    drain: Annotated[
        Duration,
        Field(description="With Zero: how long streams that are open may go on after all traffic is back on stable."),
    ] = Duration.parse("30s")
    timeout: Annotated[
        Duration,
        Field(
            description="How long a canary that is too small for its next share is waited for, before spec.onFailure applies."
        ),
    ] = Duration.parse("10m")

    def replicas(self, share: Fraction, stable: int) -> int:
        """How many the canary needs for a share (percent) of what `stable` replicas serve."""
        if self.canary.replicas is not None:
            return self.canary.replicas
        return min(max(self.min, -(-share * stable // 100)), MOST_REPLICAS)
