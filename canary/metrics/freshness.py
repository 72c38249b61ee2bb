"""Whether an answer of Prometheus is of now. It says of which moment it is; a cache before it may say so of any."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

APART = 300.0
"""Seconds between the moment of an answer and the Date that came with it: for so long a sample counts in Prometheus (its lookback), so
two clocks that are nearer make no difference that it would not make itself."""

FROZEN = 10.0
"""Seconds after which the same moment is no news: Prometheus names another one each time that it is asked."""

_MOST = 5_000


class Freshness:
    """Of the answers of one server, to any number of questions; may be asked from several threads.

    `passing` gives seconds by a clock that nobody sets.
    """

    def __init__(self, passing: Callable[[], float]) -> None:
        self._passing = passing
        self._first: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def stale(self, question: str, moment: float, date: datetime | None, asked: float | None = None) -> str:
        """Why an answer is not of when it was asked for, in words; empty: it is.

        Args:
            question: which one it answers.
            moment: what the answer is of, in seconds since 1970, by the server's clock.
            date: when it was sent, by the server's clock or that of who is before it; None where it does not say.
            asked: the moment that was asked for; None: now.

        """
        if asked is not None:
            return "" if abs(moment - asked) < 1 else f"it is of {_spell(moment)}, and was asked for {_spell(asked)}"
        if date is not None and abs(date.timestamp() - moment) > APART:
            return f"it is of {_spell(moment)}, and was sent at {_spell(date.timestamp())}"
        with self._lock:
            known, at = self._first.get(question, (None, 0.0))
            passed = self._passing()
            if known != moment:
                self._first[question] = moment, passed
                self._first.move_to_end(question)
                while len(self._first) > _MOST:
                    self._first.popitem(last=False)
                return ""
        return f"it is of {_spell(moment)}, as it was {passed - at:.0f} s ago" if passed - at > FROZEN else ""


def _spell(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
