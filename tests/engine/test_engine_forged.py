"""Promises 3, 5 and 9: whoever may write a route may write our annotation, or bring an older one along; it gives the canary nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from world import Gateways, World, begun, spec_of

from canary.decide import reasons
from canary.model.status import Phase
from canary.routes.intent import Intent, Mode, parse_intent, run_annotation
from canary.routes.pair import Backend, Pair, Weights

RUN_ANNOTATION = run_annotation("shop")
STABLE, CANARY, ANOTHER = Backend("s", "team", 80), Backend("c", "team", 80), Backend("x", "team", 80)


def said(world: World) -> Intent:
    """The annotation of the run on its route."""
    found = parse_intent(world.routes["shop"]["metadata"]["annotations"][RUN_ANNOTATION])
    assert found is not None
    return found


def turned(pair: Pair) -> Pair:
    return Pair(pair.canary, pair.stable)


def forge(world: World, intent: Intent, weights: tuple[int, int] | None = None, by: str = "mallory") -> None:
    """Put an annotation on the route, and weights with it."""

    def change(document: dict[str, Any]) -> None:
        document["metadata"].setdefault("annotations", {})[RUN_ANNOTATION] = intent.dump()
        if weights is not None:
            for ref, weight in zip(document["spec"]["rules"][0]["backendRefs"], weights, strict=False):
                ref["weight"] = weight

    world.edit_route("shop", change, by)


def at_ten() -> World:
    world = begun()
    world.wait(1)
    assert world.share() == 10
    return world


def rolling_back() -> World:
    """A check has failed, and the gateway has not answered yet that the route is back."""
    world = at_ten()
    world.gateways = Gateways.LATE
    world.measure(0.5)
    world.run()
    assert (world.share(), world.phase) == (0, Phase.ROLLING_BACK)
    return world


def paused_by_policy() -> World:
    world = begun(spec=spec_of(onFailure="Pause"))
    world.wait(1)
    world.measure(0.5)
    world.run()
    assert world.phase is Phase.PAUSED
    return world


def lowered_by_hand() -> World:
    world = at_ten()
    world.weigh(95, 5)
    world.run()
    assert world.phase is Phase.PAUSED
    return world


def at_rest() -> World:
    """The run was rolled back a while ago; its annotation is known to whoever kept it."""
    world = at_ten()
    kept = said(world)
    world.measure(0.5)
    world.run()
    world.wait(70)
    assert world.phase is Phase.ROLLED_BACK
    forge(world, kept)
    return world


STATES: tuple[Callable[[], World], ...] = (at_ten, rolling_back, paused_by_policy, lowered_by_hand, at_rest)

FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "uid": st.sampled_from(["another"]),
        "run": st.integers(1, 4),
        "step": st.integers(0, 4),
        "mode": st.sampled_from(list(Mode)),
        "pair": st.sampled_from(
            [Pair(CANARY, STABLE), Pair(ANOTHER, STABLE), Pair(CANARY, ANOTHER), Pair(STABLE, ANOTHER), None]
        ),
        "weights": st.sampled_from([{}, {"#0": Weights(0, 1)}, {"#0": Weights(5, 95)}, {"#0": Weights(100, 0)}]),
        "baseline": st.sampled_from([{}, {"#0": Weights(0, 1)}, {"#0": Weights(1, 1)}]),
        "turn": st.sampled_from(["", "somebody"]),
    },
)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("crash", [False, True], ids=["alive", "taken over"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(forged=FIELDS)
@example(forged={"pair": Pair(CANARY, STABLE)})
@example(forged={"pair": Pair(CANARY, STABLE), "mode": Mode.ROLLBACK})
@example(forged={"pair": Pair(CANARY, STABLE), "uid": "another"})
@example(forged={"run": 2, "step": 0})
def test_whatever_an_annotation_says_the_canary_gets_no_more(
    state: Callable[[], World], crash: bool, forged: dict[str, Any]
) -> None:
    """In every phase, of every field: no weight rises, and no revision that failed is tried again."""
    world = state()
    share, decided = world.share(), state in {rolling_back, paused_by_policy, at_rest}
    number = world.status.run.number if world.status.run is not None else 0
    if crash:
        world.crash()
    forge(world, replace(said(world), **forged))
    for _ in range(4):
        world.run()
        assert world.share() <= share
        assert world.status.run is not None
        if decided:
            assert world.status.run.number == number
        world.answer()
    world.wait(2)
    assert world.share() <= share


def test_a_record_of_before_survives_a_rollout_that_is_another_one() -> None:
    """Its Rollout was removed by force, its owner has exchanged the roles: what is left on the route gives the new canary nothing."""
    world = at_ten()
    kept = said(world)
    world.measure(0.5)
    world.run()
    world.wait(70)
    forge(world, replace(kept, uid="of-before", pair=turned(kept.pair or Pair(STABLE, CANARY))))
    world.run()
    assert (world.share(), world.annotated()) == (0, False)


@pytest.mark.parametrize(
    "older",
    [
        {"step": 1, "weights": {"#0": Weights(90, 10)}},
        {"run": 1, "step": 1},
        {"uid": "another"},
        {"mode": Mode.ROLLBACK, "run": 1},
    ],
    ids=["of this run", "of a run before", "of another Rollout", "of a rollback before"],
)
def test_a_hand_that_lowers_is_seen_whatever_annotation_it_brings(older: dict[str, Any]) -> None:
    """`kubectl replace` of what was exported at 10 %: nobody raises that again."""
    world = at_ten()
    world.measure(0.5)
    world.run()
    world.wait(70)
    world.measure(0.0)
    world.ask("retry", id_="again")
    world.run()
    while world.share() < 50:
        world.pass_step()
    forge(world, replace(said(world), **older), (90, 10), "argocd")
    for _ in range(3):
        world.run()
        assert (world.share(), world.phase) == (10, Phase.PAUSED)
        assert "argocd changed the canary's share on HTTPRoute shop from 50 % to 10 %" in world.status.message
        world.wait(30)
    world.ask("resume")
    world.measure(0.0)
    world.run()
    world.wait(1)
    assert world.share() == 50


def test_a_hand_that_raises_is_named_whatever_annotation_it_brings() -> None:
    """Put back and told three times, then contested."""
    world = at_ten()
    stale = replace(said(world), uid="another")
    for _ in range(3):
        forge(world, stale, (20, 80), "argocd")
        world.run()
        assert world.share() == 10
    assert [event.reason for event in world.told].count(reasons.RAISED_BY_OTHER) == 3
    assert world.phase is Phase.PAUSED


def test_an_annotation_of_the_present_step_says_no_more_than_the_step() -> None:
    """Weights and words raised together are raised all the same."""
    world = at_ten()
    forge(world, replace(said(world), weights={"#0": Weights(5, 95)}), (5, 95), "argocd")
    world.run()
    assert world.share() == 10
    assert reasons.RAISED_BY_OTHER in world.reasons


@pytest.mark.parametrize("crash", [False, True], ids=["alive", "taken over"])
def test_what_a_hand_has_lowered_nobody_else_raises(crash: bool) -> None:
    """Alice takes the canary off, a GitOps sync gives it 40 % again: put back to what she left, and named; `resume` goes on."""
    world = begun()
    while world.share() < 50:
        world.pass_step()
    world.weigh(100, 0, by="alice")
    world.run()
    if crash:
        world.crash()
    world.weigh(60, 40, by="argocd")
    world.run()
    assert (world.share(), world.phase) == (0, Phase.PAUSED)
    assert any("argocd changed the canary's share" in event.message for event in world.told)
    world.weigh(95, 5, by="argocd")
    world.run()
    assert world.share() == 0
    world.ask("resume")
    world.run()
    assert world.share() == 50


def test_lowered_twice_is_lowered_to_the_lower() -> None:
    """Alice to 20, Bob to 5: nobody but a person gets back to 20."""
    world = begun()
    while world.share() < 50:
        world.pass_step()
    for stable, canary, left in ((80, 20, 20), (95, 5, 5), (80, 20, 5)):
        world.weigh(stable, canary)
        world.run()
        assert world.share() == left
