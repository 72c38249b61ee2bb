"""Every example is accepted, understood without a complaint, and plays through to its end."""

from __future__ import annotations

import asyncio
import copy
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from cli_kit import canary
from deploy_kit import DEPLOY, OVERLAYS, ROOT, Town, kustomized, load, named, program, run

from canary.checks.queries import BACKENDS, check_questions
from canary.checks.sources.comparer import Comparer
from canary.checks.sources.job import Job
from canary.checks.traffic import traffic_queries
from canary.kube import GATEWAYS, HTTPROUTES, JOBS, ROUTES, WORKLOADS
from canary.metrics.port import Query
from canary.metrics.scripted import Scripted
from canary.model.measurement import Replica, Replicas, Sample
from canary.model.rollout import RolloutSpec
from canary.observe.checks import resolve_checks
from canary.observe.store import Store
from canary_sandbox.prometheus import Prometheus

pytestmark = pytest.mark.timeout(180)

Json = dict[str, Any]

EXAMPLES = ROOT / "examples"
FOLDERS = sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir())
WITHOUT_PROMETHEUS = "scrape"
COUNTING = [folder for folder in FOLDERS if folder != WITHOUT_PROMETHEUS]
"""Examples that count what each backend gets."""


def counter(query: Query, now: datetime) -> float:
    """Requests of a backend that serves a hundred each second."""
    return float(round(100 * (now.timestamp() if query.instant is None else query.instant)) % 10**9)


def compared(_: Query, now: datetime) -> Sample:
    """A comparer that compares a hundred requests each second, and finds a time in all of them."""
    count = round(100 * now.timestamp()) % 10**9
    return Sample(count, now, replicas=Replicas((Replica("one", 1e6, count, {"$.now": (0, 0, count)}),)))


def buckets(query: Query, now: datetime) -> dict[frozenset[tuple[str, str]], float]:
    """The same by how long they took: one in fifty longer than 250 ms."""
    served = counter(query, now)
    return {
        frozenset({"instance": "a", "le": le}.items()): count
        for le, count in (("250", float(round(0.98 * served))), ("+Inf", served))
    }


GOOD: dict[str, Any] = {
    "results of comparer": compared,
    "https://changes.example.com": 1.0,
    'envoy_cluster_upstream_rq_time_bucket{envoy_cluster_name="team-basket': buckets,
    'envoy_cluster_upstream_rq_completed{envoy_cluster_name="team-basket': counter,
    'envoy_cluster_upstream_rq_xx{envoy_cluster_name="team-basket': 0.0,
    '(sum(rate(envoy_cluster_upstream_rq_xx{envoy_cluster_name="team-basket': 0.0,
    'sum(envoy_cluster_upstream_rq_completed{envoy_cluster_name="team-basket': None,
    'code=~"5.."': 0.0,
    'grpc_code=~"Internal': 0.0,
    "grpc_server_handling_seconds_bucket": 0.1,
    "broker_connections_failed_total": 0.0,
    "http_request_duration_seconds_bucket": 0.1,
    "envoy_cluster_upstream_rq_xx": 0.0,
    "envoy_cluster_upstream_rq_time_bucket": 0.1,
    "1 - (\n  (sum(rate(istio_requests_total": 0.999,
    "istio_request_duration_milliseconds_bucket": 120.0,
    "(\n  (sum(rate(istio_requests_total": 0.4,
    "https://errors.example.com": 0.0,
    "https://journeys.example.com": 1.0,
    "https://traces.example.com": (0.1, 0.2),
    "sum:trace.http.request.errors": 0.0,
    "Sum(Mail Rejected": 0.0,
    'SELECT percentile("seconds", 95)': 0.1,
    "summarize(mail.": 0.0,
    "till_requests_total of the pods": counter,
    'till_requests_total{code="5*"} of the pods': 0.0,
    'till_requests_total{code="5*", path!="/healthz"} of ': 0.0,
    "Max of till_queue_length": 3.0,
    '_name=~"': 0.5,
    'service=~"': 0.5,
}
"""What a healthy canary measures, by a part of each query; the longest part that fits counts."""


def documents(folder: str) -> list[Json]:
    """All that `kubectl apply -f FOLDER` would apply, but for what another controller's CRDs would be needed for."""
    found = [one for path in sorted((EXAMPLES / folder).glob("*.yaml")) for one in load(path)]
    return [
        one for one in found if one["apiVersion"].split("/")[0] not in {"argoproj.io", "kustomize.toolkit.fluxcd.io"}
    ]


