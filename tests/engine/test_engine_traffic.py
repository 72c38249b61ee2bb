"""What each backend really gets: counted from settled looks alone, shown, and judged where something is proven."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engine_mirror import MIRROR, filters, getting
from test_engine_mixed_kinds import TCP, of_kind
from world import World, begun, route, spec_of

from canary.decide import reasons
from canary.model.measurement import Counts, NoData, Queued, Unreachable
from canary.model.rollout import RouteKind
from canary.model.route_status import TrafficStatus
from canary.model.run_status import Outcome
from canary.model.status import Phase, RolloutStatus

Json = dict[str, Any]

TRAFFIC: Json = {"prometheus": {"query": "requests{s='{{ backend.service }}'}"}, "interval": "5s", "lag": "5s"}
STEPS: list[Json] = [{"weight": 10, "hold": "10m"}, {"weight": 100, "hold": "10m"}]


def counting(steps: list[Json] = STEPS, settle: timedelta = timedelta(0), **changes: Any) -> World:
    """A world that counts, whose run is at its first step; no check objects."""
    spec = spec_of(**{"steps": steps, "traffic": TRAFFIC, "checks": None, "promotion": "Await", **changes})
    return begun(spec=spec, routes={"shop": route("shop", getting())}, settle=settle)


def look(world: World, canary: float, stable: float, after: float = 5) -> None:
    """Some seconds later the counters are read, and say this."""
    world.wait(after)
    world.counters = Counts(canary, stable, world.now)
    world.run()


def state(world: World) -> RolloutStatus:
    assert world.memory is not None
    return world.memory


def reason(world: World) -> str:
    assert world.decision is not None
    return world.decision.reason


def message(world: World) -> str:
    assert world.decision is not None
    return world.decision.message


# -- counting -------------------------------------------------------------------------------------------------------


def test_the_share_is_what_was_counted_between_two_settled_looks() -> None:
    """What a counter says soon after a step is accepted is of the step before."""
    world = counting()
    look(world, 0, 5000, after=1)
    look(world, 400, 6000, after=3)
    assert state(world).split.observed is None
    look(world, 410, 7000)
    assert state(world).split.observed is None  # one look is no difference
    look(world, 420, 7090)
    assert state(world).split.observed == 10


def test_a_data_plane_that_settles_late_is_counted_late() -> None:
    """What the counters say within the settle time and the lag after it is of the old weights, and proves nothing."""
    world = counting(settle=timedelta(seconds=20))
    for _ in range(4):
        look(world, 0, 10_000, after=5)
    assert (state(world).traffic.seconds, world.share()) == (0, 10)
    look(world, 0, 50_000, after=4)
    assert state(world).traffic.read_at is None
    look(world, 0, 50_000, after=1)
    look(world, 100, 50_900)
    assert (state(world).split.observed, reason(world)) == (10, reasons.HOLDING)


def test_a_new_step_is_counted_anew() -> None:
    """What was counted of one share says nothing of another."""
    world = counting([{"weight": 10, "hold": "30s"}, *STEPS[1:]])
    look(world, 0, 0)
    look(world, 10, 90)
    assert state(world).split.observed == 10
    world.wait(30)
    assert world.share() == 100
    assert state(world).split.observed is None
    look(world, 1000, 1000)
    assert state(world).traffic.seconds == 0


def test_somebody_who_edits_the_route_makes_the_count_begin_anew() -> None:
    """Nobody knows what the gateway did in between."""
    world = counting()
    look(world, 0, 0)
    look(world, 10, 90)
    world.weigh(50, 50)
    world.run()
    assert state(world).split.observed is None


def test_another_counter_makes_the_count_begin_anew() -> None:
    """What it had counted before anybody asked it is not held against the gateway."""
    world = counting()
    look(world, 0, 0)
    look(world, 10, 90)
    world.declare(traffic={**TRAFFIC, "prometheus": {"query": "all{s='{{ backend.service }}'}"}})
    world.run()
    look(world, 50_020, 180)
    assert state(world).split.observed is None
    look(world, 50_030, 270)
    assert state(world).split.observed == 10
    assert reason(world) == reasons.HOLDING


def test_a_counter_that_falls_was_restarted() -> None:
    """What lies between is unknown for both; what comes after counts."""
    world = counting()
    look(world, 100, 1000)
    look(world, 110, 1090)
    look(world, 3, 1600)
    assert (state(world).traffic.counted_canary, state(world).traffic.counted_stable) == (10, 90)
    look(world, 13, 1690)
    assert (state(world).traffic.counted_canary, state(world).traffic.counted_stable) == (20, 180)


def test_series_that_were_out_of_sight_for_a_while_are_not_counted_as_new() -> None:
    """A sum that falls and is above its peak again had lost some of its series: they did not count from 0."""
    world = counting()
    look(world, 50_000, 1000)
    look(world, 50_010, 1090)
    look(world, 0, 1180)
    look(world, 50_030, 1270)
    assert state(world).traffic.counted_canary == 10
    look(world, 50_040, 1360)
    assert state(world).split.observed == 10


@given(st.lists(st.tuples(st.floats(0, 1e15), st.floats(0, 1e15)), max_size=8))
@settings(max_examples=40, deadline=None)
def test_whatever_counters_say_no_count_is_negative(said: list[tuple[float, float]]) -> None:
    """And the share is a percentage, or nothing."""
    world = counting()
    for canary, stable in said:
        look(world, canary, stable)
        traffic, observed = state(world).traffic, state(world).split.observed
        assert min(traffic.counted_canary, traffic.counted_stable, traffic.seconds) >= 0
        assert observed is None or 0 <= observed <= 100


@pytest.mark.parametrize(
    "absent",
    [
        NoData,
        lambda at: Unreachable(at, "Timeout", "no answer"),
        lambda at: Queued(at, 1.0, "waited"),
    ],
)
def test_absence_has_a_name_and_is_no_number(absent: Any) -> None:
    """It is shown, changes no count, and holds nothing."""
    world = counting()
    look(world, 0, 0)
    look(world, 10, 90)
    before = state(world).traffic
    world.counters = absent(world.now)
    world.run()
    after = state(world).traffic
    assert after.reason
    assert (after.counted_canary, after.counted_stable) == (before.counted_canary, before.counted_stable)
    assert reason(world) == reasons.HOLDING


def test_a_count_outlives_a_crash() -> None:
    """What was on record goes on where the routes say the same."""
    world = counting()
    look(world, 0, 0)
    look(world, 48, 50)
    recorded = state(world).traffic
    world.recorded = state(world).dump()
    world.crash()
    look(world, 96, 100)
    assert state(world).traffic.counted_canary == recorded.counted_canary + 48


def test_without_counters_nothing_is_counted_or_judged() -> None:
    """Whoever declares none notices nothing."""
    world = counting(traffic=None)
    look(world, 0, 0)
    look(world, 5000, 5000)
    assert state(world).traffic == TrafficStatus()
    assert state(world).split.observed is None
    assert reason(world) == reasons.HOLDING


def test_the_first_count_is_on_record_and_costs_no_write_of_its_own() -> None:
    """Two writes a step, as without counters: the second one says what the checks said and what was counted."""
    world = counting()
    entered = len([kind for kind, _ in world.wrote if kind == "status"])
    look(world, 0, 0)
    look(world, 10, 90)
    assert world.status.split.observed == 10
    for seconds in range(2, 40):
        look(world, 10 * seconds, 90 * seconds)
    assert len([kind for kind, _ in world.wrote if kind == "status"]) <= entered + 2


def test_nothing_of_it_is_left_when_the_run_is_over() -> None:
    """Neither the share nor the counts."""
    world = counting()
    look(world, 0, 0)
    look(world, 10, 90)
    world.ask("abort")
    world.run()
    assert world.phase is Phase.ROLLED_BACK
    assert world.status.split.observed is None
    assert world.status.traffic == TrafficStatus()


# -- judging a split ------------------------------------------------------------------------------------------------


def test_a_share_that_is_provably_another_one_holds_the_step() -> None:
    """Ten minutes later, too; it names both numbers; and no weight moves, neither up nor down."""
    world = counting()
    look(world, 0, 0)
    for seconds in range(1, 100):
        look(world, 25 * seconds, 25 * seconds, after=10)
    assert reason(world) == reasons.SPLIT_MISMATCH
    assert "the routes give the canary 10 %, and it got 50 % of 4950 requests" in message(world)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)
    assert any(condition.reason == reasons.SPLIT_MISMATCH for condition in world.status.conditions)


def test_a_canary_that_gets_nothing_holds_the_step() -> None:
    """Silence of its checks is no evidence then."""
    world = counting()
    look(world, 0, 0)
    for seconds in range(1, 20):
        look(world, 0, 50 * seconds)
    assert reason(world) == reasons.SPLIT_MISMATCH


def test_a_gateway_that_divides_as_asked_is_not_held() -> None:
    """However long it goes on; and a third more or less is tolerated."""
    for share in (0.07, 0.1, 0.13):
        world = counting()
        look(world, 0, 0)
        for seconds in range(1, 100):
            look(world, 100 * share * seconds, 100 * (1 - share) * seconds)
            assert reason(world) == reasons.HOLDING


def test_counters_that_may_be_apart_prove_nothing_at_once() -> None:
    """One of the two may be from before the other's burst: the first seconds are in doubt for the gateway."""
    world = counting()
    look(world, 0, 0)
    look(world, 500, 500)
    assert reason(world) == reasons.HOLDING


