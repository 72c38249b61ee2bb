"""What people ask for, and what comes of it: done or refused, always with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from canary.decide import approval, gates, reasons
from canary.decide.actions import EmitEvent
from canary.decide.common import at
from canary.decide.guards import Stop
from canary.decide.interrupts import fail, objection
from canary.decide.pausing import pause
from canary.decide.resting import start
from canary.decide.rising import would_rise
from canary.decide.running import resume
from canary.decide.scope import Decision, Goto, Next, Scope
from canary.decide.sight import untold
from canary.decide.starts import RETRY, START, refusal, starts_no_more, untried
from canary.model.check_status import VerdictKind
from canary.model.evolution import answered, approved, hurried, set_aside
from canary.model.requests import APPROVING, Request, Verb
from canary.model.rollout import Promotion
from canary.model.run_status import Outcome
from canary.model.status import Phase, RequestOutcome, RequestStatus


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request, and where it leads: nowhere (None) means that everything goes on as if nobody had asked."""

    outcome: RequestOutcome
    message: str
    to: Next | None = None


def serve(scope: Scope, request: Request) -> Next:
    """Do what a request asks for, once, and record what came of it. One of which nobody knows yet who asks waits for that."""
    done = _done_before(scope, request)
    if done is None and approval.unknown(scope, request):
        return scope.goto()
    answer = done or _handle(scope, request)
    record = answered(request, scope.now, answer.outcome, answer.message)
    to = answer.to or scope.goto()
    if isinstance(to, Decision):
        return replace(to, status=to.status.model_copy(update={"last_request": record}))
    tells = [told_refused(request, record)] if record.refused else []
    return Goto(to.scope.with_(*tells, last_request=record), to.place)


def unstamped(scope: Scope, request: Request) -> Next:
    """What comes of a plain verb that has no id yet: it waits for one, but for an abort that cannot be given one (soon).

    That is done at once. It is done twice at most to one run, which is no more than once; and it can meet no other one, since none
    begins before it is answered and taken away (`pending_abort`).
    """
    running = scope.active and scope.run.outcome is None
    if running and request.known is Verb.ABORT and request.raw == scope.facts.unstamped:
        return serve(scope, request)
    return scope.goto()


def other_verb(scope: Scope, request: Request, last: RequestStatus) -> Next:
    """What comes of a verb under an id by which something else was asked for in this run.

    Whoever has one id for all that they ask for takes weight away, and is heard. For anything else it may as well be an old one that
    somebody applies once more: then it says so.
    """
    if request.known in {Verb.ABORT, Verb.PAUSE}:
        return serve(scope, request)
    words = f"its id {request.id} is that of a {last.verb} before; ask by another id, or with `canary {request.verb}`"
    record = answered(request, scope.now, RequestOutcome.REFUSED, words)
    return scope.with_(told_refused(request, record), last_request=record).goto()


def told_again(request: Request, last: RequestStatus) -> EmitEvent:
    """What people are told of a request that comes once more in the same run, since it may be meant as another one."""
    words = f"{request.verb} with id {request.id} was answered before ({last.words}); one that is to be done again needs another id"
    return EmitEvent("Normal", reasons.REQUEST_ANSWERED, words, once=True)


def told_refused(request: Request, record: RequestStatus) -> EmitEvent:
    """What people are told of a request that was refused."""
    who = request.by or "somebody"
    return EmitEvent("Warning", reasons.REQUEST_REFUSED, f"{request.verb} by {who}: {record.words}")


def unknown_verb(request: Request) -> str:
    """What is said of one that asks for nothing that there is."""
    return f"there is no verb {request.verb!r}; there are: {', '.join(verb.value for verb in Verb)}"


def _handle(scope: Scope, request: Request) -> Answer:
    handler = HANDLERS.get(request.known) if request.known else None
    if handler is None:
        return _refused(unknown_verb(request))
    not_for_them = _of_another_run(scope, request) or approval.not_by_them(scope, request)
    return _refused(not_for_them) if not_for_them else handler(scope, request)


