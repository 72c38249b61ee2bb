"""Who is looked at next, of those without a reconciler: who presses first, and of each namespace one in turn.

What many refer to changes as often as anybody likes: a gateway that changes its mind about one route twenty times a second
would have its three hundred Rollouts looked at six thousand times. So looks of many that something else than the Rollout
itself calls for are paced, by the processor time that they take of a namespace. Whatever is called for meanwhile is one look.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from canary.fair import RoundRobin
from canary.observe.objects import Key

BURST = 0.5
"""Seconds of processor time that paced looks of one namespace may take at once: a thousand looks that find nothing new."""

SHARE = 0.1
"""What they may take in the long run, as a part of one processor."""

RECONCILE = 0.003
"""Seconds that count for one that finds something to do: a status to be written, an Event, and their echoes."""

FEW = 8
"""As many are looked at without being paced: no flood comes of that."""


class Call(Enum):
    """How somebody is called for."""

    PRESSING = "a run is under way, or somebody waits for an answer or a deletion"
    ALONE = "it is about this one, or a few"
    PACED = "something that many refer to has changed, or many would have the rule that another one has"


class Turn(NamedTuple):
    """What is to be done now. Without a key: a bit of what is unsettled in the namespace."""

    namespace: str
    key: Key | None
    paced: bool


@dataclass(slots=True)
class _Line:
    """What waits in one namespace."""

    alone: dict[Key, None] = field(default_factory=dict)
    paced: dict[Key, None] = field(default_factory=dict)
    unsettled: bool = False

    def take(self, namespace: str, *, paced: bool) -> Turn | None:
        """Whose rule is whose is found out first: the looks that follow need it, and would do it all at once."""
        if self.unsettled and paced:
            self.unsettled = False
            return Turn(namespace, None, paced=True)
        if self.alone:
            return Turn(namespace, _first(self.alone), paced=False)
        if self.paced and paced:
            return Turn(namespace, _first(self.paced), paced=True)
        return None

    def __bool__(self) -> bool:
        return bool(self.alone or self.paced or self.unsettled)


@dataclass(slots=True)
class _Budget:
    """What the paced turns of one namespace have taken of the processor, as of a moment. It is forgotten with time."""

    taken: float = 0.0
    at: float = 0.0

    def spend(self, seconds: float, now: float) -> None:
        self.taken, self.at = self.left(now) + seconds, now

    def left(self, now: float) -> float:
        """What of it is not forgotten yet."""
        return max(self.taken - SHARE * (now - self.at), 0.0)

    def pause(self, now: float) -> float:
        """Seconds until more may be taken."""
        return max(self.left(now) - BURST, 0.0) / SHARE


class WorkQueue:
    """The queue. Times are those of a monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._pressing: RoundRobin[Key] = RoundRobin()
        self._pressed: set[Key] = set()
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._budgets: dict[str, _Budget] = {}

    def call(self, key: Key, how: Call) -> None:
        """Somebody is to be looked at, once, however often that is said before it is done."""
        if how is Call.PRESSING:
            if key not in self._pressed:
                self._pressed.add(key)
                self._pressing.put(key[0], key)
            return
        line = self._line(key[0])
        if how is Call.ALONE:
            line.paced.pop(key, None)
            line.alone[key] = None
        elif key not in line.alone:
            line.paced[key] = None

    def settle(self, namespace: str) -> None:
        """There is something to be found out before anybody there is looked at."""
        self._line(namespace).unsettled = True

    def next(self, now: float) -> Turn | None:
        """Whose turn it is; None while nobody waits, or only such as have to wait for some more time (`pause`)."""
        if self._pressing:
            key = self._pressing.pop()
            self._pressed.discard(key)
            return Turn(key[0], key, paced=False)
        for _ in range(len(self._lines)):
            namespace, line = self._lines.popitem(last=False)
            turn = line.take(namespace, paced=self._pause(namespace, now) == 0)
            if line:
                self._lines[namespace] = line  # at the end: the others go first
            if turn is not None:
                return turn
        self._budgets = {name: budget for name, budget in self._budgets.items() if budget.left(now)}
        return None

    @property
    def pressing(self) -> bool:
        """Whether anybody waits with a run under way, an answer or a deletion."""
        return bool(self._pressing)

    def took(self, turn: Turn, seconds: float, now: float) -> None:
        """What a turn has taken of the processor."""
        if turn.paced:
            self._budgets.setdefault(turn.namespace, _Budget()).spend(seconds, now)

    def pause(self, now: float) -> float | None:
        """Seconds until the next turn, 0 when it is now; None when nobody waits."""
        if self._pressing:
            return 0.0
        return min((self._pause(namespace, now) for namespace in self._lines), default=None)

    def _pause(self, namespace: str, now: float) -> float:
        budget = self._budgets.get(namespace)
        return budget.pause(now) if budget is not None else 0.0

    def _line(self, namespace: str) -> _Line:
        return self._lines.setdefault(namespace, _Line())


def _first(keys: dict[Key, None]) -> Key:
    key = next(iter(keys))
    del keys[key]
    return key
