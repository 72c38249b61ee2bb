"""What one team writes as fast as it can is read by every controller's watches; another team's rollback does not wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from controller_kit import (
    Clients,
    World,
    check,
    deployment_document,
    gateway_document,
    grant_document,
    route_document,
    template_document,
)
from process_kit import Controllers, Metrics, until

from canary.kube import CHECKTEMPLATES, DEPLOYMENTS, GATEWAYS, HTTPROUTES, REFERENCEGRANTS, ROLLOUTS, Resource

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

KINDS: tuple[Resource, ...] = (HTTPROUTES, DEPLOYMENTS, ROLLOUTS, CHECKTEMPLATES, GATEWAYS, REFERENCEGRANTS)
OBJECTS = 20
WRITERS = 6
FAT = "x" * 30_000
PART = 0.1
"""Seconds on average from a failing sample to its patch, by the controller's own account; alone it takes about two
milliseconds of them, and the machine may be busy with the API server's part of the flood."""


async def furnish(flood: World) -> None:
    """Twenty of each kind that is flooded."""
    for number in range(OBJECTS):
        await flood.create(HTTPROUTES, route_document(f"r{number}"))
        await flood.create(DEPLOYMENTS, deployment_document(f"r{number}"))
        await flood.create(CHECKTEMPLATES, template_document(f"r{number}"))
        await flood.create(GATEWAYS, gateway_document(f"r{number}"))
        await flood.create(REFERENCEGRANTS, grant_document(flood.namespace, f"r{number}"))
        await flood.declare(f"r{number}", routes=[{"name": f"r{number}"}], workloads=None, checks=[])


@dataclass
class Flood:
    """Writes objects of one kind, one after the other, without end; each is another one for whoever watches."""

    world: World
    resource: Resource
    written: int = 0

    async def write_on(self) -> None:
        while True:
            annotations = {"note": f"{self.written} {FAT}"}
            name = f"r{self.written % OBJECTS}"
            self.written += 1
            await self.world.gitops.merge_patch(
                self.resource, name, self.world.namespace, {"metadata": {"annotations": annotations}}
            )


@pytest.mark.alone("how long a rollback takes")
async def test_a_flood_of_writes_delays_nobodys_rollback(world: World, clients: Clients, tmp_path: Path) -> None:
    """Thirty kilobytes each, one after the other, of every kind that is watched: what the watches bring is worked off while
    a failing sample of another team leads to its patch at once."""
    names = [resource.plural for resource in KINDS]
    flood = World(clients)
    flood.clock, flood.traffic = world.clock, world.traffic
    async with flood, Metrics().serve() as metrics:
        await world.furnish(*(route_document(name) for name in names))
        query = {"query": 'errors{rollout="{{ rollout }}"}'}
        for name in names:
            await world.declare(
                name,
                routes=[{"name": name}],
                steps=[{"weight": 10, "hold": "1h"}],
                checks=[check(prometheus=query, interval="1s")],
            )
        await furnish(flood)
        controllers = Controllers(world, tmp_path, metrics, namespaces=(world.namespace, flood.namespace))
        try:
            process = await controllers.start()
            await until(lambda: all(world.phase(name) == "Idle" for name in names), "all are at rest")
            await world.deploy(2)
            await until(lambda: all(world.weights(name) == (90, 10) for name in names), "all have their first weight")
            for resource in KINDS:
                writing = Flood(flood, resource)
                writers = [asyncio.create_task(writing.write_on()) for _ in range(WRITERS)]
                await until(lambda writing=writing: writing.written > 5 * OBJECTS, "the flood is on")  # type: ignore[misc]
                metrics.others[f'rollout="{resource.plural}"'] = 0.5
                await until(
                    lambda name=resource.plural: world.weights(name)[1] == 0,  # type: ignore[misc]
                    f"rolled back in a flood of {resource.plural}",
                )
                assert not any(writer.done() for writer in writers)
                for writer in writers:
                    writer.cancel()
                await asyncio.gather(*writers, return_exceptions=True)
            series = await controllers.scrape(process)
            count, total = (series[f"canary_rollback_latency_seconds_{what}"] for what in ("count", "sum"))
            assert count == len(KINDS)
            assert total / count < PART
        finally:
            await controllers.end()
