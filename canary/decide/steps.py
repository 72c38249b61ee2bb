"""At a step: write what it wants, wait for acceptance, hold, and go on when nothing objects."""

from __future__ import annotations

from fractions import Fraction

from canary.decide import approval, gates, matching, mirroring, reasons, scaling
from canary.decide.actions import EmitEvent, ForgetPodSpec
from canary.decide.common import anew, at, note_acceptance, wake
from canary.decide.comparing import applicable
from canary.decide.dividing import unwritable
from canary.decide.early import proved_good
from canary.decide.holds import EVERYWHERE, LATE, RISE, Hold, first_hold, held_by
from canary.decide.rising import too_late_to_rise
from canary.decide.scope import Next, Place, Scope, replaced
from canary.decide.writes import lessening, retracted, uncopied, writing
from canary.model.evolution import at_step, hurried, replacing, unaccepted, used_up
from canary.model.rollout import Promotion
from canary.model.shares import Shares
from canary.model.status import Phase
from canary.model.values import decimal_text


def step(scope: Scope) -> Next:
    """Write what the step wants, wait for acceptance, hold, and go on."""
    scope, refusal = _refused(scope)
    if refusal:
        return scope.decide(reasons.ROUTE_UNWRITABLE, f"{refusal} ({scope.step_text})", wake(scope))
    scope, small = scaling.too_small_to_rise(scope) if scope.spec.scale is not None else (scope, None)
    if small is not None:
        scope = anew(scope)
        return scope.decide(small.reason, small.message, wake(scope))
    stuck = unwritable(scope)
    if stuck:
        # No rule gets more before all can; what takes traffic away waits for none.
        scope = lessening(anew(scope))
        words = f"{stuck}; {scope.traffic_text} waits for that ({scope.step_text})"
        wider = first_hold(scope, EVERYWHERE) or Hold(reasons.ROUTE_UNWRITABLE, words)
        return scope.decide(wider.reason, wider.message, wake(scope))
    late = too_late_to_rise(scope, LATE)
    if late is not None:
        return late
    scope, pending = writing(scope)
    if pending:
        if scope.step.unaccepted_since is None:
            scope = scope.with_(step=unaccepted(scope.step, scope.now))
        names = ", ".join(action.key.label for action in pending)
        message = f"writing {scope.traffic_text} to {names} ({scope.step_text})"
        if scope.pending:
            message += f": {scope.pending}"
        return scope.decide(reasons.AWAITING_ACCEPTANCE, message, wake(scope))
    scope = _note_stable(_forget_old_copy(note_acceptance(scope)))
    waiting = scope.unaccepted
    if waiting is not None:
        message = f"waiting for {waiting.label}: {waiting.acceptance.message} ({scope.step_text})"
        return scope.decide(reasons.AWAITING_ACCEPTANCE, message, wake(scope))
    if scope.spec.asks_gates:
        scope = gates.waited_for(scope)
    hold = held_by(scope)
    if hold is None:
        return _advance(scope)
    if hold.reason == reasons.AWAITING_CANARY and scope.step.index == 0:
        scope, small = scaling.prepared(scope, 1)
        hold = small or hold
    if small is None and scope.status.scale is not None:
        scope = scaling.waits_no_more(scope)
    if hold.reason == reasons.AWAITING_APPROVAL:
        return approval.ask(scope, hold.message)
    return scope.decide(hold.reason, hold.message, wake(scope))


def _refused(scope: Scope) -> tuple[Scope, str]:
    """Why the step may not have its copies or its rules, in words, and with what of that is taken away; empty where it may."""
    refusal = mirroring.refused(scope)
    if refusal and mirroring.denied(scope):
        # A gateway that cannot mirror may answer every user of the rule with an error, or copy nothing.
        gone = uncopied(scope)
        told = EmitEvent("Warning", reasons.ROUTE_UNWRITABLE, f"{scope.step_text}: {refusal}; the mirror is taken away")
        scope = scope.with_(told, *gone) if gone else scope
    elif not refusal and (refusal := matching.refused(scope)):
        scope = scope.with_(*retracted(scope))
    else:
        return scope, refusal
    return anew(scope), refusal


def _forget_old_copy(scope: Scope) -> Scope:
    """Before its first step a run has copied nothing: a record kept by then is of a run that gave way to this one."""
    stable = scope.facts.stable
    again = any(isinstance(action, ForgetPodSpec) for action in scope.actions)
    if scope.step.index > 0 or stable is None or stable.copied is None or again:
        return scope
    return scope.with_(ForgetPodSpec(stable.name, stable.kind))


