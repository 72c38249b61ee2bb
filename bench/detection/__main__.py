"""`python -m bench.detection`: the report of how long a bad canary keeps its share. Real time passes: minutes at 30 s."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from pathlib import Path
from secrets import randbelow
from typing import Any

from bench.detection.report import markdown, merged
from bench.detection.simulated import simulated
from bench.detection.trials import CASES, Setting, measured
from canary.telemetry import configure


def main(arguments: list[str] | None = None) -> None:
    """Run the trials asked for, and write detection.json and detection.md with what was measured before to a folder."""
    parser = argparse.ArgumentParser(prog="make detect-report")
    parser.add_argument("--scrapes", type=int, nargs="*", default=[1, 5, 15, 30], help="seconds between scrapes")
    parser.add_argument("--trials", type=int, default=5, help="of each case in real time (default: 5; 0: none)")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=CASES)
    parser.add_argument(
        "--stable", type=int, default=1, help="percent of stable's answers that are errors (default: 1)"
    )
    parser.add_argument("--weight", type=int, default=50, help="of the canary, in percent (default: 50)")
    parser.add_argument("--rps", type=float, default=100, help="requests a second (default: 100)")
    parser.add_argument(
        "--simulated", type=int, default=400, help="trials of each case on a clock that costs no time (default: 400)"
    )
    parser.add_argument("--seed", type=int, help="of these, as recorded in a report; one that nobody knows is drawn")
    parser.add_argument("--folder", type=Path, default=Path("docs/judgement"))
    options = parser.parse_args(arguments)
    configure("ERROR")
    path = options.folder / "detection.json"
    document = json.loads(path.read_text()) if path.exists() else {"results": []}
    settings = [Setting(scrape, options.stable, options.weight, options.rps) for scrape in options.scrapes]
    if options.simulated:
        seed = randbelow(2**32) if options.seed is None else options.seed
        rows = [row for setting in settings for row in simulated(setting, options.simulated, seed)]
        document["simulated"] = merged(document.get("simulated", []), rows)
    for setting in settings if options.trials else []:
        sys.stderr.write(f"scraped every {setting.scrape} s …\n")
        rows = asyncio.run(measured(setting, options.cases, options.trials))
        document |= {
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "results": merged(document["results"], rows),
        }
        _write(options.folder, document)
    _write(options.folder, document)
    sys.stdout.write(markdown(document))


def _write(folder: Path, document: dict[str, Any]) -> None:
    (folder / "detection.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "detection.md").write_text(markdown(document))


if __name__ == "__main__":
    main()
