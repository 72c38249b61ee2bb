"""Route editing as data: a JSON Patch that touches two weights per rule and one annotation, and nothing else.

Every value it relies on is guarded by a `test`: the whole backendRef as it was read (that also covers an absent
weight), the name of the rule, and the annotation. If any of them moved, the API server refuses the patch whole and
the caller reads again and decides again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canary.gateway.intent import RUN_ANNOTATION, Intent
from canary.gateway.pair import RulePair, Weights

Json = dict[str, Any]


def edit(route: Json, pairs: Sequence[RulePair], weights: Mapping[str, Weights], intent: Intent | None) -> list[Json]:
    """Build the patch that gives each pair its weights and sets the annotation (None: removes it).

    Args:
        route: the route as it was read; the patch is only valid against it.
        pairs: the pairs found in that very route.
        weights: what each rule should say, by key; rules not named here are left alone.
        intent: what the annotation should say.

    Returns:
        Operations, tests first; empty when there is nothing to change.

    """
    tests: list[Json] = []
    changes: list[Json] = []
    for pair in pairs:
        wanted = weights.get(pair.key)
        if wanted is None or wanted == pair.weights:
            continue
        rule = f"/spec/rules/{pair.rule}"
        if pair.name is not None:
            tests.append({"op": "test", "path": f"{rule}/name", "value": pair.name})
        refs = route["spec"]["rules"][pair.rule]["backendRefs"]
        for index, old, new in (
            (pair.stable, pair.weights.stable, wanted.stable),
            (pair.canary, pair.weights.canary, wanted.canary),
        ):
            path = f"{rule}/backendRefs/{index}"
            tests.append({"op": "test", "path": path, "value": refs[index]})
            if old != new:
                changes.append(_set(f"{path}/weight", new))
    annotation = _annotation(route, intent)
    if annotation:
        tests += annotation[:1]
        changes += annotation[1:]
    if not changes:
        return []
    return tests + changes


def _set(path: str, value: int | None) -> Json:
    return {"op": "remove", "path": path} if value is None else {"op": "add", "path": path, "value": value}


def _annotation(route: Json, intent: Intent | None) -> list[Json]:
    """One test of what the annotation says, then its change if it has to change."""
    metadata = route.get("metadata", {})
    annotations = metadata.get("annotations")
    old = (annotations or {}).get(RUN_ANNOTATION)
    new = intent.dump() if intent is not None else None
    path = f"/metadata/annotations/{RUN_ANNOTATION.replace('/', '~1')}"
    if old is not None:
        test = {"op": "test", "path": path, "value": old}
        if old == new:
            return [test]
        return [test, {"op": "remove", "path": path} if new is None else {"op": "replace", "path": path, "value": new}]
    if new is None:
        return []
    # An absent member cannot be tested for, so the version of the whole object stands in for it: with no annotations
    # at all our `add` would otherwise wipe what somebody adds meanwhile, and two controllers could both claim a route.
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": metadata.get("resourceVersion")}
    if annotations is None:
        return [test, {"op": "add", "path": "/metadata/annotations", "value": {RUN_ANNOTATION: new}}]
    return [test, {"op": "add", "path": path, "value": new}]
