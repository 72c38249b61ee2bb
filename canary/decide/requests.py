"""What people ask for, and what comes of it: done or refused, always with a sentence."""

from __future__ import annotations

from collections.abc import Callable

from canary.decide import reasons
from canary.decide.actions import EmitEvent
from canary.decide.common import at
from canary.decide.guards import Stop
from canary.decide.interrupts import fail, objection
from canary.decide.pausing import pause, paused_for
from canary.decide.preflight import objections
from canary.decide.promotion import ENDED_BY_PROMOTE
from canary.decide.resting import start
from canary.decide.running import resume
from canary.decide.scope import Decision, Scope
from canary.model.requests import Request, Verb
from canary.model.rollout import Promotion
from canary.model.status import Outcome, Phase, RequestStatus, VerdictKind

Answer = tuple[Scope | Decision, str]
"""The scope to go on with, or the decision that it led to; and the outcome in words."""


def serve(scope: Scope, request: Request) -> Scope | Decision:
    """Do what a request asks for, once, and record the outcome."""
    handler = HANDLERS.get(request.known) if request.known else None
    if handler is None:
        verbs = ", ".join(verb.value for verb in Verb)
        answer: Answer = (scope, f"refused: there is no verb {request.verb!r}; there are: {verbs}")
    else:
        answer = handler(scope, request)
    result, outcome = answer
    record = _record(scope, request, outcome)
    refused = outcome.startswith("refused")
    tell = EmitEvent("Warning", reasons.REQUEST_REFUSED, f"{request.verb} by {request.by or 'somebody'}: {outcome}")
    if isinstance(result, Scope):
        return result.with_(*([tell] if refused else []), last_request=record)
    return Decision(
        result.status.model_copy(update={"last_request": record}),
        result.reason,
        result.message,
        result.actions,
        result.wake_at,
    )


def served_before(scope: Scope, request: Request, unapproved: int) -> Scope | None:
    """Recognise a `promote` that was done just before a restart, which only the routes remember; None if it was not.

    The routes have left a step behind that waits for approval, and the approval is not on record (`unapproved` is the
    first step without one): this request was it.
    Done again, it would approve a step that nobody has looked at.
    """
    if request.known is not Verb.PROMOTE or scope.status.phase is not Phase.PROGRESSING:
        return None
    passed = range(max(unapproved, 1), scope.step.index)
    approved = next((index for index in passed if scope.spec.steps[index - 1].approval is not None), None)
    if approved is None:
        return None
    outcome = f"done: step {approved}/{scope.step.total} is approved"
    return scope.with_(last_request=_record(scope, request, outcome))


def _record(scope: Scope, request: Request, outcome: str) -> RequestStatus:
    return RequestStatus(
        id=request.id,
        verb=request.verb,
        by=request.by,
        reason=request.reason,
        at=scope.now,
        outcome=outcome[:1024],
    )


def _start(scope: Scope, request: Request) -> Answer:
    run = scope.status.run
    if scope.status.active:
        return scope, f"refused: run {run.number if run else 0} is active; abort it first, or wait"
    refusal = _cannot_begin(scope)
    if refusal:
        return scope, refusal
    revision = scope.facts.canary.revision if scope.facts.canary else ""
    rolled_back = run is not None and run.outcome is Outcome.ROLLED_BACK and run.reason != reasons.SUPERSEDED
    if rolled_back and run is not None and revision and revision == run.revision:
        return scope, f"refused: revision {revision} was rolled back ({run.reason}); `retry` tries it again"
    stable = scope.facts.stable
    if stable is not None and stable.exists and revision == stable.revision:
        return scope, f"refused: stable runs revision {revision} already; there is nothing to roll out"
    return _begin(scope, request)


def _retry(scope: Scope, request: Request) -> Answer:
    run = scope.status.run
    if scope.status.active:
        return scope, f"refused: run {run.number if run else 0} is active"
    if run is None or run.outcome is not Outcome.ROLLED_BACK:
        return scope, "refused: no run was rolled back; `start` begins one"
    refusal = _cannot_begin(scope)
    return (scope, refusal) if refusal else _begin(scope, request)


def _cannot_begin(scope: Scope) -> str:
    if scope.facts.problems:
        return f"refused: the Rollout is invalid: {scope.facts.problems[0]}"
    if scope.spec.paused:
        return "refused: spec.paused is true"
    objecting = objections(scope.facts)
    return f"refused: {objecting[0].message}" if objecting else ""


def _begin(scope: Scope, request: Request) -> Answer:
    decision = start(scope, by=request.by or "request", reason=request.reason or request.verb)
    number = decision.status.run.number if decision.status.run else 0
    return decision, f"done: run {number} started"