def _of_another_run(scope: Scope, request: Request) -> str:
    """Why a request is not for the run under way: it was asked of the one before. Empty: nobody can tell that it was.

    Which one it is about it says itself; else it is the one on record, since ours is not there yet: a request is read with what was on
    record when it was written, or later.
    """
    about = request.run or scope.facts.recorded.run
    if request.known not in APPROVING or not scope.active or about in {0, scope.run.number}:
        return ""
    return f"it was asked of run {about}, and run {scope.run.number} is under way now; look at that, and ask again"


def _done(message: str, to: Next | None = None) -> Answer:
    return Answer(RequestOutcome.DONE, message, to)


def _refused(message: str, to: Next | None = None) -> Answer:
    return Answer(RequestOutcome.REFUSED, message, to)


def _done_before(scope: Scope, request: Request) -> Answer | None:
    """A request that was done right before a restart, which only the routes remember; None if it was not.

    They name the request, and what it led to is there. Done again, a `promote` would approve a step that nobody has looked
    at, and an `abort` would be told that the run is rolling back already. The others can be done twice.
    """
    if not request.id or not any(
        scope.ours(route) and route.intent and route.intent.request == request.id for route in scope.facts.routes
    ):
        return None
    recorded = scope.facts.recorded
    match request.known, scope.status.phase:
        case Verb.PROMOTE, Phase.PROGRESSING | Phase.PAUSED if scope.step.index > recorded.step:
            return _done(f"step {recorded.step}/{scope.step.total} is approved")
        case Verb.PROMOTE, Phase.PROMOTING if scope.run.outcome is Outcome.SUCCEEDED:
            return _done("returning traffic to stable")
        case Verb.ABORT, Phase.ROLLING_BACK if scope.run.reason == reasons.ABORTED:
            if not (waiting := untried(scope)):
                return _done("rolling back")
            scope = scope.with_(revisions=set_aside(scope.status.revisions, waiting))
            return _done(f"rolling back; {starts_no_more(waiting)}", scope.goto())
        case _:
            return None


def _start(scope: Scope, request: Request) -> Answer:
    return _begin(scope, request, refusal(scope, START))


def _retry(scope: Scope, request: Request) -> Answer:
    return _begin(scope, request, refusal(scope, RETRY))


def _begin(scope: Scope, request: Request, why_not: str) -> Answer:
    if why_not:
        return _refused(why_not)
    decision = start(scope, by=request.by or "request", reason=request.reason or request.verb)
    number = decision.status.run.number if decision.status.run else 0
    return _done(f"run {number} started", decision)


def _promote(scope: Scope, _request: Request) -> Answer:
    match scope.status.phase:
        case Phase.PROGRESSING if approval.declared(scope):
            return _done(f"{scope.step_text} is approved", approval.give(scope).goto())
        case Phase.PROGRESSING if scope.step.index == 0:
            return _refused("the run has not come to its first step yet, and waits for no approval")
        case Phase.PROGRESSING:
            gate = f" ({closed.words})" if (closed := gates.closed(scope)) is not None else ""
            return _refused(f"{scope.step_text} waits for no approval{gate}; `promote --full` skips the rest")
        case Phase.PROMOTING if scope.run.outcome is None and scope.facts.unread:
            return _refused(f"{scope.facts.unread}; nothing is promoted before that can be read")
        case Phase.PROMOTING if scope.run.outcome is None and scope.promotion is Promotion.AWAIT:
            return _done("returning traffic to stable", scope.with_(step=approved(scope.step)).goto())
        case Phase.PROMOTING:
            return _refused("promotion is under way already")
        case Phase.PAUSED if approval.awaiting(scope):
            return _done(f"{scope.step_text} is approved", approval.give(scope).goto())
        case Phase.PAUSED:
            return _refused("the run is paused; `resume` it first")
        case Phase.ROLLING_BACK:
            return _refused("the run is rolling back")
        case _:
            return _refused("no run is active")


