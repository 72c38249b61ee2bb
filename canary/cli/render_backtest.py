"""What a backtest found, on a terminal and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from canary.checks.judges.against import Against
from canary.checks.judges.slower import Slower
from canary.cli.output import UNICODE, Symbols
from canary.cli.render_plan import INDENT, table, warning
from canary.cli.replaying import Backtest
from canary.rehearse.backtest import Replayed, a_week
from canary.view.words import clean, counted, span

Json = dict[str, Any]

SHOWN = 3
"""Alarms that are shown of a check."""


def render_backtest(found: Backtest, *, symbols: Symbols = UNICODE) -> RenderableType:
    """All of it, warnings last."""
    runs, total = len(found.begins), found.times.total
    parts: list[RenderableType] = [
        Text(f"{clean(found.subject.name)}: {_time(found.start)} to {_time(found.end)} UTC", style="bold"),
        _line(f"{counted(runs, 'run')} of {_span(total)}, one after the other, as if nobody had objected."),
    ]
    for _, group in groupby(found.replays, key=lambda one: one.check.name):
        parts += [Text(), *_check(found, list(group), symbols)]
    week = a_week(found.alarms * runs, runs, found.times)
    parts += [
        Text(),
        Text("All checks together", style="bold"),
        _line(
            f"{_percent(found.alarms)} of the runs with a canary that is as good as stable would have failed: {week:.3g} a week, if one run "
            "followed the other."
        ),
    ]
    if found.warnings:
        parts += [Text(), Text("Warnings", style="bold"), *(warning(line, symbols) for line in found.warnings)]
    return Group(*parts)


def _check(found: Backtest, replays: list[Replayed], symbols: Symbols) -> Iterator[RenderableType]:
    check = replays[0].check
    dry = "; a dry run, it fails nothing" if check.settings.dry_run else ""
    yield Text.assemble((f"Check {clean(check.name)}", "bold"), f": {clean(check.limit)}{dry}")
    what = "odds to be slow" if isinstance(check.judge, Slower) else "errors"
    rows = []
    for one in replays:
        healthy = one.worse == 1
        alarms = one.share * len(found.begins)
        rows.append(
            (
                "as good as stable" if healthy else f"{one.worse:g}{symbols.times} the {what}",
                f"{len(one.caught)} of {len(one.outcomes)} ({_percent(one.share)})",
                f"{a_week(alarms, len(found.begins), found.times):.3g}" if healthy else "",
                "" if healthy else _after(one.within(0.5)),
                "" if healthy else _after(one.within(0.95)),
                str(sum(outcome.held for outcome in one.outcomes) or "-"),
            )
        )
    yield table(("CANARY", "FAILED", "A WEEK", "HALF AFTER", "95 % AFTER", "HELD AT THE END"), rows)
    if not isinstance(check.judge, Against):
        yield _line(
            "Measured of all of stable's traffic. Of a canary's share of it numbers vary more, so this is the least to expect."
        )
    for at, why in _alarms(found, replays[0])[:SHOWN]:
        yield _line(f"{_time(at)}: {clean(why)}")
    more = len(_alarms(found, replays[0])) - SHOWN
    if more > 0:
        yield _line(f"and {more} more; -o json has all of them")


def _alarms(found: Backtest, one: Replayed) -> list[tuple[float, str]]:
    """When a healthy canary would have been failed, and why."""
    again = len(one.outcomes) // len(found.begins)
    return [
        (found.begins[number // again] + outcome.at, outcome.why)
        for number, outcome in enumerate(one.outcomes)
        if outcome.at is not None
    ]


def document(found: Backtest) -> Json:
    """The same for programs. Times are seconds since a run began, moments RFC 3339."""
    runs = len(found.begins)
    return {
        "rollout": found.subject.name,
        "namespace": found.subject.namespace,
        "from": _moment(found.start),
        "to": _moment(found.end),
        "runs": runs,
        "runSeconds": found.times.total,
        "falseAlarms": {
            "share": found.alarms,
            "perWeek": a_week(found.alarms * runs, runs, found.times),
        },
        "checks": [
            {
                "check": name,
                "dryRun": group[0].check.settings.dry_run,
                "canaries": [
                    {
                        "times": one.worse,
                        "replays": len(one.outcomes),
                        "failed": len(one.caught),
                        "share": one.share,
                        "perWeek": a_week(one.share * runs, runs, found.times),
                        "medianSeconds": one.within(0.5),
                        "p95Seconds": one.within(0.95),
                        "heldAtTheEnd": sum(outcome.held for outcome in one.outcomes),
                    }
                    for one in group
                ],
                "alarms": [{"at": _moment(at), "message": why} for at, why in _alarms(found, group[0])],
            }
            for name, group in (
                (name, list(each)) for name, each in groupby(found.replays, key=lambda one: one.check.name)
            )
        ],
        "warnings": list(found.warnings),
    }


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"


def _after(seconds: float | None) -> str:
    return "never" if seconds is None else _span(seconds)


def _line(words: str) -> RenderableType:
    return Padding(Text(words), INDENT)


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _span(seconds: float) -> str:
    return span(timedelta(seconds=round(seconds)))
