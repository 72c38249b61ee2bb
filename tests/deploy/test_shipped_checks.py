"""Templates that are shipped for data planes: taken by any server, right PromQL, and one line in a Rollout each."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from cli_kit import canary
from deploy_kit import DEPLOY, OVERLAYS, ROOT, Town, kustomized, load, program

from canary.checks.queries import check_questions
from canary.checks.traffic import traffic_queries
from canary.cli import promtool
from canary.metrics.scripted import Scripted
from canary.model.rollout import RolloutSpec
from canary.observe.checks import resolve_checks
from canary.observe.store import Store
from canary_sandbox.prometheus import Prometheus

pytestmark = pytest.mark.timeout(120)

Json = dict[str, Any]

CHECKS = DEPLOY / "checks"
FOLDERS = sorted(folder.name for folder in CHECKS.iterdir())
OWN = sorted(folder for folder in FOLDERS if (CHECKS / folder / "templates.yaml").exists())
"""The others are made of these."""

GIVEN = {"max": "300ms"}
"""Values of arguments that have no default."""


def users(folder: str) -> list[Json]:
    """A Rollout for each template of traffic; the first one uses every template of a check, too."""
    templates = kustomized(CHECKS / folder)
    used = {
        one["metadata"]["name"]: {
            "template": {"name": one["metadata"]["name"], "kind": one["kind"]},
            **({"args": args} if (args := given(one)) else {}),
        }
        for one in templates
    }
    checks = [used[one["metadata"]["name"]] for one in templates if "traffic" not in one["spec"]]
    counters = [used[one["metadata"]["name"]] for one in templates if "traffic" in one["spec"]]
    application = load(ROOT / "examples" / "routing-only" / "rollout.yaml")[0]
    return [
        {
            **application,
            "metadata": {**application["metadata"], "name": f"{application['metadata']['name']}-{number}"},
            "spec": {**application["spec"], "checks": checks, "traffic": counter},
        }
        for number, counter in enumerate(counters)
    ]


def given(template: Json) -> dict[str, str]:
    return {one["name"]: GIVEN[one["name"]] for one in template["spec"].get("args", []) if one.get("required")}


def queries(folder: str, user: Json) -> list[str]:
    """What such a Rollout asks, rendered as the controller renders it; last for the canary and for stable."""
    store = Store()
    for template in kustomized(CHECKS / folder):
        store.put_template(template["kind"], template)
    spec = RolloutSpec.model_validate(user["spec"])
    namespace, name = user["metadata"]["namespace"], user["metadata"]["name"]
    checks = resolve_checks(store, namespace, name, spec)
    assert checks.problems == ()
    assert checks.traffic is not None
    asked = [
        source for check in checks.resolved for _, source in check_questions(check, spec, namespace, name, weight=10)
    ]
    return [source.text for source in (*asked, *traffic_queries(checks.traffic, spec, namespace, name, weight=10))]


@pytest.mark.parametrize("folder", OWN)
def test_they_are_called_by_their_data_plane(folder: str) -> None:
    """A cluster may have several, and names there are of the whole cluster."""
    templates = kustomized(CHECKS / folder)
    assert {one["kind"] for one in templates} == {"ClusterCheckTemplate"}
    names = {one["metadata"]["name"] for one in templates}
    assert {f"{folder}-error-rate", f"{folder}-latency", f"{folder}-traffic"} <= names
    assert all(name.startswith(f"{folder}-") for name in names)


@pytest.mark.parametrize("folder", FOLDERS)
async def test_nothing_is_wrong_with_one_that_is_used(folder: str, tmp_path: Path) -> None:
    """`lint` has not even a warning for the templates and for Rollouts that name each of them; promtool takes the queries."""
    file = tmp_path / "all.yaml"
    for user in users(folder):
        file.write_text(yaml.safe_dump_all([*kustomized(CHECKS / folder), user]))
        found = await canary("lint", "--strict", str(file))
        assert (found.code, found.out[:11]) == (0, "no problems"), found
    asked = [query for user in users(folder) for query in queries(folder, user)]
    assert promtool.parse(Path(program("promtool")), asked) == {}


@pytest.mark.parametrize("folder", FOLDERS)
async def test_any_server_takes_them_and_a_rollout_that_uses_them_could_run(place: Town, folder: str) -> None:
    """Strictly; and the controller, too, finds nothing that is missing."""
    await place.install(kustomized(OVERLAYS / "cluster-wide"))
    mine = users(folder)[0]
    namespace, name = mine["metadata"]["namespace"], mine["metadata"]["name"]
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    application = load(ROOT / "examples" / "routing-only" / "app.yaml")
    await place.apply([home, *application, *kustomized(CHECKS / folder), mine], "--validate=strict")
    async with place.controller(Scripted({})):
        status = await place.until(name, namespace, lambda status: status.get("phase") in {"Idle", "Invalid"})
    assert "spec.checks" not in status["message"]
    assert "spec.traffic" not in status["message"]
    assert status["phase"] == "Idle", status["message"]


@pytest.mark.parametrize("folder", OWN)
def test_a_data_plane_that_tells_both_backends_apart_has_a_comparison(folder: str) -> None:
    """An application's counters miss what a pod took along that crashed, so none is shipped for these."""
    compared = {one["metadata"]["name"] for one in kustomized(CHECKS / folder) if "compare" in one["spec"]}
    expected = {f"{folder}-errors-vs-stable", f"{folder}-latency-vs-stable"}
    assert compared == (set() if folder == "application" else expected)


