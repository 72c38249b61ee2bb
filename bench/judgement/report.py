"""Runs scenarios and tells what came of them: numbers and which bars were met. How they are written down: `markdown`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from math import ceil, sqrt
from typing import Any
from zlib import crc32

from numpy.random import default_rng

from bench.judgement.methods import ALPHA, Ended, compare
from bench.judgement.scenarios import Method, Scenario
from bench.judgement.sieve import worth
from canary.checks.judges.compare import Compare

Json = dict[str, Any]

OURS = ("compare", "latency", "compare, promoteEarly", "mirrored")
AT_A_TIME = 250
"""Runs that are held in memory."""

LOOKS = 60
"""So many are drawn in the figures."""


def run(scenario: Scenario, runs: int, seed: int) -> list[Json]:
    """One result for each method; every method sees the same looks. A seed gives the same result anywhere."""
    random = default_rng([seed, crc32(scenario.name.encode())])
    ends: dict[str, list[Ended]] = {name: [] for name in scenario.methods}
    for first in range(0, runs, AT_A_TIME):
        drawn = [list(scenario.draw(random)) for _ in range(min(AT_A_TIME, runs - first))]
        for name, method in scenario.methods.items():
            ends[name] += judged(method, drawn)
    return [_result(scenario, name, found) for name, found in ends.items()]


def judged(method: Method, drawn: Sequence[Sequence[Any]]) -> Iterator[Ended]:
    """How each run ended. The judge of errors is not asked about those whose evidence is never what it needs (`sieve`)."""
    asked = worth(Compare(ALPHA), drawn) if method is compare else [True] * len(drawn)
    return (method(looks) if one else Ended() for looks, one in zip(drawn, asked, strict=True))


def everything(scenarios: Sequence[Scenario], runs: int, seed: int, workers: int, told: Callable[[str], None]) -> Json:
    """All of them, in as many processes; `told` hears of each that is done."""
    found: dict[str, list[Json]] = {}
    with ProcessPoolExecutor(workers) as pool:
        asked = {pool.submit(run, scenario, runs, seed): scenario.name for scenario in scenarios}
        for number, done in enumerate(as_completed(asked), 1):
            found[asked[done]] = done.result()
            told(f"{number} of {len(scenarios)}: {asked[done]}")
    return document([one for scenario in scenarios for one in found[scenario.name]], runs, seed)


def document(results: list[Json], runs: int, seed: int) -> Json:
    """What is written to report.json."""
    return {"runs": runs, "seed": seed, "alpha": ALPHA, "results": results}


def _result(scenario: Scenario, method: str, ends: Sequence[Ended]) -> Json:
    runs = len(ends)
    at = sorted(end.failed for end in ends if end.failed is not None)
    early = sorted(end.good for end in ends if end.good is not None)
    found: Json = {
        "scenario": scenario.name,
        "method": method,
        "bad": scenario.bad,
        "tuned": scenario.tuned,
        "failed": interval(len(at), runs),
        "by_6": interval(sum(one <= 6 for one in at), runs),
        "median": _rank(at, runs, 0.5),
        "p95": _rank(at, runs, 0.95),
        "held": round(sum(end.doubted and end.failed is None for end in ends) / runs, 4),
    }
    if scenario.floor is not None:
        found["floor"] = round(scenario.floor(), 4)
    if early:
        found["good"] = interval(len(early), runs)
        found["good_median"] = _rank(early, runs, 0.5)
    if len(scenario.methods) > 1 and scenario.bad:
        found["by_look"] = [sum(one <= look for one in at) for look in range(1, LOOKS + 1)]
    asked = bars(scenario, method, len(at) / runs, found["median"])
    return found | {"bars": asked, "contrast": scenario.contrast, "why": scenario.why if method in OURS else ""}


def bars(scenario: Scenario, method: str, failed: float, median: int | None) -> dict[str, bool]:
    """What is asked of a judge of ours in this scenario, and whether it was met; nothing of what others do, nor of contrasts."""
    if method not in OURS or scenario.contrast:
        return {}
    bar, found = scenario.bar, {}
    if bar.alarms is not None:
        found[f"alarms <= {bar.alarms:.0%}"] = failed <= bar.alarms
    if bar.caught is not None:
        found[f"caught >= {bar.caught:.0%}"] = failed >= bar.caught
    if bar.median is not None:
        found[f"median <= {bar.median}"] = median is not None and median <= bar.median
    return found


def wilson(hits: int, runs: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson, Journal of the American Statistical Association 22, 1927)."""
    z, share = 1.959964, hits / runs
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
    return max(0.0, middle - half), min(1.0, middle + half)


def interval(hits: int, runs: int) -> list[float]:
    """A share, and the ends of its interval."""
    return [round(one, 4) for one in (hits / runs, *wilson(hits, runs))]


def _rank(at: Sequence[int], runs: int, portion: float) -> int | None:
    """The look by which so large a part of *all* runs ended; None where fewer ever did."""
    rank = ceil(portion * runs)
    return at[rank - 1] if rank <= len(at) else None


def lines(found: Json) -> Iterator[str]:
    """The document as JSON text, a result a line."""
    head = {name: value for name, value in found.items() if name != "results"}
    yield json.dumps(head, separators=(",", ":"))[:-1] + ',"results":['
    rows = [json.dumps(one, separators=(",", ":"), ensure_ascii=False) for one in found["results"]]
    yield ",\n".join(rows)
    yield "]}"
