"""From what comparers have counted since their start to what they compared between two looks: nothing counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.checks.judges.mirrored import Look
from canary.checks.sources import Source
from canary.checks.sources.comparer import Comparer
from canary.controller.comparers import MOST_KNOWN_PATHS, MOST_PATHS, Answering, replicas
from canary.kube.endpoints import BETWEEN_TURNS, MOST_ENDPOINTS, Endpoint, ready_endpoints
from canary.model.measurement import Answered, Measurement, NoData, Replica, Replicas, Sample, Unreachable

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOURCE = Comparer("compare", "team")

Json = dict[str, Any]


class Team:
    """Comparers, and a controller that looks at them every ten seconds."""

    def __init__(self) -> None:
        self.answering, self.at = Answering(), START
        self.up: dict[str, Replica] = {}
        self.instead: Measurement | None = None
        self.unread = ""

    def count(self, name: str, compared: int, age: float = 600, **paths: tuple[int, int, int]) -> None:
        self.up[name] = Replica(name, age, compared, paths)

    async def ask(self, source: Source) -> Measurement:
        assert source == SOURCE
        if self.instead is not None:
            return self.instead
        return Sample(1.0, self.at, source.text, replicas=Replicas(tuple(self.up.values()), self.unread))

    async def look(self, seconds: float = 10, least: float = 0) -> Answered | Any:
        self.at += timedelta(seconds=seconds)
        return await self.answering.look(SOURCE, self.ask, self.at, least)


async def test_a_look_lies_between_two_readings() -> None:
    """The first one is only kept: it may be of another run."""
    team = Team()
    team.count("a", 100, x=(50, 0, 0))
    team.count("b", 30)
    assert await team.look() is None
    team.count("a", 160, x=(52, 1, 0), y=(0, 0, 60))
    team.count("b", 40, x=(1, 0, 0))
    found = await team.look()
    assert (found.compared, found.paths) == (70, {"x": (3, 1, 0), "y": (0, 0, 60)})
    assert (found.since, found.at) == (START + timedelta(seconds=10), START + timedelta(seconds=20))


async def test_a_replica_that_started_meanwhile_counts_from_nothing() -> None:
    """And one that is gone keeps what it gave."""
    team = Team()
    team.count("a", 100)
    await team.look()
    del team.up["a"]
    team.count("b", 7, age=9.5, x=(1, 0, 0))
    found = await team.look()
    assert (found.compared, found.paths) == (7, {"x": (1, 0, 0)})


@pytest.mark.parametrize("age", [10.5, 1e9, -3.0, float("nan")])
async def test_a_replica_that_was_never_read_and_is_older_only_begins_to_count(age: float) -> None:
    """What it compared may be of the step before, or of another canary: its clock says nothing better."""
    team = Team()
    team.count("a", 100)
    await team.look()
    team.count("b", 500, age=age, x=(400, 0, 0))
    assert (await team.look()).compared == 0
    team.count("b", 510, age=age, x=(401, 0, 0))
    assert ((await team.look()).compared, team.answering._known["b"].compared) == (10, 510)


async def test_a_replica_that_was_out_of_reach_for_a_look_loses_nothing() -> None:
    """It is counted from what it said last, and no request twice."""
    team = Team()
    team.count("a", 100)
    team.count("b", 100)
    await team.look()
    b = team.up.pop("b")
    team.count("a", 110)
    team.unread = "1 of 2 could not be read"
    found = await team.look()
    assert (found.compared, found.unread) == (10, "1 of 2 could not be read")
    team.up["b"] = Replica("b", b.age, 130, {})
    assert (await team.look()).compared == 30


async def test_one_replica_with_two_addresses_counts_once() -> None:
    """A slice that somebody wrote twice makes no evidence."""
    team = Team()
    team.count("a", 100)
    team.up["again"] = team.up["a"]
    await team.look()
    team.count("a", 120)
    team.up["again"] = Replica("a", 600, 119, {})
    assert (await team.look()).compared == 20


@pytest.mark.parametrize(
    "after",
    [
        Replica("a", 600, 90, {"x": (5, 0, 0)}),
        Replica("a", 600, 120, {"x": (4, 0, 0)}),
        Replica("a", 600, 120, {"x": (5, 0, 0), "y": (21, 0, 0)}),
        Replica("a", 600, 120, {}),
    ],
    ids=["fewer compared", "fewer differences", "more differences than requests", "a path that vanished"],
)
async def test_what_is_no_counter_counts_nothing_and_is_said(after: Replica) -> None:
    """The other replicas count as ever; from the next look on this one may count again."""
    team = Team()
    team.count("a", 100, x=(5, 0, 0))
    team.count("b", 100)
    await team.look()
    team.up["a"] = after
    team.count("b", 110)
    found = await team.look()
    assert (found.compared, found.paths) == (10, {})
    assert "fell" in found.unread
    team.up["a"] = Replica("a", 600, after.compared + 5, after.paths)
    assert (await team.look()).compared == 5


async def test_an_early_look_at_nothing_says_nothing() -> None:
    """There may be more within the interval; later it is said that there was nothing."""
    team = Team()
    team.count("a", 100)
    await team.look()
    assert await team.look(1, least=8) is None
    found = await team.look(9, least=8)
    assert (found.compared, found.since) == (0, START + timedelta(seconds=10))


async def test_what_could_not_be_read_is_passed_on() -> None:
    """And readings of before stay what they were."""
    team = Team()
    team.count("a", 100)
    await team.look()
    for instead in (Unreachable(START, "Unreachable", "down"), NoData(START)):
        team.instead = instead
        assert await team.look() == instead
    team.instead = None
    team.count("a", 125)
    assert (await team.look()).compared == 25


async def test_paths_are_bounded() -> None:
    """However many replicas make up however many."""
    team = Team()
    for number in range(4):
        team.up[str(number)] = Replica(str(number), 1, 1, {f"$.{number}.{path}": (1, 0, 0) for path in range(2000)})
    team.count("old", 1)
    await team.look()
    team.up = {name + "'": Replica(name + "'", 1, 1, one.paths) for name, one in team.up.items()}
    assert len((await team.look()).paths) == MOST_PATHS


async def test_others_have_their_turn_between_replicas() -> None:
    """Eight that say all they may are some 20 ms of work; nobody waits for more than one of them."""
    team = Team()
    for number in range(8):
        team.count(str(number), 1000 * number + 1, x=(1, 0, 0))
    await team.look()
    for number in range(8):
        team.count(str(number), 1000 * number + 2, x=(2, 0, 0))
    turns = 0

    async def somebody_else() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(somebody_else())
    assert (await team.look()).paths == {"x": (8, 0, 0)}
    other.cancel()
    assert turns >= 8


async def test_what_is_remembered_is_bounded_and_those_that_answer_are_not_forgotten() -> None:
    """A comparer that says at each look that it has just started, with new paths, fills no memory."""
    team = Team()
    for start in range(20):
        team.up = {
            str(n): Replica(f"{start}-{n}", 1, 1, {f"{n}.{path}": (1, 0, 0) for path in range(2000)}) for n in range(8)
        }
        await team.look()
    known = team.answering._known
    assert sum(len(one.paths) for one in known.values()) <= MOST_KNOWN_PATHS
    assert set(known) == {one.instance for one in team.up.values()}


COUNT = st.integers(0, 60)
STATES = st.dictionaries(
    st.sampled_from("abc"),
    st.tuples(
        st.integers(0, 200), st.floats(-10, 40), st.dictionaries(st.sampled_from("xyz"), st.tuples(COUNT, COUNT, COUNT))
    ),
)


@settings(deadline=None)
@given(st.lists(STATES, max_size=8))
async def test_whatever_replicas_say_it_is_a_look_that_can_be_judged(states: list[dict[str, Any]]) -> None:
    """Counters of any kind, that come and go: never fewer than none, never more differences than answers."""
    team = Team()
    for state in states:
        team.up = {
            name: Replica(name, age, compared, paths)
            for name, (compared, age, paths) in state.items()
            if all(sum(counts) <= compared for counts in paths.values())  # as ComparerResults has it
        }
        found = await team.look()
        if found is not None:
            Look(found.compared, found.paths)


# -- where they are ---------------------------------------------------------------------------------------------------


class Slices:
    """An API server that has these EndpointSlices."""

    def __init__(self, *items: Json) -> None:
        self.items, self.asked, self.read = items, "", 0

    async def pages(self, _: Any, namespace: str, *, label_selector: str, limit: int) -> AsyncGenerator[Json]:
        self.asked = f"{namespace} {label_selector}"
        for first in range(0, len(self.items) or 1, limit):
            self.read += limit
            yield {"items": list(self.items[first : first + limit])}


def sliced(*addresses: str, ports: Any = ({"name": "results", "port": 9000},), **conditions: Any) -> Json:
    return {"endpoints": [{"addresses": list(addresses), "conditions": conditions}], "ports": list(ports)}


async def test_replicas_are_those_that_are_ready() -> None:
    """Of all slices of the Service; ready unless it is said that they are not."""
    kube: Any = Slices(sliced("10.0.0.2", ready=True), sliced("10.0.0.1"), sliced("10.0.0.3", ready=False))
    assert await replicas(kube, "compare", "team") == (("10.0.0.1", 9000), ("10.0.0.2", 9000))
    assert kube.asked == "team kubernetes.io/service-name=compare"


async def test_results_are_at_the_port_of_that_name_or_at_the_usual_one() -> None:
    """A Service need not name it."""
    kube: Any = Slices(
        sliced("10.0.0.1", ports=[{"name": "http", "port": 8080}]), sliced("fd00::1", ports=[{"port": 8080}])
    )
    assert await replicas(kube, "compare", "team") == (("10.0.0.1", 8081), ("fd00::1", 8081))


async def test_however_many_slices_somebody_writes_a_few_are_read() -> None:
    """A page of what may be megabytes each, and not all of them in the memory of a controller that others need."""
    kube: Any = Slices(*[sliced(f"10.0.{number // 250}.{number % 250}") for number in range(1000)])
    assert 0 < len(await ready_endpoints(kube, "compare", "team")) == kube.read <= 16


async def test_others_have_turns_while_thousands_of_endpoints_are_looked_at() -> None:
    """Sixteen slices of a thousand endpoints each are read in small parts, ready or not; and no more is kept than anybody needs."""
    for ready in (True, False):
        kube: Any = Slices(
            *[
                {
                    "endpoints": [
                        {"addresses": [f"10.{which}.{number // 250}.{number % 250}"], "conditions": {"ready": ready}}
                        for number in range(1000)
                    ],
                    "ports": [{"name": f"p{port}", "port": 9000 + port} for port in range(100)],
                }
                for which in range(16)
            ]
        )
        turns = 0

        async def somebody_else() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(somebody_else())
        found = await ready_endpoints(kube, "compare", "team")
        other.cancel()
        assert len(found) == (MOST_ENDPOINTS if ready else 0)
        assert kube.read <= 16
        assert turns >= kube.read * 1000 / BETWEEN_TURNS


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.1", "::1%]@example.org/", "::ffff:169.254.169.254"],
)
async def test_no_address_is_asked_that_is_no_pods(address: str) -> None:
    """The API server refuses most of them; whoever gets one past it reaches no metadata of the node, and no name."""
    kube: Any = Slices(sliced(address), sliced("10.0.0.1"))
    assert [found.address for found in await ready_endpoints(kube, "compare", "team")] == ["10.0.0.1"]


GARBAGE: list[Json] = [
    {},
    {"endpoints": None, "ports": None},
    {"endpoints": "x", "ports": "y"},
    {"endpoints": [1, {"addresses": None}, {"addresses": [7, "example.org", "10.0.0.1/8"]}], "ports": [3]},
    {"endpoints": [{"addresses": ["10.0.0.9"], "conditions": "ready"}], "ports": [{"port": 0}, {"port": "x"}]},
]


async def test_slices_that_make_no_sense_lead_nowhere() -> None:
    """No names are looked up, and only what is an address is asked."""
    kube: Any = Slices(*GARBAGE)
    assert await ready_endpoints(kube, "compare", "team") == (Endpoint("10.0.0.9", ()),)
