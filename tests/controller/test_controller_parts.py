"""Small parts of the controller: the clock, addresses, vetting, and reconcilers that fail."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from controller_kit import START, World, check, counter_document, template_document

from canary.checks.traffic import TRAFFIC
from canary.controller.clock import Alarm, ManualClock, SystemClock
from canary.controller.inbox import Inbox
from canary.controller.run import parse_address
from canary.errors import ConfigError
from canary.kube import CHECKTEMPLATES, ROLLOUTS
from canary.metrics.port import Query
from canary.metrics.scripted import Scripted
from canary.model.measurement import Counts, Sample

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Counting(Scripted):
    """Remembers what it was asked to validate."""

    def __init__(self) -> None:
        super().__init__({"errors": 0.0})
        self.validated: list[str] = []

    async def validate(self, query: Query) -> str | None:
        self.validated.append(query.text)
        return await super().validate(query)


async def test_a_manual_clock_wakes_in_order() -> None:
    """Sleepers wake in the order of their times, and none too early."""
    clock = ManualClock(START)
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2, 0)]
    await asyncio.sleep(0.01)
    assert woken == [0]
    assert clock.next_wake == START + timedelta(seconds=1)
    clock.advance(2.5)
    await asyncio.sleep(0.01)
    assert woken == [0, 1, 2]
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.next_wake is None


async def test_an_alarm_rings_at_its_last_moment_only() -> None:
    """Set anew, an alarm forgets the moment of before; set to none it is silent; no sleeper is left behind."""
    clock, event = ManualClock(START), asyncio.Event()
    alarm = Alarm(clock, event)
    alarm.set(START + timedelta(seconds=5))
    alarm.set(START + timedelta(seconds=9))
    await asyncio.sleep(0.01)
    clock.advance(6)
    await asyncio.sleep(0.01)
    assert not event.is_set()
    assert clock.next_wake == START + timedelta(seconds=9)
    alarm.set(START + timedelta(seconds=9))
    clock.advance(3)
    async with asyncio.timeout(1):
        await event.wait()
    event.clear()
    alarm.set(START + timedelta(seconds=20))
    await asyncio.sleep(0.01)
    alarm.set(None)
    await asyncio.sleep(0.01)
    assert clock.next_wake is None
    alarm.set(START)
    async with asyncio.timeout(1):
        await event.wait()


async def test_the_system_clock_is_in_utc() -> None:
    """Times are aware; sleeping for no time returns."""
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    await clock.sleep(0)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        (":0", ("0.0.0.0", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
async def test_addresses(text: str, address: tuple[str, int]) -> None:
    """host:port in its usual forms."""
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "8080", "localhost", "localhost:", "localhost:http", "localhost:65536", "a:-1"])
async def test_what_is_no_address(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(ConfigError, match=r"for example 0\.0\.0\.0:8080"):
        parse_address(text)


async def test_queries_are_vetted_once_per_edit(world: World) -> None:
    """The provider is asked about each query when it is new or edited, and not when a controller starts anew."""
    world.provider = provider = Counting()
    await world.furnish()
    await world.create(CHECKTEMPLATES, template_document())
    latency = {"template": {"name": "latency"}, "args": {"limit": "1"}}
    await world.declare(checks=[check(), latency], traffic={"prometheus": {"query": "count {{ backend.service }}"}})
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.settle()
    asked = ['errors{service="canary",weight="1"}', 'latency{service="canary"}', "count canary", "count stable"]
    assert provider.validated == asked
    await world.gitops.merge_patch(ROLLOUTS, "shop", world.namespace, {"metadata": {"labels": {"a": "b"}}})
    await world.pass_(300, pace=60)
    assert provider.validated == asked
    await instance.kill()
    await world.start_controller()
    await world.pass_(300, pace=60)
    assert provider.validated == asked
    await world.gitops.merge_patch(
        CHECKTEMPLATES, "latency", world.namespace, {"spec": {"prometheus": {"query": "latency2"}}}
    )
    await world.settle()
    assert provider.validated[4:] == [asked[0], "latency2", *asked[2:]]
    await world.edit(checks=[check()])
    await world.settle()
    assert provider.validated[8:] == [asked[0], *asked[2:]]


async def test_counters_of_a_template_are_vetted_once_per_edit_of_it(world: World) -> None:
    """And asked for as they are for this Rollout."""
    world.provider = provider = Counting()
    await world.furnish()
    await world.create(CHECKTEMPLATES, counter_document())
    await world.declare(checks=[], traffic={"template": {"name": "traffic"}, "args": {"route": "shop"}})
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.settle()
    assert provider.validated == ["n shop canary", "n shop stable"]
    edited = {"spec": {"traffic": {"prometheus": {"query": "m {{ backend.service }}"}}}}
    await world.gitops.merge_patch(CHECKTEMPLATES, "traffic", world.namespace, edited)
    await world.settle()
    assert provider.validated[2:] == ["m canary", "m stable"]


async def test_what_is_refused_for_both_backends_is_said_once(world: World) -> None:
    """The counters of spec.traffic are asked for twice, and mostly refused in the same words."""
    world.provider.refused["count "] = "nobody knows count"
    await world.furnish()
    await world.declare(traffic={"prometheus": {"query": "count {{ backend.service }}"}})
    await world.start_controller()
    await world.until(lambda: world.phase() == "Invalid")
    assert world.message().count("nobody knows count") == 1


async def test_a_refused_query_is_asked_again_once_a_minute(world: World) -> None:
    """The server may be another one tomorrow: Invalid ends within a minute of the refusal's end."""
    world.provider = provider = Counting()
    provider.refused["errors"] = "parse error"
    await world.furnish()
    await world.declare()
    await world.start_controller()
    await world.until(lambda: world.phase() == "Invalid")
    await world.settle()
    before = len(provider.validated)
    await world.pass_(600, pace=30)
    assert 9 <= len(provider.validated) - before <= 11
    provider.refused.clear()
    await world.until(lambda: world.phase() == "Idle", within=61)


