"""Why a Rollout is where it is, in sentences. Pure: the document, its routes and the time go in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import yaml

from canary.checks.judges.succeeded import JOB_SUCCEEDED
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.checks import TemplateKind
from canary.model.rollout import RouteKind
from canary.preflight.findings import MissingGrant, Reason
from canary.routes.key import RouteKey
from canary.view.explain_run import about_run
from canary.view.gates import gate_lines, open_when, replica_words
from canary.view.mirrors import mirror_lines
from canary.view.opt_in import match_lines
from canary.view.rollout import (
    RolloutView,
    approval_wanted,
    approvers,
    asks,
    awaits_approval,
    extras,
    gate_wanted,
    objections,
    unmeasured,
)
from canary.view.weights import declared_route, route_lines
from canary.view.words import clean, clock, counted, every, left, listing, measured, named_shares, percent, since, span

Json = dict[str, Any]

ON_RECORD = (
    "That is what is on record: a value that moves within its limits is not written to the status at every measurement. "
    "Those of now are in Prometheus, and in the controller's /metrics."
)
NO_DATA = "Unknown is neither good nor bad: it holds the weight where it is, until the check's holdLimit."
COMPARED = (
    "The comparisons together fail a canary that is as good as stable in at most {alpha} of its runs (alpha), however often they "
    "look, as far as failures do not depend on each other. What checks with a limit do, and a run that is tried again, is not part of that."
)
QUEUED = (
    "Queued: its query waits for a worker of the controller, behind queries that take long, or pods that are scraped have counted "
    "nothing since they were looked at first. It holds the weight where it is, "
    "and that time does not count against holdLimit."
)

_PREFLIGHT = frozenset(reason.value for reason in Reason)
_MEANING = {
    "Idle": "No run is under way: all traffic of the pair goes to stable.",
    "Progressing": "A run is under way.",
    "Paused": "A run is under way, and it waits for a person.",
    "Promoting": "The run passed all its steps and is being promoted.",
    "RollingBack": "The run failed: all traffic goes back to stable, and the canary gets no more of it in this run.",
    "Succeeded": "The last run succeeded.",
    "RolledBack": "The last run was rolled back: all traffic of the pair goes to stable again.",
    "Invalid": "What is declared cannot work, so nothing runs.",
    "": "No controller has looked at this Rollout yet; is one running, and does it watch this namespace?",
}
_PROMOTION = {
    "Copy": "the pod spec of the canary workload is copied to the stable one, and once that is ready traffic returns "
    "to stable",
    "Await": "traffic stays on the canary until the stable workload runs the same revision (or until "
    "`{program} promote {name}`), then returns to stable",
    "Swap": "stable and canary change roles",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A title and its paragraphs; a paragraph that begins with two spaces is a quotation (a query, say).

    One that begins with four is a document, of which every line is indented by as much.
    """

    title: str
    paragraphs: tuple[str, ...]


def explain(
    rollout: RolloutView, routes: Mapping[RouteKey, Json | None], now: datetime, *, program: str = "canary"
) -> tuple[Section, ...]:
    """Every section that has something to say. `routes`: None for one that could not be read."""
    sections = (
        ("Where it is", _where(rollout, now)),
        ("What stands against a run", _against(rollout)),
        ("What the step waits for", _step(rollout, now, program)),
        ("Why it is paused", _paused(rollout, now, program)),
        ("Checks", _checks(rollout, now)),
        ("Weights", _weights(rollout, routes)),
        ("Mirror", mirror_lines(rollout, routes)),
        ("Requests that opt in", match_lines(rollout, routes)),
        ("What comes next", _next(rollout, now, program)),
    )
    return tuple(Section(title, found) for title, lines in sections if (found := tuple(lines)))


def _where(rollout: RolloutView, now: datetime) -> Iterator[str]:
    status, run = rollout.status, rollout.status.run
    meaning = _MEANING.get(rollout.phase, "This phase is newer than this CLI; update it to learn what it means.")
    if rollout.phase == "Promoting" and run is not None and run.full:
        meaning = "The run is being promoted; not all of its steps were waited for."
    if awaits_approval(rollout):
        meaning = "A run is under way, and it waits for somebody to approve its step."
    yield f"{rollout.namespace}/{rollout.name} is {rollout.phase or 'not seen yet'}. {meaning}"
    if status.message:
        yield f"The controller says: {clean(status.message)}"
    if run is not None:
        yield from about_run(rollout, run, now)
    if rollout.phase and not rollout.current:
        yield "The spec was changed since; the controller has not looked at the change yet."
    if rollout.pending is not None:
        yield f"A request ({clean(rollout.pending.verb)}) waits for the controller's answer."
    for place in rollout.unread:
        yield f"{place} is beyond this version of the CLI, so it is not part of this explanation."


