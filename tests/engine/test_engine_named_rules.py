"""Shares by rule name: a rule that the team prepared for requests that opt in is moved apart from the others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from world import Fault, Gateways, World, begun, route, rule, spec_of

from canary.model.status import Phase

Json = dict[str, Any]

STEPS: list[Json] = [
    {"weight": 0, "rules": {"beta": 100}, "hold": "10s"},
    {"weight": 10, "hold": "10s"},
    {"weight": 50, "rules": {"beta": 60}, "hold": "10s"},
    {"weight": 100, "hold": "10s"},
]


def shop(**more: Any) -> Json:
    return route("shop", rule(name="beta", stable=3, canary=0), rule(name="rest", **more), rule(name="more"))


def world(**changes: Any) -> World:
    return begun(
        spec=spec_of(**{"steps": STEPS, **changes}), routes={"shop": shop()} if "routes" not in changes else {}
    )


def shares(world: World, name: str = "shop") -> dict[str, float]:
    """The canary's share in each rule."""
    return {pair.key: float(pair.weights.share) for pair in world.pairs(name)}


def test_a_named_rule_keeps_its_share_until_a_step_names_it_again() -> None:
    """The others follow `weight` meanwhile, and at the end all of it is as it was."""
    cluster = world()
    seen = []
    for _ in STEPS:
        cluster.wait(1)
        seen.append(shares(cluster))
        cluster.pass_step()
    assert seen == [
        {"beta": 100, "rest": 0, "more": 0},
        {"beta": 100, "rest": 10, "more": 10},
        {"beta": 60, "rest": 50, "more": 50},
        {"beta": 60, "rest": 100, "more": 100},
    ]
    cluster.stable.rolled_out = True
    cluster.wait(5)
    assert cluster.phase is Phase.SUCCEEDED
    assert cluster.routes["shop"]["spec"] == shop()["spec"]


def test_a_rule_without_a_share_is_not_written_to() -> None:
    """Its weights stay as their owner wrote them, to the number."""
    cluster = world()
    cluster.wait(1)
    refs = cluster.routes["shop"]["spec"]["rules"][1]["backendRefs"]
    assert [ref["weight"] for ref in refs] == [1, 0]


def test_what_people_read_tells_the_rules_apart() -> None:
    """WEIGHT is of the rules that follow `weight`; the others are named, in the message and in the status."""
    cluster = world()
    decision = cluster.wait(1)
    assert "holding 0 % (rule beta 100 %)" in decision.message
    assert cluster.status.split.written == cluster.status.split.desired == 0
    (remembered,) = cluster.status.routes
    assert (remembered.share, remembered.shares) == (0, {"beta": 100})
    cluster.pass_step()
    cluster.wait(1)
    assert cluster.status.split.written == cluster.status.split.desired == cluster.status.split.accepted == 10
    assert cluster.status.routes[0].shares == {"beta": 100}


def test_where_steps_name_every_rule_the_largest_of_them_is_the_weight() -> None:
    """No rule follows `weight`, so what it says is nobody's share."""
    steps = [{"rules": {"beta": 20, "rest": 30, "more": 5}, "hold": "10s"}]
    cluster = world(steps=steps)
    cluster.wait(1)
    assert shares(cluster) == {"beta": 20, "rest": 30, "more": 5}
    assert cluster.status.split.written == cluster.status.split.desired == 30


@pytest.mark.parametrize("how", ["check", "abort", "unavailable", "deleted"])
def test_traffic_of_a_named_rule_alone_is_traffic(how: str) -> None:
    """Checks are heard, a failure rolls back at once, and an outage takes it away, though `weight` is 0."""
    cluster = world()
    cluster.wait(1)
    assert shares(cluster)["beta"] == 100
    match how:
        case "check":
            cluster.measure(0.9)
        case "abort":
            cluster.ask("abort")
        case "unavailable":
            cluster.canary.ready = 0
        case "deleted":
            cluster.delete()
    cluster.run()
    assert shares(cluster) == {"beta": 0, "rest": 0, "more": 0}
    if how == "unavailable":
        cluster.canary.ready = 1
        cluster.run()
        assert shares(cluster) == {"beta": 100, "rest": 0, "more": 0}
    if how == "check":
        assert cluster.status.run is not None
        assert cluster.status.run.reason == "CheckFailed"