def shipped(folder: str) -> list[Json]:
    """The templates of deploy/checks that the Rollout of an example names."""
    spec = rollout(folder)["spec"]
    wanted = {user["template"]["name"] for user in (*spec["checks"], spec.get("traffic", {})) if "template" in user}
    found = [one for path in sorted((DEPLOY / "checks").rglob("templates.yaml")) for one in load(path)]
    return [one for one in found if one["metadata"]["name"] in wanted]


def rollout(folder: str) -> Json:
    return named(documents(folder), "Rollout")


def world(folder: str) -> list[Json]:
    """The example with its namespace, with an application where the example shows none, and with its platform's Gateways."""
    found = documents(folder)
    mine = rollout(folder)
    namespace, name = mine["metadata"]["namespace"], mine["metadata"]["name"]
    if not [one for one in found if one["kind"] in ROUTES]:
        text = (EXAMPLES / "workloads-copy" / "app.yaml").read_text()
        found += [one for one in yaml.safe_load_all(text.replace("team-cart", namespace).replace("cart", name)) if one]
    found += shipped(folder)
    places = dict.fromkeys([namespace, *(place for one in found if (place := one["metadata"].get("namespace")))])
    start = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}} for place in places]
    return [*start, *gateways(found, namespace), *ready(mine), *sorted(found, key=lambda one: one["kind"] == "Rollout")]


def comparers(spec: Json) -> set[str]:
    """The Services that its steps mirror to instead of the canary."""
    return {step["mirror"]["comparer"]["service"] for step in spec["steps"] if "comparer" in step.get("mirror", {})}


def ready(mine: Json) -> list[Json]:
    """What the cluster says of the comparer that a Rollout names: one replica, which is ready."""
    namespace = mine["metadata"]["namespace"]
    return [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-1", "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.9"], "conditions": {"ready": True}}],
            "ports": [{"name": "results", "port": 8081}],
        }
        for name in comparers(mine["spec"])
    ]


PROTOCOLS = {"TCPRoute": "TCP", "UDPRoute": "UDP"}
"""Of the listener that a kind of route needs, where that is not HTTP."""


def gateways(found: list[Json], home: str) -> list[Json]:
    """The Gateways that the routes of an example name, each with its namespace; the examples leave them to the platform.

    A parent that is a Service is a mesh's. The sandbox has none, so nobody divides anything by such a route; the town that writes the
    statuses of gateways writes those of the mesh, too.
    """
    parents = [
        (ref.get("namespace") or home, ref["name"], ref.get("sectionName", "web"), PROTOCOLS.get(one["kind"], "HTTP"))
        for one in found
        if one["kind"] in ROUTES
        for ref in one["spec"]["parentRefs"]
        if ref.get("kind", "Gateway") == "Gateway"
    ]
    made: list[Json] = []
    for place, name, section, protocol in dict.fromkeys(parents):
        if place != home:
            made.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}})
        allowed = {"namespaces": {"from": "All"}}
        listener = {"name": section, "port": 80, "protocol": protocol, "allowedRoutes": allowed}
        gateway = {
            "apiVersion": GATEWAYS.api_version,
            "kind": "Gateway",
            "metadata": {"name": name, "namespace": place},
        }
        made.append({**gateway, "spec": {"gatewayClassName": "platform", "listeners": [listener]}})
    return made


