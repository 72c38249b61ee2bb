"""Promise 8 where work cannot be interrupted: turns, shares, and a place for who is quick, whatever the others do."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.fair import FairLimit, LimitClosed, Pace, Place, Tenant
from canary.fair.room import SLOW_SECONDS


@dataclass
class Scenario:
    """Tenants with work to do, in a time of its own. `work` is one piece of it; `pass_` lets seconds go by."""

    size: int
    now: float = 0.0
    held: dict[Place, Pace] = field(default_factory=dict)
    waits: dict[Tenant, list[float]] = field(default_factory=dict)
    served: list[Tenant] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places = FairLimit(self.size, clock=lambda: self.now)
        self._agenda: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()
        self.tasks: set[asyncio.Task[None]] = set()

    def begin(self, doing: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(doing)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._agenda, (self.now + seconds, next(self._count), woken))
        await woken

    async def work(self, tenant: Tenant, seconds: float, topic: str = "") -> None:
        came = self.now
        place = await self.places.take(tenant, topic)
        self.waits.setdefault(tenant, []).append(self.now - came)
        self.served.append(tenant)
        self.held[place] = place.pace
        self.check()
        if len(self.held) == self.size > 1:
            assert [one.tenant[0] for one in self.held].count(tenant[0]) == 1
        try:
            await self.sleep(seconds)
        finally:
            del self.held[place]
            self.places.give_back(place)

    def check(self) -> None:
        """No share is exceeded."""
        size, held = self.size, self.held
        assert len(held) <= size
        assert max(Counter(place.tenant for place in held).values()) <= max(1, size // 2)
        assert max(Counter(place.tenant[0] for place in held).values()) <= max(1, size * 3 // 4)
        begun_slow = sum(pace is Pace.SLOW for pace in held.values())
        assert begun_slow <= max(1, size - max(1, size // 4))
        assert sum(pace is not Pace.QUICK for pace in held.values()) <= max(1, size - max(1, size // 8))

    async def settle(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0)

    async def pass_(self, seconds: float) -> None:
        end = self.now + seconds
        await self.settle()
        while self._agenda and self._agenda[0][0] <= end:
            self.now, _, woken = heapq.heappop(self._agenda)
            if not woken.done():
                woken.set_result(None)
            await self.settle()
        self.now = end

    async def end(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def run(size: int, story: Callable[[Scenario], Awaitable[None]]) -> Scenario:
    scenario = Scenario(size)

    async def tell() -> None:
        try:
            await story(scenario)
        finally:
            await scenario.end()

    asyncio.run(tell())
    return scenario


TENANTS = st.tuples(st.sampled_from(("red", "blue", "green")), st.sampled_from("abcd"))
JOBS = st.lists(
    st.tuples(st.sampled_from((0.0, 0.0, 0.5, 4.0)), TENANTS, st.sampled_from((0.01, 0.3, 3.0, 10.0))), max_size=60
)


@given(size=st.sampled_from((1, 2, 3, 4, 8)), jobs=JOBS, impatient=st.sets(st.integers(0, 59)))
@settings(max_examples=150, deadline=None)
def test_no_share_is_exceeded_and_nobody_is_forgotten(
    size: int, jobs: list[tuple[float, Tenant, float]], impatient: set[int]
) -> None:
    """Whatever comes, lasts and gives up: shares hold at every moment, and in the end all were served who stayed."""

    async def story(scenario: Scenario) -> None:
        staying = Counter()
        for number, (pause, tenant, seconds) in enumerate(jobs):
            await scenario.pass_(pause)
            task = scenario.begin(scenario.work(tenant, seconds))
            if number in impatient:
                await scenario.settle()
                task.cancel()
            else:
                staying[tenant] += 1
        await scenario.pass_(1000)
        assert not scenario.tasks
        assert not scenario.places.busy
        assert not (staying - Counter(scenario.served))

    run(size, story)


@given(
    size=st.sampled_from((4, 8, 12)),
    teams=st.integers(1, 12),
    rollouts=st.integers(1, 50),
    seconds=st.sampled_from((1.5, 3.0, 10.0)),
)
@settings(max_examples=40, deadline=None)
def test_who_is_quick_never_waits_for_who_is_slow(size: int, teams: int, rollouts: int, seconds: float) -> None:
    """Teams with ever so many slow Rollouts delay a quick one once, before it is known to be: by one turn of each team."""
    ours = ("we", "shop")

    async def hostile(scenario: Scenario, tenant: Tenant) -> None:
        while True:
            await scenario.work(tenant, seconds)

    async def story(scenario: Scenario) -> None:
        for team, rollout, _check in itertools.product(range(teams), range(rollouts), range(2)):
            scenario.begin(hostile(scenario, (f"team-{team}", f"rollout-{rollout}")))
        await scenario.pass_(0.5)
        scenario.begin(scenario.work(ours, 0.02))
        await scenario.pass_((teams + 1) * seconds)
        assert len(scenario.waits[ours]) == 1  # each team went first once, at most
        for _ in range(30):
            scenario.begin(scenario.work(ours, 0.02))
            await scenario.pass_(seconds / 3)
        assert scenario.waits[ours][1:] == [0] * 30

    run(size, story)


def test_fifty_rollouts_of_one_team_are_one_team() -> None:
    """Quick work in turns: another team's only Rollout is served every second time, not once in 51."""

    async def always(scenario: Scenario, tenant: Tenant) -> None:
        while True:
            await scenario.work(tenant, 0.1)

    async def story(scenario: Scenario) -> None:
        for number in range(50):
            scenario.begin(always(scenario, ("large", f"rollout-{number}")))
        scenario.begin(always(scenario, ("small", "shop")))
        await scenario.pass_(60)
        shares = Counter(tenant[0] for tenant in scenario.served)
        assert shares["small"] / shares.total() > 0.45
        of_large = Counter(tenant for tenant in scenario.served if tenant[0] == "large")
        assert max(of_large.values()) - min(of_large.values()) <= 1

    run(1, story)


