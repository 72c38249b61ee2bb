"""What comparers have found of the answers to mirrored requests, kept in the status and judged look after look.

As in `comparing`: a look counts only if all of it was compared while the routes had said for a while what they say now, and
what is gathered is of one process, here of one step of one run.
"""

from __future__ import annotations

from collections.abc import Iterable

from canary.checks.judges.answers import Answers
from canary.checks.judges.answers_memory import fitting, load
from canary.checks.judges.finding import Finding, Standing
from canary.checks.judges.mirrored import Look, Progress, Watched
from canary.checks.resolve import ResolvedCheck
from canary.decide import reasons
from canary.decide.actions import EmitEvent
from canary.decide.comparing import (
    Told,
    evidence_of,
    gathering,
    inconclusive,
    look_after_look,
    not_applicable,
    settled_from,
    why_unanswered,
)
from canary.decide.scope import Scope
from canary.decide.verdict import Said, policy, stated
from canary.model.check_status import CheckStatus, EvidenceStatus, VerdictKind
from canary.model.evolution import evidence_gathered
from canary.model.measurement import Answered, Measured
from canary.model.rollout import digest

TOO_EARLY = frozenset({"NotCompared", "TooFewCompared"})
"""What a judge says for want of requests."""
UNWEIGHED = frozenset({"SeenOnce", "NothingLeft"})
"""What a judge says that has nothing to go by yet, or no more. That is no matter of a policy: it is neither good nor bad."""


def compare_answers(
    scope: Scope, check: ResolvedCheck, rule: Answers, before: CheckStatus, measurements: Iterable[Measured]
) -> tuple[CheckStatus, Told]:
    """Fold what was read into what a comparison of answers said before, and what to tell people of it."""
    why = why_unanswered(scope)
    if why:
        return not_applicable(scope, check, before, why), ()
    process = digest([scope.run.number, scope.step.index, str(scope.spec.comparer), rule.most])
    state = gathering(check, before, lambda known: evidence_of(scope, process, float(rule.alpha), known))
    return look_after_look(
        check, state, measurements, Answered, lambda said, look: _folded(scope, check, rule, said, look)
    )


def _folded(
    scope: Scope, check: ResolvedCheck, rule: Answers, before: CheckStatus, found: Answered
) -> tuple[CheckStatus, Told]:
    evidence, settled = before.evidence, settled_from(rule, before, scope.facts.settle)
    if evidence is None or settled is None or found.since < settled:
        return before, ()
    if before.measured_at is not None and found.at <= before.measured_at:
        return before, ()
    progress, told = _remembered(check, rule, evidence)
    value = None
    try:
        look = Look(found.compared, found.paths)
        progress = rule.rule.fold(progress, look)
    except ValueError as error:
        said = policy(check.settings.on_error, "NotACounter", str(error))
    else:
        evidence = evidence_gathered(evidence, fitting(rule.rule, progress))
        finding = rule.rule.judge(progress, look)
        if finding.reason in TOO_EARLY and (found.at - settled).total_seconds() < check.settings.interval.seconds:
            # Who looks after a second has not looked in vain: within the first interval there may be more.
            return before.model_copy(update={"evidence": evidence}), told
        said = _said(scope, check, rule, finding, found)
        value = max((_excess(one, progress) for one in progress.watched), default=0.0) if progress.compared else None
    state = stated(check, said, before=before, measured_at=found.at, evidence=evidence, value=value, query=found.query)
    return state, told


def _excess(one: Watched, progress: Progress) -> float:
    """The part of the answers in which the canary differed, beyond noise."""
    return max(0.0, (one.counts[0] - one.counts[1]) / progress.compared)


def _remembered(check: ResolvedCheck, rule: Answers, evidence: EvidenceStatus) -> tuple[Progress, Told]:
    """What is known of the process so far. A state that is none of ours counts as absent."""
    if not evidence.state:
        return rule.rule.begin(), ()
    try:
        return load(rule.rule, evidence.state), ()
    except ValueError as error:
        words = f"the evidence of check {check.name} in status.checks cannot be ours: {error}; it counts as absent"
        return rule.rule.begin(), (EmitEvent("Warning", reasons.UNREADABLE_RECORD, words[:1024], once=True),)


def _said(scope: Scope, check: ResolvedCheck, rule: Answers, finding: Finding, found: Answered) -> Said:
    """What a look means, with the declared policies."""
    message = f"{finding.message} ({found.unread})" if found.unread else finding.message
    if finding.standing is Standing.FAIL:
        return Said(VerdictKind.FAIL, finding.reason, message)
    if not found.compared:
        seconds = (found.at - found.since).total_seconds()
        words = f"no requests were compared in {seconds:.0f} s"
        return policy(check.settings.on_no_data, "NoData", f"{words} ({found.unread})" if found.unread else words)
    if finding.reason in TOO_EARLY:
        return policy(check.settings.on_no_data, finding.reason, message)
    if finding.reason in UNWEIGHED:
        return Said(VerdictKind.UNKNOWN, finding.reason, message)
    if finding.standing is Standing.INCONCLUSIVE:
        return inconclusive(scope, rule.on_inconclusive, Finding(finding.standing, finding.reason, message))
    return Said(VerdictKind.PASS, finding.reason, message)
