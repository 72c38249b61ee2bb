"""What time it is where somebody is asked: dates and signatures are of then, whatever clocks said before, or say here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import respx
from secrets_kit import Vault

from canary.checks.sources.auth import Auth
from canary.checks.sources.cloudwatch import Cloudwatch, Metric
from canary.checks.sources.datadog import Datadog
from canary.checks.sources.graphite import Graphite
from canary.metrics.apis import APIS
from canary.metrics.hosts import Hosts
from canary.metrics.http import HttpProvider
from canary.metrics.port import Query
from canary.model.measurement import Measurement, NoData, Sample, Unreachable

TEAM = "team-shop"
HOUR = timedelta(hours=1)
STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""What the controller's clock says; it goes by that of its start."""
DATADOG = Datadog("avg:errors{service:canary}", "datadoghq.eu", None, window=300.0)
ERRORS = Metric("errors", "Shop", "Errors", "Sum", (("Service", "shop-canary"),))
CLOUDWATCH = Cloudwatch("eu-west-1", (ERRORS,), None, 60, Auth("aws", namespace=TEAM, signs=True), window=300.0)
GRAPHITE = Graphite("shop.errors", "https://graphite.example.com", None, 300.0)


class Server:
    """Has an error rate of 0.9 since ten minutes by its own clock, and 0.0 before; refuses signatures of another time, as Amazon does."""

    def __init__(self, now: Callable[[], datetime], *, says: bool = True) -> None:
        self.now, self._says = now, says
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status, document = self._datadog(request) if request.method == "GET" else self._cloudwatch(request)
        headers = {"Date": format_datetime(self.now(), usegmt=True)} if self._says else {}
        return httpx.Response(status, json=document, headers=headers)

    def _value(self, at: float) -> float:
        return 0.9 if at > self.now().timestamp() - 600 else 0.0

    def _datadog(self, request: httpx.Request) -> tuple[int, Any]:
        since, until = (int(request.url.params[name]) for name in ("from", "to"))
        points = [[1000.0 * at, self._value(at)] for at in range(until, since, -20)]
        last = int(self.now().timestamp())
        return 200, {"status": "ok", "series": [{"pointlist": [one for one in points[::-1] if one[0] <= 1000 * last]}]}

    def _cloudwatch(self, request: httpx.Request) -> tuple[int, Any]:
        signed = datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(self.now() - signed) > timedelta(minutes=5):
            return 400, {"__type": "com.amazon.coral.service#InvalidSignatureException", "message": "Signature expired"}
        last = json.loads(request.content)["EndTime"] - 60
        result = {"Id": "errors", "StatusCode": "Complete", "Timestamps": [last], "Values": [self._value(last)]}
        return 200, {"MetricDataResults": [result], "Messages": []}


class Passing:
    """Seconds that pass when they are told to, and a machine whose clock is set."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.set = timedelta()

    def clock(self) -> float:
        return self.seconds

    def truth(self) -> datetime:
        return STARTED + timedelta(seconds=self.seconds)

    def machine(self) -> datetime:
        return self.truth() + self.set


@asynccontextmanager
async def asking(server: Server, **clocks: Any) -> AsyncIterator[Callable[[Any], Any]]:
    """Who asks that server, by the controller's clock."""
    vault = Vault()
    vault.put_all(TEAM, "aws", {"access-key-id": "AKIAIOSFODNN7EXAMPLE", "secret-access-key": "x"}, ".amazonaws.com")
    hosts = Hosts.read([".amazonaws.com", ".datadoghq.eu", ".example.com"])
    provider = HttpProvider(APIS, hosts, secrets=vault.secrets, **clocks)

    async def ask(source: Any) -> Measurement:
        return await provider.measure(Query(source, timeout=5, tenant=(TEAM, "shop")), STARTED)

    try:
        with respx.mock(assert_all_called=False) as router:
            router.route(url__startswith="https://").mock(side_effect=server)
            yield ask
    finally:
        await provider.close()


@pytest.mark.parametrize("source", [DATADOG, CLOUDWATCH], ids=["datadog", "cloudwatch"])
async def test_what_is_sent_is_the_time_of_day_of_now(source: Any) -> None:
    """The controller's clock may be that of a start at which the machine's was wrong: the signature and the dates are of now nonetheless."""
    async with asking(Server(lambda: datetime.now(UTC))) as ask:
        found = await ask(source)
    assert isinstance(found, Sample), found
    assert (found.value, found.at) == (0.9, STARTED)


