"""Lines that `canary status` and `canary watch` have in common. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.text import Text

from canary.cli.output import PHASE_STYLES, VERDICT_STYLES, Symbols, phase_symbol
from canary.model.check_status import CheckStatus
from canary.model.route_status import RouteStatus
from canary.model.status import Condition
from canary.model.times import parse_time
from canary.view.rollout import RolloutView, StepState, StepView, awaits_approval
from canary.view.words import clean, clock, event_time, every, measured, recorded, since, span, tolerance

Json = dict[str, Any]

BAR = 40
"""Cells of a bar."""

_GOOD_WHEN_FALSE = {"Reconciling", "Stalled"}

_STEP_STYLES = {
    StepState.DONE: "green",
    StepState.SKIPPED: "dim",
    StepState.CURRENT: "bold cyan",
    StepState.FAILED: "red",
    StepState.NEXT: "dim",
}


def title(rollout: RolloutView, symbols: Symbols) -> Text:
    """The Rollout and its phase, with the phase's sign and colour."""
    style = PHASE_STYLES.get(rollout.phase, "magenta")
    return Text.assemble(
        (f"{phase_symbol(rollout.phase, symbols)} ", style),
        (f"{rollout.namespace}/{rollout.name}", "bold"),
        ("  ", ""),
        (rollout.phase or "not seen by a controller yet", f"bold {style}"),
    )


def warnings(rollout: RolloutView, now: datetime) -> Iterator[tuple[str, Text]]:
    """What stands in the way, or makes the rest of the picture old: each a word and a sentence."""
    status = rollout.status
    if not rollout.phase:
        yield "status", Text("empty: no controller has looked at it; is one running for this namespace?", "yellow")
    elif not rollout.current:
        yield "spec", Text("changed since; the controller has not looked at the change yet", style="yellow")
    if status.paused is not None and not awaits_approval(
        rollout
    ):  # the step says who is waited for, and how it goes on
        words = f"{clean(status.paused.reason)}, since {clock(status.paused.since, now)}"
        yield "paused", Text(f"{words}: {clean(status.paused.message)}".removesuffix(": "), style="yellow")
    if rollout.spec.get("paused") is True and (status.paused is None or not rollout.active):
        yield "paused", Text("spec.paused is true: nothing starts, and a run stays where it is", style="yellow")
    if rollout.active and status.run is not None and status.run.unavailable_since is not None:
        since_ = status.run.unavailable_since
        words = f"no replica is ready since {clock(since_, now)} ({span(now - since_)}): its weight is 0 until one is"
        yield "canary", Text(words, style="red")
    for place in rollout.unread:
        yield "unread", Text(f"{place} is beyond this version of the CLI; update it", style="yellow")


def run_words(rollout: RolloutView, now: datetime) -> Iterator[str]:
    """The run in parts: its number, what it tests, who started it and when, and how long it took."""
    run = rollout.status.run
    if run is None:
        return
    yield f"#{run.number}"
    if run.revision:
        yield f"revision {clean(run.revision)}"
    alone = run.trigger.by == "revision" and run.revision and run.revision in run.trigger.reason
    by = "by that revision" if alone else f"by {clean(run.trigger.by)}" if run.trigger.by else ""
    if run.ended_at is None:
        yield f"started {since(run.started_at, now)} {by}".rstrip()
    else:
        yield f"ended {since(run.ended_at, now)} after {span(run.ended_at - run.started_at)}"
        if by:
            yield f"started {by}"
    if run.trigger.reason and not alone:
        yield clean(run.trigger.reason)
    if run.full and rollout.active:
        yield "remaining holds skipped on request"


def outcome_words(rollout: RolloutView) -> str:
    """The outcome with what phase and message do not say already; empty when nothing is left to say."""
    run = rollout.status.run
    if run is None or run.outcome is None:
        return ""
    outcome, reason = run.outcome.value, clean(run.reason)
    words = f"{outcome} ({reason})" if reason and reason != outcome else outcome
    if run.message and clean(run.message) not in clean(rollout.status.message):
        return f"{words}: {clean(run.message)}"
    return "" if words == rollout.phase else words


def bar(accepted: float, written: float, symbols: Symbols, cells: int = BAR) -> Text:
    """What the canary gets as a bar; the part that routes have and gateways have not accepted yet in another colour."""
    filled, wanted = round(accepted * cells / 100), round(written * cells / 100)
    filled = max(filled, 1) if accepted > 0 else filled  # 0.5 % is not nothing
    wanted = max(wanted, 1) if written > 0 else wanted
    return Text.assemble(
        (symbols.full * min(filled, cells), "cyan"),
        (symbols.full * max(0, wanted - filled), "yellow"),
        (symbols.empty * (cells - max(filled, wanted)), "dim"),
    )


def route_name(route: RouteStatus) -> str:
    """Kind and name."""
    return f"{route.kind.value} {clean(route.name)}"


def step_sign(state: StepState, rollout: RolloutView, symbols: Symbols) -> tuple[str, str]:
    """The sign of a step, and its colour."""
    waits = rollout.phase == "Paused" and state is StepState.CURRENT
    sign = {
        StepState.DONE: symbols.done,
        StepState.SKIPPED: symbols.skipped,
        StepState.CURRENT: symbols.paused if waits else symbols.current,
        StepState.FAILED: symbols.failed,
        StepState.NEXT: symbols.next,
    }[state]
    return sign, "bold yellow" if waits else _STEP_STYLES[state]


