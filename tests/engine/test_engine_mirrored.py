"""Answers to mirrored requests: evidence of many looks at one step, what counts as a look, and what becomes of evidence."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_comparer import COMPARED, copied_to
from test_engine_mirror import getting, message
from world import World, begun, route, spec_of

from canary.decide import reasons
from canary.model.check_status import CheckStatus, EvidenceStatus, VerdictKind
from canary.model.measurement import Answered, Unreachable
from canary.model.status import Phase

Json = dict[str, Any]

PRICE = "$.items[].price"
STEPS: list[Json] = [{**COMPARED, "hold": "2m"}, {"weight": 10, "hold": "1m"}, {"weight": 100, "hold": "1m"}]


def check(settings: Json | None = None, **mirrored: Any) -> Json:
    """A comparison of answers that looks every ten seconds."""
    return {"name": "same", "interval": "10s", "mirrored": mirrored, **(settings or {})}


def comparing(check: Json, steps: list[Json] = STEPS, **changes: Any) -> World:
    """A world whose run is at its first step, with a comparison of answers, and whatever was asked before is answered."""
    spec = spec_of(steps=steps, checks=[check], promotion="Await", **changes)
    world = begun(spec=spec, routes={"shop": route("shop", getting())})
    world.wait(5)
    return world


def look(world: World, compared: int = 200, *, seconds: float = 10, unread: str = "", **paths: Any) -> None:
    """So many seconds go by, in which so many requests were compared; differences by path, or `price`."""
    since = world.now
    world.wait(seconds)
    found = {{"price": PRICE, "now": "$.now"}.get(path, path): counts for path, counts in paths.items()}
    world.news.append(("same", Answered(world.now, since, compared, found, unread)))
    world.run()


def state(world: World) -> CheckStatus:
    assert world.memory is not None
    found = world.memory.check("same")
    assert found is not None
    return found


def evidence(world: World) -> EvidenceStatus:
    found = state(world).evidence
    assert found is not None
    return found


def known(world: World) -> Json:
    found: Json = json.loads(evidence(world).state)
    return found


def test_a_changed_field_is_rolled_back_before_anybody_is_served() -> None:
    """With status 200 in all answers; the run says which field, how often, beyond which noise, on what evidence."""
    world = comparing(check())
    look(world, now=(0, 0, 200), price=(6, 0, 0))
    assert state(world).verdict is VerdictKind.PASS
    look(world, now=(0, 0, 200), price=(60, 0, 0))
    assert copied_to(world) == []
    assert world.phase is Phase.ROLLED_BACK
    assert world.memory is not None
    assert world.memory.run is not None
    assert world.memory.run.reason == reasons.CHECK_FAILED
    said = world.memory.run.message
    assert said.startswith("check same failed: `$.items[].price` differs in 16 % of answers (noise 0 %), evidence ")
    assert "no user was served by it" in said
    assert state(world).value == pytest.approx(66 / 400)


def test_a_canary_that_answers_like_stable_goes_through() -> None:
    """Times and ids differ in every answer; at the steps with a weight nothing is compared, and nothing waits for it."""
    world = comparing(check())
    for _ in range(12):
        look(world, now=(0, 0, 200), **{"$.id": (1, 1, 198)})
    said = state(world)
    assert (said.verdict, said.reason) == (VerdictKind.PASS, "NotApplicable")
    assert world.share() == 10
    assert "mirrors to no comparer" in said.message
    world.wait(61)
    world.wait(61)
    assert world.phase is Phase.PROMOTING


def test_the_step_waits_for_as_many_as_are_needed() -> None:
    """Too few is no data: held, by default."""
    world = comparing(check(minCompared=500))
    for _ in range(13):
        look(world, 30)
    assert copied_to(world) == ["compare"]
    said = state(world)
    assert (said.verdict, said.reason) == (VerdictKind.UNKNOWN, "TooFewCompared")
    assert "390 answers compared, and 500 are needed" in message(world)
    for _ in range(4):
        look(world, 30)
    assert world.share() == 10


@pytest.mark.parametrize(("policy", "verdict"), [("Pass", VerdictKind.PASS), ("Hold", VerdictKind.UNKNOWN)])
def test_no_requests_are_no_data(policy: str, verdict: VerdictKind) -> None:
    """What that means is declared."""
    world = comparing(check({"onNoData": policy}))
    look(world, 0, unread="1 of 1 could not be read")
    assert (state(world).reason, state(world).verdict) == ("NoData", verdict)
    assert "no requests were compared in 10 s (1 of 1 could not be read)" in state(world).message


@pytest.mark.parametrize(("policy", "phase"), [("Hold", Phase.PROGRESSING), ("Fail", Phase.ROLLED_BACK)])
def test_what_is_nearly_proved_holds_and_then_a_policy_decides(policy: str, phase: Phase) -> None:
    """While the step holds there is time to know more."""
    world = comparing(check(onInconclusive=policy))
    look(world, price=(1, 0, 0))
    look(world, price=(6, 0, 0))
    assert (state(world).verdict, state(world).reason) == (VerdictKind.UNKNOWN, "PerhapsDifferent")
    world.wait(60)
    assert world.phase is Phase.PROGRESSING
    look(world, 1, seconds=60)
    look(world, 1)
    assert world.phase is phase
    assert world.share() == 0


@pytest.mark.parametrize("policy", ["Hold", "Pass", "Fail"])
def test_what_one_look_has_shown_holds_until_there_is_another(policy: str) -> None:
    """The first look only says what is bet on, so it can prove nothing: that is no pass, however short the hold, and no failure."""
    world = comparing(check(onInconclusive=policy), steps=[{**COMPARED, "hold": "10s"}, {"weight": 50, "hold": "20s"}])
    world.wait(10)
    look(world, price=(40, 0, 0), seconds=2)
    assert (state(world).verdict, state(world).reason) == (VerdictKind.UNKNOWN, "SeenOnce")
    assert "`$.items[].price` differs in 20 % of answers (noise 0 %)" in state(world).message
    world.wait(5)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 0)
    look(world, price=(40, 0, 0))
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)


def test_a_single_look_at_what_is_noise_holds_nothing() -> None:
    """A field that differs in both as often is no reason to wait, nor is one answer that is another one by chance."""
    world = comparing(check(), steps=[{**COMPARED, "hold": "10s"}, {"weight": 50, "hold": "20s"}])
    world.wait(10)
    look(world, now=(40, 39, 100), price=(1, 0, 0), seconds=2)
    assert world.share() == 50


def test_what_was_compared_before_the_routes_settled_is_no_evidence() -> None:
    """A comparer may have had requests of a run before, with another canary, and wait for its answers still."""
    world = comparing(check())
    world.settle = timedelta(seconds=2)
    look(world, 500, price=(500, 0, 0), seconds=1)
    assert state(world).verdict is VerdictKind.UNKNOWN
    assert evidence(world).looks == 0


def test_an_edit_of_the_route_begins_another_look_and_keeps_the_evidence() -> None:
    """Somebody else's edit is a write like ours."""
    world = comparing(check())
    look(world, price=(1, 0, 0))
    before = known(world)
    world.edit_route("shop", lambda document: document["spec"].update({"x-note": 1}))
    world.run()
    assert known(world) == before
    began = world.now
    world.news.append(
        ("same", Answered(began + timedelta(seconds=1), began - timedelta(seconds=9), 200, {PRICE: (200, 0, 0)}))
    )
    world.run()
    assert known(world) == before


