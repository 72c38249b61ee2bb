from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from kube_kit import change, eventually, listing, one, route

from canary import errors
from canary.kube import (
    CRDS,
    DEPLOYMENTS,
    EVENTS,
    GRPCROUTES,
    HTTPROUTES,
    LEASES,
    NAMESPACES,
    PODS,
    ROLLOUTS,
    KubeClient,
    Resource,
    WatchEvent,
)
from canary.kube.client import LONGEST
from canary.kube.pace import Vigil


async def drain(events: AsyncIterator[WatchEvent]) -> list[WatchEvent]:
    return [event async for event in events]


@pytest.mark.parametrize(
    ("resource", "arguments", "path"),
    [
        (HTTPROUTES, ("shop", "web"), "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/web"),
        (HTTPROUTES, (), "/apis/gateway.networking.k8s.io/v1/httproutes"),
        (EVENTS, ("shop",), "/api/v1/namespaces/shop/events"),
        (NAMESPACES, (None, "shop"), "/api/v1/namespaces/shop"),
        (CRDS, ("ignored", "a.b"), "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/a.b"),
        (ROLLOUTS, ("shop", "web", "status"), "/apis/canary.dev/v1alpha1/namespaces/shop/rollouts/web/status"),
        (PODS, ("a/b", "../x"), "/api/v1/namespaces/a%2Fb/pods/..%2Fx"),
    ],
)
def test_resource_path(resource: Resource, arguments: tuple[str, ...], path: str) -> None:
    """A resource knows where the API server serves it, and no name escapes its place in the path."""
    assert resource.path(*arguments) == path


def test_one_object_of_a_namespaced_resource_needs_its_namespace() -> None:
    """Nothing falls back to a default namespace by accident."""
    with pytest.raises(ValueError, match="are namespaced"):
        HTTPROUTES.path(None, "web")


