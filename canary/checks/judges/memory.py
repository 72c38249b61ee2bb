"""What a comparison remembers in the status of a Rollout, as text of at most 1 KiB, and how much of it is believed. Pure.

A status may have been written by anybody. What is read is bounded, of the right shape, and evidence that its own counts cannot give
is refused; what is refused is forgotten, and the comparison begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isfinite, log
from typing import Any

from canary.checks.judges.compare import Compare, Progress
from canary.checks.judges.dispersion import CAP, PODS, Looks, Pods
from canary.checks.judges.evidence import LEAST, MOST, Bets
from canary.checks.judges.latency import Bucket, Latency, Slow

MOST_TEXT = 1024
"""Bytes."""

_KEYS = {"tolerance", "harmless", "worse", "better", "counts", "waiting", "looks", "pods", "canaryPods"}
_LATENCY = {"effect", "requests", "onesided", "buckets"}
_MOST_LOOKS = 10**9


def dump(compare: Compare, progress: Progress) -> str:
    """The text of a progress, which `load` gives back exactly."""
    return json.dumps(
        {
            "tolerance": _short(compare.tolerance),
            "harmless": None if compare.harmless is None else _short(compare.harmless),
            "worse": _bets(progress.worse),
            "better": _bets(progress.better),
            "counts": _all(progress.canary, progress.stable, progress.canary_failed, progress.stable_failed),
            "waiting": [progress.onesided, *_all(*progress.waiting)],
            "looks": _looks(progress.looks),
            "pods": [_all(*pod) for pod in progress.pods.counts],
            "canaryPods": progress.canary_pods,
        },
        separators=(",", ":"),
    )


def load(compare: Compare, text: object) -> Progress:
    """What a status says is known. Raises ValueError: it is no progress of this comparison, and why."""
    found = _parsed(text, _KEYS)
    if found["tolerance"] != compare.tolerance or found["harmless"] != compare.harmless:
        raise ValueError("it was remembered for another tolerance, or for another ratio that is harmless")
    canary, stable, canary_failed, stable_failed = _numbers(found["counts"], 4)
    if canary_failed > canary or stable_failed > stable:
        raise ValueError("more failed than there were")
    if not isinstance(found["waiting"], list) or not found["waiting"]:
        raise ValueError("it is not what waits for the other side")
    a, b, c, d = _numbers(found["waiting"][1:], 4)
    if (a > 0 and b > 0) or c > a or d > b:
        raise ValueError("what waits for the other side has both, or failed more often than it was")
    progress = Progress(
        _read_bets(found["worse"], len(compare.effects)),
        _read_bets(found["better"], len(compare.goods)),
        canary,
        stable,
        canary_failed,
        stable_failed,
        (a, b, c, d),
        _whole(found["waiting"][0]),
        _read_looks(found["looks"]),
        _read_pods(found["pods"]),
        _whole(found["canaryPods"]),
    )
    _plausible(compare, progress)
    return progress


def dump_latency(latency: Latency, progress: Slow) -> str:
    """The text of what is known of latencies, which `load_latency` gives back exactly."""
    return json.dumps(
        {
            "effect": _short(latency.effect),
            "requests": _all(progress.canary, progress.stable),
            "onesided": progress.onesided,
            "buckets": [
                [_short(bound), _bets(one.worse), _all(one.canary, one.stable), _looks(one.looks)]
                for bound, one in zip(latency.bounds, progress.buckets, strict=True)
            ],
        },
        separators=(",", ":"),
    )


def load_latency(latency: Latency, text: object) -> Slow:
    """What a status says is known of latencies. Raises ValueError: it is nothing that this judge can have known, and why."""
    found = _parsed(text, _LATENCY)
    buckets = found["buckets"]
    if found["effect"] != latency.effect or not isinstance(buckets, list) or len(buckets) != len(latency.bounds):
        raise ValueError("it was remembered for another effect or other buckets")
    canary, stable = _numbers(found["requests"], 2)
    if (canary > 0) != (stable > 0):
        raise ValueError("only one of the two had requests")
    read = []
    for bound, one in zip(latency.bounds, buckets, strict=True):
        if not isinstance(one, list) or len(one) != 4 or one[0] != bound:
            raise ValueError("it was remembered for other buckets")
        slow, stable_slow = _numbers(one[2], 2)
        bets = _read_bets(one[1], len(latency.effects))
        odds = [log(effect / latency.effect) for effect in latency.effects]
        if slow > canary or stable_slow > stable or bets.looks > slow + stable_slow:
            raise ValueError("more were slow than there were")
        if not bets.plausible([slow * one for one in odds], [-stable_slow * one for one in odds]):
            raise ValueError("the counts cannot give this evidence")
        read.append(Bucket(bets, slow, stable_slow, _read_looks(one[3])))
    return Slow(tuple(read), canary, stable, _whole(found["onesided"]))


def _parsed(text: object, keys: set[str]) -> dict[str, Any]:
    if not isinstance(text, str) or len(text) > MOST_TEXT:
        raise ValueError(f"it is no text of at most {MOST_TEXT} characters")
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict) or set(found) != keys:
        raise ValueError("it is not what a comparison remembers")
    return found


def _plausible(compare: Compare, progress: Progress) -> None:
    """Raises ValueError: these bets cannot come of these counts."""
    worse = [log(effect / compare.tolerance) for effect in compare.effects]
    lost, won = progress.stable_failed, progress.canary_failed
    if not progress.worse.plausible([won * one for one in worse], [-lost * one for one in worse]):
        raise ValueError("the counts cannot give this evidence")
    if compare.harmless is not None:
        better = [log(compare.harmless / good) for good in compare.goods]
        if not progress.better.plausible([lost * one for one in better], [-won * one for one in better]):
            raise ValueError("the counts cannot give this evidence that the canary is good")
    if progress.worse.looks > (lost + won) or (
        compare.harmless is not None and progress.better.looks != progress.worse.looks
    ):
        raise ValueError("there were more looks than failures")


def _bets(bets: Bets) -> list[Any]:
    return [bets.looks, *(_all(*bets.logs) if bets.looks else ())]


def _looks(looks: Looks) -> Sequence[float]:
    return _all(
        looks.total, looks.tests, *looks.before, *looks.open, looks.divisor, looks.counts, looks.squares, looks.folds
    )


def _read_bets(found: Any, alternatives: int) -> Bets:
    if found == [0]:
        return Bets.begin(alternatives)
    if not isinstance(found, list) or len(found) != alternatives + 1:
        raise ValueError("there are bets on other ratios")
    return Bets(tuple(_number(one, -MOST * 10, MOST * 10) for one in found[1:]), _whole(found[0]))


def _read_looks(found: Any) -> Looks:
    total, tests, a, b, c, d, e, f, g, h, divisor, counts, squares, folds = _numbers(found, 14)
    if total > CAP * tests * (1 + 1e-6) or counts > 99:
        raise ValueError("looks differ more than they can")
    if any(one != int(one) for one in (tests, divisor, counts, folds)):
        raise ValueError("a number is not whole")
    return Looks(total, int(tests), (a, b, c, d), (e, f, g, h), int(divisor), int(counts), squares, int(folds))


def _read_pods(found: Any) -> Pods:
    if not isinstance(found, list) or len(found) > PODS:
        raise ValueError(f"there are more than {PODS} pods, or none of what pods are")
    pods = [_numbers(one, 3) for one in found]
    names = [_whole(int(name)) for name, _, _ in pods]
    if names != sorted(set(names)) or any(failed > requests for _, requests, failed in pods):
        raise ValueError("pods are there twice, or failed more often than they were asked")
    return Pods(tuple((name, requests, failed) for name, (_, requests, failed) in zip(names, pods, strict=True)))


def _numbers(found: Any, count: int) -> list[float]:
    if not isinstance(found, list) or len(found) != count:
        raise ValueError(f"there are not {count} numbers")
    return [_number(one, 0.0, MOST * 10) for one in found]


def _number(found: Any, least: float, most: float) -> float:
    if (
        isinstance(found, bool)
        or not isinstance(found, int | float)
        or not (least <= found <= most and isfinite(found))
    ):
        raise ValueError(f"a number is not between {least:g} and {most:g}")
    if 0 < abs(found) < LEAST:
        raise ValueError("a number is so small that nobody has counted it")
    return float(found)


def _whole(found: Any) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= max(_MOST_LOOKS, 2**32):
        raise ValueError("a number is not whole, or too large")
    return found


def _all(*numbers: float) -> Sequence[float]:
    return [_short(one) for one in numbers]


def _short(number: float) -> float:
    """Without `.0`, which a float that is whole has for no one's sake."""
    return int(number) if number == int(number) and abs(number) < MOST else number
