"""What must be true before a run begins: named rules over the facts. While any objects, the Rollout is not Ready.

What is wrong with what is declared is a problem of its own (`Facts.problems`, phase Invalid); these are about the world,
and go away when it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from canary.decide import reasons
from canary.decide.facts import Facts
from canary.model.values import decimal_text
from canary.model.workloads import group_of
from canary.routes.key import RouteKey


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a run could not work now: a constant, and a sentence that says what to do."""

    reason: str
    message: str


Rule = Callable[[Facts], Iterator[Objection]]


def workload_missing(facts: Facts) -> Iterator[Objection]:
    """A workload that the Rollout names does not exist."""
    for role, workload in (("canary", facts.canary), ("stable", facts.stable)):
        if workload is not None and not workload.exists:
            yield Objection(
                reasons.WORKLOAD_MISSING,
                f"waiting for {role} workload {workload.name}: there is no such {group_of(workload.kind)[0]}; create it, or correct "
                f"spec.workloads",
            )


def stable_at_zero(facts: Facts) -> Iterator[Objection]:
    """Whoever is sent back to stable would find nobody. One that has replicas, and none of them ready, may be what the release mends."""
    stable = facts.stable
    if stable is not None and stable.exists and stable.replicas == 0 and stable.ready == 0:
        yield Objection(
            reasons.STABLE_AT_ZERO,
            f"stable workload {stable.name} is scaled to 0: a rollback would lead to nobody; scale it up",
        )


def not_served(facts: Facts) -> Iterator[Objection]:
    """Gateways, Services or grants are such that a step of a run would serve nobody."""
    for finding in facts.findings:
        yield Objection(finding.reason, finding.text)


def canary_has_traffic(facts: Facts) -> Iterator[Objection]:
    """The canary has weight at rest. A rollback takes it away, so it could not be given back as it was."""
    for route in facts.routes:
        if route.intent is not None or not route.declared:
            continue  # what a run of ours left there is on its way back
        for rule in route.rules:
            if rule.weights.share > 0:
                yield Objection(
                    reasons.TRAFFIC_AT_REST,
                    f"rule {rule.key} of {route.label} gives the canary {decimal_text(rule.weights.share)} % at rest; no run "
                    f"begins before its weight there is 0",
                )


def canary_taken(facts: Facts, owned: Collection[RouteKey]) -> Iterator[Objection]:
    """The same for a run that begins in the place of another, which has written the routes of `owned`: what those say is not the owner's.

    A run has no weight to take at rest, so who is named as the canary now, and has traffic that the run before it has not given,
    is served to users by somebody's decision: what used to be stable, say.
    """
    for route in facts.routes:
        for rule in route.occupied:
            yield Objection(
                reasons.TRAFFIC_AT_REST,
                f"rule {rule} of {route.label} gives what is the canary now traffic of its own",
            )
    yield from canary_has_traffic(
        replace(facts, routes=tuple(route for route in facts.routes if route.key not in owned and not route.stale))
    )


def autoscalers_unknown(facts: Facts) -> Iterator[Objection]:
    """Nobody can tell whether an autoscaler targets a canary that is to be scaled: it would be written against."""
    if facts.scaling.unread:
        yield Objection(reasons.AUTOSCALERS_UNKNOWN, f"spec.scale: {facts.scaling.unread}")


def revisions_unknown(facts: Facts) -> Iterator[Objection]:
    """Some content that is part of a revision cannot be read, so nobody can tell whether there is anything to release."""
    for role, workload in (("canary", facts.canary), ("stable", facts.stable)):
        if workload is not None and workload.unknown:
            yield Objection(
                reasons.REVISION_UNKNOWN,
                f"the revision of {role} workload {workload.name} is not known: {workload.unknown}",
            )


PREFLIGHT: tuple[Rule, ...] = (
    workload_missing,  # nothing to release, or nowhere to release it to
    stable_at_zero,  # or to come back to
    revisions_unknown,  # or nobody knows what
    not_served,  # nobody would be served
    canary_has_traffic,  # what a rollback takes could not be given back
    autoscalers_unknown,  # two would scale one workload
)


def objections(facts: Facts) -> tuple[Objection, ...]:
    """Everything that objects to a run, in the order of the rules."""
    return tuple(objection for rule in PREFLIGHT for objection in rule(facts))
