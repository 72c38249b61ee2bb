"""What a Rollout has seen of a route is kept for as long as it would see the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observe_kit import NOW, TEAM, ref, rollout, route

from canary.decide.facts import Facts
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.observe.checks import Checks
from canary.observe.facts import Received, gather
from canary.observe.rollout import Rollout
from canary.observe.routes import Views
from canary.observe.store import Store
from canary.routes.intent import run_annotation
from canary.routes.key import RouteKey

STEP = {"index": 1, "total": 1, "startedAt": "2026-01-01T11:00:00Z"}
RUN = {"number": 4, "startedAt": "2026-01-01T11:00:00Z"}
INTENT = {"rollout": "shop", "uid": "uid-shop", "run": 4, "mode": "step", "step": 1, "weights": {}, "baseline": {}}
RECORD = {"kind": "HTTPRoute", "name": "shop", "owned": True, "baseline": {"0": "90/10"}, "pair": "stable:80|canary:80"}
IDLE = RolloutStatus()
RUNNING, RECORDED, SWAPPED = (
    RolloutStatus.load({"phase": "Progressing", "run": RUN, "step": STEP, **more})
    for more in ({}, {"routes": [RECORD]}, {"swapped": True})
)
SPECS = [
    {},
    {"canary": {"service": "other", "port": 80}},
    {"steps": [{"match": [{"headers": [{"name": "x", "value": "y"}]}]}]},
    {"routes": [{"name": "api"}]},
]
ROUTES: list[dict[str, Any]] = [
    {},
    {"accepted": False},
    {"annotations": {run_annotation("shop"): json.dumps(INTENT)}},
    {"annotations": {run_annotation("shop"): "{"}},
]


def spec_of(changes: dict[str, Any]) -> RolloutSpec:
    spec = Rollout.of(rollout(**changes)).spec
    assert spec is not None
    return spec


class Watching:
    """A store that changes, and who looks at it: once with what was kept, and once as if for the first time."""

    def __init__(self) -> None:
        self.store, self.views, self.version = Store(), Views(), 0
        self.spec, self.status = spec_of({}), IDLE
        self.rollout = Rollout.of(rollout())

    def put(self, weight: int, **more: Any) -> None:
        self.version += 1
        rule = {"backendRefs": [ref("stable", 100 - weight), ref("canary", weight)]}
        self.store.put_route(route("shop", rule, version=self.version, **more))

    def drop(self) -> None:
        self.store.drop_route(RouteKey.read(route("shop")), "uid-shop")

    def look(self, views: Views | None) -> Facts:
        checks = Checks((), ())
        return gather(self.store, self.rollout, self.spec, self.status, checks, Received(), NOW, views=views)


changes = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from([0, 10, 50]), st.sampled_from(ROUTES)),
        st.tuples(st.just("drop")),
        st.tuples(st.just("spec"), st.sampled_from([spec_of(each) for each in SPECS])),
        st.tuples(st.just("status"), st.sampled_from([IDLE, RUNNING, RECORDED, SWAPPED])),
    ),
    max_size=12,
)


@given(changes)
def test_what_is_kept_is_what_would_be_seen(steps: list[tuple[Any, ...]]) -> None:
    """Whatever changes in whatever order: a look that remembers the last one sees what a first look sees."""
    world = Watching()
    for what, *how in steps:
        match what:
            case "put":
                world.put(how[0], **how[1])
            case "drop":
                world.drop()
            case "spec":
                world.spec = how[0]
            case "status":
                world.status = how[0]
        assert world.look(world.views) == world.look(None)
        assert world.look(world.views) == world.look(None)


def test_a_route_that_says_the_same_is_not_looked_at_again() -> None:
    """The view is the very same object until the route has another version; another look at it costs nothing."""
    world = Watching()
    world.put(10)
    (first,), (again,) = world.look(world.views).routes, world.look(world.views).routes
    assert again is first
    world.put(10)
    (later,) = world.look(world.views).routes
    assert later is not first
    assert later.key == RouteKey.read(route("shop")) == first.key
    assert later.key.namespace == TEAM


def test_routes_that_are_named_no_more_are_not_kept() -> None:
    """An edit may come every second for as long as a run lasts."""
    world = Watching()
    for number in range(20):
        world.spec = spec_of({"routes": [{"name": f"route-{number}"}]})
        world.look(world.views)
    assert world.views.size == 1


@pytest.mark.parametrize(
    ("said", "writer"),
    [
        ({"weights": {"#0": "90/10"}}, "the controller, for Rollout other (by its annotation),"),
        ({"weights": {"#0": "80/20"}}, ""),  # somebody has written it since
        ({"weights": {"#1": "90/10"}}, ""),  # another rule
        ({"weights": {"#0": "90/10"}, "rollout": "third"}, ""),  # not the annotation of that one
        ({"weights": {"#0": "90/10"}, "pair": ""}, ""),
    ],
    ids=["its weights are there", "other weights", "another rule", "another name", "of no pair"],
)
def test_a_write_of_the_controller_for_another_rollout_is_nobody_unknown(said: dict[str, Any], writer: str) -> None:
    """Where the run of another Rollout says that it has written what our rule gives its pair now, that one is named."""
    pair = f"{TEAM}/stable:80 {TEAM}/canary:80"
    other = {**INTENT, "rollout": "other", "uid": "uid-other", "pair": pair, **said}
    world = Watching()
    world.put(10, annotations={run_annotation("other"): json.dumps(other)})
    (seen,) = world.look(world.views).routes
    assert seen.writer == writer
