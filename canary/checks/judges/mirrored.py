"""Does the canary answer otherwise than stable, field path by field path? Valid at every look. Pure.

Of each request that a comparer has compared, stable answered twice (A, B) and the canary once (C). At a path b counts the requests
in which C differed from A and B did not, and c those in which B did and C did not. If the canary answers like stable, B and C
are exchangeable, so both are as likely, whatever differs there from answer to answer: what is noise (a time, an id, an order)
cancels. The claim is P(C alone) - P(B alone) <= delta (`most`). Per request a bet of lambda on more multiplies its capital by
1 + lambda (X - delta), with X = 1, -1 or 0 for b, c and the rest; its mean is at most 1 under the claim, and it is never negative for
lambda < 1 / (1 + delta) (I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86,
2024). Of counts alone:

    (1 + lambda (1 - delta))^b  (1 - lambda (1 + delta))^c  (1 - lambda delta)^(n - b - c)

and the capital of a path is the mean of these over a few lambdas.

**Which paths.** Nobody knows them before. The look at which a path turns up first only says that it is bet on from the next look on,
and what it showed says in which order: whom what has happened makes most suspicious gets most of what is not bet. So every
stake is fixed before what it is about, and the sum of all capital (what is bet, what that became, what is left) can be expected to
stay at most what it was: it began as 1, and reaches 1 / alpha with a probability of at most alpha (J. Ville, 1939).

**Few are watched.** A status has room for some. A path that loses makes room, and what its bet has become is there for others.
A bet that has lost nearly all is over: should its path turn up again, it is a new one.

**What nothing is left of proves nothing.** Once nearly all capital is lost (to noise that comes and goes, or in a record that somebody
made up) no canary could be found out any more. So that is no pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from heapq import nsmallest
from math import exp, log, log1p, sqrt

from canary.checks.judges.evidence import trimmed
from canary.checks.judges.finding import Finding, Standing
from canary.checks.judges.words import evidence_words, share

BETS = (0.95, 0.6, 0.35, 0.2, 0.1, 0.05, 0.02)
"""Lambdas, as parts of the largest that there may be."""
PARTS = (0.3, 0.15, 0.15, 0.12, 0.1, 0.1, 0.08)
"""What is bet on each; they sum to 1."""
MOST_WATCHED = 8
TOLD = 3
MOST = 10**15
NOISE = 2.0
"""Standard deviations from chance up to which a path is noise to whoever reads of it; evidence counts it all the same."""
SURPRISE = 3.0
"""Standard deviations from chance from which on a path that turns up is worth another look, before anything is said to be good."""
LOSING = 0.5
"""A path whose bet has lost half makes room for any other."""
LOST = 0.02
"""A bet that has so little left is over."""
LEAST_CAPITAL = 1e-4
"""With less in all, a proof takes several times as many looks as at first."""

Counts = tuple[int, int, int]
"""Of a path: requests in which the canary alone differed from stable's first answer, in which stable's second alone did, and both."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was compared since the look before: how many requests, and at which paths answers differed. Raises ValueError."""

    compared: int
    paths: Mapping[str, Counts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self.compared) is not int or not 0 <= self.compared <= MOST:
            raise ValueError(f"{self.compared} requests cannot have been compared")
        for counts in self.paths.values():
            whole = all(type(count) is int for count in counts)
            if not whole or min(counts) < 0 or sum(counts) > self.compared:
                raise ValueError(f"differences in {sum(counts)} of {self.compared} requests cannot be")


@dataclass(frozen=True, slots=True)
class Watched:
    """A path that is bet on: the part of the capital, all that was counted there, and what of it was before the bet.

    `since` is how many requests had been compared when the bet began.
    """

    path: str
    stake: float
    since: int
    before: tuple[int, int]
    counts: Counts

    def capital(self, compared: int, most: float) -> float:
        """What the stake has become, of `compared` requests in all. Logarithms may be huge: at most 1e300."""
        b, c = self.counts[0] - self.before[0], self.counts[1] - self.before[1]
        rest = compared - self.since - b - c
        total = 0.0
        for part, (won, lost, kept) in zip(_parts(*self.before), _growth(most), strict=True):
            total += part * exp(min(b * won + c * lost + rest * kept, 690.0))
        return self.stake * total

    @property
    def excess(self) -> float:
        """Standard deviations by which the canary differed alone more often than stable did, as if both were as likely."""
        return suspicion(self.counts)


