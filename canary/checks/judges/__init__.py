"""What makes Pass or Fail of a measurement. A new judge is a file here and a line in `JUDGES`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canary.checks.judges.answers import Answers
from canary.checks.judges.comparison import Versus
from canary.checks.judges.condition import Expression
from canary.checks.judges.expected import AsExpected
from canary.checks.judges.outcome import Broken, Flaw, Judge, Judged, NotJudged, Outcome
from canary.checks.judges.slower import Slower
from canary.checks.judges.succeeded import Succeeded
from canary.checks.judges.threshold import Bounds
from canary.model.checks import Comparison

__all__ = ["Answers", "Broken", "Flaw", "Judge", "Judged", "NotJudged", "Outcome", "arguments_of", "judge_of"]


class _Against:
    """A comparison, of errors or of buckets."""

    @staticmethod
    def of(declared: Comparison, args: Mapping[str, str | None], field: str) -> Judge:
        kind = Versus if declared.buckets is None else Slower
        return kind.of(declared, args, field)

    @staticmethod
    def arguments(declared: Comparison) -> frozenset[str]:
        return Versus.arguments(declared)


JUDGES: Mapping[str, Any] = {
    "condition": Expression,
    "threshold": Bounds,
    "compare": _Against,
    "mirrored": Answers,
    "web": AsExpected,
    "job": Succeeded,
}
"""By the field of the spec, the first one that is there: a class with `of(declared, args, field)` and `arguments(declared)`."""


def judge_of(declared: object, args: Mapping[str, str | None], field: str) -> Judge:
    """The judge that a check or a template declares; bounds that everything keeps if it declares none.

    Raises:
        SpecError: an argument that it names has no value, or no number; `field` is the path of the check.

    """
    for name, kind in JUDGES.items():
        found = getattr(declared, name)
        if found is not None:
            judge: Judge = kind.of(found, args, field)
            return judge
    return Bounds()


def arguments_of(declared: object) -> frozenset[str]:
    """The template arguments that the declared judge uses, by name."""
    found = ((kind, getattr(declared, name)) for name, kind in JUDGES.items())
    return frozenset(name for kind, value in found if value is not None for name in kind.arguments(value))
