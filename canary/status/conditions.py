"""Conditions by the Kubernetes conventions (kstatus): one function each, so that wait, Flux and Argo CD understand us."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from canary.decide import reasons
from canary.decide.facts import Facts
from canary.decide.preflight import objections
from canary.decide.scope import Decision
from canary.model.check_status import VerdictKind
from canary.model.status import Condition, Phase, RolloutStatus

WANTED = frozenset({reasons.ABORTED, reasons.SUPERSEDED})
"""Ends of a run that somebody asked for: nothing is stuck."""

REFERENCES_PERMITTED = "ReferencesPermitted"

Said = tuple[str, str, str]
"""status, reason, message"""

STUCK = frozenset(
    {
        reasons.CONTESTED,
        reasons.LOWERED_BY_HAND,
        reasons.CHECK_FAILED,
        reasons.HOLD_LIMIT_EXCEEDED,
        reasons.NOT_ACCEPTED,
        reasons.CANARY_TOO_SMALL,
        reasons.GATE_TIMED_OUT,
        reasons.STABLE_CHANGED,
    }
)
"""Pauses that only a person can end, and that nobody asked for."""


def ready(status: RolloutStatus, decision: Decision, facts: Facts) -> Said:
    """Nothing is under way, a run could work now, and what was released last is live: also where the canary was put back to that."""
    put_back = status.phase is Phase.ROLLED_BACK and status.run is not None and status.run.reason == reasons.SUPERSEDED
    if (status.phase in {Phase.IDLE, Phase.SUCCEEDED} or put_back) and not facts.problems:
        objecting = objections(facts)
        if objecting:
            return "False", objecting[0].reason, "; ".join(objection.message for objection in objecting)[:4096]
        return "True", decision.reason, status.message
    return "False", decision.reason, status.message


def reconciling(status: RolloutStatus, decision: Decision, _facts: Facts) -> Said:
    """A run is under way."""
    return ("True" if status.active else "False"), decision.reason, status.message


def stalled(status: RolloutStatus, decision: Decision, facts: Facts) -> Said:
    """It goes on only if a person does something."""
    if facts.problems:
        return "True", facts.problems[0].reason, "; ".join(str(problem) for problem in facts.problems)[:4096]
    paused = status.paused.reason if status.paused else ""
    if paused in STUCK:
        return "True", paused, status.message
    if status.run is not None and status.run.copied is not None and status.run.copied.lost:
        words = f"{status.run.copied.workload} runs revision {status.run.copied.kept}, which was rolled back; put back by hand what it ran before"
        return "True", reasons.STABLE_NOT_RESTORED, words
    if words := _still_copied(status, facts):
        return "True", reasons.STABLE_NOT_RESTORED, words
    if status.phase is Phase.ROLLED_BACK and (status.run is None or status.run.reason not in WANTED):
        return "True", status.run.reason if status.run else decision.reason, status.message
    return "False", "AsExpected", ""


def _still_copied(status: RolloutStatus, facts: Facts) -> str:
    """That a workload runs what was rolled back, since it cannot be put back; empty: it does not, or that is not over yet."""
    book, stable = status.run.copied if status.run is not None else None, facts.copied_to or facts.stable
    if status.phase is not Phase.ROLLED_BACK or book is None or stable is None or not (book.kept and stable.known):
        return ""
    if not book.is_over(stable.kind, stable.name) or stable.revision != book.kept:
        return ""
    why = f" ({facts.untidied.why})" if facts.untidied is not None else ""
    words = (
        f"{book.workload} still runs revision {book.kept}, which was rolled back; what it ran before cannot be put back"
    )
    return f"{words}{why}"[:4096]


def copy_exact(status: RolloutStatus, _decision: Decision, facts: Facts) -> Said | None:
    """What was copied to the stable workload is what the API server keeps there. Not said before there is a copy."""
    stable, run = facts.stable, status.run
    book = run.copied if run is not None else None
    if book is None or run is None or stable is None or not book.kept:
        return None
    if book.kept == stable.revision != run.revision:
        return "False", reasons.COPY_ALTERED, f"admission changed what was copied to {stable.name}; it counts as copied"
    return "True", "AsExpected", ""


def contested(status: RolloutStatus, _decision: Decision, _facts: Facts) -> Said:
    """Somebody keeps raising the canary's share against us."""
    if status.paused is not None and status.paused.reason == reasons.CONTESTED:
        return "True", reasons.CONTESTED, status.paused.message
    return "False", "AsExpected", ""


