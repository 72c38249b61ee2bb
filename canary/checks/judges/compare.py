"""Does the canary fail more often than stable? Valid at every look. Pure.

A look brings requests n_c, n_s and failures k_c, k_s of both backends. Given how many failed in all, each of them is the
canary's with probability theta(r) = r n_c / (r n_c + n_s) if the canary fails r times as often. The claim is that r is at most the
`tolerance` r0; the bet on r_j multiplies its capital by

    [theta(r_j) / theta(r0)]^k_c [(1 - theta(r_j)) / (1 - theta(r0))]^k_s
        = (r_j / r0)^k_c [(r0 n_c + n_s) / (r_j n_c + n_s)]^(k_c + k_s)

(J. Przyborowski and H. Wilenski, "Homogeneity of results in testing samples from Poisson series", Biometrika 31, 1940; as bets
see `evidence`). The rate itself is nowhere in it, so bursts that hit both versions, and shares that change between looks, are fine.

The claim holds for more than Poisson counts. With a and b the factors of a failure of the canary and of stable, and p_i the
chance of request i, E of the product over independent requests is at most exp((a - 1) sum of p_i of the canary + (b - 1)
sum of p_i of stable). With mean chances p_c <= r0 p_s that is at most exp(p_s [r0 n_c (a - 1) + n_s (b - 1)]), and the
bracket is 0: r0 n_c a + n_s b = r0 n_c + n_s. So the capital is a supermartingale whatever the rates, equal or not.

**Mirrored requests.** Copies fail like their originals. For an original and its copy E[a^f b^g] = 1 + p_c (a - 1) + p_s (b - 1) +
P(both) (a - 1)(b - 1), the last term negative: the same bets stay valid. Where the outcome of each pair is known, those in
which both failed say nothing about r0 = 1 and are left out (Q. McNemar, Psychometrika 12, 1947), which is stronger (`paired`).

**Good enough.** With `harmless` r_max, bets on less against the claim that r >= r_max show that a canary is good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, log, log1p

from canary.checks.judges.dispersion import EMPTY, NONE_SEEN, UNTESTED, Looks, Pods
from canary.checks.judges.evidence import EFFECTS, FIRST, LATER, MOST, Bets, alternatives, trimmed
from canary.checks.judges.finding import Finding, Standing
from canary.checks.judges.words import TIMES, evidence_words, share, times

LEAST_REQUESTS = 20
MOST_WAITING = 30


@dataclass(frozen=True, slots=True)
class Look:
    """What both backends did in the same time, of the same rules and methods, as clients saw it.

    `pods` are requests and failures of stable's pods by name, where the counters tell them apart; `canary_pods` how many
    the canary has. Raises ValueError: counts that cannot be.
    """

    canary: float
    stable: float
    canary_failed: float
    stable_failed: float
    pods: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    canary_pods: int = 1

    def __post_init__(self) -> None:
        for requests, failed in ((self.canary, self.canary_failed), (self.stable, self.stable_failed)):
            if not (isfinite(requests) and isfinite(failed) and 0 <= failed <= requests <= MOST):
                raise ValueError(f"{failed} failures of {requests} requests cannot be")

    @property
    def counts(self) -> tuple[float, float, float, float]:
        """Requests of the canary and of stable, failures of the canary and of stable."""
        return self.canary, self.stable, self.canary_failed, self.stable_failed


def paired(pairs: float, both: float, canary_only: float, stable_only: float, tolerance: float = 1.0) -> Look:
    """A look at mirrored requests of which it is known, for each, whether the original and its copy failed.

    `both`, `canary_only` and `stable_only` count the pairs in which something failed. Those in which both failed are left out
    where nothing but "not more often" is tolerated; with more they say how often that may be, and stay.
    """
    kept = both if tolerance > 1 else 0.0
    return Look(pairs - both + kept, pairs - both + kept, canary_only + kept, stable_only + kept)


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a run; a few numbers. Requests and failures are sums over all looks at which both had traffic.

    `waiting` are the counts of the latest looks at which a side had none, `onesided` how many they are.
    """

    worse: Bets
    better: Bets
    canary: float = 0.0
    stable: float = 0.0
    canary_failed: float = 0.0
    stable_failed: float = 0.0
    waiting: tuple[float, float, float, float] = EMPTY
    onesided: int = 0
    looks: Looks = UNTESTED
    pods: Pods = NONE_SEEN
    canary_pods: int = 1


