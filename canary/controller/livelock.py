"""Notices when the rounds of a reconciler follow each other at once and lead to nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from canary.act.executor import Result
from canary.controller.clock import Clock
from canary.decide.actions import Action, WriteRoute
from canary.decide.scope import Decision

MOST_IN_VAIN = 3
"""Ticks in a row that only read again, or did what was done before, after which the next one waits."""


class Livelock:
    """Counts the rounds of one reconciler that were in vain, and knows what the last one did."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._vain = 0
        self._did: tuple[Action, ...] = ()

    @property
    def going(self) -> bool:
        """Whether the last rounds led to nothing, so that nobody should wait for their end, be it the record of what happened."""
        return self._vain > 1

    def pause_until(self, decision: Decision, result: Result) -> datetime | None:
        """When to look again where rounds lead to nothing; None: they do, or not for long yet.

        What is read again and again is still not what is there: the watch is behind, and has to catch up. Or it is done, and to be done again.
        """
        self._vain = self._vain + 1 if self._changed_nothing(decision, result) else 0
        if self._vain <= MOST_IN_VAIN:
            return None
        return self._clock.now() + timedelta(seconds=min(2.0, 0.05 * 2.0 ** min(self._vain, 10)))

    def _changed_nothing(self, decision: Decision, result: Result) -> bool:
        """Whether a round has led to nothing: all was read again only, or what was done is what the round before had done.

        Not said of routes: what somebody raises again is put back, and that has a pace of its own.
        """
        before, self._did = self._did, decision.actions if result.performed else ()
        if not result.performed:
            return bool(result.stale)
        return before == decision.actions and not any(isinstance(action, WriteRoute) for action in decision.actions)