def test_importing_the_package_is_cheap() -> None:
    """Neither the kubernetes client nor aiohttp is imported before a connection is asked for."""
    code = (
        "import sys, canary.kube, canary.kube.retry; sys.exit('kubernetes' in sys.modules or 'aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_get_sends_who_we_are(api, kube) -> None:
    """A read carries the bearer token and our user agent, and gives the object as it came."""
    whole = one(HTTPROUTES, "web", **{"x-unknown": [1]})
    api.answer(200, whole)
    assert await kube.get(HTTPROUTES, "web", "shop") == whole
    (seen,) = api.seen
    assert (seen.method, seen.path) == ("GET", "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/web")
    assert seen.headers["Authorization"] == "Bearer secret"
    assert seen.headers["User-Agent"].startswith("canary/")


async def test_a_lease_waits_for_no_other_request(api) -> None:
    """However many writes have no answer yet: who holds a Lease has to renew it in time. Others wait for a connection."""
    async with await KubeClient.connect(server=api.url, token="secret", timeout=5.0, connections=2) as kube:
        for _ in range(2):
            api.hang()
        slow = [asyncio.create_task(kube.json_patch(HTTPROUTES, name, "shop", [])) for name in "ab"]
        await eventually(lambda: len(api.seen) == 2)
        api.answer(200, one(LEASES, "leader"))
        async with asyncio.timeout(2):
            assert (await kube.json_patch(LEASES, "leader", "shop", []))["metadata"]["name"] == "leader"
        waiting = asyncio.create_task(kube.get(HTTPROUTES, "c", "shop"))
        await asyncio.sleep(0.05)
        assert len(api.seen) == 3
        api.answer(200, one(HTTPROUTES, "c"))
        slow[0].cancel()
        assert (await waiting)["metadata"]["name"] == "c"
        for task in slow:
            task.cancel()


async def test_connections_are_given_up_once_for_all_that_were_sent_before(api, kube) -> None:
    """Slow answers are no reason to open a new connection for each of them: what is newer than the slow request is kept."""
    ports: list[int] = []

    async def slow(request: web.Request) -> web.Response:
        ports.append(request.transport.get_extra_info("peername")[1])
        await asyncio.sleep(0.8)
        return web.json_response(one(HTTPROUTES, request.path.rpartition("/")[2]))

    async def quick(request: web.Request) -> web.Response:
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.json_response(one(HTTPROUTES, request.path.rpartition("/")[2]))

    for handler in (slow, slow):
        api.call(handler)
    first = asyncio.create_task(kube.json_patch(HTTPROUTES, "a", "shop", [], patience=0.2))
    await eventually(lambda: len(api.seen) == 1)
    await asyncio.sleep(0.1)
    second = asyncio.create_task(kube.json_patch(HTTPROUTES, "b", "shop", [], patience=0.2))
    await eventually(lambda: len(api.seen) == 2)
    api.call(quick)
    await eventually(lambda: len(api.seen) == 3)  # the first one is sent again, over a new connection, and answered
    await first
    api.call(quick)
    await eventually(lambda: len(api.seen) == 4)  # and the second one, over that
    await second
    assert ports[2] == ports[3]
    assert len(set(ports)) == 3


async def test_writes_name_their_manager_and_their_kind(api, kube) -> None:
    """Patches keep their content type, even an empty one, and every write has a fieldManager."""
    for answer in (one(HTTPROUTES, "web"), one(ROLLOUTS, "web"), {}, {}):
        api.answer(200, answer)
    ops = [{"op": "test", "path": "/metadata/name", "value": "web"}]
    await kube.json_patch(HTTPROUTES, "web", "shop", ops)
    await kube.merge_patch(ROLLOUTS, "web", "shop", {}, subresource="status")
    await kube.create(EVENTS, {"metadata": {"namespace": "shop"}, "reason": None})
    await kube.delete(PODS, "p", "shop", propagation="Foreground")
    patch, merge, create, delete = api.seen
    assert (patch.headers["Content-Type"], patch.body) == ("application/json-patch+json", ops)
    assert (merge.headers["Content-Type"], merge.body) == ("application/merge-patch+json", {})
    assert merge.path.endswith("/rollouts/web/status")
    assert (create.method, create.path) == ("POST", "/api/v1/namespaces/shop/events")
    assert create.body == {"metadata": {"namespace": "shop"}, "reason": None}
    assert [seen.query.get("fieldManager") for seen in api.seen] == ["canary", "canary", "canary", None]
    assert (delete.method, delete.body["propagationPolicy"]) == ("DELETE", "Foreground")


async def test_list_pages_through(api, kube) -> None:
    """A list is fetched page by page and looks as if it came in one piece."""
    api.answer(200, listing("7", route("a", "1"), more="tok/en=="))
    api.answer(200, listing("7", route("b", "2")))
    whole = await kube.list(HTTPROUTES, "shop", label_selector="app in (a,b)", limit=1)
    assert [item["metadata"]["name"] for item in whole["items"]] == ["a", "b"]
    assert whole["metadata"] == {"resourceVersion": "7"}
    assert [seen.query.get("continue") for seen in api.seen] == [None, "tok/en=="]
    assert {seen.query["labelSelector"] for seen in api.seen} == {"app in (a,b)"}
    assert {seen.query["limit"] for seen in api.seen} == {"1"}


async def test_list_starts_over_when_its_pages_expire(api, kube) -> None:
    """410 in the middle of paging gives the whole list in one request, not an error."""
    api.answer(200, listing("7", route("a", "1"), more="token"))
    api.refuse(410, "Expired", "too old")
    api.answer(200, listing("9", route("a", "1"), route("b", "8")))
    whole = await kube.list(HTTPROUTES)
    assert len(whole["items"]) == 2
    assert whole["metadata"]["resourceVersion"] == "9"
    assert "limit" not in api.seen[-1].query


@pytest.mark.parametrize(
    ("code", "reason", "expected", "retryable"),
    [
        (400, "BadRequest", errors.Refused, False),
        (401, "Unauthorized", errors.Forbidden, False),
        (403, "Forbidden", errors.Forbidden, False),
        (404, "NotFound", errors.NotFound, False),
        (405, "MethodNotAllowed", errors.Refused, False),
        (409, "AlreadyExists", errors.AlreadyExists, False),
        (409, "Conflict", errors.Conflict, True),
        (410, "Expired", errors.Gone, False),
        (415, "UnsupportedMediaType", errors.Refused, False),
        (422, "Invalid", errors.Unprocessable, False),
        (429, "TooManyRequests", errors.Throttled, True),
        (500, "InternalError", errors.Unavailable, True),
        (503, "ServiceUnavailable", errors.Unavailable, True),
        (504, "Timeout", errors.Unavailable, True),
    ],
)
async def test_refusals_become_our_errors(api, kube, code: int, reason: str, expected: type, retryable: bool) -> None:
    """Each refusal is one class of the tree, with the server's own words."""
    api.refuse(code, reason, "the server's own words", of="p")
    with pytest.raises(expected) as caught:
        await kube.get(PODS, "p", "shop")
    error = caught.value
    assert (type(error), str(error)) == (expected, "the server's own words")
    assert (error.status, error.reason, error.retryable) == (code, reason, retryable)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"kind": "Status", "reason": "NotFound", "details": {"name": "p", "kind": "pods"}}, True),
        ({"kind": "Status", "reason": "NotFound", "details": {"name": "shop", "kind": "namespaces"}}, True),
        ({"kind": "Status", "reason": "NotFound", "details": {}}, False),
        ({"kind": "Status", "reason": "NotFound"}, False),
        ({"kind": "Status", "reason": "Denied", "details": {"name": "p"}}, False),
        (b"404 page not found\n", False),
        (b"", False),
    ],
    ids=[
        "of the object",
        "of its namespace",
        "of no object",
        "without details",
        "of a policy",
        "of a balancer",
        "empty",
    ],
)
async def test_a_404_says_of_which_object_it_is_or_of_none(
    api, kube, body: dict[str, Any] | bytes, named: bool
) -> None:
    """Who forgets what is gone may go by the first kind only."""
    api.answer(404, body)
    with pytest.raises(errors.ApiError) as caught:
        await kube.get(PODS, "p", "shop")
    assert type(caught.value) is (errors.NotFound if named else errors.NotServed)


