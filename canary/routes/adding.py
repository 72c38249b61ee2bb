"""A rule of our own in a route: put behind all others, recognised by what it is like, and taken away wherever it is by then.

It has no counterpart of the user's to go by. So a record keeps its digest (`identity.rule_digest`), by which it is found after
others were inserted, removed or reordered; what does not send all it gets to our canary alone is never taken for it,
whatever a record says. Why it goes last: docs/decisions/0029.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from canary.json_patch import add, pointer, test
from canary.routes.entry import NOTHING, Edit
from canary.routes.identity import rule_digest
from canary.routes.pair import Pair, weight_of
from canary.routes.reading import RouteReading

Json = dict[str, Any]

RULES = pointer("spec", "rules")


@dataclass(frozen=True, slots=True)
class AddRule:
    """A rule stands in the route, added behind all others; `mark` is its digest."""

    rule: Json = field(hash=False)
    mark: str

    @classmethod
    def of(cls, rule: Json, namespace: str) -> AddRule:
        """Add a rule to a route of a namespace."""
        return cls(rule, rule_digest(rule, namespace))

    @property
    def removal(self) -> RemoveRule:
        """What takes it away again."""
        return RemoveRule(self.mark, self.rule.get("name"))

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """Append it. All rules are tested, whole: how it ranks among them was computed from what they said."""
        if _place(route, pair, self.mark, self.rule.get("name")) is not None:
            return NOTHING
        return Edit((test(RULES, _rules(route)),), (add(RULES + "/-", copy.deepcopy(self.rule)),))

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """What else a rule says is compared as well: a copy without its filters or timeouts would be another rule."""
        place = _place(answer, pair, self.mark, self.rule.get("name"))
        if place is not None and _alike(_rules(answer)[place], self.rule):
            return ""
        keeps = "another one" if place is not None else "none like it"
        return (
            f"{answer.name} was given a rule for opted-in requests, and the API server keeps {keeps}: an admission webhook or "
            "policy changes our write, or older definitions of the Gateway API drop a part of it; let them leave rules alone"
        )

    def raises(self, route: RouteReading, pair: Pair) -> bool:
        """It gives the canary the requests that opt in."""
        return _place(route, pair, self.mark, self.rule.get("name")) is None


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
    alike = [
        index
        for index, rule in enumerate(_rules(route))
        if _canary_alone(rule, pair, namespace) and rule_digest(rule, namespace) == mark
    ]
    named = [index for index in alike if _rules(route)[index].get("name") == name]
    return max(named or alike, default=None)


def _canary_alone(rule: Json, pair: Pair, namespace: str) -> bool:
    refs: list[Json] = rule.get("backendRefs") or []
    return len(refs) == 1 and pair.canary.is_named_by(refs[0], namespace) and weight_of(refs[0].get("weight")) > 0


def _alike(there: Json, ours: Json) -> bool:
    """Whether two rules of one digest agree in all else that matters; of a backendRef the API server fills in members."""
    return _rest(there) == _rest(ours)


def _rest(rule: Json) -> Json:
    return {**rule, "backendRefs": [ref.get("filters") or [] for ref in rule["backendRefs"]]}
