"""What keeps a run at a step that is reached: named rules whose order is the policy. The first hold wins.

A hold never moves a weight, neither up nor down. What must take the weight away is a guard (`canary.decide.guards`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.resolve import ResolvedCheck
from canary.decide import approval, gates, reasons
from canary.decide.common import LOUD
from canary.decide.comparing import applicable
from canary.decide.dividing import never_writable
from canary.decide.early import proved_good
from canary.decide.facts import WorkloadView
from canary.decide.mirroring import left_out
from canary.decide.scope import Scope
from canary.decide.sight import untold
from canary.decide.traffic import wrong_share
from canary.decide.writes import foreign
from canary.model.check_status import VerdictKind
from canary.model.checks import SHORTEST_INTERVAL
from canary.model.status import RolloutStatus


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a run goes no further now: a constant, and a sentence."""

    reason: str
    message: str


Rule = Callable[[Scope], Hold | None]


def _where(scope: Scope) -> str:
    return scope.step_text if scope.step.index else "preflight"


def _held_at(scope: Scope) -> str:
    return f"held at {scope.held_text} ({scope.step_text})"


# -- at any step ----------------------------------------------------------------------------------------------------


def invalid(scope: Scope) -> Hold | None:
    """What is declared cannot work any more."""
    if not scope.facts.problems:
        return None
    return Hold(reasons.INVALID, f"{scope.facts.problems[0]}; {_held_at(scope)}")


def blind(scope: Scope) -> Hold | None:
    """Nobody knows what the cluster looks like now."""
    if not scope.facts.blind:
        return None
    if scope.facts.blind_since is not None and scope.now < scope.facts.blind_since + LOUD:
        return _holding(scope, "the API server is out of sight for a moment")
    return Hold(reasons.CHECKS_UNKNOWN, f"the API server's watches are broken; {_held_at(scope)}")


def unheard(scope: Scope) -> Hold | None:
    """Somebody asks for something in a word, which is stamped before it is served: it may be `pause`."""
    request = scope.facts.request
    if request is None or request.id:
        return None
    return Hold(reasons.HOLDING, f"somebody asks for something, which is served first; {_held_at(scope)}")


# -- before more weight ---------------------------------------------------------------------------------------------


def no_ready_replica(scope: Scope) -> Hold | None:
    """Nobody would answer for the canary."""
    canary = scope.facts.canary
    if canary is None or canary.ready > 0:
        return None
    words = f"waiting for a ready replica of {canary.name}{canary.who_emptied} ({_where(scope)})"
    return Hold(reasons.AWAITING_CANARY, words)


def run_off_record(scope: Scope) -> Hold | None:
    """The run is not on record, or the Rollout could vanish without its routes being put back."""
    if scope.facts.recorded.run == scope.run.number and scope.facts.finalizer:
        return None
    return Hold(reasons.PREFLIGHT, f"putting run {scope.run.number} on record ({_where(scope)})")


def step_off_record(scope: Scope) -> Hold | None:
    """A restart believes a route that is one step ahead of the record, and no more."""
    if scope.facts.recorded.step >= scope.step.index:
        return None
    return Hold(reasons.PREFLIGHT, f"putting the step on record ({_where(scope)})")


def routes_of_another(scope: Scope) -> Hold | None:
    """Another controller may still have a write under way."""
    if not (scope.facts.fresh and foreign(scope)):
        return None
    return Hold(reasons.PREFLIGHT, f"taking over the routes ({_where(scope)})")


def revision_unknown(scope: Scope) -> Hold | None:
    """Nobody can tell whether the canary still is what the run is about."""
    why = untold(scope.facts)
    return Hold(reasons.REVISION_UNKNOWN, f"{why}; {_held_at(scope)}") if why else None


# -- before the first step ------------------------------------------------------------------------------------------


def share_unwritable(scope: Scope) -> Hold | None:
    """Some route cannot express the share of some step."""
    problem = never_writable(scope)
    return Hold(reasons.ROUTE_UNWRITABLE, f"{problem} (preflight)") if problem else None


def old_copy_on_record(scope: Scope) -> Hold | None:
    """The record of an earlier run's copy is to be gone before this run copies anything."""
    stable = scope.facts.stable
    if stable is None or not stable.copied:
        return None
    return Hold(reasons.PREFLIGHT, f"forgetting the pod spec that {stable.name} ran before (preflight)")


def canary_rolling_out(scope: Scope) -> Hold | None:
    """The canary workload does not run its revision everywhere yet."""
    canary = scope.facts.canary
    if canary is None or canary.rolled_out:
        return None
    what = (
        f"waiting for {canary.name} to roll out {f'revision {canary.revision}' if canary.known else 'its new pod spec'}"
    )
    reason = reasons.PODS_NOT_UPDATED if canary.stuck else reasons.AWAITING_CANARY
    return Hold(reason, f"{what}{why_stuck(canary)} (preflight)")


