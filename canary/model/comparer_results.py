"""What a comparer says of the mirrored requests that it compared: `GET /results`, version 1.

Each request went to stable twice (answers A and B) and to the canary once (C); B and C were each compared with A, field path
by field path. A canary that is as good as stable makes B and C exchangeable, so that whatever is noise turns up as often in
`stable_only` as in `canary_only`. Counters begin at 0 with each instance; a path that a request did not have counts as
the same there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, FailFast, Field, TypeAdapter, ValidationError, model_validator

from canary.model.base import ApiModel
from canary.model.times import Timestamp

VERSION: Literal[1] = 1
MAX_PATHS = 2000
"""Field paths that a comparer tells apart; differences at further ones are counted together."""
MAX_PATH = 256
"""Characters of a field path."""
MAX_EXAMPLES = 3
MAX_BUCKETS = 64
MAX_REASONS = 64
MAX_RESULTS_BYTES = 1024 * 1024
"""More than any comparer of ours says: its paths have so many bytes as MAX_PATH allows characters."""

Counter = Annotated[int, Field(strict=True, ge=0, le=10**15)]
Word = Annotated[str, Field(min_length=1, max_length=32)]


def _few(found: Any) -> Any:
    """The members of an object are validated before they are counted, each fault being noted: far too many are not begun."""
    if isinstance(found, dict) and len(found) > MAX_REASONS:
        raise ValueError(f"has more than {MAX_REASONS} members")
    return found


class _Results(ApiModel):
    """What a later version adds is not looked at. Lists are given up at their first fault: garbage is to cost little."""

    model_config = ConfigDict(extra="ignore")


class Example(_Results):
    """What stood at a path in both answers, masked to its type: `number`, `string`, `absent`; a status code is shown."""

    stable: Word
    canary: Word


class PathResult(_Results):
    """In how many compared requests the answers differed at `path`.

    `path` is `status`, `header:NAME`, `body` (the digest of what is no JSON) or a place in JSON such as `$.items[].price`.
    """

    path: Annotated[str, Field(min_length=1, max_length=MAX_PATH)]
    canary_only: Counter
    """C differed from A, and B did not."""
    stable_only: Counter
    """B differed from A, and C did not: noise."""
    both: Counter
    """Both differed from A."""
    examples: Annotated[tuple[Example, ...], Field(max_length=MAX_EXAMPLES), FailFast()] = ()


_PATHS = TypeAdapter(Annotated[tuple[PathResult, ...], FailFast()])
AT_ONCE = 100
"""Paths that are validated without a pause: less than a millisecond."""


def _few_at_a_time(found: list[Any]) -> Iterator[list[Any]]:
    """A few at a time."""
    return (found[begin : begin + AT_ONCE] for begin in range(0, len(found), AT_ONCE))


class Pair(_Results):
    """A count for each of the two versions."""

    stable: Counter = 0
    canary: Counter = 0


class Latency(_Results):
    """Times to an answer, one per compared request and version, counted by bucket (not cumulative)."""

    buckets: Annotated[
        tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...],
        Field(min_length=1, max_length=MAX_BUCKETS),
        FailFast(),
    ]
    """Upper bounds in seconds, ascending; a last bucket without bound comes after them."""
    stable: Annotated[tuple[Counter, ...], Field(max_length=MAX_BUCKETS + 1), FailFast()]
    canary: Annotated[tuple[Counter, ...], Field(max_length=MAX_BUCKETS + 1), FailFast()]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if any(low >= high for low, high in zip(self.buckets, self.buckets[1:], strict=False)):
            raise ValueError("the bounds of buckets do not ascend")
        if not len(self.stable) == len(self.canary) == len(self.buckets) + 1:
            raise ValueError("there are other counts than buckets")
        return self


class ComparerResults(_Results):
    """All that one comparer has counted since `started_at`, when it began with everything at 0."""

    version: Literal[1] = VERSION
    instance: Annotated[str, Field(min_length=1, max_length=64)]
    """New at each start: other counters than before are to be read from 0."""
    started_at: Timestamp
    now: Timestamp
    received: Counter
    """Mirrored requests that arrived."""
    compared: Counter
    """Those of which the first question to stable had an answer, and which count in `paths`."""
    dropped: Annotated[dict[Word, Counter], BeforeValidator(_few)] = {}
    """Those that were not compared, by why."""
    different: Counter = 0
    """Compared requests with at least one path at which the canary alone differed."""
    failures: Pair = Pair()
    """Compared requests whose answer (B of stable, which is the canary's equal, and C) was a failure, or never came."""
    paths: Annotated[tuple[PathResult, ...], Field(max_length=MAX_PATHS), FailFast()] = ()
    """In the order of their first difference; a path at which nothing ever differed is not among them."""
    paths_dropped: Counter = 0
    """Differences at paths for which there was no more room."""
    latency: Latency | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        """Whoever judges takes logarithms of what is left over: more differences than requests would be nonsense there."""
        if self.compared > self.received:
            raise ValueError("more requests were compared than received")
        counts = (self.different, self.failures.stable, self.failures.canary)
        if any(count > self.compared for count in counts):
            raise ValueError("more requests differed or failed than were compared")
        for found in self.paths:
            if found.canary_only + found.stable_only + found.both > self.compared:
                raise ValueError("a path differed in more requests than were compared")
        if len({found.path for found in self.paths}) < len(self.paths):
            raise ValueError("a path is there twice")
        return self

    @classmethod
    def read(cls, raw: bytes | str) -> Self:
        """What a comparer answered.

        Raises:
            ValueError: it is too long, no JSON, of another version, or does not add up. The message repeats none of it.

        """
        if len(raw) > MAX_RESULTS_BYTES:
            raise ValueError(f"these are no results of a comparer: more than {MAX_RESULTS_BYTES} bytes")
        try:
            found = json.loads(raw.decode() if isinstance(raw, bytes) else raw)
            if isinstance(found, dict) and isinstance(found.get("paths"), list) and len(found["paths"]) <= MAX_PATHS:
                # Whoever validates lets no other thread run meanwhile, so it is a few at a time.
                found["paths"] = [
                    path for few in _few_at_a_time(found["paths"]) for path in _PATHS.validate_python(few)
                ]
            return cls.model_validate(found)
        except ValidationError as error:
            raise ValueError(f"these are no results of a comparer (version {VERSION}): {_why(error)}") from None
        except (ValueError, RecursionError):
            raise ValueError("these are no results of a comparer: it is no JSON") from None

    def text(self) -> str:
        """The JSON that `read` reads."""
        return self.model_dump_json(by_alias=True)


def _why(error: ValidationError) -> str:
    first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:100]
    return f"{where}: {first['msg'][:200]}" if where else first["msg"][:200]
