"""A Rollout whose spec this version cannot read."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.observe.rollout import Rollout, rescue

SPEC: dict[str, Any] = {
    "routes": [{"name": "shop"}],
    "stable": {"service": "s", "port": 80},
    "canary": {"service": "c", "port": 80},
    "steps": [{"teleport": 10}],
}


def test_routes_and_pair_survive_steps_of_another_version() -> None:
    """Enough is understood to put the routes back when such a Rollout is deleted in the middle of a run."""
    document = {"metadata": {"name": "shop", "namespace": "team"}, "spec": SPEC}
    read = Rollout.of(document)
    assert read.spec is None
    assert read.problem is not None
    assert read.problem.field.startswith("spec.steps[0]")
    saved = rescue(document, None)
    assert saved is not None
    assert saved.routes[0].name == "shop"
    assert saved.canary.service == "c"


def test_without_a_pair_there_is_nothing_to_rescue() -> None:
    """No pair, no routes to put back: the answer is None, not a guess."""
    for document in ({"spec": {"routes": SPEC["routes"]}}, {"spec": "nonsense"}, {}):
        assert rescue(document, None) is None


PLAN: dict[str, Any] = {
    **SPEC,
    "steps": [{"weight": 10, "hold": "1m"}, {"weight": 100}],
    "checks": [
        {"name": name, "prometheus": {"query": "vector(0)"}, "threshold": {"max": "1"}} for name in ("good", "odd")
    ],
    "deadline": "1h",
}


def put(document: dict[str, Any], value: Any, *place: str | int) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    holder: Any = changed
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    return changed


def saved(spec: dict[str, Any]) -> RolloutSpec:
    """What is left of a spec that cannot be read."""
    document = {"metadata": {"name": "shop", "namespace": "team"}, "spec": spec}
    before = copy.deepcopy(document)
    assert Rollout.of(document).spec is None
    found = rescue(document, None)
    assert document == before
    assert found is not None
    return found


@pytest.mark.parametrize(
    "place", [(), ("steps", 1), ("steps", 0), ("checks", 0), ("checks", 1, "threshold"), ("routes", 0), ("canary",)]
)
def test_what_a_newer_version_knows_is_left_out(place: tuple[str | int, ...]) -> None:
    """A member with a default, say. All else is as it was: the run, which began without it, is bound to the same plan."""
    assert saved(put(PLAN, "On", *place, "shields")) == RolloutSpec.model_validate(PLAN)


def test_checks_that_can_be_read_go_on_judging() -> None:
    """One that cannot is left out, and the plan is the same."""
    found = saved(put(PLAN, "often", "checks", 1, "interval"))
    assert [check.name for check in found.checks] == ["good"]
    assert found.plan_hash() == RolloutSpec.model_validate(PLAN).plan_hash()


def test_steps_that_cannot_be_read_are_another_plan() -> None:
    """Nobody knows what the run was doing: what it does now gives no traffic to anybody."""
    found = saved(
        put(PLAN, {"window": {"from": "08:00", "to": "17:00", "timezone": "Europe/Berln"}}, "steps", 1, "gate")
    )
    assert found.plan_hash() != RolloutSpec.model_validate(PLAN).plan_hash()
    assert [step.weight for step in found.steps] == [None]
    assert len(found.checks) == 2


def test_any_other_member_is_left_out() -> None:
    """With what can be read of the others."""
    found = saved(put(PLAN, "soon", "deadline"))
    assert found.deadline is None
    assert found.steps == RolloutSpec.model_validate(PLAN).steps


def test_two_that_contradict_each_other_leave_what_the_run_is_bound_to() -> None:
    """Which of them is wrong nobody can tell."""
    found = saved(PLAN | {"scale": {"canary": 1}})
    assert found.plan_hash() == RolloutSpec.model_validate(PLAN).plan_hash()
    assert (len(found.checks), found.scale, found.deadline) == (2, None, None)


def test_steps_that_contradict_each_other_leave_routes_and_pair() -> None:
    """The same, where it is about the plan itself."""
    steps = [{"mirror": {"percent": 1, "comparer": {"service": name, "port": 80}}, "hold": "1m"} for name in "ab"]
    found = saved(PLAN | {"steps": steps})
    assert found.routes == RolloutSpec.model_validate(PLAN).routes
    assert found.checks == ()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, member in below for place in places(member, (*path, key)))]


@given(st.data())
def test_whatever_is_wrong_routes_and_pair_survive(data: st.DataObject) -> None:
    """Where these can be read there is a spec, of which nothing was made up but a step that asks for nothing."""
    spec = PLAN
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(
            st.sampled_from([one for one in places(spec) if one and one[0] not in {"routes", "stable", "canary"}])
        )
        spec = put(spec, data.draw(st.sampled_from([None, -1, "", "x", [], {}, {"x": 1}, [{}], 2**70])), *place)
    found = rescue({"spec": spec}, data.draw(st.sampled_from([None, RolloutStatus()])))
    assert found is not None
    assert found.routes == RolloutSpec.model_validate(PLAN).routes
    weights = [step.weight for step in found.steps]
    assert weights in ([None], weights[: len(spec["steps"])] if isinstance(spec["steps"], list) else [None])


def test_what_could_not_be_read_is_read_again() -> None:
    """Definitions that were put back leave out what they do not know, and the generation stays; what could be read is not parsed twice."""
    metadata = {"name": "shop", "namespace": "team", "uid": "u", "generation": 3}
    odd = Rollout.of({"metadata": metadata, "spec": put(PLAN, "On", "shields")})
    assert odd.problem is not None
    assert "newer" in odd.problem.message
    well = Rollout.of({"metadata": metadata, "spec": PLAN}, odd)
    assert well.problem is None
    assert Rollout.of({"metadata": metadata, "spec": PLAN}, well).spec is well.spec


RECORD = RolloutStatus.load(
    {
        "phase": "Progressing",
        "routes": [
            {"kind": "QUICRoute", "name": "shop", "baseline": {"#0": "1/0"}},
            {
                "kind": "GRPCRoute",
                "name": "shop",
                "pair": "team/s:80 other/c:81",
                "baseline": {"a": "1/0", "#2": "1/0"},
            },
            {"kind": "TCPRoute", "name": "untouched"},
        ],
    }
)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("spec", [{}, "nonsense", {**SPEC, "routes": "shop", "stable": 1, "canary": {"service": "c"}}])
def test_routes_and_pair_of_a_run_are_on_record(spec: Any, swapped: bool) -> None:
    """Of a kind that this version knows, and of the rules that the run has written; the pair by its role in the spec."""
    found = rescue({"spec": spec}, RECORD.model_copy(update={"swapped": swapped}))
    assert found is not None
    assert [(ref.kind, ref.name, ref.rules) for ref in found.routes] == [("GRPCRoute", "shop", ("a", "#2"))]
    pair = [(target.namespace, target.service, target.port) for target in (found.stable, found.canary)]
    assert pair == [("team", "s", 80), ("other", "c", 81)][:: -1 if swapped else 1]


def test_single_routes_that_cannot_be_read_are_left_out() -> None:
    """What is declared of the others holds, and the checks go on."""
    spec = PLAN | {"routes": [{"name": "shop", "rules": ["a"]}, {"name": "more", "kind": "QUICRoute"}]}
    for record in (None, RECORD):
        found = rescue({"spec": spec}, record)
        assert found is not None
        assert [(ref.name, ref.rules) for ref in found.routes] == [("shop", ("a",))]
        assert len(found.checks) == 2
        assert found.plan_hash() != RolloutSpec.model_validate(PLAN).plan_hash()


@pytest.mark.parametrize("name", ["routes", "stable", "canary"])
def test_what_is_not_even_on_record_asks_nobody(name: str) -> None:
    """The run has written nothing, so there is nothing to put back, and nothing that a check could be about."""
    found = rescue({"spec": PLAN | {name: None}}, RolloutStatus())
    assert found is not None
    assert found.checks == ()
    assert found.traffic is None


@settings(deadline=None)
@given(st.data())
def test_of_a_run_something_is_left_whatever_is_wrong(data: st.DataObject) -> None:
    """It can be aborted, and its Rollout deleted."""
    spec: Any = PLAN
    for _ in range(data.draw(st.integers(1, 4))):
        if not (found := [one for one in places(spec) if one]):
            break
        nonsense = data.draw(st.sampled_from([None, -1, "", "x", [], {}, {"x": 1}, [{}], 2**70, [{"name": "x"}] * 40]))
        spec = put(spec, nonsense, *data.draw(st.sampled_from(found)))
    record = data.draw(st.sampled_from([RECORD, RolloutStatus()]))
    left = rescue({"spec": spec}, record)
    assert left is not None
    assert left.plan_hash()
    assert left.routes or not left.checks