def _against(rollout: RolloutView) -> Iterator[str]:
    """What the preflight says while no run is under way, and what can be applied against it."""
    ready = next((item for item in rollout.status.conditions if item.type == "Ready"), None)
    if rollout.active or ready is None or ready.reason not in _PREFLIGHT:
        return
    yield clean(ready.message)
    if ready.reason == Reason.REF_NOT_PERMITTED:
        yield "Whoever owns the other namespace permits it so:"
        for grant in _grants(rollout):
            text: str = yaml.safe_dump(grant.document, sort_keys=False)
            yield "\n".join(f"    {line}" for line in text.splitlines())


def _grants(rollout: RolloutView) -> Iterator[MissingGrant]:
    """A ReferenceGrant for each Service of another namespace."""
    routes = [route for route in rollout.spec.get("routes") or () if isinstance(route, dict)]
    kinds = tuple(dict.fromkeys(str(route.get("kind") or "HTTPRoute") for route in routes))
    for role in ("stable", "canary"):
        target = rollout.spec.get(role)
        place = target.get("namespace") if isinstance(target, dict) else None
        if isinstance(target, dict) and place and place != rollout.namespace:
            yield MissingGrant(str(place), str(target.get("service")), rollout.namespace, kinds)


def _step(rollout: RolloutView, now: datetime, program: str) -> Iterator[str]:
    step = rollout.status.step
    if step is None or rollout.phase not in {"Progressing", "Paused"}:
        return
    if step.index == 0:
        yield "Preflight: before any traffic moves, routes, Services, gateways and queries are looked at."
        return
    asked = asks(rollout.steps[step.index - 1]) if step.index <= len(rollout.steps) else "?"
    yield f"Step {step.index} of {step.total} ({asked}), since {clock(step.started_at, now)} UTC."
    if step.reached_at is None:
        yield "Waiting for every gateway to accept the written route; the hold starts only then."
    elif step.unaccepted_since is not None:
        yield f"Some gateway stopped accepting a route {since(step.unaccepted_since, now)}."
    for route in rollout.status.routes:
        if not route.accepted:
            yield f"{route.kind.value} {clean(route.name)} is not accepted: {clean(route.message) or 'no reason given'}"
    if step.reached_at is None or step.unaccepted_since is not None:
        limit = clean(rollout.spec.get("acceptTimeout") or "60s")
        yield f"If that takes longer than {limit} (spec.acceptTimeout), {_failure(rollout)}."
        return
    yield from _held(rollout, now, program)


def _by(rollout: RolloutView, index: int) -> str:
    """Whose approval a step waits for, in words; empty: anybody's."""
    named = (rollout.steps[index - 1].get("approval") or {}).get("by")
    return f" by {approvers(named)}" if isinstance(named, dict) else ""


