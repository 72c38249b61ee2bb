"""Numbers and expectations over HTTP: what is made of answers (respx), and what a real server can do to us."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from aiohttp import web
from certificates import Authority
from fake_prometheus import until
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from secrets_kit import Vault

from canary.checks.sources.auth import Auth
from canary.checks.sources.web import Expected, Web
from canary.metrics.apis import APIS
from canary.metrics.hosts import Hosts
from canary.metrics.http import HttpProvider
from canary.metrics.port import Query, Refusal
from canary.metrics.web import LONGEST_SAID
from canary.model.gates import HttpGate
from canary.model.measurement import MAX_SERIES, Malformed, Measurement, NoData, Queued, Sample, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEAM = "team-shop"
URL = "https://api.example.com/v1"
HOSTS = Hosts.read([".example.com"])

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def number(path: str = "$.value", url: str = URL, **more: Any) -> Web:
    return Web(url, path=path, **more)


def expecting(*status: int, path: str | None = None, equals: str = "", url: str = URL) -> Web:
    return Web(url, expected=Expected(status or (200,), path, equals))


@pytest.fixture
async def provider() -> AsyncIterator[HttpProvider]:
    made = HttpProvider(APIS, HOSTS)
    yield made
    await made.close()


async def measured(source: Web, answer: httpx.Response | Exception, *, many: bool = False) -> Measurement:
    """What is made of an answer."""
    provider = HttpProvider(APIS, HOSTS)
    try:
        with respx.mock:
            route = respx.route(host="api.example.com")
            route.side_effect = answer if isinstance(answer, Exception) else None
            if isinstance(answer, httpx.Response):
                route.return_value = answer
            return await provider.measure(Query(source, timeout=5, many=many), NOW)
    finally:
        await provider.close()


def of(content: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=content)


@pytest.mark.parametrize(
    ("path", "content", "value"),
    [
        ("$.value", {"value": 1.5}, 1.5),
        ("$.value", {"value": 0}, 0.0),
        ("$.value", {"value": "-12.50"}, -12.5),
        ("$.value", {"value": "1e3"}, 1000.0),
        ("$.data[?@.name == 'p99'].value", {"data": [{"name": "p50", "value": 1}, {"name": "p99", "value": 2}]}, 2.0),
        ("$[0][1]", [[0, 7]], 7.0),
        ("$", 3, 3.0),
        ("$.points[*]", {"points": [None, 4]}, 4.0),
    ],
)
async def test_a_number(path: str, content: Any, value: float) -> None:
    """What the path selects, as a number or a decimal text."""
    source = number(path)
    assert await measured(source, of(content)) == Sample(value, NOW, source.text, (value,))


@pytest.mark.parametrize(
    ("path", "answer", "expected", "reason", "words"),
    [
        ("$.value", of({}), NoData, "NoData", "$.value selects nothing"),
        ("$.value", of({"value": None}), NoData, "NoData", "selects nothing"),
        ("$.value", httpx.Response(200, text="null"), NoData, "NoData", "selects nothing"),
        ("$.value", of({"value": True}), Malformed, "NotANumber", "true or false and no number"),
        ("$.value", of({"value": "high"}), Malformed, "NotANumber", "a text and no number"),
        ("$.value", of({"value": "0x10"}), Malformed, "NotANumber", "a text and no number"),
        ("$.value", of({"value": "nan"}), Malformed, "NotANumber", "a text and no number"),
        ("$.value", of({"value": {}}), Malformed, "NotANumber", "an object and no number"),
        ("$.value", of({"value": [1]}), Malformed, "NotANumber", "a list and no number"),
        ("$.value", httpx.Response(200, text='{"value": NaN}'), Malformed, "NotANumber", "a number that is none"),
        ("$.value", httpx.Response(200, text='{"value": 1e999}'), Malformed, "NotANumber", "a number that is none"),
        ("$.value", httpx.Response(200, text='{"value": ' + "9" * 400 + "}"), Malformed, "NotANumber", "too large"),
        ("$[*]", of([1, 2]), Malformed, "SeveralSeries", "selects 2 values, and one was expected"),
        ("$.value", httpx.Response(200, text="<html>"), Malformed, "UnexpectedResult", "no JSON"),
        ("$.value", httpx.Response(200), Malformed, "UnexpectedResult", "no JSON"),
        ("$..value", httpx.Response(200, text="[" * 900 + "]" * 900), Malformed, "UnexpectedResult", "more levels"),
        ("$.value", of([0] * 50_000), Malformed, "UnexpectedResult", "consists of more than"),
        ("$.value", httpx.Response(500, json={"value": 1}), Unreachable, "HTTPError", "answered 500"),
        ("$.value", httpx.Response(404), Unreachable, "HTTPError", "answered 404"),
        ("$.value", httpx.Response(302, headers={"Location": "/x"}), Unreachable, "HTTPError", "not followed"),
        ("$.value", httpx.Response(401), Unreachable, "NotAuthorized", "name a Secret in auth.secretRef"),
        ("$.value", httpx.Response(403), Unreachable, "NotAuthorized", "name a Secret in auth.secretRef"),
        ("$.value", httpx.ConnectError("no way"), Unreachable, "Unreachable", "no way"),
        ("$.value", httpx.RemoteProtocolError("its own words"), Unreachable, "Unreachable", "RemoteProtocolError"),
    ],
)
async def test_what_is_no_number(path: str, answer: Any, expected: type, reason: str, words: str) -> None:
    """Each has a name; absence is no number, and an answer's own words are not repeated."""
    found = await measured(number(path), answer)
    assert isinstance(found, expected)
    assert (found.reason, words in found.message) == (reason, True), found  # type: ignore[union-attr]
    assert "its own words" not in found.message  # type: ignore[union-attr]


