"""`canary sandbox` without a cluster: what it says when none is up, what it refuses, what it leaves alone."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
from cli_kit import canary
from typer.testing import CliRunner

from canary.cli.main import build
from canary_sandbox.load import NO_ANSWER, Answer
from canary_sandbox.verbs.common import as_milliseconds, as_percent
from canary_sandbox.verbs.fault import lines
from canary_sandbox.verbs.loading import Tally

VERBS = ("up", "status", "load", "fault", "down")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_examples(verb: str) -> None:
    """As those outside of the sandbox do."""
    shown = CliRunner().invoke(build(), ["sandbox", verb, "--help"], prog_name="canary")
    assert shown.exit_code == 0
    assert re.search(rf"\n    # .*\n    canary sandbox {verb}\b", shown.output)


def test_it_lists_its_verbs() -> None:
    """`canary sandbox` alone says what there is."""
    shown = CliRunner().invoke(build(), ["sandbox", "--help"], prog_name="canary")
    listed = {line.split()[0] for line in shown.output.splitlines() if line.startswith("  ") and line.strip()}
    assert set(VERBS) <= listed


@pytest.mark.parametrize("words", [("status",), ("load",), ("fault",), ("fault", "--version", "v2", "--errors", "5%")])
async def test_without_a_sandbox_it_says_how_to_get_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A code of its own, the command to type, and no folder made on the way."""
    folder = tmp_path / "sandbox"
    ran = await canary("sandbox", *words, "--folder", str(folder))
    assert ran.code == 7
    assert f"`canary sandbox up --folder {folder}`" in ran.err
    assert not folder.exists()


async def test_down_is_idempotent(tmp_path: Path) -> None:
    """Nothing up and nothing kept: it says so, ends with 0 and makes nothing; so does --delete."""
    folder = tmp_path / "sandbox"
    for option in ((), ("--delete",)):
        ran = await canary("sandbox", "down", "--folder", str(folder), *option)
        assert ran.code == 0, ran.err
        assert ran.out.startswith("No sandbox is up")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fault", "--version", "v2", "--errors", "20"), "write for example 20%"),
        (("fault", "--version", "v2", "--errors", "0.2"), "write for example 20%"),
        (("fault", "--version", "v2", "--errors", "120%"), "write for example 20%"),
        (("fault", "--version", "v2", "--latency", "300"), "is not a duration"),
        (("fault", "--errors", "20%"), "of which version?"),
        (("fault", "--version", "v2"), "--errors, --latency or --clear"),
        (("fault", "--clear", "--version", "v2", "--errors", "20%"), "have no place beside it"),
        (("load", "--rps", "5000"), "less than or equal to 1000"),
        (("load", "--duration", "0s"), "between 1ms and 24h"),
        (("load", "--url", "127.0.0.1:80"), "is no URL"),
        (("up", "--gateway", "nginx"), "nginx"),
    ],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Before anything is asked or started, with the word to write instead."""
    ran = await canary("sandbox", *words, "--folder", str(tmp_path / "sandbox"))
    assert ran.code == 2, ran.err
    assert said in " ".join(ran.err.split())


@pytest.mark.parametrize("name", ["cluster.json", "sandbox.json"])
async def test_a_broken_state_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    """`up` names the file, the reason and the way out; the file is as it was, and nothing runs."""
    half = '{"format": "canary-sandb'
    await asyncio.to_thread((tmp_path / name).write_text, half)
    ran = await canary("sandbox", "up", "--folder", str(tmp_path))
    assert ran.code == 1
    assert f"{tmp_path / name} cannot be resumed: it is no JSON, or not all of it" in ran.err
    assert f"canary sandbox down --delete --folder {tmp_path}" in ran.err
    assert await asyncio.to_thread((tmp_path / name).read_text) == half
    assert "run" not in await asyncio.to_thread(os.listdir, tmp_path)
    assert (await canary("sandbox", "status", "--folder", str(tmp_path))).code == 7
    assert (await canary("sandbox", "down", "--delete", "--folder", str(tmp_path))).code == 0
    assert tmp_path.name not in await asyncio.to_thread(os.listdir, tmp_path.parent)


async def test_a_start_that_cannot_be_is_explained(tmp_path: Path) -> None:
    """Where no folder can be made, for example."""
    (tmp_path / "file").write_text("")
    ran = await canary("sandbox", "up", "--folder", str(tmp_path / "file" / "sandbox"))
    assert ran.code == 1
    assert "choose another with --folder" in ran.err


async def test_load_goes_anywhere(tmp_path: Path) -> None:
    """With --url there need be no sandbox; nobody answers there, and the summary says just that."""
    ran = await canary(
        "sandbox", "load", "--url", "http://127.0.0.1:1/", "--rps", "20", "--duration", "500ms", "-o", "json"
    )
    assert ran.code == 0, ran.err
    summary = json.loads(ran.out)
    assert set(summary["versions"]) == {"no answer"}
    assert summary["failed"] == summary["requests"] > 5


def test_the_tally_counts_by_version() -> None:
    """Requests, failures and percentiles (to 5 %) of each, and of who else answered; all together too."""
    tally = Tally()
    for number in range(1, 101):
        tally.add(Answer(0.0, "v1", 500 if number <= 20 else 200, number / 1000))
    tally.add(Answer(0.0, "", 503, 0.001))
    tally.add(Answer(0.0, "", NO_ANSWER, 10.0))
    row = tally.rows["v1"].summary()
    assert (row["requests"], row["failed"], row["statuses"]) == (100, 20, {"200": 80, "500": 20})
    assert row["p50"] == pytest.approx(0.05, rel=0.05)
    assert row["p99"] == pytest.approx(0.099, rel=0.05)
    assert set(tally.rows) == {"v1", "gateway", "no answer"}
    whole = tally.whole()
    assert (whole.total, whole.bad) == (102, 22)


def test_faults_are_told_in_words() -> None:
    """What goes wrong with each version, on how many replicas, and what runs."""
    faults = {"v2": {"errors": 0.2, "latency": 0.3}, "v9": {"errors": None, "latency": 2.0}}
    assert list(lines(faults, {"v1": 2, "v2": 1})) == [
        "v2: 20 % of its answers are errors, 300 ms later (1 replica)",
        "v9: 2 s later (no replica yet: those that start will be told)",
        "running: v1 (2), v2 (1)",
    ]
    assert list(lines({}, {})) == ["no faults", "running: nothing"]


def test_numbers_are_short() -> None:
    """Three digits of a time, four of a share."""
    assert [as_milliseconds(value) for value in (0.0016234, 0.3, 12.345)] == ["1.62 ms", "300 ms", "12.3 s"]
    assert [as_percent(value) for value in (0, 0.00012345, 0.5, 1)] == ["0 %", "0.01234 %", "50 %", "100 %"]
