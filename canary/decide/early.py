"""Whether a hold may end early: its comparisons have proved the canary good, at this very step and before our own eyes.

What is proved against a canary is kept in the status, and takes traffic away. What is proved in its favour gives it more, so it is
kept nowhere: whoever could write it could raise a weight (promise 9). The controller that counts it tells it with the facts,
with the time since when it counted; after a restart, another write of the routes, or an edit, it begins anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from canary.checks.judges.comparison import Versus
from canary.checks.resolve import ResolvedCheck
from canary.decide.comparing import settled_from, why_not
from canary.decide.scope import Scope
from canary.model.check_status import CheckStatus


def proved_good(scope: Scope) -> tuple[str, ...]:
    """The comparisons that end the hold of a step with a weight, by name; none as long as one of them has not proved it.

    All other checks are asked elsewhere: none of them may be Fail or Unknown.
    """
    step = scope.declared_step
    if step is None or step.hold is None or step.mirror is not None or step.match is not None or not scope.shares.some:
        return ()
    if scope.step.hold_until is None or why_not(scope):
        return ()
    began = scope.step.hold_until - step.hold.delta
    asked = [
        (check, check.judge, status)
        for check, status in scope.judging
        if isinstance(check.judge, Versus) and check.judge.promote_early
    ]
    return tuple(check.name for check, _, _ in asked) if all(_proved(scope, *one, began) for one in asked) else ()


def _proved(scope: Scope, check: ResolvedCheck, rule: Versus, status: CheckStatus, began: datetime) -> bool:
    """Counted since the hold began and the counters were settled, by who has had this run since, and for an interval at least."""
    since, settled = scope.facts.good.get(check.name), settled_from(rule, status, scope.facts.settle)
    if since is None or settled is None:
        return False
    taken_over = (scope.facts.since or scope.now) + scope.facts.settle + rule.lag.delta
    return since >= max(settled, began, taken_over) and scope.now >= since + timedelta(
        seconds=check.settings.interval.seconds
    )
