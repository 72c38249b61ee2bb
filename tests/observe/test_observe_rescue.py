"""A Rollout whose spec this version cannot read."""

from __future__ import annotations

from typing import Any

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
    saved = rescue(document)
    assert saved is not None
    assert saved.routes[0].name == "shop"
    assert saved.canary.service == "c"


def test_without_a_pair_there_is_nothing_to_rescue() -> None:
    """No pair, no routes to put back: the answer is None, not a guess."""
    assert rescue({"spec": {"routes": SPEC["routes"]}}) is None
    assert rescue({"spec": "nonsense"}) is None
    assert rescue({}) is None
