"""Traffic that was never served: looks at a canary and at stable, drawn from a generator with a seed.

Unless something else is said: 600 requests a look, 10 % of them the canary's, 1 % of which fail; 60 looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import erf, log, sqrt

import numpy as np
from numpy.random import Generator

from canary.checks.judges.compare import Look, paired
from canary.checks.judges.counters import Labels, Snapshot, between, settled
from canary.checks.judges.latency import Histogram

LOOKS = 60
REQUESTS = 600
BASE = 0.01
BOUNDS = (0.2, 0.4)
"""Buckets that are compared, seconds; of healthy requests 8 % and 0.3 % are slower."""

Ratio = Callable[[int], float]
Counts = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def always(ratio: float) -> Ratio:
    """The same at every look."""
    return partial(_stays, ratio)


def since(look: int, ratio: float) -> Ratio:
    """As good as stable before a look (the first is 0), so many times as bad from it on."""
    return partial(_begins, look, ratio)


def part(share: float) -> Callable[[int], float]:
    """So large a part of the requests at every look."""
    return partial(_stays, share)


def _stays(value: float, _: int) -> float:
    return value


def _begins(look: int, ratio: float, now: int) -> float:
    return ratio if now >= look else 1.0


def rising(look: int) -> float:
    """1, 5, 10, 25 and 50 %, twelve looks each."""
    return (0.01, 0.05, 0.10, 0.25, 0.50)[min(look // 12, 4)]


@dataclass(frozen=True)
class Errors:
    """A run of looks at errors.

    Args:
        ratio: how many times as often as stable the canary fails, by look.
        share: the canary's part of the requests, by look.
        bursts: the part of the looks in which everything fails `times` as often, both versions alike.
        counted: how often each failure is counted, drawn anew from these for each.
        pods: stable's pods; more than 0 tells them apart. The canary has one.
        spread: the standard deviation of the logarithm of a pod's failure rate, which it keeps; needs pods.
        told: whether the counters tell the pods apart.
        noise: the coefficient of variation of each side's own rate, drawn anew every `lasts` looks.

    """

    ratio: Ratio = field(default=always(1.0))
    share: Callable[[int], float] = field(default=part(0.1))
    requests: int = REQUESTS
    base: float = BASE
    bursts: float = 0.0
    times: float = 10.0
    counted: tuple[int, ...] = (1,)
    pods: int = 0
    spread: float = 0.0
    told: bool = True
    noise: float = 0.0
    lasts: int = 1
    looks: int = LOOKS

    def __call__(self, random: Generator) -> Iterator[Look]:
        pods = max(self.pods, 1)
        worse = random.lognormal(0, self.spread, pods + 1) if self.spread else np.ones(pods + 1)
        looks = range(self.looks)
        base = np.full(self.looks, self.base)
        if self.bursts:
            base *= np.where(random.random(self.looks) < self.bursts, self.times, 1.0)
        own = np.ones((self.looks, 2))
        if self.noise:
            drawn = random.gamma(self.noise**-2, self.noise**2, (-(-self.looks // self.lasts), 2))
            own = np.repeat(drawn, self.lasts, axis=0)[: self.looks]
        canary = random.binomial(self.requests, [self.share(number) for number in looks])
        each = random.multinomial(self.requests - canary, [1 / pods] * pods)
        ratios = np.array([self.ratio(number) for number in looks])
        failed = self._failed(random, canary, base * own[:, 0] * ratios * worse[pods])
        failures = self._failed(random, each, (base * own[:, 1])[:, None] * worse[:pods])
        told = self.pods > 0 and self.told
        for ours, bad, asked, fell in zip(
            canary.tolist(), failed.tolist(), each.tolist(), failures.tolist(), strict=True
        ):
            named = enumerate(zip(asked, fell, strict=True)) if told else ()
            by_pod = {f"pod-{pod}": (float(requests), float(bad_ones)) for pod, (requests, bad_ones) in named}
            yield Look(ours, self.requests - ours, bad, sum(fell), by_pod)

    def _failed(self, random: Generator, requests: Counts, rates: np.ndarray) -> Counts:
        failed: Counts = random.binomial(requests, np.minimum(rates, 1.0))
        if self.counted == (1,):
            return failed
        each = random.multinomial(failed, [1 / len(self.counted)] * len(self.counted))
        # More attempts than there were requests are counted as requests too, in a scrape of the gateway.
        attempts: Counts = np.minimum(each @ np.array(self.counted), requests)
        return attempts


@dataclass(frozen=True)
class Mirrored:
    """A fifth of the requests is copied; a part of the failures is the request's own fault and hits both, the rest is drawn.

    `by_pair` says whether the outcome of each pair is known, or only how many failed on either side.
    """

    ratio: float = 1.0
    together: float = 0.7
    by_pair: bool = True

    def __call__(self, random: Generator) -> Iterator[Look]:
        for _ in range(LOOKS):
            copies = int(random.binomial(REQUESTS, 0.2))
            both = int(random.binomial(copies, BASE * self.together))
            alone = int(random.binomial(copies, BASE * (1 - self.together)))
            canary = int(random.binomial(copies - both, min(BASE * (self.ratio - self.together), 1.0)))
            if self.by_pair:
                # Of those that fail by chance on one side next to none fails on the other as well.
                yield paired(copies, both, canary, min(alone, copies - both - canary))
            else:
                rest = int(random.binomial(REQUESTS - copies, BASE))
                yield Look(copies, REQUESTS, both + canary, both + min(alone, copies - both) + rest)


@dataclass(frozen=True)
class Counted:
    """Raw counters of four pods of stable and one of the canary, which restart, go and come, read through `between`."""

    ratio: float = 1.0

    def __call__(self, random: Generator) -> Iterator[Look]:
        sides = {"canary": ["c0"], "stable": ["s0", "s1", "s2", "s3"]}
        ok: dict[str, int] = {pod: int(random.integers(0, 100000)) for pods in sides.values() for pod in pods}
        bad: dict[str, int] = {}
        born = 0
        before = _snapshots(sides, ok, bad)
        for _ in range(LOOKS):
            for side, pods in sides.items():
                chosen = int(random.integers(len(pods)))
                happens = random.random()
                if happens < 0.05:
                    ok[pods[chosen]] = 0
                    bad.pop(pods[chosen], None)
                elif happens < 0.10:
                    ok.pop(pods[chosen])
                    bad.pop(pods[chosen], None)
                    born += 1
                    pods[chosen] = f"{side}-{born}"
                    ok[pods[chosen]] = 0
                requests = REQUESTS // 10 if side == "canary" else REQUESTS * 9 // 10 // len(pods)
                for pod in pods:
                    failed = int(random.binomial(requests, BASE * (self.ratio if side == "canary" else 1)))
                    ok[pod] += requests - failed
                    if failed:
                        bad[pod] = bad.get(pod, 0) + failed
            after = _snapshots(sides, ok, bad)
            canary, stable = (between(before[side], after[side]) for side in ("canary", "stable"))
            yield Look(
                canary.requests, stable.requests, canary.failures, stable.failures, stable.pods, len(canary.pods)
            )
            before = after


def _snapshots(sides: dict[str, list[str]], ok: dict[str, int], bad: dict[str, int]) -> dict[str, Snapshot]:
    """What a scrape finds: a series of good requests for each pod, one of failures where there ever was one."""
    found = {}
    for side, pods in sides.items():
        failures = {_labels(pod, "500"): float(bad[pod]) for pod in pods if pod in bad}
        requests = {_labels(pod, "200"): float(ok[pod]) for pod in pods} | failures
        found[side] = Snapshot(requests, failures)
    return found


def _labels(pod: str, code: str) -> Labels:
    return frozenset({("job", "shop"), ("instance", pod), ("code", code)})


@dataclass(frozen=True)
class Straddled:
    """Every tenth look spans a write from 1 to 50 %, and half of these a burst on one side of it; a look takes 10 s.

    With `kept` those looks are judged all the same, which is what `settled` is there to prevent.
    """

    kept: bool = False

    def __call__(self, random: Generator) -> Iterator[Look]:
        for number in range(LOOKS):
            start = number * 10.0
            write = (start + 5.0,) if number % 10 == 9 else ()
            parts = (
                ((0.01, 0.5, 1.0), (0.5, 0.5, 10.0 if random.random() < 0.5 else 1.0)) if write else ((0.5, 1.0, 1.0),)
            )
            canary = stable = failed = stable_failed = 0
            for share, part, burst in parts:
                ours = int(random.binomial(int(REQUESTS * part), share))
                others = int(REQUESTS * part) - ours
                canary, stable = canary + ours, stable + others
                failed += int(random.binomial(ours, BASE * burst))
                stable_failed += int(random.binomial(others, BASE * burst))
            if self.kept or settled(start, start + 10.0, write, 2.0):
                yield Look(canary, stable, failed, stable_failed)


@dataclass(frozen=True)
class Latencies:
    """A run of looks at latencies, log-normal around 100 ms; the canary takes `slower` times as long.

    `cold` looks at the beginning take the canary three times as long; of these `warm_up` are not looked at. In `bursts` of the
    looks everything takes twice as long, both versions alike. `noise` is the coefficient of variation of what each side's own
    times are multiplied with, drawn anew at each look.
    """

    slower: Ratio = field(default=always(1.0))
    cold: int = 0
    warm_up: int = 0
    bursts: float = 0.0
    noise: float = 0.0
    requests: int = REQUESTS
    looks: int = LOOKS

    def __call__(self, random: Generator) -> Iterator[tuple[Histogram, Histogram]]:
        looks = range(self.looks)
        base = np.full(self.looks, 0.1)
        if self.bursts:
            base *= np.where(random.random(self.looks) < self.bursts, 2.0, 1.0)
        own = np.ones((self.looks, 2))
        if self.noise:
            own = random.gamma(self.noise**-2, self.noise**2, (self.looks, 2))
        own[:, 0] *= [self.slower(number) * (3.0 if number < self.cold else 1.0) for number in looks]
        canary = random.binomial(self.requests, 0.1, self.looks)
        ours = random.multinomial(canary, _parts(base * own[:, 0]))
        theirs = random.multinomial(self.requests - canary, _parts(base * own[:, 1]))
        sides = zip(ours.tolist(), theirs.tolist(), strict=True)
        yield from ((_histogram(one), _histogram(other)) for one, other in islice(sides, self.warm_up, None))


def _parts(middles: np.ndarray) -> np.ndarray:
    """Of requests log-normal around so many seconds, the parts within each bound and beyond them all, by look."""
    below = [[0.5 + erf(log(bound / middle) / 0.5 / sqrt(2)) / 2 for bound in BOUNDS] for middle in middles.tolist()]
    return np.array([[first, max(second - first, 0.0), max(1 - second, 0.0)] for first, second in below])


def _histogram(counts: list[int]) -> Histogram:
    return Histogram(sum(counts), {BOUNDS[0]: float(counts[0]), BOUNDS[1]: float(counts[0] + counts[1])})
