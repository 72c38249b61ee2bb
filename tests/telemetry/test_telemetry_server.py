from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from canary.telemetry import Telemetry, TelemetryServer


@dataclass
class World:
    now: float = 1000.0
    last_beat: float = 1000.0
    missing: list[str] = field(default_factory=list)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def client(telemetry, world) -> AsyncIterator[httpx.AsyncClient]:
    server = TelemetryServer(
        telemetry, beat=lambda: world.last_beat, waiting_for=lambda: world.missing, clock=lambda: world.now
    )
    async with server, httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        yield client


async def scrape(client: httpx.AsyncClient) -> dict[str, float]:
    """Samples by name and labels, as Prometheus' own parser reads them."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    samples = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation, family.name
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def about(samples: dict[str, float], rollout: str) -> dict[str, float]:
    return {name: value for name, value in samples.items() if f"rollout={rollout}" in name and "_created" not in name}


async def test_a_rollout_over_its_life(client, telemetry) -> None:
    """Weights and verdicts are there while a run is; the result stays; deletion removes all; others are left alone."""
    telemetry.weights("team", "shop", desired=50, written=50, accepted=None)
    telemetry.weights("team", "other", desired=10, written=10, accepted=10)
    telemetry.verdict("team", "shop", "errors", "Pass")
    telemetry.verdict("team", "shop", "errors", "Fail")
    telemetry.value("team", "shop", "errors", 0.03)
    assert about(await scrape(client), "shop") == {
        "canary_rollout_weight_percent{namespace=team,rollout=shop,stage=desired}": 50,
        "canary_rollout_weight_percent{namespace=team,rollout=shop,stage=written}": 50,
        "canary_check_verdict{check=errors,namespace=team,rollout=shop,verdict=Pass}": 0,
        "canary_check_verdict{check=errors,namespace=team,rollout=shop,verdict=Fail}": 1,
        "canary_check_verdict{check=errors,namespace=team,rollout=shop,verdict=Unknown}": 0,
        "canary_check_value{check=errors,namespace=team,rollout=shop}": 0.03,
    }
    telemetry.weights("team", "shop", desired=0, written=0, accepted=0)
    telemetry.run_finished("team", "shop", "RolledBack")
    assert about(await scrape(client), "shop") == {
        "canary_rollout_weight_percent{namespace=team,rollout=shop,stage=desired}": 0,
        "canary_rollout_weight_percent{namespace=team,rollout=shop,stage=written}": 0,
        "canary_rollout_weight_percent{namespace=team,rollout=shop,stage=accepted}": 0,
        "canary_runs_finished_total{namespace=team,result=RolledBack,rollout=shop}": 1,
    }
    telemetry.forget("team", "shop")
    telemetry.forget("team", "shop")
    samples = await scrape(client)
    assert about(samples, "shop") == {}
    assert len(about(samples, "other")) == 3


async def test_a_value_that_is_gone_has_no_series(client, telemetry) -> None:
    """No number is not zero and not the last number: the series disappears, and comes back with the next number."""
    series = "canary_check_value{check=errors,namespace=team,rollout=shop}"
    telemetry.value("team", "shop", "errors", None)
    assert series not in await scrape(client)
    telemetry.value("team", "shop", "errors", 1.0)
    assert (await scrape(client))[series] == 1
    telemetry.value("team", "shop", "errors", None)
    assert series not in await scrape(client)
    telemetry.value("team", "shop", "errors", 2.0)
    assert (await scrape(client))[series] == 2


def test_unknown_verdicts_are_refused(telemetry) -> None:
    """A verdict that is none of the three is a mistake of ours."""
    with pytest.raises(ValueError, match="no verdict"):
        telemetry.verdict("team", "shop", "errors", "Maybe")


async def test_durations(client, telemetry) -> None:
    """Requests, ticks and rollbacks are histograms in seconds; rollbacks are told apart from 1 ms to 10 s."""
    telemetry.api_request("patch", "httproutes", 200, 0.004)
    telemetry.api_request("patch", "httproutes", 0, 10.0)
    telemetry.tick(0.002)
    telemetry.rollback_latency(0.03)
    telemetry.active_runs(4)
    samples = await scrape(client)
    assert samples["canary_api_request_duration_seconds_count{code=200,resource=httproutes,verb=patch}"] == 1
    assert samples["canary_api_request_duration_seconds_sum{code=0,resource=httproutes,verb=patch}"] == 10
    assert samples["canary_tick_duration_seconds_sum{}"] == pytest.approx(0.002)
    assert samples["canary_active_runs{}"] == 4
    buckets = {
        float(name.partition("le=")[2].rstrip("}")): value
        for name, value in samples.items()
        if name.startswith("canary_rollback_latency_seconds_bucket")
    }
    assert (min(buckets), sorted(buckets)[-2]) == (0.001, 10.0)
    assert (buckets[0.02], buckets[0.05]) == (0, 1)
    assert samples["process_resident_memory_bytes{}"] > 0


async def test_registries_are_separate(client, telemetry) -> None:
    """Two controllers in one process (as in tests) do not share series."""
    Telemetry().active_runs(9)
    assert (await scrape(client))["canary_active_runs{}"] == 0


async def test_openmetrics_is_spoken(client, telemetry) -> None:
    """A Prometheus that prefers OpenMetrics gets it."""
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.rstrip().endswith("# EOF")


async def test_health_needs_a_recent_beat(client, world) -> None:
    """Alive is who gave a sign of life in the last 30 seconds."""
    world.now = world.last_beat + 30
    assert (await client.get("/healthz")).status_code == 200
    world.now = world.last_beat + 31
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.text) == (503, "the last sign of life was 31 s ago\n")


async def test_ready_when_nothing_is_missing(client, world) -> None:
    """Ready is who has seen everything; until then it says what is missing."""
    world.missing = ["rollouts", "httproutes"]
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "waiting for httproutes, rollouts\n")
    world.missing = []
    assert (await client.get("/readyz")).status_code == 200


async def test_the_server_stops_and_a_taken_port_is_an_error(telemetry) -> None:
    """Leaving the block frees the port; a port that is taken is an OSError at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = TelemetryServer(telemetry, port=port, beat=lambda: 0, waiting_for=list)
        with pytest.raises(OSError):
            await server.__aenter__()
    server = TelemetryServer(telemetry, beat=lambda: 0, waiting_for=list)
    async with server:
        url = server.url
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url + "/healthz")
