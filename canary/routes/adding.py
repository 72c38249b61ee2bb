"""A rule of our own in a route: put behind all others, recognised by what it is like, and taken away wherever it is by then.

It has no counterpart of the user's to go by. So a record keeps its mark (`added.mark_of`), by which it is found after
others were inserted, removed or reordered; of one that has a name that says it too, which nobody but us gives. An edited one without
a name is found by what our own record adds to that. Why it goes last: docs/decisions/0029; whose an edited one is: 0079.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from canary.json_patch import add, pointer, test
from canary.json_patch import replace as replaced
from canary.model.rollout import digest
from canary.routes.added import Added, Spot, mark_of, name_end
from canary.routes.entry import NOTHING, Edit
from canary.routes.identity import rule_key
from canary.routes.matching import covers
from canary.routes.pair import Pair, weight_of
from canary.routes.precedence import matches_of
from canary.routes.reading import RouteReading

Json = dict[str, Any]

RULES = pointer("spec", "rules")


@dataclass(frozen=True, slots=True)
class AddRule:
    """A rule stands in the route, added behind all others; `mark` is what it is found by."""

    rule: Json = field(hash=False)
    mark: str
    known: bool = field(default=False, compare=False)
    """Whether our own record has it as one that is there."""
    spot: Spot | None = field(default=None, compare=False)
    """Where it was last, or is to come."""
    others: frozenset[str] = field(default=frozenset(), compare=False)
    """The marks of the other rules on record."""

    @classmethod
    def of(cls, rule: Json, namespace: str) -> AddRule:
        """Add a rule to a route of a namespace."""
        return cls(rule, mark_of(rule, namespace))

    def among(self, record: Mapping[str, Added]) -> AddRule:
        """The same, found by what is on record of it."""
        others, said = frozenset(record) - {self.mark}, record.get(self.mark)
        if said is None:
            return replace(self, others=others)
        return replace(self, known=said.known, spot=said.spot or self.spot, others=others)

    @property
    def removal(self) -> RemoveRule:
        """What takes it away again."""
        return RemoveRule(self.mark, self.rule.get("name"), self.known, self.spot, self.others)

    @property
    def said(self) -> str:
        """A digest of what else it says: `Standing.said` of the rule in a route when nothing of it was edited."""
        return digest(_rest(self.rule))

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """Append it, or give one that was edited back what it said.

        All rules are tested, whole, before it comes: how it ranks among them was computed from what they said.
        """
        place = self._place(route, pair)
        if place is not None:
            there = _rules(route)[place]
            if _said(there, self.mark, pair, route.namespace) == self.said:
                return NOTHING
            rule = RULES + pointer(place)
            return Edit((test(rule, there),), (replaced(rule, copy.deepcopy(self.rule)),))
        return Edit((test(RULES, _rules(route)),), (add(RULES + "/-", copy.deepcopy(self.rule)),))

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """What else a rule says is compared as well: a copy without its filters or timeouts would be another rule."""
        place = replace(self.removal, known=True).place(answer, pair)  # it has just been written
        if place is not None and _said(_rules(answer)[place], self.mark, pair, answer.namespace) == self.said:
            return ""
        keeps = "another one" if place is not None else "none like it"
        return (
            f"{answer.name} was given a rule for opted-in requests, and the API server keeps {keeps}: an admission webhook or "
            "policy changes our write, or older definitions of the Gateway API drop a part of it; let them leave rules alone"
        )

    def raises(self, route: RouteReading, pair: Pair) -> bool:
        """It gives the canary the requests that opt in."""
        place = self._place(route, pair)
        return place is None or _given(_rules(route)[place], pair, route.namespace) < ALL

    def narrowed_to(self, kind: str, rule: Json) -> bool:
        """Whether another rule is plainly for such requests only as this one is for. `kind`: of the route."""
        ours, theirs = matches_of(kind, self.rule), matches_of(kind, rule)
        return all(any(covers(kind, wide, narrow) for wide in ours) for narrow in theirs)

    def _place(self, route: RouteReading, pair: Pair) -> int | None:
        return self.removal.place(route, pair)


@dataclass(frozen=True, slots=True)
class RemoveRule:
    """A rule that was added is gone; `name` is the one that it was given, if any."""

    mark: str
    name: str | None = None
    known: bool = False
    """Whether our own record has it as one that is there: then it is found although somebody has edited it, name or not."""
    spot: Spot | None = None
    """Where it was last, by our own record."""
    others: frozenset[str] = frozenset()
    """The marks of the other rules on record: what is one of these is not this one."""

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """Take it away from where it is, and from under whatever was put behind it. It is tested, whole."""
        place = self.place(route, pair)
        if place is None:
            return NOTHING
        return Edit((test(RULES + pointer(place), _rules(route)[place]),), removes=(place,))

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """One that is like it and goes by another name is somebody else's."""
        place = self.place(answer, pair)
        if place is None or _rules(answer)[place].get("name") != self.name:
            return ""
        return (
            f"the rule that was added to {answer.name} was taken away, and the API server keeps one like it: an admission "
            "webhook or policy changes our write; let it leave rules alone"
        )

    def raises(self, route: RouteReading, pair: Pair) -> bool:  # noqa: ARG002 - as every entry
        """Never."""
        return False

    def place(self, route: RouteReading, pair: Pair) -> int | None:
        """Where the rule is: by the name it was given first, else by what it is like; of several the last. None: nowhere, as far as can be told."""
        rules, namespace = _rules(route), route.namespace
        alike = [index for index, rule in enumerate(rules) if _is_it(rule, self.mark, pair, namespace)]
        named = [index for index in alike if rules[index].get("name") == self.name]
        if not named and self.name is not None and self.name.endswith(name_end(self.mark)):
            named = [index for index, rule in enumerate(rules) if self._is_ours_by_name(rule, pair, namespace)]
        if not (named or alike) and self.known and self.name is None:
            alike = [index for index, rule in enumerate(rules) if self._is_divided(rule, pair, namespace)]
            alike = alike or [*self._edited_in_place(rules, pair, namespace)]
        return max(named or alike, default=None)

    def _is_ours_by_name(self, rule: Json, pair: Pair, namespace: str) -> bool:
        """Whether a rule goes by the name that we have given it, and has not been made one that has nothing to do with the canary."""
        if rule.get("name") != self.name:
            return False
        refs = rule.get("backendRefs") or []
        if not refs:
            return not _answers_itself(rule)
        return any(pair.means_canary(ref, namespace) for ref in refs) or _of_the_pair(refs, pair, namespace)

    def _is_divided(self, rule: Json, pair: Pair, namespace: str) -> bool:
        """Whether a rule without a name matches what ours does, and is for nobody but our pair, by whatever weights."""
        refs = rule.get("backendRefs") or []
        return (
            rule.get("name") is None
            and bool(refs)
            and _of_the_pair(refs, pair, namespace)
            and _mark_with(pair, rule, namespace) == self.mark
        )

    def _edited_in_place(self, rules: list[Json], pair: Pair, namespace: str) -> Iterator[int]:
        """Where ours was, if no rule has come or gone since, and what is there has no name, and is for nobody but our pair."""
        if self.spot is None or self.spot.of != len(rules):
            return
        rule = rules[self.spot.index]
        refs = rule.get("backendRefs") or []
        some = any(pair.means_canary(ref, namespace) for ref in refs)
        plain = rule.get("name") is None and some and _of_the_pair(refs, pair, namespace)
        if plain and mark_of(rule, namespace) not in self.others:
            yield self.spot.index


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in a route of the rules that a run has added to it."""

    said: Mapping[str, str] = field(default_factory=dict)
    """A digest of what else each of them says, by its mark; empty where somebody has taken the canary, or its weight, from it."""
    behind: tuple[str, ...] = ()
    """The keys of rules that somebody has put behind one of them."""
    shares: Mapping[str, Fraction] = field(default_factory=dict)
    """What share (percent) of the requests that it is for each of them gives the canary, by its mark."""
    edited: Mapping[str, Json] = field(default_factory=dict)
    """Those of which somebody has edited what they match or whom they are for, as they are."""
    rematched: frozenset[str] = frozenset()
    """The marks of those that are for other requests than they were added for."""
    spots: Mapping[str, Spot] = field(default_factory=dict)
    """Where each of them is."""

    @property
    def places(self) -> frozenset[int]:
        """The indexes of all of them."""
        return frozenset(spot.index for spot in self.spots.values())


NONE_STANDING = Standing()
ALL = Fraction(100)


def standing(route: RouteReading, pair: Pair, record: Mapping[str, Added]) -> Standing:
    """Find the rules of a record; those that somebody has taken away are not in it."""
    if not record:
        return NONE_STANDING
    places = {entry.mark: entry.place(route, pair) for entry in removals(record)}
    there = {mark: place for mark, place in places.items() if place is not None}
    if not there:
        return NONE_STANDING
    first = min(there.values())
    rules, namespace = _rules(route), route.namespace
    return Standing(
        {mark: _said(rules[place], mark, pair, namespace) for mark, place in there.items()},
        tuple(
            rule_key(index, rule) for index, rule in enumerate(rules) if index > first and index not in there.values()
        ),
        {mark: _given(rules[place], pair, namespace) for mark, place in there.items()},
        {
            mark: rules[place]
            for mark, place in there.items()
            if rules[place].get("backendRefs") and not _is_it(rules[place], mark, pair, namespace)
        },
        frozenset(mark for mark, place in there.items() if _mark_with(pair, rules[place], namespace) != mark),
        {mark: Spot(place, len(rules)) for mark, place in there.items()},
    )


def removals(record: Mapping[str, Added], *, besides: Collection[str] = ()) -> tuple[RemoveRule, ...]:
    """What takes away every rule of a record, wherever it is. `besides`: the marks of rules that come meanwhile."""
    marks = frozenset(record).union(besides)
    return tuple(RemoveRule(mark, said.name, said.known, said.spot, marks - {mark}) for mark, said in record.items())


def without(route: RouteReading, pair: Pair, added: Iterable[RemoveRule]) -> RouteReading:
    """A route as it is without rules that were added: what the ranks of new ones are computed from."""
    gone = {rule.place(route, pair) for rule in added} - {None}
    if not gone:
        return route
    left = [rule for index, rule in enumerate(_rules(route)) if index not in gone]
    return RouteReading({**route.document, "spec": {**route.document["spec"], "rules": left}})


def _rules(route: RouteReading) -> list[Json]:
    return route.rules


def _is_it(rule: Json, mark: str, pair: Pair, namespace: str) -> bool:
    """Whether a rule has this mark and is for our canary alone; or has no backend any more, and would have the mark with that one.

    What answers without a backend is not meant by that: whoever redirects, or has a filter of a gateway's own, needs none.
    """
    refs: list[Json] = rule.get("backendRefs") or []
    if refs:
        alone = len(refs) == 1 and pair.canary.is_named_by(refs[0], namespace) and weight_of(refs[0].get("weight")) > 0
        return alone and mark_of(rule, namespace) == mark
    return not _answers_itself(rule) and _mark_with(pair, rule, namespace) == mark


def _answers_itself(rule: Json) -> bool:
    return any(item.get("type") in {"RequestRedirect", "ExtensionRef"} for item in rule.get("filters") or ())


def _mark_with(pair: Pair, rule: Json, namespace: str) -> str:
    """The mark that a rule would have if it were for the canary alone: whatever it lists, a digest of what it matches."""
    canary = pair.canary
    ref = {"name": canary.service, "namespace": canary.namespace, "port": canary.port}
    return mark_of({**rule, "backendRefs": [ref]}, namespace)


def _of_the_pair(refs: Iterable[Json], pair: Pair, namespace: str) -> bool:
    """On whatever port: somebody may have edited that of all rules."""
    return all(pair.means_canary(ref, namespace) or pair.may_mean_stable(ref, namespace) for ref in refs)


def _given(rule: Json, pair: Pair, namespace: str) -> Fraction:
    """What share (percent) of its requests a rule gives the canary."""
    weights = [
        (weight_of(ref.get("weight")), pair.means_canary(ref, namespace)) for ref in rule.get("backendRefs") or ()
    ]
    total = sum(weight for weight, _ in weights)
    return ALL * sum(weight for weight, ours in weights if ours) / total if total else Fraction(0)


def _said(rule: Json, mark: str, pair: Pair, namespace: str) -> str:
    """A digest of what else a rule of ours says; another one than ever was written where it was edited; empty where the canary gets nothing by it."""
    if not _given(rule, pair, namespace):
        return ""
    return digest(_rest(rule) if _is_it(rule, mark, pair, namespace) else ["edited", rule])


def _rest(rule: Json) -> Json:
    """What matters of a rule besides its backend; of a backendRef the API server fills in members."""
    return {**rule, "backendRefs": [ref.get("filters") or [] for ref in rule.get("backendRefs") or ()]}