@dataclass(frozen=True, slots=True)
class Compare:
    """A comparison of errors.

    Args:
        alpha: the chance, over all looks, to fail a canary that is as good as stable; also that to call a bad one good.
        tolerance: so many times as often as stable the canary may fail; from 1, below 10.
        harmless: less than so many times as often is proved to be good enough; None: nothing is.
        least_requests: of the canary, before anything is said of it.

    Raises ValueError: a setting that can be no such thing.

    """

    alpha: float
    tolerance: float = 1.0
    harmless: float | None = None
    least_requests: int = LEAST_REQUESTS
    effects: tuple[float, ...] = field(init=False)
    _first: tuple[float, ...] = field(init=False, repr=False)
    _later: tuple[float, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"an alpha is more than 0 and less than 1, not {self.alpha:g}")
        if not self.tolerance >= 1:
            raise ValueError(f"a tolerance is 1 or more, not {self.tolerance:g}")
        if self.harmless is not None and not (isfinite(self.harmless) and self.harmless > self.tolerance):
            raise ValueError(
                "what is harmless is more than what is tolerated: else a canary could be both good and bad"
            )
        effects, first, later = alternatives(self.tolerance)
        object.__setattr__(self, "effects", effects)
        object.__setattr__(self, "_first", first)
        object.__setattr__(self, "_later", later)

    @property
    def goods(self) -> tuple[float, ...]:
        """The ratios that are bet on to prove that a canary is good."""
        return () if self.harmless is None else tuple(self.harmless / effect for effect in EFFECTS)

    def begin(self) -> Progress:
        return Progress(Bets.begin(len(self.effects)), Bets.begin(len(self.goods)))

    def fold(self, before: Progress, look: Look) -> Progress:
        """What is known after one more look.

        Looks at which a side had no traffic are put together until both had: whether they are depends on no failure, so a bet
        on them is as fair. After `MOST_WAITING` of them they are forgotten, since they are then of another time.
        """
        pods = before.pods.after(look.pods)
        open_ = tuple(trimmed(one + more) for one, more in zip(before.waiting, look.counts, strict=True))
        canary, stable, failed, stable_failed = open_
        if not (canary > 0 and stable > 0):
            onesided = min(before.onesided + 1, 10**9)
            kept = (canary, stable, failed, stable_failed) if onesided % MOST_WAITING else EMPTY
            return replace(before, waiting=kept, onesided=onesided, pods=pods)
        worse, better = before.worse, before.better
        if failed + stable_failed > 0:
            worse = worse.after(factors(open_, self.effects, self.tolerance), self._first, self._later)
            if self.harmless is not None:
                better = better.after(factors(open_, self.goods, self.harmless), FIRST, LATER)
        return Progress(
            worse,
            better,
            trimmed(before.canary + canary),
            trimmed(before.stable + stable),
            trimmed(before.canary_failed + failed),
            trimmed(before.stable_failed + stable_failed),
            EMPTY,
            0,
            before.looks.after((canary, stable, failed, stable_failed)),
            pods,
            look.canary_pods,
        )

    def moved(self, before: Progress) -> Progress:
        """After a write that changed the shares: looks that wait for the other side are of another time, and are forgotten."""
        return replace(before, waiting=EMPTY)

    def judge(self, progress: Progress) -> Finding:
        """What stands after the looks so far."""
        needed = -log(self.alpha)
        if progress.canary == 0 or progress.stable == 0:
            if progress.onesided >= MOST_WAITING:
                return Finding(
                    Standing.NOT_APPLICABLE, "OneSided", "one of the two has no traffic: nothing to compare with"
                )
            return Finding(Standing.INCONCLUSIVE, "NotMeasured", "no requests of both were counted yet")
        evidence = progress.worse.evidence
        said = f"{self.words(progress)}, {evidence_words(evidence, needed)}"
        if progress.canary < self.least_requests:
            few = f"{progress.canary:g} of {self.least_requests} requests that the canary needs"
            return Finding(Standing.INCONCLUSIVE, "TooFewRequests", f"{said}; {few}")
        if evidence >= needed:
            doubt = self._doubt(progress)
            if doubt:
                return Finding(Standing.INCONCLUSIVE, "Overdispersed", f"{said}; {doubt}")
            return Finding(Standing.FAIL, "WorseThanStable", said)
        if self.harmless is not None and progress.better.tempered(self._dispersion(progress), FIRST) >= needed:
            return Finding(Standing.GOOD, "AsGoodAsStable", f"{said}; less than {self.harmless:g}{TIMES} is proved")
        return Finding(Standing.INCONCLUSIVE, "NotProved", said)

    def words(self, progress: Progress) -> str:
        """How much worse, and from what to what."""
        canary, stable = progress.canary_failed / progress.canary, progress.stable_failed / progress.stable
        return f"errors {times(canary, stable)} ({share(stable)} → {share(canary)})"

    def _dispersion(self, progress: Progress, ratio: float = 1.0) -> float:
        found = progress.looks.dispersion(progress.canary, progress.stable, progress.stable_failed, ratio=ratio)
        # One more than there were attempts: that each was counted so often leaves room for what is odd besides.
        attempts = progress.looks.multiple
        return max(found, attempts + 1.0) if attempts > 1 else found

    def _doubt(self, progress: Progress) -> str:
        """Why what the evidence says may be no matter of the version."""
        spread = progress.pods.explains(progress.canary_pods, self.alpha)
        # What the capital stands on is the ratio since the regression began, in coarse steps; that of all looks is finer.
        ratio = sum(part * effect for part, effect in zip(progress.worse.since_start, self.effects, strict=True))
        if progress.stable_failed > 0:
            whole = progress.canary_failed / progress.canary * progress.stable / progress.stable_failed
            ratio = min(ratio, whole)
        if ratio < spread * self.tolerance:
            return f"stable's own pods differ so much that up to {spread:.1f}{TIMES} says nothing of a version"
        phi = self._dispersion(progress, ratio / self.tolerance)
        if progress.worse.tempered(phi, self._first) >= -log(self.alpha):
            return ""
        if progress.looks.multiple > 1:
            return f"every count is a multiple of {progress.looks.multiple}: attempts are counted, not what clients saw"
        return f"failures may come in clusters: they vary up to {phi:.1f}{TIMES} as much as single ones would"


def factors(look: Sequence[float], ratios: tuple[float, ...], claimed: float) -> tuple[float, ...]:
    """The logarithms of what a look multiplies the capital on each ratio by, against the claimed one.

    The look is requests of the canary and of stable, failures of the canary and of stable.
    """
    canary, stable, failed, stable_failed = look
    both, claim = failed + stable_failed, claimed * canary + stable
    return tuple(failed * log(ratio / claimed) - both * log1p((ratio - claimed) * canary / claim) for ratio in ratios)
