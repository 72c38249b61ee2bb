"""Whose a rule or a backend is where somebody edits what a run knows it by: it goes on having in hand what it has written."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from world import AROUND, RUN_ANNOTATION, World, begun, mirror_to, route, rule, spec_of

from canary.decide import reasons
from canary.model.status import Phase
from canary.model.values import decimal_text
from canary.preflight.surroundings import POLICY, Documents
from canary.routes.intent import parse_intent

Json = dict[str, Any]


def on(path: str, **more: Any) -> Json:
    """A rule with our pair for a path of its own."""
    return {**rule(**more), "matches": [{"path": {"type": "PathPrefix", "value": path}}]}


def listed(world: World, index: int = 0) -> list[tuple[str, int, int]]:
    """What a rule sends where: Service, port, weight."""
    refs = world.routes["shop"]["spec"]["rules"][index]["backendRefs"]
    return [(ref["name"], ref["port"], ref.get("weight", 1)) for ref in refs]


def at(step: int, **changes: Any) -> World:
    """A run at a step of 10, 50 and 100 %."""
    world = begun(**changes)
    world.wait(1)
    for _ in range(step - 1):
        world.pass_step()
        world.wait(1)
    return world


def ports(world: World, port: int = 8080) -> None:
    """Git gives both backends another port, and keeps their weights."""

    def change(document: Json) -> None:
        for item in document["spec"]["rules"]:
            for ref in item["backendRefs"]:
                if ref["name"] in {"s", "c"}:
                    ref["port"] = port

    world.edit_route("shop", change)
    world.run()


def place(who: str, **ref: Any) -> Callable[[Json], None]:
    """A backendRef of the first rule gets other members; the others stay."""

    def change(document: Json) -> None:
        refs = document["spec"]["rules"][0]["backendRefs"]
        next(each for each in refs if each["name"] == who).update(ref)

    return change


def services(**ports_: int) -> Documents:
    """These Services are there, and no others."""
    found = [
        {"kind": "Service", "metadata": {"name": name, "namespace": "team"}, "spec": {"ports": [{"port": port}]}}
        for name, port in ports_.items()
    ]
    return Documents(found, known=[(POLICY, ""), ("Service", "")], platform=AROUND.platform)


def fails(world: World) -> None:
    world.measure(0.5)
    world.run()
    world.wait(70)


def aborted(world: World) -> None:
    world.ask("abort", id_="enough")
    world.run()
    world.wait(70)


def follows(world: World) -> None:
    """The spec says the same as the route, by an apply of its own; the next run waits."""
    world.canary.rolled_out = False
    world.declare(stable={"service": "s", "port": 8080}, canary={"service": "c", "port": 8080})
    world.run()
    world.wait(70)


def revised(world: World) -> None:
    """The run that follows waits before its first step."""
    world.revise("c")
    world.canary.rolled_out = False


# -- other ports ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [None, World.crash, World.strip])
@pytest.mark.parametrize("end", [fails, aborted, follows])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_both_services_on_another_port_are_the_same_pair(
    step: int, end: Callable[[World], None], trouble: Callable[[World], None] | None
) -> None:
    """Whoever is sent back is sent to what the route lists, and to nothing that it lists no more."""
    world = at(step)
    ports(world)
    assert reasons.LOWERED_BY_HAND not in world.reasons
    if trouble is not None:
        trouble(world)
    end(world)
    assert listed(world)[0][:2] == ("s", 8080)
    assert listed(world)[0][2] > 0
    assert listed(world)[1:] == [("c", 8080, 0)]


def test_a_third_backend_keeps_its_share_where_ports_change_at_the_end() -> None:
    """What the pair had stays the pair's."""
    world = at(3, routes={"shop": route("shop", rule(stable=80, canary=0, third=20))})
    before = {name: weight for name, _, weight in listed(world)}
    assert before["c"] == 80
    ports(world)
    fails(world)
    assert {name: weight for name, _, weight in listed(world)} == {**before, "s": 80, "c": 0}