async def test_what_is_too_large_for_the_store_is_refused(api, kube) -> None:
    """A 500 of the API server, which passes on what etcd says: to send it again helps nobody."""
    api.refuse(500, "", "etcdserver: request is too large")
    with pytest.raises(errors.Refused):
        await kube.merge_patch(PODS, "p", "shop", {})
    assert len(api.seen) == 1


async def test_errors_keep_causes_and_retry_after(api, kube) -> None:
    """Field errors and Retry-After reach the caller."""
    details = {"causes": [{"field": "spec.rules", "message": "too many"}], "retryAfterSeconds": 3}
    api.answer(422, {"kind": "Status", "message": "invalid", "details": details})
    api.refuse(429, "TooManyRequests", "slow down", Retry_After="7")
    with pytest.raises(errors.Unprocessable) as invalid:
        await kube.merge_patch(PODS, "p", "shop", {})
    with pytest.raises(errors.Throttled) as throttled:
        await kube.get(PODS, "p", "shop")
    assert invalid.value.causes == ("spec.rules: too many",)
    assert invalid.value.retry_after == 3
    assert throttled.value.retry_after == 7


async def test_a_proxys_error_page_is_shown_briefly(api, kube) -> None:
    """A body that is no Status still says something, on one line."""
    api.answer(502, b"<html>\n  <b>Bad gateway</b>" + b"x" * 5000)
    with pytest.raises(errors.Unavailable, match=r"^<html> <b>Bad gateway</b>x+…$") as caught:
        await kube.get(PODS, "p", "shop")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("body", [b"<html>login page</html>", b"[1, 2]"])
async def test_a_success_that_is_no_object_is_an_error(api, kube, body: bytes) -> None:
    """200 with something else than a JSON object is not taken for an answer."""
    api.answer(200, body)
    with pytest.raises(errors.Unavailable, match=r"no JSON|no object"):
        await kube.get(PODS, "p", "shop")


_WEB = one(HTTPROUTES, "web")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"},
        {"kind": "HTTPRoute", "spec": {}},
        {"kind": "HTTPRoute", "metadata": None},
        {"kind": "HTTPRoute", "metadata": "web"},
        one(HTTPROUTES, "another"),
        one(GRPCROUTES, "web"),
        {"kind": "HTTPRoute", "metadata": {"name": "web", "namespace": "neighbour"}},
        {"kind": "HTTPRoute", "metadata": {"name": 5, "namespace": "shop"}},
        *(
            {"kind": "HTTPRoute", "metadata": {**_WEB["metadata"], **wrong}}
            for wrong in (
                {"uid": {}},
                {"resourceVersion": 7},
                {"generation": "x"},
                {"generation": True},
                {"annotations": []},
                {"labels": "x"},
                {"finalizers": "x"},
                {"managedFields": {}},
            )
        ),
    ],
)
async def test_a_success_that_is_another_object_is_an_error(api, kube, body: dict[str, object]) -> None:
    """What something in between answers is no answer to a read or a patch: that is tried again."""
    for _ in range(3):
        api.answer(200, body)
    for request in (
        kube.get(HTTPROUTES, "web", "shop"),
        kube.json_patch(HTTPROUTES, "web", "shop", []),
        kube.merge_patch(HTTPROUTES, "web", "shop", {}, subresource="status"),
    ):
        with pytest.raises(errors.Unavailable, match="asked about HTTPRoute web, the API server answered with"):
            await request