def test_whoever_takes_the_counters_away_is_held_no_more() -> None:
    """A query that counts something else is no dead end."""
    world = counting([{"weight": 10, "hold": "30s"}, *STEPS[1:]])
    look(world, 0, 0)
    for seconds in range(1, 20):
        look(world, 50 * seconds, 50 * seconds)
    assert (reason(world), world.share()) == (reasons.SPLIT_MISMATCH, 10)
    world.declare(traffic=None)
    world.run()
    assert world.share() == 100


def test_what_the_canary_got_before_the_step_is_subtracted() -> None:
    """Probes are no traffic of the gateway: without them the share is as asked."""
    world = counting([{"weight": 0, "hold": "60s"}, {"weight": 10, "hold": "20m"}])
    for seconds in range(12):
        look(world, 10 * seconds, 100 * seconds)
    assert state(world).traffic.background == pytest.approx(2)
    world.wait(10)
    assert world.share() == 10
    for seconds in range(12, 80):
        look(world, 20 * seconds, 90 * seconds)
        assert reason(world) == reasons.HOLDING


def test_connections_of_a_tcp_route_are_judged_and_called_so() -> None:
    """A weight there divides connections."""
    world = begun(
        spec=spec_of(
            routes=[{"kind": "TCPRoute", "name": "shop"}], steps=STEPS, traffic=TRAFFIC, checks=None, promotion="Await"
        ),
        routes={TCP: of_kind(RouteKind.TCP, route("shop"))},
    )
    look(world, 0, 0)
    for seconds in range(1, 20):
        look(world, 50 * seconds, 50 * seconds)
    assert reason(world) == reasons.SPLIT_MISMATCH
    assert "connections" in message(world)


