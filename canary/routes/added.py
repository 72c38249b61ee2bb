"""What a run has on record of a rule that it added to a route: whether it is to be there, and the name that it was given.

Kept by the rule's mark, in the annotation on the route and in the status. A rule that a run has taken away stays on
record for as long as the run lasts: somebody who writes the route as it was puts it back, and then it goes once more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

from canary.routes.identity import rule_digest

Json = dict[str, Any]
T = TypeVar("T")

MOST_ADDED = 32
"""Rules on record for one route: as many as a route may have, twice."""
LONGEST_ADDED = 254

_SPOT = re.compile(r"([0-9]{1,3})/([0-9]{1,3})", re.ASCII)
_ADDED = re.compile(r"([+-])([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)?")


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a rule is: its index, of how many rules."""

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Spot:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        found = _SPOT.fullmatch(text)
        if found is None or not int(found[1]) < int(found[2]):
            raise ValueError(f"{text!r} is no place of a rule")
        return cls(int(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Added:
    """`there`: the run wants the rule in the route; else it has taken it away. `name`: of the rule, if it was given one."""

    there: bool
    name: str | None = None
    known: bool = field(default=False, compare=False)
    """Whether the status, which only we write, has it as one that is there; the route alone may say anything."""
    spot: Spot | None = field(default=None, compare=False)
    """Where it was last, or is to come, by our own record."""

    @property
    def ended(self) -> Added:
        """The same rule, taken away."""
        return replace(self, there=False)

    def __str__(self) -> str:
        return f"{'+' if self.there else '-'}{self.name or ''}"

    @classmethod
    def parse(cls, text: str) -> Added:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        found = _ADDED.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no rule that was added")
        return cls(found[1] == "+", found[2])


def recorded(
    remembered: Mapping[str, str], noted: Mapping[str, Added], places: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Added]:
    """What a status remembers of the rules that a run added, by mark, and over it what the route itself says (`noted`).

    `places`: where the status has them, and those that it is about to add. What makes no sense is as good as not remembered.
    """
    if not (remembered or noted or places):
        return {}  # as nearly always
    found, spots = _read(remembered, Added.parse), _read(places, Spot.parse)
    there = {mark for mark, said in found.items() if said.there} | (spots.keys() - found.keys())
    return {mark: replace(said, known=mark in there, spot=spots.get(mark)) for mark, said in {**found, **noted}.items()}


def _read(remembered: Mapping[str, str], parse: Callable[[str], T]) -> dict[str, T]:
    found = {}
    for mark, text in remembered.items():
        with suppress(ValueError):
            found[mark] = parse(text)
    return found


def name_end(mark: str) -> str:
    """How the name of a rule ends that was given one: nobody but us gives such a name."""
    return f"-canary-{mark}"


def mark_of(rule: Json, namespace: str) -> str:
    """What a rule that was added is found by: a digest of what it matches and of its backend.

    Not of its filters: whoever edits those of all rules has not made another one of it.
    """
    return rule_digest({**rule, "filters": []}, namespace)


def bounded(record: Mapping[str, Added], standing: Collection[str] = ()) -> dict[str, Added]:
    """No more of a record than may be kept: what is standing and what is to be there first, of the rest what was taken away last.

    A route has fewer rules than that; a record that was forged may have any number.
    """
    least_first = sorted(record, key=lambda mark: (mark in standing, record[mark].there))
    kept = frozenset(least_first[-MOST_ADDED:])
    return {mark: said for mark, said in record.items() if mark in kept}
