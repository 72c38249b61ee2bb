"""The canary's share at each step: by rule where a step names rules, and of all other rules together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from canary.model.steps import Step
from canary.model.values import decimal_text

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
        return bool(self.weight) or any(self.rules.values())

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
