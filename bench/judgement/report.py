"""Runs scenarios and tells what came of them: numbers, a table, and which bars were met."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any
from zlib import crc32

from numpy.random import default_rng

from bench.judgement.methods import ALPHA, Ended
from bench.judgement.scenarios import SCENARIOS, Scenario

Json = dict[str, Any]


def run(scenario: Scenario, runs: int, seed: int) -> list[Json]:
    """One result for each method; every method sees the same looks. A seed gives the same result anywhere."""
    random = default_rng([seed, crc32(scenario.name.encode())])
    ends: dict[str, list[Ended]] = {name: [] for name in scenario.methods}
    for _ in range(runs):
        looks = list(scenario.draw(random))
        for name, method in scenario.methods.items():
            ends[name].append(method(looks))
    return [_result(scenario, name, found) for name, found in ends.items()]


def _result(scenario: Scenario, method: str, ends: Sequence[Ended]) -> Json:
    at = sorted(end.failed for end in ends if end.failed is not None)
    early = sorted(end.good for end in ends if end.good is not None)
    low, high = wilson(len(at), len(ends))
    return {
        "scenario": scenario.name,
        "bad": scenario.bad,
        "method": method,
        "runs": len(ends),
        "failed": len(at) / len(ends),
        "failed_95": [low, high],
        "median": _rank(at, len(ends), 0.5),
        "p95": _rank(at, len(ends), 0.95),
        "first_look": sum(one == 1 for one in at) / len(ends),
        "by_look": _cumulative(at, len(ends)),
        "proved_good": len(early) / len(ends),
        "proved_good_95": list(wilson(len(early), len(ends))),
        "proved_good_median": _rank(early, len(ends), 0.5),
        "held_back": sum(end.doubted and end.failed is None for end in ends) / len(ends),
        "known": scenario.known,
        "bars": bars(scenario, method, len(at), len(ends), _rank(at, len(ends), 0.5)),
    }


def bars(scenario: Scenario, method: str, failed: int, runs: int, median: int | None) -> list[Json]:
    """What is asked of a comparison in this scenario, and whether it was met; nothing of what others do."""
    if method not in ("compare", "latency", "compare, promoteEarly") or scenario.known:
        return []
    found: list[Json] = []
    if scenario.bar.alarms is not None:
        found.append({"bar": f"alarms <= {scenario.bar.alarms:.0%}", "met": failed / runs <= scenario.bar.alarms})
    if scenario.bar.caught is not None:
        found.append({"bar": f"caught >= {scenario.bar.caught:.0%}", "met": failed / runs >= scenario.bar.caught})
    if scenario.bar.median is not None:
        met = median is not None and median <= scenario.bar.median
        found.append({"bar": f"median <= {scenario.bar.median}", "met": met})
    return found


def wilson(hits: int, runs: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson, Journal of the American Statistical Association 22, 1927)."""
    z, share = 1.959964, hits / runs
    middle = (share + z * z / (2 * runs)) / (1 + z * z / runs)
    half = z * sqrt(share * (1 - share) / runs + z * z / (4 * runs * runs)) / (1 + z * z / runs)
    return max(0.0, middle - half), min(1.0, middle + half)


def _rank(at: Sequence[int], runs: int, part: float) -> int | None:
    """The look by which so large a part of *all* runs ended; None where fewer ever did."""
    rank = ceil(part * runs)
    return at[rank - 1] if rank <= len(at) else None


def _cumulative(at: Sequence[int], runs: int) -> list[float]:
    return [sum(one <= look for one in at) / runs for look in range(1, 61)]


def document(results: list[Json], runs: int, seed: int) -> Json:
    """What is written to report.json."""
    return {"runs": runs, "seed": seed, "alpha": ALPHA, "results": results}


def everything(runs: int, seed: int, only: str = "") -> Json:
    """All scenarios, or those whose name has `only` in it."""
    results: list[Json] = []
    for scenario in SCENARIOS:
        if only in scenario.name:
            results += run(scenario, runs, seed)
    return document(results, runs, seed)


def markdown(found: Json) -> str:
    """The table for people."""
    good = [one for one in found["results"] if not one["bad"]]
    bad = [one for one in found["results"] if one["bad"]]
    asked = [(one, bar) for one in found["results"] for bar in one["bars"]]
    lines = [
        "# What the judges get wrong, and how soon they are right",
        "",
        (
            f"Printed by `make judge-report` (seed {found['seed']}, {found['runs']:,} runs of each scenario) through the code that judges. "
            "Unless something else is said a run has 60 looks at 600 requests each, 10 % of them the canary's, of which 1 % fail; "
            f"alpha is {found['alpha']:.0%}. In brackets 95 % confidence intervals. *Held back*: the evidence was there, but failures "
            "vary more than chance lets them, so the verdict stayed Inconclusive."
        ),
        "",
        f"Bars met: {sum(bar['met'] for _, bar in asked)} of {len(asked)}."
        + "".join(f" **Not met**: {one['scenario']}: {bar['bar']}." for one, bar in asked if not bar["met"]),
        "",
        "## Healthy canaries",
        "",
        "| scenario | method | false alarms | held back | bar |",
        "|---|---|---|---|---|",
        *(
            f"| {one['scenario']} | {one['method']} | {_share(one, 'failed')} | {_percent(one['held_back'])} | {_bars(one)} |"
            for one in good
        ),
        "",
        "## Bad canaries",
        "",
        "Median and 95th percentile are looks until so large a part of all runs was caught; a dash: fewer ever were.",
        "",
        "| scenario | method | caught | median | p95 | held back | bar |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one['scenario']} | {one['method']} | {_share(one, 'failed')} | {one['median'] or '-'} | {one['p95'] or '-'} | "
            f"{_percent(one['held_back'])} | {_bars(one)} |"
            for one in bad
        ),
        "",
        "## Proved good (`promoteEarly`, less than 2 times stable's errors)",
        "",
        "| scenario | proved good | median look |",
        "|---|---|---|",
        *(
            f"| {one['scenario']} | {_share(one, 'proved_good')} | {one['proved_good_median'] or '-'} |"
            for one in found["results"]
            if one["method"] == "compare, promoteEarly"
        ),
        "",
        "## What no judge can do",
        "",
        *(
            f"- *{name}*: {why}."
            for name, why in {one["scenario"]: one["known"] for one in good if one["known"]}.items()
        ),
        "",
    ]
    return "\n".join(lines)


def _share(one: Json, name: str) -> str:
    low, high = one[f"{name}_95"]
    return f"{_percent(one[name])} ({100 * low:.1f} to {100 * high:.1f})"


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _bars(one: Json) -> str:
    if one["known"] and one["method"] in ("compare", "latency"):
        return "none, see below"
    return ", ".join(f"{bar['bar']}: {'met' if bar['met'] else '**not met**'}" for bar in one["bars"]) or "-"
