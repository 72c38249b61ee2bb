"""What rules of one route should say, as data: applied by a JSON Patch with tests, and looked for in an answer.

Each kind of entry knows one thing that a rule can be given. Nobody else does: whoever writes a route says `patch` and `kept`. A
filter and a rule of our own are other kinds of entries beside `SetWeights`. What takes all of it back is a plan as well, made of
what the run has on record (`RoutePlan.back`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType
from typing import Any

from canary.json_patch import add, pointer, remove, test
from canary.routes.added import Added
from canary.routes.adding import AddRule, RemoveRule, removals
from canary.routes.entry import NOTHING, Edit, Entry, same_rule
from canary.routes.filters import Copied
from canary.routes.mirror import Mirror, NoMirror
from canary.routes.pair import Backend, Pair, Weights, weight_of
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SetWeights:
    """Our pair in one rule (by its present key) gets these weights."""

    rule: str
    weights: Weights
    instead: Backend | None = None
    """What of the rule's backends gets stable's weight where it lists no stable and nobody has its traffic; None: stable is listed again."""

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """Set two weights; the rule and both backendRefs are tested, whole: that also covers an absent weight.

        A rule is told by its name, else by its matches; of one that has neither all is tested: that covers their absence.
        """
        there = route.given(pair).get(self.rule)
        if there is None or self._said(there):
            return NOTHING
        refs, rule = there.document["backendRefs"], pointer("spec", "rules", there.rule)
        if there.damaged:
            tests = [*same_rule(there), test(rule + pointer("backendRefs"), refs)]
        else:
            both = (there.stable, there.canary)
            tests = [*same_rule(there), *(test(rule + pointer("backendRefs", place), refs[place]) for place in both)]
        new = {there.canary: self.weights.canary, **dict.fromkeys(there.surplus, 0)}
        stable = self._stable(there)
        if stable is not None:
            new = {stable: self.weights.stable, **new}
        changes = []
        for place, weight in new.items():
            if refs[place].get("weight") != weight:
                path = rule + pointer("backendRefs", place, "weight")
                changes.append(remove(path) if weight is None else add(path, weight))
        if stable is None and not there.replaced:
            # It has to be somewhere that the canary's share goes back to. Last, since it moves those behind it.
            said = {} if self.weights.stable is None else {"weight": self.weights.stable}
            changes.append(
                add(rule + pointer("backendRefs", there.stable), {**pair.stable.ref(there.namespace), **said})
            )
        return Edit(tuple(tests), tuple(changes))

    def _stable(self, there: RulePair) -> int | None:
        """Which backendRef gets stable's weight; None: none that is there."""
        if not there.lacking or there.replaced or self.instead is None:
            return None if there.lacking else there.stable
        refs = enumerate(there.document["backendRefs"])
        return next((place for place, ref in refs if self.instead.is_named_by(ref, there.namespace)), None)

    def _said(self, there: RulePair) -> bool:
        """Whether a rule says so. Where others have the traffic that was stable's, that is left to them."""
        if there.replaced:
            return weight_of(there.weights.canary) == weight_of(self.weights.canary)
        return there.weights == self.weights

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """An absent weight is 1, and the API server fills it in."""
        there = answer.given(pair).get(self.rule)
        if there is not None and (there.weights.filled == self.weights.filled or self._said(there)):
            return ""
        keeps = there.weights if there is not None else "nothing"
        return (
            f"rule {self.rule} of {answer.name} was given {self.weights}, and the API server keeps {keeps}: an "
            "admission webhook or policy changes our write; let it leave backendRef weights alone"
        )

    def raises(self, route: RouteReading, pair: Pair) -> bool:
        """By the share of the pair."""
        there = route.given(pair).get(self.rule)
        return there is not None and self.weights.share > there.weights.share


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """What rules of one route should say; of rules that it does not name, nothing. Without entries it moves no traffic."""

    pair: Pair
    entries: tuple[Entry, ...] = ()

    @classmethod
    def dividing(
        cls,
        pair: Pair,
        weights: Mapping[str, Weights],
        mirrors: Mapping[str, Copied] = MappingProxyType({}),
        rules: Iterable[AddRule | RemoveRule] = (),
    ) -> RoutePlan:
        """The pair gets these weights, and the canary copies of these shares of the requests (0: none), by rule key.

        `rules`: those that are added, and those that were and go.
        """
        given = (SetWeights(rule, weights_) for rule, weights_ in weights.items())
        copies = (Mirror(rule, said) if said.share else NoMirror(rule, said) for rule, said in mirrors.items())
        return cls(pair, (*given, *copies, *rules))

    @classmethod
    def back(
        cls,
        pair: Pair,
        baseline: Mapping[str, Weights],
        mirrors: Mapping[str, Copied] = MappingProxyType({}),
        *,
        known: Collection[str] = (),
        added: Mapping[str, Added] = MappingProxyType({}),
        swapped: bool = False,
    ) -> RoutePlan:
        """The way back from whatever a run has written, by what it has on record: nothing of it is left.

        All of the pair's traffic goes to stable, in exactly the weights of before where the canary had none then. `swapped`:
        the run was won by Swap, and it goes to the canary. `mirrors`: what was written to the rules that were mirrored; of these,
        `known` are those that nobody but us can have put on record. `added`: the rules that were added, by their marks.
        """
        given = (
            SetWeights(rule, before.only_canary if swapped else before.only_stable) for rule, before in baseline.items()
        )
        copies = (NoMirror(rule, said, rule in known) for rule, said in mirrors.items())
        return cls(pair, (*given, *copies, *removals(added)))

    @property
    def weights(self) -> dict[str, Weights]:
        """The weights that rules are to have, by rule key."""
        return {entry.rule: entry.weights for entry in self.entries if isinstance(entry, SetWeights)}

    @property
    def mirrors(self) -> dict[str, Copied]:
        """The copies that rules are to send to the canary, by rule key; a share of 0 for one that is to send none any more."""
        said = {}
        for entry in self.entries:
            match entry:
                case Mirror():
                    said[entry.rule] = entry.copied
                case NoMirror():
                    said[entry.rule] = entry.copied.ended
        return said

    @property
    def added(self) -> dict[str, Added]:
        """What is on record, once it is written, of the rules that the run has added, by their marks."""
        said = {}
        for entry in self.entries:
            match entry:
                case AddRule():
                    said[entry.mark] = Added(there=True, name=entry.rule.get("name"), spot=entry.spot)
                case RemoveRule():
                    said[entry.mark] = Added(there=False, name=entry.name)
        return said

    def patch(self, document: Json | RouteReading) -> Edit:
        """What makes a route say so, valid against this very document; nothing when it does.

        All paths are those of the document as it was read: rules that go are the last operations, from the end of the list on.
        The API server takes them all in one write, so nothing is ever served with a part of them.
        """
        route = RouteReading.of(document)
        edits = [entry.apply(route, self.pair) for entry in self.entries]
        removes = _removed(edits)
        gone = (remove(pointer("spec", "rules", index)) for index in removes)
        tests = tuple(chain.from_iterable(edit.tests for edit in edits))
        return Edit(tests, (*chain.from_iterable(edit.changes for edit in edits), *gone))

    def kept(self, answer: Json, document: Json | None = None) -> str:
        """What an answer of the API server says instead, in words; empty when it says all of it.

        `document`: the route as it was before. Rules of it that are gone have moved those behind them, and so their keys.
        """
        route = RouteReading(answer)
        before = RouteReading(document) if document is not None else None
        gone = _removed(entry.apply(before, self.pair) for entry in self.entries) if before is not None else []
        entries = (_moved_up(entry, gone) for entry in self.entries)
        return next((words for entry in entries if (words := entry.kept(route, self.pair))), "")

    def adds_mirror(self, document: Json | RouteReading) -> bool:
        """Whether some rule sends copies of more requests to the canary than in a document."""
        route = RouteReading.of(document)
        return any(entry.raises(route, self.pair) for entry in self.entries if isinstance(entry, Mirror))

    def raises(self, document: Json | RouteReading) -> bool:
        """Whether the canary gets more anywhere than a document gives it."""
        route = RouteReading.of(document)
        return any(entry.raises(route, self.pair) for entry in self.entries)


def _removed(edits: Iterable[Edit]) -> list[int]:
    """The indexes of the rules that go, from the end of the list on."""
    return sorted(set(chain.from_iterable(edit.removes for edit in edits)), reverse=True)


def _moved_up(entry: Entry, gone: Collection[int]) -> Entry:
    """The same of a rule without a name that was behind some that are gone."""
    if not gone or not isinstance(entry, SetWeights | Mirror | NoMirror):
        return entry
    index = entry.rule.removeprefix("#")
    if index == entry.rule or not (index.isascii() and index.isdecimal()):
        return entry
    return replace(entry, rule=f"#{int(index) - sum(place < int(index) for place in gone)}")