async def test_several_values_are_for_a_condition() -> None:
    """All of them where they are wanted, and no more than a condition sees."""
    found = await measured(number("$[*]"), of([1, 2, 3]), many=True)
    assert isinstance(found, Sample)
    assert found.values == (1.0, 2.0, 3.0)
    found = await measured(number("$[*]"), of([0] * (MAX_SERIES + 5)), many=True)
    assert isinstance(found, Malformed)
    assert found.reason == "TooManySeries"


@pytest.mark.parametrize(
    ("source", "answer", "value", "note"),
    [
        (expecting(), of({}), 1.0, "https://api.example.com:443 answered 200"),
        (expecting(), httpx.Response(200, text="<html>"), 1.0, "answered 200"),
        (expecting(204, 404), httpx.Response(404), 1.0, "answered 404"),
        (expecting(), httpx.Response(503), 0.0, "answered 503, and 200 is expected"),
        (expecting(401), httpx.Response(401), 1.0, "answered 401"),
        (expecting(path="$.s", equals="ok"), of({"s": "ok"}), 1.0, "$.s is 'ok'"),
        (expecting(path="$.s", equals="ok"), of({"s": "red"}), 0.0, "$.s is 'red', and 'ok' is expected"),
        (expecting(path="$.s", equals="true"), of({"s": True}), 1.0, "$.s is 'true'"),
        (expecting(path="$.s", equals="true"), of({"s": 1}), 0.0, "$.s is '1', and 'true' is expected"),
        (expecting(path="$.s", equals="42"), of({"s": 42.0}), 1.0, "$.s is '42.0'"),
        (expecting(path="$.s", equals='{"a": [1]}'), of({"s": {"a": [1]}}), 1.0, "$.s is 'an object'"),
        (expecting(path="$.s", equals="null"), of({"s": None}), 1.0, "$.s is 'none'"),
        (expecting(path="$.s", equals="ok"), of({}), 0.0, "$.s selects nothing in it"),
        (expecting(path="$.s", equals="ok"), httpx.Response(200, text="ok"), 0.0, "no JSON"),
        (expecting(path="$.s", equals="ok"), of({"s": "a\u202eb\n" + "x" * 200}), 0.0, "…'"),
    ],
)
async def test_what_is_expected(source: Web, answer: httpx.Response, value: float, note: str) -> None:
    """One for yes and nothing for no, and in words why; short, and on one line."""
    found = await measured(source, answer)
    assert isinstance(found, Sample)
    assert found.value == value
    assert note in found.note
    assert found.note.isprintable()
    assert len(found.note) < 200


