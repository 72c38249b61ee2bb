"""Shares by rule name: what lasts, what rises, and how it is said."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from pydantic import ValidationError

from canary.model.shares import Shares
from canary.model.steps import Step


def steps(*documents: dict[str, Any]) -> list[Step]:
    return [Step.model_validate(document) for document in documents]


def test_each_lasts_until_a_later_step_says_otherwise() -> None:
    """The weight of all, and every named rule by itself."""
    plan = steps({"rules": {"a": 100}}, {"weight": 10}, {"rules": {"b": "0.5%"}, "weight": 20}, {"rules": {"a": 5}})
    assert [(Shares.at(plan, n).weight, dict(Shares.at(plan, n).rules)) for n in range(5)] == [
        (0, {}),
        (0, {"a": 100}),
        (10, {"a": 100}),
        (20, {"a": 100, "b": Fraction(1, 2)}),
        (20, {"a": 5, "b": Fraction(1, 2)}),
    ]


@pytest.mark.parametrize(
    ("before", "after", "rises"),
    [
        ((0, {}), (0, {"a": 1}), True),
        ((10, {}), (10, {"a": 5}), False),
        ((10, {"a": 5}), (20, {"a": 5}), True),
        ((10, {"a": 5}), (5, {"a": 6}), True),
        ((10, {"a": 50}), (10, {"a": 50, "b": 10}), False),
        ((10, {"a": 50}), (10, {"a": 40, "b": 11}), True),
        ((50, {"a": 0}), (10, {}), True),
    ],
)
def test_a_rise_of_any_rule_is_a_rise(before: Any, after: Any, rises: bool) -> None:
    """Also of one that is named for the first time, against what it had as one of all, and of one that is named no more."""
    assert Shares(*before).rises_to(Shares(*after)) is rises


def test_shares_in_words() -> None:
    """All others first."""
    assert str(Shares(Fraction(1, 2))) == "0.5 %"
    assert str(Shares(Fraction(0), {"beta": Fraction(100)})) == "0 % (rule beta 100 %)"
    assert str(Shares(Fraction(5), {"b": Fraction(1), "a": Fraction(2)})) == "5 % (rules a 2 %, b 1 %)"


def test_any_share_is_traffic() -> None:
    """A rule with 0 % is none."""
    assert not Shares(Fraction(0), {"a": Fraction(0)}).some
    assert Shares(Fraction(0), {"a": Fraction(1)}).some
    assert Shares(Fraction(1)).some


@pytest.mark.parametrize(
    "rules", [{}, {"a": 101}, {"a": -1}, {"a": True}, {f"rule-{number}": 1 for number in range(17)}]
)
def test_what_is_no_share_of_a_rule_is_refused(rules: Any) -> None:
    """Nothing named, more than everything, and more rules than a route can have."""
    with pytest.raises(ValidationError):
        Step.model_validate({"rules": rules})