@pytest.mark.parametrize("trouble", ["no verdict", "not accepted", "no replica"])
def test_a_rise_of_one_rule_needs_what_every_rise_needs(trouble: str) -> None:
    """Evidence of the step before, acceptance, a ready replica."""
    steps: list[Json] = [{"weight": 10, "hold": "10s"}, {"rules": {"beta": 50}, "hold": "10s"}]
    cluster = world(steps=steps)
    cluster.wait(1)
    match trouble:
        case "no verdict":
            cluster.wait(60)
        case "not accepted":
            cluster = begun(spec=spec_of(steps=steps), routes={"shop": shop()}, gateways=Gateways.LATE)
            cluster.answer()
            cluster.run()
            cluster.measure(0.0)
            cluster.wait(30)
        case "no replica":
            cluster.canary.ready = 0
            cluster.pass_step()
    assert shares(cluster)["beta"] <= 10


def test_a_rise_of_one_rule_waits_until_the_step_before_is_on_record() -> None:
    """A restart believes a route that is one step ahead of the record, and no more, whichever rule it is that rises."""
    cluster = world(steps=[*STEPS[1:2], {"weight": 20, "hold": "10s"}, {"rules": {"beta": 50}}])
    cluster.wait(1)
    cluster.script = lambda _, target: Fault.REFUSED if target == "status" else None
    for _ in range(3):
        cluster.measure(0.0)
        for _ in range(15):
            cluster.tick()
            cluster.now += timedelta(seconds=1)
    assert shares(cluster) == {"beta": 20, "rest": 20, "more": 20}


def test_the_annotation_of_a_route_on_which_only_a_named_rule_has_traffic_is_kept() -> None:
    """It is what a restart goes by, so it is put back where somebody takes it away."""
    cluster = world()
    cluster.wait(1)
    cluster.strip()
    cluster.run()
    assert cluster.annotated()
    assert shares(cluster) == {"beta": 100, "rest": 0, "more": 0}


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("strip", [False, True])
def test_a_hand_on_one_rule_is_seen_by_that_rules_share(*, crash: bool, strip: bool) -> None:
    """Lowered below its own share it wins, though the rule has more than `weight`; also where only the status still tells."""
    cluster = world()
    cluster.pass_step()
    cluster.wait(1)
    assert shares(cluster) == {"beta": 100, "rest": 10, "more": 10}
    if crash:
        cluster.crash()
    if strip:
        cluster.strip()
        cluster.tick()
        assert cluster.phase is Phase.PROGRESSING
    cluster.weigh(60, 40, rule_=0)
    cluster.run()
    assert cluster.phase is Phase.PAUSED
    assert "from 100 % to 40 %" in cluster.status.message
    assert shares(cluster) == {"beta": 40, "rest": 10, "more": 10}


def test_a_hand_that_raises_one_rule_is_put_back_to_that_rules_share() -> None:
    """Not to the largest of the route."""
    cluster = world()
    cluster.wait(1)
    cluster.weigh(10, 90, rule_=1)
    cluster.run()
    assert shares(cluster) == {"beta": 100, "rest": 0, "more": 0}
    assert "putting it back to 0 % (rule beta 100 %)" in next(
        told.message for told in cluster.told if told.reason == "RaisedByOther"
    )


@pytest.mark.parametrize("recorded", [0, 1, 2, 3])
def test_a_takeover_stands_at_a_step_whose_shares_were_all_written(recorded: int) -> None:
    """Whatever step the record claims, no rule is given more than it had when the controller died."""
    cluster = world()
    cluster.wait(1)
    given = shares(cluster)
    cluster.crash()
    cluster.recorded["step"]["index"] = recorded
    cluster.run()
    cluster.wait(2)
    assert all(share <= given[key] for key, share in shares(cluster).items())


def test_a_takeover_does_not_believe_an_annotation_that_leaves_the_named_rule_out() -> None:
    """Somebody forges that the rule was never given anything: its share on the route decides, and it is not raised."""
    cluster = world()
    cluster.wait(1)
    cluster.crash()

    def forge(document: Json) -> None:
        annotations = document["metadata"]["annotations"]
        annotations["run.canary.dev/shop"] = annotations["run.canary.dev/shop"].replace('"beta":"0/100",', "")
        for ref, weight in zip(document["spec"]["rules"][0]["backendRefs"], (100, 0), strict=True):
            ref["weight"] = weight

    cluster.edit_route("shop", forge)
    cluster.promises.lowered.add(("shop", "beta"))
    cluster.tick()
    assert shares(cluster)["beta"] == 0