async def test_a_provider_that_hangs_holds_up_only_its_own(world: World) -> None:
    """While one query is being validated, a Rollout with another one is looked at."""
    hanging = asyncio.Event()

    class Slow(Counting):
        async def validate(self, query: Query) -> str | None:
            if "slow" in query.text:
                await hanging.wait()
            return await super().validate(query)

    world.provider = Slow()
    await world.furnish()
    await world.declare("one", checks=[check(prometheus={"query": "slow"})])
    await world.declare("two", checks=[], routes=[{"name": "gone"}])
    await world.start_controller()
    await world.until(lambda: world.phase("two") == "Invalid")
    assert world.phase("one") == ""
    hanging.set()
    await world.until(lambda: world.phase("one") == "Idle")


async def test_a_driver_that_fails_starts_anew(world: World) -> None:
    """A bug of ours (here: a provider that says something impossible) costs a run five seconds, not its reconciler."""
    await world.begin(steps=[{"weight": 10, "hold": "5s"}, {"weight": 100}])
    broken = [True]

    def answer(_query: Query, _now: object) -> float:
        if broken[0]:
            raise RuntimeError("a bug")
        return 0.0

    world.provider.answers["errors"] = answer
    await world.deploy(2)
    await world.until(lambda: world.condition("Reconciling").get("reason") == "ChecksUnknown")
    assert "a bug" in world.message()
    broken[0] = False
    await world.until(lambda: world.phase() == "Succeeded")


async def test_what_was_taken_can_be_put_back() -> None:
    """A decision that is not carried out loses no sample: they count in the next one, oldest first, timed from the oldest."""
    inbox = Inbox()
    one, two = (Sample(number, START, "q") for number in range(2))
    early, late = (Counts(number, number, START) for number in range(2))
    inbox.put("errors", one)
    inbox.put(TRAFFIC, early)
    taken = inbox.take()
    assert taken == ((("errors", one),), early, taken[2])
    assert inbox.take() == ((), None, None)
    inbox.put("errors", two)
    inbox.put_back(*taken)
    assert inbox.take() == ((("errors", one), ("errors", two)), early, taken[2])
    inbox.put(TRAFFIC, late)
    inbox.put_back(*taken)
    assert inbox.take() == ((("errors", one),), late, taken[2])
