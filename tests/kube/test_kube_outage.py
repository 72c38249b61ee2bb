"""Connections that die, with a word or without: how soon it is noticed, and that nothing is lost, doubled or left undone."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from cluster_kit import api_server, own_namespace
from kube_kit import change, eventually, listing, one, route
from wire import Wire

from canary import errors
from canary.kube import HTTPROUTES, NAMESPACES, SERVICES, Kube, KubeClient, WatchEvent, outage
from canary.kube.courier import Lane
from canary.kube.outage import WATCH, Eyes
from canary.kube.pace import GRACE, TURNS, Silent, Vigil, WatchPace
from canary.kube.pool import kept_alive
from canary_sandbox.apiserver.generic import GenericApiServer


@pytest.fixture
async def server() -> AsyncIterator[GenericApiServer]:
    async with api_server() as server:
        yield server


@pytest.fixture
async def wire(server: GenericApiServer) -> AsyncIterator[Wire]:
    async with Wire(server.url) as wire:
        yield wire


@pytest.fixture
async def far(server: GenericApiServer, wire: Wire) -> AsyncIterator[Kube]:
    """A connection over the wire."""
    async with await KubeClient.connect(server=wire.url, token=server.token) as kube:
        yield kube


@pytest.fixture
async def near(server: GenericApiServer) -> AsyncIterator[Kube]:
    """A connection past the wire."""
    async with await KubeClient.connect(server=server.url, token=server.token) as kube:
        yield kube


@pytest.fixture
async def shop(near: Kube) -> str:
    """A namespace."""
    name = own_namespace("shop")
    await near.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def service(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}


class Watcher(Eyes):
    """Follows Services in the background and remembers what it saw, and for how long it saw nothing."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.news = asyncio.Event()
        self.blind = False
        self.opened = False
        self.losses: list[tuple[float, str]] = []

    def lost(self, seconds: float, why: str) -> None:
        self.blind = True
        self.losses.append((seconds, why))
        self.news.set()

    def suspect(self) -> None:
        pass

    def found(self) -> None:
        self.blind, self.opened = False, True
        self.news.set()

    def take(self, event: WatchEvent) -> None:
        self.seen.append((event.type, event.object.get("metadata", {}).get("name", "")))
        self.news.set()

    async def until(self, condition: Any, within: float = 10.0) -> float:
        """Wait for it; returns how many seconds that took."""
        begun = time.monotonic()
        async with asyncio.timeout(within):
            while not condition():
                self.news.clear()
                await self.news.wait()
        return time.monotonic() - begun


@asynccontextmanager
async def following(kube: Kube, namespace: str, pace: WatchPace | None = None) -> AsyncIterator[Watcher]:
    watcher = Watcher()

    async def run() -> None:
        async for event in kube.list_and_watch(SERVICES, namespace, pace=pace, eyes=watcher):
            watcher.take(event)

    task = asyncio.create_task(run())
    try:
        await watcher.until(lambda: watcher.opened)
        yield watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# -- watches ----------------------------------------------------------------------------------------------------------


