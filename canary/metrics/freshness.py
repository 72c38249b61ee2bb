"""Of when an answer of Prometheus is. It says itself of which moment it is; a cache before it may say so of any."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

APART = 300.0
"""Seconds after which an answer that may be as old is none: for so long a sample counts in Prometheus (its lookback)."""

FROZEN = 10.0
"""Seconds after which an answer that is known to be as old is no news: Prometheus names another moment each time that it is asked."""

EXACT = 2.0
"""Seconds by which two times of one moment may differ, beside what the answer took: a Date is in whole seconds, and so may moments be."""

_MOST = 5_000


class Stale(Exception):
    """An answer is not of when it was asked for; says why, in words."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The moment that a question's answer was of; when that was asked for, and how old it was then, in seconds."""

    moment: float
    sent: float
    old: float


class Freshness:
    """Of the answers of one server, to any number of questions; may be asked from several threads.

    `passing` gives seconds by a clock that nobody sets. Moments are compared with other moments of the same question, and with the
    Date that came with them; never with a clock of ours. Whose clock is right makes no difference.
    """

    def __init__(self, passing: Callable[[], float]) -> None:
        self._passing = passing
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._ahead = 0.0  # by how much Dates are later than moments of now
        self._lock = threading.Lock()

    def age(
        self,
        question: str,
        moment: float | None,
        sent: float,
        *,
        date: datetime | None = None,
        stored: float = 0.0,
        asked: float | None = None,
    ) -> float:
        """How long before it was asked for an answer was made, in seconds; 0: nothing says that it was. Raises Stale.

        A moment that was there before is of then. One that is not that of its Date is that much older: who is before the server may
        have kept it, or have a clock of his own. What moves as fast as time does, twice, shows that it is the latter.

        Args:
            question: which one it answers.
            moment: what the answer is of, in seconds since 1970, by the server's clock; None where it is of no series.
            sent: when it was asked for, by the clock of `passing`.
            date: when it was sent, by the server's clock or that of who is before it; None where it does not say.
            stored: for how long a cache says to have had it (its Age), in seconds.
            asked: the moment that was asked for; None: now.

        """
        if asked is not None:
            if moment is not None and abs(moment - asked) >= 1:
                raise Stale(f"it is of {_spell(moment)}, and was asked for {_spell(asked)}")
            return 0.0
        if stored > FROZEN:
            raise Stale(f"whoever sent it says to have had it for {stored:.0f} s")
        if moment is None:
            return stored
        ahead = 0.0 if date is None else date.timestamp() - moment
        exact = EXACT + max(self._passing() - sent, 0.0)
        with self._lock:
            old = self._old(question, _Known(moment, sent, stored), ahead, exact)
        if old > APART:
            raise Stale(f"it is of {_spell(moment)}, and was sent at {_spell(moment + ahead)}")
        return max(stored, old)

    def _old(self, question: str, new: _Known, ahead: float, exact: float) -> float:
        before = self._known.get(question)
        passed = 0.0 if before is None else max(new.sent - before.sent, 0.0)
        if before is not None and before.moment == new.moment:
            if passed > FROZEN:
                raise Stale(f"it is of {_spell(new.moment)}, as it was {passed:.0f} s ago")
            return before.old + passed
        old = abs(ahead - self._ahead)
        if old <= exact:
            old = 0.0
        elif before is not None and abs(new.moment - before.moment - passed) <= exact:
            if passed <= exact:
                return before.old  # too soon to tell whether it moves
            self._ahead, old = ahead, 0.0
        self._known[question] = replace(new, old=max(old, new.old))
        self._known.move_to_end(question)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return old


def _spell(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
