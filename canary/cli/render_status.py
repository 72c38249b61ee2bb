"""What `canary status` shows. Pure: the same document, events and time give the same picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from canary.cli.output import PHASE_STYLES, UNICODE, Symbols
from canary.cli.query import Query
from canary.cli.render_parts import (
    asks_style,
    bar,
    check_lines,
    check_reason,
    condition_cells,
    event_cells,
    note_style,
    outcome_words,
    request_lines,
    route_name,
    run_words,
    step_sign,
    title,
    warnings,
)
from canary.model.check_status import CheckStatus
from canary.model.route_status import RouteStatus, SplitStatus
from canary.view.mirrors import copied_words
from canary.view.opt_in import added_words
from canary.view.parents import parents
from canary.view.rollout import RolloutView, steps, view
from canary.view.weights import on_route
from canary.view.words import clean, named_shares, outages, percent
from canary.view.workloads import ROLES, Live, workload_words

Json = dict[str, Any]

EVENTS_SHOWN = 8


def render_status(
    document: Json,
    events: Sequence[Json] | None,
    now: datetime,
    *,
    symbols: Symbols = UNICODE,
    live: Live | None = None,
    routes: Sequence[Json] = (),
    program: str = "canary",
) -> RenderableType:
    """The whole picture of one Rollout at `now`.

    `events`: newest last; None when they could not be read. `live` and `routes`: its Deployments and routes as they are
    now, as far as they could be read. `program`: what people type to get here, for the commands that are named.
    """
    rollout = view(document)
    parts: list[RenderableType] = [_heading(rollout, now, symbols, live)]
    for label, body in _sections(rollout, events, routes, now, symbols, program):
        parts += [Text(), Text(label, style="bold"), Padding(body, (0, 0, 0, 2))]
    return Group(*parts)


def _sections(
    rollout: RolloutView,
    events: Sequence[Json] | None,
    routes: Sequence[Json],
    now: datetime,
    symbols: Symbols,
    program: str,
) -> Iterator[tuple[str, RenderableType]]:
    status = rollout.status
    if status.run is not None or status.split.written or rollout.active:
        yield f"Traffic to {rollout.service('canary') or 'the canary'}", _traffic(rollout, symbols)
    if routes:
        yield "Parents", _parents(routes, symbols)
    if rollout.steps:
        yield "Steps", _steps(rollout, now, symbols, program)
    if status.checks:
        yield "Checks", _checks(rollout, now, symbols)
    if rollout.pending is not None or status.last_request is not None:
        yield "Last request", _request(rollout, now, symbols)
    if status.conditions:
        yield "Conditions", _conditions(rollout, now)
    if events is None:
        yield "Events", Text(f"not shown: they could not be read (`{program} status --debug` says why)", style="dim")
    elif events:
        yield "Events", _events(events[-EVENTS_SHOWN:], now, symbols)


def _heading(rollout: RolloutView, now: datetime, symbols: Symbols, live: Live | None) -> RenderableType:
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(ratio=1, overflow="fold")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(title(rollout, symbols), Text(f"as of {now:%H:%M:%S} UTC", style="dim"))
    lines: list[RenderableType] = [head]
    if rollout.status.message:
        lines.append(Padding(Text(clean(rollout.status.message)), (0, 0, 0, 2)))
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="dim")
    facts.add_column(overflow="fold")
    for label, value in (*_facts(rollout, now, symbols), *_workloads(rollout, symbols, live)):
        facts.add_row(label, value)
    lines.append(Padding(facts, (0, 0, 0, 2)))
    return Group(*lines)


def _facts(rollout: RolloutView, now: datetime, symbols: Symbols) -> Iterator[tuple[str, Text]]:
    status, dot = rollout.status, f" {symbols.dot} "
    yield from warnings(rollout, now)
    if status.run is not None:
        yield "run", Text(dot.join(run_words(rollout, now)))
        words = outcome_words(rollout)
        if words and status.run.outcome is not None:
            yield "outcome", Text(words, style=PHASE_STYLES.get(status.run.outcome.value, ""))
        if status.run.outages:
            yield "outages", Text(outages(status.run.outages), style="yellow")
    if status.swapped:
        yield "swapped", Text(f"{rollout.service('stable')} is the stable side now")


def _workloads(rollout: RolloutView, symbols: Symbols, live: Live | None) -> Iterator[tuple[str, Text]]:
    for role in ROLES:
        words = list(workload_words(rollout, role, live))
        if words:
            yield role, Text(f" {symbols.dot} ".join(words))


def _traffic(rollout: RolloutView, symbols: Symbols) -> RenderableType:
    if not rollout.active:
        return _traffic_at_rest(rollout)
    split = rollout.status.split
    observing = split.observed is not None or "traffic" in rollout.spec
    columns = ["", "desired", "written", "accepted", *(["last observed"] if observing else []), ""]
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True, overflow="fold")
    for _ in columns[1:-1]:
        table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(*[Text(word, style="dim") for word in columns])
    observed = Text(percent(split.observed) or "not measured", style="" if split.observed is not None else "dim")
    table.add_row(
        Text(f"run #{rollout.status.run.number}" if rollout.status.run else "all routes"),
        Text(percent(split.desired), style="bold"),
        Text(percent(split.written), style="" if split.written == split.desired else "yellow"),
        Text(percent(split.accepted), style="" if split.accepted == split.written else "yellow"),
        *([observed] if observing else []),
        Text(),
    )
    for route in rollout.status.routes:
        name, desired, share, accepted, note = _route(route, split, symbols)
        table.add_row(name, desired, share, accepted, *([Text()] if observing else []), note)
    return Group(bar(split.accepted, split.written, symbols), table)


def _traffic_at_rest(rollout: RolloutView) -> RenderableType:
    """No run is under way: what the routes give the canary is their owner's word."""
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True, overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    run = rollout.status.run
    for route in rollout.status.routes:
        given = bool(route.share)
        left = f"nothing of run #{run.number} is left on it" if run is not None else "no run is under way"
        note = "no run is under way: whoever wrote it gives the canary that share" if given else left
        table.add_row(
            Text(route_name(route)),
            Text(percent(route.share) or "unknown", style="yellow" if given else ""),
            Text(clean(route.message) or note, style="yellow" if route.message or given else "dim"),
        )
    return table


