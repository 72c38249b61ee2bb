"""A Rollout at rest whose spec cannot be read, and of which nobody knows an earlier one: whoever asks for something is answered, and nothing else is done."""

from __future__ import annotations

from collections.abc import Iterator

from canary.decide import reasons
from canary.decide.actions import Action, ClearRequest, StampRequest
from canary.decide.facts import Facts
from canary.decide.requests import told_refused, unknown_verb
from canary.decide.scope import Decision
from canary.decide.starts import said_invalid
from canary.model.evolution import answered
from canary.model.requests import Request, Verb
from canary.model.status import RequestOutcome, RequestStatus, RolloutStatus


def unread(status: RolloutStatus, facts: Facts) -> Decision:
    """Decide about it. Of `facts` the first problem says why it cannot be read; what else is looked at is the request, and its record."""
    message = str(facts.problems[0])
    request, last = facts.request, status.last_request
    if request is None:
        return Decision(status, reasons.INVALID, message)
    actions: tuple[Action, ...]
    if not request.id:
        actions = (StampRequest(request.raw),)
    elif last is None or last.id != request.id:
        last = answered(request, facts.now, RequestOutcome.REFUSED, _refusal(facts, request))
        actions = (told_refused(request, last),)
    else:
        actions = tuple(_cleared(request, last, facts))
    return Decision(status.model_copy(update={"last_request": last}), reasons.INVALID, message, actions)


def _cleared(request: Request, last: RequestStatus, facts: Facts) -> Iterator[Action]:
    if facts.recorded.request == last.id:
        yield ClearRequest(request.raw)


def _refusal(facts: Facts, request: Request) -> str:
    """Why nothing of it is done: the same as of one without a run that can be read."""
    match request.known:
        case None:
            return unknown_verb(request)
        case Verb.START | Verb.RETRY:
            return said_invalid(facts)
        case Verb.RESUME:
            return "no run is paused"
        case _:
            return "no run is active"
