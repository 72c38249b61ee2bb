"""What a plan is made of: one thing that one rule of a route should say, and the operations that make it so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from canary.json_patch import Operation, pointer, test
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair


@dataclass(frozen=True, slots=True)
class Edit:
    """Operations of a JSON Patch: what a change relies on, and the change. No change: neither.

    `removes`: indexes of rules that go, apart from `changes` since they move the rules behind them.
    """

    tests: tuple[Operation, ...] = ()
    changes: tuple[Operation, ...] = ()
    removes: tuple[int, ...] = ()


NOTHING = Edit()


class Entry(Protocol):
    """One thing that one rule of a route should say. `pair` is what the plan is about.

    What is not in the route any more is left alone by all of them but `kept`.
    """

    def apply(self, route: RouteReading, pair: Pair) -> Edit:
        """What makes the rule say so; nothing when it does."""

    def kept(self, answer: RouteReading, pair: Pair) -> str:
        """What an answer of the API server says instead, in words; empty when it says so."""

    def raises(self, route: RouteReading, pair: Pair) -> bool:
        """Whether the canary gets more than it has in this route."""


def same_rule(there: RulePair) -> list[Operation]:
    """Refuse the patch where another rule has this place by now: by its name, by what it matches, or by all of it where it has neither."""
    rule = pointer("spec", "rules", there.rule)
    if there.name is not None:
        return [test(rule + pointer("name"), there.name)]
    if "matches" in there.document:
        return [test(rule + pointer("matches"), there.document["matches"])]
    return [test(rule, there.document)]
