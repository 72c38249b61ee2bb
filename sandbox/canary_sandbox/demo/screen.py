"""What the demo shows: a live picture in a terminal, plain lines anywhere else, and a summary at the end."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from canary.model.check_status import VerdictKind
from canary.model.status import Phase, RolloutStatus
from canary_sandbox.demo.report import Report
from canary_sandbox.load import Counts

Json = dict[str, Any]

_PHASE_STYLE = {
    Phase.PROGRESSING: "cyan",
    Phase.PROMOTING: "cyan",
    Phase.PAUSED: "yellow",
    Phase.ROLLING_BACK: "bold red",
    Phase.ROLLED_BACK: "red",
    Phase.SUCCEEDED: "green",
}
_BAR = 40
LOG_WIDTH = 110
"""Columns of the summary where nobody knows how wide the paper is."""


class Screen:
    """Takes what happens and shows it. What a kind of screen does not show, it ignores."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    def _clock(self) -> str:
        return f"{time.monotonic() - self._began:5.1f}s"

    def open(self) -> None:
        """The stage is set."""

    def close(self) -> None:
        """The demo is over, or broken off."""

    def say(self, text: str) -> None:
        """A line of the story."""

    def event(self, event: Json) -> None:
        """An Event on the Rollout."""

    def status(self, status: RolloutStatus) -> None:
        """The Rollout's status changed."""

    def weight(self, share: float) -> None:
        """The route's weights changed: the canary's share in percent."""

    def traffic(self, before: Counts, now: Counts, *, seconds: float) -> None:
        """What was served in the last `seconds`."""

    def note(self, *lines: str) -> None:
        """Lines to copy, after the demo."""
        for line in lines:
            self.console.print(Text(line), soft_wrap=True)

    def fatal(self, text: str) -> None:
        """It cannot go on."""
        self.console.print(Text(f"error: {text}", style="bold red"))

    def report(self, report: Report) -> None:
        """What really happened."""
        self.close()
        self.console.print()
        self.console.print(summary(report))


class PlainScreen(Screen):
    """One line after the other, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._message = ""

    def say(self, text: str) -> None:
        self._line("story", text, "bold")

    def event(self, event: Json) -> None:
        style = "red" if event.get("type") == "Warning" else ""
        self._line("event", f"{event.get('reason')}: {event.get('message')}", style)

    def status(self, status: RolloutStatus) -> None:
        if status.message != self._message:
            self._message = status.message
            self._line("status", f"{status.phase}: {status.message}", _PHASE_STYLE.get(status.phase or Phase.IDLE, ""))

    def _line(self, kind: str, text: str, style: str) -> None:
        self.console.print(Text(f"{self._clock()}  {kind:<6}  {text}", style=style), soft_wrap=True)


class LiveScreen(Screen):
    """A picture that is redrawn: the act, traffic as counted, weights as written, the Rollout as kubectl shows it, the last Events.

    Of Events there are as many as fit the terminal, the last ones; the rest of it always has its place.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._lines: deque[Text] = deque(maxlen=9)
        self._act = Text()
        self._status = RolloutStatus()
        self._weight = 0.0
        self._rates: dict[str, float] = {}
        self._bad = 0.0
        self._failed = 0
        self._live: Live | None = None

    def open(self) -> None:
        self._live = Live(self._picture(), console=self.console, refresh_per_second=8, transient=False)
        self._live.start()

    def close(self) -> None:
        if self._live is not None:
            self._live.update(self._picture())
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        self._act = self._stamped(Text(text, style="bold"))
        if self._live is None:
            self.console.print(self._act)
        self._refresh()

    def event(self, event: Json) -> None:
        warning = event.get("type") == "Warning"
        line = Text()
        line.append("! " if warning else "• ", style="red" if warning else "green")
        line.append(str(event.get("reason")), style="bold red" if warning else "bold")
        line.append(f"  {event.get('message')}")
        self._add(line)

    def status(self, status: RolloutStatus) -> None:
        self._status = status
        self._refresh()

    def weight(self, share: float) -> None:
        self._weight = share
        self._refresh()

    def traffic(self, before: Counts, now: Counts, *, seconds: float) -> None:
        versions = sorted(set(now.by_version) | set(before.by_version))
        self._rates = {
            version: (now.by_version.get(version, 0) - before.by_version.get(version, 0)) / seconds
            for version in versions
        }
        self._bad = (now.failed - before.failed) / seconds
        self._failed = now.failed
        self._refresh()

    def _stamped(self, line: Text) -> Text:
        stamped = Text(f"{self._clock()}  ", style="dim")
        stamped.append_text(line)
        return stamped

    def _add(self, line: Text) -> None:
        self._lines.append(self._stamped(line))
        self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._picture())

    def _picture(self) -> RenderableType:
        head = Group(self._act, Text(), self._traffic_table(), Text(), self._rollout_line(), Text())
        inside = self.console.options.update(width=max(20, self.console.width - 4))
        room = self.console.height - 2 - len(self.console.render_lines(head, inside))
        lines: deque[Text] = deque()
        for line in reversed(self._lines):
            room -= len(self.console.render_lines(line, inside))
            if room < 0:
                break
            lines.appendleft(line)
        return Panel(
            Group(head, *lines),
            title="[bold]canary demo[/bold]  real requests through a real Envoy",
            title_align="left",
            border_style="dim",
        )

    def _traffic_table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        total = sum(self._rates.values()) or 1.0
        for version, rate in self._rates.items():
            if not rate and version in {"", "v1"}:
                continue
            filled = round(_BAR * rate / total)
            bar = Text("█" * filled, style="magenta" if version in {"v3", "v4"} else "cyan")
            bar.append("░" * (_BAR - filled), style="dim")
            table.add_row(
                Text(version or "gateway", style="bold"), bar, f"{100 * rate / total:5.1f} %", f"{rate:4.0f}/s"
            )
        bad = Text(f"{self._bad:4.0f}/s", style="bold red" if self._bad else "green")
        table.add_row(Text("failed"), Text(f"{self._failed} in all", style="dim"), "", bad)
        return table

    def _rollout_line(self) -> Table:
        status = self._status
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("NAME", "PHASE", "STEP", "WEIGHT", "OBSERVED", "CHECKS"):
            table.add_column(name)
        observed = status.split.observed
        table.add_row(
            "shop",
            Text(str(status.phase or ""), style=_PHASE_STYLE.get(status.phase or Phase.IDLE, "")),
            status.step.display if status.step else "",
            f"{self._weight:g}",
            "" if observed is None else f"{observed:g}",
            _checks(status),
        )
        table.add_section()
        outer = Table.grid()
        outer.add_row(table)
        outer.add_row(Text(status.message, style="italic"))
        return outer