# -- judging a mirror -----------------------------------------------------------------------------------------------

MIRRORED: list[Json] = [{**MIRROR, "hold": "10m"}, *STEPS]


def test_a_mirror_that_copies_everything_is_taken_away_at_once_and_fails_the_run() -> None:
    """In the decision of the look that proves it; no policy has a say."""
    world = counting(MIRRORED, onFailure="Pause")
    look(world, 0, 0)
    for seconds in range(1, 6):
        look(world, 50 * seconds, 50 * seconds)
    assert state(world).run is not None
    run = state(world).run
    assert run is not None
    assert (run.outcome, run.reason) == (Outcome.ROLLED_BACK, reasons.MIRROR_MISMATCH)
    assert "20 % of the requests were to be mirrored" in run.message
    assert "no user was served by it" in run.message
    assert filters(world) == getting()["filters"]


def test_a_mirror_that_copies_what_was_asked_goes_on() -> None:
    """And copies are no share of users: none is shown, and none is held."""
    world = counting(MIRRORED)
    look(world, 0, 0)
    for seconds in range(1, 60):
        look(world, 20 * seconds, 100 * seconds)
        assert reason(world) == reasons.HOLDING
    assert state(world).split.observed is None


def test_a_mirror_beside_a_weight_is_judged_by_what_both_ask_for() -> None:
    """10 % of the users and copies of 20 % are 30 % of what users send; never a mismatch of the split."""
    for canary, outcome in ((30, None), (110, Outcome.ROLLED_BACK)):
        world = counting([{**MIRROR, "weight": 10, "hold": "20m"}, *STEPS[1:]])
        look(world, 0, 0)
        for seconds in range(1, 60):
            look(world, canary * seconds, 90 * seconds)
            assert reason(world) != reasons.SPLIT_MISMATCH
        run = state(world).run
        assert run is not None
        assert run.outcome is outcome