def test_who_gives_up_has_not_lost_its_turn() -> None:
    """One that waits, gives up and comes again, over and over, is served as soon as it is its turn."""

    async def always(scenario: Scenario, tenant: Tenant) -> None:
        while True:
            await scenario.work(tenant, 5.0)

    async def impatient(scenario: Scenario) -> None:
        while ("we", "shop") not in scenario.served:
            task = scenario.begin(scenario.work(("we", "shop"), 0.1))
            await scenario.sleep(2.0)
            if ("we", "shop") not in scenario.served:
                task.cancel()
            await scenario.sleep(0.0)

    async def story(scenario: Scenario) -> None:
        for number in range(10):
            scenario.begin(always(scenario, (f"team-{number}", "rollout")))
        await scenario.pass_(1)
        scenario.begin(impatient(scenario))
        await scenario.pass_(60)
        assert ("we", "shop") in scenario.served
        assert scenario.served.index(("we", "shop")) <= 11

    run(1, story)


def test_the_topics_of_a_rollout_take_turns_too() -> None:
    """Sixteen checks of one Rollout: none is measured twice before each was measured once."""
    served: list[str] = []

    async def always(scenario: Scenario, topic: str) -> None:
        while True:
            await scenario.work(("we", "shop"), 0.2, topic)
            served.append(topic)

    async def story(scenario: Scenario) -> None:
        for number in range(16):
            scenario.begin(always(scenario, f"check-{number}"))
        await scenario.pass_(30)
        for begin in range(16, len(served) - 16, 16):
            assert len(set(served[begin : begin + 16])) == 16

    run(1, story)


def test_pace_is_what_was_seen_last_and_is_forgotten() -> None:
    """New, quick, slow while it is at something slow and until it was quick half a minute later, quick again."""
    tenant = ("we", "shop")

    async def story(scenario: Scenario) -> None:
        begun: list[Pace] = []

        async def one(seconds: float) -> None:
            place = await scenario.places.take(tenant)
            begun.append(place.pace)
            await scenario.sleep(seconds)
            scenario.places.give_back(place)

        for seconds, pause in ((0.1, 1), (5, 2), (0.1, 4), (0.1, 900), (0.1, 1), (0.1, 1)):
            scenario.begin(one(seconds))
            await scenario.pass_(pause)
        assert begun == [Pace.NEW, Pace.QUICK, Pace.SLOW, Pace.SLOW, Pace.SLOW, Pace.QUICK]

    run(8, story)
    assert SLOW_SECONDS == 1.0


def test_a_place_that_comes_at_the_moment_of_giving_up_goes_on() -> None:
    """Cancelled in the same turn of the loop in which its place comes: the next one has it."""

    async def story(scenario: Scenario) -> None:
        first = await scenario.places.take(("a", "a"))
        second = scenario.begin(scenario.work(("b", "b"), 1))
        third = scenario.begin(scenario.work(("c", "c"), 1))
        await scenario.settle()
        scenario.places.give_back(first)
        second.cancel()
        await scenario.pass_(5)
        assert third.done()
        assert scenario.served == [("c", "c")]
        assert not scenario.places.busy

    run(1, story)


def test_closed_places() -> None:
    """Who waits when they close is told, and so is who comes later; what is held can be given back."""

    async def story(scenario: Scenario) -> None:
        place = await scenario.places.take(("a", "a"))
        waiting = scenario.begin(scenario.work(("b", "b"), 1))
        await scenario.settle()
        scenario.places.close()
        with pytest.raises(LimitClosed):
            await waiting
        with pytest.raises(LimitClosed):
            await scenario.places.take(("c", "c"))
        assert scenario.places.busy
        scenario.places.give_back(place)
        assert not scenario.places.busy

    run(1, story)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tenants come and go; what is known of them does not grow for ever."""
    monkeypatch.setattr("canary.fair.limit.REMEMBERED", 50)

    async def story(scenario: Scenario) -> None:
        for number in range(500):
            scenario.begin(scenario.work((f"team-{number}", "rollout"), 0.1))
        await scenario.pass_(100)
        assert len(scenario.served) == 500
        kept = (scenario.places._served, scenario.places._last_slow, scenario.places._waiting, scenario.places._filed)
        assert [len(one) <= 50 for one in kept] == [True] * 4

    run(1, story)
