"""What a run has on record of a rule that it added to a route: whether it is to be there, and the name that it was given.

Kept by the rule's mark, in the annotation on the route and in the status. A rule that a run has taken away stays on
record for as long as the run lasts: somebody who writes the route as it was puts it back, and then it goes once more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from canary.routes.identity import rule_digest

Json = dict[str, Any]

MOST_ADDED = 32
"""Rules on record for one route: as many as a route may have, twice."""
LONGEST_ADDED = 254

_ADDED = re.compile(r"([+-])([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)?")


@dataclass(frozen=True, slots=True)
class Added:
    """`there`: the run wants the rule in the route; else it has taken it away. `name`: of the rule, if it was given one."""

    there: bool
    name: str | None = None

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


def recorded(remembered: Mapping[str, str], noted: Mapping[str, Added]) -> dict[str, Added]:
    """What a status remembers of the rules that a run added, by mark, and over it what the route itself says (`noted`).

    What makes no sense is as good as not remembered.
    """
    found = {}
    for mark, text in remembered.items():
        with suppress(ValueError):
            found[mark] = Added.parse(text)
    return {**found, **noted}


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
