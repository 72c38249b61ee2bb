"""How a run ends: everything back to stable, no trace left, and the outcome on record before the last of it."""

from __future__ import annotations

from datetime import datetime

from canary.decide import reasons, scaling
from canary.decide.actions import Action, EmitEvent, ForgetPodSpec, RemoveFinalizer, RestorePodSpec
from canary.decide.common import wake
from canary.decide.copying import given_up, left_behind, left_there, tidied_copy, untidied, waits_until
from canary.decide.scope import Decision, Scope
from canary.decide.writes import releases, writes
from canary.model.evolution import exchanged, none_failed, settled, told
from canary.model.status import Phase


def rolling_back(scope: Scope) -> Decision:
    """Everything back to stable. Each route on its own; nothing here waits before it writes."""
    tidying = tidied_copy(scope)
    scope = scope.with_(*tidying)
    pending = writes(scope)
    scope = scope.with_(*pending)
    why = scope.run.message
    if pending:
        names = ", ".join(action.key.label for action in pending)
        return scope.decide(reasons.ROLLING_BACK, f"{why}; rolling back: writing {names}", wake(scope))
    if tidying and not given_up(scope):
        what = tidying_words(tidying)
        return scope.decide(reasons.ROLLING_BACK, f"{why}; rolling back: {what}{untidied(scope)}", waits_until(scope))
    waiting, limit = still_waiting(scope)
    if waiting and limit is not None:
        return scope.decide(reasons.ROLLING_BACK, f"{why}; rolled back: waiting for {waiting}", limit)
    late = f"; still not accepted: {waiting}" if waiting else ""
    return end(scope, Phase.ROLLED_BACK, reasons.ROLLED_BACK, f"{why}{late}{_besides(scope)}{left_there(scope)}")


def tidying_words(tidying: tuple[Action, ...]) -> str:
    """What is being done about a copy, in words."""
    back = [action.target for action in tidying if isinstance(action, RestorePodSpec)]
    off = [action.target for action in tidying if isinstance(action, ForgetPodSpec)]
    return f"restoring {back[0]}" if back else f"taking the record of a copy off {off[0]}" if off else ""


def _besides(scope: Scope) -> str:
    """What a run does not take back, since somebody else gave it, in words behind a semicolon."""
    found = [f"{rule} of {route.label}" for route in scope.facts.routes for rule in route.besides]
    if not found:
        return ""
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"; {found[0]}{more} gives the canary traffic all the same, which is not this run's"


def still_waiting(scope: Scope) -> tuple[str, datetime | None]:
    """Which gateway has not accepted the end of the run yet, and until when that is worth waiting for (None: no more)."""
    waiting = scope.unaccepted
    if waiting is None:
        return "", None
    limit = (scope.run.ended_at or scope.now) + scope.spec.accept_timeout.delta
    return f"{waiting.label}: {waiting.acceptance.message}", limit if scope.now < limit else None


def end(scope: Scope, phase: Phase, reason: str, message: str) -> Decision:
    """Leave no trace on the routes, then let go; what of a copy is not in order by then is said, and tried on.

    The annotation stays until the outcome is on record: it is all that would tell a restart what these weights mean.
    """
    left, copy = releases(scope), left_behind(scope)
    kept, message = message, f"{message}{untidied(scope)}"
    if left:
        on_record = scope.facts.recorded.run == scope.run.number and scope.facts.recorded.outcome is scope.run.outcome
        return scope.with_(*(left if on_record else ())).decide(reason, message)
    won = phase is Phase.SUCCEEDED
    words = "succeeded" if won else "rolled back"
    swap = won and scope.run.swap
    revisions = scope.status.revisions
    again = scope.run.reason == reasons.PLAN_CHANGED  # it has not failed, and is tried anew by what is declared now
    needs_no_run = revisions.settled if again else scope.run.revision or revisions.settled
    if swap and (scope.facts.stable is not None or scope.facts.unseen_stable is not None):
        # What is the canary from now on runs the version that was just replaced. Where nobody can tell that one nothing is guessed:
        # as on first sight what it has when that is known needs no run. Any guess would be another revision, and begin one.
        stable = scope.facts.stable
        needs_no_run = stable.revision if stable is not None and stable.known else None
    revisions = settled(exchanged(revisions) if swap else revisions, needs_no_run)
    drains = None if swap else scaling.over(scope)
    scope = scope.with_(
        EmitEvent("Normal" if won else "Warning", reason, f"run {scope.run.number} {words}: {message}"),
        *([copy] if copy is not None else ()),
        # The Rollout stays for as long as the canary drains.
        *(() if drains is not None or scope.status.former_canaries else (RemoveFinalizer(),)),
        scale=drains,
        run=told(scope.run, kept),
        phase=phase,
        paused=None,
        overrides=(),
        swapped=scope.status.swapped != swap,
        revisions=none_failed(revisions) if won else revisions,
    )
    return scope.decide(reason, message)
