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
                "Printed by `make detect-report`: the controller, a real Envoy and a real Prometheus on one machine. The canary fails ten times "
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
            "| errors of stable | weight | requests a second | bad | scraped every | trials | seen | proved | weight 0: median | worst |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *map(_row, rows),
            "",
            *_missed(rows),
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


def _missed(rows: Sequence[Json]) -> list[str]:
    often = [row for row in rows if row["scrape_seconds"] == 1]
    met = [row for row in often if (middle(row, "gone") or GOAL + 1) <= GOAL]
    return [
        f"The goal, a median of {GOAL:g} s where counters are scraped every second, is met in {len(met)} of {len(often)} rows."
    ]


_WAITS = (
    "## What is waited for",
    "",
    "- *From the start*: until the gateway has accepted the weight, its settle time (2 s) and `lag` are over. A look that began sooner would",
    "  compare what was before the weight with what is after it.",
    "- *The scrape*: what is counted is seen once it is scraped, half an interval later on average.",
    "- *The look*: twice in a `lag`, and every second at most ([0043](../decisions/0043-one-request-for-one-question.md)). With more than ten comparisons",
    "  at a time less often, up to the check interval.",
    "- *The proof*: failures that chance does not explain. Of a canary with few requests, or beside a stable version with few failures, that",
    "  takes several looks. Where very many failures come with one scrape, the judge doubts that they are single ones",
    "  ([0036](../decisions/0036-evidence-is-capital.md)), and waits for another scrape or two.",
    "- From the look to the weight: milliseconds.",
)
