"""What `canary status` and `canary watch` show. Pure: the same document, events and time give the same picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from canary.cli.output import PHASE_STYLES, UNICODE, VERDICT_STYLES, Symbols, phase_symbol
from canary.cli.query import Query
from canary.cli.view import RolloutView, StepState, steps, view
from canary.cli.words import clean, clock, due_words, event_time, measured, percent, since, span
from canary.model.status import CheckStatus, RouteStatus, parse_time

Json = dict[str, Any]

EVENTS_SHOWN = 8
EVENTS_SHOWN_COMPACT = 3
BAR = 40

_STEP_STYLES = {
    StepState.DONE: "green",
    StepState.CURRENT: "bold cyan",
    StepState.FAILED: "red",
    StepState.NEXT: "dim",
}
_GOOD_WHEN_FALSE = {"Reconciling", "Stalled"}


def render_status(
    document: Json,
    events: Sequence[Json] | None,
    now: datetime,
    *,
    symbols: Symbols = UNICODE,
    compact: bool = False,
) -> RenderableType:
    """The whole picture of one Rollout at `now`.

    `events`: newest last; None when they could not be read. `compact` leaves out queries and conditions, so that a
    live view fits on a screen.
    """
    rollout = view(document)
    parts: list[RenderableType] = [_heading(rollout, now, symbols)]
    for title, body in _sections(rollout, events, now, symbols, compact=compact):
        parts += [Text(), Text(title, style="bold"), Padding(body, (0, 0, 0, 2))]
    return Group(*parts)


def _sections(
    rollout: RolloutView, events: Sequence[Json] | None, now: datetime, symbols: Symbols, *, compact: bool
) -> Iterator[tuple[str, RenderableType]]:
    status = rollout.status
    if status.run is not None or status.split.written or rollout.active:
        yield f"Traffic to {rollout.service('canary') or 'the canary'}", _traffic(rollout, symbols)
    if rollout.steps:
        yield "Steps", _steps(rollout, now, symbols)
    if status.checks:
        yield "Checks", _checks(rollout, now, symbols, compact=compact)
    if rollout.pending is not None or status.last_request is not None:
        yield "Last request", _request(rollout, now, symbols)
    if status.conditions and not compact:
        yield "Conditions", _conditions(rollout, now)
    if events is None:
        yield "Events", Text("not shown: they could not be read (`canary status --debug` says why)", style="dim")
    elif events:
        shown = EVENTS_SHOWN_COMPACT if compact else EVENTS_SHOWN
        yield "Events", _events(events[-shown:], now, symbols)


def _heading(rollout: RolloutView, now: datetime, symbols: Symbols) -> RenderableType:
    style = PHASE_STYLES.get(rollout.phase, "magenta")
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1, overflow="fold")
    head.add_column(justify="right", no_wrap=True)
    title = Text.assemble(
        (f"{phase_symbol(rollout.phase, symbols)} ", style),
        (f"{rollout.namespace}/{rollout.name}", "bold"),
        ("  ", ""),
        (rollout.phase or "not seen by a controller yet", f"bold {style}"),
    )
    head.add_row(title, Text(f"as of {now:%H:%M:%S} UTC", style="dim"))
    lines: list[RenderableType] = [head]
    if rollout.status.message:
        lines.append(Padding(Text(clean(rollout.status.message)), (0, 0, 0, 2)))
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column(overflow="fold")
    for label, value in _facts(rollout, now, symbols):
        facts.add_row(label, value)
    lines.append(Padding(facts, (0, 0, 0, 2)))
    return Group(*lines)


def _facts(rollout: RolloutView, now: datetime, symbols: Symbols) -> Iterator[tuple[str, Text]]:
    status, dot = rollout.status, f" {symbols.dot} "
    if not rollout.phase:
        yield "status", Text("empty: no controller has looked at it; is one running for this namespace?", "yellow")
    elif not rollout.current:
        yield "spec", Text("changed since; the controller has not looked at the change yet", style="yellow")
    if status.paused is not None:
        words = f"{clean(status.paused.reason)}, since {clock(status.paused.since, now)}"
        yield "paused", Text(f"{words}: {clean(status.paused.message)}".removesuffix(": "), style="yellow")
    if rollout.spec.get("paused") is True and (status.paused is None or not rollout.active):
        yield "paused", Text("spec.paused is true: nothing starts, and a run stays where it is", style="yellow")
    if status.run is not None:
        yield "run", Text(dot.join(_run_words(rollout, now)))
    if status.run is not None and status.run.outcome is not None:
        reason = f"{status.run.outcome.value} ({clean(status.run.reason)})" if status.run.reason else status.run.outcome
        words = f"{reason}: {clean(status.run.message)}" if status.run.message else str(reason)
        yield "outcome", Text(words, style=PHASE_STYLES.get(status.run.outcome.value, ""))
    known = status.revisions
    revisions = (("stable", known.stable), ("canary", known.canary), ("settled", known.settled))
    if any(value for _, value in revisions):
        yield "revisions", Text(dot.join(f"{name} {clean(value)}" for name, value in revisions if value))
    if status.swapped:
        yield "swapped", Text(f"{rollout.service('stable')} is the stable side now")
    for place in rollout.unread:
        yield "unread", Text(f"{place} is beyond this version of the CLI; update it", style="yellow")


def _run_words(rollout: RolloutView, now: datetime) -> Iterator[str]:
    run = rollout.status.run
    if run is None:
        return
    yield f"#{run.number}"
    if run.revision:
        yield f"revision {clean(run.revision)}"
    started = f"started {since(run.started_at, now)}"
    yield f"{started} by {clean(run.trigger.by)}" if run.trigger.by else started
    if run.trigger.reason:
        yield clean(run.trigger.reason)
    if run.ended_at is not None:
        yield f"ended {since(run.ended_at, now)} after {span(run.ended_at - run.started_at)}"
    if run.full and rollout.active:
        yield "remaining holds skipped on request"


def _traffic(rollout: RolloutView, symbols: Symbols) -> RenderableType:
    split = rollout.status.split
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True, overflow="fold")
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(*[Text(word, style="dim") for word in ("", "desired", "written", "accepted", "observed", "")])
    observed = percent(split.observed) or "not measured"
    table.add_row(
        Text(f"run #{rollout.status.run.number}" if rollout.status.run else "all routes"),
        Text(percent(split.desired), style="bold"),
        Text(percent(split.written), style="" if split.written == split.desired else "yellow"),
        Text(percent(split.accepted), style="" if split.accepted == split.written else "yellow"),
        Text(observed, style="" if split.observed is not None else "dim"),
        Text(),
    )
    for route in rollout.status.routes:
        table.add_row(*_route(route, split.desired, symbols))
    return Group(_bar(split.accepted, split.desired, symbols), table)


def _route(route: RouteStatus, desired: float, symbols: Symbols) -> list[Text]:
    accepted = (
        Text(symbols.done, style="green") if route.accepted else Text(f"{symbols.failed} not yet", style="yellow")
    )
    note = clean(route.message) or ("" if route.claimed else "not written by this run")
    return [
        Text(f"{route.kind.value} {clean(route.name)}"),
        Text(percent(desired)),
        Text(percent(route.share) or "unknown", style="" if route.share == desired else "yellow"),
        accepted,
        Text(),
        Text(note, style="yellow" if route.message else "dim"),
    ]


def _bar(accepted: float, desired: float, symbols: Symbols) -> Text:
    """What the canary gets as a bar; the part that is asked for but not accepted yet in another colour."""
    filled, wanted = round(accepted * BAR / 100), round(desired * BAR / 100)
    filled = max(filled, 1) if accepted > 0 else filled  # 0.5 % is not nothing
    wanted = max(wanted, 1) if desired > 0 else wanted
    return Text.assemble(
        (symbols.full * min(filled, BAR), "cyan"),
        (symbols.full * max(0, wanted - filled), "yellow"),
        (symbols.empty * (BAR - max(filled, wanted)), "dim"),
    )


def _steps(rollout: RolloutView, now: datetime, symbols: Symbols) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    signs = {
        StepState.DONE: symbols.done,
        StepState.CURRENT: symbols.paused if rollout.phase == "Paused" else symbols.current,
        StepState.FAILED: symbols.failed,
        StepState.NEXT: symbols.next,
    }
    views = steps(rollout, now)
    for step in views:
        style = _STEP_STYLES[step.state]
        if step.state is StepState.CURRENT and rollout.phase == "Paused":
            style = "bold yellow"
        number = "" if step is views[-1] else str(step.number)
        table.add_row(
            Text(signs[step.state], style=style),
            Text(number, style=style),
            Text(step.asks, style=style if step.state is not StepState.DONE else ""),
            Text(step.hold, style="dim"),
            Text(step.note, style="yellow" if rollout.phase == "Paused" else "cyan"),
        )
    return table


def _checks(rollout: RolloutView, now: datetime, symbols: Symbols, *, compact: bool) -> RenderableType:
    checks = rollout.status.checks
    names = [f"{clean(check.name)} (dry run)" if check.dry_run else clean(check.name) for check in checks]
    width = min(32, max(len(name) for name in names))
    parts: list[RenderableType] = []
    for check, name in zip(checks, names, strict=True):
        parts.append(_check(check, name.ljust(width), now, symbols, active=rollout.active))
        parts += [Padding(detail, (0, 0, 0, 4)) for detail in _check_details(check, compact=compact)]
    return Group(*parts)


def _check(check: CheckStatus, name: str, now: datetime, symbols: Symbols, *, active: bool) -> RenderableType:
    style = VERDICT_STYLES[check.verdict.value]
    sign = {"Pass": symbols.done, "Fail": symbols.failed}.get(check.verdict.value, symbols.unknown)
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(
        Text.assemble((f"{sign} ", style), (name, "bold"), "  ", (f"{check.verdict.value:<7}", style)),
        Text.assemble(
            f"{measured(check.value)}, limit {clean(check.limit)}" if check.limit else measured(check.value),
            *((f" {symbols.dot} {words}", "dim") for words in _check_words(check, now, active=active)),
        ),
    )
    return line


def _check_words(check: CheckStatus, now: datetime, *, active: bool) -> Iterator[str]:
    if check.failures or check.failure_limit:
        yield f"failures {check.failures}/{check.failure_limit}"
    if check.unknown_since is not None and check.verdict.value == "Unknown":
        yield f"unknown for {span(now - check.unknown_since)}"
    if check.measured_at is None:
        yield "not measured yet"
        return
    words = due_words(check.measured_at, check.interval_seconds, now) if active else ""
    yield since(check.measured_at, now) + (f", {words}" if words else "")


def _check_details(check: CheckStatus, *, compact: bool) -> Iterator[RenderableType]:
    """Why a check does not pass, and its query."""
    if check.verdict.value != "Pass" and (check.message or check.reason):
        words = f"{clean(check.reason)}: {clean(check.message)}" if check.message else clean(check.reason)
        yield Text(words, style=VERDICT_STYLES[check.verdict.value])
    if check.query and not compact:
        yield Query(clean(check.query))


def _request(rollout: RolloutView, now: datetime, symbols: Symbols) -> RenderableType:
    lines: list[RenderableType] = []
    if rollout.pending is not None:
        who = f" by {clean(rollout.pending.by)}" if rollout.pending.by else ""
        words = f"{symbols.current} {clean(rollout.pending.verb)}{who}: not answered by the controller yet"
        lines.append(Text(words, style="yellow"))
    last = rollout.status.last_request
    if last is not None:
        refused = last.outcome.startswith("refused:")
        sign = symbols.failed if refused else symbols.done
        who = f" by {clean(last.by)}" if last.by else ""
        why = f' ("{clean(last.reason)}")' if last.reason else ""
        lines.append(
            Text.assemble(
                (f"{sign} ", "red" if refused else "green"),
                f"{clean(last.verb)}{who}{why}, {since(last.at, now)}: {clean(last.outcome)}",
            )
        )
    return Group(*lines)


def _conditions(rollout: RolloutView, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for condition in rollout.status.conditions:
        good = condition.status == ("False" if condition.type in _GOOD_WHEN_FALSE else "True")
        style = "green" if good else "yellow" if condition.status == "Unknown" else ""
        style = "red" if not good and condition.type == "Stalled" else style
        table.add_row(
            Text(clean(condition.type)),
            Text(condition.status, style=style),
            Text(clean(condition.reason)),
            Text(f"since {clock(condition.last_transition_time, now)}"),
        )
    return table


def _events(events: Sequence[Json], now: datetime, symbols: Symbols) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, justify="right", style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for event in events:
        warning = event.get("type") == "Warning"
        count = int(event.get("count") or (event.get("series") or {}).get("count") or 1)
        message = clean(event.get("message") or "") + (f" ({symbols.times}{count})" if count > 1 else "")
        table.add_row(
            Text(_event_age(event, now)),
            Text(clean(event.get("reason") or ""), style="yellow" if warning else ""),
            Text(message),
        )
    return table


def _event_age(event: Json, now: datetime) -> str:
    try:
        return since(parse_time(event_time(event)), now)
    except ValueError:
        return ""
