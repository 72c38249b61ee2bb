"""A rule of our own in a route: put behind all others, recognised by what it is like, and taken away wherever it is by then.

It has no counterpart of the user's to go by. So a record keeps its mark (`added.mark_of`), by which it is found after
others were inserted, removed or reordered; what has any other backend than our canary is never taken for it,
whatever a record says. Why it goes last: docs/decisions/0029.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from canary.json_patch import add, pointer, replace, test
from canary.model.rollout import digest
from canary.routes.added import Added, mark_of
from canary.routes.entry import NOTHING, Edit
from canary.routes.identity import rule_key
from canary.routes.pair import Pair, weight_of
from canary.routes.reading import RouteReading

Json = dict[str, Any]

RULES = pointer("spec", "rules")


@dataclass(frozen=True, slots=True)
class AddRule:
    """A rule stands in the route, added behind all others; `mark` is what it is found by."""

    rule: Json = field(hash=False)
    mark: str

    @classmethod
    def of(cls, rule: Json, namespace: str) -> AddRule:
        """Add a rule to a route of a namespace."""
        return cls(rule, mark_of(rule, namespace))

    @property
    def removal(self) -> RemoveRule:
        """What takes it away again."""
        return RemoveRule(self.mark, self.rule.get("name"))

    @property
    def said(self) -> str:
        """A digest of what else it says: `Standing.said` of the rule in a route when nothing of it was edited."""
        return digest(_rest(self.rule))

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """Append it, or give one that was edited back what it said.

        All rules are tested, whole, before it comes: how it ranks among them was computed from what they said.
        """
        place = _place(route, pair, self.mark, self.rule.get("name"))
        if place is not None:
            there = _rules(route)[place]
            if _works(there) and _alike(there, self.rule):
                return NOTHING
            rule = RULES + pointer(place)
            return Edit((test(rule, there),), (replace(rule, copy.deepcopy(self.rule)),))
        return Edit((test(RULES, _rules(route)),), (add(RULES + "/-", copy.deepcopy(self.rule)),))

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """What else a rule says is compared as well: a copy without its filters or timeouts would be another rule."""
        place = _place(answer, pair, self.mark, self.rule.get("name"))
        if place is not None and _works(_rules(answer)[place]) and _alike(_rules(answer)[place], self.rule):
            return ""
        keeps = "another one" if place is not None else "none like it"
        return (
            f"{answer.name} was given a rule for opted-in requests, and the API server keeps {keeps}: an admission webhook or "
            "policy changes our write, or older definitions of the Gateway API drop a part of it; let them leave rules alone"
        )

    def raises(self, route: RouteReading, pair: Pair) -> bool:
        """It gives the canary the requests that opt in."""
        place = _place(route, pair, self.mark, self.rule.get("name"))
        return place is None or not _works(_rules(route)[place])


@dataclass(frozen=True, slots=True)
class RemoveRule:
    """A rule that was added is gone; `name` is the one that it was given, if any."""

    mark: str
    name: str | None = None

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """Take it away from where it is, and from under whatever was put behind it. It is tested, whole."""
        place = _place(route, pair, self.mark, self.name)
        if place is None:
            return NOTHING
        return Edit((test(RULES + pointer(place), _rules(route)[place]),), removes=(place,))

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """One that is like it and goes by another name is somebody else's."""
        place = _place(answer, pair, self.mark, self.name)
        if place is None or _rules(answer)[place].get("name") != self.name:
            return ""
        return (
            f"the rule that was added to {answer.name} was taken away, and the API server keeps one like it: an admission "
            "webhook or policy changes our write; let it leave rules alone"
        )

    def raises(self, route: RouteReading, pair: Pair) -> bool:  # noqa: ARG002 - as every entry
        """Never."""
        return False


@dataclass(frozen=True, slots=True)
class Standing:
    """What is in a route of the rules that a run has added to it."""

    said: Mapping[str, str] = field(default_factory=dict)
    """A digest of what else each of them says, by its mark; empty where somebody has taken its backend from it."""
    behind: tuple[str, ...] = ()
    """The keys of rules that somebody has put behind one of them."""
    places: tuple[int, ...] = ()
    """Where they stand among the rules, from 0."""


NONE_STANDING = Standing()


def standing(route: RouteReading, pair: Pair, record: Mapping[str, Added]) -> Standing:
    """Find the rules of a record; those that somebody has taken away are not in it."""
    if not record:
        return NONE_STANDING
    places = {mark: _place(route, pair, mark, said.name) for mark, said in record.items()}
    there = {mark: place for mark, place in places.items() if place is not None}
    if not there:
        return NONE_STANDING
    first = min(there.values())
    rules = _rules(route)
    return Standing(
        {mark: digest(_rest(rules[place])) if _works(rules[place]) else "" for mark, place in there.items()},
        tuple(
            rule_key(index, rule) for index, rule in enumerate(rules) if index > first and index not in there.values()
        ),
        tuple(sorted(there.values())),
    )


def removals(record: Mapping[str, Added]) -> tuple[RemoveRule, ...]:
    """What takes away every rule of a record, wherever it is."""
    return tuple(RemoveRule(mark, said.name) for mark, said in record.items())


def without(route: RouteReading, pair: Pair, added: Iterable[RemoveRule]) -> RouteReading:
    """A route as it is without rules that were added: what the ranks of new ones are computed from."""
    gone = {_place(route, pair, rule.mark, rule.name) for rule in added} - {None}
    if not gone:
        return route
    left = [rule for index, rule in enumerate(_rules(route)) if index not in gone]
    return RouteReading({**route.document, "spec": {**route.document["spec"], "rules": left}})


def _rules(route: RouteReading) -> list[Json]:
    rules: list[Json] = route.document.get("spec", {}).get("rules") or []
    return rules


def _place(route: RouteReading, pair: Pair, mark: str, name: str | None) -> int | None:
    """Where a rule is that was added: the last of those that are like it, those first that go by the name it was given."""
    namespace = route.document.get("metadata", {}).get("namespace", "")
    alike = [index for index, rule in enumerate(_rules(route)) if _is_it(rule, mark, pair, namespace)]
    named = [index for index in alike if _rules(route)[index].get("name") == name]
    return max(named or alike, default=None)


def _is_it(rule: Json, mark: str, pair: Pair, namespace: str) -> bool:
    """Whether a rule has this mark and is for our canary alone; or has no backend any more, and would have the mark with that one.

    What answers without a backend is not meant by that: whoever redirects, or has a filter of a gateway's own, needs none.
    """
    refs: list[Json] = rule.get("backendRefs") or []
    if refs:
        alone = len(refs) == 1 and pair.canary.is_named_by(refs[0], namespace) and weight_of(refs[0].get("weight")) > 0
        return alone and mark_of(rule, namespace) == mark
    if any(item.get("type") in {"RequestRedirect", "ExtensionRef"} for item in rule.get("filters") or ()):
        return False
    canary = pair.canary
    ref = {"name": canary.service, "namespace": canary.namespace, "port": canary.port}
    return mark_of({**rule, "backendRefs": [ref]}, namespace) == mark


def _works(rule: Json) -> bool:
    """Whether a rule of ours sends anything to the canary."""
    return bool(rule.get("backendRefs"))


def _alike(there: Json, ours: Json) -> bool:
    """Whether two rules of one digest agree in all else that matters; of a backendRef the API server fills in members."""
    return _rest(there) == _rest(ours)


def _rest(rule: Json) -> Json:
    return {**rule, "backendRefs": [ref.get("filters") or [] for ref in rule.get("backendRefs") or ()]}
