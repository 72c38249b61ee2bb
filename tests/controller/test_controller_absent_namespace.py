"""A controller of named namespaces, one of which nobody has made yet, or not by this name: it is said, and served once it is there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from controller_kit import Clients, World
from process_kit import Controllers, Metrics, until

from canary.controller.survey import Named

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


@pytest.mark.parametrize("alone", [False, True])
async def test_a_namespace_that_is_made_later_is_served_from_then_on(
    world: World, clients: Clients, tmp_path: Path, alone: bool
) -> None:
    """Without a start anew; the others wait for none of that, and the log says it once."""
    late = World(clients)
    await world.furnish()
    await world.declare(steps=[{"weight": 10, "hold": "1h"}])
    async with Metrics().serve() as metrics:
        there = () if alone else (world.namespace,)
        controllers = Controllers(world, tmp_path, metrics, namespaces=(*there, late.namespace))
        try:
            process = await controllers.start()
            await controllers.ready(process, 60)
            await until(lambda: alone or world.phase() == "Idle", "the first look")
            absent = f"namespace {late.namespace} of --namespaces does not exist; it is watched"
            await until(lambda: absent in controllers.log(process), "a word about it", 20)
            async with late:
                await late.furnish()
                await late.declare(steps=[{"weight": 10, "hold": "1h"}])
                await until(lambda: late.phase() == "Idle", "the first look there", 20)
                await late.deploy(2)
                await until(lambda: late.weights() == (90, 10), "a run there", 20)
            assert process.returncode is None
            log = controllers.log(process)
            assert log.count(absent) == 1
            assert f"namespace {late.namespace} of --namespaces exists now" in log
            assert f"namespace {world.namespace} of" not in log
        finally:
            await controllers.end()


async def test_each_absence_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Also where all namespaces are listed again, and of one that goes later; not before all of them are known."""
    caplog.set_level(logging.INFO)
    named = Named(("a", "b"))

    def told() -> list[tuple[str, object]]:
        words = [(record.levelname, record.args) for record in caplog.records]
        caplog.clear()
        return words

    for expected in ([("WARNING", ("b",))], []):
        named.anew()
        named.heard("other", gone=False)
        named.heard("a", gone=False)
        assert not told()
        named.listed()
        assert told() == expected
    named.heard("b", gone=False)
    assert told() == [("INFO", ("b",))]
    named.heard("a", gone=True)
    named.heard("other", gone=True)
    assert told() == [("WARNING", ("a",))]
