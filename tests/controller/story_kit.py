"""A run whose controller is killed at one of its writes, told to its end."""

from __future__ import annotations

import json
from typing import Any

from controller_kit import Clients, World, clean

Json = dict[str, Any]
End = tuple[str, str, list[str]]
"""Phase, whether the route is as before, and what is left of the run."""


async def survives_every_death(clients: Clients, route: Json, step: Json, *, good: bool) -> None:
    """A run of a step, then 100 %, ends as it would have ended, whichever write its controller was killed at, before or after.

    Where the run is not `good` its check fails at the step.
    """
    end, writes = await _story(clients, route, step, good=good)
    assert end[0] == ("Succeeded" if good else "RolledBack")
    for index in range(writes):
        for where in ("before", "after"):
            found, _ = await _story(clients, route, step, good=good, at=index, where=where)
            assert found == end, f"killed {where} write {index}"


async def _story(
    clients: Clients, route: Json, step: Json, *, good: bool, at: int = -1, where: str = ""
) -> tuple[End, int]:
    """One run to its end; how it ended, and how many writes it took since the deployment."""
    kind = next(name for name in ("mirror", "match") if name in step)
    offset: int | None = None

    def cut(index: int, _request: Any) -> str:
        return where if offset is not None and index - offset == at else ""

    async with World(clients) as world:
        world.provider.answers["errors"] = (
            0.0 if good else (lambda query, _: 0.5 if f'step="{kind}"' in query.text else 0.0)
        )
        check = {
            "name": "errors",
            "prometheus": {"query": 'errors{step="{{ step.kind }}"}'},
            "interval": "1s",
            "threshold": {"max": "1%"},
        }
        first = await world.begin(route, cut=cut, steps=[step, {"weight": 100, "hold": "2s"}], checks=[check])
        before = json.dumps(world.route()["spec"], sort_keys=True)
        await world.settle()
        offset = len(first.line.sent)
        await world.deploy(2)
        instance = first
        while True:
            await world.until(lambda: first.dead or world.phase() in {"Succeeded", "RolledBack"})
            if instance is first and first.dead:
                await first.kill()
                instance = await world.start_controller()
            await world.until(lambda: world.phase() in {"Succeeded", "RolledBack"})
            await world.settle()
            if not first.dead or instance is not first:
                break
        await world.pass_(5)
        same = (
            "as before" if json.dumps(world.route()["spec"], sort_keys=True) == before else str(world.route()["spec"])
        )
        end = (world.phase(), same, list(clean(world)))
        writes = len(first.line.sent) - offset
        await instance.stop()
        return end, writes