@pytest.mark.parametrize("size", [5_000, 200_000])
async def test_a_large_answer_is_read_like_a_small_one(size: int) -> None:
    """Away from the event loop, and one at a time; the next one is read as well."""
    for _ in range(2):
        found = await measured(number(), of({"value": 3, "more": "x" * size}))
        assert isinstance(found, Sample), found
        found = await measured(expecting(path="$.value", equals="3"), of({"value": 3, "more": "x" * size}))
        assert isinstance(found, Sample), found


async def test_an_expectation_that_nobody_can_tell() -> None:
    """Not asked, or not allowed to ask: that is no failed check."""
    for answer in (httpx.ConnectError("x"), httpx.Response(403), of({"a": {"s": 1}, "s": 2})):
        path = "$..s" if isinstance(answer, httpx.Response) and answer.status_code == 200 else None
        found = await measured(expecting(path=path, equals="1"), answer)
        assert isinstance(found, Unreachable | Malformed)


# -- a real server ------------------------------------------------------------------------------------------------------


class Server:
    """Answers with `handler`, and remembers what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.release = asyncio.Event()
        self.handler: Handler = self.value

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append((request.method, str(request.rel_url), dict(request.headers), text))
        return await self.handler(request)

    async def value(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"value": 1})

    async def hang(self, request: web.Request) -> web.StreamResponse:
        await self.release.wait()
        return web.json_response({"value": 1})


async def serving(server: Server, context: ssl.SSLContext | None = None) -> web.AppRunner:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    server.url = f"http{'s' if context else ''}://127.0.0.1:{runner.addresses[0][1]}/v1"
    return runner


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = await serving(made)
    yield made
    made.release.set()
    await runner.cleanup()


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
async def local(vault: Vault) -> AsyncIterator[HttpProvider]:
    made = HttpProvider(APIS, Hosts.read(["127.0.0.0/8", "localhost"]), secrets=vault.secrets)
    yield made
    await made.close()


async def test_a_request_as_it_arrives(server, local) -> None:
    """Method, path, headers and body as they are declared; nothing is kept of the answer, and no encoding is asked for."""

    async def cookie(request: web.Request) -> web.Response:
        answer = web.json_response({"value": 1})
        answer.set_cookie("session", "abc")
        return answer

    server.handler = cookie
    source = number(url=f"{server.url}/a%2Fb?x=1", method="POST", body='{"q":1}', headers=(("X-Team", "shop"),))
    for _ in range(2):
        assert isinstance(await local.measure(Query(source, timeout=5), NOW), Sample)
    for method, url, headers, text in server.requests:
        assert (method, url, text) == ("POST", "/v1/a%2Fb?x=1", '{"q":1}')
        assert (headers["X-Team"], headers["Content-Type"], headers["Accept-Encoding"]) == (
            "shop",
            "application/json",
            "identity",
        )
        assert "Cookie" not in headers
        assert "Authorization" not in headers


async def test_a_secret_is_shown_and_named_when_it_is_not_accepted(server, local, vault) -> None:
    """Its headers win over those of the request, and a change of it is the next to be shown."""
    vault.put(TEAM, "api", token="one", key="k-1")
    auth = Auth("api", (("X-Api-Key", "key"),), namespace=TEAM)
    source = number(url=server.url, auth=auth, headers=(("x-api-key", "mine"),))
    query = Query(source, timeout=5, tenant=(TEAM, "shop"))
    assert isinstance(await local.measure(query, NOW), Sample)
    headers = server.requests[0][2]
    assert (headers["Authorization"], headers["X-Api-Key"]) == ("Bearer one", "k-1")
    assert "mine" not in str(headers)

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=401, text=request.headers["Authorization"])

    server.handler = refuse
    answer = await local.measure(query, NOW)
    assert isinstance(answer, Unreachable)
    assert (answer.reason, "does not accept Secret api" in answer.message) == ("NotAuthorized", True)
    vault.put(TEAM, "api", token="two", key="k-1")
    await local.measure(query, NOW)
    assert server.requests[-1][2]["Authorization"] == "Bearer two"


async def test_validation_asks_nobody(server, local, vault) -> None:
    """A request may do something, so only whether it may be asked is looked at: the host, and the Secret."""
    fine = number(url=server.url)
    assert await local.validate(Query(fine)) is None
    elsewhere = await local.validate(Query(number(url="http://10.1.2.3/x")))
    assert elsewhere is not None
    assert "not among the allowed hosts" in elsewhere.words
    missing = await local.validate(Query(replace(fine, auth=Auth("api", namespace=TEAM))))
    assert missing == Refusal(
        "there is no Secret api in namespace team-shop; create it, or correct the name",
        asked=False,
        field="auth.secretRef",
    )
    assert server.requests == []


async def test_redirects_are_not_followed(server, local, vault) -> None:
    """Neither to another host nor within one, so no credential goes along."""
    vault.put(TEAM, "api", token="abc")

    async def away(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": server.url.replace("127.0.0.1", "localhost")})

    server.handler = away
    answer = await local.measure(Query(number(url=server.url, auth=Auth("api", namespace=TEAM)), timeout=5), NOW)
    assert isinstance(answer, Unreachable)
    assert len(server.requests) == 1


async def test_a_proxy_of_the_environment_is_not_used(server, local, monkeypatch) -> None:
    """Nor ~/.netrc: what is sent is what was declared."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert isinstance(await local.measure(Query(number(url=server.url), timeout=5), NOW), Sample)


