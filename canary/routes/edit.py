"""Route editing as data: a JSON Patch that touches two weights per rule and one annotation, and nothing else.

Every value it relies on is guarded by a `test`: the whole backendRef as it was read (that also covers an absent
weight), the name of the rule (its matches where it has none), and the annotation. If any of them moved, the API server refuses the patch whole and
the caller reads again and decides again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canary.json_patch import add, annotate, annotation, pointer, remove, replace, test, unmoved
from canary.routes.intent import LEGACY_ANNOTATION, Intent, parse_intent, run_annotation
from canary.routes.pair import RulePair, Weights

Json = dict[str, Any]


def edit(
    route: Json, pairs: Sequence[RulePair], weights: Mapping[str, Weights], intent: Intent | None, *, rollout: str
) -> list[Json]:
    """Build the patch that gives each pair its weights and sets the annotation of a Rollout (None: removes it).

    Args:
        route: the route as it was read; the patch is only valid against it.
        pairs: the pairs found in that very route.
        weights: what each rule should say, by key; rules not named here are left alone.
        intent: what the annotation should say.
        rollout: the name of the Rollout, and so of its annotation.

    Returns:
        Operations, tests first; empty when there is nothing to change.

    """
    tests: list[Json] = []
    changes: list[Json] = []
    for pair in pairs:
        wanted = weights.get(pair.key)
        if wanted is None or wanted == pair.weights:
            continue
        rule = pointer("spec", "rules", pair.rule)
        if pair.name is not None:
            tests.append(test(rule + pointer("name"), pair.name))
        there = route["spec"]["rules"][pair.rule]
        if pair.name is None and "matches" in there:
            tests.append(test(rule + pointer("matches"), there["matches"]))
        refs = there["backendRefs"]
        for index, old, new in (
            (pair.stable, pair.weights.stable, wanted.stable),
            (pair.canary, pair.weights.canary, wanted.canary),
        ):
            path = rule + pointer("backendRefs", index)
            tests.append(test(path, refs[index]))
            if old != new:
                changes.append(_set(path + pointer("weight"), new))
    guards, ours = _annotation(route, intent, rollout)
    changes += ours
    return guards + tests + changes if changes else []


def _set(path: str, value: int | None) -> Json:
    return remove(path) if value is None else add(path, value)


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
