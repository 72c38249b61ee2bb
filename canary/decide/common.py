"""What the phases share: the next moment that matters, and the books of acceptance."""

from __future__ import annotations

from datetime import datetime, timedelta

from canary.decide import former, gates
from canary.decide.scope import Scope
from canary.model.evolution import accepted, reached, unaccepted
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
        times.append(run.started_at + scope.spec.deadline.delta)
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
    """Keep the books of acceptance: since when a gateway has not accepted, and when the step was reached."""
    if scope.facts.blind and scope.step.reached_at is None:
        return scope  # what is known of the gateways may be of before
    if scope.unaccepted is not None:
        return scope if scope.step.unaccepted_since else scope.with_(step=unaccepted(scope.step, scope.now))
    if scope.step.unaccepted_since is not None:
        scope = scope.with_(step=accepted(scope.step))
    if scope.step.reached_at is not None:
        return scope
    hold = scope.declared_step.hold if scope.declared_step else None
    return scope.with_(step=reached(scope.step, scope.now, hold.delta if hold else timedelta(0), scope.facts.settle))


def at(scope: Scope, phase: Phase) -> Scope:
    """The same run in another phase, paused no more."""
    return scope.with_(phase=phase, paused=None)
