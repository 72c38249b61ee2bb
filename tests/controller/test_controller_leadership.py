"""Several controllers and one Lease: one of them works, and another goes on when it cannot."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from controller_kit import World

from canary.controller.leadership import DURATION, ENDED, LONGEST, MOST_ENDED, Leadership
from canary.errors import ConfigError, LeadershipLost
from canary.kube import LEASES
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAME = "canary-controller"


@dataclass
class Contender:
    """A controller's part in the Lease, under way."""

    part: Leadership
    task: asyncio.Task[None]
    said: list[bool] = field(default_factory=list)

    @property
    def leads(self) -> bool:
        return self.part.acquired.is_set()

    async def die(self) -> None:
        """End without a word, as after SIGKILL."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def stop(self) -> None:
        """End as a controller that is told to."""
        await self.die()
        await self.part.__aexit__(None, None, None)


@dataclass
class Ring:
    """Where they contend."""

    world: World
    contenders: list[Contender] = field(default_factory=list)

    async def enter(self, name: str, *, certain: bool = True) -> Contender:
        said: list[bool] = []
        kube = await self.world.person(name)
        part = Leadership(
            kube,
            self.world.namespace,
            NAME,
            self.world.clock,
            identity=name,
            turn=f"turn-of-{name}",
            certain=lambda: certain,
            on_change=said.append,
        )
        await part.__aenter__()
        one = Contender(part, asyncio.create_task(part.run()), said)
        self.contenders.append(one)
        return one

    async def lease(self) -> dict[str, Any]:
        found = await self.world.admin.get(LEASES, NAME, self.world.namespace)
        spec: dict[str, Any] = found["spec"]
        return spec

    async def write(self, **spec: Any) -> None:
        await self.world.admin.merge_patch(LEASES, NAME, self.world.namespace, {"spec": spec})

    async def say(self, words: str | None) -> None:
        body = {"metadata": {"annotations": {ENDED: words}}}
        await self.world.admin.merge_patch(LEASES, NAME, self.world.namespace, body)

    async def pass_on(self, *names: str, certain: bool = True) -> Contender:
        """Each holds the Lease after the one before has given it back. Returns the last, who holds it."""
        held: Contender | None = None
        for name in names:
            one = await self.enter(name, certain=certain)
            await self.world.settle()
            if held is not None:
                await held.stop()
            await self.world.until(lambda one=one: one.leads)  # type: ignore[misc]
            held = one
        assert held is not None
        return held

    def trouble(self, name: str, status: int, *verbs: str) -> None:
        for verb in verbs:
            self.world.api.faults.add(Fault(verb=verb, resource="leases", status=status, user=name, times=None))

    def mend(self) -> None:
        self.world.api.faults.clear()


@pytest_asyncio.fixture(loop_scope="module")
async def ring(world: World) -> AsyncIterator[Ring]:
    ring = Ring(world)
    yield ring
    ring.mend()
    for one in ring.contenders:
        await one.die()


async def test_one_leads_and_the_other_stands_by(ring: Ring) -> None:
    """The first takes the Lease and renews it for as long as it lives; the other asks nothing of the API server."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    second = await ring.enter("second")
    await ring.world.settle()
    before = len(ring.world.audited("second"))
    await ring.world.pass_(60)
    assert (first.leads, second.leads) == (True, False)
    assert (first.said, second.said) == ([False, True], [False])
    assert second.part.holder == "first"
    assert len(ring.world.audited("second")) == before
    lease = await ring.lease()
    assert (lease["holderIdentity"], lease["leaseDurationSeconds"], lease["leaseTransitions"]) == ("first", DURATION, 0)
    assert lease["renewTime"] > lease["acquireTime"]


