"""What holds for every source that asks somebody over the network, however it speaks: one and the same test for each of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from secrets_kit import Vault

from canary.checks.sources.auth import Auth
from canary.checks.sources.cloudwatch import Cloudwatch, Metric
from canary.checks.sources.datadog import KEYS, Datadog
from canary.checks.sources.graphite import Graphite
from canary.checks.sources.influxdb import Influxdb
from canary.checks.sources.prometheus import Prometheus
from canary.checks.sources.web import Web
from canary.metrics.apis import APIS, over_http
from canary.metrics.hosts import Hosts
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.metrics.registry import Providers
from canary.model.measurement import Measurement

TEAM = "team-shop"
TOKEN = "of-the-team-0123456789"
AUTH = Auth("keys", namespace=TEAM)
DATA: dict[type[Any], dict[str, str]] = {
    Cloudwatch: {"access-key-id": "AKIAIOSFODNN7EXAMPLE", "secret-access-key": TOKEN},
    Datadog: {"api-key": TOKEN, "app-key": f"{TOKEN}-too"},
}
ERRORS = Metric("errors", "Shop", "Errors", "Sum")


def asking(address: str) -> list[Any]:
    """A question of each source whose server may be anywhere."""
    return [
        Prometheus("up", address, AUTH),
        Web(f"{address}/numbers", path="$.total", auth=AUTH),
        Influxdb("SELECT value FROM errors", address, "shop", auth=AUTH),
        Graphite("errors", address, AUTH, 60.0),
        Cloudwatch("eu-west-1", (ERRORS,), None, 60, replace(AUTH, signs=True), address, 300.0),
    ]


EVERYBODY = [
    *asking("http://127.0.0.1:9"),
    Datadog("sum:errors{*}", "datadoghq.com", replace(AUTH, headers=KEYS), 60.0),
]
"""One question of each source, of whose server nobody has to be there."""
EACH = pytest.mark.parametrize("index", range(len(asking(""))), ids=[type(one).__name__ for one in asking("")])


def test_no_source_is_left_out() -> None:
    """What is added to those over HTTP is tried here, too."""
    assert {type(one) for one in EVERYBODY} == {*APIS, Prometheus}


def provided(hosts: str, vault: Vault) -> Providers:
    """As a controller puts them together."""
    allowed = Hosts.read([hosts])
    prometheus = PrometheusProvider("http://prometheus.invalid", allowed, secrets=vault.secrets)
    return Providers({Prometheus: prometheus, **over_http(allowed, vault.secrets)})


async def measured(source: Any, *, hosts: str = "127.0.0.1", shown: str = "127.0.0.1") -> Measurement:
    """What comes of a question: `hosts` may be asked, and the Secret is for `shown`."""
    vault = Vault()
    vault.put_all(TEAM, "keys", DATA.get(type(source), {"token": TOKEN}), shown)
    providers = provided(hosts, vault)
    try:
        return await providers.measure(Query(source, timeout=5, tenant=(TEAM, "shop")), datetime.now(UTC))
    finally:
        await providers.close()


class Heard:
    """A server that keeps what it is asked, and answers all of it alike."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[web.Request] = []
        self.answer: Any = None

    async def take(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        answer: web.Response = self.answer(request)
        return answer


@asynccontextmanager
async def heard() -> AsyncIterator[Heard]:
    found = Heard()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()


def reason(found: Measurement) -> str:
    return str(getattr(found, "reason", ""))


@pytest.mark.parametrize("source", EVERYBODY, ids=lambda one: type(one).__name__)
async def test_a_host_that_is_not_allowed_is_not_asked(source: Any) -> None:
    """The Secret is for it, the operator's list is not."""
    assert reason(await measured(source, hosts="another.example.com", shown="127.0.0.1,.datadoghq.com")) == (
        "AddressNotAllowed"
    )


@EACH
async def test_this_machine_is_not_asked_by_a_name(index: int) -> None:
    """Whoever lists all hosts has not listed loopback addresses: nobody knocks there."""
    async with heard() as server:
        source = asking(server.url.replace("127.0.0.1", "localhost"))[index]
        assert reason(await measured(source, hosts="*", shown="localhost")) == "AddressNotAllowed"
        assert server.asked == []


@pytest.mark.parametrize("source", EVERYBODY, ids=lambda one: type(one).__name__)
async def test_a_secret_is_shown_only_where_it_says(source: Any) -> None:
    """The host may be asked, and nothing is sent there."""
    hosts = ".datadoghq.com" if isinstance(source, Datadog) else "127.0.0.1"
    assert reason(await measured(source, hosts=hosts, shown="another.example.com")) == "SecretForOthers"


@EACH
async def test_a_redirect_is_not_followed(index: int) -> None:
    """Nor does the credential go where it leads."""
    async with heard() as server, heard() as elsewhere:
        elsewhere.answer = lambda _: web.json_response({})
        server.answer = lambda _: web.Response(status=302, headers={"Location": f"{elsewhere.url}/"})
        found = await measured(asking(server.url)[index])
        assert reason(found) == "HTTPError", found
        assert len(server.asked) >= 1
        assert elsewhere.asked == []


@EACH
@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
async def test_what_repeats_a_credential_is_told_to_nobody(index: int, status: int) -> None:
    """Whatever the server makes of it, and wherever it puts it. The request had it, but for one that only signs."""

    def repeat(request: web.Request) -> web.Response:
        said = f"you are {request.headers.get('Authorization')}, and of {TOKEN}"
        body = {
            "status": "error",
            "error": said,
            "errorType": "bad_data",
            "message": said,
            "__type": said,
            "total": said,
        }
        return web.json_response(body, status=status)

    async with heard() as server:
        server.answer = repeat
        source = asking(server.url)[index]
        found = await measured(source)
        assert server.asked
        shown = [request.headers.get("Authorization", "") for request in server.asked]
        assert all((TOKEN in one) is not isinstance(source, Cloudwatch) for one in shown), shown
        assert reason(found), found
        assert TOKEN not in json.dumps(repr(found))