def routes_accepted(_status: RolloutStatus, _decision: Decision, facts: Facts) -> Said:
    """Every parent of every route accepts its current generation."""
    for route in facts.routes:
        if not route.exists:
            why = f": {route.missing}" if route.missing else " does not exist"
            return "False", reasons.ROUTE_MISSING, f"{route.label}{why}"
        if not route.acceptance.accepted:
            word = "Refused" if route.acceptance.refused else "Pending"
            return "False", word, f"{route.label}: {route.acceptance.message}"
    return "True", "Accepted", ""


def checks_passing(status: RolloutStatus, _decision: Decision, _facts: Facts) -> Said:
    """What the checks say, all in all."""
    counted = [check for check in status.checks if not check.dry_run]
    for kind, word in ((VerdictKind.FAIL, "False"), (VerdictKind.UNKNOWN, "Unknown")):
        for check in counted:
            if check.verdict is kind:
                return word, check.reason, f"{check.name}: {check.message}"
    return "True", "Pass" if counted else "NoChecks", ""


def references_permitted(status: RolloutStatus, _decision: Decision, facts: Facts) -> Said | None:
    """Whether a ReferenceGrant lets the routes name Services of another namespace: said only where nobody can tell. Where one is missing nothing is Ready."""
    if facts.unseen_grants is None:
        before = next((said for said in status.conditions if said.type == REFERENCES_PERMITTED), None)
        return (before.status, before.reason, before.message) if before is not None else None
    return ("Unknown", reasons.GRANTS_NOT_SEEN, facts.unseen_grants) if facts.unseen_grants else None


ALWAYS: dict[str, Callable[[RolloutStatus, Decision, Facts], Said | None]] = {
    "Ready": ready,
    "Reconciling": reconciling,
    "Stalled": stalled,
    REFERENCES_PERMITTED: references_permitted,
}
DURING_RUNS: dict[str, Callable[[RolloutStatus, Decision, Facts], Said | None]] = {
    "RoutesAccepted": routes_accepted,
    "ChecksPassing": checks_passing,
    "Contested": contested,
    "CopyExact": copy_exact,
}
"""Said only while a run is under way: at rest nobody keeps them true, and an idle Rollout costs no write."""


def conditions(status: RolloutStatus, decision: Decision, facts: Facts) -> tuple[Condition, ...]:
    """All conditions; the time of one moves only when its status does."""
    wanted = ALWAYS | (DURING_RUNS if status.active else {})
    before = {condition.type: condition for condition in status.conditions}
    said = {kind: rule(status, decision, facts) for kind, rule in wanted.items()}
    return tuple(
        _condition(kind, words, before.get(kind), facts.generation, facts.now)
        for kind, words in said.items()
        if words is not None
    )


def _condition(kind: str, said: Said, before: Condition | None, generation: int, now: datetime) -> Condition:
    value, reason, message = said[0], said[1] or "Unspecified", said[2][:4096]
    same = before is not None and before.status == value
    if (
        before is not None
        and same
        and (before.reason, before.message, before.observed_generation) == (reason, message, generation)
    ):
        return before
    return Condition(
        type=kind,
        status=value,
        observed_generation=generation,
        last_transition_time=before.last_transition_time if same and before is not None else now.replace(microsecond=0),
        reason=reason,
        message=message,
    )