def test_two_ports_of_one_service_are_told_apart_by_them() -> None:
    """Stable on another port is still not the canary, and the other way round."""
    refs = {"stable": {"service": "s", "port": 80}, "canary": {"service": "s", "port": 81}}
    document = route("shop", rule())
    document["spec"]["rules"][0]["backendRefs"] = [
        {"name": "s", "port": 80, "weight": 100},
        {"name": "s", "port": 81, "weight": 0},
    ]
    world = at(3, spec=spec_of(**refs), routes={"shop": document})
    assert listed(world) == [("s", 80, 0), ("s", 81, 100)]
    world.edit_route("shop", lambda there: there["spec"]["rules"][0]["backendRefs"][0].update(port=8080))
    world.run()
    fails(world)
    assert listed(world) == [("s", 8080, 100), ("s", 81, 0)]


def test_a_rule_of_others_on_other_ports_of_both_services_is_not_taken_for_the_runs() -> None:
    """A Rollout of its own may move it."""
    theirs = on("/admin")
    theirs["backendRefs"] = [{"name": "s", "port": 9090, "weight": 30}, {"name": "c", "port": 9090, "weight": 70}]
    world = at(1, routes={"shop": route("shop", on("/"), theirs)})
    ports_before = listed(world, 1)
    world.edit_route("shop", place("s", port=9999))
    world.run()
    fails(world)
    assert listed(world, 1) == ports_before
    assert listed(world)[1] == ("c", 80, 0)


@pytest.mark.parametrize("port", [80, 8080])
def test_roles_that_an_annotation_turns_are_turned_on_whatever_port(port: int) -> None:
    """A Rollout that is made anew with the roles exchanged finds what a run of the one before has left, which had other ports."""
    document = route("shop", rule(name="main"))
    document["spec"]["rules"][0]["backendRefs"] = [
        {"name": "s", "port": port, "weight": 0},
        {"name": "c", "port": port, "weight": 100},
    ]
    left = (
        '{"rollout":"shop","uid":"old","run":1,"mode":"step","step":2,"weights":{"main":"50/50"},'
        '"baseline":{"main":"100/0"},"pair":"team/s:80 team/c:80"}'
    )
    document["metadata"]["annotations"][RUN_ANNOTATION] = left
    assert parse_intent(left) is not None
    spec = spec_of(stable={"service": "c", "port": port}, canary={"service": "s", "port": port})
    world = World(spec=spec, routes={"shop": document})
    world.run()
    assert listed(world) == [("s", port, 0), ("c", port, 100)]
    assert not world.annotated()


# -- another Service in stable's place ----------------------------------------------------------------------------------


def test_users_go_to_what_has_stables_place_where_stable_is_gone() -> None:
    """Git has renamed it, and removed the Service that it was."""
    world = at(3)
    world.edit_route("shop", place("s", name="s2"))
    world.around = services(s2=80, c=80)
    world.run()
    fails(world)
    assert listed(world) == [("s2", 80, 1), ("c", 80, 0)]


def test_users_go_to_stable_as_long_as_it_is_not_known_to_be_gone() -> None:
    """That is what served them before the run."""
    for around in (AROUND, services(s=80, s2=80, c=80), services(c=80)):
        world = at(3)
        world.edit_route("shop", place("s", name="s2"))
        world.around = around
        world.run()
        fails(world)
        assert ("s", 80, 1) in listed(world)
        assert ("c", 80, 0) in listed(world)


def test_a_third_backend_that_was_there_before_has_nobodys_place() -> None:
    """It had no traffic, and the record says what was there."""
    document = route("shop", rule(stable=100, canary=0, third=0))
    world = at(3, routes={"shop": document})

    def change(there: Json) -> None:
        refs = there["spec"]["rules"][0]["backendRefs"]
        refs[:] = [ref for ref in refs if ref["name"] != "s"]

    world.edit_route("shop", change)
    world.around = services(third=80, c=80)
    world.run()
    fails(world)
    assert [weight for name, _, weight in listed(world) if name not in {"s", "c"}] == [0]
    assert ("c", 80, 0) in listed(world)


