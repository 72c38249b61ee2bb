"""What one look costs."""

from __future__ import annotations

from time import process_time

from bench.judgement.methods import ALPHA
from canary.checks.judges.compare import Compare, Look
from canary.checks.judges.memory import dump, load


def look(repeats: int = 1000) -> float:
    """Milliseconds of CPU to read what is remembered, fold a look into it, judge it and write it: both claims, eight pods."""
    compare = Compare(ALPHA, harmless=2.0)
    pods = {f"pod-{number}": (67.5, 1.0) for number in range(8)}
    text = dump(compare, compare.begin())
    began = process_time()
    for number in range(repeats):
        progress = compare.fold(load(compare, text), Look(60, 540, number % 3, 10, pods))
        compare.judge(progress)
        text = dump(compare, progress)
    return round((process_time() - began) / repeats * 1000, 3)
