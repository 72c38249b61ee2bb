"""Where canary and stable can be compared, what is one process, and who gets which part of alpha."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.comparable import incomparable, processes, with_alphas
from canary.checks.judges.comparison import Versus
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
