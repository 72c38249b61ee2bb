"""Two real controller processes, one of which is stopped (SIGSTOP) at any moment and goes on when all is over.

Each stop catches seventy runs wherever they are: in preflight, between the write of a route and its status, in a hold. The
other one rolls all of them back. What the first still had in mind, or under way, must not come back to life.
"""

from __future__ import annotations

import asyncio
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from controller_kit import World, backend, pair_weights, route_document, rule
from process_kit import Controllers, Metrics, until

from canary.model.status import ACTIVE

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

RUNS = 70
STOPS = 2
NAMES = [f"shop-{number}" for number in range(RUNS)]
LEASE = "turns"
PATIENCE = 120.0
"""Seconds on the wall clock for what seventy runs take, on a machine that has other work."""


def shares(world: World) -> dict[str, float]:
    found = {}
    for name in NAMES:
        stable, canary = pair_weights(world.route(name)["spec"]["rules"][0])
        found[name] = canary / (stable + canary)
    return found


def given_again(world: World, run: int) -> list[str]:
    """Routes that gave their canary traffic after it was on record that this run of theirs is rolled back.

    By resourceVersion: the watches of two kinds do not tell of their events in one order.
    """
    ended: dict[str, int] = {}
    for rollout in world.records.versions["rollouts"]:
        of = rollout.get("status", {}).get("run") or {}
        if of.get("number") == run and of.get("outcome") and rollout["status"]["phase"] == "RolledBack":
            ended.setdefault(rollout["metadata"]["name"], int(rollout["metadata"]["resourceVersion"]))
    assert ended.keys() == set(NAMES)
    return [
        f"{name} at {version}, ended at {ended[name]}"
        for route in world.records.versions["httproutes"]
        if (version := int(route["metadata"]["resourceVersion"])) > ended[name := route["metadata"]["name"]]
        and pair_weights(route["spec"]["rules"][0])[1] > 0
    ]


def history(world: World, name: str) -> str:
    """Everything that was written to a Rollout and its route of the same name, in order, for whoever has to understand it."""
    rows = []
    for kind in ("rollouts", "httproutes"):
        for document in world.records.versions[kind]:
            metadata, status = document["metadata"], document.get("status", {})
            if metadata["name"] != name:
                continue
            if kind == "rollouts":
                said = [status.get(member) for member in ("phase", "run", "step", "routes", "lastRequest", "message")]
            else:
                said = [pair_weights(document["spec"]["rules"][0]), status]
            rows.append((int(metadata["resourceVersion"]), kind, metadata.get("annotations"), *said))
    return "\n".join(map(str, sorted(rows, key=lambda row: row[0])))


async def furnish(world: World, hold: str = "1s") -> None:
    """Seventy routes, and a Rollout for each."""
    await world.furnish(*(route_document(name, rule(backend("stable", 100), backend("canary", 0))) for name in NAMES))
    for name in NAMES:
        await world.declare(
            name,
            routes=[{"name": name}],
            workloads=None,
            steps=[{"weight": 10, "hold": hold}, {"weight": 50, "hold": "1h"}],
        )


@pytest.mark.parametrize("lease", [True, False], ids=["with a Lease", "without one"])
async def test_a_stopped_controller_changes_nothing_when_it_goes_on(world: World, tmp_path: Path, lease: bool) -> None:
    """Over two hundred runs with both: none gets traffic again, none is paused or begun anew, and no outcome is written over."""
    rng = random.Random(7)
    async with Metrics().serve() as metrics:
        controllers = Controllers(world, tmp_path, metrics, LEASE if lease else "")
        try:
            await furnish(world)
            first = await controllers.start()
            await until(
                lambda: all(world.phase(name) == "Idle" for name in NAMES), "every Rollout is at rest", PATIENCE
            )
            second = await controllers.start()
            await controllers.ready(second, PATIENCE)
            for stop in range(STOPS):
                first, second = await one_stop(world, controllers, first, second, stop, rng)
        finally:
            await controllers.end()


