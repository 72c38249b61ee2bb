"""What happens to canaries, good ones and bad ones, and what is asked of the judges of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from numpy.random import Generator

from bench.judgement import methods
from bench.judgement.methods import Ended
from bench.judgement.traffic import Counted, Errors, Latencies, Mirrored, Straddled, always, rising, since

Method = Callable[[Iterable[Any]], Ended]


@dataclass(frozen=True)
class Bar:
    """What is asked: alarms (healthy) at most, or the share caught at least and the median of looks until then."""

    alarms: float | None = None
    caught: float | None = None
    median: int | None = None


@dataclass(frozen=True)
class Scenario:
    """A kind of run. `known` says why it is told although no judge can do it: what it needs is not in the counters."""

    name: str
    bad: bool
    draw: Callable[[Generator], Iterable[Any]]
    methods: dict[str, Method] = field(default_factory=lambda: {"compare": methods.compare})
    bar: Bar = Bar()
    known: str = ""


TODAY: dict[str, Method] = {
    "> 2 %, 5 in a row": methods.threshold,
    "> 2 %, 5 in all": methods.threshold_total,
    "> 2 %, 5 of 10": methods.sliding,
}
OURS: dict[str, Method] = {"compare": methods.compare}
LATENCY: dict[str, Method] = {"latency": methods.latency}
EARLY: dict[str, Method] = {"compare, promoteEarly": methods.promote_early}
HEALTHY = Bar(alarms=methods.ALPHA)


def _limits(ratio: float) -> dict[str, Method]:
    return {
        "limit: rates known": partial(methods.wald, ratio=ratio),
        "limit: ratio known": partial(methods.conditional, ratio=ratio),
    }


def _good(
    name: str, draw: Callable[[Generator], Iterable[Any]], used: dict[str, Method] = OURS, known: str = ""
) -> Scenario:
    return Scenario(name, False, draw, used, HEALTHY, known)


def _bad(
    name: str,
    draw: Callable[[Generator], Iterable[Any]],
    used: dict[str, Method] = OURS,
    bar: Bar = Bar(),
) -> Scenario:
    return Scenario(name, True, draw, used, bar)


SCENARIOS: tuple[Scenario, ...] = (
    _good("healthy", Errors(), OURS | TODAY),
    _good("bursts that hit both versions", Errors(bursts=0.1), OURS | TODAY),
    _good("rising weights, 1 to 50 %, with bursts", Errors(share=rising, bursts=0.1), OURS | TODAY),
    _good("one request a look, 600 looks", Errors(requests=1, looks=600)),
    _good("one request a look, 10 % fail, 600 looks", Errors(requests=1, base=0.1, looks=600)),
    _good("60,000 requests a look", Errors(requests=60000)),
    _good("each failure counted twice (retries)", Errors(counted=(2,))),
    _good("each failure counted three times", Errors(counted=(3,))),
    _good("each failure counted 1 to 3 times, pods told apart", Errors(counted=(1, 2, 3), pods=9)),
    _good(
        "each failure counted 1 to 3 times, one series",
        Errors(counted=(1, 2, 3)),
        known="clusters of so few failures do not show in one series: count what clients saw, or by pod",
    ),
    _good("nine pods against one, told apart, alike", Errors(pods=9)),
    _good("one canary pod, pods differ by 0.4, told apart", Errors(pods=9, spread=0.4)),
    _good("one canary pod, pods differ by 0.4, ten times the traffic", Errors(pods=9, spread=0.4, requests=6000)),
    _good(
        "one canary pod, pods differ by 0.4, one series",
        Errors(pods=9, spread=0.4, told=False),
        known="a pod that is worse by itself looks like a version that is: give the counters a label for the pod",
    ),
    _good("each version has noise of its own, 30 %", Errors(noise=0.3)),
    _good("each version has noise of its own, 30 %, ten times the traffic", Errors(noise=0.3, requests=6000)),
    _good("each version has noise of its own, 50 %", Errors(noise=0.5)),
    _good("each version has noise of its own, 50 %, ten times the traffic", Errors(noise=0.5, requests=6000)),
    _good("counters restart, pods go and come", Counted()),
    _good("looks that span a write are left out", Straddled()),
    _good("looks that span a write are judged", Straddled(kept=True), known="this is why they are left out"),
    _good("mirrored, pairs known", Mirrored()),
    _good("mirrored, sums known", Mirrored(by_pair=False)),
    _good("healthy, may be promoted early", Errors(), EARLY),
    _bad("2 times the errors, must not be promoted early", Errors(always(2.0)), EARLY),
    _bad("2 times the errors", Errors(always(2.0)), OURS | TODAY | _limits(2.0), Bar(caught=0.97, median=18)),
    _bad("3 times the errors", Errors(always(3.0)), OURS | TODAY | _limits(3.0), Bar(median=6)),
    _bad("10 times the errors", Errors(always(10.0)), OURS | TODAY | _limits(10.0), Bar(median=1)),
    _bad("2 times the errors from look 20", Errors(since(20, 2.0)), OURS | TODAY, Bar(caught=0.82)),
    _bad("3 times the errors from look 20", Errors(since(20, 3.0))),
    _bad("10 times the errors from look 20", Errors(since(20, 10.0))),
    _bad("2 times the errors, ten times the traffic", Errors(always(2.0), requests=6000)),
    _bad("2 times the errors, bursts", Errors(always(2.0), bursts=0.1)),
    _bad("2 times the errors, rising weights", Errors(always(2.0), share=rising)),
    _bad("10 times the errors, one request a look, 600 looks", Errors(always(10.0), requests=1, base=0.05, looks=600)),
    _bad("3 times the errors, each counted twice", Errors(always(3.0), counted=(2,))),
    _bad("2 times the errors, nine pods told apart", Errors(always(2.0), pods=9)),
    _bad("3 times the errors, pods differ by 0.4", Errors(always(3.0), pods=9, spread=0.4)),
    _bad("2 times the errors, counters restart", Counted(2.0)),
    _bad("2 times the errors, mirrored, pairs known", Mirrored(2.0)),
    _bad("2 times the errors, mirrored, sums known", Mirrored(2.0, by_pair=False)),
    _good("latency: healthy", Latencies(), LATENCY),
    _good("latency: bursts that hit both versions", Latencies(bursts=0.2), LATENCY),
    _good("latency: 5 % slower, which is no matter", Latencies(always(1.05)), LATENCY),
    _good("latency: cold cache for 5 looks, warm-up of 5", Latencies(cold=5, warm_up=5), LATENCY),
    _good(
        "latency: cold cache for 5 looks, no warm-up",
        Latencies(cold=5),
        LATENCY,
        known="it is slower then: this is what the warm-up is for",
    ),
    _bad("latency: 1.3 times as slow", Latencies(always(1.3)), LATENCY),
    _bad("latency: 1.5 times as slow", Latencies(always(1.5)), LATENCY),
    _bad("latency: 1.5 times as slow from look 20", Latencies(since(20, 1.5)), LATENCY),
)
