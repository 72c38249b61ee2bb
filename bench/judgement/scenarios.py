"""What happens to canaries, good ones and bad ones, and what is asked of the judges of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.random import Generator

from bench.judgement import methods, unseen
from bench.judgement.answers import AT_TIMES, ORDER, SELDOM, TIME, Answers, several
from bench.judgement.methods import Ended
from bench.judgement.traffic import Counted, Errors, Latencies, Mirrored, Straddled, always, part, rising, since

Method = Callable[[Iterable[Any]], Ended]


@dataclass(frozen=True)
class Bar:
    """What is asked: alarms (healthy) at most, or the share caught at least and the median of looks until then."""

    alarms: float | None = None
    caught: float | None = None
    median: int | None = None


@dataclass(frozen=True)
class Scenario:
    """A kind of run.

    `contrast` says what the product does so that this does not happen: it is shown apart and has no bar. `why` says what
    it rests on where the bar is not met. `tuned`: whether settings of the judges were chosen with these very parameters in view.
    `floor` calculates the least part of these canaries that any judge fails which catches bad ones as the bars ask.
    """

    name: str
    bad: bool
    draw: Callable[[Generator], Iterable[Any]]
    methods: dict[str, Method] = field(default_factory=lambda: {"compare": methods.compare})
    bar: Bar = Bar()
    contrast: str = ""
    why: str = ""
    tuned: bool = False
    floor: Callable[[], float] | None = None


TODAY: dict[str, Method] = {
    "> 2 %, 5 in a row": methods.threshold,
    "> 2 %, 5 in all": methods.threshold_total,
    "> 2 %, 5 of 10": methods.sliding,
}
OURS: dict[str, Method] = {"compare": methods.compare}
LATENCY: dict[str, Method] = {"latency": methods.latency}
MIRRORED: dict[str, Method] = {"mirrored": methods.mirrored}
EARLY: dict[str, Method] = {"compare, promoteEarly": methods.promote_early}
HEALTHY = Bar(alarms=methods.ALPHA)


def _limits(ratio: float) -> dict[str, Method]:
    return {
        "limit: rates known": partial(methods.wald, ratio=ratio),
        "limit: ratio known": partial(methods.conditional, ratio=ratio),
    }


def _good(
    name: str,
    draw: Callable[[Generator], Iterable[Any]],
    used: dict[str, Method] = OURS,
    *,
    why: str = "",
    tuned: bool = False,
    floor: Callable[[], float] | None = None,
) -> Scenario:
    return Scenario(name, False, draw, used, HEALTHY, "", why, tuned, floor)


def _bad(
    name: str,
    draw: Callable[[Generator], Iterable[Any]],
    used: dict[str, Method] = OURS,
    bar: Bar = Bar(),
    *,
    tuned: bool = False,
) -> Scenario:
    return Scenario(name, True, draw, used, bar, tuned=tuned)


_CLUSTERS = "clusters are too small, or looks too few as yet, to be told from chance: count what clients saw, or tell pods apart"
_ONE_POD = (
    "a pod that is worse by itself is, in one series, a version that is worse: give the counters a label for the pod"
)
_NOISE = "what each version does by itself at each look is not known after a few looks"
_LASTING = "what keeps for several looks is not seen between neighbours, and looks like a version that is worse"


def _from_look_20(look: int) -> float:
    return 0.03 if look >= 20 else 0.0


_NOISY = several(time=(2, TIME), order=(4, ORDER), at_times=(6, AT_TIMES))
"""A dozen places that differ without a fault."""

HEALTHY_ONES: tuple[Scenario, ...] = (
    _good("healthy", Errors(), OURS | TODAY, tuned=True),
    _good("bursts, 5 % of looks, 20 times", Errors(bursts=0.05, times=20), OURS | TODAY),
    _good("bursts, 25 % of looks, 3 times", Errors(bursts=0.25, times=3)),
    _good("bursts, 10 % of looks, 10 times", Errors(bursts=0.1), tuned=True),
    _good("rising weights, 1 to 50 %", Errors(share=rising)),
    _good("rising weights, 1 to 50 %, bursts 20 times", Errors(share=rising, bursts=0.05, times=20)),
    _good("one request a look, 600 looks", Errors(requests=1, looks=600)),
    _good("one request a look, 10 % fail, 600 looks", Errors(requests=1, base=0.1, looks=600)),
    _good("60 requests a look", Errors(requests=60)),
    _good("2,000 requests a look", Errors(requests=2000)),
    _good("20,000 requests a look", Errors(requests=20000)),
    _good("base 0.2 %", Errors(base=0.002)),
    _good("base 3 %", Errors(base=0.03)),
    _good("base 20 %", Errors(base=0.2)),
    _good("canary 2 %", Errors(share=part(0.02))),
    _good("canary 30 %", Errors(share=part(0.3))),
    _good("retries: each failure counted twice", Errors(counted=(2,)), tuned=True),
    _good("retries: each failure counted three times", Errors(counted=(3,)), tuned=True),
    _good("retries: each failure counted four times", Errors(counted=(4,)), why=_CLUSTERS),
    _good("retries: failures counted once or twice", Errors(counted=(1, 2)), why=_CLUSTERS, tuned=True),
    _good("retries: failures counted 1 to 3 times", Errors(counted=(1, 2, 3)), why=_CLUSTERS, tuned=True),
    _good("retries: failures counted 1 to 3 times, pods told apart", Errors(counted=(1, 2, 3), pods=9), why=_CLUSTERS),
    _good("retries: failures counted once or 5 times", Errors(counted=(1, 1, 1, 5)), why=_CLUSTERS, tuned=True),
    _good(
        "retries: failures counted 1 to 3 times, canary 30 %", Errors(counted=(1, 2, 3), share=part(0.3)), why=_CLUSTERS
    ),
    _good("nine pods against one, alike, told apart", Errors(pods=9)),
    _good("one canary pod, pods differ by 0.2, told apart", Errors(pods=9, spread=0.2), why=_ONE_POD),
    _good("one canary pod, pods differ by 0.3, told apart", Errors(pods=9, spread=0.3), why=_ONE_POD),
    _good("one canary pod, pods differ by 0.4, told apart", Errors(pods=9, spread=0.4), why=_ONE_POD, tuned=True),
    _good("one canary pod, pods differ by 0.6, told apart", Errors(pods=9, spread=0.6), why=_ONE_POD),
    _good("one canary pod, pods differ by 0.3, told apart, 3,000 requests", Errors(pods=9, spread=0.3, requests=3000)),
    _good(
        "one canary pod, pods differ by 0.2, one series",
        Errors(pods=9, spread=0.2, told=False),
        why=_ONE_POD,
        floor=partial(unseen.least, 0.2),
    ),
    _good(
        "one canary pod, pods differ by 0.4, one series",
        Errors(pods=9, spread=0.4, told=False),
        why=_ONE_POD,
        floor=partial(unseen.least, 0.4),
    ),
    _good(
        "one canary pod, pods differ by 0.6, one series",
        Errors(pods=9, spread=0.6, told=False),
        why=_ONE_POD,
        floor=partial(unseen.least, 0.6),
    ),
    _good("own noise 20 %", Errors(noise=0.2), why=_NOISE),
    _good("own noise 40 %", Errors(noise=0.4), why=_NOISE),
    _good("own noise 50 %", Errors(noise=0.5), why=_NOISE, tuned=True),
    _good("own noise 60 %", Errors(noise=0.6), why=_NOISE),
    _good("own noise 20 %, 3,000 requests", Errors(noise=0.2, requests=3000), why=_NOISE),
    _good("own noise 40 %, 3,000 requests", Errors(noise=0.4, requests=3000), why=_NOISE),
    _good("own noise 60 %, 3,000 requests", Errors(noise=0.6, requests=3000), why=_NOISE),
    _good("own noise 50 %, 6,000 requests", Errors(noise=0.5, requests=6000), why=_NOISE, tuned=True),
    _good("own noise 40 %, 20,000 requests", Errors(noise=0.4, requests=20000), why=_NOISE),
    _good("own noise 40 %, canary 30 %", Errors(noise=0.4, share=part(0.3)), why=_NOISE, tuned=True),
    _good("own noise 50 %, canary 50 %", Errors(noise=0.5, share=part(0.5)), why=_NOISE, tuned=True),
    _good("own noise 40 %, base 3 %", Errors(noise=0.4, base=0.03), why=_NOISE),
    _good("own noise 40 %, bursts", Errors(noise=0.4, bursts=0.05, times=20), why=_NOISE),
    _good("own noise 30 % that lasts 5 looks", Errors(noise=0.3, lasts=5), why=_LASTING, tuned=True),
    _good("own noise 30 % that lasts 20 looks", Errors(noise=0.3, lasts=20), why=_LASTING),
    _good("counters restart, pods go and come", Counted()),
    _good("looks that span a write are left out", Straddled()),
    _good("mirrored, pairs known", Mirrored()),
    _good("mirrored, sums known", Mirrored(by_pair=False)),
    _good("healthy, may be promoted early", Errors(), EARLY, tuned=True),
    _good("latency: healthy", Latencies(), LATENCY),
    _good("latency: 6,000 requests a look", Latencies(requests=6000), LATENCY),
    _good("latency: bursts that hit both versions", Latencies(bursts=0.2), LATENCY),
    _good("latency: 5 % slower, which is no matter", Latencies(always(1.05)), LATENCY),
    _good("latency: cold cache for 5 looks, warm-up of 5", Latencies(cold=5, warm_up=5), LATENCY),
    _good("latency: own noise 15 %", Latencies(noise=0.15), LATENCY, why=_NOISE),
    _good("latency: own noise 25 %", Latencies(noise=0.25), LATENCY, why=_NOISE),
    _good("latency: own noise 15 %, 6,000 requests", Latencies(noise=0.15, requests=6000), LATENCY, why=_NOISE),
    _good("mirrored: answers alike", Answers(), MIRRORED),
    _good("mirrored: times and ids", Answers(noise=several(time=(6, TIME))), MIRRORED),
    _good("mirrored: orders by chance", Answers(noise=several(order=(4, ORDER))), MIRRORED),
    _good("mirrored: a dozen noisy places", Answers(noise=_NOISY), MIRRORED),
    _good("mirrored: noise that comes and goes", Answers(noise=_NOISY, wave=True), MIRRORED),
    _good("mirrored: thirty places that differ together", Answers(alike=30), MIRRORED),
    _good("mirrored: sixty places that seldom differ", Answers(noise=several(seldom=(60, SELDOM))), MIRRORED),
    _good("mirrored: a map by 200 keys", Answers(keys=200), MIRRORED),
    _good("mirrored: unequal noise, as much as it may", Answers(noise=_NOISY, more=0.001), MIRRORED),
    _good("mirrored: 5 answers a look", Answers(noise=_NOISY, compared=5), MIRRORED),
    _good("mirrored: 1,200 answers a look", Answers(noise=_NOISY, compared=1200), MIRRORED),
)

CONTRASTS: tuple[Scenario, ...] = (
    Scenario(
        "looks that span a write are judged",
        False,
        Straddled(kept=True),
        contrast="looks that span a write and its propagation are never judged: *looks that span a write are left out*",
    ),
    Scenario(
        "latency: cold cache for 5 looks, no warm-up",
        False,
        Latencies(cold=5),
        LATENCY,
        contrast="a check of latencies has a warm-up: *cold cache for 5 looks, warm-up of 5*. It *is* slower until then",
    ),
    Scenario(
        "mirrored: answers name one of nine pods of stable",
        False,
        Answers(noise=several(pod=(1, (1 / 9, 0.0, 8 / 9)))),
        MIRRORED,
        contrast="an answer that names its pod is always another one from the canary, and twice the same from stable in one of nine: "
        "tell the comparer to ignore the place",
    ),
)

BAD: tuple[Scenario, ...] = (
    _bad(
        "2 times the errors", Errors(always(2.0)), OURS | TODAY | _limits(2.0), Bar(caught=0.97, median=18), tuned=True
    ),
    _bad("3 times the errors", Errors(always(3.0)), OURS | TODAY | _limits(3.0), Bar(median=6), tuned=True),
    _bad("10 times the errors", Errors(always(10.0)), OURS | TODAY | _limits(10.0), Bar(median=1), tuned=True),
    _bad("2 times the errors from look 20", Errors(since(20, 2.0)), OURS | TODAY, Bar(caught=0.82), tuned=True),
    _bad("3 times the errors from look 20", Errors(since(20, 3.0))),
    _bad("10 times the errors from look 20", Errors(since(20, 10.0))),
    _bad("1.5 times the errors", Errors(always(1.5))),
    _bad("5 times the errors", Errors(always(5.0))),
    _bad("2 times the errors, 200 requests a look", Errors(always(2.0), requests=200)),
    _bad("2 times the errors, 2,000 requests a look", Errors(always(2.0), requests=2000)),
    _bad("2 times the errors, 6,000 requests a look", Errors(always(2.0), requests=6000), tuned=True),
    _bad("2 times the errors, base 0.2 %", Errors(always(2.0), base=0.002)),
    _bad("2 times the errors, base 3 %", Errors(always(2.0), base=0.03)),
    _bad("2 times the errors, canary 30 %", Errors(always(2.0), share=part(0.3))),
    _bad("2 times the errors, bursts 20 times", Errors(always(2.0), bursts=0.05, times=20)),
    _bad("2 times the errors, rising weights", Errors(always(2.0), share=rising), tuned=True),
    _bad("10 times the errors, one request a look, 600 looks", Errors(always(10.0), requests=1, base=0.05, looks=600)),
    _bad("3 times the errors, each counted twice", Errors(always(3.0), counted=(2,))),
    _bad("3 times the errors, each counted once or twice", Errors(always(3.0), counted=(1, 2))),
    _bad("2 times the errors, own noise 40 %", Errors(always(2.0), noise=0.4)),
    _bad("3 times the errors, own noise 40 %", Errors(always(3.0), noise=0.4)),
    _bad("2 times the errors, nine pods told apart", Errors(always(2.0), pods=9), tuned=True),
    _bad("3 times the errors, pods differ by 0.3", Errors(always(3.0), pods=9, spread=0.3)),
    _bad("10 times the errors, pods differ by 0.3", Errors(always(10.0), pods=9, spread=0.3)),
    _bad("2 times the errors, counters restart", Counted(2.0)),
    _bad("2 times the errors, mirrored, pairs known", Mirrored(2.0)),
    _bad("2 times the errors, mirrored, sums known", Mirrored(2.0, by_pair=False)),
    _bad("2 times the errors, must not be promoted early", Errors(always(2.0)), EARLY, tuned=True),
    _bad("latency: 1.3 times as slow", Latencies(always(1.3)), LATENCY, tuned=True),
    _bad("latency: 1.5 times as slow", Latencies(always(1.5)), LATENCY),
    _bad("latency: 1.5 times as slow from look 20", Latencies(since(20, 1.5)), LATENCY),
    _bad("latency: 1.5 times as slow, own noise 15 %", Latencies(always(1.5), noise=0.15), LATENCY),
    _bad("mirrored: a field changed in all answers", Answers(always(1.0)), MIRRORED),
    _bad("mirrored: in 3 %", Answers(always(0.03)), MIRRORED),
    _bad("mirrored: in 0.5 %", Answers(always(0.005)), MIRRORED),
    _bad("mirrored: in 3 % from look 20", Answers(_from_look_20), MIRRORED),
    _bad("mirrored: in 3 %, beside a dozen noisy places", Answers(always(0.03), noise=_NOISY), MIRRORED),
    _bad("mirrored: in 0.5 %, beside a dozen noisy places", Answers(always(0.005), noise=_NOISY), MIRRORED),
    _bad("mirrored: in 3 %, at a noisy place", Answers(always(0.03), "$.order0", noise=_NOISY), MIRRORED),
    _bad("mirrored: in 30 %, at a noisy place", Answers(always(0.3), "$.order0", noise=_NOISY), MIRRORED),
    _bad("mirrored: in 3 %, beside a map by 200 keys", Answers(always(0.03), keys=200), MIRRORED),
    _bad("mirrored: in 3 %, 5 answers a look", Answers(always(0.03), compared=5), MIRRORED),
    _bad("mirrored: in all, 5 answers a look", Answers(always(1.0), compared=5), MIRRORED),
)

SCENARIOS: tuple[Scenario, ...] = HEALTHY_ONES + CONTRASTS + BAD
"""What the report is about. What the settings of the judges were chosen on is in `tuning`."""
