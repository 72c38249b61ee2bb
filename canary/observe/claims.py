"""Which Rollouts would drive which rule of a route, in the order that decides. A data structure; it knows no documents.

A rule has one Rollout: the first in its line. All others wait, and have to hear of it when another one is the first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from canary.routes.key import RouteKey


class Claimant(NamedTuple):
    """A Rollout as it stands in line. The smaller one comes first: who runs, then who was there first.

    Times of creation are whole seconds; between two of one second the name decides, so that all see it alike.
    """

    resting: bool
    created: str
    name: str


class Claim(NamedTuple):
    """What a Rollout would drive of one route: rules by key."""

    claimant: Claimant
    rules: frozenset[str]


class Claims:
    """The lines of all rules of all routes. Who is first costs O(1); a change costs O(log n) to find one's place.

    `put` and `drop` return the rules that have another owner than before (not those that have none now).
    """

    def __init__(self) -> None:
        self._claims: dict[RouteKey, dict[str, Claim]] = {}
        self._lines: dict[RouteKey, dict[str, list[Claimant]]] = {}

    def owner(self, place: RouteKey, rule: str) -> Claimant | None:
        """The Rollout whose rule this is; None when nobody would drive it."""
        line = self._lines.get(place, {}).get(rule)
        return line[0] if line else None

    def line(self, place: RouteKey, rule: str) -> list[str]:
        """Who would drive a rule, by name, the owner first."""
        return [claimant.name for claimant in self._lines.get(place, {}).get(rule, ())]

    def put(self, place: RouteKey, claimant: Claimant, rules: AbstractSet[str]) -> set[str]:
        """What this Rollout would drive there from now on, instead of whatever it was."""
        claims = self._claims.setdefault(place, {})
        before, after = claims.get(claimant.name), Claim(claimant, frozenset(rules))
        if before == after:
            return set()
        claims[claimant.name] = after
        return self._move(place, before, after)

    def drop(self, place: RouteKey, name: str) -> set[str]:
        """A Rollout drives nothing there any more."""
        claims = self._claims.get(place, {})
        before = claims.pop(name, None)
        if before is None:
            return set()
        if not claims:
            del self._claims[place]
        return self._move(place, before, None)

    def forget(self, place: RouteKey) -> None:
        """Nobody asks about this route any more."""
        self._claims.pop(place, None)
        self._lines.pop(place, None)

    def _move(self, place: RouteKey, before: Claim | None, after: Claim | None) -> set[str]:
        lines = self._lines.setdefault(place, {})
        left = before.rules if before is not None else frozenset()
        entered = after.rules if after is not None else frozenset()
        moved: set[str] = set()
        for rule in left | entered:
            line = lines.setdefault(rule, [])
            first = line[0].name if line else None
            if before is not None and rule in left:
                del line[bisect_left(line, before.claimant)]
            if after is not None and rule in entered:
                insort(line, after.claimant)
            if not line:
                del lines[rule]
            elif line[0].name != first:
                moved.add(rule)
        if not lines:
            del self._lines[place]
        return moved
