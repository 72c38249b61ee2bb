"""Route editing as data: one JSON Patch of what a plan changes and one annotation, and nothing else.

Every value it relies on is guarded by a `test`: what the plan's entries read (a backendRef whole, so that an absent weight is
covered; the name of the rule, or its matches where it has none), and the annotation. If any of them moved, the API server
refuses the patch whole and the caller reads again and decides again.
"""

from __future__ import annotations

from typing import Any

from canary.json_patch import annotate, annotation, remove, replace, test, unmoved
from canary.routes.intent import LEGACY_ANNOTATION, Intent, parse_intent, run_annotation
from canary.routes.plan import RoutePlan
from canary.routes.reading import RouteReading

Json = dict[str, Any]


def edit(route: Json | RouteReading, plan: RoutePlan, intent: Intent | None, *, rollout: str) -> list[Json]:
    """Build the patch that makes a route say what a plan says, and sets the annotation of a Rollout (None: removes it).

    Args:
        route: the route as it was read; the patch is only valid against it.
        plan: what its rules should say.
        intent: what the annotation should say.
        rollout: the name of the Rollout, and so of its annotation.

    Returns:
        Operations, tests first; empty when there is nothing to change.

    """
    reading = RouteReading.of(route)
    planned = plan.patch(reading)
    guards, ours = _annotation(reading.document, intent, rollout)
    changes = [*planned.changes, *ours]
    return [*guards, *planned.tests, *changes] if changes else []


def taken_back(route: Json | RouteReading, plan: RoutePlan, *, rollout: str) -> list[Json]:
    """Build the patch that makes a route say what a plan says and leaves our annotation as it is, which it tests all the same.

    For a rollback whose words nobody lets through. Empty when there is nothing to change.
    """
    reading = RouteReading.of(route)
    planned = plan.patch(reading)
    annotations = reading.document.get("metadata", {}).get("annotations") or {}
    name = run_annotation(rollout)
    guard = test(annotation(name), annotations[name]) if name in annotations else unmoved(reading.document)
    return [guard, *planned.tests, *planned.changes] if planned.changes else []


def _annotation(route: Json, intent: Intent | None, rollout: str) -> tuple[list[Json], list[Json]]:
    """Tests of what our annotation says (they guard every write, also one that leaves it alone), and its changes."""
    annotations = route.get("metadata", {}).get("annotations") or {}
    name = run_annotation(rollout)
    old, new = annotations.get(name), intent.dump() if intent is not None else None
    tests, changes = _legacy(annotations, rollout)
    if old is not None:
        tests.append(test(annotation(name), old))
        if new is None:
            changes.append(remove(annotation(name)))
        elif new != old:
            changes.append(replace(annotation(name), new))
        return tests, changes
    # An absent member cannot be tested for, so the version of the whole object stands in for it: with no annotations
    # at all our `add` would otherwise wipe what somebody adds meanwhile, and two controllers could both claim a route.
    tests.append(unmoved(route))
    if new is not None:
        changes.append(annotate(route, name, new))
    return tests, changes


def _legacy(annotations: Json, rollout: str) -> tuple[list[Json], list[Json]]:
    """What an earlier version wrote of a run of this Rollout gives way to the annotation of its own."""
    raw = annotations.get(LEGACY_ANNOTATION)
    intent = parse_intent(raw)
    if intent is None or intent.rollout != rollout:
        return [], []
    path = annotation(LEGACY_ANNOTATION)
    return [test(path, raw)], [remove(path)]
