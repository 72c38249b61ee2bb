"""What a run has written to a route, as far as it is believed: by what is on record in the status first, then by what the route says.

Whoever may write a route may write its annotation. So that says no more than the record does, or than what is declared: of
the declared pair in the declared rules it can tell what the status has lost, and of whatever else it tells nothing
(docs/decisions/0075).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from canary.model.rollout import RolloutSpec, RouteRef
from canary.model.status import RolloutStatus
from canary.routes.added import Added, mark_of, recorded
from canary.routes.adding import AddRule, standing
from canary.routes.intent import Intent
from canary.routes.opt_in import additions
from canary.routes.pair import Pair
from canary.routes.reading import Json, RouteReading
from canary.routes.rules import RulePair


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the status says of a route: which pair a run moves there, in which rules (what identifies each, by its key then)."""

    pair: Pair
    rules: Mapping[str, str]
    owned: bool
    """Whether the run had written it."""
    said: bool = True
    """Whether the pair is on record, and not only what is declared now."""
    added: Mapping[str, str] = field(default_factory=dict)
    planned: frozenset[str] = frozenset()
    """The marks of rules without a name of which it is on record where the run adds them."""

    def given(self, reading: RouteReading) -> bool:
        """Whether the route still gives the canary of this pair something, of what this run has written."""
        rules = reading.recorded(self.pair, self.rules)
        copied = reading.copied(self.pair)
        some = any(rule.weights.share or copied.get(rule.key) for rule in rules)
        return some or any(standing(reading, self.pair, recorded(self.added, {})).said.values())


@dataclass(frozen=True, slots=True)
class Bound:
    """What a run has written to a route: of which pair, in which rules, as they are now."""

    pair: Pair
    rules: tuple[RulePair, ...]


def remembered(status: RolloutStatus, ref: RouteRef, declared: Pair) -> Remembered | None:
    """What the status remembers of a route, if a run is under way."""
    record = status.route(ref.kind, ref.name)
    if not status.active or record is None:
        return None
    rules = {key: record.rules.get(key, "") for key in record.baseline}
    added, planned = record.added if record.owned else {}, frozenset(record.places)
    try:
        return Remembered(Pair.parse(record.pair), rules, record.owned, added=added, planned=planned)
    except ValueError:  # of a version that kept no record of it
        return Remembered(declared, rules, record.owned, said=False, added=added, planned=planned)


def told(reading: RouteReading, intent: Intent, declared: Pair, record: Remembered | None) -> Pair | None:
    """Which pair an annotation is of, as far as it is believed; None: it is none that a run could have left.

    What the status has on record of this run is believed more, until nothing of it is left on the route: then what is declared
    now may be what the next run writes. Where nothing is on record, nothing but the declared pair can have been written.
    """
    said = intent.pair or declared
    if record is None or not record.said:
        return said if said == declared else None
    if said == declared and not said.turns(record.pair) and not (record.owned and record.given(reading)):
        return said
    return record.pair


def bound(
    reading: RouteReading, ref: RouteRef, declared: Pair, intent: Intent | None, record: Remembered | None
) -> Bound | None:
    """What a run has written to a route; None: nothing, as far as anybody knows.

    All that is on record, whatever the annotation leaves out; and besides, of what that names, the declared pair in declared
    rules, and rules that are on record as those of a run that had not written them yet. `intent`: with the pair that is believed.
    """
    if intent is None or intent.pair is None:
        return Bound(record.pair, _on_record(reading, record)) if record is not None and record.owned else None
    pair = intent.pair
    ours = (
        {rule.key: rule for rule in _on_record(reading, record)} if record is not None and record.pair == pair else {}
    )
    named = {rule.key: rule for rule in reading.recorded(pair, intent.recorded)}
    found = {
        key: rule
        for key, rule in named.items()
        if key in ours or (pair == declared and _is_declared(rule, ref) and _may_be_ours(rule, pair, intent))
    }
    if record is not None and record.owned:
        found = {**found, **ours}
    return Bound(pair, tuple(sorted(found.values(), key=lambda rule: rule.rule)))


def _is_declared(rule: RulePair, ref: RouteRef) -> bool:
    return not ref.rules or rule.name in ref.rules