def _route(route: RouteStatus, split: SplitStatus, symbols: Symbols) -> list[Text]:
    accepted = (
        Text(symbols.done, style="green") if route.accepted else Text(f"{symbols.failed} not yet", style="yellow")
    )
    share = on_route(route, split.written)
    words = "; ".join(filter(None, (_lowered(route), _named(route), copied_words(route), added_words(route))))
    note = clean(route.message) or words or ("" if route.owned else "this run has not written it yet")
    return [
        Text(route_name(route)),
        Text(percent(split.desired)),
        Text(percent(share) or "unknown", style="" if share == split.desired else "yellow"),
        accepted,
        Text(note, style="yellow" if route.message else "dim"),
    ]


def _parents(routes: Sequence[Json], symbols: Symbols) -> Table:
    """What each gateway says of each route, at the route's current generation."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True, overflow="fold")
    table.add_column(overflow="fold")
    for found in parents(routes):
        style = "green" if found.accepted else "red" if found.refused else "yellow"
        sign = symbols.done if found.accepted else symbols.failed if found.refused else symbols.warn
        table.add_row(Text(found.route), Text(found.parent), Text(f"{sign} {found.words or 'accepted'}", style=style))
    return table


def _lowered(route: RouteStatus) -> str:
    """What somebody else took back of what the run wrote."""
    return f"lowered by hand: {named_shares(route.lowered)}" if route.lowered else ""


def _named(route: RouteStatus) -> str:
    return f"written to rules by name: {named_shares(route.shares)}" if route.shares else ""


def _steps(rollout: RolloutView, now: datetime, symbols: Symbols, program: str) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    views = steps(rollout, now, program)
    for step in views:
        sign, style = step_sign(step.state, rollout, symbols)
        number = "" if step is views[-1] else str(step.number)
        table.add_row(
            Text(sign, style=style),
            Text(number, style=style),
            Text(step.asks, style=asks_style(step, style)),
            Text(step.hold, style="dim"),
            Text(step.note, style=note_style(step, rollout)),
        )
    return table


def _checks(rollout: RolloutView, now: datetime, symbols: Symbols) -> RenderableType:
    parts: list[RenderableType] = []
    for check, line in check_lines(rollout, now, symbols):
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(*line)
        parts += [grid, *(Padding(detail, (0, 0, 0, 4)) for detail in _check_details(check))]
    return Group(*parts)


def _check_details(check: CheckStatus) -> Iterator[RenderableType]:
    """Why a check does not pass, and its query."""
    why = check_reason(check)
    if why:
        yield why
    if check.query:
        yield Query(clean(check.query))


def _request(rollout: RolloutView, now: datetime, symbols: Symbols) -> RenderableType:
    return Group(*request_lines(rollout, now, symbols))


def _conditions(rollout: RolloutView, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    for condition in rollout.status.conditions:
        table.add_row(*condition_cells(condition, now))
    return table


def _events(events: Sequence[Json], now: datetime, symbols: Symbols) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, justify="right", style="dim")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for event in events:
        table.add_row(*event_cells(event, now, symbols))
    return table
