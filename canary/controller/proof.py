"""Whether a comparison has proved its canary good, by what one measuring task has seen itself. Kept in memory only (`decide/early.py`)."""

from __future__ import annotations

from datetime import datetime

from canary.checks.judges.compare import Look
from canary.checks.judges.comparison import Versus
from canary.checks.judges.finding import Standing
from canary.model.measurement import Compared


class Proof:
    """Looks that began at `earliest` or later, of one comparison, while the routes say one thing."""

    def __init__(self, judge: Versus, earliest: datetime) -> None:
        self._rule = judge.good
        self._progress = self._rule.begin()
        self._earliest = earliest
        self._since: datetime | None = None

    def seen(self, look: Compared) -> None:
        """One more look."""
        if look.since < self._earliest:
            return
        counts = look.canary, look.stable, look.canary_failed, look.stable_failed
        try:
            self._progress = self._rule.fold(self._progress, Look(*counts, look.pods, look.canary_pods))
        except ValueError:  # counts that cannot be: the check says so, and nothing that was counted is any proof
            self._progress, self._since = self._rule.begin(), None
            return
        self._since = self._since or look.since

    @property
    def good_since(self) -> datetime | None:
        """Since when it has counted what proves it; None: it is not proved, or not any more."""
        proved = self._rule.judge(self._progress).standing is Standing.GOOD
        return self._since if proved else None