@pytest.mark.parametrize("moment", ["in the hold of step one", "as it writes step one"])
async def test_a_holder_that_wakes_up_takes_nothing_back_that_its_successor_has_given(
    world: World, tmp_path: Path, moment: str
) -> None:
    """By the time that it goes on healthy runs are a step further, and stay there. Of some nothing was on record when it was stopped."""
    async with Metrics().serve() as metrics:
        controllers = Controllers(world, tmp_path, metrics, LEASE)
        try:
            await furnish(world, hold="4s")
            first = await controllers.start()
            await until(
                lambda: all(world.phase(name) == "Idle" for name in NAMES), "every Rollout is at rest", PATIENCE
            )
            second = await controllers.start()
            await controllers.ready(second, PATIENCE)
            await asyncio.gather(*(world.ask({"id": "0", "verb": "start", "by": "alice"}, name=name) for name in NAMES))
            if moment == "in the hold of step one":
                await until(
                    lambda: all(world.step(name) >= 1 for name in NAMES),
                    "every run is at step one, or past it",
                    PATIENCE,
                )
            else:
                await until(
                    lambda: sum(share > 0 for share in shares(world).values()) > 20, "some runs have begun", PATIENCE
                )
            first.send_signal(signal.SIGSTOP)
            await until(
                lambda: all(
                    world.step(name) == 2 and world.condition("RoutesAccepted", name)["status"] == "True"
                    for name in NAMES
                ),
                "the second has gone on with all of them",
                PATIENCE,
            )
            await asyncio.sleep(2)
            version = int(world.records.versions["httproutes"][-1]["metadata"]["resourceVersion"])
            first.send_signal(signal.SIGCONT)
            await asyncio.wait_for(first.wait(), PATIENCE)
            assert "another controller holds the Lease" in controllers.log(first)
            await asyncio.sleep(1)
            lowered = [
                route["metadata"]["name"]
                for route in world.records.versions["httproutes"]
                if int(route["metadata"]["resourceVersion"]) > version
                and pair_weights(route["spec"]["rules"][0])[1] < 50
            ]
            assert not lowered, f"{lowered}\n{history(world, lowered[0])}\n{controllers.log(first)[-20_000:]}"
            assert {world.phase(name) for name in NAMES} == {"Progressing"}
        finally:
            await controllers.end()


async def one_stop(
    world: World, controllers: Controllers, first: Any, second: Any, stop: int, rng: random.Random
) -> tuple[Any, Any]:
    """Begin seventy runs, stop the first controller, let the second end them, let the first go on. Returns who is who then."""
    controllers.metrics.value = 0.0
    verb = "retry" if stop else "start"
    await asyncio.gather(*(world.ask({"id": f"{stop}", "verb": verb, "by": "alice"}, name=name) for name in NAMES))
    await asyncio.sleep(rng.uniform(0, 1.5))
    first.send_signal(signal.SIGSTOP)
    controllers.metrics.value = 0.5
    await until(
        lambda: all(world.phase(name) == "RolledBack" and world.run_number(name) == stop + 1 for name in NAMES),
        f"the second has rolled all back (stop {stop}); {[(n, world.phase(n), world.message(n)) for n in NAMES][:3]}",
        PATIENCE,
    )
    versions = len(world.records.versions["rollouts"])
    first.send_signal(signal.SIGCONT)
    if controllers.lease:
        await asyncio.wait_for(first.wait(), PATIENCE)
        assert "another controller holds the Lease" in controllers.log(first)
    # Of one that has ended, only answers to what it had sent can come.
    await asyncio.sleep(0.5 if controllers.lease else 3)
    assert set(shares(world).values()) == {0.0}
    again = given_again(world, stop + 1)
    assert not again, (
        f"{again}\n{history(world, again[0].split()[0])}\n"
        f"stopped:\n{controllers.log(first)[-20_000:]}\nwent on:\n{controllers.log(second)[-20_000:]}"
    )
    for version in world.records.versions["rollouts"][versions:]:
        assert version["status"]["phase"] not in ACTIVE, (
            f"an ended run was taken up again: {version['status']['message']}"
        )
    if controllers.lease and stop + 1 < STOPS:
        first = await controllers.start()
        await controllers.ready(first, PATIENCE)
    return second, first