@pytest.mark.parametrize("trouble", [None, World.crash, World.strip])
@pytest.mark.parametrize(("step", "weight", "left"), [(1, 1, 0), (1, 100, 10), (1, 45, 5), (2, 1, 1), (2, 49, 49)])
def test_a_share_that_is_more_because_another_backend_has_less_is_put_back(
    step: int, weight: int, left: int, trouble: Callable[[World], None] | None
) -> None:
    """Git calls stable something else, with the weight that Git has for it: of what the rule gives now the canary has no more than it was given."""
    world = at(step)
    world.edit_route("shop", place("s", name="s2", weight=weight))
    if trouble is not None:
        trouble(world)
    decision = world.run()
    assert {name: weight for name, _, weight in listed(world)} == {"s2": weight, "c": left}
    told = [tell.message for tell in world.told if tell.reason == reasons.RAISED_BY_OTHER]
    assert bool(told) is (weight < {1: 90, 2: 50}[step])
    assert not told or "argocd" in told[0]
    for _ in range(3):
        world.measure(0.0)
        decision = world.wait(30)
    assert {name: weight for name, _, weight in listed(world)} == {"s2": weight, "c": left}
    assert decision.reason == reasons.INVALID
    assert reasons.LOWERED_BY_HAND not in world.reasons
    now = Fraction(100 * left, left + weight)
    assert world.recorded["split"]["written"] == pytest.approx(float(now), abs=0.01)
    assert f"held at {decimal_text(now)} %" in decision.message
    fails(world)
    assert ("c", 80, 0) in listed(world)


def test_the_step_has_its_share_again_when_stable_is_listed_again() -> None:
    """That was earned."""
    world = at(1)
    world.edit_route("shop", place("s", name="s2", weight=1))
    world.run()
    world.edit_route("shop", place("s2", name="s"))
    world.run()
    assert {name: weight for name, _, weight in listed(world)} == {"s": 90, "c": 10}


# -- a name that another rule has now -------------------------------------------------------------------------------------

TWO = (on("/a", name="checkout"), on("/b", name="old"))


def half(**changes: Any) -> World:
    """A run at 50 % in the one rule that its spec names, of two."""
    spec = spec_of(routes=[{"name": "shop", "rules": ["checkout"]}], **changes)
    world = at(2, spec=spec, routes={"shop": route("shop", *copy.deepcopy(TWO))})
    assert shares(world) == {"checkout": 50, "old": 0}
    return world


def shares(world: World) -> dict[str, int]:
    """What each rule gives the canary, in percent of the pair, by its present name."""
    found = {}
    for item in world.routes["shop"]["spec"]["rules"]:
        weights = {ref["name"]: ref.get("weight", 1) for ref in item["backendRefs"]}
        found[item["name"]] = 100 * weights["c"] // (weights["c"] + weights["s"])
    return found


def superseded(stable: int, canary: int) -> Callable[[Json], None]:
    """The old rule goes by another name, and a new one has its name, with these weights."""

    def change(document: Json) -> None:
        rules = document["spec"]["rules"]
        new = copy.deepcopy(rules[0])
        new["matches"][0]["path"]["value"] = "/v2"
        new["backendRefs"] = [{**ref, "weight": stable if ref["name"] == "s" else canary} for ref in new["backendRefs"]]
        rules[0]["name"] = "checkout-v1"
        rules.insert(0, new)

    return change


def exchanged(document: Json) -> None:
    first, second = document["spec"]["rules"][:2]
    first["name"], second["name"] = second["name"], first["name"]


RENAMINGS = [superseded(1, 0), superseded(50, 50), superseded(10, 90), exchanged]
IDS = ["new at 0", "new at 50", "new at 90", "exchanged"]


