"""Who goes first: runs before what rests, measurements before everything else."""

from __future__ import annotations

import asyncio

import pytest
from controller_kit import CONTROLLER, World, rollout_document, route_document

from canary.controller.deps import Deps
from canary.controller.manager import Manager
from canary.controller.priority_queue import AHEAD, LONGEST_WAIT, LOOK_AGAIN, PATIENT, PriorityQueue
from canary.kube import DEPLOYMENTS, HTTPROUTES, ROLLOUTS
from canary.metrics.scripted import Scripted
from canary.observe.store import Store
from canary.telemetry import Telemetry

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_between_two_turns_everybody_else_goes() -> None:
    """Of those in line one goes per round of the event loop; who is in a hurry goes at once."""
    turns = PriorityQueue()
    line = [turns.queue("team") for _ in range(3)]
    gone: list[list[bool]] = []
    line[2].set_result(None)
    for _ in range(3):
        await asyncio.sleep(0)
        gone.append([turn.done() for turn in line])
    assert gone == [[True, False, True], [True, True, True], [True, True, True]]
    late = turns.queue("team")
    async with asyncio.timeout(1):
        await late


async def test_namespaces_take_turns() -> None:
    """A hundred of one team do not stand before the one of another."""
    turns = PriorityQueue()
    flood = [turns.queue("flood") for _ in range(100)]
    other = turns.queue("team")
    for _ in range(2):
        await asyncio.sleep(0)
    assert other.done()
    assert sum(turn.done() for turn in flood) == 1


async def test_first_looks_go_before_second_ones_and_hold_them_up_not_for_ever() -> None:
    """A run that nobody has decided about waits for none that looks once more, but new ones without end let others pass."""
    turns = PriorityQueue()
    order: list[str] = []
    for _ in range(2):
        turns.queue("team").add_done_callback(lambda _: order.append("again"))
    for number in range(2 * AHEAD + 1):
        turns.queue(f"new-{number}", first=True).add_done_callback(lambda _: order.append("first"))
    for _ in range(2 * AHEAD + 10):
        await asyncio.sleep(0)
    assert order == [*["first"] * AHEAD, "again", *["first"] * AHEAD, "again", "first"]


async def test_a_turn_that_nobody_waits_for_any_more_is_passed_on() -> None:
    """A reconciler that ended while it stood in line holds up nobody."""
    turns = PriorityQueue()
    first, second = turns.queue("team"), turns.queue("team")
    first.cancel()
    async with asyncio.timeout(1):
        await second


async def test_what_can_wait_waits_for_everybody_else() -> None:
    """It goes when nobody is in line, and no run waits to be looked at for the first time."""
    turns = PriorityQueue()
    starting = True
    turns.starting = lambda: starting
    order: list[str] = []

    async def patient(number: int) -> None:
        async with turns.held("team"):
            order.append(f"patient {number}")

    waiting = [asyncio.create_task(patient(number)) for number in range(PATIENT + 1)]
    await asyncio.sleep(0)
    turns.queue("team").add_done_callback(lambda _: order.append("hurried"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert order == ["hurried"]
    starting = False
    async with asyncio.timeout(LONGEST_WAIT / 2):
        await asyncio.gather(*waiting)
    assert order == ["hurried", *(f"patient {number}" for number in range(PATIENT + 1))]


async def test_a_flood_without_end_holds_up_what_can_wait_only_for_a_while() -> None:
    """After half a second it goes all the same."""
    turns = PriorityQueue()
    turns.starting = lambda: True
    async with asyncio.timeout(LONGEST_WAIT + 5), turns.held("team"):
        pass


async def test_who_gives_up_waiting_leaves_nothing_to_be_done() -> None:
    """A run that ends while its takeover waits for a start that goes on: nobody looks again and again for it."""
    turns = PriorityQueue()
    looks = 0

    def starting() -> bool:
        nonlocal looks
        looks += 1
        return True

    turns.starting = starting

    async def patient() -> None:
        async with turns.held("team"):
            raise AssertionError("it was given up before its turn")

    waiting = asyncio.create_task(patient())
    await asyncio.sleep(5 * LOOK_AGAIN)
    assert 1 <= looks <= 10, "it looks now and then, and not in every round of the event loop"
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.sleep(3 * LOOK_AGAIN)
    looked = looks
    await asyncio.sleep(5 * LOOK_AGAIN)
    assert looks == looked


async def test_active_runs_come_first_at_a_start(world: World) -> None:
    """A manager that is held judges nothing; once it begins, a run under way is taken up before those that rest."""
    await world.furnish(route_document(), *(route_document(f"rest-{number}") for number in range(5)))
    await world.declare()
    for number in range(5):
        await world.create(ROLLOUTS, rollout_document(f"rest-{number}", routes=[{"name": f"rest-{number}"}]))
    instance = await world.start_controller()
    await world.until(lambda: all(world.phase(f"rest-{number}") for number in range(5)))
    for number in range(5):  # the others share its canary's workload, and shall rest
        await world.edit(f"rest-{number}", trigger="Manual")
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Progressing")
    await instance.kill()

    looked: list[str] = []

    class Watched(Store):
        def rollout(self, key: tuple[str, str]) -> object:  # type: ignore[override]
            if key in self.rollouts and key[1] not in looked:
                looked.append(key[1])
            return super().rollout(key)

    provider = Scripted({"errors": 0.0})
    deps = Deps(instance.kube, Watched(), instance._recorder, provider, Telemetry(), world.clock)
    async with Manager(deps, held=True) as manager:
        for resource, pass_on in (
            (ROLLOUTS, manager.rollout),
            (HTTPROUTES, manager.route),
            (DEPLOYMENTS, manager.workload),
        ):
            for document in (await world.admin.list(resource, world.namespace))["items"]:
                pass_on(None, document)
        await asyncio.sleep(0.01)
        assert manager.reconciling == frozenset()
        looked.clear()  # who else is on a route is asked as Rollouts arrive
        await manager.begin()
        assert looked[0] == "shop"
        assert len(looked) == 6
        assert (world.namespace, "shop") in manager.reconciling
    assert CONTROLLER
