"""A route document, walked once: whoever looks at the same version of it again finds what was found before.

A version is looked at in every tick of every run that drives it, by whoever sorts out who drives what, and by whoever writes.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Mapping
from fractions import Fraction
from functools import cached_property
from typing import Any

from canary.errors import SpecError
from canary.model.rollout import digest
from canary.routes.acceptance import Acceptance, Answer, answers, summary
from canary.routes.damaged import damaged_pairs
from canary.routes.filters import copied, mirrors
from canary.routes.identity import candidates, moved, rule_key
from canary.routes.intent import (
    PREFIX,
    Intent,
    names_run,
    parse_intent,
    recorded_intent,
    recorded_intents,
    run_annotation,
)
from canary.routes.pair import Pair
from canary.routes.rules import RulePair, every_pair, read_pairs

Json = dict[str, Any]

Declared = tuple[str, tuple[RulePair, ...]]


_Asked = tuple[Pair, tuple[tuple[str, str], ...]]
"""A pair and a record of rules."""


class RouteReading:
    """What one version of a route says. The document is not changed by anybody."""

    def __init__(self, document: Json) -> None:
        self.document = document
        self._declared: dict[tuple[Pair, tuple[str, ...]], Declared] = {}
        self._every: dict[Pair, tuple[RulePair, ...]] = {}
        self._damaged: dict[Pair, tuple[RulePair, ...]] = {}
        self._copied: dict[Pair, dict[str, Fraction]] = {}
        self._recorded: dict[_Asked, tuple[RulePair, ...]] = {}
        self._moved: dict[_Asked, Mapping[str, str]] = {}
        self._intents: dict[str, tuple[Intent | None, bool]] = {}
        self.asked = 0
        """From which generation on an answer of a gateway counts; 0: that is the current one."""
        self._answers: dict[int, tuple[Answer, ...]] = {}
        self._about: dict[frozenset[int], str] = {}
        self._named: dict[Pair, str] = {}
        self.found: dict[object, Any] = {}
        """What others have found out about this version, by keys of their own."""

    @classmethod
    def of(cls, document: Json | RouteReading) -> RouteReading:
        """A document that nobody has walked yet, or one that somebody has."""
        return document if isinstance(document, RouteReading) else cls(document)

    @property
    def name(self) -> str:
        """Of the route."""
        return str(self.document.get("metadata", {}).get("name", ""))

    @property
    def namespace(self) -> str:
        """Of the route."""
        return str(self.document.get("metadata", {}).get("namespace", ""))

    @property
    def rules(self) -> list[Json]:
        """Of the route, in their order."""
        rules: list[Json] = self.document.get("spec", {}).get("rules") or []
        return rules

    @property
    def generation(self) -> int:
        generation: int = self.document.get("metadata", {}).get("generation", 0)
        return generation

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What the gateways say of it, parent by parent."""
        if self.asked not in self._answers:
            self._answers[self.asked] = answers(self.document, self.asked)
        return self._answers[self.asked]

    @property
    def acceptance(self) -> Acceptance:
        """Whether the gateways serve what it says."""
        return summary(self.answers)

    def since(self, generation: int) -> RouteReading:
        """The same for who knows that what matters to him has stood in it since a generation (0: he does not): an answer for that one counts."""
        if generation == self.asked:
            return self
        other = copy.copy(self)
        other.asked = generation
        return other

    def about(self, places: Collection[int]) -> str:
        """A digest of what a gateway has to have looked at to serve the rules at these places: all but the other rules."""
        at = frozenset(places)
        if at not in self._about:
            spec = self.document.get("spec") or {}
            self._about[at] = digest({**spec, "rules": [rule for index, rule in enumerate(self.rules) if index in at]})
        return self._about[at]

    def named_by(self, both: Pair) -> str:
        """A digest of every rule that names one of a pair: whatever else is edited changes nothing of what the two get by this route."""
        if both not in self._named:
            self._named[both] = digest([rule for rule in self.rules if _names(rule, both, self.namespace)])
        return self._named[both]

    def declared(self, both: Pair, rules: tuple[str, ...]) -> Declared:
        """Why a pair cannot be read out of the rules that are named (empty if it can), and where it is."""
        if (both, rules) not in self._declared:
            try:
                self._declared[both, rules] = "", read_pairs(self.document, both, rules)
            except SpecError as error:
                self._declared[both, rules] = error.message, ()
        return self._declared[both, rules]

    def pairs(self, both: Pair) -> dict[str, RulePair]:
        """A pair in every rule that lists it (once), by rule key."""
        return {pair.key: pair for pair in self._pairs(both)}

    def given(self, both: Pair) -> dict[str, RulePair]:
        """The same, and every rule that names the canary and is no pair any more."""
        return {pair.key: pair for pair in (*self._pairs(both), *self.damaged(both))}

    def damaged(self, both: Pair) -> tuple[RulePair, ...]:
        """The rules that name the canary and do not list the pair once each."""
        if both not in self._damaged:
            self._damaged[both] = damaged_pairs(self.document, both)
        return self._damaged[both]

    def recorded(self, both: Pair, record: Mapping[str, str]) -> tuple[RulePair, ...]:
        """A pair in the rules of a record (what identified them, by key), wherever they are now, and whatever is left of it there.

        Where several may be the same one, all of them.
        """
        asked = both, tuple(record.items())
        if asked not in self._recorded:
            found = candidates(record, self._pairs(both), self._may_have_been(both, record))
            self._recorded[asked] = tuple(sorted(found, key=lambda pair: pair.rule))
        return self._recorded[asked]

    def moved(self, both: Pair, record: Mapping[str, str]) -> Mapping[str, str]:
        """The present key of each rule of a record whose key has changed."""
        asked = both, tuple(record.items())
        if asked not in self._moved:
            self._moved[asked] = moved(record, self._pairs(both), self._may_have_been(both, record))
        return self._moved[asked]

    def _may_have_been(self, both: Pair, record: Mapping[str, str]) -> tuple[RulePair, ...]:
        """The damaged rules, as those of a record that they may have been."""
        return damaged_pairs(self.document, both, set(record.values())) if self.damaged(both) else ()

    def copied(self, both: Pair) -> dict[str, Fraction]:
        """Of what share of its requests (percent) each rule sends copies to the canary, or to its comparer, by key; of those with a filter for it.

        Such a filter may say 0: somebody has prepared it, or turned ours down.
        """
        if both not in self._copied:
            self._copied[both] = {
                rule_key(index, rule): copied(rule, both.copied_to, self.namespace)
                for index, rule in enumerate(self.rules)
                if mirrors(rule, both.copied_to, self.namespace)
            }
        return self._copied[both]

    def other_run(self, rollout: str, keys: Collection[str]) -> str:
        """The Rollout, other than this one, whose run says that it has written what one of these rules (by key) gives its pair now; empty: none."""
        for name, value in (self.document.get("metadata", {}).get("annotations") or {}).items():
            said = parse_intent(value) if name.startswith(PREFIX) else None
            if said is None or said.pair is None or said.rollout == rollout or name != run_annotation(said.rollout):
                continue
            there = self.pairs(said.pair)
            for key, weights in said.weights.items():
                if key in keys and key in there and there[key].weights.filled == weights.filled:
                    return said.rollout
        return ""

    def intent(self, rollout: str) -> tuple[Intent | None, bool]:
        """What the annotations say of a Rollout's run, and whether its own says something that makes no sense."""
        if rollout not in self._intents:
            self._intents[rollout] = recorded_intent(self.document, rollout)
        return self._intents[rollout]

    def runs(self, besides: str) -> Mapping[str, frozenset[str]]:
        """By rule key the Rollouts, but for one, of a run of which the annotations say that it has written the rule."""
        annotations = self.document.get("metadata", {}).get("annotations") or {}
        if not any(names_run(name) and name != run_annotation(besides) for name in annotations):
            return {}  # as nearly always: nothing is parsed for it
        return {rule: others for rule, names in self._runs.items() if (others := names - {besides})}

    @cached_property
    def _runs(self) -> dict[str, frozenset[str]]:
        found: defaultdict[str, set[str]] = defaultdict(set)
        for intent in recorded_intents(self.document):
            both, record = intent.pair, intent.recorded
            for rule in (pair.key for pair in self.recorded(both, record)) if both is not None else record:
                found[rule].add(intent.rollout)
        return {rule: frozenset(names) for rule, names in found.items()}

    def _pairs(self, both: Pair) -> tuple[RulePair, ...]:
        if both not in self._every:
            self._every[both] = every_pair(self.document, both)
        return self._every[both]


def _names(rule: Json, both: Pair, namespace: str) -> bool:
    """Whether a rule sends requests, or copies of them, to one of a pair."""
    refs = [ref for ref in rule.get("backendRefs") or () if isinstance(ref, dict)]
    return any(backend.is_named_by(ref, namespace) for backend in (both.stable, both.canary) for ref in refs) or bool(
        mirrors(rule, both.copied_to, namespace)
    )
