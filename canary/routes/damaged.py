"""Rules that give the canary traffic and are no pair any more: a backend is listed twice, or stable is not listed.

No run begins with such a rule. But people edit rules in the middle of a run, and what it has written there does not end with that:
whatever the rule gives to the canary's Service counts as given, and the way back takes it (docs/decisions/0071).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
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
            found.append((next(known, None) if marks else None) or _with_the_only_other(likeliest))
    return tuple(found)


def _with_the_only_other(pair: RulePair) -> RulePair:
    """Of a rule that has lost stable, and of which nobody knows what it was like: what has stable's place, where one backend alone can have."""
    if not pair.lacking:
        return pair
    others = [
        ref for place, ref in enumerate(pair.document["backendRefs"]) if place not in {pair.canary, *pair.surplus}
    ]
    return replace(pair, instead=_service(others[0], pair.namespace)) if len(others) == 1 else pair


def damage_words(route: Json, pair: RulePair, both: Pair) -> str:
    """What is wrong with a rule that has lost stable, and what to do."""
    metadata = route.get("metadata", {})
    namespace = metadata.get("namespace", "")
    where = f"{rule_words(route['spec']['rules'], pair.rule)} of route {metadata.get('name', '')}"
    stable, canary = (backend_words(backend, namespace) for backend in (both.stable, both.canary))
    return f"{where} lists {canary}, and {stable} no more; list stable there again, or take the canary out"


def doubt_words(route: Json, pairs: Collection[RulePair]) -> str:
    """That rules may be what a run has written, and are not those that the spec names, and what to do."""
    rules = " and ".join(rule_words(route["spec"]["rules"], pair.rule) for pair in pairs)
    name = route.get("metadata", {}).get("name", "")
    return (
        f"{rules} of route {name} may be what this run has written, by a name that another rule has now; "
        "give that name back, or abort"
    )


Guess = tuple[int | None, list[Json]]
"""Which reference of a rule has stable's place now (None: none has), and what the rule listed before."""


def _before(index: int, rule: Json, both: Pair, namespace: str) -> Iterator[RulePair]:
    """A damaged rule, once for each way in which it may have been before; the likeliest first.

    Stable is what is listed as that; else what is listed of its Service on another port (docs/decisions/0077).
    """
    refs: list[Json] = rule.get("backendRefs") or []
    stable = [place for place, ref in enumerate(refs) if both.stable.is_named_by(ref, namespace)]
    canary = [place for place, ref in enumerate(refs) if both.means_canary(ref, namespace)]
    if not canary or (len(stable) == len(canary) == 1 and both.canary.is_named_by(refs[canary[0]], namespace)):
        return
    elsewhere = [place for place, ref in enumerate(refs) if not stable and both.may_mean_stable(ref, namespace)]
    stands = [*stable, *elsewhere[:1]]
    given = {*stands, *canary}
    others = min(sum(weight_of(ref.get("weight")) for place, ref in enumerate(refs) if place not in given), MAX_WEIGHT)
    for place, intact in _guesses(refs, both, namespace, stable[:1], canary):
        yield RulePair(
            key=rule_key(index, rule),
            rule=index,
            name=rule.get("name"),
            stable=stands[0] if stands else canary[0],
            canary=canary[0],
            weights=Weights(_sum(refs, stands) if stands else others, _sum(refs, canary)),
            others=others if stands else 0,
            document=rule,
            namespace=namespace,
            copied_to=both.copied_to,
            surplus=(*stable[1:], *canary[1:]),
            lacking=not stands,
            elsewhere=bool(elsewhere),
            instead=None if stands or place is None else _service(refs[place], namespace),
            intact={**rule, "backendRefs": intact},
        )


def _guesses(refs: list[Json], both: Pair, namespace: str, stable: list[int], canary: list[int]) -> Iterator[Guess]:
    """What a rule may have listed. `stable`: where that is, if it is listed; `canary`: where all that is of it."""
    ours = {canary[0]: both.canary.ref(namespace), **{place: both.stable.ref(namespace) for place in stable}}
    left = [
        (place, ours.get(place, ref))
        for place, ref in enumerate(refs)
        if place in ours or not (place in canary or both.stable.is_named_by(ref, namespace))
    ]  # each of the pair once
    before: list[Guess] = (
        [(None, [ref for _, ref in left])] if stable else [*_with_stable(left, both, namespace, canary[0])]
    )
    yield from before
    yield from _with_one_less(before, both, namespace)


def _with_stable(left: list[tuple[int, Json]], both: Pair, namespace: str, canary: int) -> Iterator[Guess]:
    """Where stable may have been: where its Service is now on another port, in front of the canary, where another backend is, or anywhere."""
    stable, refs = both.stable.ref(namespace), [ref for _, ref in left]
    others = [(at, place) for at, (place, _) in enumerate(left) if place != canary]
    moved = [(at, place) for at, place in others if both.may_mean_stable(refs[at], namespace)]
    for at, place in moved:
        yield place, [*refs[:at], stable, *refs[at + 1 :]]
    front = next(at for at, (place, _) in enumerate(left) if place == canary)
    yield None, [*refs[:front], stable, *refs[front:]]
    for at, place in others:
        yield place, [*refs[:at], stable, *refs[at + 1 :]]
    for at in range(len(refs) + 1):
        if at != front:
            yield None, [*refs[:at], stable, *refs[at:]]


def _with_one_less(guesses: list[Guess], both: Pair, namespace: str) -> Iterator[Guess]:
    """The same, before somebody listed one backend more."""
    for stands, refs in guesses:
        for at, ref in enumerate(refs):
            if not both.stable.is_named_by(ref, namespace) and not both.canary.is_named_by(ref, namespace):
                yield stands, [*refs[:at], *refs[at + 1 :]]


def _service(ref: Json, namespace: str) -> Backend | None:
    """What a reference is to, where that is a Service."""
    if (ref.get("kind") or "Service") != "Service" or ref.get("group") or not isinstance(ref.get("port"), int):
        return None
    return Backend(ref["name"], ref.get("namespace") or namespace, ref["port"])


def _sum(refs: list[Json], places: list[int]) -> int | None:
    """As it is written where it is one; at most what a route may say where they are several."""
    if len(places) == 1:
        weight: int | None = refs[places[0]].get("weight")
        return weight
    return min(sum(weight_of(refs[place].get("weight")) for place in places), MAX_WEIGHT)