async def test_the_scale_of_an_object_is_of_another_kind(api, kube) -> None:
    """A subresource with a kind of its own has the name of its object all the same."""
    scale = {"kind": "Scale", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"replicas": 2}}
    api.answer(200, scale)
    assert await kube.get(DEPLOYMENTS, "web", "shop", subresource="scale") == scale
    api.answer(200, {**scale, "metadata": {"name": "another", "namespace": "shop"}})
    with pytest.raises(errors.Unavailable):
        await kube.get(DEPLOYMENTS, "web", "shop", subresource="scale")


@pytest.mark.alone("how long a retry waits")
async def test_silence_is_unavailable(api) -> None:
    """No answer within the time-out: Unavailable, and the observer saw code 0."""
    observed: list[tuple[str, str, int, float]] = []
    api.hang()
    async with await KubeClient.connect(
        server=api.url, timeout=0.1, on_request=lambda *request: observed.append(request)
    ) as kube:
        with pytest.raises(errors.Unavailable, match=r"no answer from http://\S+ within 0\.1 s") as caught:
            await kube.get(PODS, "p", "shop")
    assert caught.value.reason == "Timeout"
    ((verb, resource, code, seconds),) = observed
    assert (verb, resource, code) == ("get", "pods", 0)
    assert 0.09 < seconds < 2


async def test_what_has_no_answer_may_still_take_effect(api) -> None:
    """A write that was cut off, or of which the server does not know, is one for five minutes. Reads, Events and dry runs move nothing."""
    ops = [{"op": "add", "path": "/spec", "value": {}}]
    async with await KubeClient.connect(server=api.url, timeout=60) as kube:
        api.answer(200, one(PODS, "p"))
        await kube.json_patch(PODS, "p", "shop", ops)
        api.refuse(409, "Conflict", "moved")
        with pytest.raises(errors.Conflict):
            await kube.json_patch(PODS, "p", "shop", ops)
        assert kube.certain, "refused is an answer"
        for request in (
            kube.get(PODS, "p", "shop"),
            kube.create(EVENTS, {"metadata": {"namespace": "shop"}}),
            kube.json_patch(PODS, "p", "shop", ops, dry_run=True),
        ):
            api.hang()
            sent, asking = len(api.seen), asyncio.create_task(request)
            await eventually(lambda sent=sent: len(api.seen) > sent)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        assert kube.certain
        api.hang()
        sent, writing = len(api.seen), asyncio.create_task(kube.json_patch(PODS, "p", "shop", ops))
        await eventually(lambda: len(api.seen) > sent)
        assert not kube.certain, "under way"
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert not kube.certain, "cut off"
        kube._transport.unanswered_at -= LONGEST
        assert kube.certain, "by now it has been ended"
        api.refuse(500, "InternalError", "etcd")
        with pytest.raises(errors.Unavailable):
            await kube.json_patch(PODS, "p", "shop", ops)
        assert not kube.certain, "etcd may have it all the same"