async def test_where_names_lead(server, monkeypatch) -> None:
    """A listed name that leads to this machine is asked nothing; nor is a number that spells it."""
    import socket

    system = socket.getaddrinfo

    def resolved(host: Any, *args: Any, **kwargs: Any) -> Any:
        return system("127.0.0.1" if host == "api.example.com" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    provider = HttpProvider(APIS, Hosts.read(["*", ".example.com"]))
    port = server.url.rpartition(":")[2]
    for host in ("api.example.com", "2130706433", "127.1", "localhost"):
        answer = await provider.measure(Query(number(url=f"http://{host}:{port}"), timeout=5), NOW)
        assert isinstance(answer, Malformed), host
        assert answer.reason == "AddressNotAllowed"
        assert "--allow-hosts lists the address itself" in answer.message
    await provider.close()
    assert server.requests == []


async def test_answers_without_end(server, local) -> None:
    """In size, in headers, in interim answers, and in time."""

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async def drips(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not server.release.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response

    server.handler = large
    answer = await local.measure(Query(number(url=server.url), timeout=10), NOW)
    assert isinstance(answer, Malformed)
    assert "is larger than" in answer.message
    server.handler = drips
    answer = await local.measure(Query(number(url=server.url), timeout=0.5), NOW)
    assert isinstance(answer, Unreachable)
    assert answer.reason == "Timeout"


async def raw(answer: bytes, *, forever: bool = False) -> tuple[asyncio.Server, str]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            writer.write(answer)
            await writer.drain()
            while forever:
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    return listening, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize(
    ("answer", "forever"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 200, True),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * 5_000_000, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 150_000, False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", False),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", False),
    ],
    ids=["interim", "headers", "chunks", "bytes", "no HTTP", "nothing", "short", "encoded"],
)
async def test_whatever_a_server_says(local, answer: bytes, forever: bool) -> None:
    """It is an outcome with a name, and in bounded time; what says it is encoded is read as it is."""
    listening, url = await raw(answer, forever=forever)
    async with listening:
        found = await local.measure(Query(number("$.a", url=url), timeout=10), NOW)
    assert isinstance(found, Unreachable | Malformed | NoData)
    assert getattr(found, "reason", "") != "Timeout"


async def test_interim_answers_come_before_the_one_that_counts(local) -> None:
    """A few are as HTTP has it; of more nobody parses the rest."""
    interim, final = (
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}',
    )
    for count, expected in ((3, Sample), (5, Malformed)):
        listening, url = await raw(interim * count + final)
        async with listening:
            found = await local.measure(Query(number("$.a", url=url), timeout=20), NOW)
        assert isinstance(found, expected), found


