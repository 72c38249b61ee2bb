"""The arithmetic of a split: exact, in whole weights.

Weights are relative. For weights a and b of our pair the sum a+b is kept and divided anew. It is raised, to at
least 100 and to what a fractional share needs, only where no other backend of the rule has weight: raising it next
to a third backend would take traffic from that one (docs/decisions/0003).
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from canary.errors import ShareError
from canary.model.values import decimal_text
from canary.routes.pair import MAX_WEIGHT, Weights

SMALLEST_SUM = 100


@lru_cache(4096)
def divide(baseline: Weights, share: Fraction, others: int) -> Weights:
    """Give the canary `share` percent of the pair; `others` is the weight of all other backends of the rule. Asked in every look at a run.

    Raises:
        ShareError: the pair gets nothing, or the sum cannot express the share next to a third backend.

    """
    total = baseline.total
    if total == 0:
        raise ShareError("both weights of the pair are 0, so there is nothing to divide; give stable a weight")
    part = share / 100
    if others and (total * part).denominator != 1:
        raise ShareError(
            f"the pair's weights add up to {total}, which cannot express {decimal_text(share)} % without taking traffic "
            f"from the rule's other backends; multiply all weights of the rule by {_multiple(total, part)}"
        )
    if not others:
        total = _sum(total, part.denominator)
    canary = int(total * part)
    if max(canary, total - canary) > MAX_WEIGHT:
        raise ShareError(
            f"the pair's weights add up to {total}, and {decimal_text(share)} % of that needs a weight beyond {MAX_WEIGHT}; "
            "divide all weights of the rule by the same number"
        )
    return Weights(total - canary, canary)


def _sum(total: int, denominator: int) -> int:
    """The smallest sum that is at least `total` and 100 and divisible by the denominator, within the API's bound."""
    wanted = max(total, SMALLEST_SUM)
    rounded = -(-wanted // denominator) * denominator
    return rounded if rounded <= MAX_WEIGHT else MAX_WEIGHT // denominator * denominator


def _multiple(total: int, part: Fraction) -> int:
    return (total * part).denominator
