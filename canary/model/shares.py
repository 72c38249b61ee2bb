"""The canary's share at each step: by rule where a step names rules, and of all other rules together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from canary.model.values import decimal_text

if TYPE_CHECKING:
    from canary.model.rollout import RolloutSpec, Step

ZERO = Fraction(0)


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares in percent of the pair: `rules` of those that a step has named, `weight` of every other one."""

    weight: Fraction = ZERO
    rules: Mapping[str, Fraction] = field(default_factory=dict)

    @classmethod
    def at(cls, steps: Iterable[Step], index: int) -> Shares:
        """What a run gives at a one-based step: the last that was declared up to there, of each."""
        weight, rules = ZERO, dict[str, Fraction]()
        for step in tuple(steps)[:index]:
            if step.weight is not None:
                weight = step.weight.percent
            rules |= {name: share.percent for name, share in step.named.items()}
        return cls(weight, rules)

    def of(self, rule: str) -> Fraction:
        """The share of one rule, by its key."""
        return self.rules.get(rule, self.weight)

    @property
    def some(self) -> bool:
        """Whether the canary is to get anything."""
        return self.weight > 0 or any(self.rules.values())

    def rises_to(self, later: Shares) -> bool:
        """Whether any rule gets more by the other ones."""
        named = {*self.rules, *later.rules}
        return later.weight > self.weight or any(later.of(name) > self.of(name) for name in named)

    def __str__(self) -> str:
        """For people: `10 %`, `0 % (rule beta 100 %)`."""
        text = f"{decimal_text(self.weight)} %"
        if not self.rules:
            return text
        named = ", ".join(f"{name} {decimal_text(share)} %" for name, share in sorted(self.rules.items()))
        return f"{text} ({'rule' if len(self.rules) == 1 else 'rules'} {named})"


def misnamed(spec: RolloutSpec, found: frozenset[str]) -> Iterator[tuple[int, str, str]]:
    """Rules that a step names and that no route has for it: index of the step, name, and a sentence.

    `found`: the keys of the rules with the pair in all routes, as far as `routes[].rules` allows them.
    """
    for index, step in enumerate(spec.steps):
        for name in step.named:
            if all(route.rules and name not in route.rules for route in spec.routes):
                yield (
                    index,
                    name,
                    f"spec.routes[].rules leaves rule {name!r} out; add it there, or drop it from the step",
                )
            elif name not in found or name.startswith("#"):
                words = f"no route of this Rollout has a rule named {name!r} that lists both Services"
                yield index, name, f"{words}; correct the name, or add such a rule with the canary at weight 0"
