"""Where canary and stable can be compared, what is one process, and who gets which part of alpha."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canary.checks.comparable import incomparable, processes, with_alphas
from canary.checks.judges.comparison import Versus
from canary.checks.judges.slower import Slower
from canary.checks.judges.words import TIMES
from canary.checks.resolve import resolve
from canary.errors import SpecError
from canary.model.checks import Check
from canary.model.rollout import RolloutSpec
from canary.model.templates import CheckTemplateSpec

Json = dict[str, Any]

COMPARE: Json = {"prometheus": {"requests": "n {{ backend.service }}", "failures": "f {{ backend.service }}"}}
MIRROR: Json = {"mirror": {"percent": 20}}
MATCH: Json = {"match": [{"headers": [{"name": "beta", "value": "yes"}]}]}
RULES: Json = {"weight": 10, "rules": {"beta": 100}}


def spec(*steps: Json, **more: Any) -> RolloutSpec:
    backends = {role: {"service": role, "port": 80} for role in ("stable", "canary")}
    return RolloutSpec.model_validate({"routes": [{"name": "shop"}], **backends, "steps": list(steps), **more})


def weights(*shares: int) -> list[Json]:
    return [{"weight": share} for share in shares]


@pytest.mark.parametrize(
    ("steps", "found"),
    [
        (weights(10, 50, 100), (1, 1, 0)),
        ([MIRROR, *weights(10, 50)], (1, 2, 2)),
        ([MIRROR, MIRROR, *weights(10)], (1, 2, 3)),
        ([*weights(10), MIRROR, *weights(50)], (1, 2, 3)),
        ([MATCH, *weights(10, 50)], (0, 1, 1)),
        ([*weights(10), MATCH, *weights(50)], (1, 0, 1)),
        ([RULES, *weights(50)], (0, 0)),
        ([{"approval": {}}, *weights(10), {"approval": {}}], (0, 1, 1)),
        ([*weights(0), {**MIRROR, "weight": 100}], (0, 0)),
    ],
)
def test_traffic_that_is_judged_together_is_one_process(steps: list[Json], found: tuple[int, ...]) -> None:
    """Weights are one; each mirror is one; where users choose, or stable has nothing, there is none."""
    plan = spec(*steps)
    assert processes(plan) == found
    assert [bool(incomparable(plan, index)) for index in range(1, len(steps) + 1)] == [number == 0 for number in found]


STEP = st.sampled_from([MIRROR, MATCH, {"approval": {}}, *weights(0, 1, 10, 50, 100)])


@given(st.lists(STEP, min_size=1, max_size=12), st.fractions("1/1000", "1/3"), st.lists(st.none() | st.fractions("1/1000", "1/3"), min_size=1, max_size=5))  # fmt: skip
def test_no_run_has_more_than_its_alpha(steps: list[Json], alpha: Fraction, owns: list[Fraction | None]) -> None:
    """Of all processes and all checks that share it together; one with an alpha of its own has exactly that."""
    decimals = [None if own is None else round(float(own), 4) for own in owns]
    checks = [
        {"name": f"c{number}", "compare": COMPARE | ({} if own is None else {"alpha": own})}
        for number, own in enumerate(decimals)
    ]
    declared = round(float(alpha), 4)
    plan = spec(*steps, alpha=declared, checks=checks)
    resolved = with_alphas([resolve(check, None, "spec.checks") for check in plan.checks], plan)
    judges = [check.judge for check in resolved]
    assert all(isinstance(judge, Versus) for judge in judges)
    number = max(processes(plan))
    sharing = 0.0
    for judge, own in zip(judges, decimals, strict=True):
        assert isinstance(judge, Versus)
        spent = judge.rule.alpha * max(number, 1)
        assert spent == pytest.approx(float(judge.alpha))
        if own is None:
            sharing += spent
        else:
            assert spent == pytest.approx(own)
    assert sharing <= declared * (1 + 1e-9)


def test_what_could_not_be_resolved_has_its_part_all_the_same() -> None:
    """A template that vanishes gives nobody else a lower bar."""
    plan = spec(*weights(10), checks=[{"name": "a", "compare": COMPARE}, {"template": {"name": "gone"}}])
    (found,) = with_alphas([resolve(plan.checks[0], None, "spec.checks[0]")], plan, unresolved=1)
    assert isinstance(found.judge, Versus)
    assert found.judge.alpha == Fraction(25, 1000)


def test_a_check_of_a_template_tolerates_no_failures_either() -> None:
    """The API server cannot see what a template holds; resolving does."""
    template = CheckTemplateSpec.model_validate({"compare": COMPARE})
    check = Check.model_validate({"template": {"name": "errors"}, "failureLimit": 2})
    with pytest.raises(SpecError, match="compare and mirrored take no failureLimit"):
        resolve(check, template, "spec.checks[0]")


SLOWER: Json = {
    "prometheus": {"buckets": "b {{ backend.service }}", "unit": "ms"},
    "slowerThan": ["1s", "300ms"],
    "tolerance": 1.5,
}


def slower(**changes: Any) -> Check:
    return Check.model_validate({"name": "slow", "initialDelay": "30s", "compare": {**SLOWER, **changes}})


def test_a_comparison_of_latencies_has_its_part_of_alpha_like_any_other() -> None:
    """Its bounds are in order and in seconds, and the limit says what a good canary keeps."""
    checks = [resolve(slower(), None, "spec.checks[0]"), resolve(slower(alpha=0.01), None, "spec.checks[1]")]
    plan = spec(MIRROR, *weights(10), checks=[{"name": "a", "compare": COMPARE}])
    first, second = (each.judge for each in with_alphas(checks, plan, unresolved=1))
    assert isinstance(first, Slower)
    assert isinstance(second, Slower)
    assert (first.bounds, first.rule.alpha, second.rule.alpha) == ((0.3, 1.0), 0.0125, 0.005)
    assert first.limit == f"odds to be slower than 300 ms, 1 s at most 1.5{TIMES} stable's (alpha 2.5 %)"


@pytest.mark.parametrize(
    ("bounds", "words"),
    [(["100ms", "100ms"], "a bucket is named twice"), (["1s", "1000ms"], "named twice"), (["0s"], "more than 0 s")],
)
def test_bounds_that_can_be_none_are_named(bounds: list[str], words: str) -> None:
    """With the field."""
    with pytest.raises(SpecError, match=words) as caught:
        resolve(slower(slowerThan=bounds), None, "spec.checks[0]")
    assert caught.value.field == "spec.checks[0].compare.slowerThan"


def test_a_check_cannot_take_its_templates_warm_up_away() -> None:
    """The API server cannot see what a template holds; resolving does."""
    template = CheckTemplateSpec.model_validate({"compare": SLOWER, "initialDelay": "1m"})
    assert (
        resolve(Check.model_validate({"template": {"name": "slow"}}), template, "").settings.initial_delay.seconds == 60
    )
    check = Check.model_validate({"template": {"name": "slow"}, "initialDelay": "0s"})
    with pytest.raises(SpecError, match="needs an initialDelay"):
        resolve(check, template, "spec.checks[0]")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"slowerThan": None}, "slowerThan names bounds"),
        ({"tolerance": 1}, "tolerance of 1.1 or more"),
        ({"promoteEarly": True}, "promoteEarly goes by errors"),
        ({"prometheus": {}}, "either failures of requests, or buckets"),
        ({"prometheus": {**COMPARE["prometheus"], "unit": "ms"}, "slowerThan": None}, "unit is that of the bounds"),
    ],
)
def test_a_definition_without_our_rules_lets_nothing_through(changes: Json, words: str) -> None:
    """An older one on the server may have none of them."""
    with pytest.raises(ValidationError, match=words):
        slower(**changes)
