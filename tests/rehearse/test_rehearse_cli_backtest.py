"""`canary backtest` as a process: what it needs, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cli_kit import canary
from rehearse_kit import COMPARE, LATENCY, LIMIT, document, prometheus_of, steps, written
from rich.console import Console

from canary.cli.progress import LINES, Progress
from canary.cli.render_plan import table

BETWEEN = ("--from", "2026-03-02T00:00:00Z", "--to", "2026-03-02T06:00:00+00:00")
REQUESTS = 'requests_total{service="stable"}'
FAILURES = 'requests_total{service="stable",code="500"}'
RATE = 'rate(requests_total{service="stable"}[1m])'
COUNTED = {REQUESTS: 100.0, FAILURES: 1.0}


async def test_it_says_how_often_and_how_soon(tmp_path: Path) -> None:
    """Each check with each canary, alarms with their time, all together; the limit is asked with stable in the canary's place."""
    file = written(tmp_path, document(steps(10, 50), COMPARE, LIMIT))
    async with prometheus_of({**COUNTED, RATE: -1e-9}) as url:
        ran = await canary("backtest", file, *BETWEEN, "--times", "10", "--prometheus-url", url, COLUMNS="200")
    assert (ran.code, ran.err) == (0, "")
    assert "shop: 2026-03-02 00:00:00 to 2026-03-02 06:00:00 UTC" in ran.out
    assert "35 runs of 10m02s, one after the other" in ran.out
    assert re.search(r"as good as stable +\d of 210 \(\d\.\d %\) ", ran.out)
    assert re.search(r"10. the errors +210 of 210 \(100.0 %\) +\d+s", ran.out)
    assert "as good as stable  0 of 35 (0.0 %)" in ran.out
    assert re.search(
        r"\d\.\d % of the runs with a canary that is as good as stable would have failed: \S+ a week", ran.out
    )


COMPARED = ("STEP", "TRAFFIC", "FIRST LOOK", "HALF FOUND", "95 % FOUND", "IN THIS STEP", "LONG ENOUGH", "BY ITS END")
REPLAYED = ("CANARY", "FAILED", "A WEEK", "HALF AFTER", "95 % AFTER", "HELD AT THE END")


@pytest.mark.parametrize("width", [40, 60, 80, 100])
@pytest.mark.parametrize(
    ("headings", "cells"),
    [
        (COMPARED, ("1", "10 %, opt-in", "15s", "1m12s", "4m00s", "99.9 %", "yes", "99.9 %")),
        (REPLAYED, ("10x the odds to be slow", "285 of 285 (100.0 %)", "7.05", "1m12s", "1m45s", "22")),
    ],
)
def test_no_column_is_lost_on_a_narrow_terminal(headings: tuple[str, ...], cells: tuple[str, ...], width: int) -> None:
    """Headings break into two lines first; from 80 columns on each row is one line, and whoever has 100 has the headings in one, too."""
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        console.print(table(headings, [cells]))
    lines = [line.rstrip() for line in captured.get().splitlines()]
    shown = Counter("".join("".join(lines).split()))
    assert shown == Counter("".join("".join((*headings, *cells)).split()))
    assert all(len(line) <= width for line in lines)
    if width >= 80:
        assert len(lines) == (2 if width == 100 else 3)
        assert all(cell in lines[-1] for cell in cells)


async def test_the_table_fits_into_80_columns(tmp_path: Path) -> None:
    """All six columns, as in a terminal of the usual width."""
    file = written(tmp_path, document(steps(10), COMPARE))
    async with prometheus_of(COUNTED) as url:
        ran = await canary("backtest", file, *BETWEEN, "--times", "10", "--prometheus-url", url, COLUMNS="80")
    above, below = (line.split() for line in ran.out.splitlines() if "HELD AT" in line or "THE END" in line)
    assert above == ["A", "HALF", "95", "%", "HELD", "AT"]
    assert below == ["CANARY", "FAILED", "WEEK", "AFTER", "AFTER", "THE", "END"]


async def test_programs_get_the_same_as_json(tmp_path: Path) -> None:
    """Alarms of a limit that is too low, each with its moment."""
    file = written(tmp_path, document(steps(10), LIMIT))
    async with prometheus_of({RATE: 1.0}) as url:
        ran = await canary("backtest", file, *BETWEEN, "-o", "json", CANARY_PROMETHEUS_URL=url)
    told = json.loads(ran.out)
    assert (told["runs"], told["runSeconds"], told["from"]) == (71, 301, "2026-03-02T00:00:00Z")
    assert told["falseAlarms"]["share"] == 1
    assert told["falseAlarms"]["perWeek"] == pytest.approx(7 * 86_400 / 301)
    (check,) = told["checks"]
    assert len(check["alarms"]) == 71
    assert check["alarms"][0]["at"] == "2026-03-02T00:00:10Z"
    assert check["canaries"][0]["failed"] == 71