@pytest.mark.parametrize("folder", [folder for folder in OWN if folder != "application"])
def test_every_metric_of_a_data_plane_was_seen(folder: str) -> None:
    """docs/gateways.md, which says only what was run, names it under that data plane."""
    text = (ROOT / "docs" / "gateways.md").read_text()
    (section,) = re.findall(rf"^## {folder}\b.*?(?=^## )", text, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    metrics = {metric for user in users(folder) for query in queries(folder, user) for metric in named(query)}
    assert metrics
    assert {metric for metric in metrics if f"`{metric}`" not in section} == set()


def named(query: str) -> set[str]:
    """The metrics of a query: names before a brace."""
    return set(re.findall(r"([a-z_]+)\{", query))


SERVED = {"stable": 90, "canary": 30}
"""Requests a second, of which a tenth fails at the canary and takes about 40 ms there."""


def contour(namespace: str, service: str, port: int, count: float, failed: float) -> list[str]:
    """What Contour's Envoy says of a backend, as it was seen."""
    of = f'envoy_cluster_name="{namespace}_{service}_{port}"'
    buckets = {"25": 0.0, "50": count, "100": count, "250": count, "1000": count, "+Inf": count}
    return [
        f"envoy_cluster_upstream_rq_completed{{{of}}} {count}",
        f'envoy_cluster_upstream_rq_xx{{{of},envoy_response_code_class="2"}} {count - failed}',
        f'envoy_cluster_upstream_rq_xx{{{of},envoy_response_code_class="5"}} {failed}',
        *(f'envoy_cluster_upstream_rq_time_bucket{{{of},le="{le}"}} {number}' for le, number in buckets.items()),
        f"envoy_cluster_upstream_cx_total{{{of}}} {count}",
    ]


def traefik(namespace: str, service: str, _port: int, count: float, failed: float) -> list[str]:
    """What Traefik says of a backend of the route `r` there, as it was seen."""
    name = f"httproute-{namespace}-r-gw-infra-public-ep-web-0-186f20ecec3438e443b2-svc-{namespace}-{service}-1"
    of = f'method="GET",protocol="http",service="{name}@kubernetesgateway"'
    lines = []
    for code, number in (("200", count - failed), ("503", failed)):
        lines.append(f'traefik_service_requests_total{{code="{code}",{of}}} {number}')
        for le, below in {"0.1": number, "0.3": number, "1.2": number, "+Inf": number}.items():
            lines.append(f'traefik_service_request_duration_seconds_bucket{{code="{code}",{of},le="{le}"}} {below}')
    return lines


def application(namespace: str, service: str, _port: int, count: float, failed: float) -> list[str]:
    """What many libraries export, with the labels of a ServiceMonitor."""
    of = f'namespace="{namespace}",service="{service}"'
    return [
        f'http_requests_total{{{of},code="200"}} {count - failed}',
        f'http_requests_total{{{of},code="500"}} {failed}',
        *(f'http_request_duration_seconds_bucket{{{of},le="{le}"}} {count}' for le in ("0.1", "0.3", "+Inf")),
    ]


EXPOSED = {"contour": contour, "traefik": traefik, "application": application}


async def test_each_tells_the_canary_from_stable_and_from_others_on_a_real_prometheus() -> None:
    """Error rate, quantile and share are those of this pair, whatever Services of nearly the same name serve beside it."""
    began = time.monotonic()
    mine = users("contour")[0]
    namespace, spec = mine["metadata"]["namespace"], mine["spec"]

    def exposition() -> str:
        elapsed, lines = time.monotonic() - began, []
        for folder in OWN:
            for role, rate in SERVED.items():
                service, port, count = spec[role]["service"], spec[role]["port"], rate * elapsed
                failed = count / 10 if role == "canary" else 0
                lines += EXPOSED[folder](namespace, service, port, count, failed)
                for near in (f"{service}-2", f"my-{service}"):
                    lines += EXPOSED[folder](namespace, near, port, 1000 * elapsed, 1000 * elapsed)
                lines += EXPOSED[folder](f"{namespace}-2", service, port, 1000 * elapsed, 1000 * elapsed)
        return "\n".join([*dict.fromkeys(lines), ""])

    async def metrics(_request: web.BaseRequest) -> web.Response:
        return web.Response(text=exposition())

    server = TestServer(web.Application())
    server.app.router.add_get("/metrics", metrics)
    async with server, Prometheus([str(server.make_url("/metrics"))]) as prometheus:
        await prometheus.scraping()

        async def number(query: str) -> float:
            async with asyncio.timeout(20):
                while True:
                    answer = await prometheus.query(query)
                    if answer and answer[0]["value"][1] != "NaN":
                        (series,) = answer
                        return float(series["value"][1])
                    await asyncio.sleep(0.1)

        for folder in OWN:
            for user in users(folder):
                *asked, canary, stable = queries(folder, user)
                errors, latency = asked[0], next(query for query in asked if "histogram_quantile" in query)
                compared = [query for query in asked if query not in {errors, latency}]
                assert await number(errors) == pytest.approx(0.1, abs=0.02), folder
                assert 0 < await number(latency) <= 0.1, folder
                share = await number(f"{canary} / ({canary} + {stable})")
                assert share == pytest.approx(0.25, abs=0.02), folder
                if compared:
                    requests, failures, of_stable, failures_of_stable = (f"sum({counter})" for counter in compared[:4])
                    assert await number(f"{failures} / {requests}") == pytest.approx(0.1, abs=0.02), folder
                    assert await number(f"{requests} / ({requests} + {of_stable})") == pytest.approx(0.25, abs=0.02)
                    assert await number(failures_of_stable) == 0, folder
                    timed, stable_timed = (f"max(sum by (le) ({buckets}))" for buckets in compared[4:])
                    assert await number(f"{timed} / {stable_timed}") == pytest.approx(1 / 3, abs=0.02), folder
