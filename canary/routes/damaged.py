"""Rules that give the canary traffic and are no pair any more: a backend is listed twice, or stable is not listed.

No run begins with such a rule. But people edit rules in the middle of a run, and what it has written there does not end with that:
whatever the rule gives to the canary's Service counts as given, and the way back takes it (docs/decisions/0071).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

from canary.routes.identity import rule_key
from canary.routes.pair import MAX_WEIGHT, Backend, Pair, Weights, weight_of
from canary.routes.rules import RulePair
from canary.routes.unpaired import backend_words, rule_words

Json = dict[str, Any]


def damaged_pairs(route: Json, both: Pair, marks: Collection[str] = ()) -> tuple[RulePair, ...]:
    """Find every rule that names the canary and does not list the pair once each. Never raises.

    `marks`: what identified rules (see `rule_digest`) when they were written. A rule that may have been one of these is taken for it.
    """
    namespace = route.get("metadata", {}).get("namespace", "")
    found = []
    for index, rule in enumerate(route.get("spec", {}).get("rules") or []):
        before = _before(index, rule, both, namespace)
        likeliest = next(before, None)
        if likeliest is not None:
            known = (pair for pair in chain([likeliest], before) if pair.digest in marks)
            found.append(next(known, likeliest) if marks else likeliest)
    return tuple(found)


def damage_words(route: Json, pair: RulePair, both: Pair) -> str:
    """What is wrong with a rule that has lost stable, and what to do."""
    metadata = route.get("metadata", {})
    namespace = metadata.get("namespace", "")
    where = f"{rule_words(route['spec']['rules'], pair.rule)} of route {metadata.get('name', '')}"
    stable, canary = (backend_words(backend, namespace) for backend in (both.stable, both.canary))
    return f"{where} lists {canary}, and {stable} no more; list stable there again, or take the canary out"


def _before(index: int, rule: Json, both: Pair, namespace: str) -> Iterator[RulePair]:
    """A damaged rule, once for each way in which it may have been before; the likeliest first."""
    refs: list[Json] = rule.get("backendRefs") or []
    stable = [place for place, ref in enumerate(refs) if both.stable.is_named_by(ref, namespace)]
    canary = [place for place, ref in enumerate(refs) if _means(both, ref, namespace)]
    if not canary or (len(stable) == len(canary) == 1 and both.canary.is_named_by(refs[canary[0]], namespace)):
        return
    given = {*stable, *canary}
    others = sum(weight_of(ref.get("weight")) for place, ref in enumerate(refs) if place not in given)
    ours = {stable[0] if stable else -1: both.stable.ref(namespace), canary[0]: both.canary.ref(namespace)}
    left = [
        ours.get(place, ref) for place, ref in enumerate(refs) if place in ours or place not in given
    ]  # each of the pair once
    before = [left] if stable else [*_with_stable(left, both, namespace)]
    for intact in (*before, *_with_one_less(before, both, namespace)):
        yield RulePair(
            key=rule_key(index, rule),
            rule=index,
            name=rule.get("name"),
            stable=stable[0] if stable else canary[0],
            canary=canary[0],
            weights=Weights(_sum(refs, stable) if stable else min(others, MAX_WEIGHT), _sum(refs, canary)),
            others=others if stable else 0,
            document=rule,
            namespace=namespace,
            copied_to=both.copied_to,
            surplus=(*stable[1:], *canary[1:]),
            lacking=not stable,
            intact={**rule, "backendRefs": intact},
        )


def _with_stable(refs: list[Json], both: Pair, namespace: str) -> Iterator[list[Json]]:
    """Where stable may have been: where its Service is now on another port, in front of the canary, where another backend is, or anywhere."""
    stable = both.stable.ref(namespace)
    canary = next(place for place, ref in enumerate(refs) if both.canary.is_named_by(ref, namespace))
    moved = [place for place, ref in enumerate(refs) if place != canary and _is_of(both.stable, ref, namespace)]
    if moved:
        yield [stable if place == moved[0] else ref for place, ref in enumerate(refs) if place not in moved[1:]]
    yield [*refs[:canary], stable, *refs[canary:]]
    for place in range(len(refs)):
        if place != canary:
            yield [*refs[:place], stable, *refs[place + 1 :]]
    for place in range(len(refs) + 1):
        if place != canary:
            yield [*refs[:place], stable, *refs[place:]]


def _with_one_less(rules: list[list[Json]], both: Pair, namespace: str) -> Iterator[list[Json]]:
    """The same, before somebody listed one backend more."""
    for refs in rules:
        for place, ref in enumerate(refs):
            if not both.stable.is_named_by(ref, namespace) and not both.canary.is_named_by(ref, namespace):
                yield [*refs[:place], *refs[place + 1 :]]


def _means(both: Pair, ref: Json, namespace: str) -> bool:
    """Whether a reference is to the canary's Service, on whatever port: of one Service the port alone tells the two apart."""
    stable, canary = both.stable, both.canary
    if (stable.service, stable.namespace) == (canary.service, canary.namespace):
        return canary.is_named_by(ref, namespace)
    return _is_of(canary, ref, namespace)


def _is_of(backend: Backend, ref: Json, namespace: str) -> bool:
    """Whether a reference is to a backend's Service, on whatever port."""
    return backend.is_named_by({**ref, "port": backend.port}, namespace)


def _sum(refs: list[Json], places: list[int]) -> int | None:
    """As it is written where it is one; at most what a route may say where they are several."""
    if len(places) == 1:
        weight: int | None = refs[places[0]].get("weight")
        return weight
    return min(sum(weight_of(refs[place].get("weight")) for place in places), MAX_WEIGHT)