async def test_nobody_there_is_unavailable() -> None:
    """Connection refused is Unavailable and says where."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with await KubeClient.connect(server=f"http://127.0.0.1:{unused.getsockname()[1]}") as kube:
            with pytest.raises(
                errors.Unavailable, match=r"^no connection to http://127\.0\.0\.1:\d+: connection refused$"
            ) as caught:
                await kube.raw("/version")
    assert caught.value.status == 0


async def test_observer_sees_every_request(api) -> None:
    """The observer gets verb, resource with subresource, and code."""
    observed: list[tuple[str, str, int]] = []
    api.answer(200, one(PODS, "p"))
    api.refuse(409, "Conflict", "moved")
    api.stream()
    async with await KubeClient.connect(server=api.url, on_request=lambda *r: observed.append(r[:3])) as kube:
        await kube.get(PODS, "p", "shop")
        with pytest.raises(errors.Conflict):
            await kube.merge_patch(ROLLOUTS, "web", "shop", {}, subresource="status")
        assert [event async for event in kube.watch(PODS)] == []
    assert observed == [("get", "pods", 200), ("patch", "rollouts/status", 409), ("watch", "pods", 200)]


async def test_watch_gives_events_and_ends(api, kube) -> None:
    """A watch asks for what it was told, gives events in order and ends with the stream; large objects pass."""
    large = route("a", "8") | {"data": "x" * 3_000_000}
    api.stream(change("ADDED", large), change("BOOKMARK", route("", "9")), b"\n", change("DELETED", route("a", "10")))
    events = [
        event async for event in kube.watch(HTTPROUTES, "shop", name="a", resource_version="5", vigil=Vigil(seconds=30))
    ]
    assert [event.type for event in events] == ["ADDED", "BOOKMARK", "DELETED"]
    assert len(events[0].object["data"]) == 3_000_000
    query = api.seen[0].query
    assert (query["watch"], query["resourceVersion"], query["timeoutSeconds"]) == ("true", "5", "30")
    assert query["fieldSelector"] == "metadata.name=a"


async def test_watch_from_too_long_ago_is_gone(api, kube) -> None:
    """410 is Gone, be it the answer or an ERROR event."""
    api.refuse(410, "Expired", "too old")
    api.stream(change("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "message": "compacted"}))
    for message in ("too old", "compacted"):
        with pytest.raises(errors.Gone, match=message):
            await drain(kube.watch(HTTPROUTES, resource_version="1"))


async def test_watch_line_that_cannot_be_read(api, kube) -> None:
    """Half a line, from a proxy that cut the stream, is an error that a retry may help."""
    api.stream(b'{"type": "ADDED", "obj\n')
    with pytest.raises(errors.Unavailable, match="cannot be read"):
        await drain(kube.watch(HTTPROUTES))


async def test_list_and_watch_survives(api, kube) -> None:
    """Broken and expired watches are taken up again; nothing is lost, repeated, or left behind."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    api.answer(200, listing("5", route("a", "1"), route("b", "2"), route("c", "3")))
    api.stream(change("MODIFIED", route("a", "6")))  # and the connection ends
    api.refuse(503, "ServiceUnavailable", "rolling", Retry_After="9")
    api.stream(change("ERROR", {"kind": "Status", "code": 410, "message": "compacted"}))
    api.answer(200, listing("20", route("a", "6"), route("c", "18", uid="another"), route("d", "19")))
    api.stream(change("DELETED", route("d", "21")))
    found = []
    async with aclosing(kube.list_and_watch(HTTPROUTES, "shop", sleep=sleep)) as events:
        async for event in events:
            metadata = event.object.get("metadata", {})
            found.append((event.type, metadata.get("name"), metadata.get("resourceVersion")))
            if event.type != "SYNCED":
                assert event.object.get("kind", "HTTPRoute") == "HTTPRoute"
            if metadata.get("resourceVersion") == "21":
                break
    assert found == [
        ("ADDED", "a", "1"),
        ("ADDED", "b", "2"),
        ("ADDED", "c", "3"),
        ("SYNCED", None, None),
        ("MODIFIED", "a", "6"),
        ("DELETED", "c", "3"),
        ("ADDED", "c", "18"),
        ("ADDED", "d", "19"),
        ("DELETED", "b", "2"),
        ("DELETED", "d", "21"),
    ]
    watched_from = [seen.query["resourceVersion"] for seen in api.seen if "watch" in seen.query]
    assert watched_from == ["5", "6", "6", "20"]
    assert max(pauses) == 9  # Retry-After was honoured


async def test_list_and_watch_says_what_no_retry_helps(api, kube) -> None:
    """A resource that is not installed is an error at once, not an endless wait for the first list."""
    api.refuse(404, "NotFound", "the server could not find the requested resource")
    with pytest.raises(errors.NotServed):
        await drain(kube.list_and_watch(HTTPROUTES))