def _held(rollout: RolloutView, now: datetime, program: str) -> Iterator[str]:
    """What a step that every gateway accepted still waits for."""
    step = rollout.status.step
    if step is None or (rollout.phase == "Paused" and not awaits_approval(rollout)):
        return
    if approval_wanted(rollout):
        yield (
            f"Waiting for an approval{_by(rollout, step.index)}: `{program} promote {rollout.name} -n {rollout.namespace}` gives it; "
            f"`{program} abort {rollout.name} -n {rollout.namespace}` sends all traffic back to stable."
        )
    if (gate := gate_wanted(rollout)) is not None:
        skip = f"`{program} promote {rollout.name} -n {rollout.namespace} --full` skips it with all that is left"
        yield from gate_lines(gate, step, now, skip)
    if words := replica_words(rollout.status):
        yield f"{words[0].upper()}{words[1:]} (spec.scale)."
    if step.hold_until is not None and step.hold_until > now and rollout.full:
        yield "Its hold is skipped, as `promote --full` was asked for."
    elif step.hold_until is not None and step.hold_until > now:
        yield f"Its hold lasts until {clock(step.hold_until, now)} UTC, {left(step.hold_until, now)} from now."
    if step.settled_at is not None and step.reached_at is not None and step.settled_at > step.reached_at:
        settle = (step.settled_at - step.reached_at).total_seconds()
        yield (
            f"What is measured counts for it from {clock(step.settled_at, now)} UTC on, {settle:g} s after its gateways "
            "accepted it: a data plane follows what its gateway reports."
        )
    if not rollout.status.split.desired and not extras(rollout):
        yield "The canary has no traffic in this step, so there is nothing that checks could measure."
        return
    due = unmeasured(rollout.status)
    if due:
        yield f"No measurement of this step is on record yet for {listing([clean(check.name) for check in due])}."
    for check in objections(rollout.status.checks):
        if check in due:
            continue
        yield f"Check {clean(check.name)} objects: {check.verdict.value} ({clean(check.reason)})."


def _paused(rollout: RolloutView, now: datetime, program: str) -> Iterator[str]:
    paused = rollout.status.paused
    if rollout.phase == "Paused" and paused is not None and not awaits_approval(rollout):
        message = f": {clean(paused.message)}" if paused.message else ""
        yield f"{clean(paused.reason)}, since {clock(paused.since, now)} UTC{message}"
    if rollout.spec.get("paused") is True:
        yield "spec.paused is true: nothing starts, and a run stays where it is. Set it to false to go on."
    elif rollout.phase == "Paused" and not awaits_approval(rollout):
        yield (
            f"`{program} resume {rollout.name} -n {rollout.namespace}` enters the step again, with a new hold; "
            f"`{program} abort {rollout.name} -n {rollout.namespace}` sends all traffic back to stable."
        )
    overrides = [at for at in rollout.status.overrides if rollout.status.active or now - at < timedelta(minutes=10)]
    if overrides:
        times = listing([clock(at, now) for at in overrides])
        raised = "somebody else raised the canary's share"
        what = raised if rollout.status.active else "what a run had left on the routes was put back"
        yield f"In the last ten minutes {what} {len(overrides)} times ({times} UTC)."


def _checks(rollout: RolloutView, now: datetime) -> Iterator[str]:
    checks = rollout.status.checks
    for check in checks:
        yield " ".join(_check(check, now, active=rollout.active))
        if check.query:
            yield f"  {clean(check.query)}"
    if rollout.active and any(check.measured_at is not None for check in checks):
        yield ON_RECORD
    unknown = {check.reason for check in checks if check.verdict is VerdictKind.UNKNOWN} if rollout.active else set()
    if unknown - {"Queued"}:
        yield NO_DATA
    if "Queued" in unknown:
        yield QUEUED
    alphas = [check.evidence.alpha for check in checks if check.evidence is not None and not check.dry_run]
    if rollout.active and alphas:
        yield COMPARED.format(alpha=percent(round(100 * sum(alphas), 4)))
    if not checks and not rollout.spec.get("checks") and rollout.active:
        yield "There are none: steps pass when their time is over."


def _check(check: CheckStatus, now: datetime, *, active: bool) -> Iterator[str]:
    dry = " (dry run: shown only, it neither holds nor fails the run)" if check.dry_run else ""
    if not check.applicable:
        yield f"{clean(check.name)}{dry}: it does not apply at this step: {clean(check.message)}."
        return
    limit = f", held against {clean(check.limit)}" if check.limit else ""
    value = f" the value is {measured(check.value)}" if check.value is not None else " there is no value"
    if check.value is None and check.evidence is not None:
        value, limit = "", limit.removeprefix(",")
    yield f"{clean(check.name)}{dry}: {check.verdict.value} ({clean(check.reason)});{value}{limit}."
    told = (
        check.evidence is not None or check.reason == JOB_SUCCEEDED
    )  # what a Job said is worth reading when it passed, too
    if check.message and (check.verdict is not VerdictKind.PASS or told):
        yield clean(check.message).rstrip(".") + "."
    if check.evidence is not None and check.evidence.looks:
        yield f"That rests on {counted(check.evidence.looks, 'look')} at the counters."
    if check.failure_window:
        yield (
            f"{counted(check.failures, 'measurement')} of the last {check.failure_window} failed, in a row or not; "
            f"{check.failure_limit + 1} are too many."
        )
    elif check.failures and check.evidence is None:
        tolerated = check.failure_limit or "none"
        yield f"{counted(check.failures, 'failed measurement')} in a row; {tolerated} {'is' if tolerated in (1, 'none') else 'are'} tolerated."
    elif check.failure_limit:
        yield f"Up to {counted(check.failure_limit, 'failed measurement')} in a row may pass; none is on record now."
    if check.unknown_since is not None:
        yield f"Unknown since {clock(check.unknown_since, now)} UTC, for {span(now - check.unknown_since)}."
    if check.measured_at is None:
        yield "No measurement is on record."
        return
    words = f"Recorded at {clock(check.measured_at, now)} UTC ({since(check.measured_at, now)})"
    often = every(check.interval_seconds) if active else ""
    yield f"{words}, {often}." if often else f"{words}."


