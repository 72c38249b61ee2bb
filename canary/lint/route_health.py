"""The health of one route, of any kind, with no Rollout: its rules, what they name, and the parents that ought to serve it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from canary.lint.findings import Finding, Path, Rule, Severity, field_of
from canary.lint.neighbours import RULES
from canary.lint.route_rules import Reason as Odd
from canary.lint.route_rules import oddities
from canary.lint.route_shape import flaws, sound
from canary.model.rollout import RouteKind
from canary.preflight import findings as preflights
from canary.preflight.attachment import attachment
from canary.preflight.demands import undone
from canary.preflight.findings import Reason
from canary.preflight.references import unresolved
from canary.preflight.surroundings import Surroundings
from canary.routes.reading import RouteReading

Json = dict[str, Any]

KINDS = frozenset(RouteKind)

SAME: dict[Reason, frozenset[Reason]] = {
    Reason.BACKEND_NOT_FOUND: frozenset({Reason.BACKEND_NOT_FOUND, Reason.WRONG_PORT}),
    Reason.REF_NOT_PERMITTED: frozenset({Reason.REF_NOT_PERMITTED}),
}
"""What a gateway says, by what we have found ourselves that is the same: then it is told once, at the backendRef."""


LATER = "look again in a moment; if it stays so, ask whoever runs the controller of the parent"
"""Where nobody has to do anything yet."""


def subject(kind: str, namespace: str, name: str) -> str:
    """A route as findings name it."""
    return f"{kind} {namespace}/{name}"


def health(route: Json, around: Surroundings, *, served: bool, complete: bool) -> Iterator[Finding]:
    """What is wrong with a route; findings without a place in a file.

    Args:
        route: the document, of one of `KINDS`, with name and namespace; otherwise it may be anything.
        around: what stands around it.
        served: it is as a cluster has it, so that gateways ought to have answered for it; else what its status says is nobody's word.
        complete: what is known not to be there does not exist; else it may be in files that were not given.

    """
    whole, metadata = sound({**route, "status": route.get("status") if served else None}), route["metadata"]
    name = subject(whole["kind"], metadata["namespace"], metadata["name"])
    broken = False
    for path, words in flaws(whole):
        broken = True
        advice = "correct it: no API server takes such a route"
        yield _finding(Severity.ERROR, Odd.MALFORMED, path, words, advice, name)
    if broken:
        return
    for odd in oddities(whole):
        yield _finding(odd.severity, odd.reason, odd.path, odd.message, odd.advice, name)
    found = tuple(unresolved(whole, around))
    told = frozenset(item.reason for item in found)
    for item in found:
        sure = complete or item.reason is Reason.WRONG_PORT  # a Service that is there is known with its ports
        yield _told(item, Severity.ERROR if sure else Severity.WARNING, name)
    reading = RouteReading(whole)
    for item in undone(reading, around):
        yield _told(item, Severity.ERROR, name)
    for item in attachment(reading, around, "spec.parentRefs", by_parent=True, applied=served):
        if not SAME.get(item.reason, frozenset()) & told:
            yield _told(item, Severity.ERROR, name)


def _told(found: preflights.Finding, severity: Severity, name: str) -> Finding:
    rule, advice = RULES.get(found.reason, Rule.ROUTE), found.advice or LATER
    return Finding(severity, rule, found.message, subject=name, field=found.field, advice=advice, reason=found.reason)


def _finding(severity: Severity, reason: Odd, path: Path, message: str, advice: str, name: str) -> Finding:
    return Finding(severity, Rule.ROUTE, message, subject=name, field=field_of(path), advice=advice, reason=reason)