@pytest.mark.parametrize("off", [-HOUR, HOUR], ids=["behind", "ahead"])
@pytest.mark.parametrize("source", [DATADOG, CLOUDWATCH], ids=["datadog", "cloudwatch"])
async def test_a_machine_whose_clock_is_wrong(source: Any, off: timedelta) -> None:
    """What was asked about another time is no evidence, and no Secret is blamed; from then on the server's own clock counts."""
    time = Passing()
    time.set = off
    async with asking(
        server := Server(time.truth), clock=time.clock, passing=time.clock, time_of_day=time.machine
    ) as ask:
        found = await ask(source)
        assert isinstance(found, Unreachable), found
        words = f"this machine's clock is 1h0m {'behind' if off < timedelta() else 'ahead of'} the server's"
        assert (found.reason, words in found.message) == ("ClockSkew", True), found
        for time.set in (off, timedelta(), 400 * HOUR, -off):  # it is set in mid-run, forth and back
            time.seconds += 60
            found = await ask(source)
            assert isinstance(found, Sample), found
            assert found.value == 0.9
    assert len(server.requests) == 5


@pytest.mark.parametrize("jump", [-HOUR, HOUR], ids=["back", "forward"])
async def test_a_server_whose_clock_is_set(jump: timedelta) -> None:
    """It is said once, and then it is as it says."""
    time, there = Passing(), [timedelta(minutes=2)]
    async with asking(
        Server(lambda: time.truth() + there[0]), clock=time.clock, passing=time.clock, time_of_day=time.machine
    ) as ask:
        assert isinstance(await ask(DATADOG), Unreachable)
        time.seconds += 60
        assert isinstance(await ask(DATADOG), Sample)
        time.seconds += 60
        there[0] += jump
        found = await ask(DATADOG)
        assert isinstance(found, Unreachable), found
        words = f"its clock is 1h0m {'ahead of' if jump > timedelta() else 'behind'} what it said before"
        assert (found.reason, words in found.message) == ("ClockSkew", True), found
        time.seconds += 60
        assert isinstance(await ask(DATADOG), Sample)


@pytest.mark.parametrize("source", [DATADOG, CLOUDWATCH], ids=["datadog", "cloudwatch"])
async def test_a_clock_that_is_set_in_mid_run(source: Any) -> None:
    """Once a server has said what time it is there, the machine's clock is nothing to it."""
    time = Passing()
    server = Server(time.truth)
    async with asking(server, clock=time.clock, passing=time.clock, time_of_day=time.machine) as ask:
        for time.set in (timedelta(), HOUR, -HOUR, 400 * HOUR):
            time.seconds += 3600
            assert isinstance(found := await ask(source), Sample), found
            assert found.value == 0.9


async def test_an_answer_that_takes_its_time() -> None:
    """Its Date is of some moment while we waited, which may be long if the machine slept."""
    time = Passing()
    server = Server(time.truth)

    def slow(request: httpx.Request) -> httpx.Response:
        answer = server(request)
        time.seconds += 7200
        return answer

    async with asking(slow, clock=time.clock, passing=time.clock, time_of_day=time.machine) as ask:  # type: ignore[arg-type]
        for _ in range(2):
            assert isinstance(found := await ask(DATADOG), Sample), found


async def test_a_server_that_does_not_say_what_time_it_is() -> None:
    """The machine's clock is what is known. A point of before the window is no evidence of now."""
    time = Passing()
    async with asking(
        Server(time.truth, says=False), clock=time.clock, passing=time.clock, time_of_day=time.machine
    ) as ask:
        found = await ask(DATADOG)
        assert isinstance(found, Sample)
        assert found.value == 0.9


DATES = [
    "",
    "now",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Fri, 99 Jan 2026 03:04:05 GMT",
    "Fri, 02 Jan 2026 99999999999999999999:04:05 GMT",
    "Fri, 02 Jan 2026 03:04:05 +9999999999999999",
]


@pytest.mark.parametrize("date", DATES)
async def test_a_date_that_is_none(date: str) -> None:
    """It is as if there were none."""
    points = [{"pointlist": [[1000.0 * STARTED.timestamp(), 0.5]]}]
    answer = httpx.Response(200, json={"status": "ok", "series": points}, headers={"Date": date})
    async with asking(lambda _: answer, time_of_day=lambda: STARTED) as ask:  # type: ignore[arg-type]
        for _ in range(2):
            assert isinstance(found := await ask(DATADOG), Sample), found


async def test_points_of_before_the_window_by_the_servers_clock() -> None:
    """Graphite is asked by its own clock, so nobody's here matters; what it has kept for an hour (a cache) is no evidence of now."""

    def answer(age: float) -> Callable[[httpx.Request], httpx.Response]:
        there = STARTED - HOUR
        points = [[0.5, there.timestamp() - age - 60], [0.5, there.timestamp() - age]]
        headers = {"Date": format_datetime(there, usegmt=True)}
        return lambda _: httpx.Response(200, json=[{"target": "a", "datapoints": points}], headers=headers)

    for age, kind in ((0, Sample), (290, Sample), (1800, NoData)):
        async with asking(answer(age), time_of_day=lambda: STARTED) as ask:  # type: ignore[arg-type]
            assert isinstance(found := await ask(GRAPHITE), kind), found
