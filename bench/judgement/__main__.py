"""`python -m bench.judgement`: the report of the judges."""

from __future__ import annotations

import argparse
import sys
from os import cpu_count
from pathlib import Path
from secrets import randbelow
from time import monotonic

from bench.judgement import cost
from bench.judgement.markdown import markdown
from bench.judgement.plot import draw
from bench.judgement.report import everything, lines
from bench.judgement.scenarios import SCENARIOS
from bench.judgement.tuning import SEEDS


def main() -> None:
    """Write report.json, report.md and the figures to a folder."""
    parser = argparse.ArgumentParser(prog="make judge-report")
    parser.add_argument("--runs", type=int, default=2000, help="of each scenario")
    parser.add_argument(
        "--seed", type=int, help="as recorded in a report, to print it again; one that nobody knows is drawn"
    )
    parser.add_argument("--workers", type=int, default=cpu_count() or 1)
    parser.add_argument(
        "--only", default="", help="scenarios with this in their name; prints the table and writes nothing"
    )
    parser.add_argument("--folder", type=Path, default=Path("docs/judgement"))
    options = parser.parse_args()
    seed = SEEDS + randbelow(2**32 - SEEDS) if options.seed is None else options.seed
    began = monotonic()

    def told(what: str) -> None:
        print(f"{monotonic() - began:5.0f} s: {what}", file=sys.stderr, flush=True)  # noqa: T201

    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    found = everything(chosen, options.runs, seed, options.workers, told) | {"look_ms": cost.look()}
    if options.only:
        print(markdown(found))  # noqa: T201
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "report.json").write_text("\n".join(lines(found)) + "\n")
    (options.folder / "report.md").write_text(markdown(found))
    draw(found, options.folder)


if __name__ == "__main__":
    main()
