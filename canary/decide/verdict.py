"""From a measurement to a verdict: Pass, Fail or Unknown, each with its reason.

An absent or broken measurement is never a number. What it means is the check's declared policy (onNoData, onError).
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import NamedTuple, assert_never

from canary.checks.judges import Broken, Judged, NotJudged
from canary.checks.resolve import ResolvedCheck
from canary.model import evolution
from canary.model.check_status import CheckStatus, EvidenceStatus, VerdictKind
from canary.model.checks import OnUnknown
from canary.model.measurement import Answered, Compared, Malformed, Measured, NoData, Queued, Sample, Timed, Unreachable


class Said(NamedTuple):
    """A verdict, why in a word, and why in words."""

    verdict: VerdictKind
    reason: str
    message: str


def judge(check: ResolvedCheck, before: CheckStatus | None, measurement: Measured) -> CheckStatus:
    """Fold one measurement into what the check said before. Pure; a measurement already folded changes nothing."""
    if before is None:
        before = unmeasured(check)
    if before.measured_at is not None and measurement.at <= before.measured_at:
        return before
    match measurement:
        case Sample():
            said = _weigh(check, measurement)
        case NoData():
            said = policy(check.settings.on_no_data, measurement.reason, measurement.message)
        case Unreachable() | Malformed():
            said = policy(check.settings.on_error, measurement.reason, measurement.message)
        case Queued():
            return _queued(before, measurement)
        case Compared() | Timed() | Answered():  # of a check that compares no more, or not yet: it was edited meanwhile
            return before
        case _:
            assert_never(measurement)
    value = measurement.value if isinstance(measurement, Sample) and math.isfinite(measurement.value) else None
    return stated(
        check,
        said,
        before=before,
        measured_at=measurement.at,
        evidence=before.evidence,
        value=value,
        query=measurement.query,
    )


def stated(
    check: ResolvedCheck,
    said: Said,
    *,
    before: CheckStatus,
    measured_at: datetime | None,
    evidence: EvidenceStatus | None = None,
    value: float | None = None,
    query: str = "",
) -> CheckStatus:
    """What a check says from now on, after what it said `before`."""
    verdict, reason, message = said
    message = message.encode("utf-8", "replace").decode()  # a provider's words may hold halves of characters
    recent = ""
    if check.sliding is None:
        failures = {VerdictKind.PASS: 0, VerdictKind.FAIL: before.failures + 1, VerdictKind.UNKNOWN: before.failures}
        count = failures[verdict]
    else:
        recent = check.sliding.load(before.recent)
        if verdict is not VerdictKind.UNKNOWN:
            recent = check.sliding.fold(recent, verdict is VerdictKind.PASS)
        count = recent.count("x")
        if verdict is VerdictKind.PASS and check.sliding.failed(recent):
            verdict, reason, message = VerdictKind.FAIL, "TooManyFailures", check.sliding.words(recent)
    since = before.unknown_since if before.unknown_since is not None else measured_at
    return _status(
        check,
        verdict=verdict,
        reason=reason,
        message=message[:1024],
        value=value,
        failures=count,
        recent=recent,
        measured_at=measured_at,
        unknown_since=since if verdict is VerdictKind.UNKNOWN else None,
        query=query.encode("utf-8", "replace").decode()[:8192],
        evidence=evidence,
    )


def unmeasured(check: ResolvedCheck) -> CheckStatus:
    """What a check says before it was ever measured: Unknown, and since when does not count yet."""
    return _status(check, verdict=VerdictKind.UNKNOWN, reason="NotMeasured", message="not measured in this run yet")


def failed(status: CheckStatus) -> bool:
    """Whether a check has failed more often than is tolerated, in a row or of its last measurements."""
    return not status.dry_run and status.verdict is VerdictKind.FAIL and status.failures > status.failure_limit


def held_too_long(check: ResolvedCheck, status: CheckStatus, now: datetime) -> bool:
    """Whether a check has been Unknown for its hold limit or longer."""
    return (
        not check.settings.dry_run
        and status.verdict is VerdictKind.UNKNOWN
        and status.unknown_since is not None
        and now >= status.unknown_since + check.settings.hold_limit.delta
    )


def _queued(before: CheckStatus, queued: Queued) -> CheckStatus:
    """Nobody was asked: what was known is known no longer, and nothing is known instead.

    That it took our own queue too long is no fault of the provider. So onError has no say, what failed before neither
    counts on nor is forgotten, and the clock of holdLimit, if it runs, stands still for as long as the query waited.
    """
    return evolution.queued(before, queued.reason, queued.message, timedelta(seconds=queued.waited))


def _weigh(check: ResolvedCheck, sample: Sample) -> Said:
    if not math.isfinite(sample.value):  # a provider that lets one through must not become a verdict
        return policy(check.settings.on_error, "NotANumber", f"the value is {sample.value}")
    found = check.judge.judge(sample)
    match found:
        case Judged():
            return Said(VerdictKind.PASS if found.good else VerdictKind.FAIL, found.reason, found.message)
        case Broken():
            return policy(check.settings.on_error, found.reason, found.message)
        case NotJudged():
            return Said(VerdictKind.UNKNOWN, found.reason, found.message)
        case _:
            assert_never(found)


def policy(declared: OnUnknown, reason: str, message: str) -> Said:
    """What not knowing means, as it is declared."""
    match declared:
        case OnUnknown.HOLD:
            return Said(VerdictKind.UNKNOWN, reason, message)
        case OnUnknown.PASS:
            return Said(VerdictKind.PASS, reason, f"{message}; counted as a pass")
        case OnUnknown.FAIL:
            return Said(VerdictKind.FAIL, reason, f"{message}; counted as a failure")


def _status(
    check: ResolvedCheck,
    *,
    verdict: VerdictKind,
    reason: str,
    message: str,
    value: float | None = None,
    failures: int = 0,
    recent: str = "",
    measured_at: datetime | None = None,
    unknown_since: datetime | None = None,
    query: str = "",
    evidence: EvidenceStatus | None = None,
) -> CheckStatus:
    return CheckStatus(
        name=check.name,
        verdict=verdict,
        reason=reason,
        message=message,
        value=value,
        limit=check.limit,
        failures=failures,
        failure_limit=check.settings.failure_limit if check.sliding is None else check.sliding.most - 1,
        failure_window=0 if check.sliding is None else check.sliding.of,
        recent=recent,
        measured_at=measured_at,
        unknown_since=unknown_since,
        interval_seconds=check.settings.interval.seconds,
        job_seconds=check.lasts.total_seconds() if check.lasts is not None else None,
        dry_run=check.settings.dry_run,
        query=query,
        definition=check.definition,
        evidence=evidence,
    )
