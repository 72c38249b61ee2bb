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

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite, log, log1p

from canary.checks.judges.dispersion import NONE_SEEN, UNTESTED, Looks, Pods
from canary.checks.judges.evidence import EFFECTS, FIRST, LATER, MOST, Bets, alternatives, trimmed
from canary.checks.judges.words import TIMES, evidence_words, share, times

LEAST_REQUESTS = 20


class Standing(StrEnum):
    """What is proved so far."""

    FAIL = "Fail"
    GOOD = "Good"
    INCONCLUSIVE = "Inconclusive"
    NOT_APPLICABLE = "NotApplicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """What stands, why in a word, and a sentence for people."""

    standing: Standing
    reason: str
    message: str


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
    def comparable(self) -> bool:
        """Whether both had traffic."""
        return self.canary > 0 and self.stable > 0


def paired(pairs: float, both: float, canary_only: float, stable_only: float, tolerance: float = 1.0) -> Look:
    """A look at mirrored requests of which it is known, for each, whether the original and its copy failed.

    `both`, `canary_only` and `stable_only` count the pairs in which something failed. Those in which both failed are left out
    where nothing but "not more often" is tolerated; with more they say how often that may be, and stay.
    """
    kept = both if tolerance > 1 else 0.0
    return Look(pairs - both + kept, pairs - both + kept, canary_only + kept, stable_only + kept)


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a run; a few numbers. Requests and failures are sums over all looks at which both had traffic."""

    worse: Bets
    better: Bets
    canary: float = 0.0
    stable: float = 0.0
    canary_failed: float = 0.0
    stable_failed: float = 0.0
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
        """What is known after one more look. One at which a side had no traffic tells nothing, and is counted."""
        if not look.comparable:
            return _changed(before, onesided=min(before.onesided + 1, 10**9))
        worse, better = before.worse, before.better
        if look.canary_failed + look.stable_failed > 0:
            worse = worse.after(factors(look, self.effects, self.tolerance), self._first, self._later)
            if self.harmless is not None:
                better = better.after(factors(look, self.goods, self.harmless), FIRST, LATER)
        counts = (look.canary, look.stable, look.canary_failed, look.stable_failed)
        return Progress(
            worse,
            better,
            trimmed(before.canary + look.canary),
            trimmed(before.stable + look.stable),
            trimmed(before.canary_failed + look.canary_failed),
            trimmed(before.stable_failed + look.stable_failed),
            before.onesided,
            before.looks.after(counts),
            before.pods.after(look.pods),
            look.canary_pods,
        )

    def judge(self, progress: Progress) -> Finding:
        """What stands after the looks so far."""
        needed = -log(self.alpha)
        evidence = progress.worse.evidence
        if progress.canary == 0 or progress.stable == 0:
            if progress.onesided:
                return Finding(
                    Standing.NOT_APPLICABLE, "OneSided", "one of the two has no traffic: nothing to compare with"
                )
            return Finding(Standing.INCONCLUSIVE, "NotMeasured", "no request was counted yet")
        said = f"{self.words(progress)}, {evidence_words(evidence, needed)}"
        if progress.canary < self.least_requests:
            return Finding(
                Standing.INCONCLUSIVE,
                "TooFewRequests",
                f"{said}; {progress.canary:g} of {self.least_requests} requests that the canary needs",
            )
        if evidence >= needed:
            doubt = self._doubt(progress, evidence / needed)
            if doubt:
                return Finding(Standing.INCONCLUSIVE, "Overdispersed", f"{said}; {doubt}")
            return Finding(Standing.FAIL, "WorseThanStable", said)
        if self.harmless is not None and progress.better.evidence >= needed * progress.looks.dispersion:
            return Finding(Standing.GOOD, "AsGoodAsStable", f"{said}; less than {self.harmless:g}{TIMES} is proved")
        return Finding(Standing.INCONCLUSIVE, "NotProved", said)

    def words(self, progress: Progress) -> str:
        """How much worse, and from what to what."""
        canary, stable = progress.canary_failed / progress.canary, progress.stable_failed / progress.stable
        return f"errors {times(canary, stable)} ({share(stable)} → {share(canary)})"

    def _doubt(self, progress: Progress, margin: float) -> str:
        """Why what the evidence says may be no matter of the version; `margin` is evidence by what is needed, in logarithms."""
        spread = progress.pods.explains(progress.canary_pods, self.alpha)
        # What the capital stands on is the ratio since the regression began, however long before the canary was good.
        ratio = sum(p * r for p, r in zip(progress.worse.since_start, self.effects, strict=True)) / self.tolerance
        if ratio < spread:
            return f"stable's own pods differ so much that up to {spread:.1f}{TIMES} says nothing of a version"
        if margin < progress.looks.multiple:
            return f"every count is a multiple of {progress.looks.multiple}: attempts are counted, not what clients saw"
        phi = progress.looks.dispersion
        if margin < phi:
            return f"failures come in clusters: they vary {phi:.1f}{TIMES} as much as single ones would"
        return ""


def factors(look: Look, ratios: tuple[float, ...], claimed: float) -> tuple[float, ...]:
    """The logarithms of what a look multiplies the capital on each ratio by, against the claimed one."""
    canary, failed = look.canary, look.canary_failed
    both, claim = failed + look.stable_failed, claimed * look.canary + look.stable
    return tuple(failed * log(ratio / claimed) - both * log1p((ratio - claimed) * canary / claim) for ratio in ratios)


def _changed(before: Progress, *, onesided: int) -> Progress:
    return Progress(
        before.worse,
        before.better,
        before.canary,
        before.stable,
        before.canary_failed,
        before.stable_failed,
        onesided,
        before.looks,
        before.pods,
        before.canary_pods,
    )
