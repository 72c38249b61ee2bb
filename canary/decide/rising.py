"""Writes that give the canary more: what has to hold when one is sent, and not only when it is decided to go there.

A write may fail for long, wait for replicas, or be the first thing that a controller does with a run that it takes over. What is asked
here lets somebody say why it waits. The last word has `canary.decide.writes`: it sends no such write of which nobody can tell what
it would give traffic to, whoever wants it.
"""

from __future__ import annotations

from canary.decide import reasons
from canary.decide.common import anew, wake
from canary.decide.holds import Rule, first_hold
from canary.decide.scope import Decision, Scope
from canary.decide.writes import due, lessening, raises


def too_late_to_rise(scope: Scope, rules: tuple[Rule, ...]) -> Decision | None:
    """Where what led to a write holds no more before it is written everywhere: what takes traffic away is written, and no more."""
    if scope.step.index == 0:
        return None
    hold = first_hold(scope, rules) if any(raises(scope, write) for write in due(scope)) else None
    if hold is None:
        return None
    if hold.reason in UNTIMED and not scope.pending and scope.step.unaccepted_since is not None:
        # A gateway's time begins when it has something to accept, and this may take hours.
        scope = anew(scope)
    # Else acceptTimeout goes on: a write that is refused for good ends the run, whatever becomes of the numbers meanwhile.
    return lessening(scope).decide(hold.reason, hold.message, wake(scope))


UNTIMED = frozenset({reasons.REVISION_UNKNOWN, reasons.AWAITING_CANARY})
"""What is waited for before a write, and ends by somebody's hand only."""


def would_rise(scope: Scope) -> bool:
    """Whether the canary has less now than the step wants that the run stands at."""
    index = scope.step.index
    copies = scope.mirror_at(index) is not None and scope.copied == 0
    opting = scope.match_at(index) is not None and not scope.opted_in
    return copies or opting or scope.found.rises_to(scope.shares_at(index))