async def test_a_clean_stop_hands_it_over_at_once(ring: Ring) -> None:
    """No time passes between the end of one and the beginning of the other."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    second = await ring.enter("second")
    await ring.world.settle()
    now = ring.world.clock.now()
    await first.stop()
    await ring.world.settle()
    assert second.leads
    assert ring.world.clock.now() == now
    assert first.said == [False, True, False]
    assert (await ring.lease())["leaseTransitions"] == 1


async def test_whose_turn_is_over_is_handed_down(ring: Ring) -> None:
    """Who gives the Lease back has nothing under way; so its successor knows, and the one after that."""
    third = await ring.pass_on("first", "second", "third")
    assert third.part.over == ("turn-of-first", "turn-of-second")


async def test_only_so_many_turns_are_handed_down(ring: Ring) -> None:
    """The latest ones, by name."""
    names = [str(number) for number in range(MOST_ENDED + 3)]
    last = await ring.pass_on(*names)
    assert last.part.over == tuple(f"turn-of-{name}" for name in names[2:-1])


async def test_nobody_vouches_for_a_dead_one(ring: Ring) -> None:
    """What it still had under way may take effect, on what it had only read: of nobody before it is anything believed."""
    second = await ring.pass_on("first", "second")
    third = await ring.enter("third")
    await ring.world.settle()
    await second.die()
    await ring.world.until(lambda: third.leads)
    assert third.part.over == ()
    fourth = await ring.enter("fourth")
    await ring.world.settle()
    await third.stop()
    await ring.world.until(lambda: fourth.leads)
    assert fourth.part.over == ("turn-of-third",)


async def test_who_left_something_under_way_says_nothing(ring: Ring) -> None:
    """The Lease is given back at once all the same."""
    second = await ring.pass_on("first", "second", certain=False)
    assert second.part.over == ()
    third = await ring.enter("third")
    await ring.world.settle()
    now = ring.world.clock.now()
    await second.stop()
    await ring.world.settle()
    assert (third.leads, third.part.over, ring.world.clock.now()) == (True, (), now)


async def test_an_older_version_in_between_says_nothing(ring: Ring) -> None:
    """It leaves the annotation as it was, and knows nothing of what it means."""
    first = await ring.pass_on("first")
    await first.stop()
    assert (await ring.world.admin.get(LEASES, NAME, ring.world.namespace))["metadata"]["annotations"][
        ENDED
    ] == "0 turn-of-first"
    await ring.write(holderIdentity="older", leaseTransitions=1)
    await ring.write(holderIdentity="")
    second = await ring.pass_on("second")
    assert second.part.over == ()


@pytest.mark.parametrize("words", ["", "0", "x turn", "7 turn", "0 " + "t" * 65, " ", "-0 turn"])
async def test_what_makes_no_sense_is_not_believed(ring: Ring, words: str) -> None:
    """Somebody has edited the Lease that nobody holds."""
    first = await ring.pass_on("first")
    await first.stop()
    await ring.say(words)
    assert (await ring.pass_on("second")).part.over == ()


async def test_a_lease_that_was_edited_is_given_back(ring: Ring) -> None:
    """The annotation is gone: then there is nowhere to say it, and nothing else is missing."""
    second = await ring.pass_on("first", "second")
    await ring.say(None)
    third = await ring.enter("third")
    await ring.world.settle()
    await second.stop()
    await ring.world.settle()
    assert (third.leads, third.part.over) == (True, ())


async def test_a_dead_one_is_followed_when_the_lease_runs_out(ring: Ring) -> None:
    """Not before, and not much later."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    second = await ring.enter("second")
    await ring.world.pass_(3)
    renewed = ring.world.clock.now()
    await ring.world.until(lambda: second.part.holder == "first")
    await first.die()
    await ring.world.pass_(DURATION - 2.1)
    assert not second.leads
    await ring.world.until(lambda: second.leads)
    assert (ring.world.clock.now() - renewed).total_seconds() <= DURATION + 1


async def test_the_same_one_again_goes_on_at_once(ring: Ring) -> None:
    """A container that is started again in its Pod does not wait for itself."""
    first = await ring.enter("pod-1")
    await ring.world.until(lambda: first.leads)
    await first.die()
    now = ring.world.clock.now()
    again = await ring.enter("pod-1")
    await ring.world.settle()
    assert again.leads
    assert ring.world.clock.now() == now
    assert (await ring.lease())["leaseTransitions"] == 0


@pytest.mark.parametrize(("said", "lasts"), [(12, 12), (3600, LONGEST), (1, DURATION), (2_147_483_647, LONGEST)])
async def test_the_duration_of_the_holder_counts(ring: Ring, said: int, lasts: int) -> None:
    """Another version may hold it for longer; but what somebody writes there keeps nobody away for an hour, nor makes two work at once."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    await first.die()
    await ring.write(leaseDurationSeconds=said)
    second = await ring.enter("second")
    await ring.world.pass_(lasts - 1)
    assert not second.leads
    await ring.world.until(lambda: second.leads, within=2)


@pytest.mark.parametrize("said", [3600, None])
async def test_a_renewal_says_anew_how_long_it_lasts(ring: Ring, said: int | None) -> None:
    """Whoever has edited that, or taken it out."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    await ring.write(leaseDurationSeconds=said)
    await ring.world.pass_(3)
    assert first.leads
    assert (await ring.lease())["leaseDurationSeconds"] == DURATION