@pytest.mark.parametrize("folder", FOLDERS)
async def test_it_is_accepted_a_good_release_goes_through_and_a_bad_one_comes_back(place: Town, folder: str) -> None:
    """Schema and CEL of the API server accept it, and the controller calls it Idle: no problem with route or checks. Then it plays
    from the first step to the last as the example tells it; and once more with checks that fail."""
    await place.install(kustomized(OVERLAYS / "cluster-wide"))
    await place.apply(world(folder), "--validate=strict")
    spec = rollout(folder)["spec"]
    name, namespace = rollout(folder)["metadata"]["name"], rollout(folder)["metadata"]["namespace"]
    provider = Scripted(GOOD)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(place.controller(provider))
        status = await place.until(name, namespace, lambda status: status.get("phase") in {"Idle", "Invalid"})
        assert status["phase"] == "Idle", status["message"]
        stalled = [one for one in status["conditions"] if one["type"] == "Stalled" and one["status"] == "True"]
        assert [one["message"] for one in stalled] == []

        if any("job" in check for check in spec["checks"]):
            await place.apply(may_run_jobs(namespace))
            stack.callback(asyncio.create_task(every_job_succeeds(place, namespace)).cancel)
        await start(place, name, namespace, spec, "2.0.0")
        await finish(place, folder)
        assert await weights(place, folder) == [1, 0]
        if spec.get("promotion", "Copy") == "Copy":
            assert await image(place, spec, "stable", namespace) == await image(place, spec, "canary", namespace)
        results = {call.query.text for call in provider.calls if isinstance(call.query.source, Comparer)}
        assert results == {f"results of comparer {name}" for name in comparers(spec)}
        gates = {call.query.text for call in provider.calls if getattr(call.query.source, "tells", None) is not None}
        assert bool(gates) is RolloutSpec.model_validate(spec).asks_gates
        assert {call.query.text for call in provider.calls} - results - gates == set(queries(folder))

        # A share above 1 is no failure of a success rate; what else is measured is bad enough.
        provider.answers = dict.fromkeys(GOOD, 1e6)
        await start(place, name, namespace, spec, "3.0.0")
        await place.until(name, namespace, lambda status: status.get("phase") == "RolledBack")
        assert await weights(place, folder) == [1, 0]


def may_run_jobs(namespace: str) -> list[Json]:
    """The component of a platform team that lets checks of the namespace run Jobs."""
    found = [*yaml.safe_load_all((ROOT / "deploy/kustomize/components/jobs/role.yaml").read_text())]
    return [{**one, "metadata": {**one["metadata"], "namespace": namespace}} for one in found]


async def every_job_succeeds(place: Town, namespace: str) -> None:
    """Who runs them, as far as the example knows."""
    while True:
        for one in (await place.kube.list(JOBS, namespace))["items"]:
            if not (one.get("status") or {}).get("conditions"):
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                said = {
                    "status": "True",
                    "reason": "CompletionsReached",
                    "lastProbeTime": now,
                    "lastTransitionTime": now,
                }
                conditions = [{"type": kind, **said} for kind in ("SuccessCriteriaMet", "Complete")]
                body = {"status": {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}}
                await place.kube.merge_patch(JOBS, one["metadata"]["name"], namespace, body, subresource="status")
        await asyncio.sleep(0.1)


async def test_a_mesh_and_a_gateway_divide_by_the_same_weights(place: Town) -> None:
    """The route of the mesh example with a Gateway as a second parent, as its text says: a step begins when both have accepted."""
    await place.install(kustomized(OVERLAYS / "cluster-wide"))
    found = world("mesh")
    route = named(found, "HTTPRoute")
    route["spec"]["parentRefs"].append({"name": "public"})
    await place.apply([*found[:-1], *gateways([route], route["metadata"]["namespace"]), found[-1]])
    name, namespace = rollout("mesh")["metadata"]["name"], rollout("mesh")["metadata"]["namespace"]
    async with place.controller(Scripted(GOOD)):
        await place.until(name, namespace, lambda status: status.get("phase") == "Idle")
        await start(place, name, namespace, rollout("mesh")["spec"], "2.0.0")
        status = await place.until(name, namespace, lambda status: bool((status.get("step") or {}).get("reachedAt")))
        (seen,) = status["routes"]
        assert seen["accepted"]
        parents = (await place.kube.get(HTTPROUTES, name, namespace))["status"]["parents"]
        assert [one["parentRef"]["kind"] for one in parents] == ["Service", "Gateway"]
        await finish(place, "mesh")


async def test_services_of_another_team_need_its_grant(place: Town) -> None:
    """Without it the Rollout of the cross-namespace example is not Ready and says what is missing; with it, it is."""
    await place.install(kustomized(OVERLAYS / "cluster-wide"))
    found = world("cross-namespace")
    grant = named(found, "ReferenceGrant")
    await place.apply([one for one in found if one is not grant])
    name, namespace = (
        rollout("cross-namespace")["metadata"]["name"],
        rollout("cross-namespace")["metadata"]["namespace"],
    )

    def ready(status: Json) -> Json:
        return next((one for one in status.get("conditions", []) if one["type"] == "Ready"), {})

    async with place.controller(Scripted(GOOD)):
        status = await place.until(name, namespace, lambda status: ready(status).get("status") == "False")
        assert (ready(status)["reason"], "ReferenceGrant" in ready(status)["message"]) == ("RefNotPermitted", True)
        await place.apply([grant])
        await place.until(name, namespace, lambda status: ready(status).get("status") == "True")


