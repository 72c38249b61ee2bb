"""Copies of requests to the canary, or to its comparer, as entries of a plan: a RequestMirror filter of ours, and that there is none any more.

Ours comes behind the filters that a rule has, which stay as they are and in their order. A run adds one only to a rule that sent
no copies to the canary before. So, as long as the run has the rule on record, whatever sends copies there is the run's, however
somebody has edited it since (docs/decisions/0028).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from canary.json_patch import Operation, add, pointer, remove, replace, test
from canary.model.values import decimal_text
from canary.routes.entry import NOTHING, Edit, same_rule
from canary.routes.filters import Copied, copied, filters_of, mirror_filter, mirrors, share_of
from canary.routes.identity import rule_key
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mirror:
    """One rule (by its present key) sends copies of a share of its requests to the canary, or to its comparer."""

    rule: str
    copied: Copied

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """Append the filter; or make one that is there say the share, in its place.

        A list of filters is tested whole. Where there is none the rule is: an absent member cannot be tested for.
        """
        there = route.given(pair).get(self.rule)
        if there is None or _share(there, pair) == self.copied.share:
            return NOTHING
        rule, wanted = pointer("spec", "rules", there.rule), _ours(there, pair, self.copied.share)
        filters, ours = rule + pointer("filters"), mirrors(there.document, pair.copied_to, there.namespace)
        if "filters" not in there.document:
            return Edit((test(rule, there.document),), (add(filters, [wanted]),))
        tests = (*same_rule(there), test(filters, there.document["filters"]))
        if not ours:
            return Edit(tests, (add(filters + pointer("-"), wanted),))
        surplus = tuple(remove(filters + pointer(place)) for place in reversed(ours[1:]))
        return Edit(tests, (*surplus, replace(filters + pointer(ours[0]), wanted)))

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """By the share: the API server fills in what a reference leaves out."""
        there = answer.given(pair).get(self.rule)
        share = Fraction(0) if there is None else _share(there, pair)
        if share == self.copied.share:
            return ""
        return (
            f"rule {self.rule} of {answer.name} was to mirror {decimal_text(self.copied.share)} % of its requests to "
            f"{pair.copied_to_words}, and the API server keeps {decimal_text(share)} %: an admission webhook or policy changes our write, or "
            "its definitions of the Gateway API are older than percentages"
        )

    def raises(self, route: RouteReading, pair: Pair) -> bool:
        """By the share of the requests."""
        there = route.given(pair).get(self.rule)
        return there is not None and self.copied.share > _share(there, pair)


@dataclass(frozen=True, slots=True)
class NoMirror:
    """One rule (by its present key) sends no copies to the canary, or to its comparer, any more. `copied` is what was written of it last.

    `known`: nobody but us can have put that on record, so the rule is the one even where it has lost the pair.
    """

    rule: str
    copied: Copied = field(default_factory=lambda: Copied(Fraction(0)))
    known: bool = False

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """Take away what sends copies there, and nothing else. A list that was not there before goes with the last one.

        Where somebody took the pair out of a rule that is not known, only what says exactly the share that was written:
        nothing else tells that it is ours.
        """
        there = route.given(pair).get(self.rule)
        if there is not None:
            return self._without(
                there.rule, there.document, mirrors(there.document, pair.copied_to, there.namespace), same_rule(there)
            )
        for index, rule in enumerate(route.rules):
            if rule_key(index, rule) == self.rule:
                places = mirrors(rule, pair.copied_to, route.namespace)
                ours = (
                    place for place in places if self.known or share_of(filters_of(rule)[place]) == self.copied.share
                )
                return self._without(index, rule, tuple(ours), [])
        return NOTHING

    def _without(self, index: int, rule: Json, places: tuple[int, ...], tests: list[Operation]) -> Edit:
        if not places:
            return NOTHING
        filters = pointer("spec", "rules", index, "filters")
        tests = [*tests, test(filters, rule["filters"])]
        if len(places) == len(rule["filters"]) and not self.copied.bare:
            return Edit(tuple(tests), (remove(filters),))
        return Edit(tuple(tests), tuple(remove(filters + pointer(place)) for place in reversed(places)))

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """Whether it still does, where it lists the pair."""
        there = answer.given(pair).get(self.rule)
        if there is None or not mirrors(there.document, pair.copied_to, there.namespace):
            return ""
        return (
            f"rule {self.rule} of {answer.name} was to send no copies to {pair.copied_to_words} any more, and the API server "
            "keeps the filter: an admission webhook or policy changes our write"
        )

    def raises(self, _route: RouteReading, _pair: Pair) -> bool:
        """Never."""
        return False


def _share(there: RulePair, pair: Pair) -> Fraction:
    return copied(there.document, pair.copied_to, there.namespace)


def _ours(there: RulePair, pair: Pair, share: Fraction) -> Json:
    if pair.comparer is None:
        return mirror_filter(there.document["backendRefs"][there.canary], share)
    return mirror_filter(pair.comparer.ref(there.namespace), share)