@pytest.mark.parametrize("trouble", [None, World.crash, World.strip])
@pytest.mark.parametrize("end", [fails, aborted, World.delete, revised])
@pytest.mark.parametrize("change", RENAMINGS, ids=IDS)
def test_whatever_ends_a_run_reaches_each_rule_that_may_be_its_own(
    change: Callable[[Json], None], end: Callable[[World], None], trouble: Callable[[World], None] | None
) -> None:
    """What was recorded of a rule is found whoever has its name, and who has its name is meant as well."""
    world = half()
    world.edit_route("shop", change)
    world.run()
    if trouble is not None:
        trouble(world)
        world.run()
    end(world)
    world.run()
    assert not any(shares(world).values()), shares(world)
    world.wait(70)
    assert not any(shares(world).values())


@pytest.mark.parametrize("change", RENAMINGS, ids=IDS)
def test_nothing_is_given_to_a_rule_of_which_nobody_can_tell_whether_it_is_the_runs(
    change: Callable[[Json], None],
) -> None:
    """The run holds where it is, says which rules these are, and blames nobody for what nobody has lowered."""
    world = half()
    world.edit_route("shop", change)
    before = {name: min(share, 50) for name, share in shares(world).items()}
    decision = world.run()
    for _ in range(3):
        world.measure(0.0)
        decision = world.wait(30)
    assert world.phase is Phase.PROGRESSING
    assert decision.reason == reasons.INVALID
    assert "of route shop may be what this run has written" in decision.message
    assert "held at 50 %" in decision.message
    assert shares(world) == before
    assert world.recorded["split"]["written"] == 50
    assert reasons.LOWERED_BY_HAND not in world.reasons


def test_the_run_goes_on_when_names_are_as_they_were() -> None:
    """With what it was given."""
    world = half()
    world.edit_route("shop", exchanged)
    world.wait(30)
    world.edit_route("shop", exchanged)
    world.wait(1)
    world.pass_step()
    assert shares(world) == {"checkout": 100, "old": 0}


