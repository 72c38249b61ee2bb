"""Answers to mirrored requests that nobody gave: looks at what a comparer counted, drawn from a generator with a seed.

Of each request stable answers twice and the canary once. A fifth of 600 requests a look is compared unless something else is said, and what
is different at a place of the answer without any fault is noise. In each request a place has a chance that the canary alone differs from
stable's first answer there, that stable's second alone does, and that both do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from bench.judgement.traffic import LOOKS, REQUESTS, Ratio, always
from canary.checks.judges.mirrored import Counts, Look

COMPARED = REQUESTS // 5

Place = tuple[float, float, float]
"""Chances in a request: the canary alone differs, stable's second answer alone does, both do."""

TIME: Place = (0.0, 0.0, 1.0)
"""A time or an id: always another one."""
ORDER: Place = (0.25, 0.25, 0.25)
"""One of two orders, by chance."""
SELDOM: Place = (0.002, 0.002, 0.0)
AT_TIMES: Place = (0.03, 0.03, 0.01)


def several(**places: tuple[int, Place]) -> Mapping[str, Place]:
    """So many places of a kind each."""
    return {f"$.{kind}{number}": place for kind, (count, place) in places.items() for number in range(count)}


@dataclass(frozen=True)
class Answers:
    """A run of looks at answers.

    Args:
        changed: the part of the answers in which the canary says something else, at `where`, by look.
        where: the place that is changed; it may be noisy as well.
        noise: the places that differ without a fault, each by itself.
        alike: so many places more, which differ all together or not at all, each as in `ORDER`.
        wave: the noise is multiplied with 0 to 1, drawn anew at each look, for both versions alike.
        more: the canary's noise is so much more often alone at every place, as a part of the requests.
        keys: so many places, of which each answer has one, by chance: a map by ids.
        compared: requests a look.

    """

    changed: Ratio = field(default=always(0.0))
    where: str = "$.price"
    noise: Mapping[str, Place] = field(default_factory=dict)
    alike: int = 0
    wave: bool = False
    more: float = 0.0
    keys: int = 0
    compared: int = COMPARED
    looks: int = LOOKS

    def __call__(self, random: Generator) -> Iterator[Look]:
        names = list(self.noise)
        noise = self._noise(random) if names else [[]] * self.looks
        together = random.multinomial(self.compared, [*ORDER, 1 - sum(ORDER)], self.looks).tolist()
        for number, (each, (b, c, both, _)) in enumerate(zip(noise, together, strict=True)):
            found: dict[str, Counts] = {
                name: (one, other, two) for name, (one, other, two, _) in zip(names, each, strict=True)
            }
            found |= {f"$.items[].alike{place}": (b, c, both) for place in range(self.alike)}
            if self.keys:
                found |= _keys(random, self.keys, self.compared)
            changed = self.changed(number)
            if changed > 0:
                found[self.where] = self._changed(random, changed, found.get(self.where, (0, 0, 0)))
            yield Look(self.compared, {path: counts for path, counts in found.items() if any(counts)})

    def _noise(self, random: Generator) -> list[list[list[int]]]:
        """What differs without a fault, by look and place."""
        chances = np.array(list(self.noise.values()))
        waves = random.random(self.looks) if self.wave else np.ones(self.looks)
        now = waves[:, None, None] * chances[None]
        now[..., 0] += self.more
        now[..., 2] -= np.maximum(now.sum(axis=2) - 1, 0.0)
        rest = np.maximum(1 - now.sum(axis=2, keepdims=True), 0.0)
        drawn: list[list[list[int]]] = random.multinomial(self.compared, np.concatenate([now, rest], axis=2)).tolist()
        return drawn

    def _changed(self, random: Generator, part: float, counts: Counts) -> Counts:
        """Of what differed there as it is, the canary's answer is another one in a part of the requests."""
        b, c, both = counts
        same = self.compared - b - c - both
        alone, beside = (int(random.binomial(one, part)) for one in (same, c))
        return b + alone, c - beside, both + beside


def _keys(random: Generator, keys: int, compared: int) -> dict[str, Counts]:
    """Answers that have one key of many: who has another one than stable's first answer differs at both keys."""
    first, second, canary = random.integers(keys, size=(3, compared))
    found = np.zeros((keys, 3), dtype=int)
    ours, theirs = canary != first, second != first
    for column, where in enumerate((ours & ~theirs, theirs & ~ours, ours & theirs)):
        np.add.at(found[:, column], first[where], 1)
    alike = ours & (canary == second)
    np.add.at(found[:, 0], canary[ours & ~alike], 1)
    np.add.at(found[:, 1], second[theirs & ~alike], 1)
    np.add.at(found[:, 2], canary[alike], 1)
    named = np.flatnonzero(found.any(axis=1)).tolist()
    return {f"$.by.{key}": (b, c, both) for key, (b, c, both) in zip(named, found[named].tolist(), strict=True)}