async def test_an_answer_in_pieces(local) -> None:
    """A thousand chunks of a byte are read, ten thousand are too much work for what they say."""
    start, end = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b'8\r\n{"a": 1}\r\n0\r\n\r\n'
    for count, expected in ((1_000, Sample), (10_000, Malformed)):
        listening, url = await raw(start + b"1\r\n \r\n" * count + end)
        async with listening:
            found = await local.measure(Query(number("$.a", url=url), timeout=20), NOW)
        assert isinstance(found, expected), found
    assert isinstance(found, Malformed)
    assert "comes in more than 4096 pieces" in found.message


async def test_a_team_that_hangs_delays_no_other(server, local) -> None:
    """Places at one server go round; a query that waits in vain is Queued, and no verdict on anybody."""
    server.handler = server.hang
    slow = [
        asyncio.create_task(
            local.measure(
                Query(number(url=f"{server.url}/{n}"), timeout=20, tenant=("they", f"r{n}"), patience=20), NOW
            )
        )
        for n in range(40)
    ]
    await until(lambda: len(server.requests) >= 4)
    ours = asyncio.create_task(
        local.measure(Query(number(url=f"{server.url}/ours"), timeout=20, tenant=(TEAM, "shop"), patience=20), NOW)
    )
    await until(lambda: any(url.endswith("/ours") for _, url, *_ in server.requests))
    assert len(server.requests) < 40
    waiting = await local.measure(
        Query(number(url=f"{server.url}/more"), timeout=20, tenant=("they", "r1"), patience=0.05), NOW
    )
    assert isinstance(waiting, Queued)
    server.release.set()
    assert isinstance(await ours, Sample)
    assert {type(one) for one in await asyncio.gather(*slow)} == {Sample}


async def test_who_asks_the_same_at_one_time_shares_a_request(server, local) -> None:
    """As at Prometheus; with another Secret it is another question."""
    server.handler = server.hang
    asked = [
        asyncio.create_task(local.measure(Query(number(url=server.url), timeout=10, tenant=(f"t{n}", "r")), NOW))
        for n in range(20)
    ]
    await until(lambda: len(server.requests) >= 1)
    await asyncio.sleep(0.05)
    server.release.set()
    assert {type(one) for one in await asyncio.gather(*asked)} == {Sample}
    assert len(server.requests) < 20


async def test_a_certificate_is_verified_and_shown(tmp_path: Path, vault, local) -> None:
    """By the authorities of the Secret and no others; with its own certificate, also when it is another one tomorrow."""
    theirs, ours = Authority("of the server"), Authority("of clients")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "server.pem").write_text(theirs.server())
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(cadata=ours.pem)
    context.verify_mode = ssl.CERT_REQUIRED
    server = Server()
    runner = await serving(server, context)

    def put(authority: Authority, signs: Authority) -> None:
        certificate, mark, rest = signs.server().partition("-----BEGIN EC PRIVATE KEY-----")
        vault.put(TEAM, "api", tls__crt=certificate, tls__key=mark + rest, ca__crt=authority.pem)
        vault.now += 1

    query = Query(number(url=server.url, auth=Auth("api", namespace=TEAM)), timeout=10)
    try:
        assert isinstance(await local.measure(Query(number(url=server.url), timeout=10), NOW), Unreachable)
        for authority, signs, good in (
            (theirs, ours, True),
            (ours, ours, False),
            (theirs, theirs, False),
            (theirs, ours, True),
        ):
            put(authority, signs)
            assert isinstance(await local.measure(query, NOW), Sample if good else Unreachable)
        assert len(server.requests) == 2
    finally:
        await local.close()
        await runner.cleanup()


VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=40).map("^{}`".format)
"""In marks that no other text has: Hypothesis takes words out of the code under test, and any text may have those."""


