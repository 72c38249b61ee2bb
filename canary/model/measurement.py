"""What came back when a check looked: a number, nothing, or a reason why not.

Absence is a value of its own and never a number (promise 4: unknown is not bad, and not good).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from canary.model.native import NativeHistogram

MAX_SERIES = 1000
"""The most series that a condition sees. What a condition may cost is counted with this number."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a condition said of a sample: whether it holds, or (None) why nobody knows."""

    condition: str
    holds: bool | None
    reason: str = ""  # ConditionError | ConditionTooExpensive
    message: str = ""


Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Vector:
    """All series of an answer by their labels, and the instant that they are of: seconds, by the clock of who answered."""

    series: Mapping[Labels, float | NativeHistogram]
    instant: float


@dataclass(frozen=True, slots=True)
class Replica:
    """What one comparer has counted since it started: requests, and by path those in which answers differed.

    `instance` is another one after each start, and `age` the seconds since then, by its own clock. Of a path: the canary alone,
    stable's second answer alone, both.
    """

    instance: str
    age: float
    compared: int
    paths: Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Replicas:
    """The comparers that answered, and in words what is wrong with those that did not; empty where all did."""

    read: tuple[Replica, ...]
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One finite number. `at` is when it was asked for, or what it is known to be of if that was before; `values` keeps all series for `condition`.

    A condition is evaluated where the number is taken, since that may take its time; `weighed` is what it said. `vector`
    is there where counters were asked for, and `replicas` where comparers were. `note` says in words what the number alone does
    not, if anything; `said` is what whoever answered said for people to read, where that was asked for.
    """

    value: float
    at: datetime
    query: str = ""
    values: tuple[float, ...] = ()
    weighed: Weighed | None = None
    vector: Vector | None = None
    replicas: Replicas | None = None
    note: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class NoData:
    """The provider answered, and had nothing to say: an empty vector."""

    at: datetime
    query: str = ""
    reason: str = "NoData"
    message: str = "the query returned no series"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """The provider did not answer: connection refused, time-out, 5xx. Waiting may help."""

    at: datetime
    reason: str  # Unreachable | Timeout | HTTPError
    message: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The provider answered something that is no measurement: bad query, NaN, several series."""

    at: datetime
    reason: str  # BadQuery | NotANumber | SeveralSeries | TooManySeries | UnexpectedResult | UnknownVariable | …
    message: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """Nobody was asked: the query waited for its turn, `waited` seconds, until the next one was due. Or counting has only begun.

    It says nothing about the canary and nothing about the provider: no policy of the check applies to it, and the time does
    not count against holdLimit.
    """

    at: datetime
    waited: float
    message: str
    query: str = ""
    reason: str = "Queued"


@dataclass(frozen=True, slots=True)
class Counts:
    """What the counters of both backends say: requests since whenever each began to count. `at` is when they were asked."""

    canary: float
    stable: float
    at: datetime


@dataclass(frozen=True, slots=True)
class Compared:
    """What both backends did from `since` to `at`: requests, and how many of them failed.

    Both are when the counters were asked for; `pods` are requests and failures of stable's pods by name, where the counters
    tell them apart, and `canary_pods` is how many the canary has.
    """

    at: datetime
    since: datetime
    canary: float
    stable: float
    canary_failed: float
    stable_failed: float
    pods: Mapping[str, tuple[float, float]]
    canary_pods: int = 1
    query: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What comparers compared from `since` to `at`, as `Replica` has it; and in words whom nobody could ask, if anybody."""

    at: datetime
    since: datetime
    compared: int
    paths: Mapping[str, tuple[int, int, int]]
    unread: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Timed:
    """How long requests of both backends took from `since` to `at`: how many there were, and how many took at most so long.

    Both are when the histograms were asked for; `canary_within` and `stable_within` are requests by bound in seconds. `edges`
    has the bounds that were counted at another edge, the same for both, and that edge, in seconds.
    """

    at: datetime
    since: datetime
    canary: float
    stable: float
    canary_within: Mapping[float, float]
    stable_within: Mapping[float, float]
    query: str = ""
    edges: Mapping[float, float] = field(default_factory=dict)


Measurement = Sample | NoData | Unreachable | Malformed | Queued
"""What a provider answers."""
Measured = Measurement | Compared | Timed | Answered
"""What comes of a look at a check."""
Reading = Counts | NoData | Unreachable | Malformed | Queued
"""Of counters, one for each backend."""