def test_a_controller_that_died_goes_on_with_what_was_written() -> None:
    """What was gathered is in the status, and no look counts twice."""
    world = comparing(check())
    for _ in range(8):
        look(world, price=(1, 0, 0))
    kept = known(world)
    world.crash()
    world.run()
    assert known(world) == kept
    look(world, price=(0, 0, 0))
    assert known(world)["compared"] == kept["compared"] + 200


def test_each_step_that_compares_is_a_process_of_its_own() -> None:
    """And has an even part of alpha: a second step cannot hide behind the first one."""
    again = {**COMPARED, "mirror": {**COMPARED["mirror"], "percent": 50}, "hold": "2m"}
    world = comparing(check(alpha="4%"), steps=[{**COMPARED, "hold": "20s"}, again, {"weight": 10}])
    for _ in range(2):
        look(world)
    assert world.copied() == {"#0": 50}
    look(world, 150)
    assert known(world)["compared"] == 150
    assert "of 50 needed" in state(world).message


def test_evidence_that_cannot_be_ours_counts_as_absent() -> None:
    """And is said once."""
    world = comparing(check())
    look(world)
    assert world.memory is not None
    forged = evidence(world).model_copy(update={"state": '{"most": 0.001, "compared": 1, "free": 1, "paths": [1]}'})
    checks = (state(world).model_copy(update={"evidence": forged}),)
    world.memory = world.memory.model_copy(update={"checks": checks})
    look(world)
    assert known(world)["compared"] == 200
    told = [tell for tell in world.told if tell.reason == reasons.UNREADABLE_RECORD]
    assert [tell.message[:36] for tell in told] == ["the evidence of check same in status"]


