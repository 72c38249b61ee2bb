"""How much stable can bear: a share of the mirrored requests that falls by half when stable suffers, and rises slowly.

Additive increase, multiplicative decrease, as TCP does it. What counts as suffering is measured against stable itself: its
median time to an answer against the least that it lately was, and failures, which have one limit. Times are in seconds by
one clock that only goes forward.
"""

from __future__ import annotations

from statistics import median

WINDOW = 1.0
"""Seconds of answers that are judged together, at least."""
FEWEST = 20
"""Answers that are judged together, unless they take longer than LONGEST to come."""
LONGEST = 10.0
MOST = 1000
"""Answers of a window whose time is kept."""

SLOWER = 2.0
"""So many times the baseline, and SLACK seconds more, is slow."""
SLACK = 0.005
FAILURES = 3
FAILURE_SHARE = 0.05
"""Stable fails if more than this part of its answers are failures, and FAILURES at least."""
MEMORY = 300.0
"""Seconds after which the baseline begins to be forgotten: a stable that is slow for twice as long is slow of its own accord."""

INCREASE = 0.05
DECREASE = 0.5
LEAST = 0.01
"""Less is not let through than this share: how else would anybody notice that stable is well again?"""


class StableGuard:
    """Says which requests may be sent on, by what came of those before."""

    def __init__(self, now: float) -> None:
        self.share = 1.0
        self.why = ""
        """What stands against more; empty while nothing does."""
        self._least: float | None = None
        self._least_before: float | None = None
        self._forget_at = now + MEMORY
        self._begin(now)

    def lets_through(self, draw: float) -> bool:
        """Whether a request is among the share, given an even chance `draw` in [0, 1)."""
        return draw < self.share

    def saw(self, seconds: float, *, failed: bool, now: float) -> None:
        """One more answer of stable, or the want of one."""
        self._answers += 1
        if failed:
            self._failures += 1
        elif len(self._times) < MOST:
            self._times.append(seconds)
        age = now - self._since
        if age >= LONGEST or (age >= WINDOW and self._answers >= FEWEST):
            self._judge(now)

    @property
    def baseline(self) -> float | None:
        """Stable's median time to an answer, in seconds, when it was quickest of late."""
        known = [one for one in (self._least, self._least_before) if one is not None]
        return min(known) if known else None

    def _judge(self, now: float) -> None:
        self.why = self._objection()
        self.share = max(LEAST, self.share * DECREASE) if self.why else min(1.0, self.share + INCREASE)
        if self._times:
            middle = median(self._times)
            self._least = middle if self._least is None else min(self._least, middle)
        if now >= self._forget_at:
            self._least_before, self._least = self._least, None
            self._forget_at = now + MEMORY
        self._begin(now)

    def _objection(self) -> str:
        if self._failures >= FAILURES and self._failures > FAILURE_SHARE * self._answers:
            return f"{self._failures} of {self._answers} answers of stable are failures, or never came"
        baseline = self.baseline
        if self._times and baseline is not None and (middle := median(self._times)) > SLOWER * baseline + SLACK:
            return f"stable takes {1000 * middle:.0f} ms; it lately took {1000 * baseline:.0f}"
        return ""

    def _begin(self, now: float) -> None:
        self._since = now
        self._answers = self._failures = 0
        self._times: list[float] = []


class TokenBucket:
    """At most `rate` a second, and as many at once after a second of rest. 0: no limit."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate, self._depth = rate, max(1.0, rate)
        self._tokens, self._at = self._depth, now

    def take(self, now: float) -> bool:
        """Whether there is one; then it is taken."""
        if not self._rate:
            return True
        self._tokens = min(self._depth, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
