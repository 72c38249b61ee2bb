from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import aiohttp
import pytest
from apiserver_kit import CONFIG_MAPS, Client, config_map, eventually, sandbox

from canary_sandbox.apiserver import ApiServer, Fault

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def test_a_watch_starts_with_what_exists(client: Client) -> None:
    """Without a resourceVersion the stream begins with ADDED for each object."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    await client("POST", CONFIG_MAPS, config_map("b"))
    events = await client.watch(f"{CONFIG_MAPS}?watch=1", 2)
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
    ]


async def test_a_watch_goes_on_from_a_revision(client: Client) -> None:
    """History after the revision comes first, then what happens, in order and without a gap."""
    first = (await client("POST", CONFIG_MAPS, config_map("a"))).body["metadata"]["resourceVersion"]
    await client("PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": "1"}}, patch="merge")
    following = asyncio.create_task(client.watch(f"{CONFIG_MAPS}?watch=true&resourceVersion={first}", 3))
    await eventually(lambda: client.api.watching == 1)
    await client("PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": "2"}}, patch="merge")
    deleted = await client("DELETE", f"{CONFIG_MAPS}/a")
    events = await following
    assert [event["type"] for event in events] == ["MODIFIED", "MODIFIED", "DELETED"]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert deleted.code == 200


async def test_leaving_a_selector_is_a_deletion(client: Client) -> None:
    """A watcher with a selector sees ADDED when an object enters it and DELETED, as last seen, when it leaves."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    path = f"{CONFIG_MAPS}?watch=1&labelSelector=on&resourceVersion={await client.revision()}"
    following = asyncio.create_task(client.watch(path, 2))
    await eventually(lambda: client.api.watching == 1)
    await client("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"labels": {"on": "1"}}}, patch="merge")
    left = await client("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"labels": None}}, patch="merge")
    events = await following
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
    assert events[1]["object"]["metadata"]["labels"] == {"on": "1"}
    assert events[1]["object"]["metadata"]["resourceVersion"] == left.body["metadata"]["resourceVersion"]


@pytest.mark.sandbox_only("forgets history at will")
async def test_a_revision_whose_history_is_gone_is_410(client: Client) -> None:
    """The stream opens and says ERROR with code 410, as the real server's cache does."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    sandbox(client).compact()
    (event,) = await client.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion=1")
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_a_watch_ends_after_its_timeout(client: Client) -> None:
    """timeoutSeconds ends the stream cleanly."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    assert await client.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={await client.revision()}&timeoutSeconds=1") == []


@pytest.mark.sandbox_only("a real server sends bookmarks as it likes")
async def test_a_bookmark_comes_before_the_end(client: Client) -> None:
    """A client that allows bookmarks learns two seconds before a timeout how far it got."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    now = await client.revision()
    path = f"{CONFIG_MAPS}?watch=1&resourceVersion={now}&timeoutSeconds=3&allowWatchBookmarks=true"
    (event,) = await client.watch(path)
    assert event["type"] == "BOOKMARK"
    assert event["object"]["metadata"]["resourceVersion"] == now


async def test_a_watch_can_begin_with_what_exists_and_say_where_that_ends(client: Client) -> None:
    """sendInitialEvents: ADDED for each object, a bookmark with the well-known annotation, then what happens."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    now = await client.revision()
    path = f"{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    following = asyncio.create_task(client.watch(f"{path}&resourceVersion={now}", 3))
    await eventually(lambda: client.api.watching == 1)
    await client("POST", CONFIG_MAPS, config_map("b"))
    first, bookmark, second = await following
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) >= int(now)
    assert (second["type"], second["object"]["metadata"]["name"]) == ("ADDED", "b")


async def test_a_watch_is_in_the_audit_as_soon_as_it_is_open(client: Client) -> None:
    """It may never end, so it is written down when its stream begins, once."""
    following = asyncio.create_task(client.watch(f"{CONFIG_MAPS}?watch=1&labelSelector=nobody=has-it"))
    await eventually(lambda: client.api.watching == 1)
    assert [entry.code for entry in client.api.audit if entry.verb == "watch"] == [200]
    client.api.drop_watches()
    assert await following == []
    assert [entry.code for entry in client.api.audit if entry.verb == "watch"] == [200]


async def test_dropped_watches_end_and_others_can_be_opened(client: Client) -> None:
    """drop_watches ends every stream without an error; so does stopping the server."""
    following = asyncio.create_task(client.watch(f"{CONFIG_MAPS}?watch=1"))
    await eventually(lambda: client.api.watching == 1)
    client.api.drop_watches()
    assert await following == []
    async with ApiServer() as other, aiohttp.ClientSession() as session:
        there = asyncio.create_task(Client(other, session).watch(f"{CONFIG_MAPS}?watch=1"))
        await eventually(lambda: other.watching == 1)
        await other.__aexit__()
        assert await there == []