def _checks(status: RolloutStatus) -> Text:
    bad = any(check.verdict is VerdictKind.FAIL for check in status.checks)
    return Text(status.checks_summary, style="red" if bad else "green")


def make_screen(*, plain: bool, color: bool) -> Screen:
    """A live picture where there is a terminal and nobody asked for plain lines."""
    console = Console(no_color=not color, highlight=False, file=sys.stdout)
    if not console.is_terminal:
        console = Console(no_color=True, highlight=False, file=sys.stdout, width=LOG_WIDTH)
    return PlainScreen(console) if plain or not console.is_terminal else LiveScreen(console)


def summary(report: Report) -> RenderableType:
    """The end of the demo, in numbers."""
    table = Table(title="Requests as the load generator counted them", title_justify="left", title_style="bold")
    for name, justify in (
        ("step", "left"),
        ("requests", "right"),
        ("weight", "right"),
        ("counted", "right"),
        ("by version", "left"),
        ("failed", "right"),
        ("", "left"),
    ):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for step in report.steps:
        versions = ", ".join(f"{version or 'gateway'} {number}" for version, number in sorted(step.by_version.items()))
        table.add_row(
            step.span.label,
            str(step.total),
            f"{step.span.weight:g} %",
            f"{step.share:.1f} %",
            versions,
            str(step.failed),
            Text("ok", style="green") if step.fits else Text("off", style="bold red"),
        )
    copies = Table(
        title="Copies to the comparer; all users stayed with the version before",
        title_justify="left",
        title_style="bold",
    )
    for name in ("step", "requests", "asked for", "counted", "users served", ""):
        copies.add_column(name, justify="left" if name in {"step", ""} else "right")
    for made in report.copies:
        copies.add_row(
            f"{made.version} mirrored",
            str(made.requests),
            f"{made.percent:g} % = {made.asked:.0f}",
            str(made.copies),
            str(made.users),
            Text("ok", style="green") if made.fits else Text("off", style="bold red"),
        )
    moments, catch = report.moments, report.catch
    facts = Table.grid(padding=(0, 2))
    good = f"{report.failed_good_run} during the good release"
    facts.add_row("requests in all", f"{report.sent}; failed: {report.failed} ({good})")
    if catch is not None:
        facts.add_row(
            f"{catch.version}, all answers with status 200",
            f"{_percent(catch.errors)} errors; wrong prices in {_percent(catch.share)}",
        )
    facts.add_row("first bad answer → weight 0 written", _between(moments.first_bad, moments.patched))
    facts.add_row("first failing sample → weight 0 written", _between(moments.sampled, moments.patched))
    facts.add_row("  of that inside the controller", _milliseconds(report.rollback_latency))
    facts.add_row("weight 0 written → accepted by the gateway", _between(moments.patched, moments.accepted))
    late = f"{report.late} later than a second after that" if report.late else "none after that"
    facts.add_row("answers from the bad version", late)
    facts.add_row("all in", f"{report.seconds:.0f} s")
    verdict: list[RenderableType] = [
        Text(
            "The story is true: the good version is live, the bad ones were taken back, and the one with wrong prices met no user.",
            style="bold green",
        )
    ]
    if not report.true:
        verdict = [
            Text("Reality differs from the story:", style="bold red"),
            *(Text(f"  - {fault}") for fault in report.faults),
        ]
    return Group(table, Text(), copies, Text(), facts, Text(), *verdict)


def _between(begin: float | None, end: float | None) -> str:
    if begin is None or end is None:
        return "-"
    seconds = end - begin
    return f"{seconds * 1000:.0f} ms" if abs(seconds) < 1 else f"{seconds:.1f} s"


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.3g} %"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
