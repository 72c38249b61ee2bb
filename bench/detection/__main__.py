"""`python -m bench.detection`: the report of how long a bad canary keeps its share. Real time passes: minutes at 30 s."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from pathlib import Path

from bench.detection.report import markdown, merged
from bench.detection.trials import CASES, Setting, measured
from canary.telemetry import configure


def main(arguments: list[str] | None = None) -> None:
    """Run the trials asked for, and write detection.json and detection.md with what was measured before to a folder."""
    parser = argparse.ArgumentParser(prog="make detect-report")
    parser.add_argument("--scrapes", type=int, nargs="*", default=[1, 5, 15, 30], help="seconds between scrapes")
    parser.add_argument("--trials", type=int, default=5, help="of each case (default: 5)")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=CASES)
    parser.add_argument(
        "--stable", type=int, default=1, help="percent of stable's answers that are errors (default: 1)"
    )
    parser.add_argument("--weight", type=int, default=50, help="of the canary, in percent (default: 50)")
    parser.add_argument("--rps", type=float, default=100, help="requests a second (default: 100)")
    parser.add_argument("--folder", type=Path, default=Path("docs/judgement"))
    options = parser.parse_args(arguments)
    configure("ERROR")
    path = options.folder / "detection.json"
    document = json.loads(path.read_text()) if path.exists() else {"results": []}
    for scrape in options.scrapes:
        setting = Setting(scrape, options.stable, options.weight, options.rps)
        sys.stderr.write(f"scraped every {scrape} s …\n")
        rows = asyncio.run(measured(setting, options.cases, options.trials))
        document = {
            "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
            "results": merged(document["results"], rows),
        }
        path.write_text(json.dumps(document, indent=1) + "\n")
        (options.folder / "detection.md").write_text(markdown(document))
    sys.stdout.write(markdown(document))


if __name__ == "__main__":
    main()