@given(token=VISIBLE, key=VISIBLE)
@settings(
    max_examples=10,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_text_that_leaves_the_process_tells_a_secret(token: str, key: str, caplog) -> None:
    """A server that repeats all it was told, in its answer, its reason phrase and its headers; logs at DEBUG included."""
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    texts = asyncio.run(_everything_said(token, key)) + [record.getMessage() for record in caplog.records]
    assert not [text for text in texts if token in text or key in text]


async def _everything_said(token: str, key: str) -> list[str]:
    vault, server = Vault(), Server()
    vault.put(TEAM, "api", token=token, key=key)
    runner = await serving(server)
    provider = HttpProvider(APIS, Hosts.read(["127.0.0.1"]), secrets=vault.secrets)
    auth = Auth("api", (("X-Api-Key", "key"),), namespace=TEAM)

    async def echo(request: web.Request) -> web.Response:
        heard = f"{request.headers['Authorization']} {request.headers['X-Api-Key']}"
        how = request.path.rpartition("/")[2]
        if how == "text":
            return web.Response(text=heard)
        return web.json_response({"value": heard, heard: heard}, status=int(how))

    server.handler = echo
    texts = []
    try:
        for how in ("200", "400", "401", "403", "500", "text"):
            for source in (
                number(url=f"{server.url}/{how}", auth=auth),
                Web(f"{server.url}/{how}", expected=Expected((200, 400), "$.value", "ok"), auth=auth),
                Web(f"{server.url}/{how}", expected=Expected((200,)), auth=auth, tells=""),
                Web(f"{server.url}/{how}", expected=Expected((200, 400, 500)), auth=auth, tells="$.value"),
            ):
                query = Query(source, timeout=5)
                texts += [repr(await provider.measure(query, NOW)), repr(query), repr(await provider.validate(query))]
    finally:
        await provider.close()
        await runner.cleanup()
    assert any("withheld" in text for text in texts)
    return texts


# -- gates ----------------------------------------------------------------------------------------------------------


def gate(**declared: Any) -> Web:
    return Web.of_gate(HttpGate.model_validate({"url": URL, **declared}))


@pytest.mark.parametrize(
    ("source", "answer", "yes", "said"),
    [
        (gate(), httpx.Response(200, text="go on"), True, "go on"),
        (gate(), httpx.Response(200, text="  go\n\x1b[31m on\x00 "), True, "go [31m on"),
        (gate(), httpx.Response(423, text="locked by bob"), False, "locked by bob"),
        (gate(), httpx.Response(200), True, ""),
        (gate(), httpx.Response(200, content=b"\xff\xfe"), True, "��"),
        (gate(), httpx.Response(200, text="x" * 1000), True, "x" * LONGEST_SAID + "…"),
        (gate(message="$.reason"), of({"reason": "approved"}), True, "approved"),
        (gate(message="$.reason"), of({"reason": {"by": "bob"}}), True, '{"by": "bob"}'),
        (gate(message="$.reason"), httpx.Response(200, text=r'{"reason": "\ud800 half"}'), True, "half"),
        (gate(message="$.reason"), of({}), True, ""),
        (gate(message="$.reason"), httpx.Response(200, text="no JSON"), True, ""),
        (
            gate(expect={"jsonPath": "$.ok", "equals": "true"}, message="$.why"),
            of({"ok": False, "why": "freeze"}),
            False,
            "freeze",
        ),
    ],
)
async def test_what_a_gate_says(source: Web, answer: httpx.Response, yes: bool, said: str) -> None:
    """Whether it is as expected, and a text for people, on one line and short."""
    found = await measured(source, answer)
    assert isinstance(found, Sample)
    assert (found.value, found.said) == (float(yes), said)


async def test_checks_repeat_no_text_of_an_answer() -> None:
    """Only a gate was asked to say something for people."""
    found = await measured(expecting(), httpx.Response(200, text="go on"))
    assert isinstance(found, Sample)
    assert found.said == ""


async def test_a_gate_that_does_not_know_us_is_unknown() -> None:
    """That is neither a yes nor a no."""
    found = await measured(gate(), httpx.Response(403, text="who are you"))
    assert isinstance(found, Unreachable)
    assert found.reason == "NotAuthorized"
    assert "who are you" not in found.message