async def weights(place: Town, folder: str) -> list[int]:
    """What the route that the example moves gives stable and the canary."""
    mine = rollout(folder)
    (ref,) = mine["spec"]["routes"]
    route = await place.kube.get(ROUTES[ref.get("kind", "HTTPRoute")], ref["name"], mine["metadata"]["namespace"])
    return [backend["weight"] for backend in route["spec"]["rules"][0]["backendRefs"]]


def queries(folder: str, language: str | None = None) -> list[str]:
    """The queries of an example (in a language), rendered as the controller renders them; its checks have no problems."""
    store = Store()
    for one in [*documents(folder), *shipped(folder)]:
        if one["kind"].endswith("CheckTemplate"):
            store.put_template(one["kind"], copy.deepcopy(one))
    mine = rollout(folder)
    spec = RolloutSpec.model_validate(mine["spec"])
    namespace, name = mine["metadata"]["namespace"], mine["metadata"]["name"]
    checks = resolve_checks(store, namespace, name, spec)
    assert checks.problems == ()
    assert len(checks.resolved) == len(mine["spec"]["checks"])
    questions = [check_questions(check, spec, namespace, name, weight=10) for check in checks.resolved]
    sources = [source for of_check in questions for _, source in of_check]
    sources = [source for source in sources if not isinstance(source, Job)]
    asked = [source.text for source in sources if language in (None, source.LANGUAGE)]
    if folder == WITHOUT_PROMETHEUS:
        assert checks.traffic is None
        return asked
    assert checks.traffic is not None, "every other example counts what each backend gets"
    counters = [source.text for source in traffic_queries(checks.traffic, spec, namespace, name, weight=10)]
    assert len(counters) == len(BACKENDS)
    return [*asked, *counters]


async def start(place: Town, name: str, namespace: str, spec: Json, version: str) -> None:
    """Begin a run as the example does: by a request, or by a new image of the canary."""
    if spec.get("trigger") == "Manual":
        await place.request(name, namespace, "start")
    else:
        canary_ = spec["workloads"]["canary"]
        image = f"registry.example.com/{name}:{version}"
        await place.set_image(canary_["name"], namespace, image, WORKLOADS[canary_.get("kind", "Deployment")])
    await place.until(name, namespace, lambda status: status.get("phase") == "Progressing")


async def finish(place: Town, folder: str) -> None:
    """Approve what asks for it, and do what ends an Await promotion."""
    mine = rollout(folder)
    spec, name, namespace = mine["spec"], mine["metadata"]["name"], mine["metadata"]["namespace"]
    for index, step in enumerate(spec["steps"], 1):
        gate = RolloutSpec.model_validate(spec).steps[index - 1].gate
        if gate is not None and gate.window is not None and not gate.window.open_at(datetime.now(UTC)):
            # Whoever runs this outside of the window of the example does what a person could do.
            await place.until(name, namespace, lambda status: "outside of its window" in status.get("message", ""))
            await place.request(name, namespace, "promote-full")
        if "approval" in step:
            await place.until(name, namespace, lambda status, at=index: (status.get("step") or {}).get("index") == at)
            await place.request(name, namespace, "promote")
    if spec.get("promotion") != "Await":
        await place.until(name, namespace, lambda status: status.get("phase") == "Succeeded")
        return
    await place.until(name, namespace, lambda status: status.get("phase") == "Promoting")
    (stable, canary) = await weights(place, folder)
    assert (stable, canary > 0) == (0, True)
    if "workloads" in spec:
        released = await image(place, spec, "canary", namespace)
        assert await image(place, spec, "stable", namespace) != released
        await place.set_image(spec["workloads"]["stable"]["name"], namespace, released)
    else:
        await place.request(name, namespace, "promote")
    await place.until(name, namespace, lambda status: status.get("phase") == "Succeeded")


