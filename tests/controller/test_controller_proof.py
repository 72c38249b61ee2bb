"""What one measuring task has seen that proves a canary good: of its own looks alone, and only of those that count."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from controller_kit import World
from test_controller_compare import COUNTERS, serve

from canary.checks.judges.comparison import Versus
from canary.checks.resolve import resolve
from canary.controller.proof import Proof
from canary.model.checks import Check
from canary.model.measurement import Compared

Json = dict[str, Any]
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def versus(**compare: Any) -> Versus:
    declared = {"prometheus": COUNTERS, "promoteEarly": True, **compare}
    found = resolve(Check.model_validate({"name": "errors", "compare": declared}), None, "").judge
    assert isinstance(found, Versus)
    return found


def looks(ratio: float, *, seed: int = 1, number: int = 120) -> Iterator[Compared]:
    """Ten seconds each, of 60 and 540 requests, of which one percent of stable's fails."""
    chance, at = random.Random(seed), START
    for _ in range(number):
        failed, stable_failed = (
            float(sum(chance.random() < rate for _ in range(requests)))
            for requests, rate in ((60, 0.01 * ratio), (540, 0.01))
        )
        yield Compared(at + timedelta(seconds=10), at, 60, 540, failed, stable_failed, {})
        at += timedelta(seconds=10)


def test_a_good_canary_is_proved_good_in_time() -> None:
    """And it is said since when that was counted."""
    proof = Proof(versus(), START)
    assert proof.good_since is None
    for look in looks(1):
        proof.seen(look)
        if proof.good_since is not None:
            break
    assert proof.good_since == START
    assert look.at < START + timedelta(minutes=19)


@pytest.mark.parametrize("tolerance", [1, 1.5])
def test_one_that_fails_twice_as_often_as_it_may_is_hardly_ever(tolerance: float) -> None:
    """In at most alpha of all steps, however often one looks."""
    wrong = 0
    for seed in range(60):
        proof = Proof(versus(tolerance=tolerance, alpha=0.05), START)
        for look in looks(2 * tolerance, seed=seed, number=60):
            proof.seen(look)
            if proof.good_since is not None:
                wrong += 1
                break
    assert wrong <= 6


def test_looks_that_began_too_early_prove_nothing() -> None:
    """Nor is it counted since then."""
    early = Proof(versus(), START + timedelta(hours=2))
    late = Proof(versus(), START + timedelta(seconds=5))
    for look in looks(0):
        early.seen(look)
        late.seen(look)
    assert early.good_since is None
    assert late.good_since == START + timedelta(seconds=10)


def test_what_is_proved_may_be_so_no_more() -> None:
    """A canary that begins to fail ends no hold on what it was."""
    proof = Proof(versus(), START)
    for look in looks(0):
        proof.seen(look)
    assert proof.good_since is not None
    for look in looks(6):
        proof.seen(look)
    assert proof.good_since is None


def test_counts_that_cannot_be_are_no_proof() -> None:
    """Nor what was counted before them."""
    proof = Proof(versus(), START)
    for look in looks(0):
        proof.seen(look)
    proof.seen(Compared(START, START, 5, 5, 9, 0, {}))
    assert proof.good_since is None


@pytest.mark.asyncio(loop_scope="module")
async def test_a_hold_of_hours_ends_in_minutes(world: World) -> None:
    """Each step is proved anew: the weight rises twice, and no sooner than counters are settled and an interval is over."""
    serve(world, canary=100, failed=1, stable=900, stable_failed=90)
    check = {"name": "errors", "interval": "2s", "compare": {"prometheus": COUNTERS, "lag": "1s", "promoteEarly": True}}
    await world.begin(checks=[check], steps=[{"weight": 10, "hold": "3h"}, {"weight": 50, "hold": "3h"}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    begun = world.clock.now()
    await world.until(lambda: world.step() == 2 and world.weights() == (50, 50), within=600)
    assert timedelta(seconds=4) < world.clock.now() - begun < timedelta(minutes=10)
    begun = world.clock.now()
    await world.until(lambda: world.phase() == "Succeeded", within=600)
    assert world.clock.now() - begun > timedelta(seconds=4)
    assert "HoldEndedEarly" in {event["reason"] for event in await world.events()}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_controller_that_dies_takes_along_what_it_had_seen(world: World) -> None:
    """The next one needs as long as the first step took, whatever was known when the first one died."""
    serve(world, canary=100, failed=1, stable=900, stable_failed=27)
    check = {"name": "errors", "interval": "2s", "compare": {"prometheus": COUNTERS, "lag": "1s", "promoteEarly": True}}
    await world.begin(checks=[check], steps=[{"weight": 10, "hold": "3h"}, {"weight": 50, "hold": "3h"}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    begun = world.clock.now()
    await world.until(lambda: world.step() == 2 and world.weights() == (50, 50), within=600)
    takes = (world.clock.now() - begun).total_seconds()
    await world.pass_(0.8 * takes)
    assert world.phase() == "Progressing"
    await world._instances[-1].kill()
    await world.start_controller()
    begun = world.clock.now()
    await world.until(lambda: world.phase() == "Succeeded", within=600)
    assert (world.clock.now() - begun).total_seconds() >= 0.7 * takes


@pytest.mark.asyncio(loop_scope="module")
async def test_a_canary_like_stable_with_few_failures_is_held(world: World) -> None:
    """Little traffic proves nothing, and nothing proved ends no hold."""
    serve(world, canary=1, failed=0, stable=9, stable_failed=0)
    check = {"name": "errors", "interval": "2s", "compare": {"prometheus": COUNTERS, "lag": "1s", "promoteEarly": True}}
    await world.begin(checks=[check], steps=[{"weight": 10, "hold": "3h"}, {"weight": 50, "hold": "3h"}])
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.pass_(300)
    assert (world.step(), world.weights()) == (1, (90, 10))