@pytest.mark.sandbox_only("sets the clock")
async def test_a_table_has_columns_once_and_ages_by_the_clock() -> None:
    """In a watch of Tables only the first event defines columns; ages follow the injected clock."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with ApiServer(clock=lambda: now) as api, aiohttp.ClientSession() as session:
        client = Client(api, session)
        await client("POST", CONFIG_MAPS, config_map("a", x="1", y="2"))
        now = datetime(2026, 1, 1, 1, 30, tzinfo=UTC)
        table = (await client("GET", f"{CONFIG_MAPS}?includeObject=Metadata", Accept=TABLE)).body
        assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
        assert table["rows"][0]["cells"] == ["a", 2, "90m"]
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        await client("POST", CONFIG_MAPS, config_map("b"))
        events = await client.watch(f"{CONFIG_MAPS}?watch=1", 2, Accept=TABLE)
        assert [len(event["object"]["columnDefinitions"] or ()) for event in events] == [3, 0]


@pytest.mark.sandbox_only("a real server speaks protobuf")
async def test_protobuf_is_not_spoken(client: Client) -> None:
    """It is read, and never sent: 406."""
    assert (await client("GET", CONFIG_MAPS, Accept="application/vnd.kubernetes.protobuf")).code == 406


async def test_metadata_only_lists(client: Client) -> None:
    """Clients that ask for PartialObjectMetadata get no data."""
    await client("POST", CONFIG_MAPS, config_map("a", secret="x"))
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    body = (await client("GET", CONFIG_MAPS, Accept=accept)).body
    assert body["kind"] == "PartialObjectMetadataList"
    assert "data" not in body["items"][0]


@pytest.mark.parametrize(("code", "reason"), [(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError")])
async def test_a_fault_before_the_effect_refuses_so_many_times(client: Client, code: int, reason: str) -> None:
    """The request is answered with the code, nothing is written, and then all is well again."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    fault = client.api.faults.add(Fault(verb="patch", resource="configmaps", status=code, times=2))
    change = {"data": {"x": "1"}}
    for _ in range(2):
        answer = await client("PATCH", f"{CONFIG_MAPS}/a", change, patch="merge")
        assert (answer.code, answer.body["reason"]) == (code, reason)
        assert ("Retry-After" in answer.headers) is (code == 429)
    assert "data" not in (await client("GET", f"{CONFIG_MAPS}/a")).body
    assert (await client("PATCH", f"{CONFIG_MAPS}/a", change, patch="merge")).code == 200
    assert fault.hits == 2
    assert [entry.code for entry in client.api.audit if entry.verb == "patch"] == [code, code, 200]


async def test_a_fault_after_the_effect_loses_only_the_answer(client: Client) -> None:
    """The write is there although the client was told 504, or lost the connection."""
    await client("POST", CONFIG_MAPS, config_map("a"))
    client.api.faults.add(Fault(verb="patch", status=504, after_effect=True))
    assert (await client("PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": "1"}}, patch="merge")).code == 504
    assert (await client("GET", f"{CONFIG_MAPS}/a")).body["data"] == {"x": "1"}
    client.api.faults.add(Fault(verb="patch", drop=True, after_effect=True))
    with pytest.raises(aiohttp.ClientError):
        await client("PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": "2"}}, patch="merge")
    assert (await client("GET", f"{CONFIG_MAPS}/a")).body["data"] == {"x": "2"}
    assert [entry.code for entry in client.api.audit if entry.verb == "patch"] == [504, 0]


@pytest.mark.alone("how late an answer is")
async def test_latency_delays_and_lets_through(client: Client) -> None:
    """A fault with latency alone answers late and truly, and only to whom it is meant."""
    client.api.faults.add(Fault(verb="list", latency=0.2, times=None, user="admin"))
    loop = asyncio.get_running_loop()
    start = loop.time()
    assert (await client("GET", CONFIG_MAPS)).code == 200
    assert loop.time() - start >= 0.2
    start = loop.time()
    await client("GET", CONFIG_MAPS, Authorization=f"Bearer {client.api.add_token('other')}")
    assert loop.time() - start < 0.2


@pytest.mark.sandbox_only("sets how long history is")
async def test_history_is_as_long_as_it_was_set() -> None:
    """With a short history an old revision expires by itself; a newer one can still be watched."""
    async with ApiServer(history=3) as api, aiohttp.ClientSession() as session:
        client = Client(api, session)
        await client("POST", CONFIG_MAPS, config_map("a"))
        start = api.store.revision
        for value in range(4):
            await client("PATCH", f"{CONFIG_MAPS}/a", {"data": {"x": str(value)}}, patch="merge")
        (gone,) = await client.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={start}")
        assert gone["object"]["code"] == 410
        events = await client.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={start + 1}", 3)
        assert [event["object"]["data"]["x"] for event in events] == ["1", "2", "3"]
