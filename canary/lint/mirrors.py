"""Steps that mirror, next to the routes: whether they could, by the very rules that the controller goes by."""

from __future__ import annotations

from collections.abc import Iterator

from canary.decide import mirroring
from canary.lint.findings import Finding, Rule, Severity
from canary.lint.source import Document
from canary.lint.world import World
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.observe.routes import Viewer, view
from canary.routes.reading import RouteReading


def mirrors(document: Document, spec: RolloutSpec, world: World) -> Iterator[Finding]:
    """Why a step could not mirror. Nothing where a route is not there or cannot be read: that is a finding of its own."""
    if all(step.mirror is None for step in spec.steps):
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
