"""What comparisons of canary and stable have gathered, kept in the status and judged look after look.

A look counts only if it began when the routes had said for a while what they say now: the data planes had their settle time,
and the counters were not older than that (`lag`). So none spans a write. What is gathered is of one process: of one run, of traffic
that may be judged together (`checks.comparable`), and of the same counters; evidence of anything else is none.

Where nothing can be compared, at 100 % for one, a comparison is NotApplicable: it neither holds the run nor stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from canary.checks.comparable import incomparable, processes, unanswered
from canary.checks.judges.against import Against
from canary.checks.judges.answers import Answers
from canary.checks.judges.finding import Finding, Standing
from canary.checks.resolve import ResolvedCheck
from canary.decide import reasons
from canary.decide.actions import EmitEvent
from canary.decide.scope import Scope
from canary.decide.traffic import said_now
from canary.decide.verdict import Said, judge, policy, stated, unmeasured
from canary.model.check_status import NOT_APPLICABLE, CheckStatus, EvidenceStatus, VerdictKind
from canary.model.checks import OnUnknown
from canary.model.evolution import evidence_gathered, routes_moved
from canary.model.measurement import Compared, Measured, Timed
from canary.model.rollout import digest
from canary.model.status import Phase

Told = tuple[EmitEvent, ...]

TOO_EARLY = frozenset({"NotMeasured", "TooFewRequests"})
"""What a judge says for want of requests."""

NO_STEP = "the run is at no step that is declared"

AFTER_THE_STEPS = "the run is being promoted, and nothing is mirrored any more"

AT_PROMOTION = "the run is being promoted, and stable becomes what the canary is: nothing to compare with"


def why_not(scope: Scope) -> str:
    """Why nothing can be compared now, in words; empty where it can."""
    if scope.status.phase is Phase.PROMOTING:
        return AT_PROMOTION
    if scope.declared_step is None:  # the plan was edited, and a run of the new one is about to begin
        return NO_STEP
    return incomparable(scope.spec, scope.step.index)


def applicable(scope: Scope, check: ResolvedCheck) -> bool:
    """Whether a check can say anything at this step."""
    match check.judge:
        case Against():
            return not why_not(scope)
        case Answers():
            return not why_unanswered(scope)
        case _:
            return True


def why_unanswered(scope: Scope) -> str:
    """Why no answers are compared now, in words; empty where they are."""
    if scope.status.phase is Phase.PROMOTING:
        return AFTER_THE_STEPS
    if scope.declared_step is None:
        return NO_STEP
    return unanswered(scope.spec, scope.step.index)


def compare(
    scope: Scope, check: ResolvedCheck, rule: Against[Any], before: CheckStatus, measurements: Iterable[Measured]
) -> tuple[CheckStatus, Told]:
    """Fold what was measured into what a comparison said before, and what to tell people of it."""
    why = why_not(scope)
    if why:
        return not_applicable(scope, check, before, why), ()
    state = gathering(check, before, lambda known: _evidence(scope, check, rule, known))
    return look_after_look(
        check, state, measurements, rule.LOOKS, lambda said, look: _folded(scope, check, rule, said, look)
    )


def not_applicable(scope: Scope, check: ResolvedCheck, before: CheckStatus, why: str) -> CheckStatus:
    """Nothing can be compared now: neither good nor bad, and what was gathered is kept."""
    kept = None if before.evidence is None else routes_moved(before.evidence, "", scope.now)
    said = Said(VerdictKind.PASS, NOT_APPLICABLE, why)
    return stated(check, said, before=before, measured_at=before.measured_at, evidence=kept, query=before.query)


def gathering(
    check: ResolvedCheck, before: CheckStatus, evidence_for: Callable[[EvidenceStatus | None], EvidenceStatus]
) -> CheckStatus:
    """What a check said before, with the evidence of the present process."""
    if before.reason == NOT_APPLICABLE:
        before = unmeasured(check).model_copy(update={"evidence": before.evidence})
    evidence = evidence_for(before.evidence)
    return before if evidence == before.evidence else before.model_copy(update={"evidence": evidence})


def look_after_look(
    check: ResolvedCheck,
    state: CheckStatus,
    measurements: Iterable[Measured],
    looks: type[Any],
    fold: Callable[[CheckStatus, Any], tuple[CheckStatus, Told]],
) -> tuple[CheckStatus, Told]:
    """Fold every look in; what is none, such as a provider that is down, is judged as of any check."""
    told: Told = ()
    for measurement in measurements:
        if isinstance(measurement, looks):
            state, more = fold(state, measurement)
            told += more
        else:
            state = judge(check, state, measurement)
    return state, told


def settled_from(rule: Against[Any] | Answers, said: CheckStatus | None, settle: timedelta) -> datetime | None:
    """From when on a reading of the counters is of nothing but what the routes say now; None: nobody knows yet."""
    evidence = said.evidence if said is not None else None
    if evidence is None or evidence.since is None or not evidence.about:
        return None
    return evidence.since + settle + rule.lag.delta


def _evidence(scope: Scope, check: ResolvedCheck, rule: Against[Any], before: EvidenceStatus | None) -> EvidenceStatus:
    """What was gathered of the present process, and since when the routes say what they say."""
    number = processes(scope.spec)[scope.step.index - 1]
    process = digest([scope.run.number, number, repr(check.source), dict(check.args), rule.tolerance])

    def moved(state: str) -> str:
        with suppress(ValueError):  # what cannot be read is told when the next look comes
            return rule.dumped(rule.moved(rule.loaded(state)))
        return state

    return evidence_of(scope, process, float(rule.alpha), before, moved)


def evidence_of(
    scope: Scope, process: str, alpha: float, before: EvidenceStatus | None, moved: Callable[[str], str] = str
) -> EvidenceStatus:
    """What was gathered of a process, and since when the routes say what they say; `moved`: what is left of it when they change."""
    if before is None or before.process != process:
        before = EvidenceStatus(alpha=alpha, process=process)
    said = said_now(scope)
    about = "" if said is None or not scope.has_traffic else digest(said)
    if before.since is not None and before.since > scope.now:  # no clock of ours has said that
        before = routes_moved(before, "", scope.now)
    if about != before.about:
        before = routes_moved(before, about, scope.now, moved(before.state) if before.state else "")
    return before if before.alpha == alpha else before.model_copy(update={"alpha": alpha})


def _folded(
    scope: Scope, check: ResolvedCheck, rule: Against[Any], before: CheckStatus, found: Compared | Timed
) -> tuple[CheckStatus, Told]:
    evidence, settled = before.evidence, settled_from(rule, before, scope.facts.settle)
    if evidence is None or settled is None or found.since < settled:
        return before, ()
    if before.measured_at is not None and found.at <= before.measured_at:
        return before, ()
    progress, told = _remembered(check, rule, evidence)
    try:
        progress = rule.folded(progress, found)
    except ValueError as error:
        said = policy(check.settings.on_error, "NotACounter", str(error))
    else:
        evidence = evidence_gathered(evidence, rule.dumped(progress))
        finding = _noted(rule.stands(progress), rule.note(found))
        if finding.reason in TOO_EARLY and (found.at - settled).total_seconds() < check.settings.interval.seconds:
            # Who looks after a second has not looked in vain: within the first interval there may be more.
            return before.model_copy(update={"evidence": evidence}), told
        said = _said(scope, check, rule, finding, found)
    value = rule.ratio(progress)
    state = stated(check, said, before=before, measured_at=found.at, evidence=evidence, value=value, query=found.query)
    return state, told


def _noted(finding: Finding, note: str) -> Finding:
    return replace(finding, message=f"{finding.message}; {note}") if note else finding


def _remembered(check: ResolvedCheck, rule: Against[Any], evidence: EvidenceStatus) -> tuple[Any, Told]:
    """What is known of the process so far. A state that is none of ours counts as absent."""
    if not evidence.state:
        return rule.begin(), ()
    try:
        return rule.loaded(evidence.state), ()
    except ValueError as error:
        words = f"the evidence of check {check.name} in status.checks cannot be ours: {error}; it counts as absent"
        return rule.begin(), (EmitEvent("Warning", reasons.UNREADABLE_RECORD, words[:1024], once=True),)


def _said(scope: Scope, check: ResolvedCheck, rule: Against[Any], finding: Finding, found: Compared | Timed) -> Said:
    """What a look means, with the declared policies."""
    if finding.standing is Standing.FAIL:
        return Said(VerdictKind.FAIL, finding.reason, finding.message)
    if not (found.canary > 0 and found.stable > 0):
        side = "stable" if found.canary > 0 else "the canary"
        words = f"no requests of {side} were counted in {(found.at - found.since).total_seconds():.0f} s"
        return policy(check.settings.on_no_data, "NoData", words)
    if finding.reason in {*TOO_EARLY, "OneSided"}:
        return policy(check.settings.on_no_data, finding.reason, finding.message)
    if finding.reason == "Overdispersed":
        return inconclusive(scope, rule.on_inconclusive, finding)
    return Said(VerdictKind.PASS, finding.reason, finding.message)


def inconclusive(scope: Scope, declared: OnUnknown, finding: Finding) -> Said:
    """While the step holds there is time to know more; nothing rises meanwhile."""
    until = scope.step.hold_until
    holds = until is None or scope.now < until
    if holds and declared is not OnUnknown.PASS:
        return Said(VerdictKind.UNKNOWN, finding.reason, finding.message)
    return policy(declared, finding.reason, finding.message)