async def test_a_share_of_its_own_and_a_short_time(tmp_path: Path) -> None:
    """More of the traffic finds it sooner; few runs say little, which is said."""
    file = written(tmp_path, document(steps(1), COMPARE))
    short = ("--from", "2026-03-02", "--to", "2026-03-02T01:00:00Z", "--times", "5", "-o", "json")
    async with prometheus_of(COUNTED) as url:
        at = {"CANARY_PROMETHEUS_URL": url}
        small, large = await asyncio.gather(
            canary("backtest", file, *short, **at), canary("backtest", file, *short, "--share", "50%", **at)
        )
    caught = [json.loads(ran.out)["checks"][0]["canaries"][1]["share"] for ran in (small, large)]
    assert caught[0] < caught[1] == 1
    assert any("only 11 runs" in line for line in json.loads(small.out)["warnings"])


async def test_latencies_are_replayed(tmp_path: Path) -> None:
    """A canary that is stable is as fast, one with ten times the odds to be slow is found; a bound that there is no bucket of is said."""
    file = written(tmp_path, document(steps(10), LATENCY))
    query = 'took_bucket{service="stable"}'
    async with prometheus_of({query: {"0.1": 60.0, "0.3": 89.0, "+Inf": 90.0}}) as url:
        ran = await canary("backtest", file, *BETWEEN, "--times", "10", "--prometheus-url", url, COLUMNS="200")
    async with prometheus_of({query: {"0.1": 60.0, "0.5": 89.0, "+Inf": 90.0}}) as url:
        lacks = await canary("backtest", file, *BETWEEN, "--prometheus-url", url)
    assert (ran.code, lacks.code) == (0, 1)
    assert re.search(r"as good as stable +\d of 213 \(\d\.\d %\) ", ran.out)
    assert re.search(r"10. the odds to be slow +213 of 213 \(100.0 %\) +(\d+m)?\d+s", ran.out)
    assert (
        f"check latency: the histogram has no bucket of 300 ms: the nearest are 100 ms and 500 ms (asked for {query})"
        in lacks.err
    )


async def test_no_data_says_which_query_and_what_to_do(tmp_path: Path) -> None:
    """One check without is a warning beside the others; none with is an error."""
    file = written(tmp_path, document(steps(10), COMPARE, LIMIT))
    async with prometheus_of({RATE: 0.0}) as url:
        some = await canary("backtest", file, *BETWEEN, "--prometheus-url", url, COLUMNS="400")
    async with prometheus_of({}) as url:
        none = await canary("backtest", file, *BETWEEN, "--prometheus-url", url)
    assert some.code == 0
    assert f"! check errors: no requests of stable were counted in this time by {REQUESTS}" in some.out
    assert (none.code, none.out) == (1, "")
    assert f"check rate: there is no data in this time by {RATE}: correct the query, or choose" in none.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "--from"),
        (BETWEEN, 2, "is needed: what was measured is asked of it"),
        (("--from", "yesterday", "--prometheus-url", "http://x"), 2, "is no time; write 2026-11-02"),
        (("--from", "2026-03-02", "--to", "2026-03-01", "--prometheus-url", "http://x"), 2, "is not before --to"),
        ((*BETWEEN, "--times", "1", "--prometheus-url", "http://x"), 2, "numbers above 1"),
        ((*BETWEEN, "--times", "nan", "--prometheus-url", "http://x"), 2, "numbers above 1"),
        ((*BETWEEN, "--share", "100%", "--prometheus-url", "http://x"), 2, "both have traffic"),
        ((*BETWEEN, "--prometheus-url", "x:9090"), 2, "no http:// or https:// URL"),
        (("--from", "2m", "--prometheus-url", "http://x"), 2, "one run takes 5m01s: choose a longer time"),
        (("--from", "2025-01-01", "--to", "2026-01-01", "--prometheus-url", "http://x"), 2, "choose a shorter time"),
        ((*BETWEEN, "--prometheus-url", "http://127.0.0.1:9"), 1, "http://127.0.0.1:9 cannot be reached: "),
    ],
)
async def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """In a sentence, before anything is asked where that is possible."""
    ran = await canary("backtest", written(tmp_path, document(steps(10), COMPARE)), *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in " ".join(ran.err.replace("│", " ").split())
    assert "Traceback" not in ran.err


async def test_ctrl_c_ends_it_in_the_middle_of_a_question(tmp_path: Path) -> None:
    """At once, with 130 and without a word, though Prometheus says nothing."""
    file = written(tmp_path, document(steps(10), COMPARE))
    asked = asyncio.Event()
    async with prometheus_of({}, hanging=asked) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "canary", "backtest", file, *BETWEEN, "--prometheus-url", url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "CANARY_DEBUG": ""},
        )
        try:
            await asyncio.wait_for(asked.wait(), 30)
            process.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(process.communicate(), 10)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert (process.returncode, out, err) == (130, b"", b"")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "last"), [(Terminal(), "\r"), (io.StringIO(), "reading: 40 %\n")])
def test_progress_is_seen_where_there_is_somebody_and_leaves_nothing_behind(stream: io.StringIO, last: str) -> None:
    """On a terminal it is drawn over and wiped; elsewhere it is a line now and then. Quick work says nothing."""
    now = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    with Progress(stream, clock=lambda: now) as progress:
        progress.says("reading", 1, 10)
        assert stream.getvalue() == ""
        now += LINES
        progress.says("reading", 4, 10)
        progress.says("reading", 5, 10)
    assert "reading: 40 %" in stream.getvalue()
    assert "50 %" not in stream.getvalue()
    assert stream.getvalue().endswith(last)
