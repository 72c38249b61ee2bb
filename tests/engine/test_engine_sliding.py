"""So many failures of the last measurements: what is remembered, who is failed, and what a crash costs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, begun, spec_of

from canary.decide import reasons
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.status import Phase

STEPS: list[dict[str, Any]] = [{"weight": 10, "hold": "30m"}, {"weight": 50}]


def watched(failures: str = "2 of 5", *, steps: list[dict[str, Any]] = STEPS, **more: Any) -> World:
    check = {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "failures": failures}
    return begun(spec=spec_of(checks=[{**check, **more.pop("check", {})}], steps=steps, **more))


def seen(world: World, *values: float | str) -> None:
    for value in values:
        world.wait(1)
        world.measure(value)
        world.run()


def state(world: World) -> CheckStatus:
    assert world.memory is not None
    found = world.memory.check("errors")
    assert found is not None
    return found


def test_every_other_failure_is_caught() -> None:
    """Failures in a row would forget the first at the good one between; and the run says how many of how many."""
    world = watched()
    seen(world, 1.0, 0.0)
    assert (state(world).verdict, state(world).failures, world.share()) == (VerdictKind.PASS, 1, 10)
    world.wait(1)
    world.measure(1.0)
    world.tick()
    assert (world.share(), world.phase) == (0, Phase.ROLLING_BACK)
    assert world.memory is not None
    assert world.memory.run is not None
    assert world.memory.run.reason == reasons.CHECK_FAILED
    assert world.memory.run.message == "check errors failed (2 of the last 3 measurements): 1 is above 0.01"


def test_what_is_long_ago_is_forgotten() -> None:
    """A failure leaves the window with the measurement that pushes it out."""
    world = watched()
    seen(world, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    assert (world.share(), state(world).recent) == (10, "....x")


def test_a_tolerated_failure_holds_until_the_next_good_one() -> None:
    """It is no evidence for a rise, and the words say how many there were."""
    world = watched(steps=[{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "30m"}])
    seen(world, 0.0, 1.0)
    world.wait(60)
    assert world.share() == 10
    assert world.decision is not None
    assert world.decision.reason == reasons.CHECKS_OBJECT
    assert "(1 of the last 2 measurements failed; 2 of 5 are too many)" in world.decision.message
    seen(world, 0.0)
    assert world.share() == 50


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(0, 5),
    st.lists(st.sampled_from([0.0, 0.0, 1.0, "NoData", "Unreachable", "nan"]), max_size=16),
)
def test_it_fails_when_a_naive_count_says_so(most: int, more: int, script: list[float | str]) -> None:
    """In the decision that hears of it, neither sooner nor later; what says nothing is not counted and forgets nothing."""
    world, counted = watched(f"{most} of {most + more}", check={"holdLimit": "24h"}), list[float]()
    for value in script:
        world.wait(1)
        world.measure(value)
        world.tick()
        if not isinstance(value, str):
            counted.append(value)
        if counted[-(most + more) :].count(1.0) >= most:
            assert world.share() == 0
            return
        assert world.share() == 10
        assert state(world).failures == counted[-(most + more) :].count(1.0)


def test_a_crash_forgets_no_failure() -> None:
    """Each is on record before the next measurement; so is that it went."""
    world = watched()
    seen(world, 0.0, 1.0)
    world.crash()
    world.run()
    assert state(world).recent.endswith("x")
    seen(world, 0.0, 0.0, 0.0, 0.0)
    world.crash()
    world.run()
    assert state(world).failures == 1
    seen(world, 0.0)
    world.crash()
    world.run()
    assert state(world).failures == 0
    seen(world, 1.0)
    assert world.share() == 10


@pytest.mark.parametrize("forged", ["xxxx?", "y", "XX", " "])
def test_a_window_that_is_none_of_ours_is_as_absent(forged: str) -> None:
    """One more failure is then the first."""
    world = watched()
    seen(world, 1.0)
    recorded = world.recorded["checks"][0]
    world.crash()
    recorded["recent"] = forged
    seen(world, 0.0, 1.0)
    assert (world.share(), state(world).recent) == (10, ".x")


def test_a_person_who_resumes_has_seen_the_failures() -> None:
    """They count no more."""
    world = watched(onFailure="Pause")
    seen(world, 1.0, 1.0)
    assert world.phase is Phase.PAUSED
    world.ask("resume")
    world.run()
    seen(world, 1.0)
    assert (world.phase, state(world).recent) == (Phase.PROGRESSING, "x")


def test_a_dry_run_says_what_it_would_have_done() -> None:
    """Also at a good measurement, while too many failed lately."""
    world = watched(check={"dryRun": True})
    seen(world, 1.0, 1.0, 0.0)
    said = state(world)
    assert (said.verdict, said.reason, world.share()) == (VerdictKind.FAIL, "TooManyFailures", 10)
    assert said.message == "2 of the last 3 measurements failed; 2 of 5 are too many"


def test_another_run_begins_with_nothing() -> None:
    """What failed was another revision."""
    world = watched()
    seen(world, 1.0)
    world.revise("c")
    world.run()
    seen(world, 1.0)
    assert (world.share(), state(world).recent) == (10, "x")
