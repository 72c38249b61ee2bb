"""`python -m bench.judgement`: the report of the judges."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bench.judgement.plot import draw
from bench.judgement.report import everything, markdown


def main() -> None:
    """Write report.json, report.md and the figures to a folder."""
    parser = argparse.ArgumentParser(prog="make judge-report")
    parser.add_argument("--runs", type=int, default=2000, help="of each scenario")
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument(
        "--only", default="", help="scenarios with this in their name; prints the table and writes nothing"
    )
    parser.add_argument("--folder", type=Path, default=Path("docs/judgement"))
    options = parser.parse_args()
    found = everything(options.runs, options.seed, options.only)
    if options.only:
        print(markdown(found))  # noqa: T201
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.folder / "report.md").write_text(markdown(found))
    draw(found, options.folder)


if __name__ == "__main__":
    main()