def why_stuck(workload: WorkloadView) -> str:
    """What somebody has to do before the pods of a workload follow its template, behind a semicolon; empty: to wait will do."""
    return f"; {workload.stuck}" if workload.stuck else ""


# -- at a step with a weight ----------------------------------------------------------------------------------------


def check_fails(scope: Scope) -> Hold | None:
    """A check fails, if not often enough yet to fail the run."""
    if not scope.wants_traffic:
        return None  # before the canary has traffic there is nothing to measure, so checks only speak from then on
    for check, status in scope.judging:
        if status.verdict is VerdictKind.FAIL:
            text = f"check {status.name}: {status.message}"
            count = f"({status.failures} of {status.failure_limit} tolerated failures)"
            if check.sliding is not None:
                count = f"({check.sliding.words(status.recent)})"
            return Hold(reasons.CHECKS_OBJECT, f"{text} {count}; {_held_at(scope)}")
    return None


def split_mismatch(scope: Scope) -> Hold | None:
    """What the canary gets is provably not what the routes say."""
    words = wrong_share(scope)
    return Hold(reasons.SPLIT_MISMATCH, f"{words}; {_held_at(scope)}") if words else None


def check_silent(scope: Scope) -> Hold | None:
    """A check is unknown, or has not passed lately, in this step, under our own eyes."""
    if not scope.wants_traffic or (scope.run.full and scope.run.ignore_unknown):
        return None
    since = max(at for at in (scope.step.evidence_since or scope.now, scope.facts.since) if at is not None)
    for check, status in scope.judging:
        if not applicable(scope, check):
            continue
        at = status.measured_at
        if at is None or at < since:
            return _holding(scope, f"waiting for check {status.name} to be measured")
        if status.verdict is VerdictKind.UNKNOWN:
            text = f"check {status.name} is unknown ({status.reason}: {status.message})"
            return Hold(reasons.CHECKS_UNKNOWN, f"{text}; {_held_at(scope)}")
        if scope.now - at > fresh_for(check):
            return _holding(scope, f"waiting for check {status.name} to be measured again")
    return None


def time_left(scope: Scope) -> Hold | None:
    """The hold that the step declares is not over, and nothing that is proved ends it early."""
    until = _waited_until(scope)
    return None if until is None else _holding(scope, until=until)


def _waited_until(scope: Scope) -> datetime | None:
    """The end of the hold, if the run would wait for it; None: it is over, skipped, or not needed any more."""
    until = scope.step.hold_until
    over = scope.run.full or until is None or scope.now >= until
    return None if over or proved_good(scope) else until


def gate_closed(scope: Scope) -> Hold | None:
    """Something else has to say that the next step may begin."""
    closed = gates.closed(scope) if scope.spec.gated else None
    return Hold(closed.reason, f"{closed.words}; {_held_at(scope)}") if closed is not None else None


def unapproved(scope: Scope) -> Hold | None:
    """A person has to say that the next step may begin."""
    if not approval.wanted(scope):
        return None
    message = f"waiting for `canary promote`{approval.by(scope)} at {scope.traffic_text} ({scope.step_text})"
    return Hold(reasons.AWAITING_APPROVAL, message)


# -- at a step whose weight is not written yet, or not any more -----------------------------------------------------

NO_TRAFFIC = frozenset({"NoData", "NoRequests", "NotANumber", "NotMeasured"})
"""Why a check is unknown where the canary gets nothing: a ratio of no requests, which more weight would end."""


def evidence_gone(scope: Scope) -> Hold | None:
    """A check that let the step be entered is unknown by now, or has not passed lately, under our own eyes.

    Comparisons and Jobs are of a step that is reached; what they last said is kept, and a time that is too long ends the run.
    """
    if scope.run.traffic_since is None or (scope.run.full and scope.run.ignore_unknown):
        return None
    since = scope.facts.since
    for check, status in scope.judging:
        if not applicable(scope, check) or isinstance(check.judge, Against | Answers) or check.lasts is not None:
            continue
        at, idle = status.measured_at, not scope.has_traffic
        known = at is not None and (since is None or at >= since)
        if status.verdict is VerdictKind.UNKNOWN and at is not None and not (idle and status.reason in NO_TRAFFIC):
            text = f"check {status.name} is unknown ({status.reason}: {status.message})"
            return Hold(reasons.CHECKS_UNKNOWN, f"{text}; {_waits(scope)}")
        if not idle and (at is None or not known or scope.now - at > fresh_for(check)):
            return Hold(reasons.AWAITING_VERDICTS, f"waiting for check {status.name} to be measured; {_waits(scope)}")
    return None