def _may_be_ours(rule: RulePair, pair: Pair, intent: Intent) -> bool:
    """Whether a rule of which nothing is on record lists the pair; or has been damaged since a run wrote just what it gives the canary.

    By the very ports: another one of the canary's Service is somebody else's. A rule that the canary alone serves may be one that
    its owner has prepared. Nobody can tell it from one that has lost stable but by what the annotation says of it; nothing more
    can come of that than that the canary loses it.
    """
    if not rule.damaged:
        return True
    refs = rule.document["backendRefs"]
    places = {rule.canary, *rule.surplus, *(() if rule.lacking else (rule.stable,))}
    if not all(_names(pair, refs[place], rule.namespace) for place in places):
        return False
    if not rule.lacking:
        return True
    wrote = {
        intent_key: said for intent_key, said in intent.weights.items() if intent.rules.get(intent_key) == rule.digest
    }
    partly = [
        said for said in wrote.values() if 0 < said.share < 100 and said.filled.canary == rule.weights.filled.canary
    ]
    return not rule.replaced and bool(partly)


def _names(pair: Pair, ref: Json, namespace: str) -> bool:
    return pair.canary.is_named_by(ref, namespace) or pair.stable.is_named_by(ref, namespace)


def _on_record(reading: RouteReading, record: Remembered) -> tuple[RulePair, ...]:
    return reading.recorded(record.pair, record.rules)


def proven(
    spec: RolloutSpec, ref: RouteRef, reading: RouteReading, pair: Pair, intent: Intent, record: Remembered | None
) -> Intent:
    """The same, with no other rules that were added than a run of this Rollout has added for all that anybody can tell.

    Those on record; those that go by a name that only we give, which ends in the mark of the rule; and without a name those that
    are, word for word, what a declared step adds.
    """
    if not intent.added:
        return intent
    noted = record.added.keys() | record.planned if record is not None else frozenset[str]()
    known = {mark: said for mark, said in intent.added.items() if mark in noted}
    rest = {mark: said for mark, said in intent.added.items() if mark not in known}
    by_step = {entry.mark: entry for entry in _declared(spec, ref, reading, pair, intent.added)} if rest else {}
    alike = {mark: [rule for rule in reading.rules if _mark(rule, reading.namespace) == mark] for mark in rest}
    ours = {
        mark: said
        for mark, said in rest.items()
        if _named_by_us(reading, mark, said, alike[mark]) or _as_declared(by_step.get(mark), alike[mark])
    }
    kept = {mark: said for mark, said in intent.added.items() if mark in known or mark in ours}
    return intent if kept == intent.added else replace(intent, added=kept)


def _named_by_us(reading: RouteReading, mark: str, said: Added, alike: list[Json]) -> bool:
    if said.name is None or not said.name.endswith(f"-canary-{mark}"):
        return False
    there = any(rule.get("name") == said.name for rule in reading.rules)
    return there and all(rule.get("name") == said.name for rule in alike)


def _as_declared(entry: AddRule | None, alike: list[Json]) -> bool:
    return entry is not None and bool(alike) and all(_same(rule, entry.rule) for rule in alike)


def _same(there: Json, ours: Json) -> bool:
    """Of a backendRef the API server fills in members; that it is for the same backend is in the mark.

    An empty list says what none says: one is left where our copies were all that a rule has filters for.
    """
    first, second = (
        {**{name: said for name, said in rule.items() if said != []}, "backendRefs": _filters(rule)}
        for rule in (there, ours)
    )
    return first == second


def _filters(rule: Json) -> list[object]:
    return [ref.get("filters") or [] for ref in rule["backendRefs"]]


def _mark(rule: Json, namespace: str) -> str:
    return mark_of(rule, namespace) if rule.get("backendRefs") else ""


def _declared(
    spec: RolloutSpec, ref: RouteRef, reading: RouteReading, pair: Pair, noted: Mapping[str, Added]
) -> Iterator[AddRule]:
    """Whatever rules the declared steps would add to the route as it is without those that are said to be added."""
    for step in spec.steps:
        wanted = additions(step, ref, reading, pair, noted, at_rest=True)
        if isinstance(wanted, tuple):
            yield from wanted
