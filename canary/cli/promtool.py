"""Lets `promtool` parse queries: the parser of Prometheus itself, where its binary is at hand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from canary.cli.exits import CliError, ExitCode

_UNPACKED = Path(".sandbox") / "bin" / "promtool"
_TIMEOUT = 30.0
_COMPLAINT = re.compile(r'"q(\d+)": (?:could not parse expression: )?(.*)')
_POSITION = re.compile(r"^(\d+):(\d+): (?:parse error: )?(.*)$")


def find(environ: Mapping[str, str]) -> Path | None:
    """CANARY_PROMTOOL, then PATH, then `.sandbox/bin` of this folder or of the project; None when there is none.

    CANARY_PROMTOOL=none looks for none: a promtool may be older than the Prometheus that will be asked.

    Raises:
        CliError: CANARY_PROMTOOL names something that cannot be run.

    """
    given = environ.get("CANARY_PROMTOOL")
    if given == "none":
        return None
    if given:
        if not os.access(given, os.X_OK) or Path(given).is_dir():
            raise CliError(f"CANARY_PROMTOOL names {given}, which is no program that can be run", ExitCode.USAGE)
        return Path(given)
    project = Path(__file__).resolve().parents[2]
    for candidate in (shutil.which("promtool", path=environ.get("PATH")), Path.cwd() / _UNPACKED, project / _UNPACKED):
        if candidate and os.access(candidate, os.X_OK):
            return Path(candidate)
    return None


def parse(binary: Path, queries: Sequence[str]) -> dict[int, tuple[int, str]]:
    """The queries that are no PromQL, by index: (line within the query, from 1, and what is wrong).

    All go as the rules of one file through one process.

    Raises:
        CliError: promtool fails in a way that says nothing about the queries.

    """
    if not queries:
        return {}
    import yaml

    rules = [{"record": f"q{index}", "expr": query} for index, query in enumerate(queries)]
    with tempfile.TemporaryDirectory(prefix="canary-lint-") as folder:
        file = Path(folder) / "rules.yaml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "lint", "rules": rules}]}), encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 - the program is the user's own choice, the file is ours
                [str(binary), "check", "rules", "--lint=none", str(file)],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CliError(f"{binary} cannot be used: {error}") from error
    wrong = dict(_complaints(done.stdout + done.stderr))
    if done.returncode and not wrong:
        words = " ".join((done.stderr or done.stdout).split())[:500]
        raise CliError(f"{binary} failed with {done.returncode}: {words}")
    return wrong


def _complaints(output: str) -> Iterator[tuple[int, tuple[int, str]]]:
    for line in output.splitlines():
        found = _COMPLAINT.search(line)
        if found is None:
            continue
        index, words = int(found[1]), found[2]
        place = _POSITION.match(words)
        yield index, (int(place[1]), f"{place[3]} (line {place[1]}, column {place[2]})") if place else (1, words)
