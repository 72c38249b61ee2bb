"""Approvals: a step that declares one is left only with a person's word."""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.actions import EmitEvent
from canary.decide.common import at, wake
from canary.decide.pausing import paused_for
from canary.decide.scope import Decision, Scope
from canary.model.evolution import approved, pause_since
from canary.model.requests import APPROVING, Request, Verb
from canary.model.status import Phase
from canary.model.steps import Approvers

NOBODY_CHECKS = "nobody checks who asks: a platform team has that checked by the component approvals (Helm: approvals.enabled), see docs/gates.md"


def by(scope: Scope) -> str:
    """Whose approval the step waits for, in words; empty: anybody's."""
    step = scope.declared_step
    named = step.approval.by if step is not None and step.approval is not None else None
    return f" by {named}" if named is not None else ""


def declared(scope: Scope) -> bool:
    """Whether the step that the run is at declares an approval, given or not."""
    step = scope.declared_step if scope.status.step else None
    return step is not None and step.approval is not None


def wanted(scope: Scope) -> bool:
    """Whether the step may not be left before somebody approves it."""
    return declared(scope) and not scope.step.approved and not scope.run.full


def approvers(scope: Scope, request: Request) -> tuple[Approvers, ...]:
    """Who has to be asked for what a request would approve: of the step, and of all that are left where it skips them."""
    if scope.status.step is None or not scope.active or request.known not in APPROVING:
        return ()
    first = max(scope.step.index - 1, 0)
    steps = scope.spec.steps[first:] if request.known is Verb.PROMOTE_FULL else scope.spec.steps[first : first + 1]
    if request.known is Verb.PROMOTE and (scope.step.index == 0 or scope.status.phase is Phase.PROMOTING):
        return ()  # it approves no step
    return tuple(step.approval.by for step in steps if step.approval is not None and step.approval.by is not None)


def unknown(scope: Scope, request: Request) -> bool:
    """Whether it is not known yet, and has to be, that a request is by whom it says."""
    return scope.spec.names_approvers and scope.facts.vouched is None and bool(approvers(scope, request))


def not_by_them(scope: Scope, request: Request) -> str:
    """Why a request approves nothing, since it is not by those who may; empty: it is, or anybody may."""
    for named in approvers(scope, request) if scope.spec.names_approvers else ():
        if not scope.facts.vouched:
            return f"approval is by {named}, and {NOBODY_CHECKS}"
        if not request.user:
            return f"approval is by {named}, and the request says not who asks: use `canary promote`"
        if not named.include(request.user, request.groups):
            return f"approval is by {named}, and not by {request.user}"
    return ""


def awaiting(scope: Scope) -> bool:
    """Whether the run is paused for want of nothing else."""
    return paused_for(scope) == reasons.AWAITING_APPROVAL


def ask(scope: Scope, message: str) -> Decision:
    """All that the step wants holds; a person has to say that the next one may begin."""
    words = f"waiting for `canary promote`{by(scope)}"
    if not awaiting(scope):
        scope = scope.with_(
            EmitEvent("Normal", reasons.AWAITING_APPROVAL, f"{scope.step_text}: {words}"),
            paused=pause_since(scope.now, reasons.AWAITING_APPROVAL, words),
        )
    return scope.with_(phase=Phase.PAUSED).decide(reasons.AWAITING_APPROVAL, message, wake(scope))


def give(scope: Scope) -> Scope:
    """Somebody approved the step: the run is under way again."""
    return at(scope, Phase.PROGRESSING).with_(step=approved(scope.step))
