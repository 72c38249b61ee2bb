"""Whether this process may still write what it has decided: a process can sleep on any line, and another can take over.

Two things are known without asking anybody, by a clock that does not stop while the process does: that we have not slept
since the decision, and that nobody can have taken our Lease yet. Both are asked right before a write is sent. What slips
through in the last microseconds is refused by the API server, since every patch tests what another controller changes
first (docs/decisions/0013).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from canary.act.gate import Gate
from canary.elapsed import elapsed
from canary.errors import StaleDecision

ASLEEP = 4.0
"""Seconds between two beats after which a process has slept: others may have done its work. Below the length of a Lease."""

BEAT = 0.5
"""Seconds between two beats."""


class Fence:
    """What stands between a decision and its writes. `turn` names this life of a controller in annotations on routes.

    `over` are the turns of earlier controllers that have ended with nothing under way. `epoch` counts how often the process has
    slept. `confirmed` says whether the Lease is ours beyond doubt (without a Lease: always).
    """

    def __init__(self, clock: Callable[[], float] = elapsed) -> None:
        self._clock = clock
        self._beat: float | None = None
        self.turn = uuid.uuid4().hex[:12]
        self.over: frozenset[str] = frozenset()
        self.epoch = 0
        self.confirmed: Callable[[], bool] = lambda: True

    def beat(self) -> float:
        """Note that the process runs. Returns for how long it had slept, 0.0 if it had not."""
        gap = self._slept()
        self._beat = self._clock()
        return gap

    def _slept(self) -> float:
        """Notice a gap since the last beat; without beats nothing is known of the time between."""
        now = self._clock()
        if self._beat is None or now - self._beat <= ASLEEP:
            return 0.0
        gap, self._beat = now - self._beat, now
        self.epoch += 1
        return gap

    def gate(self) -> Gate:
        """For the writes of a decision that is about to be made."""
        epoch = self.epoch

        def ask(rising: bool) -> None:
            self._slept()
            if self.epoch != epoch:
                raise StaleDecision("this process slept in between; deciding again")
            if rising and not self.confirmed():
                raise StaleDecision("the Lease could not be renewed in time, so another controller may be at work")

        return ask
