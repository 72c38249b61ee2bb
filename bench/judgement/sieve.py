"""Which runs are worth judging: those whose evidence ever comes near to what is needed.

The judge of errors says Fail, or that it was held back, only where its evidence is what is needed. That is a sum with no doubt in it, so
thousands of runs are calculated at a time here, a little too kindly, and those that may have got there are judged by the judge
itself. So no outcome is this module's: only what the judge need not be asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log

import numpy as np

from canary.checks.judges.compare import MOST_WAITING, Compare, Look
from canary.checks.judges.evidence import alternatives, reserve, stake

SLACK = 0.01
"""By so much less than what is needed (a logarithm) a run is worth judging: the judge remembers ten digits."""


def worth(judge: Compare, runs: Sequence[Sequence[Look]]) -> list[bool]:
    """Of each run, whether the evidence against its canary may have been what is needed at any look."""
    counts = [list(_both(run)) for run in runs]
    longest = max(map(len, counts), default=0)
    table = np.zeros((longest, 4, len(runs)))
    for number, looks in enumerate(counts):
        if looks:
            table[: len(looks), :, number] = looks
    return [bool(one) for one in _highest(judge, table) >= -log(judge.alpha) - SLACK]


def _both(run: Sequence[Look]) -> Iterator[tuple[float, float, float, float]]:
    """Looks put together until both had requests, as the judge does it; only those at which something failed."""
    kept, onesided = (0.0, 0.0, 0.0, 0.0), 0
    for look in run:
        a, b, c, d = kept
        kept = (a + look.canary, b + look.stable, c + look.canary_failed, d + look.stable_failed)
        if kept[0] > 0 and kept[1] > 0:
            if kept[2] + kept[3] > 0:
                yield kept
            kept, onesided = (0.0, 0.0, 0.0, 0.0), 0
        else:
            onesided += 1
            if onesided % MOST_WAITING == 0:
                kept = (0.0, 0.0, 0.0, 0.0)


def _highest(judge: Compare, table: np.ndarray) -> np.ndarray:
    """The highest logarithm of the evidence of each run; `table` is look by four counts by run, all 0 where a run has ended."""
    effects, *parts = (np.array(one) for one in alternatives(judge.tolerance))
    capital = np.full((table.shape[2], len(effects)), -np.inf)
    highest = np.zeros(table.shape[2])
    for look, (canary, stable, failed, stable_failed) in enumerate(table):
        both, claim = failed + stable_failed, np.maximum(judge.tolerance * canary + stable, 1.0)
        won = failed[:, None] * np.log(effects / judge.tolerance)
        lost = both[:, None] * np.log1p((effects - judge.tolerance) * (canary / claim)[:, None])
        capital = np.logaddexp(capital, np.log(stake(look) * parts[min(look, 1)])) + won - lost
        highest = np.maximum(highest, np.logaddexp(np.logaddexp.reduce(capital, axis=1), log(reserve(look + 1))))
    return highest