def _weights(rollout: RolloutView, routes: Mapping[RouteKey, Json | None]) -> Iterator[str]:
    declared = [route for route in rollout.spec.get("routes") or () if isinstance(route, dict)]
    if not declared:
        return
    split = rollout.status.split
    if rollout.active:
        observed = f", last observed {percent(split.observed)}" if split.observed is not None else ""
        yield (
            f"The run wants {percent(split.desired)} for the canary; written {percent(split.written)}, accepted by the "
            f"gateways {percent(split.accepted)}{observed}."
        )
        yield from _counted(rollout)
        for seen in rollout.status.routes:
            if seen.shares:
                where = f"{seen.kind} {clean(seen.name)}"
                yield f"Rules of {where} that a step names do not follow that; written {named_shares(seen.shares)}."
    yield (
        "Weights are relative: a share is a share of what the pair "
        f"{rollout.service('stable')} + {rollout.service('canary')} gets, not of the whole rule."
    )
    for route in declared:
        key = declared_route(route, rollout.namespace)
        document = routes.get(key) if key is not None else None
        if key is None or document is None:
            yield f"{clean(route.get('kind') or RouteKind.HTTP)} {clean(route.get('name') or '')}: could not be read."
        else:
            yield from route_lines(rollout, key, document, route)


def _counted(rollout: RolloutView) -> Iterator[str]:
    """What spec.traffic counted, and what that is good for."""
    if "traffic" not in rollout.spec:
        return
    declared = rollout.spec["traffic"]
    template = declared.get("template") if isinstance(declared, dict) else None
    if isinstance(template, dict):
        label = f"{template.get('kind') or TemplateKind.NAMESPACED} {template.get('name') or ''}"
        yield f"What each backend gets is counted as {clean(label)} says."
    traffic = rollout.status.traffic
    if traffic.seconds:
        yield (
            f"Counted in {traffic.seconds:.0f} s since the gateways accepted that: {traffic.counted_canary:.0f} at "
            f"{rollout.service('canary')}, {traffic.counted_stable:.0f} at {rollout.service('stable')}."
        )
    else:
        yield "Nothing is counted yet of what the routes say now; until then nothing is said of the share that is observed."
    if traffic.background:
        yield f"Of that, {traffic.background:.3g} each second came to the canary while the routes sent it nothing."
    if traffic.reason:
        yield f"The counters could not be read ({clean(traffic.reason)}): {clean(traffic.message)}."


def _failure(rollout: RolloutView) -> str:
    if rollout.on_failure == "Pause":
        return "the run pauses and waits for a person (spec.onFailure: Pause)"
    return "the run is rolled back: all traffic returns to stable"


def _next(rollout: RolloutView, now: datetime, program: str) -> Iterator[str]:
    where = f"{rollout.name} -n {rollout.namespace}"
    match rollout.phase:
        case "Progressing" | "Paused":
            yield from _next_step(rollout, now, program)
        case "Promoting":
            yield f"Promotion {rollout.promotion}: {_promotion(rollout, program)}. Then the run has succeeded."
        case "RollingBack":
            yield "The run ends as RolledBack as soon as every route is back and accepted."
        case "RolledBack":
            yield (
                "The same revision is not tried again by itself before another one has succeeded; once the cause is gone, "
                f"`{program} retry {where}` tries it again."
            )
        case "Invalid":
            yield "Mend what the message names; the controller looks again by itself as soon as something changes."
        case "Idle" | "Succeeded":
            yield _start(rollout, program)