def asks_style(step: StepView, style: str) -> str:
    """The colour of what a step asks for, beside a sign of this one: what is done is no news."""
    return "" if step.state is StepState.DONE else style


def note_style(step: StepView, rollout: RolloutView) -> str:
    """The colour of what a step waits for; what is over is told in grey."""
    if step.state is not StepState.CURRENT:
        return "dim"
    return "yellow" if rollout.phase == "Paused" else "cyan"


def check_lines(
    rollout: RolloutView, now: datetime, symbols: Symbols, *, interval: bool = True
) -> Iterator[tuple[CheckStatus, tuple[Text, Text]]]:
    """Every check with its line in two parts: sign, name and verdict; value, limit and what else is on record.

    `interval`: also how often it is measured while a run is under way.
    """
    checks = rollout.status.checks
    names = [f"{clean(check.name)} (dry run)" if check.dry_run else clean(check.name) for check in checks]
    width = min(32, max((len(name) for name in names), default=0))
    for check, name in zip(checks, names, strict=True):
        verdict = check.verdict.value if check.applicable else "n/a"
        style = VERDICT_STYLES.get(verdict, "dim")
        sign = {"Pass": symbols.done, "Fail": symbols.failed}.get(verdict, symbols.unknown)
        words = _check_words(check, now, interval=interval and rollout.active)
        yield (
            check,
            (
                Text.assemble((f"{sign} ", style), (name.ljust(width), "bold"), "  ", (f"{verdict:<7}", style)),
                Text.assemble(
                    _against(check),
                    *((f" {symbols.dot} {part}", "dim") for part in words),
                ),
            ),
        )


def _against(check: CheckStatus) -> str:
    """What was measured, and what that is held against; of a comparison that passes, its own words say both."""
    if check.message and check.verdict.value == "Pass" and (check.evidence is not None or not check.applicable):
        return clean(check.message)
    if check.value is None and check.evidence is not None:
        return f"held against {clean(check.limit)}"
    return f"{measured(check.value)}, limit {clean(check.limit)}" if check.limit else measured(check.value)


def _check_words(check: CheckStatus, now: datetime, *, interval: bool) -> Iterator[str]:
    """What is on record. A value within its limits is not written at every measurement, so no word about the next."""
    failures = tolerance(check.failures, check.failure_limit, check.failure_window)
    if failures and check.evidence is None:
        yield failures
    if check.unknown_since is not None and check.verdict.value == "Unknown":
        yield f"unknown for {span(now - check.unknown_since)}"
    if check.measured_at is None:
        yield "no measurement on record"
    else:
        yield recorded(check.measured_at, now)
    if interval and every(check.interval_seconds):
        yield every(check.interval_seconds)


def check_reason(check: CheckStatus) -> Text | None:
    """Why a check does not pass."""
    if check.verdict.value == "Pass" or not (check.message or check.reason):
        return None
    words = f"{clean(check.reason)}: {clean(check.message)}" if check.message else clean(check.reason)
    return Text(words, style=VERDICT_STYLES[check.verdict.value])


def request_lines(rollout: RolloutView, now: datetime, symbols: Symbols) -> Iterator[Text]:
    """The request that waits for an answer, and the last one with its answer."""
    if rollout.pending is not None:
        who = f" by {clean(rollout.pending.by)}" if rollout.pending.by else ""
        words = f"{symbols.current} {clean(rollout.pending.verb)}{who}: not answered by the controller yet"
        yield Text(words, style="yellow")
    last = rollout.status.last_request
    if last is not None:
        sign = symbols.failed if last.refused else symbols.done
        who = f" by {clean(last.by)}" if last.by else ""
        why = f' ("{clean(last.reason)}")' if last.reason else ""
        yield Text.assemble(
            (f"{sign} ", "red" if last.refused else "green"),
            f"{clean(last.verb)}{who}{why}, {since(last.at, now)}: {clean(last.words)}",
        )


def event_cells(event: Json, now: datetime, symbols: Symbols) -> tuple[Text, Text, Text]:
    """When, what, and in words."""
    warning = event.get("type") == "Warning"
    count = int(event.get("count") or (event.get("series") or {}).get("count") or 1)
    message = clean(event.get("message") or "") + (f" ({symbols.times}{count})" if count > 1 else "")
    reason = Text(clean(event.get("reason") or ""), style="yellow" if warning else "")
    return Text(_event_age(event, now)), reason, Text(message)


def _event_age(event: Json, now: datetime) -> str:
    try:
        return since(parse_time(event_time(event)), now)
    except ValueError:
        return ""


def condition_cells(condition: Condition, now: datetime) -> tuple[Text, Text, Text, Text]:
    """Type, status, reason, and since when."""
    good = condition.status == ("False" if condition.type in _GOOD_WHEN_FALSE else "True")
    style = "green" if good else "yellow" if condition.status == "Unknown" else ""
    style = "red" if not good and condition.type == "Stalled" else style
    return (
        Text(clean(condition.type)),
        Text(condition.status, style=style),
        Text(clean(condition.reason)),
        Text(f"since {clock(condition.last_transition_time, now)}", style="dim"),
    )