@lru_cache(4096)
def _parts(b: int, c: int) -> tuple[float, ...]:
    """What part of a stake is bet on each lambda, by what was counted before the bet: large ones are lost at once where there is noise.

    Of those who bet the same each time they grow richest who bet the excess over the noise, (b - c) / (b + c), or what it is known to be at most.
    """
    most = (max(b - c, 0) + 1) / (b + c + 1) if c else 1.0
    kept = [part if bet <= max(most, BETS[-1]) else 0.0 for part, bet in zip(PARTS, BETS, strict=True)]
    return tuple(part / sum(kept) for part in kept)


@lru_cache(64)
def _growth(most: float) -> tuple[tuple[float, float, float], ...]:
    """Of each bet the logarithms of what each b, each c and each other request multiplies it by."""
    bets = (bet / (1 + most) for bet in BETS)
    return tuple((log1p(lamb * (1 - most)), log1p(-lamb * (1 + most)), log1p(-lamb * most)) for lamb in bets)


def suspicion(counts: Counts) -> float:
    """How far from chance it is that so many were the canary's; bounded for few."""
    return (counts[0] - counts[1]) / sqrt(counts[0] + counts[1] + 1)


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a step: requests compared, the capital that is not bet, and the paths that are watched."""

    compared: int = 0
    free: float = 1.0
    watched: tuple[Watched, ...] = ()


@dataclass(frozen=True, slots=True)
class Alike:
    """A comparison of answers.

    Args:
        alpha: the chance, over all looks, to fail a canary that answers like stable.
        most: the part of the requests in which it may answer otherwise, beyond noise, at any path.
        least_compared: requests before anything is said.

    Raises ValueError: a setting that can be no such thing.

    """

    alpha: float
    most: float
    least_compared: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"an alpha is more than 0 and less than 1, not {self.alpha:g}")
        if not 0 <= self.most < 1:
            raise ValueError(f"a part of the requests is from 0 to 1, not {self.most:g}")

    def begin(self) -> Progress:
        return Progress()

    def fold(self, before: Progress, look: Look) -> Progress:
        """What is known after one more look. Raises ValueError: more requests than there can be."""
        compared = before.compared + look.compared
        if compared > MOST:
            raise ValueError("more requests were compared than there can be")
        watched = [_after(one, look.paths.get(one.path, (0, 0, 0))) for one in before.watched]
        over = [one for one in watched if self._kept(one, compared) < LOST]
        watched = [one for one in watched if one not in over]
        known = {one.path for one in watched}
        new = nsmallest(
            MOST_WATCHED,
            ((path, counts) for path, counts in look.paths.items() if path not in known and counts[0] > counts[1]),
            key=lambda found: (-suspicion(found[1]), found[0]),
        )
        free = min(1.0, before.free + sum(one.capital(compared, self.most) for one in over))
        for path, counts in new:
            if len(watched) >= MOST_WATCHED:
                gone = self._room(watched, suspicion(counts), compared)
                if gone is None:
                    break
                watched.remove(gone)
                free = min(1.0, free + gone.capital(compared, self.most))
            stake = trimmed(free / (len(watched) + 2))
            free = max(0.0, free - stake)
            watched.append(Watched(path, stake, compared, counts[:2], counts))
        return Progress(compared, trimmed(free), tuple(watched))

    def without_the_last(self, progress: Progress) -> Progress:
        """The same with one path less: the one that has least to show. What its bet has become is left for others."""
        worst = self.ranked(progress)[-1]
        left = tuple(one for one in progress.watched if one is not worst)
        return replace(
            progress,
            free=trimmed(min(1.0, progress.free + worst.capital(progress.compared, self.most))),
            watched=left,
        )

    def evidence(self, progress: Progress) -> float:
        """The logarithm of all capital."""
        total = progress.free + sum(one.capital(progress.compared, self.most) for one in progress.watched)
        return log(total) if total > 0 else float("-inf")

    def ranked(self, progress: Progress) -> list[Watched]:
        """The watched paths, those first that have most to show."""

        def rank(one: Watched) -> tuple[float, float, str]:
            return -one.capital(progress.compared, self.most), -one.excess, one.path

        return sorted(progress.watched, key=rank)

    def judge(self, progress: Progress, look: Look | None = None) -> Finding:
        """What stands after the looks so far, of which `look` is the last."""
        compared = progress.compared
        if compared < self.least_compared:
            words = f"{_requests(compared)} compared, and {self.least_compared:,} are needed"
            return Finding(Standing.INCONCLUSIVE, "TooFewCompared" if compared else "NotCompared", words)
        found, needed = self.evidence(progress), -log(self.alpha)
        told = [_told(one.path, one.counts, compared) for one in self._worst(progress)]
        if found >= needed:
            first, *others = told or ["its answers differ"]
            more = f"; also {', '.join(others)}" if others else ""
            words = f"{first}, {evidence_words(found, needed)}{more}; {_requests(compared)} compared"
            return Finding(Standing.FAIL, "DiffersFromStable", words)
        words = f"{_requests(compared)} compared"
        if told:
            words += f"; most: {', '.join(told)}"
        words += f"; {evidence_words(found, needed)}"
        if found >= needed / 2:
            return Finding(Standing.INCONCLUSIVE, "PerhapsDifferent", words)
        if found < log(LEAST_CAPITAL):
            words = f"{words}; too much of it is lost to noise, or was never ours, for anything to be proved"
            return Finding(Standing.INCONCLUSIVE, "NothingLeft", words)
        if look is not None and (new := self._unweighed(progress, look)):
            shown = ", ".join(_told(path, look.paths[path], look.compared) for path in new[:TOLD])
            words = f"{shown} of the last look, and the next one weighs it; {_requests(compared)} compared"
            return Finding(Standing.INCONCLUSIVE, "SeenOnce", words)
        return Finding(Standing.GOOD, "NotDifferent", words)

    def _worst(self, progress: Progress) -> list[Watched]:
        """Those that are told: beyond noise by more than is tolerated, and further from chance than noise mostly is."""
        compared = progress.compared
        beyond = (
            one
            for one in self.ranked(progress)
            if one.counts[0] - one.counts[1] > self.most * compared and one.excess > NOISE
        )
        return list(beyond)[:TOLD]

    def _unweighed(self, progress: Progress, look: Look) -> list[str]:
        """Paths that this look has shown, far beyond noise, and nothing was bet on: the most suspicious first."""
        weighed = {one.path for one in progress.watched if one.since < progress.compared}
        found = {
            path: suspicion(counts)
            for path, counts in look.paths.items()
            if counts[0] - counts[1] > self.most * look.compared and path not in weighed
        }
        return sorted((path for path, much in found.items() if much >= SURPRISE), key=lambda path: (-found[path], path))

    def _room(self, watched: Iterable[Watched], wanted: float, compared: int) -> Watched | None:
        """Who makes room for a path of this suspicion: the one that has lost most, if it has lost half or is less suspicious."""
        last = min(watched, key=lambda one: (self._kept(one, compared), one.path))
        kept = self._kept(last, compared)
        return last if kept < LOSING or (kept < 1 and last.excess < wanted) else None

    def _kept(self, one: Watched, compared: int) -> float:
        """What part of its stake a bet has become."""
        return one.capital(compared, self.most) / one.stake if one.stake > 0 else 0.0


def _after(one: Watched, more: Counts) -> Watched:
    b, c, both = (have + come for have, come in zip(one.counts, more, strict=True))
    return replace(one, counts=(b, c, both))


def _requests(count: int) -> str:
    return "1 answer" if count == 1 else f"{count:,} answers"


def _told(path: str, counts: Counts, compared: int) -> str:
    """`$.items[].price` differs in 3.1 % of answers (noise 0 %)."""
    b, c, both = counts
    return f"`{path}` differs in {share((b + both) / compared)} of answers (noise {share((c + both) / compared)})"