async def test_list_and_watch_waits_for_a_server_that_comes_up(api, kube) -> None:
    """A server that is not ready yet is asked again, more slowly each time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    for _ in range(5):
        api.refuse(503, "ServiceUnavailable", "starting")
    api.answer(200, listing("5"))
    async with aclosing(kube.list_and_watch(HTTPROUTES, sleep=sleep)) as events:
        assert (await anext(events)).type == "SYNCED"
    assert len(pauses) == 5
    assert pauses[-1] > pauses[0]


async def test_a_watch_that_ends_at_once_is_not_asked_for_in_a_tight_loop(api, kube) -> None:
    """A server that closes every watch immediately costs pauses, not CPU."""
    paused = asyncio.Event()

    async def sleep(seconds: float) -> None:
        paused.set()
        await asyncio.Event().wait()

    api.answer(200, listing("5"))
    api.stream()
    async with aclosing(kube.list_and_watch(HTTPROUTES, sleep=sleep)) as events:
        assert (await anext(events)).type == "SYNCED"
        task = asyncio.ensure_future(anext(events))
        await asyncio.wait_for(paused.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancelled_watch_lets_go_of_its_connection(api, kube) -> None:
    """Cancelling the task that watches closes the connection on the server's side too."""
    opened, closed = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        opened.set()
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()
        return response

    api.call(handler)

    async def consume() -> None:
        async for _ in kube.watch(HTTPROUTES):
            pytest.fail("an event came")

    task = asyncio.create_task(consume())
    await asyncio.wait_for(opened.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(closed.wait(), 5)


async def test_resolve_finds_the_served_version(api, kube) -> None:
    """Discovery tells which version of a kind this server has; subresources are not mistaken for it."""
    versions = [{"groupVersion": "g/v1", "version": "v1"}, {"groupVersion": "g/v1alpha2", "version": "v1alpha2"}]
    api.answer(200, {"kind": "APIGroup", "versions": versions})
    api.answer(200, {"resources": [{"name": "httproutes", "kind": "HTTPRoute", "namespaced": True}]})
    tcp = [
        {"name": "tcproutes/status", "kind": "TCPRoute"},
        {"name": "tcproutes", "kind": "TCPRoute", "namespaced": True},
    ]
    api.answer(200, {"resources": tcp})
    assert await kube.resolve("g", "TCPRoute") == Resource("g", "v1alpha2", "tcproutes", "TCPRoute")
    api.refuse(404, "NotFound", "no such group")
    assert await kube.resolve("h", "TCPRoute") is None


async def test_a_proxy_of_the_environment_is_used(api, monkeypatch: pytest.MonkeyPatch) -> None:
    """$http_proxy carries requests to servers that $no_proxy does not name."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, api.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "near.example")
    api.answer(200, {"major": "1"})
    async with await KubeClient.connect(server="http://far.example:6443", token="secret", timeout=2.0) as far:
        assert await far.raw("/version") == {"major": "1"}
    async with await KubeClient.connect(server="http://near.example:6443", token="secret", timeout=2.0) as near:
        with pytest.raises(errors.Unavailable):
            await near.raw("/version")
    assert [seen.headers["Host"] for seen in api.seen] == ["far.example:6443"]


async def test_a_netrc_is_not_read(api, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Credentials come from the connection alone; a ~/.netrc that names the server stands in nobody's way."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    api.answer(200, {})
    async with await KubeClient.connect(server=api.url, token="secret", timeout=2.0) as kube:
        await kube.raw("/version")
    assert api.seen[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    "date",
    [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Mon, 01 Jan 1900 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Sun, 01 Mar 2026 12:00:00 +999999999999",
        "Thu, 99 Foo 99999 99:99:99 GMT",
        "now",
        "",
    ],
)
async def test_a_date_that_is_no_time_of_any_run_is_not_believed(api, kube, date: str) -> None:
    """Nobody can reckon with it, and whoever did would fall over it for as long as the server says so."""
    api.answer(200, {"kind": "HTTPRoute", "metadata": {"name": "web", "namespace": "shop"}}, Date=date)
    await kube.get(HTTPROUTES, "web", "shop")
    assert kube.server_time is None


async def test_the_time_is_told_by_answers_that_came_at_once(api, kube, monkeypatch) -> None:
    """One that was under way while we slept is dated when it was sent, and was read later: it sets no clock back."""
    now, naps = [100.0], [0.1, 8.0, 0.1]
    monkeypatch.setattr("canary.kube.transport.elapsed", lambda: now[0])
    send = kube._transport._send

    async def napping(*arguments: object) -> object:
        response = await send(*arguments)
        now[0] += naps.pop(0)
        return response

    monkeypatch.setattr(kube._transport, "_send", napping)
    for second in (0, 1, 20):
        api.answer(200, one(HTTPROUTES, "web"), Date=f"Sun, 01 Mar 2026 12:00:{second:02} GMT")
    start = datetime(2026, 3, 1, 12, tzinfo=UTC)
    await kube.get(HTTPROUTES, "web", "shop")
    assert kube.server_time == start
    await kube.get(HTTPROUTES, "web", "shop")  # sent a second later, and read after eight
    assert kube.server_time == start + timedelta(seconds=8)
    await kube.get(HTTPROUTES, "web", "shop")  # whoever sets the server's clock is followed
    assert kube.server_time == start + timedelta(seconds=20)