def _promote(scope: Scope, _request: Request) -> Answer:
    step = scope.declared_step if scope.status.step else None
    match scope.status.phase:
        case Phase.PROGRESSING if step is not None and step.approval is not None:
            return scope.with_step(approved=True), f"done: {scope.step_text} is approved"
        case Phase.PROGRESSING:
            return scope, f"refused: {scope.step_text} waits for no approval; `promote --full` skips the rest"
        case Phase.PROMOTING if scope.run.outcome is None and scope.spec.promotion_mode is Promotion.AWAIT:
            return scope.with_step(approved=True), "done: returning traffic to stable"
        case Phase.PROMOTING if _off_record(scope) and scope.run.message.endswith(ENDED_BY_PROMOTE):
            return scope, "done: returning traffic to stable"  # before a restart; the routes say so
        case Phase.PROMOTING:
            return scope, "refused: promotion is under way already"
        case Phase.PAUSED if paused_for(scope) == reasons.AWAITING_APPROVAL:
            scope = at(scope, Phase.PROGRESSING).with_step(approved=True)
            return scope, f"done: {scope.step_text} is approved"
        case Phase.PAUSED:
            return scope, "refused: the run is paused; `resume` it first"
        case Phase.ROLLING_BACK:
            return scope, "refused: the run is rolling back"
        case _:
            return scope, "refused: no run is active"


def _promote_full(scope: Scope, request: Request) -> Answer:
    awaiting = scope.status.phase is Phase.PAUSED and paused_for(scope) == reasons.AWAITING_APPROVAL
    if scope.status.phase is not Phase.PROGRESSING and not awaiting:
        return _promote(scope, request)
    failing = [status.name for _, status in scope.judging if status.verdict is VerdictKind.FAIL]
    if failing:
        return scope, f"refused: check {failing[0]} fails; a release that fails is not promoted"
    scope = at(scope, Phase.PROGRESSING).with_run(
        full=True, full_at=scope.step.index, ignore_unknown=request.ignore_unknown
    )
    if request.ignore_unknown:
        return (
            scope,
            "done: the remaining holds, approvals and unknown checks are skipped; gateways and failing checks are not",
        )
    unknown = (
        [status for _, status in scope.judging if status.verdict is VerdictKind.UNKNOWN] if scope.share > 0 else []
    )
    text = "done: the remaining holds and approvals are skipped; gateways and checks are not"
    if unknown:
        text += f": {unknown[0].name} is unknown ({unknown[0].reason}), and `promote --full --ignore-unknown` goes on without it"
    return scope, text


def _pause(scope: Scope, request: Request) -> Answer:
    stop = objection(scope)
    if stop is not None:  # a verdict does not wait for the next tick because somebody asks for a pause
        return fail(scope, stop), f"refused: {stop.message}"
    match scope.status.phase:
        case Phase.PAUSED if paused_for(scope) != reasons.AWAITING_APPROVAL:
            return scope, "refused: the run is paused already"
        case Phase.PROGRESSING | Phase.PAUSED:
            words = f"paused by {request.by or 'request'}" + (f": {request.reason}" if request.reason else "")
            return pause(scope, reasons.PAUSED_BY_REQUEST, words), f"done: paused at {scope.step_text}"
        case Phase.PROMOTING | Phase.ROLLING_BACK:
            return (
                scope,
                f"refused: the run is {scope.status.phase}, which cannot be paused; `abort` can stop a promotion",
            )
        case _:
            return scope, "refused: no run is active"


def _resume(scope: Scope, request: Request) -> Answer:
    if scope.status.phase is not Phase.PAUSED:
        return scope, "refused: no run is paused"
    if scope.spec.paused:
        return scope, "refused: spec.paused is true; set it to false"
    if paused_for(scope) == reasons.AWAITING_APPROVAL:
        return scope, "refused: the run waits for an approval; `promote` gives it"
    stop = objection(scope)
    if stop is not None:  # nor because somebody asks to go on
        return fail(scope, stop), f"refused: {stop.message}"
    who = request.by or "request"
    return resume(
        scope, f"by {who}" + (f": {request.reason}" if request.reason else "")
    ), f"done: {scope.step_text} again"


def _abort(scope: Scope, request: Request) -> Answer:
    match scope.status.phase:
        case Phase.PROGRESSING | Phase.PAUSED | Phase.PROMOTING if scope.run.outcome is None:
            return fail(scope, Stop(reasons.ABORTED, _aborted(request))), "done: rolling back"
        case Phase.PROMOTING:
            return scope, "refused: the run has succeeded; only traffic is being returned"
        case Phase.ROLLING_BACK if _off_record(scope) and scope.run.reason == reasons.ABORTED:
            return scope, "done: rolling back"  # before a restart; the routes say so
        case Phase.ROLLING_BACK:
            return scope, "refused: the run is rolling back already"
        case _:
            return scope, "refused: no run is active"


def _off_record(scope: Scope) -> bool:
    """Whether the outcome of the run is not in the status on the API server yet: then neither is the request's."""
    recorded = scope.facts.recorded
    return recorded.run != scope.run.number or recorded.outcome is None


def _aborted(request: Request) -> str:
    return f"aborted by {request.by or 'request'}" + (f": {request.reason}" if request.reason else "")


HANDLERS: dict[Verb, Callable[[Scope, Request], Answer]] = {
    Verb.START: _start,
    Verb.RETRY: _retry,
    Verb.PROMOTE: _promote,
    Verb.PROMOTE_FULL: _promote_full,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.ABORT: _abort,
}