def revision_lost(scope: Scope) -> Hold | None:
    """Nobody can tell any more whether the canary still is what the run is about."""
    why = untold(scope.facts)
    return Hold(reasons.REVISION_UNKNOWN, f"{why}; {_waits(scope)}") if why else None


def window_over(scope: Scope) -> Hold | None:
    """The window in which the step before might be left is over."""
    if not scope.spec.gated or scope.run.full or scope.step.index < 2:
        return None
    gate = scope.spec.steps[scope.step.index - 2].gate
    closed = gates.outside(scope, gate.window) if gate is not None and gate.window is not None else None
    return Hold(closed.reason, f"{closed.words}; {_waits(scope)}") if closed is not None else None


def _waits(scope: Scope) -> str:
    return f"{scope.traffic_text} waits for that ({scope.step_text})"


EVERYWHERE: tuple[Rule, ...] = (
    invalid,  # nobody knows what is wanted
    blind,  # nor what there is
    unheard,  # nor what a person wants
)

OFF_RECORD: tuple[Rule, ...] = (
    run_off_record,  # a crash would lose the run
    step_off_record,  # or its step
    routes_of_another,  # two would write
)
"""What forbids to do anything for the next step that a restart would have to know of."""

RISE: tuple[Rule, ...] = (
    no_ready_replica,  # users would get 503s
    revision_unknown,  # or what nobody has judged
    *OFF_RECORD,
)
"""What forbids more weight however good the numbers are."""

PREFLIGHT: tuple[Rule, ...] = (
    *EVERYWHERE,
    share_unwritable,  # some step could never be written
    old_copy_on_record,  # a rollback would put back what another run replaced
    canary_rolling_out,  # the new revision is not what would answer
    *RISE,
)
"""Between the start of a run and its first step."""

AT_STEP: tuple[Rule, ...] = (
    *EVERYWHERE,
    check_fails,  # the numbers say no
    split_mismatch,  # or they are about another step than this one
    check_silent,  # nobody says yes
    time_left,  # the step is to last
    gate_closed,  # something else says no
    unapproved,  # a person is asked
)


LATE_ANYWHERE: tuple[Rule, ...] = (
    *EVERYWHERE,
    no_ready_replica,  # users would get 503s
    revision_lost,  # or what nobody has judged
    check_fails,  # the numbers say no by now
    evidence_gone,  # or nothing any more
)
"""What has to hold when a share is written, and not only when it is decided: a write may fail, or wait for replicas, for long."""

LATE: tuple[Rule, ...] = (
    *LATE_ANYWHERE,
    window_over,  # it is late
)
"""The same of the share of a step."""


def held_by(scope: Scope) -> Hold | None:
    """What keeps the run at the step that it has reached; None: it may go on."""
    return first_hold(scope, AT_STEP if scope.step.index else PREFLIGHT)


def first_hold(scope: Scope, rules: tuple[Rule, ...]) -> Hold | None:
    """Ask the rules in order."""
    return next((hold for rule in rules if (hold := rule(scope)) is not None), None)


def fresh_for(check: ResolvedCheck) -> timedelta:
    """How long a measurement counts as evidence for a rise: about one interval, with what it is jittered by.

    Of a Job, which is as old as its beginning: until the next one has ended.
    """
    usual = timedelta(seconds=1.2 * max(check.settings.interval.seconds, SHORTEST_INTERVAL) + 1)
    return usual if check.lasts is None else usual + 2 * check.lasts


def _holding(scope: Scope, wait: str = "", until: datetime | None = None) -> Hold:
    """`until`: the end of the hold, where whoever asks has found that out."""
    until = until or _waited_until(scope)
    if wait and until is None:
        return Hold(reasons.AWAITING_VERDICTS, f"{wait}; {_holding_what(scope)} ({scope.step_text})")
    lasts = "" if until is None else f" until {until:%H:%M:%S}"
    words = [part for part in (wait or _summary(scope.status), left_out(scope)) if part]
    return Hold(reasons.HOLDING, f"{'; '.join([_holding_what(scope) + lasts, *words])} ({scope.step_text})")


def _holding_what(scope: Scope) -> str:
    return scope.traffic_text if scope.mirror is not None and not scope.shares.some else f"holding {scope.traffic_text}"


def _summary(status: RolloutStatus) -> str:
    """The checks in short: `2/2 checks pass`."""
    counted = [check for check in status.checks if not check.dry_run and check.applicable]
    if not counted:
        return ""
    passing = sum(check.verdict is VerdictKind.PASS for check in counted)
    return f"{passing}/{len(counted)} checks pass"
