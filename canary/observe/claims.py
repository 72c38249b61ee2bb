"""Which Rollouts would drive which rule of a route, in the order that decides. A data structure; it knows no documents.

A rule has one Rollout: the first in its line. All others wait, and have to hear of it when another one is the first.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from canary.routes.key import RouteKey


class Standing(IntEnum):
    """What a Rollout has to do with a rule that it would drive."""

    ON_RECORD = 0
    """A run of it has it in hand, by what is on record."""
    DECLARED = 1
    """A run of it is under way, and its spec names the rule since, or a rule came that is like the others."""
    AT_REST = 2


class Claimant(NamedTuple):
    """A Rollout as it stands in the line of a rule. The smaller one comes first: whose run has it, who runs, then who was there first.

    Times of creation are whole seconds; between two of one second the name decides, so that all see it alike.
    """

    standing: Standing
    created: str
    name: str


Claim = Mapping[str, Claimant]
"""What a Rollout would drive of one route: rules by key, and how it stands in line for each."""


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

    def put(self, place: RouteKey, name: str, claim: Claim) -> set[str]:
        """What this Rollout would drive there from now on, instead of whatever it was."""
        claims = self._claims.setdefault(place, {})
        before = claims.get(name)
        if before == claim:
            return set()
        claims[name] = claim
        return self._move(place, before or {}, claim)

    def drop(self, place: RouteKey, name: str) -> set[str]:
        """A Rollout drives nothing there any more."""
        claims = self._claims.get(place, {})
        before = claims.pop(name, None)
        if before is None:
            return set()
        if not claims:
            del self._claims[place]
        return self._move(place, before, {})

    def forget(self, place: RouteKey) -> None:
        """Nobody asks about this route any more."""
        self._claims.pop(place, None)
        self._lines.pop(place, None)

    def _move(self, place: RouteKey, left: Claim, entered: Claim) -> set[str]:
        lines = self._lines.setdefault(place, {})
        moved: set[str] = set()
        for rule in left.keys() | entered.keys():
            line = lines.setdefault(rule, [])
            first = line[0].name if line else None
            if rule in left:
                del line[bisect_left(line, left[rule])]
            if rule in entered:
                insort(line, entered[rule])
            if not line:
                del lines[rule]
            elif line[0].name != first:
                moved.add(rule)
        if not lines:
            del self._lines[place]
        return moved
