"""Steps that mirror or let requests opt in, next to the routes: whether they could, by the very rules that the controller goes by."""

from __future__ import annotations

from collections.abc import Iterator

from canary.decide import matching, mirroring
from canary.lint.findings import Finding, Rule, Severity
from canary.lint.neighbours import told
from canary.lint.source import Document
from canary.lint.world import World
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.observe.routes import Viewer, view
from canary.preflight import policies as preflight
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading


def extras(document: Document, spec: RolloutSpec, world: World) -> Iterator[Finding]:
    """Why a step could not mirror, or add its rules. Nothing where a route is not there or cannot be read: that is a finding of its own."""
    if all(step.mirror is None and step.match is None for step in spec.steps):
        return
    viewer = Viewer(document.name, document.namespace, spec, RolloutStatus())
    views = []
    for ref in spec.routes:
        route = world.get(ref.kind, document.namespace, ref.name)
        if route is None:
            return
        try:
            views.append(view(viewer, ref, RouteReading(route)))
        except (AttributeError, TypeError, KeyError):
            return
    for index, words in mirroring.objections(spec, views, active=False):
        yield document.finding(Severity.ERROR, Rule.ROUTE, ("spec", "steps", index, "mirror"), words)
    for index, words in matching.objections(spec, views):
        yield document.finding(Severity.ERROR, Rule.ROUTE, ("spec", "steps", index, "match"), words)


def policies(document: Document, spec: RolloutSpec, files: World) -> Iterator[Finding]:
    """Rules that a step would copy, and that a policy may know by their names: files do not tell."""
    pair = Pair.of(spec, document.namespace)
    for ref in spec.routes:
        route = files.get(ref.kind, document.namespace, ref.name)
        try:
            found = preflight.policies(spec, ref, RouteReading(route or {}), pair, files.around())
            yield from [told(document, each, severity=Severity.NOTE) for each in found]
        except (AttributeError, TypeError, KeyError):
            continue