def test_copies_end_in_a_rule_whose_name_another_one_has() -> None:
    """What a mirror step has added is taken out of it."""
    steps = [{"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "1h"}, {"weight": 50}]
    spec = spec_of(routes=[{"name": "shop", "rules": ["checkout"]}], steps=steps)
    world = at(1, spec=spec, routes={"shop": route("shop", *copy.deepcopy(TWO))})
    assert world.copied()
    world.edit_route("shop", exchanged)
    world.run()
    aborted(world)
    assert not world.copied()


# -- a rule that comes in the middle of a run -------------------------------------------------------------------------------


def inserted(stable: int, canary: int, where: int = 1) -> Callable[[Json], None]:
    """Another rule lists the pair, with these weights."""
    refs = [{"name": "s", "port": 80, "weight": stable}, {"name": "c", "port": 80, "weight": canary}]
    new = {**on("/pay", name="payments"), "backendRefs": refs}
    return lambda document: document["spec"]["rules"].insert(where, copy.deepcopy(new))


def every() -> World:
    """A run at 10 % in every rule that lists the pair, which is one."""
    return at(1, routes={"shop": route("shop", on("/a", name="checkout"))})


@pytest.mark.parametrize("trouble", [None, World.crash, World.strip])
@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize(
    ("stable", "canary", "share"), [(100, 0, 0), (1, 0, 0), (95, 5, 5), (90, 10, 10), (10, 90, 10)]
)
def test_a_rule_that_comes_in_the_middle_of_a_run_joins_with_the_next_step(
    stable: int, canary: int, share: int, where: int, trouble: Callable[[World], None] | None
) -> None:
    """Until then it has what its owner wrote, and no more than the step gives."""
    world = every()
    world.edit_route("shop", inserted(stable, canary, where))
    if trouble is not None:
        trouble(world)
    for _ in range(3):
        world.run()
        assert shares(world) == {"checkout": 10, "payments": share}
        world.wait(1)
    assert world.phase is Phase.PROGRESSING
    assert not {reasons.LOWERED_BY_HAND, reasons.RAISED_BY_OTHER} & set(world.reasons)
    world.pass_step()
    assert shares(world) == {"checkout": 50, "payments": 50}
    fails(world)
    assert not any(shares(world).values())


@pytest.mark.parametrize("end", [fails, aborted, World.delete, revised])
def test_whatever_ends_a_run_takes_the_canary_out_of_rules_that_have_not_joined(end: Callable[[World], None]) -> None:
    """They list the pair of the run, so their traffic is on a canary that has failed."""
    world = every()
    world.edit_route("shop", inserted(95, 5))
    world.run()
    end(world)
    world.run()
    assert not any(shares(world).values())


def test_a_rule_that_comes_at_the_last_step_has_stable_until_roles_are_exchanged() -> None:
    """Then stable is the other one, for every rule."""
    for promotion, share in (("Swap", 100), ("Await", 0)):
        world = at(3, spec=spec_of(promotion=promotion), routes={"shop": route("shop", on("/a", name="checkout"))})
        world.edit_route("shop", inserted(1, 0))
        world.wait(3)
        assert shares(world) == {"checkout": 100, "payments": 0}
        world.pass_step()
        world.ask("promote", id_="go")
        world.wait(60)
        assert world.phase is Phase.SUCCEEDED
        assert set(shares(world).values()) == {share}


def test_a_canary_that_was_away_comes_back_to_the_rules_that_had_joined() -> None:
    """A step that is entered anew is the same one."""
    world = every()
    world.edit_route("shop", inserted(1, 0))
    world.run()
    world.canary.ready = 0
    world.run()
    assert shares(world) == {"checkout": 0, "payments": 0}
    world.canary.ready = 1
    world.wait(3)
    assert shares(world) == {"checkout": 10, "payments": 0}


def test_copies_of_a_rule_that_comes_wait_for_the_next_step() -> None:
    """A mirror step sends none of it."""
    steps = [{"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "10s"}, {"weight": 10}]
    world = at(1, spec=spec_of(steps=steps), routes={"shop": route("shop", on("/a", name="checkout"))})
    world.edit_route("shop", inserted(1, 0))
    world.wait(3)
    assert {key: share for key, share in world.copied().items() if share} == {"checkout": 20}
    world.pass_step()
    assert shares(world) == {"checkout": 10, "payments": 10}


def test_rules_that_are_all_exchanged_for_others_are_a_hand_that_lowers() -> None:
    """What the run has shown was in none of these; a person may say that they are to have the share."""
    world = at(2, routes={"shop": route("shop", on("/a", name="checkout"))})

    def change(document: Json) -> None:
        inserted(1, 0)(document)
        del document["spec"]["rules"][0]

    world.edit_route("shop", change)
    decision = world.run()
    assert world.phase is Phase.PAUSED
    assert "argocd changed the canary's share on HTTPRoute shop from 50 % to 0 %" in decision.message
    assert shares(world) == {"payments": 0}
    world.ask("resume", id_="go on")
    world.run()
    assert world.phase is Phase.PROGRESSING
    assert shares(world) == {"payments": 50}


# -- a rule without a name of which several things are edited -----------------------------------------------------------


@pytest.mark.parametrize("end", ["check", "abort", "deletion"])
@pytest.mark.parametrize("ports", [("s",), ("c",), ("s", "c")], ids=["stable", "canary", "both"])
@pytest.mark.parametrize("rules", [1, 2])
def test_a_rule_whose_match_and_ports_are_edited_in_one_write_is_given_back(
    rules: int, ports: tuple[str, ...], end: str
) -> None:
    """As one commit does, of a tool that leaves weights alone: whatever ends the run takes the canary's share from it."""
    documents = [rule() for _ in range(rules)]
    for number, each in enumerate(documents):
        each["matches"] = [{"path": {"type": "PathPrefix", "value": f"/p{number}"}}]
    world = begun(spec=spec_of(promotion="Await"), routes={"shop": route("shop", *documents)})
    world.wait(1)
    world.pass_step()
    world.wait(1)

    def edited(document: Json) -> None:
        last = document["spec"]["rules"][-1]
        last["matches"] = [{"path": {"type": "PathPrefix", "value": "/new"}}]
        for ref in last["backendRefs"]:
            if ref["name"] in ports:
                ref["port"] = 8080

    world.edit_route("shop", edited, "argocd")
    world.run()
    if end == "check":
        for _ in range(2):
            world.measure(0.5)
            world.run()
    elif end == "abort":
        world.ask("abort", id_="one")
    else:
        world.delete()
    world.run()
    world.wait(70)
    given = [
        ref["weight"]
        for each in world.routes["shop"]["spec"]["rules"]
        for ref in each["backendRefs"]
        if ref["name"] == "c"
    ]
    assert given == [0] * rules
    assert not world.annotated()


@pytest.mark.parametrize("together", [True, False], ids=["in one write", "in two"])
def test_a_rule_that_was_appended_gets_nothing_when_the_old_one_is_edited(together: bool) -> None:
    """The old one is where it was, and the new one gives the canary nothing: no other can be meant."""
    world = begun(spec=spec_of(promotion="Await"))
    world.wait(1)
    world.pass_step()
    world.wait(1)
    assert world.share() == 50
    new = {
        **copy.deepcopy(world.routes["shop"]["spec"]["rules"][0]),
        "matches": [{"path": {"type": "PathPrefix", "value": "/pay"}}],
    }
    new["backendRefs"][0]["weight"], new["backendRefs"][1]["weight"] = 100, 0

    def appended(document: Json) -> None:
        document["spec"]["rules"].append(copy.deepcopy(new))

    def edited(document: Json) -> None:
        document["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "/v2"}}]

    def both(document: Json) -> None:
        appended(document)
        edited(document)

    for edit in [both] if together else [appended, edited]:
        world.edit_route("shop", edit, "argocd")
        world.run()
    weights = [[ref["weight"] for ref in each["backendRefs"]] for each in world.routes["shop"]["spec"]["rules"]]
    assert weights == [[50, 50], [100, 0]]
    world.measure(0.5)
    world.run()
    world.wait(70)
    weights = [[ref["weight"] for ref in each["backendRefs"]] for each in world.routes["shop"]["spec"]["rules"]]
    assert weights == [[1, 0], [100, 0]]


# -- copies: of which backend, and from which rule -----------------------------------------------------------------------

MIRRORED = [{"mirror": {"percent": 20, "allowUnsafeMethods": True}, "hold": "1h"}, {"weight": 50}]


def mirroring(*rules: Json, named: tuple[str, ...] = ()) -> World:
    """A run that copies a fifth of the requests; `named`: of these rules only."""
    ref = {"name": "shop", **({"rules": [*named]} if named else {})}
    spec = spec_of(routes=[ref], steps=MIRRORED, promotion="Await")
    world = at(1, spec=spec, routes={"shop": route("shop", *copy.deepcopy(rules))})
    assert world.copied()
    return world


def copying(world: World) -> list[str | None]:
    """The names of the rules that copy requests to the canary's Service, on whatever port."""
    return [
        item.get("name")
        for item in world.routes["shop"]["spec"]["rules"]
        for each in item.get("filters") or ()
        if each["type"] == "RequestMirror" and each["requestMirror"]["backendRef"]["name"] == "c"
    ]


@pytest.mark.parametrize("end", [fails, aborted, World.delete, revised])
def test_copies_to_another_port_of_the_canary_are_the_runs(end: Callable[[World], None]) -> None:
    """A port is edited over the whole route, our filter included: nobody has changed what is copied, and whatever ends the run ends it."""
    world = mirroring(on("/a", name="checkout"))

    def everywhere(document: Json) -> None:
        for item in document["spec"]["rules"]:
            for each in item["filters"]:
                each.get("requestMirror", {}).get("backendRef", {})["port"] = 8080

    def ports_and_mirrors(document: Json) -> None:
        everywhere(document)
        for ref in document["spec"]["rules"][0]["backendRefs"]:
            ref["port"] = 8080

    world.edit_route("shop", ports_and_mirrors, "argocd")
    decision = world.run()
    assert "mirrored from" not in decision.message
    assert copying(world) == ["checkout"]
    end(world)
    world.run()
    world.wait(70)
    assert copying(world) == []


@pytest.mark.parametrize("renamed", [True, False], ids=["by its name", "by another one"])
@pytest.mark.parametrize("end", [fails, aborted, World.delete, revised])
def test_copies_end_in_a_rule_that_was_copied_with_our_filter(end: Callable[[World], None], renamed: bool) -> None:
    """Git puts a rule in front that was made from the live one: what it copies to the canary is what the run does."""
    world = mirroring(on("/a", name="checkout"))

    def change(document: Json) -> None:
        rules = document["spec"]["rules"]
        new = copy.deepcopy(rules[0])
        new["matches"][0]["path"]["value"] = "/v2"
        (rules[0] if renamed else new)["name"] = "other"
        rules.insert(0, new)

    world.edit_route("shop", change, "argocd")
    world.run()
    end(world)
    world.run()
    world.wait(70)
    assert copying(world) == []


def test_an_owners_own_copies_are_left() -> None:
    """Those that a rule sent before the run, or that are of another share, are no copies of the run's."""
    theirs = on("/b", name="theirs", filters=[mirror_to("c", percent=20)])
    world = mirroring(on("/a", name="checkout"), theirs, named=("checkout",))
    aborted(world)
    world.wait(70)
    assert copying(world) == ["theirs"]


def another_backend(item: Json) -> None:
    """Which identifies a rule, as what it matches does."""
    item["backendRefs"].append({"name": "other", "port": 80, "weight": 7})


def another_path(item: Json) -> None:
    """The same, by what it matches."""
    item["matches"][0]["path"]["value"] = "/v2"


@pytest.mark.parametrize("first", [True, False], ids=["behind ours", "before ours"])
@pytest.mark.parametrize("edit", [another_backend, another_path])
@pytest.mark.parametrize("end", [fails, aborted, World.delete, revised])
def test_copies_of_a_rule_that_got_the_pair_in_a_run_stay_its_owners(
    end: Callable[[World], None], edit: Callable[[Json], None], first: bool
) -> None:
    """It listed the canary alone and copied half of its requests when the run began: what is done to the run's rule makes it nobody else's."""
    theirs = {**on("/b", filters=[mirror_to("c", percent=50)]), "backendRefs": [{"name": "c", "port": 80, "weight": 0}]}
    world = mirroring(*([on("/a"), theirs] if first else [theirs, on("/a")]))
    ours, other = (0, 1) if first else (1, 0)

    def pair(document: Json) -> None:
        rule_ = document["spec"]["rules"][other]
        rule_["backendRefs"] = [{"name": "s", "port": 80, "weight": 1}, {"name": "c", "port": 80, "weight": 0}]

    world.edit_route("shop", pair)
    world.run()
    world.edit_route("shop", lambda document: edit(document["spec"]["rules"][ours]))
    world.run()
    world.wait(1)
    end(world)
    world.run()
    world.wait(70)
    filters = [item["filters"] for item in world.routes["shop"]["spec"]["rules"]]
    assert (filters[ours], filters[other]) == (on("/a")["filters"], [mirror_to("c", percent=50)])


def dropped(world: World) -> None:
    """The run's rule is removed, and the other one loses the pair after that."""
    world.edit_route("shop", lambda document: document["spec"]["rules"].pop(0))
    world.run()
    world.drop_pair()


def all_edited(world: World) -> None:
    """Both rules are edited before the run's is removed."""
    world.edit_filters(lambda filters: filters.append(mirror_to("audit")))
    world.run()
    world.edit_route("shop", lambda document: document["spec"]["rules"].pop(0))


@pytest.mark.parametrize("edit", [dropped, all_edited])
@pytest.mark.parametrize("end", [aborted, World.delete, revised])
def test_an_owners_own_copies_are_left_where_the_runs_rule_was_before(
    end: Callable[[World], None], edit: Callable[[World], None]
) -> None:
    """That rule is removed, so that the owner's has its place, and is known by its content no more: the annotation still tells of the place."""
    theirs = mirror_to("c", percent=50)
    steps = [{"mirror": {"percent": 20}, "hold": "1h"}, {"weight": 50}]
    rules = rule(method="GET"), rule(filters=[theirs])
    world = at(1, spec=spec_of(steps=steps, promotion="Await"), routes={"shop": route("shop", *rules)})
    assert world.copied()
    edit(world)
    world.run()
    end(world)
    world.run()
    world.wait(70)
    world.add_pair()
    world.run()
    world.wait(70)
    (left,) = world.routes["shop"]["spec"]["rules"]
    assert theirs in left["filters"]


@pytest.mark.parametrize("end", [aborted, World.delete])
def test_copies_end_in_a_rule_that_lost_stable_and_was_edited_then(end: Callable[[World], None]) -> None:
    """It is known by no content any more, and by no pair; but it copies just what the run does."""
    world = mirroring(on("/a"))
    world.edit_route("shop", place("s", name="gone"))
    world.run()
    world.edit_route("shop", lambda document: document["spec"]["rules"][0]["filters"].append(mirror_to("audit")))
    world.run()
    end(world)
    world.run()
    world.wait(70)
    assert copying(world) == []
    assert world.routes["shop"]["spec"]["rules"][0]["filters"] == [*on("/a")["filters"], mirror_to("audit")]


@pytest.mark.parametrize("end", [fails, aborted, World.delete])
def test_copies_follow_the_rule_where_names_are_exchanged(end: Callable[[World], None]) -> None:
    """Though the other one has a share of its own: that one copies nothing."""
    old = on("/b", name="old")
    old["backendRefs"] = [{**ref, "weight": 95 if ref["name"] == "s" else 5} for ref in old["backendRefs"]]
    world = mirroring(on("/a", name="checkout"), old, named=("checkout",))
    world.edit_route("shop", exchanged)
    decision = world.run()
    assert "mirrored from" not in decision.message
    end(world)
    world.run()
    world.wait(70)
    assert copying(world) == []


def test_a_rule_that_came_joins_no_earlier_where_an_older_annotation_is_put_back() -> None:
    """As an export of before does, with a rule more in it: the step is reached, so what it says of an earlier one is old."""
    world = at(1, routes={"shop": route("shop", on("/a", name="checkout"))})
    older = world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION]
    world.pass_step()
    world.wait(1)
    assert shares(world) == {"checkout": 50}

    def replaced(document: Json) -> None:
        inserted(1, 0)(document)
        document["metadata"]["annotations"][RUN_ANNOTATION] = older

    world.edit_route("shop", replaced)
    world.run()
    world.wait(1)
    assert shares(world) == {"checkout": 50, "payments": 0}
    world.pass_step()
    assert shares(world) == {"checkout": 100, "payments": 100}


def test_of_rules_that_nobody_can_tell_those_are_the_runs_that_give_what_it_wrote() -> None:
    """The old one is edited where another has been put in front of it that has a share of its own."""
    world = at(2, spec=spec_of(promotion="Await"), routes={"shop": route("shop", on("/a"))})

    def change(document: Json) -> None:
        rules = document["spec"]["rules"]
        new = copy.deepcopy(rules[0])
        new["backendRefs"] = [{**ref, "weight": {"s": 95, "c": 5}.get(ref["name"])} for ref in new["backendRefs"]]
        new["matches"][0]["path"]["value"] = "/new"
        rules[0]["matches"][0]["path"]["value"] = "/v2"
        rules.insert(0, new)

    world.edit_route("shop", change)
    world.run()
    world.wait(1)
    weights = [[ref["weight"] for ref in each["backendRefs"]] for each in world.routes["shop"]["spec"]["rules"]]
    assert weights == [[95, 5], [50, 50]]
