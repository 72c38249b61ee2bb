"""One route as a Rollout sees it: what it declares to drive there, and what its run has written there.

The two are the same until somebody edits `stable`, `canary` or `routes` in the middle of a run. What was written is then
found by what the run has left on record (the annotation on the route, else the status), so that it can be put back.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from canary.decide.facts import RouteView, RuleView
from canary.errors import SpecError
from canary.model.rollout import RolloutSpec, RouteKind, RouteRef
from canary.model.status import RolloutStatus
from canary.routes.acceptance import acceptance
from canary.routes.intent import LEGACY_ANNOTATION, Intent, Mode, parse_intent, run_annotation
from canary.routes.pair import Pair, RulePair, bound_pairs, read_pairs

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a Rollout of a namespace, by name, with the spec that holds and the state that the last decision left."""

    name: str
    namespace: str
    spec: RolloutSpec
    status: RolloutStatus

    @property
    def pair(self) -> Pair:
        """What is declared, by its present role."""
        return Pair.of(self.spec, self.namespace, swapped=self.status.swapped)

    @property
    def started(self) -> bool:
        """Whether a run of the plan as it is now has begun to write: then what does not fit is the route's doing."""
        status = self.status
        return (
            status.active
            and status.run is not None
            and status.step is not None
            and status.step.index > 0
            and status.run.plan == self.spec.plan_hash()
        )


@dataclass(frozen=True, slots=True)
class _Bound:
    """What a run has written to a route: of which pair, in which rules (by key)."""

    pair: Pair
    keys: AbstractSet[str]


def view(viewer: Viewer, ref: RouteRef, document: Json | None, *, writer: str = "", declared: bool = True) -> RouteView:
    """Look at a route (None: it does not exist). `declared` False: only a run's record names it, the spec does not."""
    pair = viewer.pair
    if document is None:
        return RouteView(kind=ref.kind, name=ref.name, pair=pair, exists=False, declared=declared)
    intent, unreadable = _intent(document, viewer.name)
    problem, found = _declared(document, ref, pair)
    stale = False
    bound = _bound(viewer, ref, intent, pair)
    if bound is not None:
        kept = bound_pairs(document, bound.pair, bound.keys)
        left = {rule.key for rule in kept}
        if (
            bound.pair != pair
            or (kept and problem and not viewer.started)
            or (not problem and not left <= {rule.key for rule in found})
        ):
            stale = True
        if stale:
            pair, found, problem = bound.pair, kept, ""
    return RouteView(
        kind=RouteKind.HTTP,
        name=ref.name,
        pair=pair,
        generation=document.get("metadata", {}).get("generation", 0),
        rules=tuple(RuleView(rule.key, rule.weights, rule.others) for rule in found),
        intent=intent,
        acceptance=acceptance(document),
        writer=writer,
        problem=problem,
        declared=declared,
        stale=stale,
        unreadable=unreadable,
    )


def _declared(document: Json, ref: RouteRef, pair: Pair) -> tuple[str, tuple[RulePair, ...]]:
    try:
        return "", read_pairs(document, pair, ref.rules)
    except SpecError as error:
        return error.message, ()


def _intent(document: Json, rollout: str) -> tuple[Intent | None, bool]:
    """What the annotations say of a Rollout's run, and whether its own says something that makes no sense."""
    annotations = document.get("metadata", {}).get("annotations") or {}
    raw = annotations.get(run_annotation(rollout))
    own, legacy = parse_intent(raw), parse_intent(annotations.get(LEGACY_ANNOTATION))
    mine = [intent for intent in (own, legacy) if intent is not None and intent.rollout == rollout]
    # Both are there only where a version that knows one of them ran after one that knows the other: the later run counts,
    # and of one run its end.
    newest = max(mine, key=lambda intent: (intent.run, intent.mode is not Mode.STEP, intent.step), default=None)
    return newest, raw is not None and (own is None or own.rollout != rollout)


def _bound(viewer: Viewer, ref: RouteRef, intent: Intent | None, pair: Pair) -> _Bound | None:
    if intent is not None:
        return _Bound(intent.pair or pair, intent.baseline.keys())
    remembered = viewer.status.route(ref.kind, ref.name)
    if not viewer.status.active or remembered is None or not remembered.owned:
        return None
    try:
        return _Bound(Pair.parse(remembered.pair), remembered.baseline.keys())
    except ValueError:  # of a version that kept no record of it
        return _Bound(pair, remembered.baseline.keys())
