"""A spec that cannot be read in the middle of a run: by what is left of it a run is judged and goes back, and that is all."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import Gateways, World, begun, spec_of

from canary.checks.judges.against import Against
from canary.decide import reasons
from canary.decide.scope import Scope
from canary.model.check_status import VerdictKind
from canary.model.run_status import Outcome
from canary.model.status import Phase

NONSENSE: dict[str, Any] = {
    "promotion": "Later",
    "onFailure": "Wonder",
    "deadline": "soon",
    "acceptTimeout": "soon",
    "paused": "perhaps",
    "scale": {"canary": "many"},
    "trigger": "OnMoon",
    "steps": [{"teleport": 1, "weight": "x"}],
    "checks": "none",
    "workloads": "none",
    "stable": {"service": "stable", "port": "http"},
    "routes": [{"name": "shop", "kind": "QUICRoute"}],
    "shields": "On",
}
"""Each of them alone makes a spec that cannot be read."""

WAY = [{"weight": 10, "hold": "10s"}, {"weight": 50, "hold": "10s"}, {"weight": 100, "hold": "10s"}]


def stands_in(world: World) -> list[tuple[str, str]]:
    """What a promotion would change."""
    return [(workload.revision, str(workload.kept)) for workload in (world.stable, world.canary)]


def share_of(world: World) -> float:
    """What the canary gets by the route, whoever can read which pair."""
    rules = world.routes["shop"]["spec"]["rules"]
    shares = []
    for rule in rules:
        weights = {ref["name"]: ref.get("weight", 1) for ref in rule["backendRefs"]}
        if {"s", "c"} <= weights.keys():
            shares.append(100 * weights["c"] / (weights["s"] + weights["c"]))
    return max(shares)


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("promotion", ["Await", "Copy"])
def test_a_run_in_its_promotion_waits_there(promotion: str, restart: bool) -> None:
    """A promotion that nobody can read is not the default one. When it can be read again it goes on, and an abort is heard all along."""
    world = begun(spec=spec_of(promotion=promotion, steps=[{"weight": 50}], checks=None))
    assert world.phase is Phase.PROMOTING
    before = stands_in(world)
    share = share_of(world)
    spec = world.misread(restart=restart, promotion="Later")
    world.stable.rolled_out = True
    if promotion == "Await":
        world.stable.revision = "b"
        before = stands_in(world)
    for _ in range(3):
        world.wait(300)
    assert (world.phase, share_of(world), stands_in(world)) == (Phase.PROMOTING, share, before)
    assert world.decision is not None
    assert world.decision.reason == reasons.INVALID
    assert "nothing is promoted before that can be read" in world.decision.message
    for verb in ("promote", "promote-full"):
        world.ask(verb, id_=verb)
        world.run()
        assert world.status.last_request is not None
        assert (world.status.last_request.outcome, world.phase) == ("Refused", Phase.PROMOTING)
        assert "nothing is promoted before that can be read" in world.status.last_request.message
    world.mend(spec)
    world.run()
    assert world.phase is Phase.SUCCEEDED


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_a_copy_is_not_left_half_made(name: str) -> None:
    """Stable runs what was copied to it, and not everywhere yet. That waits, is judged, and goes back as a whole."""
    world = begun(spec=spec_of(promotion="Copy", steps=[{"weight": 100}], checks=None))
    assert (world.phase, stands_in(world)[0]) == (Phase.PROMOTING, ("b", "a"))
    spec = world.misread(**{name: NONSENSE[name]})
    for _ in range(3):
        world.wait(300)
    assert (world.phase, share_of(world), stands_in(world)[0]) == (Phase.PROMOTING, 100, ("b", "a"))
    world.ask("abort", id_="one")
    world.run()
    assert (share_of(world), world.phase) == (0, Phase.INVALID)
    world.mend(spec)
    world.run()
    assert (world.phase, share_of(world), stands_in(world)[0]) == (Phase.ROLLED_BACK, 0, ("a", "None"))


@pytest.mark.parametrize("name", sorted(NONSENSE.keys() - {"checks"}))
def test_a_canary_that_waits_for_its_promotion_is_judged(name: str) -> None:
    """It has all traffic, whatever its steps were."""
    world = begun(spec=spec_of(promotion="Await", steps=[{"weight": 100}]))
    for _ in range(4):
        world.pass_step()
    assert (world.phase, share_of(world)) == (Phase.PROMOTING, 100)
    world.misread(**{name: NONSENSE[name]})
    world.wait(1)
    for _ in range(2):
        world.measure(0.9)
        world.run()
    assert share_of(world) == 0
    assert world.status.run is not None
    assert (world.status.run.outcome, world.status.run.reason) == (Outcome.ROLLED_BACK, reasons.CHECK_FAILED)


@pytest.mark.parametrize("verb", ["abort", "delete"])
@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_a_run_ends_whatever_cannot_be_read(name: str, verb: str) -> None:
    """By an abort, and by a deletion: the routes are as before, and nothing is left on them."""
    world = begun(spec=spec_of(steps=WAY, checks=None))
    world.pass_step()
    assert share_of(world) == 50
    world.misread(**{name: NONSENSE[name]})
    if verb == "delete":
        world.delete()
        world.run()
        assert world.gone
    else:
        world.ask("abort", id_="one")
        world.run()
        assert world.status.last_request is not None
        assert world.status.last_request.outcome == "Done"
        assert world.status.run is not None
        assert world.status.run.outcome is Outcome.ROLLED_BACK
    assert "run.canary.dev" not in str(world.routes["shop"]["metadata"])
    weights = [ref.get("weight") for rule in world.routes["shop"]["spec"]["rules"] for ref in rule["backendRefs"][:2]]
    assert weights[:2] == [1, 0]


def test_a_failed_check_goes_back_though_nobody_knows_what_was_to_follow() -> None:
    """Less traffic for a bad canary is right by any policy that can be read again."""
    world = begun(spec=spec_of(steps=WAY, onFailure="Pause"))
    assert share_of(world) == 10
    world.misread(onFailure="Wonder")
    world.wait(1)
    world.measure(0.9)
    world.run()
    world.measure(0.9)
    world.run()
    assert (world.phase, share_of(world)) == (Phase.INVALID, 0)
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.ROLLED_BACK


def test_a_pause_by_a_spec_that_cannot_be_read_lasts() -> None:
    """That it is false again is for its owner to say."""
    world = begun(spec=spec_of(steps=WAY, checks=None))
    world.declare(paused=True)
    world.run()
    assert world.phase is Phase.PAUSED
    spec = world.misread(paused="perhaps")
    world.wait(60)
    assert (world.phase, share_of(world)) == (Phase.PAUSED, 10)
    world.mend(spec)
    world.declare(paused=None)
    world.run()
    assert world.phase is Phase.PROGRESSING


def test_replicas_are_left_to_whoever_can_read_what_is_to_become_of_them() -> None:
    """The run ends; its books stay, and are done when it is known how."""
    world = World(spec_of(steps=WAY, checks=None, scale={"canary": "MatchShare", "drain": "10s"}))
    world.stable.replicas = world.stable.ready = 10
    world.canary.replicas = world.canary.ready = 0
    world.run()
    world.canary.revision = "b"
    world.run()
    assert (share_of(world), world.canary.replicas) == (10, 1)
    spec = world.misread(scale={"canary": "many"})
    world.ask("abort", id_="one")
    world.run()
    world.wait(3600)
    assert world.status.run is not None
    assert world.status.run.outcome is Outcome.ROLLED_BACK
    assert (world.status.scale is not None, world.canary.replicas, world.finalizer) == (True, 1, True)
    world.mend(spec)
    world.run()
    world.wait(11)
    world.run()
    assert (world.status.scale, world.canary.replicas, world.finalizer) == (None, 0, False)


ASKED = ("promote", "promote-full", "resume", "pause", "start", "retry")
moves = st.lists(
    st.tuples(st.just("wait"), st.sampled_from((1, 15, 300)))
    | st.tuples(st.just("ask"), st.sampled_from(ASKED))
    | st.tuples(st.just("weigh"), st.sampled_from((0, 5)))
    | st.tuples(st.just("crash"), st.none())
    | st.tuples(st.just("gateways"), st.none()),
    max_size=8,
)


@settings(deadline=None, max_examples=150)
@given(
    promotion=st.sampled_from(("Copy", "Await", "Swap")),
    passed=st.integers(0, 3),
    lost=st.sets(st.sampled_from(sorted(NONSENSE)), min_size=1, max_size=3),
    restart=st.booleans(),
    played=moves,
)
def test_nothing_rises_is_promoted_or_completed(
    promotion: str, passed: int, lost: set[str], restart: bool, played: list[tuple[str, Any]]
) -> None:
    """Wherever the run stands, whatever cannot be read, and whatever people do meanwhile. An abort is done after all that."""
    world = begun(spec=spec_of(promotion=promotion, steps=WAY, checks=None))
    for _ in range(passed):
        world.pass_step()
    if not world.status.active:
        return
    won = world.status.run is not None and world.status.run.outcome is Outcome.SUCCEEDED
    world.misread(restart=restart, **{name: NONSENSE[name] for name in lost})
    before, share = stands_in(world), share_of(world)
    for number, (what, value) in enumerate(played):
        if what == "ask":
            world.ask(value, id_=f"{value}-{number}")
            world.run()
        elif what == "weigh":
            if value < share:
                world.weigh(100 - value, value)
            world.run()
        elif what == "wait":
            world.wait(value)
        elif what == "crash":
            world.crash()
            world.run()
        else:
            world.answer()
            world.run()
        assert share_of(world) <= share
        share = share_of(world)
        assert stands_in(world) == before or won
        assert won or world.phase is not Phase.SUCCEEDED
    world.ask("abort", id_="last")
    world.run()
    assert won or share_of(world) == 0


# -- single checks, and what is declared beside the plan ------------------------------------------------------------------


def _check(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "failureLimit": 3, **more}


def test_a_check_that_cannot_be_read_lets_nothing_through_and_is_not_forgotten() -> None:
    """What is left of the spec passes, people ask for everything: nothing rises. What was counted of the check counts on when it can be read again."""
    world = begun(spec=spec_of(promotion="Await", steps=WAY, checks=[_check("good"), _check("odd")]))
    world.wait(1)
    for _ in range(2):
        world.measure(0.0, "good")
        world.measure(0.5, "odd")
        world.wait(1)
    odd = world.status.check("odd")
    assert odd is not None
    assert odd.failures == 2
    spec = world.misread(checks=[_check("good"), _check("odd", interval="often")])
    assert [check.name for check in world.spec.checks] == ["good"]
    for verb in (*ASKED, "wait"):
        world.ask(verb, id_=verb)
        world.run()
        world.request = None
        for _ in range(5):
            world.measure(0.0)
            world.wait(60)
        assert (share_of(world), world.status.active) == (10, True)
    odd = world.status.check("odd")
    assert odd is not None
    assert (odd.verdict, odd.reason, odd.failures) == (VerdictKind.UNKNOWN, "CheckUnreadable", 2)
    world.mend(spec)
    world.crash()
    world.run()
    for _ in range(2):
        world.measure(0.0, "good")
        world.measure(0.5, "odd")
        world.wait(1)
    run = world.status.run
    assert run is not None
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, reasons.CHECK_FAILED)


@pytest.mark.parametrize(
    ("field", "declared", "reason"),
    [
        ("acceptTimeout", "10m", reasons.NOT_ACCEPTED),
        ("unavailableGrace", "10m", reasons.CANARY_UNAVAILABLE),
        ("deadline", "10m", reasons.DEADLINE_EXCEEDED),
    ],
)
def test_a_time_that_cannot_be_read_is_the_one_on_record(field: str, declared: str, reason: str) -> None:
    """A controller that begins then knows it from the run: no default ends the run sooner, and none lets it last."""
    world = begun(spec=spec_of(steps=WAY, checks=None, **{field: declared}))
    if field == "acceptTimeout":
        world.answer(Gateways.LATE)
        world.wait(11)
        assert share_of(world) == 50
    if field == "unavailableGrace":
        world.canary.ready = 0
        world.run()
    world.misread(**{field: "soon"})
    world.wait(540)
    world.crash()
    world.wait(30)
    assert world.status.active
    world.wait(60)
    run = world.status.run
    assert run is not None
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, reason)


def test_a_comparison_keeps_its_part_of_alpha() -> None:
    """Which others share it cannot be read: it does not become more likely to fail a canary that is as good as stable."""
    compared = {
        "compare": {"prometheus": {"requests": "r{{ backend.service }}", "failures": "f{{ backend.service }}"}},
        "threshold": None,
        "prometheus": None,
        "failureLimit": None,
    }
    checks = [{key: value for key, value in (_check(name) | compared).items() if value is not None} for name in "ab"]
    world = begun(spec=spec_of(steps=WAY, checks=checks, alpha="2%"))
    world.measure("Unreachable")
    world.run()
    known = {check.name: check.evidence.alpha for check in world.status.checks if check.evidence is not None}
    assert known == {"a": 0.01, "b": 0.01}
    world.misread(alpha="often", checks=[checks[0], checks[1] | {"interval": "often"}])
    world.run()
    scope = Scope(world.spec, world.memory or world.status, world.facts())
    ((check, _),) = scope.checks
    assert isinstance(check.judge, Against)
    assert check.judge.alpha == Fraction(1, 100)
    assert world.spec.shared_alpha == Fraction(2, 100)