NOTHING_LEFT: Json = {"most": 0.001, "compared": 500, "free": 0, "paths": []}
LOST: Json = {"most": 0.001, "compared": 10**9, "free": 0.4, "paths": [[PRICE, 0.5, 0, 0, 0, 0, 10**9, 0]]}
TOO_MANY: Json = {"most": 0.001, "compared": 10**15, "free": 1, "paths": []}


def forge(world: World, record: Json) -> None:
    """Somebody writes evidence that adds up, and says that the check passes; then another controller takes over."""
    assert world.memory is not None
    forged = evidence(world).model_copy(update={"state": json.dumps(record)})
    changes = {"evidence": forged, "verdict": VerdictKind.PASS, "reason": "NotDifferent"}
    world.memory = world.memory.model_copy(update={"checks": (state(world).model_copy(update=changes),)})


def test_a_record_of_which_nothing_is_left_is_no_pass() -> None:
    """With it nobody could ever be found out, whoever wrote it: the weight stays where it is until holdLimit is over."""
    world = comparing(check({"holdLimit": "5m"}, onInconclusive="Pass"))
    look(world)
    forge(world, NOTHING_LEFT)
    for _ in range(20):
        look(world)
        assert (state(world).verdict, state(world).reason) == (VerdictKind.UNKNOWN, "NothingLeft")
        assert (world.phase, world.share()) == (Phase.PROGRESSING, 0)
    assert "for anything to be proved" in state(world).message
    for _ in range(12):
        look(world)
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)


@pytest.mark.parametrize("record", [LOST, TOO_MANY], ids=["a path that is lost", "more than can be counted"])
def test_no_record_silences_a_path_that_differs(record: Json) -> None:
    """A bet that is over makes room for a new one on the same path; numbers that leave no room for ours are none of ours."""
    world = comparing(check({"onError": "Pass"}))
    look(world)
    forge(world, record)
    for _ in range(4):
        look(world, price=(30, 0, 0))
        assert world.share() == 0
    assert world.phase is Phase.ROLLED_BACK


def test_nobody_who_is_asked_means_what_on_error_says() -> None:
    """A comparer that answers no more is not a canary that differs."""
    world = comparing(check())
    look(world)
    world.wait(5)
    world.news.append(("same", Unreachable(world.now, "Unreachable", "no replica answered")))
    world.run()
    assert (state(world).verdict, state(world).reason) == (VerdictKind.UNKNOWN, "Unreachable")
    assert known(world)["compared"] == 200


COUNT = st.integers(0, 300)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("look"), st.integers(-5, 2000), st.tuples(st.integers(-2, 300), COUNT, COUNT)),
            st.tuples(st.just("wait"), st.integers(1, 60)),
            st.tuples(st.just("crash")),
            st.tuples(st.just("edit")),
            st.tuples(st.just("steps"), st.integers(1, 3)),
            st.tuples(st.just("check"), st.sampled_from([check(), check(maxDifferent="1%"), check(minCompared=1)])),
            st.tuples(st.just("revise"), st.sampled_from("cde")),
        ),
        max_size=20,
    )
)
def test_whatever_happens_the_promises_hold(script: list[tuple[Any, ...]]) -> None:
    """Crashes, edits and counts of any kind: no rise without a look of the step, and no crash of a tick."""
    world = comparing(check(minCompared=1), steps=[{**COMPARED, "hold": "20s"}, {"weight": 50, "hold": "20s"}])
    for number, (what, *args) in enumerate(script):
        match what:
            case "look":
                look(world, args[0], price=args[1])
            case "wait":
                world.wait(*args)
            case "crash":
                world.crash()
                world.run()
            case "edit":
                world.edit_route("shop", lambda document, n=number: document["spec"].update({"x-note": n}))
                world.run()
            case "steps":
                world.declare(steps=STEPS[: args[0]])
                world.run()
            case "check":
                world.declare(checks=[args[0]])
                world.run()
            case "revise":
                world.revise(*args)
                world.run()
