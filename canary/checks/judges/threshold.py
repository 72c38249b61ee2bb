"""A number against bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from canary.checks.judges.outcome import Flaw, Judged, Outcome
from canary.errors import SpecError
from canary.model.checks import Threshold
from canary.model.measurement import Sample
from canary.model.values import Limit

_ARG = re.compile(r"\{\{ *args\.([a-zA-Z0-9_-]{1,63}) *\}\}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The smallest and the largest good value, both inclusive; None where there is no such bound."""

    minimum: Fraction | None = None
    maximum: Fraction | None = None

    many = False
    expression = None

    @classmethod
    def of(cls, declared: Threshold, args: Mapping[str, str | None], field: str) -> Self:
        """The bounds as numbers. Raises SpecError; `field` is the path of the check."""
        return cls(_bound(declared.min, args, field, "min"), _bound(declared.max, args, field, "max"))

    @staticmethod
    def arguments(declared: Threshold) -> frozenset[str]:
        bounds = (declared.min, declared.max)
        return frozenset(name for bound in bounds if bound is not None for name in _ARG.findall(bound.text))

    @property
    def limit(self) -> str:
        """`<= 0.01`, or `0.9 to 1.1`."""
        low = None if self.minimum is None else f"{float(self.minimum):g}"
        high = None if self.maximum is None else f"{float(self.maximum):g}"
        if low is not None and high is not None:
            return f"{low} to {high}"
        return f"<= {high}" if high is not None else f">= {low}"

    def flaws(self) -> Iterator[Flaw]:
        return iter(())

    def judge(self, sample: Sample) -> Outcome:
        value = sample.value
        # A limit is compared as the float that a provider would send for it: a measured 0.01 keeps within "1%".
        if self.maximum is not None and value > float(self.maximum):
            return Judged(False, "AboveMax", f"{value:g} is above {float(self.maximum):g}")
        if self.minimum is not None and value < float(self.minimum):
            return Judged(False, "BelowMin", f"{value:g} is below {float(self.minimum):g}")
        return Judged(True, "WithinThreshold", f"{value:g} is within {self.limit}")


def _bound(limit: Limit | None, args: Mapping[str, str | None], field: str, name: str) -> Fraction | None:
    """The number of the bound `name` (min or max) of the check at `field`."""
    if limit is None:
        return None
    if limit.number is not None:
        return limit.number
    place = f"{field}.threshold.{name}"
    found = _ARG.match(limit.text)
    if found is None or found[1] not in args:
        known = ", ".join(sorted(args)) or "none"
        words = f"{limit.text} names an argument that the template does not declare; it declares: {known}"
        raise SpecError(place, words)
    argument = found[1]
    given = args[argument]
    if given is None:
        raise SpecError(
            f"{field}.args.{argument}",
            f"threshold.{name} is {limit.text}, which has no value: the template declares it without a default; "
            f"add `{argument}: …` to args",
        )
    try:
        value = Limit.parse(given)
    except ValueError as error:
        raise SpecError(place, f"argument {argument}: {error}") from error
    if value.number is None:
        raise SpecError(place, f"argument {argument} must be a number, not another template")
    return value.number