def test_several_routes_have_a_rule_of_that_name() -> None:
    """All of them are moved; a route without one follows `weight` and is not written while that is 0."""
    spec = spec_of(steps=STEPS, routes=[{"name": "shop"}, {"name": "api"}, {"name": "plain"}])
    routes = {"shop": shop(), "api": route("api", rule(name="beta")), "plain": route("plain")}
    cluster = begun(spec=spec, routes=routes)
    cluster.wait(1)
    assert (shares(cluster)["beta"], shares(cluster, "api")["beta"]) == (100, 100)
    assert not cluster.annotated("plain")
    cluster.pass_step()
    cluster.wait(1)
    assert shares(cluster, "plain") == {"#0": 10}
    cluster.ask("abort")
    cluster.run()
    assert {share for name in routes for share in shares(cluster, name).values()} == {0}


def test_swap_gives_the_canary_everything_before_roles_change() -> None:
    """A rule that steps left below 100 % too."""
    cluster = world(promotion="Swap")
    for _ in STEPS:
        cluster.pass_step()
    cluster.wait(5)
    assert cluster.phase is Phase.SUCCEEDED
    assert cluster.status.swapped
    refs = [each["backendRefs"] for each in cluster.routes["shop"]["spec"]["rules"]]
    assert [(stable["weight"], canary["weight"] > 0) for stable, canary in refs] == [(0, True)] * 3


def test_a_swap_is_not_believed_where_one_rule_has_everything_and_others_nothing() -> None:
    """A record that says the run was won by Swap raises nothing."""
    cluster = world(promotion="Swap")
    cluster.wait(1)
    cluster.crash()
    cluster.recorded["phase"] = "Promoting"
    cluster.recorded["run"] |= {"outcome": "Succeeded", "swap": True}
    cluster.run()
    cluster.wait(5)
    assert set(shares(cluster).values()) == {0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": [{"rules": {"gamma": 10}}]}, "no route of this Rollout has a rule named 'gamma'"),
        ({"steps": [{"rules": {"#1": 10}}]}, "no route of this Rollout has a rule named '#1'"),
        ({"routes": [{"name": "shop", "rules": ["rest"]}]}, "spec.routes[].rules leaves rule 'beta' out"),
    ],
)
def test_a_step_that_names_no_rule_of_ours_is_invalid(changes: Json, words: str) -> None:
    """It says which, and nothing is written."""
    cluster = begun(spec=spec_of(**{"steps": STEPS, **changes}), routes={"shop": shop()})
    cluster.wait(1)
    assert cluster.phase is Phase.INVALID
    assert words in cluster.status.message
    assert not cluster.annotated()


def test_a_rule_that_loses_its_name_is_not_given_what_the_others_have() -> None:
    """Nobody has seen it with that share: it keeps what it had until the name is back, and the run goes no further."""
    cluster = world(steps=[{"weight": 50, "rules": {"beta": 5}, "hold": "10s"}, {"weight": 100}])
    cluster.wait(1)
    cluster.edit_route("shop", lambda document: document["spec"]["rules"][0].pop("name"))
    for _ in range(3):
        cluster.pass_step()
    assert shares(cluster) == {"#0": 5, "rest": 50, "more": 50}
    cluster.edit_route("shop", lambda document: document["spec"]["rules"][0].update(name="beta"))
    cluster.pass_step()
    cluster.wait(1)
    assert shares(cluster) == {"beta": 5, "rest": 100, "more": 100}
    cluster.ask("abort")
    cluster.run()
    assert set(shares(cluster).values()) == {0}


def test_a_share_that_a_named_rule_cannot_express_is_found_before_a_run() -> None:
    """Next to a third backend its weights cannot be raised."""
    routes = {"shop": route("shop", rule(name="beta", stable=3, canary=0, third=5), rule(name="rest"))}
    cluster = begun(spec=spec_of(steps=[{"weight": 100, "rules": {"beta": 50}}]), routes=routes)
    cluster.wait(1)
    assert cluster.phase is Phase.INVALID
    assert not cluster.annotated()


def test_a_plan_without_named_rules_is_the_plan_it_was() -> None:
    """A controller that learns of them does not start runs again that are under way."""
    assert spec_of().plan_hash() == "6c284a97c1"
    assert spec_of(steps=[{"weight": 10}]).plan_hash() != spec_of(steps=[{"weight": 10, "rules": {"a": 1}}]).plan_hash()
