"""Gates on an API server: a window by its clock and by no other, and another system that is asked off the tick."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from controller_kit import World

from canary.metrics.port import Query
from canary.model.measurement import Unreachable

pytestmark = pytest.mark.asyncio(loop_scope="module")


def soon(now: datetime, minutes: int) -> dict[str, Any]:
    """A window of an hour that opens in so many minutes."""
    opens = now + timedelta(minutes=minutes)
    return {"from": f"{opens:%H:%M}", "to": f"{opens + timedelta(hours=1):%H:%M}"}


async def test_a_run_goes_on_when_its_window_opens(world: World) -> None:
    """Until then it stays, at the cost of one write in ten minutes, by which its time is on record; a restart in between changes nothing."""
    window = soon(world.clock.now(), 30)
    steps = [{"weight": 10, "gate": {"window": window}}, {"weight": 50, "hold": "1h"}]
    first = await world.begin(steps=steps)
    await world.deploy(2)
    await world.until(lambda: "outside of its window" in world.message())
    assert f"{window['from']} UTC" in world.message()
    asked = len(world.audited())
    await world.pass_(540, pace=30)
    assert world.weights()[1] == 10
    assert len(world.audited()) == asked
    await world.pass_(90, pace=30)
    assert len(world.audited()) == asked + 1
    await first.kill()
    await world.start_controller()
    await world.pass_(600, pace=30)
    assert world.weights()[1] == 10
    # The kit reckons the API server's time of day from the last status write: what had passed before that is added.
    world.traffic.ahead = timedelta(seconds=1260)
    await world.until(lambda: world.weights()[1] == 50, pace=30, within=900)


async def test_an_abort_asks_for_no_window(world: World) -> None:
    """Nor does anything else that takes traffic away."""
    steps = [{"weight": 10, "gate": {"window": soon(world.clock.now(), 120)}}, {"weight": 50}]
    await world.begin(steps=steps)
    await world.deploy(2)
    await world.until(lambda: "outside of its window" in world.message())
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=5)
    assert world.weights() == (1, 0)


def asking(**gate: Any) -> list[dict[str, Any]]:
    """A step whose gate asks another system, and one after it."""
    whom = {"url": "https://deploys.example.com/may-i/{{ rollout }}/{{ revision }}?step={{ step.kind }}"}
    return [
        {"weight": 10, "hold": "5s", "gate": {"http": whom, "interval": "10s", **gate}},
        {"weight": 50, "hold": "1h"},
    ]


def asked(world: World) -> list[datetime]:
    return [call.now for call in world.provider.calls if "deploys" in call.query.text]


async def test_another_system_is_asked_until_it_says_yes(world: World) -> None:
    """Not before the step has held its time, every interval, and no more after that; a killed controller's successor asks anew."""
    world.provider.answers["deploys"] = 0.0
    first = await world.begin(steps=asking())
    await world.deploy(2)
    await world.until(lambda: world.weights()[1] == 10)
    entered = world.clock.now()
    await world.until(lambda: "says no" in world.message())
    assert (asked(world)[0] - entered).total_seconds() >= 5
    (text,) = {call.query.text for call in world.provider.calls if "deploys" in call.query.text}
    assert text == f"GET https://deploys.example.com/may-i/shop/{world.status()['run']['revision']}?step=weight"
    patches = len(world.audited())
    await world.pass_(60)
    assert 6 <= len(asked(world)) <= 10
    assert len(world.audited()) == patches
    await first.kill()
    before = len(asked(world))
    await world.start_controller()
    await world.until(lambda: len(asked(world)) > before)
    assert world.weights()[1] == 10
    world.provider.answers["deploys"] = 1.0
    await world.until(lambda: world.weights()[1] == 50, within=11)
    done = len(asked(world))
    await world.pass_(30)
    assert len(asked(world)) == done


async def test_a_gate_that_hangs_is_no_reason_to_wait_with_a_rollback(world: World) -> None:
    """It is asked off the tick; and its timeout ends the run."""

    async def never(_query: Query, _now: datetime) -> Any:
        await asyncio.Event().wait()

    world.provider.answers["deploys"] = never
    await world.begin(steps=asking())
    await world.deploy(2)
    await world.until(lambda: bool(asked(world)))
    await world.ask("abort")
    await world.until(lambda: world.phase() == "RolledBack", within=5)
    assert world.weights() == (1, 0)


async def test_a_gate_that_does_not_open_in_time(world: World) -> None:
    """The run is rolled back, and says by whose silence."""
    world.provider.answers["deploys"] = Unreachable(None, "Timeout", "nobody answers")  # type: ignore[arg-type]  # Scripted stamps it
    await world.begin(steps=asking(timeout="1m"))
    await world.deploy(2)
    await world.until(lambda: world.phase() == "RolledBack", within=120)
    assert "the gate of step 1/2 did not open within 1m" in world.status()["run"]["message"]
    assert "nobody answers" in world.status()["run"]["message"]
    assert world.status()["run"]["reason"] == "GateTimedOut"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://deploys.example.com/{{ args.change }}", "unknown variable 'args.change'"),
        ("https://deploys.example.com/../admin", "leads elsewhere"),
    ],
)
async def test_a_gate_that_cannot_be_asked_starts_no_run(world: World, url: str, words: str) -> None:
    """The Rollout is Invalid, and says where and why."""
    await world.begin(steps=[{"weight": 10, "gate": {"http": {"url": url}}}])
    await world.until(lambda: world.phase() == "Invalid")
    assert "spec.steps[0].gate.http" in world.message()
    assert words in world.message()


async def test_a_host_that_is_not_allowed_starts_no_run(world: World) -> None:
    """As with checks, and before anybody is asked."""
    world.provider.refused["deploys"] = "the host is not among the allowed hosts"
    await world.begin(steps=asking())
    await world.until(lambda: world.phase() == "Invalid")
    assert "spec.steps[0].gate.http.url" in world.message()
    assert "the host is not among the allowed hosts" in world.message()
    assert not asked(world)