def _promote_full(scope: Scope, request: Request) -> Answer:
    awaiting = scope.status.phase is Phase.PAUSED and approval.awaiting(scope)
    if scope.status.phase is not Phase.PROGRESSING and not awaiting:
        return _promote(scope, request)
    failing = [status.name for _, status in scope.judging if status.verdict is VerdictKind.FAIL]
    if failing:
        return _refused(f"check {failing[0]} fails; a release that fails is not promoted")
    scope = at(scope, Phase.PROGRESSING)
    scope = scope.with_(run=hurried(scope.run, scope.step.index, ignore_unknown=request.ignore_unknown))
    gated = any(step.gate is not None for step in scope.spec.steps[max(scope.step.index - 1, 0) :])
    left = "holds, gates" if gated else "holds"
    if request.ignore_unknown:
        text = f"the remaining {left}, approvals and unknown checks are skipped; gateways and failing checks are not"
        return _done(text, scope.goto())
    left = f"{left} and approvals"
    text = f"the remaining {left} are skipped; gateways and checks are not"
    unknown = [status for _, status in scope.judging if status.verdict is VerdictKind.UNKNOWN]
    if unknown and scope.wants_traffic:
        text += f": {unknown[0].name} is unknown ({unknown[0].reason}), and `promote --full --ignore-unknown` goes on without it"
    return _done(text, scope.goto())


def _pause(scope: Scope, request: Request) -> Answer:
    stop = objection(scope)
    if stop is not None:  # a verdict does not wait for the next tick because somebody asks for a pause
        return _refused(stop.message, fail(scope, stop))
    match scope.status.phase:
        case Phase.PAUSED if not approval.awaiting(scope):
            return _refused("the run is paused already")
        case Phase.PROGRESSING | Phase.PAUSED:
            words = f"paused by {request.by or 'request'}" + (f": {request.reason}" if request.reason else "")
            return _done(f"paused at {scope.step_text}", pause(scope, reasons.PAUSED_BY_REQUEST, words))
        case Phase.PROMOTING | Phase.ROLLING_BACK:
            return _refused(f"the run is {scope.status.phase}, which cannot be paused; `abort` can stop a promotion")
        case _:
            return _refused("no run is active")


def _resume(scope: Scope, request: Request) -> Answer:
    if scope.status.phase is not Phase.PAUSED:
        return _refused("no run is paused")
    if scope.spec.paused:
        return _refused("spec.paused is true; set it to false")
    if approval.awaiting(scope):
        return _refused("the run waits for an approval; `promote` gives it")
    stop = objection(scope)
    if stop is not None:  # nor because somebody asks to go on
        return _refused(stop.message, fail(scope, stop))
    why = untold(scope.facts)
    if why and would_rise(scope):  # the share that somebody lowered is not theirs to be given back by what nobody knows
        return _refused(f"{why}; until that is known the canary's share does not rise")
    who = f"by {request.by or 'request'}" + (f": {request.reason}" if request.reason else "")
    return _done(f"{scope.step_text} again", resume(scope, who))


def _abort(scope: Scope, request: Request) -> Answer:
    if _aborted_unstamped(scope):
        return _done("rolling back")  # what is there by now may have come since
    waiting = untried(scope)
    if waiting:
        # A run of it would be under way by now, and end by this, if we had been here when it came.
        scope = scope.with_(revisions=set_aside(scope.status.revisions, waiting))
    match scope.status.phase:
        case Phase.PROGRESSING | Phase.PAUSED | Phase.PROMOTING if scope.run.outcome is None:
            said = f"rolling back; {starts_no_more(waiting)}" if waiting else "rolling back"
            return _done(said, fail(scope, Stop(reasons.ABORTED, _aborted(request))))
        case _ if waiting:
            return _done(starts_no_more(waiting), scope.goto())
        case Phase.PROMOTING:
            return _refused("the run has succeeded; only traffic is being returned")
        case Phase.ROLLING_BACK:
            return _refused("the run is rolling back already")
        case _:
            return _refused("no run is active")


def _aborted_unstamped(scope: Scope) -> bool:
    """Whether the last run was ended by a plain abort that had no id: what gets one now is the same."""
    last, run = scope.status.last_request, scope.status.run
    lost = run is not None and run.outcome is Outcome.ROLLED_BACK and run.reason == reasons.ABORTED
    return lost and last is not None and not last.id and last.verb == Verb.ABORT


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
