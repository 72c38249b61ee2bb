"""A real Prometheus scrapes a real Envoy; queries find Services by label."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster_kit import sandbox
from sandbox_kit import Shop, alive, mirror, until

from canary.errors import SandboxError
from canary_sandbox.app_page import line
from canary_sandbox.cluster import Sandbox
from canary_sandbox.load import LoadGenerator
from canary_sandbox.prometheus import Prometheus, configuration

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = PROJECT / "scripts" / "prometheus.sh"


@pytest.mark.e2e
@pytest.mark.timeout(90)
async def test_queries_find_services_by_label() -> None:
    """Error rate and latency of the canary, by service and namespace, agree with what was sent."""
    async with sandbox(prometheus=True, scrape_interval="250ms", crds=()) as cluster:
        shop = Shop(cluster)
        await shop.open()
        await shop.accepted(await shop.weigh(1, 1))
        await cluster.prometheus.scraping()
        await cluster.workloads.set_fault("team-shop", "shop-canary", errors=0.5, latency=0.03)
        async with LoadGenerator(shop.url, "shop.example.com", rps=150, max_requests=300) as load:
            await load.wait()
        sent = load.counts().by_version
        labels = 'service="shop-canary",namespace="team-shop",port="8080"'

        async def total() -> float:
            found = await cluster.prometheus.query(f"sum(envoy_cluster_upstream_rq_xx{{{labels}}})")
            return float(found[0]["value"][1]) if found else 0.0

        async def all_scraped() -> bool:
            return await total() >= sent["v2"]

        await until(all_scraped, what="every request in Prometheus")
        ratio = await cluster.prometheus.query(
            f'sum(rate(envoy_cluster_upstream_rq_xx{{{labels},envoy_response_code_class="5"}}[1m]))'
            f" / sum(rate(envoy_cluster_upstream_rq_xx{{{labels}}}[1m]))"
        )
        assert float(ratio[0]["value"][1]) == pytest.approx(0.5, abs=0.1)

        async def slow() -> bool:
            found = await cluster.prometheus.query(
                f"histogram_quantile(0.5, sum by (le) (envoy_cluster_upstream_rq_time_bucket{{{labels}}}))"
            )
            return bool(found) and 25 <= float(found[0]["value"][1]) <= 100

        await until(slow, what="the latency in the histogram, in milliseconds")
        pid = cluster.prometheus.process.pid
        assert alive(pid)
    assert not alive(pid)


@pytest.mark.e2e
@pytest.mark.timeout(90)
@pytest.mark.parametrize("processes", [False, True])
async def test_what_replicas_answered_is_found_by_service_copies_apart(processes: bool) -> None:
    """Users' requests, copies, and the copies that failed, which no user saw: each is a series of its own."""
    async with sandbox(prometheus=True, scrape_interval="250ms", crds=(), processes=processes) as cluster:
        shop = Shop(cluster)
        await shop.open()
        await shop.weigh(1, 0)
        generation = await shop.patch({"op": "add", "path": "/spec/rules/0/filters", "value": [mirror("shop-canary")]})
        await shop.accepted(generation)
        await cluster.workloads.set_fault("team-shop", "shop-canary", errors=0.25)
        assert await shop.fire(80) == {(200, "v1"): 80}
        await cluster.prometheus.scraping()
        labels = 'namespace="team-shop",service="shop-canary",version="v2",mirrored="true"'

        async def copies() -> bool:
            found = await cluster.prometheus.query(f"app_requests_total{{{labels}}}")
            return {item["metric"]["outcome"]: item["value"][1] for item in found} == {"ok": "60", "failed": "20"}

        await until(copies, what="80 copies in Prometheus")
        users = await cluster.prometheus.query('sum by (service) (app_requests_total{mirrored="false",outcome="ok"})')
        counted = {item["metric"]["service"]: int(item["value"][1]) for item in users}
        assert counted["shop-stable"] >= 80
        assert not await cluster.prometheus.query('app_requests_total{service="shop-stable",mirrored="true"}')


def test_labels_of_the_page_are_escaped() -> None:
    """A version may be any text: a quote or a line break in it does not break the page."""
    assert line({"version": 'a"b\\c\nd'}, 1) == 'app_requests_total{version="a\\"b\\\\c\\nd"} 1\n'


async def test_a_missing_prometheus_says_what_to_type(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line, before anything else has started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CANARY_PROMETHEUS", raising=False)
    monkeypatch.setattr("canary_sandbox.prometheus._PROJECT_BINARY", tmp_path / "prometheus")
    with pytest.raises(SandboxError, match=r"type scripts/prometheus\.sh") as error:
        async with Prometheus([]):
            pass
    assert "\n" not in str(error.value)
    with pytest.raises(SandboxError, match=r"type scripts/prometheus\.sh"):
        async with Sandbox(prometheus=True):
            pass


def test_targets_become_jobs() -> None:
    """Host and path of each URL; cluster names become labels."""
    (job,) = configuration(["http://127.0.0.1:1234/stats/prometheus"], "1s")["scrape_configs"]
    assert (job["metrics_path"], job["static_configs"]) == ("/stats/prometheus", [{"targets": ["127.0.0.1:1234"]}])
    assert [rule["target_label"] for rule in job["metric_relabel_configs"]] == ["namespace", "service", "port"]


def run_script(root: Path, **env: str) -> subprocess.CompletedProcess[str]:
    (root / "scripts").mkdir(parents=True, exist_ok=True)
    for shared in ("unpack.sh", "apt.sh"):
        shutil.copy(SCRIPT.with_name(shared), root / "scripts")
    copy = shutil.copy(SCRIPT, root / "scripts")
    return subprocess.run(["/bin/sh", copy], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_script_is_quiet_when_prometheus_is_there(tmp_path: Path) -> None:
    """Found on PATH, in .sandbox/bin or by CANARY_PROMETHEUS: nothing to do, nothing to say."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for needed in ("dirname", "sh"):
        (tools / needed).symlink_to(shutil.which(needed) or f"/usr/bin/{needed}")
    fake = tools / "prometheus"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    root = tmp_path / "project"
    for env in ({"PATH": str(tools)}, {"PATH": os.environ["PATH"], "CANARY_PROMETHEUS": str(fake)}):
        done = run_script(root, **env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (root / ".sandbox").exists()


def test_the_script_says_in_one_line_what_to_type_where_it_cannot_help(tmp_path: Path) -> None:
    """No apt-get: exit 1, one line, no address."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for needed in ("dirname", "sh"):
        (tools / needed).symlink_to(shutil.which(needed) or f"/usr/bin/{needed}")
    done = run_script(tmp_path / "project", PATH=str(tools))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "apt-get install prometheus" in done.stderr
    assert "://" not in done.stderr
