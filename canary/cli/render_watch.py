"""What `canary watch` shows on a terminal: as much as fits on it, the most telling first, and never a line too many. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.text import Text

from canary.cli.output import UNICODE, Symbols
from canary.cli.query import wrap_query
from canary.cli.render_list import cut
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
from canary.model.check_status import VerdictKind
from canary.view.mirrors import copied_words
from canary.view.opt_in import added_words
from canary.view.rollout import RolloutView, StepState, StepView, objections, steps, view
from canary.view.words import clean, counted, percent
from canary.view.workloads import ROLES, workload_words

Json = dict[str, Any]
Lines = list[Text]

INDENT = "  "

SHRINK = (
    "conditions",  # all of them said in words elsewhere
    "checks",  # their queries
    "facts",  # the last request
    "steps",  # from a line each to one after the other
    "events",  # from five to three
    "checks",  # from a line each to those that object
    "facts",  # what the workloads run
    "gaps",  # the blank lines
    "checks",  # altogether: the message names the one that counts
    "facts",  # who started the run
    "events",  # from three to one
    "steps",  # altogether: the message says where it stands
    "events",
)
"""What gives way when not everything fits, and in which order."""

EVENTS_LEAST = (5, 3, 1, 0)
"""Events that other things give way to; where there is more room, more are shown."""


def render_watch(
    document: Json,
    events: Sequence[Json] | None,
    now: datetime,
    size: tuple[int, int],
    *,
    symbols: Symbols = UNICODE,
    program: str = "canary",
    trouble: str = "",
) -> Lines:
    """The picture for a terminal of `size` (columns, lines): at most so many lines, none of them longer.

    `events`: newest last; None when they could not be read. `trouble`: what is wrong with the connection, if anything.
    """
    width, height = size
    rollout = view(document)
    parts: dict[str, list[Lines]] = {
        "head": [list(_head(rollout, now, width, symbols, trouble))],
        "facts": _facts(rollout, now, symbols),
        "traffic": [list(_traffic(rollout, width, symbols))],
        "steps": _steps(rollout, now, width, symbols, program),
        "checks": _checks(rollout, now, width, symbols),
        "conditions": [list(_conditions(rollout, now)), []],
    }
    told = list(_events(events, now, symbols))
    parts["events"] = [told[-least:] if least else [] for least in EVENTS_LEAST]
    chosen = _fit(parts, height)
    spare = height - _tall(chosen)
    chosen["events"] = told[-(len(chosen["events"]) + spare) :] if chosen["events"] and spare > 0 else chosen["events"]
    return [cut(line, width, symbols) for line in _laid_out(chosen)][:height]


_TITLES = {"steps": "Steps", "checks": "Checks", "conditions": "Conditions", "events": "Events"}


def _fit(parts: Mapping[str, list[Lines]], height: int) -> dict[str, Lines]:
    """Of each part the largest variant, then smaller ones in the order of SHRINK until all fit."""
    left = {name: list(variants) for name, variants in parts.items()}
    chosen = {name: variants[0] for name, variants in left.items()} | {"gaps": [Text()]}
    for name in SHRINK:
        if _tall(chosen) <= height:
            break
        if name == "gaps":
            chosen.pop("gaps")
        elif len(left[name]) > 1:
            left[name].pop(0)
            chosen[name] = left[name][0]
    return chosen


def _tall(chosen: Mapping[str, Lines]) -> int:
    return sum(1 for _ in _laid_out(chosen))


def _laid_out(chosen: Mapping[str, Lines]) -> Iterator[Text]:
    for name in ("head", "facts", "traffic", "steps", "checks", "conditions", "events"):
        lines = chosen[name]
        if not lines:
            continue
        if "gaps" in chosen and name in {"traffic", *_TITLES}:
            yield Text()
        if name in _TITLES:
            yield Text(_TITLES[name], style="bold")
        yield from lines


def _head(rollout: RolloutView, now: datetime, width: int, symbols: Symbols, trouble: str) -> Iterator[Text]:
    """The name, the phase, the time and the message: two lines of it at most."""
    time = f"as of {now:%H:%M:%S} UTC"
    head = cut(title(rollout, symbols), width - len(time) - 2, symbols)
    head.append(" " * (width - head.cell_len - len(time)))
    head.append(time, style="dim")
    yield head
    if trouble:
        yield Text(f"{INDENT}connection lost: {clean(trouble)}", style="yellow")
    yield from _wrapped(rollout.status.message, width, symbols)
    for label, words in warnings(rollout, now):
        yield Text.assemble(INDENT, (f"{label}  ", "dim"), words)


def _wrapped(text: str, width: int, symbols: Symbols, style: str = "") -> Iterator[Text]:
    words = " ".join(clean(text).split())
    room = max(8, width - len(INDENT))
    for line in textwrap.wrap(words, room, max_lines=2, placeholder=symbols.more, break_on_hyphens=False):
        yield Text(INDENT + line, style=style)


def _facts(rollout: RolloutView, now: datetime, symbols: Symbols) -> list[Lines]:
    """The run, what the workloads run, the last request; of these fewer and fewer."""
    dot = f" {symbols.dot} "
    run = _labelled("run", dot.join(run_words(rollout, now)))
    outcome = _labelled("outcome", outcome_words(rollout))
    workloads = [
        line for role in ROLES for line in _labelled(role, dot.join(workload_words(rollout, role, None, counts=False)))
    ]
    request = [Text.assemble(INDENT, ("request  ", "dim"), line) for line in request_lines(rollout, now, symbols)]
    return [[*run, *outcome, *workloads, *request], [*run, *outcome, *workloads], [*run, *outcome], outcome]


def _labelled(label: str, words: str) -> Lines:
    return [Text.assemble(INDENT, (f"{label:<7}  ", "dim"), words)] if words else []


def _traffic(rollout: RolloutView, width: int, symbols: Symbols) -> Iterator[Text]:
    """A bar and the shares behind it; a route only where it is not as the run wants it."""
    split = rollout.status.split
    if rollout.status.run is None and not split.written and not rollout.active:
        return
    if split.desired == split.written == split.accepted:
        words = [f"{percent(split.accepted)}, accepted"]
    else:
        words = [f"{percent(split.desired)} wanted", f"{percent(split.written)} written"]
        words.append(f"{percent(split.accepted)} accepted")
    words += [f"last observed {percent(split.observed)}"] if split.observed is not None else []
    extras = (says(route) for says in (copied_words, added_words) for route in rollout.status.routes)
    words += list(dict.fromkeys(filter(None, extras)))
    said = f" {symbols.dot} ".join(words) if rollout.active else f"{percent(split.written)}; no run is under way"
    line = Text.assemble(INDENT, (f"{rollout.service('canary') or 'canary'}  ", "bold"))
    cells = max(8, min(24, width - line.cell_len - len(said) - 2))  # words before pictures
    line.append_text(bar(split.accepted if rollout.active else split.written, split.written, symbols, cells))
    yield line.append(f"  {said}")
    for route in rollout.status.routes:
        if (rollout.active and not route.accepted) or route.message:
            why = clean(route.message) or "not accepted yet"
            yield Text(f"{INDENT}{route_name(route)}: {why}", style="yellow")


def _steps(rollout: RolloutView, now: datetime, width: int, symbols: Symbols, program: str) -> list[Lines]:
    """A line for each; or one after the other, with what the current one waits for; or nothing."""
    views = steps(rollout, now, program)
    if not rollout.steps:
        return [[]]
    asks = max(len(step.asks) for step in views)
    holds = max(len(step.hold) for step in views)
    each = []
    for step in views:
        sign, style = step_sign(step.state, rollout, symbols)
        line = Text.assemble(INDENT, (f"{sign} ", style), (step.asks.ljust(asks), asks_style(step, style)))
        line.append(f"  {step.hold.ljust(holds)}  ", style="dim")
        line.append(step.note, style=note_style(step, rollout))
        line.rstrip()
        each.append(line)
    strip = list(_strip(rollout, views, width, symbols))
    return [each, strip, []] if len(strip) < len(each) else [each, []]


def _strip(rollout: RolloutView, views: Sequence[StepView], width: int, symbols: Symbols) -> Iterator[Text]:
    line = Text(INDENT)
    for step in views:
        sign, style = step_sign(step.state, rollout, symbols)
        piece = Text.assemble((f"{sign} ", style), (step.asks, asks_style(step, style)), INDENT)
        if line.cell_len + piece.cell_len > width and len(line) > len(INDENT):
            yield line
            line = Text(INDENT)
        line.append_text(piece)
    yield line
    for step in views:
        if step.note and step.state is StepState.CURRENT:
            yield Text.assemble(INDENT * 2, (step.note, note_style(step, rollout)))


def _checks(rollout: RolloutView, now: datetime, width: int, symbols: Symbols) -> list[Lines]:
    """With their queries; a line each, and why; those that object, and how many do not; nothing."""
    checks = list(check_lines(rollout, now, symbols, interval=False))
    if not checks:
        return [[]]
    whole: Lines = []
    lines: Lines = []
    for check, (name, value) in checks:
        line = [Text.assemble(INDENT, name, INDENT, value)]
        if check_reason(check) is not None:
            line += [Text.assemble(INDENT, part) for part in _reason(check_reason(check), width, symbols)]
        whole += line
        whole += [Text(INDENT * 3 + part, style="dim") for part in wrap_query(clean(check.query), max(8, width - 6))]
        lines += line
    objecting = objections(rollout.status.checks)
    names = {check.name for check in objecting}
    few = [Text.assemble(INDENT, name, INDENT, value) for check, (name, value) in checks if check.name in names]
    fine = sum(check.verdict is VerdictKind.PASS for check, _ in checks)
    if fine:
        few.append(Text(f"{INDENT}{symbols.done} {counted(fine, 'check passes', 'checks pass')}", style="green"))
    return [whole, lines, few, []] if len(few) < len(lines) else [whole, lines, []]


def _reason(text: Text | None, width: int, symbols: Symbols) -> Iterator[Text]:
    if text is not None:
        yield from _wrapped(text.plain, width - len(INDENT), symbols, str(text.style))


def _conditions(rollout: RolloutView, now: datetime) -> Iterator[Text]:
    rows = [condition_cells(condition, now) for condition in rollout.status.conditions]
    yield from _columns(rows)


def _events(events: Sequence[Json] | None, now: datetime, symbols: Symbols) -> Iterator[Text]:
    if events is None:
        yield Text(f"{INDENT}not shown: they could not be read", style="dim")
        return
    rows = [event_cells(event, now, symbols) for event in events]
    oldest = max((age.cell_len for age, _, _ in rows), default=0)
    yield from _columns([(Text(" " * (oldest - age.cell_len)) + age, *cells) for age, *cells in rows])


def _columns(rows: Sequence[Sequence[Text]]) -> Iterator[Text]:
    """Cells below each other."""
    if not rows:
        return
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        line = Text(INDENT)
        for cell, cells in zip(row, widths, strict=True):
            line.append_text(cell)
            line.append(" " * (cells - cell.cell_len) + INDENT)
        line.rstrip()
        yield line
