"""A window on an API server: by its clock, and by no other."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from controller_kit import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


def soon(now: datetime, minutes: int) -> dict[str, Any]:
    """A window of an hour that opens in so many minutes."""
    opens = now + timedelta(minutes=minutes)
    return {"from": f"{opens:%H:%M}", "to": f"{opens + timedelta(hours=1):%H:%M}"}


async def test_a_run_goes_on_when_its_window_opens(world: World) -> None:
    """Until then it stays, at no request's cost; a restart in between changes nothing."""
    window = soon(world.clock.now(), 30)
    steps = [{"weight": 10, "gate": {"window": window}}, {"weight": 50, "hold": "1h"}]
    first = await world.begin(steps=steps)
    await world.deploy(2)
    await world.until(lambda: "outside of its window" in world.message())
    assert f"{window['from']} UTC" in world.message()
    asked = len(world.audited())
    await world.pass_(600, pace=30)
    assert world.weights()[1] == 10
    assert len(world.audited()) == asked
    await first.kill()
    await world.start_controller()
    await world.pass_(600, pace=30)
    assert world.weights()[1] == 10
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