@pytest.mark.alone("how soon a watch is back", waits=True)
async def test_sight_is_back_within_two_seconds_of_the_server(near: Kube, far: Kube, wire: Wire, shop: str) -> None:
    """However long it was away: the next try is never far off. What happened meanwhile comes, once and in order."""
    async with following(far, shop) as watcher:
        await wire.cut()
        await watcher.until(lambda: watcher.blind)
        for name in ("a", "b"):
            await near.create(SERVICES, service(name), shop)
        await asyncio.sleep(4)  # by now, pauses that double would be longer than two seconds
        await wire.mend()
        assert await watcher.until(lambda: not watcher.blind) < 2
        await near.create(SERVICES, service("c"), shop)
        await watcher.until(lambda: len(watcher.seen) == 4)
    assert watcher.seen == [("SYNCED", ""), ("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


@pytest.mark.alone("how soon a loss is noticed", waits=True)
async def test_a_brisk_watch_finds_a_silent_death(near: Kube, far: Kube, wire: Wire, shop: str) -> None:
    """Connections stay, nothing comes through: it is found when the watch should have ended, and is taken up anew."""
    pace = WatchPace(seconds=1.0)
    pace.turn(brisk=True)
    async with following(far, shop, pace) as watcher:
        wire.freeze(only_open=True)
        await near.create(SERVICES, service("a"), shop)
        took = await watcher.until(lambda: ("ADDED", "a") in watcher.seen)
    assert took < 1.0 + GRACE + 1.0
    (seconds, why), *_ = watcher.losses
    assert 1.0 <= seconds <= 1.0 + GRACE + 0.5  # lost since something came last
    assert "nothing came" in why


async def test_an_open_calm_watch_turns_brisk_at_once(server: GenericApiServer, far: Kube, shop: str) -> None:
    """When a run begins the watches are renewed, from where they were, by one request each, and are not blind."""
    pace = WatchPace(seconds=30.0)

    def watches() -> int:
        return sum(entry.verb == "watch" and entry.namespace == shop for entry in server.audit)

    async with following(far, shop, pace) as watcher:
        await eventually(lambda: watches() == 1)
        await far.create(SERVICES, service("a"), shop)
        await watcher.until(lambda: ("ADDED", "a") in watcher.seen)
        pace.turn(brisk=True)
        pace.turn(brisk=True)
        await eventually(lambda: watches() == 2)
        await far.create(SERVICES, service("b"), shop)
        await watcher.until(lambda: ("ADDED", "b") in watcher.seen)
    assert watcher.seen == [("SYNCED", ""), ("ADDED", "a"), ("ADDED", "b")]
    assert watcher.losses == []
    assert watches() == 2
    assert sum(entry.verb == "list" and entry.namespace == shop for entry in server.audit) == 1


async def test_brisk_watches_lose_and_double_nothing(near: Kube, far: Kube, shop: str) -> None:
    """Watches that end every second, over a stream of changes: each of them comes once, in order."""
    pace = WatchPace(seconds=1.0)
    pace.turn(brisk=True)
    names = [f"s{number}" for number in range(60)]
    async with following(far, shop, pace) as watcher:
        for name in names:
            await near.create(SERVICES, service(name), shop)
            await asyncio.sleep(0.05)
        await watcher.until(lambda: len(watcher.seen) > len(names))
    assert watcher.seen == [("SYNCED", ""), *(("ADDED", name) for name in names)]
    assert watcher.losses == []


async def test_a_watch_that_is_not_opened_is_blind(far: Kube, wire: Wire, shop: str) -> None:
    """A server that takes connections and says nothing: told after a second, before anything fails."""
    pace = WatchPace(seconds=1.0)
    pace.turn(brisk=True)
    async with following(far, shop, pace) as watcher:
        await asyncio.sleep(0.3)
        wire.freeze()
        await watcher.until(lambda: watcher.blind)
        await watcher.until(lambda: any("no answer" in why for _, why in watcher.losses))
        await wire.mend()
        await watcher.until(lambda: not watcher.blind)


async def test_a_watch_that_is_silent_says_so(far: Kube, wire: Wire, shop: str) -> None:
    """The error that a retry helps, with how long nothing came."""
    version = (await far.list(SERVICES, shop))["metadata"]["resourceVersion"]
    vigil = Vigil(seconds=1.0)

    async def consume() -> None:
        async for event in far.watch(SERVICES, shop, resource_version=version, vigil=vigil):
            assert event.type == "BOOKMARK"

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.2)
    wire.freeze()
    with pytest.raises(Silent, match="nothing came for") as caught:
        await asyncio.wait_for(task, 5)
    assert caught.value.retryable


async def test_too_old_after_failures_is_listed_at_once(api, kube) -> None:
    """An outage that outlasts the server's memory: when it is back there is no further pause before the list."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    api.answer(200, listing("5"))
    for _ in range(9):
        api.refuse(503, "ServiceUnavailable", "down")
    api.stream(change("ERROR", {"kind": "Status", "code": 410, "message": "compacted"}))
    api.answer(200, listing("20", route("a", "19")))
    async with aclosing(kube.list_and_watch(HTTPROUTES, sleep=sleep)) as events:
        assert (await anext(events)).type == "SYNCED"
        assert (await anext(events)).object["metadata"]["name"] == "a"
    assert len(pauses) == 9
    assert max(pauses) <= WATCH.longest


async def test_a_list_that_is_too_old_at_once_is_not_asked_for_in_a_tight_loop(api, kube) -> None:
    """A server that calls its own list too old, again and again, is left some time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            await asyncio.Event().wait()

    for _ in range(4):
        api.answer(200, listing("5"))
        api.stream(change("ERROR", {"kind": "Status", "code": 410, "message": "compacted"}))
    async with aclosing(kube.list_and_watch(HTTPROUTES, sleep=sleep)) as events:
        assert (await anext(events)).type == "SYNCED"
        task = asyncio.ensure_future(anext(events))
        await eventually(lambda: len(pauses) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_watch_of_the_library_that_is_always_too_old_takes_its_time(api, kube) -> None:
    """Once is the way of an API server; a watch that asks for all there is and is too old as well is trouble like any other."""
    lane = Lane("rollouts")
    courier = kube.courier({"/list": lane}, Lane)
    for _ in range(3):
        api.refuse(410, "Expired", "too old")
    api.stream(change("BOOKMARK", route("a", "9")))
    api.hang()
    async with courier.session() as session:
        params = {"watch": "true", "resourceVersion": "5"}
        asking = asyncio.ensure_future(session.get(f"{courier.place}/list", params=params))
        await eventually(lambda: lane.pause > 0)
        async with await asking as response:
            assert b"BOOKMARK" in await response.content.readline()
        await courier.close()


@pytest.mark.parametrize("sent", [{}, {"metadata": {}}, {"metadata": None}, {"metadata": {"name": 5}}, None, "x"])
async def test_what_is_no_object_ends_no_watch(api, kube, sent: object) -> None:
    """It is trouble like any other: what it stood for is seen when the watch is taken up again."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    api.answer(200, listing("5"))
    api.stream(change("MODIFIED", sent))
    api.stream(change("ADDED", route("a", "7")))
    async with aclosing(kube.list_and_watch(HTTPROUTES, sleep=sleep)) as events:
        assert (await anext(events)).type == "SYNCED"
        assert (await anext(events)).object["metadata"]["name"] == "a"
    assert len(pauses) == 1


@pytest.mark.parametrize(("asked", "given"), [("7", 7), ("17", 10), ("3600", 10)])
async def test_retry_after_is_obeyed(api, kube, asked: str, given: int) -> None:
    """A server that asks for time gets it, though we are blind meanwhile; but not any time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    api.answer(200, listing("5"))
    api.refuse(429, "TooManyRequests", "busy", Retry_After=asked)
    api.stream(change("ADDED", route("a", "6")))
    async with aclosing(kube.list_and_watch(HTTPROUTES, sleep=sleep)) as events:
        assert [(await anext(events)).type for _ in range(2)] == ["SYNCED", "ADDED"]
    assert pauses == [given]


# -- what we are late by ourselves ------------------------------------------------------------------------------------

BLINK = 0.05


@pytest.fixture
def quick(monkeypatch) -> None:
    """An answer is overdue soon."""
    monkeypatch.setattr(outage, "BLINK", BLINK)


async def test_what_a_busy_loop_has_not_read_yet_is_no_silence(quick) -> None:
    """The answer has come in while the process was busy with something else: it is read before anybody is called blind."""
    watcher = Watcher()
    watch = outage.Outage("services", watcher)

    async def read() -> None:
        for _ in range(TURNS // 2):  # select, parser, task of the connection, task of the watch
            await asyncio.sleep(0)
        watch.opened()

    watch.opening()
    reading = asyncio.create_task(read())
    time.sleep(2 * BLINK)  # noqa: ASYNC251 - the process is busy
    await reading
    assert watcher.opened
    assert not watcher.losses


async def test_a_loop_that_was_busy_believes_in_silence_soon_after(quick) -> None:
    """Where nothing has come in, being busy is no excuse: we are blind since we asked."""
    watcher = Watcher()
    watch = outage.Outage("services", watcher)
    watch.opening()
    time.sleep(2 * BLINK)  # noqa: ASYNC251 - the process is busy
    await watcher.until(lambda: watcher.blind)
    assert watcher.losses[0][0] >= 2 * BLINK
    watch.close()


async def test_what_a_busy_loop_reads_late_was_not_silent() -> None:
    """The bytes of a watch came in while the process was busy: its deadline is over, and still it is not dead."""
    arrived = 0
    vigil = Vigil(silence=BLINK)
    bytes_ = asyncio.Queue[bytes]()

    async def arrive() -> None:
        nonlocal arrived
        for _ in range(TURNS // 2):
            await asyncio.sleep(0)
        arrived += 5
        bytes_.put_nowait(b"event")

    reading = asyncio.create_task(vigil.read(bytes_.get, lambda: arrived))
    await asyncio.sleep(0)
    time.sleep(2 * BLINK)  # noqa: ASYNC251 - the process is busy
    arriving = asyncio.create_task(arrive())
    assert await reading == b"event"
    await arriving


async def test_taking_in_a_page_of_a_list_is_not_blindness(api, kube, quick) -> None:
    """A list of thousands takes its reader a while; the server has answered everything that it was asked."""
    watcher = Watcher()
    api.answer(200, listing("5", route("a", "1")))
    api.stream(change("ERROR", {"kind": "Status", "code": 410, "message": "compacted"}))
    api.answer(200, listing("9", route("a", "1"), route("b", "6"), more="next"))
    api.answer(200, listing("9", route("c", "7")))
    api.hang()
    async with aclosing(kube.list_and_watch(HTTPROUTES, eyes=watcher)) as events:
        seen = []
        while "c" not in seen:
            seen.append((await anext(events)).object.get("metadata", {}).get("name", ""))
            await asyncio.sleep(2 * BLINK)
        assert "no answer" not in [why for _, why in watcher.losses]
        rest = asyncio.ensure_future(anext(events))
        await watcher.until(lambda: watcher.losses[-1][1] == "no answer")  # this time it is the server
        rest.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rest


async def test_what_kopf_does_with_a_page_is_not_blindness(api, kube, quick) -> None:
    """A library that takes its time over each page of its list is not blind meanwhile; one whose page does not come is."""
    watcher = Watcher()
    api.answer(200, listing("5", route("a", "1"), more="next"))
    api.answer(200, listing("5", route("b", "2"), more="more"))
    api.hang()
    lane = Lane("rollouts", eyes=watcher)
    courier = kube.courier({"/list": lane}, Lane)
    async with courier.session() as session:
        for token in ({}, {"continue": "next"}):
            async with session.get(f"{courier.place}/list", params={"limit": "500", **token}) as response:
                assert (await response.json())["items"]
            await asyncio.sleep(2 * BLINK)
        assert not watcher.losses
        asking = asyncio.ensure_future(
            session.get(f"{courier.place}/list", params={"limit": "500", "continue": "more"})
        )
        await watcher.until(lambda: watcher.blind)
        await courier.close()
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_the_items_of_a_page_may_be_taken_out_of_it(api, kube) -> None:
    """The library goes on with the next page, and watches from where the list was; what is no page is left to its judgement."""
    taken: list[str] = []

    async def take(items: list[dict[str, Any]]) -> None:
        taken.extend(item["metadata"]["name"] for item in items)

    api.answer(200, listing("5", route("a", "1"), route("b", "2"), more="next"))
    api.answer(200, listing("5", route("c", "3")))
    api.answer(200, {"kind": "Nonsense"})
    courier = kube.courier({"/list": Lane("rollouts", on_page=take)}, Lane)
    async with courier.session() as session:
        pages = []
        for token in ({}, {"continue": "next"}, {}):
            async with session.get(f"{courier.place}/list", params={"limit": "500", **token}) as response:
                pages.append(await response.json())
        await courier.close()
    assert taken == ["a", "b", "c"]
    assert [page.get("items") for page in pages] == [[], [], None]
    assert [page.get("metadata", {}).get("continue") for page in pages] == ["next", None, None]
    assert pages[1]["metadata"]["resourceVersion"] == "5"
    assert pages[2] == {"kind": "Nonsense"}


# -- other requests ---------------------------------------------------------------------------------------------------


@pytest.mark.alone("how long a request takes")
async def test_a_patch_into_a_dead_connection_is_sent_over_a_new_one(
    near: Kube, far: Kube, wire: Wire, shop: str
) -> None:
    """What was sent into silence is sent once more when patience is over; and later requests go the new way at once."""
    await far.create(SERVICES, service("a"), shop)
    wire.freeze(only_open=True)
    begun = time.monotonic()
    ops = [
        {"op": "test", "path": "/spec/ports/0/port", "value": 80},
        {"op": "replace", "path": "/spec/ports/0/port", "value": 81},
    ]
    patched = await far.json_patch(SERVICES, "a", shop, ops, patience=0.3)
    assert time.monotonic() - begun < 2
    assert patched["spec"]["ports"][0]["port"] == 81
    begun = time.monotonic()
    assert (await far.get(SERVICES, "a", shop))["spec"] == (await near.get(SERVICES, "a", shop))["spec"]
    assert time.monotonic() - begun < 1


@pytest.mark.alone("how long a request takes", waits=True)
async def test_a_read_over_a_dead_connection_is_repeated(far: Kube, wire: Wire, shop: str) -> None:
    """Reads are safe to repeat, so every one of them is, by itself."""
    await far.create(SERVICES, service("a"), shop)
    wire.freeze(only_open=True)
    begun = time.monotonic()
    assert (await far.get(SERVICES, "a", shop))["metadata"]["name"] == "a"
    assert time.monotonic() - begun < 5


async def test_a_time_out_spoils_the_connections_of_its_time(server: GenericApiServer, wire: Wire, shop: str) -> None:
    """After one request without an answer, no other one is sent into a connection that is as old."""
    async with await KubeClient.connect(server=wire.url, token=server.token, timeout=0.5) as far:
        names = [f"s{number}" for number in range(4)]
        await asyncio.gather(*(far.create(SERVICES, service(name), shop) for name in names))
        wire.freeze(only_open=True)
        with pytest.raises(errors.Unavailable, match="no answer from"):
            await far.create(SERVICES, service("lost"), shop)
        for name in names:
            await far.get(SERVICES, name, shop)


async def test_a_server_that_takes_its_time_is_waited_for(api, kube) -> None:
    """Admission that is slow: the first request is not given up for the second, and whichever answers first counts."""
    asked: list[str] = []

    async def slow(request: web.Request) -> web.Response:
        asked.append("slow")
        await asyncio.sleep(0.6)
        return web.json_response(one(HTTPROUTES, "a", said="by the first"))

    async def never(request: web.Request) -> web.Response:
        asked.append("never")
        await asyncio.Event().wait()
        raise AssertionError

    api.call(slow)
    api.call(never)
    answer = await kube.json_patch(HTTPROUTES, "a", "shop", [], patience=0.1)
    assert answer["said"] == "by the first"
    assert asked == ["slow", "never"]


async def test_the_refusal_of_the_second_is_an_answer(api, kube) -> None:
    """The first took effect and its answer is lost: the second is refused by its tests, and reading again will show."""
    api.hang()
    api.refuse(422, "Invalid", "the server rejected our request due to an error in our request")
    with pytest.raises(errors.Unprocessable):
        await kube.json_patch(HTTPROUTES, "a", "shop", [], patience=0.1)


async def test_no_answer_is_no_answer_for_both(api, kube) -> None:
    """A second one that fails does not hide the first, nor the other way round."""
    api.hang()
    api.refuse(503, "ServiceUnavailable", "down")
    begun = time.monotonic()
    with pytest.raises(errors.Unavailable):
        await kube.json_patch(HTTPROUTES, "a", "shop", [], patience=0.1)
    assert time.monotonic() - begun >= 1.9  # the first one had its time: two seconds, in these tests
    assert len(api.seen) == 2


async def test_what_is_answered_in_time_is_sent_once(api, kube) -> None:
    """The usual case costs nothing."""
    api.answer(200, one(HTTPROUTES, "a"))
    await kube.json_patch(HTTPROUTES, "a", "shop", [], patience=0.2)
    await asyncio.sleep(0.4)
    assert len(api.seen) == 1


async def test_the_kernel_looks_after_connections_at_rest() -> None:
    """Without any request: a peer that is gone is noticed by probes, within half a minute."""
    with kept_alive((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_KEEPIDLE"):
            idle = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            every = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            count = made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            assert idle + every * count <= 30


async def test_a_watch_that_was_asked_for_before_the_pace_turned_brisk_is_renewed() -> None:
    """The answer may come after the turn: it must not stay calm for minutes."""
    pace = WatchPace()
    vigil = Vigil(pace)
    pace.turn(brisk=True)
    assert not vigil.renewed
    vigil.opened()
    assert vigil.renewed
    after = Vigil(pace)
    after.opened()
    assert not after.renewed