@pytest.mark.parametrize(("said", "then"), [(2**31 - 1, 0), (2**31 - 2, 2**31 - 1)])
async def test_a_lease_that_has_changed_hands_as_often_as_can_be_is_taken(ring: Ring, said: int, then: int) -> None:
    """No API server takes a larger number, and none is needed."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    await first.die()
    await ring.write(leaseTransitions=said)
    second = await ring.enter("second")
    await ring.world.until(lambda: second.leads, within=DURATION + 2)
    assert (await ring.lease())["leaseTransitions"] == then


async def test_one_that_was_overtaken_ends(ring: Ring) -> None:
    """It sees so at its next renewal, says so, and does not give back what is not its own."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    await ring.write(holderIdentity="other")
    await ring.world.until(first.task.done, within=5)
    with pytest.raises(ExceptionGroup) as caught:
        first.task.result()
    assert caught.group_contains(LeadershipLost, match="another controller holds the Lease")
    await first.part.__aexit__(None, None, None)
    assert (await ring.lease())["holderIdentity"] == "other"


@pytest.mark.parametrize("status", [500, 429, 403])
async def test_trouble_of_the_api_server_ends_nobody(ring: Ring, status: int) -> None:
    """One that cannot renew goes on for as long as nobody else has taken over."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    ring.trouble("first", status, "patch")
    await ring.world.pass_(2 * DURATION)
    assert first.leads
    assert not first.task.done()
    ring.mend()
    before = (await ring.lease())["renewTime"]
    await ring.world.pass_(3)
    assert (await ring.lease())["renewTime"] > before


async def test_one_that_is_cut_off_loses_it(ring: Ring) -> None:
    """If others can write and the holder cannot, they take over, and it ends as soon as it gets through."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    second = await ring.enter("second")
    ring.trouble("first", 500, "patch")
    await ring.world.until(lambda: second.leads, within=DURATION + 3)
    assert first.leads
    ring.mend()
    await ring.world.until(first.task.done, within=3)
    assert not first.leads


async def test_a_lease_that_is_deleted_is_made_again(ring: Ring) -> None:
    """Somebody tidied up."""
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads)
    await ring.world.admin.delete(LEASES, NAME, ring.world.namespace)
    await ring.world.pass_(5)
    assert (await ring.lease())["holderIdentity"] == "first"
    assert first.leads


async def test_an_empty_lease_is_taken(ring: Ring) -> None:
    """Where controllers may not create one, somebody else has."""
    metadata = {"name": NAME, "namespace": ring.world.namespace}
    empty = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata}
    await ring.world.admin.create(LEASES, empty)
    first = await ring.enter("first")
    await ring.world.until(lambda: first.leads, within=1)
    assert (await ring.lease())["holderIdentity"] == "first"


async def test_a_namespace_that_does_not_exist_is_told(ring: Ring) -> None:
    """Not waited for in silence, with all runs standing still."""
    kube = await ring.world.person("first")
    part = Leadership(kube, "nowhere", NAME, ring.world.clock, identity="first")
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(part.run(), 10)
    assert caught.group_contains(
        ConfigError, match='cannot use the Lease nowhere/canary-controller.*"nowhere" not found'
    )


@pytest.mark.parametrize("verb", ["list", "create"])
async def test_without_the_rights_it_says_what_to_grant(ring: Ring, verb: str) -> None:
    """Not a loop of refusals: the controller does not start."""
    ring.trouble("first", 403, verb)
    first = await ring.enter("first")
    await ring.world.until(first.task.done, within=5)
    with pytest.raises(ExceptionGroup) as caught:
        first.task.result()
    assert caught.group_contains(ConfigError, match="grant list, watch, create and patch of leases")


async def test_never_two_and_soon_another(ring: Ring) -> None:
    """Five that come, stop and die in turns: with an API server that works there is never more than one that leads."""
    names = (f"c{number}" for number in itertools.count())
    alive = [await ring.enter(next(names)) for _ in range(5)]
    for turn in range(12):
        await ring.world.until(lambda: any(one.leads for one in alive), within=DURATION + 3)
        leading = [one for one in alive if one.leads]
        assert len(leading) == 1
        alive.remove(leading[0])
        await (leading[0].stop() if turn % 2 else leading[0].die())
        alive.append(await ring.enter(next(names)))
    assert (await ring.lease())["leaseTransitions"] >= 11