def _start(rollout: RolloutView, program: str) -> str:
    if rollout.spec.get("paused") is True:
        return "Nothing starts while spec.paused is true."
    request = f"`{program} start {rollout.name} -n {rollout.namespace}`"
    if rollout.trigger == "Manual":
        return f"A run starts with {request} only (trigger: Manual)."
    canary = (rollout.spec.get("workloads") or {}).get("canary") or {}
    known = rollout.status.revisions
    same = [clean(revision) for revision in dict.fromkeys((known.settled, known.stable)) if revision]
    other = f" other than {listing(same, 'or')}" if same else ""
    workload = f"{clean(canary.get('kind') or 'Deployment')} {clean(canary.get('name') or '')}"
    configs = (
        " (its pod spec, with the content of what it names of ConfigMaps and Secrets)"
        if rollout.includes_configs
        else ""
    )
    return f"A run starts as soon as {workload} gets a revision{other}{configs}, or with {request}."


def _next_step(rollout: RolloutView, now: datetime, program: str) -> Iterator[str]:
    step = rollout.status.step
    index = step.index if step else 0
    if index < len(rollout.steps):
        following = len(rollout.steps) if rollout.full else index + 1
        target = f"step {following} of {len(rollout.steps)} ({asks(rollout.steps[following - 1])})"
    else:
        target = f"the promotion ({rollout.promotion})"
    conditions = []
    hold = _hold(rollout, index)
    resuming = rollout.phase == "Paused" and not awaits_approval(rollout)
    if resuming:
        conditions.append(f"somebody resumes the run{f', it has then been held for {hold}' if hold else ''}")
    if step is not None and index > 0:
        if step.reached_at is None or step.unaccepted_since is not None:
            conditions.append("every gateway accepts the routes")
        if approval_wanted(rollout):
            conditions.append("somebody approves it")
        if (gate := gate_wanted(rollout)) is not None:
            conditions.append(open_when(gate))
        if resuming or rollout.full:
            pass  # resuming begins the hold anew, and promote --full skips it
        elif step.hold_until is not None and step.hold_until > now:
            early = _early(rollout)
            sooner = f", or sooner once {listing(early)} proved the canary good (promoteEarly)" if early else ""
            conditions.append(f"the hold is over at {clock(step.hold_until, now)} UTC{sooner}")
        elif step.reached_at is None and hold:
            conditions.append(f"it has then been held for {hold}")
    else:
        conditions.append("preflight has no objection")
    if isinstance(rollout.spec.get("scale"), dict):
        conditions.append("the canary has the replicas that the next share needs")
    if rollout.status.checks or rollout.spec.get("checks"):
        passed = "every check has passed a measurement of this step, and none is Fail or Unknown"
        conditions.append("no check fails" if rollout.ignores_unknown else passed)
    yield f"Next is {target}, when {listing(conditions)}." if conditions else f"Next is {target}."
    if index >= len(rollout.steps):
        yield f"Promotion {rollout.promotion}: {_promotion(rollout, program)}."
    yield f"If a check fails more often than it may, {_failure(rollout)}."


def _hold(rollout: RolloutView, index: int) -> str:
    """What a step (from 1) declares to be held for; empty where that is nothing, or skipped."""
    declared = 1 <= index <= len(rollout.steps) and not rollout.full
    return clean(rollout.steps[index - 1].get("hold") or "") if declared else ""


def _early(rollout: RolloutView) -> list[str]:
    """Checks of the Rollout's own that may end a hold early; what templates hold is not seen here."""
    checks = [check for check in rollout.spec.get("checks") or () if isinstance(check, dict)]
    compares = [(check.get("name"), check.get("compare")) for check in checks if check.get("dryRun") is not True]
    return [
        clean(name) for name, compare in compares if isinstance(compare, dict) and compare.get("promoteEarly") is True
    ]


def _promotion(rollout: RolloutView, program: str) -> str:
    words = _PROMOTION.get(rollout.promotion, "this mode is newer than this CLI")
    return words.format(program=program, name=f"{rollout.name} -n {rollout.namespace}")