async def image(place: Town, spec: Json, role: str, namespace: str) -> str:
    ref = spec["workloads"][role]
    workload = await place.kube.get(WORKLOADS[ref.get("kind", "Deployment")], ref["name"], namespace)
    return str(workload["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.parametrize("folder", FOLDERS)
async def test_lint_finds_nothing(folder: str) -> None:
    """Not even a note, with the templates that we ship at hand."""
    found = await canary("lint", "--strict", str(EXAMPLES / folder), str(DEPLOY / "checks"))
    assert (found.code, found.out[:15]) == (0, "no problems in "), found


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_query_is_promql(folder: str, tmp_path: Path) -> None:
    """Rendered as the controller renders them, Prometheus's own tool accepts all queries."""
    rendered = queries(folder, "PromQL")
    rules = [{"record": f"query:{index}", "expr": text} for index, text in enumerate(rendered)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": folder, "rules": rules}]}))
    assert f"{len(rendered)} rules found" in run(program("promtool"), "check", "rules", file)


async def test_the_observed_share_is_a_number_on_a_real_prometheus() -> None:
    """Each example counts what each backend gets; with series like those that it names, that makes the canary's share."""
    asked = {folder: "{0} / ({0} + {1})".format(*queries(folder)[-2:]) for folder in COUNTING}
    began = time.monotonic()

    def exposition() -> str:
        """Counters of every example's pair: stable serves 90 requests a second, the canary 30."""
        lines, elapsed = [], time.monotonic() - began
        for folder in COUNTING:
            mine = rollout(folder)
            for role, rate in (("stable", 90), ("canary", 30)):
                target = mine["spec"][role]
                where, service = target.get("namespace", mine["metadata"]["namespace"]), target["service"]
                istio = (
                    f'destination_service_namespace="{where}",destination_service_name="{service}",reporter="source"'
                )
                counters = ("http_requests_total", "grpc_server_handled_total", "broker_connections_total")
                lines += [
                    f'{counter}{{namespace="{where}",service="{service}"}} {rate * elapsed}' for counter in counters
                ]
                lines += [f"istio_requests_total{{{istio}}} {rate * elapsed}"]
                envoy = f'envoy_cluster_name="{where}_{service}_{target["port"]}"'
                lines += [f"envoy_cluster_upstream_rq_completed{{{envoy}}} {rate * elapsed}"]
        return "\n".join([*dict.fromkeys(lines), ""])

    async def metrics(_request: web.BaseRequest) -> web.Response:
        return web.Response(text=exposition())

    server = TestServer(web.Application())
    server.app.router.add_get("/metrics", metrics)
    async with server, Prometheus([str(server.make_url("/metrics"))]) as prometheus:
        await prometheus.scraping()
        for folder, query in asked.items():
            for _ in range(200):
                answer = await prometheus.query(query)
                if answer:
                    break
                await asyncio.sleep(0.1)
            (series,) = answer
            assert float(series["value"][1]) == pytest.approx(0.25, abs=0.02), folder


async def test_what_the_gitops_example_says_of_lists_is_so(place: Town, tmp_path: Path) -> None:
    """The patch that it gives Flux fits the route; and its warning holds: a weight that is left out becomes 1."""
    flux = load(EXAMPLES / "gitops" / "flux-kustomization.yaml")[0]
    (tmp_path / "app.yaml").write_text((EXAMPLES / "gitops" / "app.yaml").read_text())
    mine = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["app.yaml"],
        "patches": flux["spec"]["patches"],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(mine))
    patched = [one for one in yaml.safe_load_all(run(program("kubectl"), "kustomize", tmp_path)) if one]
    route = named(patched, "HTTPRoute")
    assert route["metadata"]["annotations"] == {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}

    for ref in route["spec"]["rules"][0]["backendRefs"]:
        del ref["weight"]
    await place.apply([world("gitops")[0], route])
    assert await place.weights("pay", "team-pay") == [1, 1]


def test_argo_cd_is_told_about_the_route_of_the_example() -> None:
    """The Application names the very route, group and namespace."""
    application = load(EXAMPLES / "gitops" / "argocd-application.yaml")[0]["spec"]
    route = named(documents("gitops"), "HTTPRoute")
    (ignored,) = application["ignoreDifferences"]
    assert (ignored["kind"], ignored["name"]) == (route["kind"], route["metadata"]["name"])
    assert route["apiVersion"].startswith(ignored["group"] + "/")
    assert application["destination"]["namespace"] == route["metadata"]["namespace"]
    assert "RespectIgnoreDifferences=true" in application["syncPolicy"]["syncOptions"]


def test_every_example_is_listed() -> None:
    """examples/README.md links each folder."""
    text = (EXAMPLES / "README.md").read_text()
    assert [folder for folder in FOLDERS if f"]({folder}/" not in text] == []
