"""The command line of `make bench`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from bench.comparison import Comparisons
from bench.figures import median, table
from bench.scenario import Scenario, Size

Json = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    """Run the sizes asked for (or read an earlier result) and write the figures."""
    options = _parser().parse_args(arguments)
    document = json.loads(options.read.read_text()) if options.read else _play(options)
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    if options.output:
        options.output.write_text(text)
    if options.plot:
        from bench.plot import draw

        draw(document, options.plot)
    sys.stdout.write(table(document) + "\n" if options.table else text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="What the controller costs, as JSON.")
    parser.add_argument("sizes", nargs="*", default=["1000:100", "10000:1000"], help="declared:active, e.g. 1000:100")
    parser.add_argument("--window", type=float, default=30, help="seconds of each steady measurement (default: 30)")
    parser.add_argument("--interval", type=float, default=10, help="seconds between measurements (default: 10)")
    parser.add_argument("--repeat", type=int, default=1, help="run each size so often, and give medians")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON to a file too")
    parser.add_argument("--read", type=Path, metavar="FILE", help="run nothing: read the JSON of an earlier run")
    parser.add_argument("--table", action="store_true", help="print a Markdown table instead of the JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures (.svg or .png; needs matplotlib)")
    return parser


def _play(options: argparse.Namespace) -> Json:
    results = []
    for text in options.sizes:
        declared, active = (int(part) for part in text.split(":"))
        runs = []
        for _ in range(options.repeat):
            load = os.getloadavg()[0]
            sys.stderr.write(f"{declared} Rollouts, {active} of them active (load of the machine: {load:.1f}) …\n")
            size = Size(declared, active, options.interval, options.window)
            runs.append(Scenario(size).run() | {"load_before": load, "compare": Comparisons(size).run()})
        results.append(median(runs))
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    settings = {"interval_seconds": options.interval, "window_seconds": options.window, "repeats": options.repeat}
    return {"machine": machine, **settings, "results": results}


if __name__ == "__main__":
    main()
