"""What the phases share: the next moment that matters, and the books of acceptance."""

from __future__ import annotations

from datetime import datetime, timedelta

from canary.decide import former, gates
from canary.decide.scope import Scope
from canary.model.evolution import accepted, accepted_again, at_step, reached, unaccepted_again
from canary.model.status import Phase

LOUD = timedelta(seconds=5)
"""How long the cluster is out of sight before that is put on record. A server that is busy for a second would be given a
status of every run to write, which is no help."""


def wake(scope: Scope) -> datetime | None:
    """The next moment at which time alone changes the answer."""
    step, run = scope.step, scope.run
    times = [step.hold_until]
    if scope.facts.blind_since is not None:
        times.append(scope.facts.blind_since + LOUD)
    if run.ended_at is not None:
        times.append(run.ended_at + scope.spec.accept_timeout.delta)
    if run.unavailable_since is not None:
        times.append(run.unavailable_since + scope.spec.unavailable_grace.delta)
    if step.unaccepted_since is not None:
        times.append(step.unaccepted_since + scope.spec.accept_timeout.delta)
    if scope.spec.deadline is not None:
        times.append(run.counts_from + scope.spec.deadline.delta)
    if scope.status.scale is not None and scope.spec.scale is not None and scope.status.scale.short_since is not None:
        times.append(scope.status.scale.short_since + scope.spec.scale.timeout.delta)
    times += former.due(scope)
    if scope.spec.gated and (again := gates.looks_again(scope)) is not None:
        times.append(again)
    times += [
        status.unknown_since + check.settings.hold_limit.delta
        for check, status in scope.judging
        if status.unknown_since is not None
    ]
    return min((at for at in times if at is not None and at > scope.now), default=None)


def note_acceptance(scope: Scope) -> Scope:
    """Keep the books of acceptance: since when a gateway has not accepted, and when the step was reached.

    A step that was reached is held only while it is accepted. A gateway that says no again and again is one that has not accepted for
    as long as all of that together; once it has said yes for acceptTimeout, what was before is forgotten. One that has not looked
    yet, since somebody has edited the route, may take its time each time.
    """
    step, declared = scope.step, scope.declared_step
    if scope.facts.blind and step.reached_at is None:
        return scope  # what is known of the gateways may be of before
    hold = declared.hold.delta if declared is not None and declared.hold is not None else timedelta(0)
    waiting = scope.unaccepted
    if waiting is not None:
        if step.unaccepted_since is not None:
            return scope
        yes_since = (step.settled_at or scope.now) - scope.facts.settle
        forgiven = not waiting.acceptance.refused or scope.now >= yes_since + scope.spec.accept_timeout.delta
        return scope.with_(step=unaccepted_again(step, scope.now, hold, forgiven=forgiven))
    if step.reached_at is None:
        return scope.with_(step=reached(accepted(step), scope.now, hold, scope.facts.settle))
    if step.unaccepted_since is not None:
        return scope.with_(step=accepted_again(step, scope.now, hold, scope.facts.settle))
    return scope


def anew(scope: Scope) -> Scope:
    """The step as not reached yet: evidence of it, and the time that a gateway has for it, begin when it can be written."""
    return scope.with_(step=at_step(scope.step.index, scope.step.total, scope.step.started_at))


def at(scope: Scope, phase: Phase) -> Scope:
    """The same run in another phase, paused no more."""
    return scope.with_(phase=phase, paused=None)
