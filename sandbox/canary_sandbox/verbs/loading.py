"""Sending the load and showing it: live on a terminal, a line every few seconds anywhere else, a summary at the end."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from canary.cli.exits import CliError, ExitCode
from canary.cli.output import make_console, show
from canary_sandbox.load import NO_ANSWER, Answer, LoadGenerator, is_bad
from canary_sandbox.verbs.common import as_milliseconds, as_percent

Json = dict[str, Any]

WINDOW = 5.0
"""Seconds that the live part looks back."""
_REDRAW = 0.5
_LINE_EVERY = 2.0
_PER_FACTOR_OF_TEN = 50
"""Buckets of the latencies, so that a percentile is off by less than 5 %."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for; `seconds` is how long."""

    url: str
    host: str
    rps: float
    seconds: float
    plain: bool = False
    json: bool = False


@dataclass(slots=True)
class Row:
    """What one version answered."""

    total: int = 0
    bad: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, answer: Answer) -> None:
        self.total += 1
        self.bad += is_bad(answer.status)
        self.statuses[answer.status] += 1
        self.buckets[math.floor(math.log10(max(answer.seconds, 1e-6)) * _PER_FACTOR_OF_TEN)] += 1

    def percentile(self, share: float) -> float:
        """Seconds within which this share (0..1) of the answers came; 0 when there were none."""
        left = math.ceil(share * self.total)
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                # The middle of the bucket, on the scale that the buckets divide.
                return float(10 ** ((bucket + 0.5) / _PER_FACTOR_OF_TEN))
        return 0.0

    def summary(self) -> Json:
        return {
            "requests": self.total,
            "failed": self.bad,
            "statuses": {str(status): number for status, number in sorted(self.statuses.items())},
            "p50": round(self.percentile(0.5), 6),
            "p99": round(self.percentile(0.99), 6),
        }


def name_of(answer: Answer) -> str:
    """The version, or who else answered."""
    return answer.version or ("no answer" if answer.status == NO_ANSWER else "gateway")


class Tally:
    """Everything so far, and the last few seconds."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._recent: deque[Answer] = deque()

    def add(self, answer: Answer) -> None:
        self.rows.setdefault(name_of(answer), Row()).add(answer)
        self._recent.append(answer)

    def recent(self) -> dict[str, Row]:
        """The answers of the last WINDOW seconds."""
        begin = time.monotonic() - WINDOW
        while self._recent and self._recent[0].at < begin:
            self._recent.popleft()
        return tally(self._recent)

    def whole(self) -> Row:
        """All versions together."""
        total = Row()
        for row in self.rows.values():
            total.total += row.total
            total.bad += row.bad
            total.statuses += row.statuses
            total.buckets += row.buckets
        return total


def tally(answers: Iterable[Answer]) -> dict[str, Row]:
    """A row for each version."""
    rows: dict[str, Row] = {}
    for answer in answers:
        rows.setdefault(name_of(answer), Row()).add(answer)
    return rows


def run(settings: Settings, *, no_color: bool, alive: Callable[[], bool] | None) -> int:
    """Send until the time is over, Ctrl-C, or the sandbox (`alive`) is gone. Returns the exit code."""
    return asyncio.run(_run(settings, no_color=no_color, alive=alive))


async def _run(settings: Settings, *, no_color: bool, alive: Callable[[], bool] | None) -> int:
    stop, gone = asyncio.Event(), False
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    counted, began = Tally(), time.monotonic()
    console = make_console(no_color=no_color, stderr=settings.json)
    screen = Picture(console, counted) if console.is_terminal and not settings.plain else Lines(console, counted)
    host = f" for {settings.host}" if settings.host else ""
    show(console, Text(f"{settings.rps:g} requests a second to {settings.url}{host}; Ctrl-C ends it"), width=10_000)
    generator = LoadGenerator(
        settings.url,
        settings.host,
        settings.rps,
        max_seconds=settings.seconds,
        max_requests=math.ceil(settings.rps * settings.seconds) + 1,
        history=1,
        on_answer=counted.add,
    )
    async with generator:
        over, ending = asyncio.create_task(generator.wait()), asyncio.create_task(stop.wait())
        with screen:
            while not (over.done() or ending.done() or gone):
                await asyncio.wait({over, ending}, timeout=_REDRAW, return_when=asyncio.FIRST_COMPLETED)
                screen.tick()
                gone = alive is not None and not alive()
        for task in (over, ending):
            task.cancel()
    took = time.monotonic() - began
    if settings.json:
        sys.stdout.write(json.dumps(report(counted, took), indent=2) + "\n")
    else:
        show(console, summary(counted, took), width=100)
    if gone:
        raise CliError("the sandbox went down meanwhile", ExitCode.UNREACHABLE)
    return ExitCode.OK


class Picture:
    """A table that is redrawn."""

    def __init__(self, console: Console, counted: Tally) -> None:
        self._counted = counted
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tick(self) -> None:
        title = f"the last {WINDOW:g} s"
        now = table(self._counted.recent(), title, WINDOW)
        self._live.update(Group(now, Text(), _in_all(self._counted.whole())), refresh=True)


class Lines:
    """A line every few seconds."""

    def __init__(self, console: Console, counted: Tally) -> None:
        self._console = console
        self._counted = counted
        self._began = self._next = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put away."""

    def tick(self) -> None:
        now = time.monotonic()
        if now < self._next + _LINE_EVERY:
            return
        self._next = now
        rows = self._counted.recent()
        total = sum(row.total for row in rows.values()) or 1
        parts = [
            f"{name} {as_percent(row.total / total)}"
            + (f", {as_percent(row.bad / row.total)} of it failed" if row.bad else "")
            + f", p99 {as_milliseconds(row.percentile(0.99))}"
            for name, row in sorted(rows.items())
        ]
        show(self._console, Text(f"{now - self._began:5.0f} s  {'; '.join(parts) or 'no answers'}"), width=10_000)


def table(rows: Mapping[str, Row], title: str, seconds: float) -> Table:
    """What each version answered in so many seconds."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name in ("answered by", "requests", "a second", "share", "failed", "p50", "p99"):
        shown.add_column(name, justify="left" if name == "answered by" else "right", header_style="dim")
    total = sum(row.total for row in rows.values()) or 1
    for name, row in sorted(rows.items()):
        shown.add_row(
            name,
            str(row.total),
            f"{row.total / seconds:.1f}",
            as_percent(row.total / total),
            Text(as_percent(row.bad / row.total), style="red" if row.bad else "green"),
            as_milliseconds(row.percentile(0.5)),
            as_milliseconds(row.percentile(0.99)),
        )
    return shown


def summary(counted: Tally, took: float) -> RenderableType:
    """The end of it."""
    title = f"{took:.0f} s in all"
    return Group(table(counted.rows, title, took), Text(), _in_all(counted.whole()))


def _in_all(whole: Row) -> Text:
    statuses = [f"{number}x {status or 'no answer'}" for status, number in sorted(whole.statuses.items())]
    return Text(f"{whole.total} requests in all, {whole.bad} failed: {', '.join(statuses) or 'none yet'}")


def report(counted: Tally, took: float) -> Json:
    """The summary for programs: seconds, and counts by version."""
    versions = {name: row.summary() for name, row in sorted(counted.rows.items())}
    return {"seconds": round(took, 3), **counted.whole().summary(), "versions": versions}