def _note_stable(scope: Scope) -> Scope:
    """Before its first step a run that began while nobody could see stable learns what a Copy of it may replace."""
    if scope.step.index > 0 or scope.run.replaces or not (now := replaced(scope)):
        return scope
    return scope.with_(run=replacing(scope.run, now))


def _advance(scope: Scope) -> Next:
    """Everything holds: the next step, or the promotion."""
    index = scope.step.index + 1
    if scope.run.full and index < len(scope.spec.steps):
        scope, index = _jumped(scope, index)
    if index > len(scope.spec.steps):
        swaps = scope.promotion is Promotion.SWAP and scope.shares.rises_to(Shares(Fraction(100)))
        hold = first_hold(scope, RISE) if swaps else None
        if hold is not None:
            return scope.decide(hold.reason, hold.message, wake(scope))
        passed = (
            "all steps passed" if scope.run.full_at is None else f"the rest after step {scope.run.full_at} was skipped"
        )
        scope = at(_left(scope), Phase.PROMOTING).with_(
            EmitEvent("Normal", reasons.PROMOTING, f"{passed}; promotion {scope.promotion}"),
            step=used_up(scope.step),
        )
        return scope.goto(Place.PROMOTING)
    extras = scope.mirror_at(index) is not None or scope.match_at(index) is not None
    if extras or scope.shares.rises_to(scope.shares_at(index)):
        scope, small = scaling.prepared(scope, index) if scope.spec.scale is not None else (scope, None)
        hold = small or first_hold(scope, RISE)
        if hold is not None:
            return scope.decide(hold.reason, hold.message, wake(scope))
    return enter(_left(scope), index)


def _jumped(scope: Scope, following: int) -> tuple[Scope, int]:
    """Past all steps to the last one; where nothing could be measured yet, which is what a jump stands on, to the one that follows."""
    measured = scope.wants_traffic and any(applicable(scope, check) for check, _ in scope.judging)
    if measured or scope.run.ignore_unknown or not scope.judging:
        return scope, len(scope.spec.steps)
    return scope.with_(run=hurried(scope.run, following, ignore_unknown=False)), following


def _left(scope: Scope) -> Scope:
    """Says by whose word a step is left, where that is more than time and checks."""
    scope = _ended_early(scope)
    said = gates.opened(scope) if scope.spec.asks_gates else ""
    return scope.with_(EmitEvent("Normal", reasons.GATE_OPENED, f"{scope.step_text}: {said}")) if said else scope


def _ended_early(scope: Scope) -> Scope:
    """Says so where a step is left before its hold is over."""
    until, proved = scope.step.hold_until, proved_good(scope)
    if scope.run.full or until is None or scope.now >= until or not proved:
        return scope
    names = " and ".join(proved)
    words = f"{scope.step_text}: {names} proved the canary good, so the hold until {until:%H:%M:%S} ends early"
    return scope.with_(EmitEvent("Normal", reasons.HOLD_ENDED_EARLY, words))


def enter(scope: Scope, index: int, *, tell: bool = True) -> Next:
    """Stand at a step: everything about it is fresh."""
    scope = scope.with_(step=at_step(index, len(scope.spec.steps), scope.now, unaccepted_since=scope.now))
    if tell:
        scope = scope.with_(EmitEvent("Normal", reasons.STEP_STARTED, f"{scope.step_text}: {_wants(scope)}"))
    return scope.goto(Place.STEP)


def _wants(scope: Scope) -> str:
    declared = scope.declared_step
    parts = []
    if declared is None or (declared.mirror is None and declared.match is None) or scope.shares.some:
        parts.append(f"{scope.shares} of the pair to the canary")
    if declared is not None and declared.mirror is not None:
        target = "the canary" if declared.mirror.comparer is None else f"comparer {declared.mirror.comparer.service}"
        parts.append(f"mirroring {decimal_text(declared.mirror.share)} % of the requests to {target}")
    if declared is not None and declared.match is not None:
        parts.append("requests that opt in to the canary")
    if scope.run.full:
        return ", ".join(parts)  # nothing else is waited for
    if declared is not None and declared.hold is not None:
        parts.append(f"hold {declared.hold}")
    if declared is not None and declared.gate is not None:
        window = declared.gate.window
        what = f"its window ({window})" if window is not None else f"its gate ({declared.gate})"
        parts.append(f"then wait for {what}")
    if approval.declared(scope):
        parts.append(f"then wait for approval{approval.by(scope)}")
    return ", ".join(parts)
