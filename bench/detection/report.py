"""The table of the trials, and how new ones come to earlier ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Json = dict[str, Any]

KEY = ("stable_percent", "weight", "requests_per_second", "case", "scrape_seconds")
"""What tells one row from another."""

GOAL = 2.0
"""Seconds: the median where counters are scraped every second."""


def merged(before: Sequence[Json], now: Sequence[Json]) -> list[Json]:
    """All rows, in order; a new one replaces the earlier one of its setting."""
    rows = {_key(row): row for row in (*before, *now)}
    return [rows[key] for key in sorted(rows)]


def markdown(document: Mapping[str, Any]) -> str:
    """What `detection.md` holds."""
    rows = document["results"]
    return "\n".join(
        [
            "# How long a bad canary keeps its share",
            "",
            (
                "Printed by `make detect-report`: the controller, a real Envoy and a real Prometheus on one machine; and below, on a clock that "
                "costs no time, the controller's looks and its judge alone. The canary fails ten times "
                "as often as stable. One `compare` check on the gateway's counters, with the check interval (30 s) and alpha (5 %) as "
                "they are by default; `lag` is the scrape interval and a second. Seconds from the first bad answer that a user "
                "may have got to the weight 0 in the route."
            ),
            "",
            (
                "*From the start*: it is bad when it gets its first weight. *In the step*: it becomes bad while a step holds. *Seen*, "
                "*proved*: medians of how much of that had passed when a look first had failures of it, and when the looks were proof."
            ),
            "",
            "## In real time",
            "",
            "| errors of stable | weight | requests a second | bad | scraped every | trials | seen | proved | weight 0: median | worst |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *map(_row, rows),
            "",
            *_simulated(document.get("simulated", [])),
            *_missed(rows, document.get("simulated", [])),
            "",
            *_WAITS,
            "",
        ]
    )


def middle(row: Json, stage: str) -> float | None:
    """The median over all trials, of which those that were not found are the longest; None: more than half were not."""
    trials = row["trials"]
    times = sorted(float("inf") if one is None else one[stage] for one in trials)
    found = median(times)
    return None if found == float("inf") else found


def _key(row: Json) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _row(row: Json) -> str:
    trials = row["trials"]
    worst = None if any(one is None for one in trials) else max(one["gone"] for one in trials)
    stages = [middle(row, stage) for stage in ("seen", "proved", "gone")]
    cells = [
        f"{row['stable_percent']} %",
        f"{row['weight']} %",
        f"{row['requests_per_second']:g}",
        row["case"],
        f"{row['scrape_seconds']} s",
        str(len(trials)),
        *("never" if one is None else f"{one:.1f} s" for one in (*stages, worst)),
    ]
    return f"| {' | '.join(cells)} |"


def _simulated(rows: Sequence[Json]) -> list[str]:
    if not rows:
        return []
    seeds = ", ".join(map(str, sorted({row["seed"] for row in rows})))
    return [
        "## On a clock that costs no time",
        "",
        (
            "The same trials by the controller's own looks and its judge, with scrapes and requests drawn by chance (seeds "
            f"{seeds}), and without what Envoy, Prometheus and the API server take, some hundredths of a second. *Limit*: the median of "
            "somebody who sees the same scrapes, and who was told how often stable fails, how much worse the canary is and since when (Wald's "
            "test of the canary alone, at the same alpha). Nobody can be much faster."
        ),
        "",
        "| errors of stable | weight | requests a second | bad | scraped every | trials | seen | proved: median | 95 % | limit |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['stable_percent']} % | {row['weight']} % | {row['requests_per_second']:g} | {row['case']} | {row['scrape_seconds']} s | "
            f"{row['trials']} | {row['seen']:.1f} s | {row['gone']:.1f} s | {row['p95']:.1f} s | {row['limit']:.1f} s |"
            for row in rows
        ),
        "",
    ]


def _missed(rows: Sequence[Json], drawn: Sequence[Json]) -> list[str]:
    often = [row for row in rows if row["scrape_seconds"] == 1]
    met = [row for row in often if (middle(row, "gone") or GOAL + 1) <= GOAL]
    said = f"The goal, a median of {GOAL:g} s where counters are scraped every second, is met in {len(met)} of {len(often)} rows"
    fast = [row for row in drawn if row["scrape_seconds"] == 1]
    if not fast:
        return [f"{said}."]
    missed = [
        f"{row['stable_percent']} %, {row['case']}, by {row['gone'] - GOAL:.1f} s" for row in fast if row["gone"] > GOAL
    ]
    more = f"{said} in real time and in {len(fast) - len(missed)} of {len(fast)} drawn ones"
    return [f"{more}; it is missed at {'; '.join(missed)}." if missed else f"{more}."]


_WAITS = (
    "## What is waited for",
    "",
    "- *From the start*: until the gateway has accepted the weight, its settle time (2 s) and `lag` are over: 4 s where counters are scraped every",
    "  second, and a look after that. A look that began sooner would compare what was before the weight with what is after it, and fail",
    "  healthy canaries in a burst. So 2 s cannot be reached here with a settle time of 2 s. `lag` is declared, since nobody can see how old a",
    "  counter is that did not change.",
    "- *The scrape*: what is counted is seen once it is scraped, half an interval later on average.",
    "- *The look*: twice in a `lag`, and every second at most ([0043](../decisions/0043-one-request-for-one-question.md)). With more than ten comparisons",
    "  at a time less often, up to the check interval.",
    "- *The proof*: failures that chance does not explain. Whoever is told the rates needs two or three failures at ten times the errors; who has to learn how",
    "  often stable fails, how much worse the canary is, and since when, needs some ten. Beside a stable version that fails 1 % of 50 requests a second the",
    "  canary has five failures a second, so that is two seconds of failures and more; beside one of 5 % it is in one look, and the next confirms it.",
    "  In the middle of a step capital was lost on the healthy looks before, which costs another second.",
    "- *The doubt*: where very many failures come with one scrape, the judge asks whether rates that wander could have done that",
    "  ([0036](../decisions/0036-evidence-is-capital.md), [0045](../decisions/0045-a-doubt-begins-sooner-and-ends.md)), and waits for another scrape if they could.",
    "- From the look to the weight: milliseconds.",
)
