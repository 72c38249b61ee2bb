"""`canary doctor`: what each judgement rests on, as tables, and the whole examination of a cluster."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cli_kit import NOW, PHASES, Run, canary, conditions, ended, rollout, status
from cluster_kit import api_server, install_all, own_namespace

from canary.cli import examine, health
from canary.cli.classes import accepted_on, gateway_classes
from canary.cli.health import Diagnosis, Level
from canary.kube import (
    CRDS,
    GATEWAYCLASSES,
    GATEWAYS,
    HTTPROUTES,
    LISTENERSETS,
    NAMESPACES,
    ROLLOUTS,
    SERVICES,
    Kube,
    KubeClient,
)
from canary.model.crd import crds
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.run_status import Outcome
from canary.model.status import Phase, RolloutStatus
from canary.model.times import format_time
from canary_sandbox.apiserver import ApiServer, Fault
from canary_sandbox.apiserver.generic import GenericApiServer

NS = own_namespace("team-shop")
OTHER = own_namespace("other")
EDGE = own_namespace("edge")
Json = dict[str, Any]
OK, DOUBT, BROKEN = Level.OK, Level.DOUBT, Level.BROKEN


@pytest.mark.parametrize(
    ("server", "level", "words"),
    [
        (0, OK, "in step"),
        (4, OK, "in step"),
        (-5, OK, "in step"),  # the server's second may have just begun: that is less than five
        (90, DOUBT, "1m30s ahead of this machine's"),
        (-91, DOUBT, "1m30s behind this machine's"),
    ],
)
def test_a_clock_that_is_off_is_told(server: int, level: Level, words: str) -> None:
    """The Date header has whole seconds, so up to one second is nobody's fault."""
    said = health.clock(NOW + timedelta(seconds=server), NOW, NOW)
    assert said.level is level
    assert words in said.message


def installed() -> dict[str, Json]:
    """Our CRDs as a real server gives them back: established, with what it fills in; what is empty makes no difference."""
    found = {}
    for document in crds().values():
        kept = copy.deepcopy(document)
        kept["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        kept["spec"]["conversion"] = {"strategy": "None"}
        found[kept["metadata"]["name"]] = kept
    steps = found["rollouts.canary.dev"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]["steps"]
    steps["items"]["properties"]["approval"]["required"] = []  # as good as not there
    return found


def test_crds_are_compared_with_this_version() -> None:
    """Equal but for what servers add; different with the place; not installed, not served, of another version."""
    assert [item.level for item in health.definitions(installed())] == [OK] * 5

    other = installed()
    version = other["rollouts.canary.dev"]["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["paused"]["default"] = True
    differs, *_ = health.definitions(other)
    assert differs.level is DOUBT
    assert "differs from this version's in schema.openAPIV3Schema.properties.spec.properties.paused.default" in (
        differs.message
    )

    version["name"] = "v1"
    wrong, *_ = health.definitions(other)
    assert (wrong.level, wrong.message) == (BROKEN, "rollouts.canary.dev has v1, and no v1alpha1")

    other["rollouts.canary.dev"]["status"] = {
        "conditions": [{"type": "Established", "status": "False", "message": "no"}]
    }
    del other["checktemplates.canary.dev"]
    levels = [(item.level, item.message) for item in health.definitions(other)]
    assert levels[0] == (BROKEN, "rollouts.canary.dev is not served: no")
    assert levels[1] == (BROKEN, "checktemplates.canary.dev is not installed")
    assert levels[2][0] is OK


def definition(kind: str, *versions: str, **annotations: str) -> dict[str, Json]:
    name = f"{kind.lower()}s.gateway.networking.k8s.io"
    return {
        name: {
            "metadata": {"name": name, "annotations": {key.replace("_", "-"): v for key, v in annotations.items()}},
            "spec": {"names": {"kind": kind}, "versions": [{"name": version, "served": True} for version in versions]},
        }
    }


def test_the_gateway_api_is_named_with_its_version() -> None:
    """Bundle, channel and kinds; without any kind of route nothing works, and HTTPRoute has to be v1."""
    bundle = {health.BUNDLE: "v1.2.1", health.CHANNEL: "standard"}
    whole = definition("HTTPRoute", "v1", "v1beta1") | definition("ReferenceGrant", "v1beta1")
    whole["httproutes.gateway.networking.k8s.io"]["metadata"]["annotations"] = bundle
    said = health.gateway_api(whole)
    assert said.level is OK
    assert said.message == "v1.2.1 (standard): HTTPRoute v1/v1beta1, ReferenceGrant v1beta1"
    assert health.gateway_api(definition("HTTPRoute", "v1")).message.endswith("without ReferenceGrant")
    assert health.gateway_api(definition("HTTPRoute", "v1beta1")).level is BROKEN
    assert health.gateway_api({}).level is BROKEN
    assert health.gateway_api(definition("ReferenceGrant", "v1")).level is BROKEN
    said = health.gateway_api(definition("TCPRoute", "v1alpha2") | definition("ReferenceGrant", "v1"))
    assert (said.level, said.message) == (OK, "of no stated version: ReferenceGrant v1, TCPRoute v1alpha2")


def gateway_class(accepted: str | None, *features: Any) -> Json:
    said = [] if accepted is None else [{"type": "Accepted", "status": accepted, "reason": "R", "message": "m"}]
    return {
        "metadata": {"name": "edge"},
        "spec": {"controllerName": "example.com/gateway"},
        "status": {"conditions": said, **({"supportedFeatures": list(features)} if features else {})},
    }


@pytest.mark.parametrize(
    ("classes", "level", "words"),
    [
        ([], BROKEN, "there is none"),
        ([gateway_class("True", {"name": "HTTPRouteRequestMirror"}, {"name": "X"})], OK, "HTTPRouteRequestMirror"),
        ([gateway_class("True", "HTTPRouteRequestPercentageMirror")], OK, "HTTPRouteRequestPercentageMirror"),
        ([gateway_class("True", {"name": "X"})], OK, "1 feature, of the mirrors none"),
        ([gateway_class("True")], DOUBT, "lists no supportedFeatures"),
        ([gateway_class("False")], DOUBT, "not accepted (R: m)"),
        ([gateway_class(None)], DOUBT, "not accepted (nobody has answered)"),
    ],
)
def test_gateway_classes_say_what_they_can(classes: list[Json], level: Level, words: str) -> None:
    """Features as objects or, before v1.1 of the Gateway API, as text."""
    (said,) = gateway_classes(classes)
    assert said.level is level
    assert words in said.message


def test_a_class_that_nobody_accepts_may_be_served_all_the_same() -> None:
    """Contour, told which Gateway is its own, never accepts the class: where routes are accepted nobody asks who runs."""
    (said,) = gateway_classes([gateway_class(None)], {"edge": 3})
    assert (said.level, said.advice) == (OK, "")
    assert said.message == "nobody accepts the class itself, but 3 routes are accepted on its Gateways: it is served"
    (other,) = gateway_classes([gateway_class(None)], {"another": 3})
    assert other.level is DOUBT
    assert "is the controller example.com/gateway running?" in other.advice


def answered(generation: int = 2, seen: int = 2, status: str = "True", **ref: str) -> Json:
    said = [{"type": "Accepted", "status": status, "observedGeneration": seen}]
    return {
        "metadata": {"namespace": NS, "generation": generation},
        "status": {"parents": [{"parentRef": {"name": "gw", **ref}, "conditions": said}]},
    }


@pytest.mark.parametrize(
    ("route", "gateways"),
    [
        (answered(), {(NS, "gw"): 1}),
        (answered(namespace="edge"), {("edge", "gw"): 1}),
        (answered(seen=1), {}),  # of a generation before
        (answered(status="False"), {}),
        (answered(kind="Service"), {}),  # a mesh
        ({"metadata": {"namespace": NS}}, {}),
    ],
)
def test_a_gateway_that_accepts_routes_is_one_that_somebody_serves(route: Json, gateways: Json) -> None:
    """Counted by Gateway, at the routes' current generation."""
    assert accepted_on([route]) == gateways
    assert accepted_on([route, route]) == dict.fromkeys(gateways, 2)


def test_rights_that_are_needed_and_rights_that_are_useful() -> None:
    """Without the first the CLI cannot work; without the others it can, and says what it cannot do."""
    everything = dict.fromkeys(health.RIGHTS, True)
    assert health.rights(everything, NS).level is OK
    useful = health.rights({right: right.needed for right in health.RIGHTS}, NS)
    assert useful.level is DOUBT
    assert "delete rollouts" in useful.message
    needed = health.rights({**everything, health.RIGHTS[3]: False}, NS)
    assert (needed.level, needed.message) == (BROKEN, f"in namespace {NS} you may not patch rollouts")


def written(found: RolloutStatus | None, *, spec: float, seen: float | None, **metadata: Any) -> Json:
    """A Rollout whose spec was written `spec` seconds ago, and its status `seen` seconds ago."""
    times = [("f:spec", spec)] + ([("f:status", seen)] if seen is not None else [])
    fields = [{"time": format_time(NOW - timedelta(seconds=ago)), "fieldsV1": {name: {}}} for name, ago in times]
    return rollout(
        found, **{"managedFields": fields, "creationTimestamp": format_time(NOW - timedelta(days=9))} | metadata
    )


def asked(seconds: float, **more: str) -> dict[str, str]:
    at = format_time(NOW - timedelta(seconds=seconds))
    return {REQUEST_ANNOTATION: json.dumps({"id": "r-9", "verb": "abort", "at": at, **more})}


CONTROLLER: list[tuple[list[Json], Level, str]] = [
    ([], DOUBT, "no Rollout here to tell by"),
    ([written(PHASES[Phase.IDLE], spec=900, seen=30)], OK, "wrote a status 30s ago"),
    ([written(PHASES[Phase.IDLE], spec=900, seen=7200)], DOUBT, "it wrote last 2h ago, and an idle controller writes"),
    ([written(None, spec=10, seen=None)], DOUBT, "it has written no status yet"),
    ([written(None, spec=120, seen=None)], BROKEN, "has no status, 2m after it was written"),
    ([written(status(), spec=120, seen=30, generation=4)], BROKEN, "is at generation 4, its status at 3"),
    ([written(status(), spec=20, seen=30, generation=4)], OK, "wrote a status 30s ago"),
    (
        [written(status(), spec=900, seen=30, annotations=asked(95))],
        BROKEN,
        "'abort' on Rollout team-shop/shop has waited",
    ),
    ([written(status(), spec=900, seen=30, annotations=asked(5))], OK, "nothing waits for it"),
    ([written(status(), spec=900, seen=30, annotations=asked(95, id="r-1"))], OK, "nothing waits"),  # it is answered
]


@pytest.mark.parametrize(("rollouts", "level", "words"), CONTROLLER)
def test_a_controller_is_known_by_what_it_writes(rollouts: list[Json], level: Level, words: str) -> None:
    """What waits for it for too long is a sign that it is not there; silence of an idle one is no sign at all."""
    said = health.controller(rollouts, NOW)
    assert said.level is level
    assert words in said.message


def test_rollouts_that_need_somebody_are_listed() -> None:
    """Invalid and Stalled each with its words; others are not."""
    assert not [*health.troubled([rollout(status()), rollout(PHASES[Phase.IDLE])])]
    stuck = conditions("Contested", ready="False", stalled="True")
    lines = list(
        health.troubled(
            [
                rollout(status()),
                rollout(PHASES[Phase.INVALID]),
                rollout(status(Phase.PAUSED, message="who raises it?", conditions=stuck)),
            ]
        )
    )
    assert [item.level for item in lines] == [BROKEN, BROKEN]
    assert lines[0].message.startswith("Invalid: spec.routes: no rule of route shop")
    assert lines[1].message == "Stalled (Contested): who raises it?"
    assert "canary explain shop -n team-shop" in lines[1].advice


@pytest.mark.parametrize("reason", ["Aborted", "CheckFailed"])
def test_a_release_that_was_taken_back_is_no_broken_installation(reason: str) -> None:
    """An abort needs nobody; a release that failed says how to go on; neither makes `doctor` fail."""
    gone = PHASES[Phase.ROLLED_BACK].model_copy(
        update={
            "run": ended(Outcome.ROLLED_BACK, reason=reason),
            "conditions": conditions(reason, reconciling="False", stalled="True"),
        }
    )
    found = [*health.troubled([rollout(gone)], "kubectl canary")]
    if reason == "Aborted":
        assert not found
    else:
        (said,) = found
        assert (said.name, said.level) == ("Rollout team-shop/shop", DOUBT)
        assert said.message == "run 7 was rolled back: error-rate: 0.12 > 0.01"
        assert "`kubectl canary retry shop -n team-shop`" in said.advice


AGAINST = [
    ([], True),
    ([Diagnosis("controller", DOUBT, "it wrote last an hour ago")], True),
    ([Diagnosis("controller", BROKEN, "a request has waited for an hour")], False),
    (
        [Diagnosis("Rollout team-shop/shop", BROKEN, "no run could work now (ParentMissing): there is no Gateway")],
        False,
    ),
    ([Diagnosis("Rollout team-shop/shop", DOUBT, "run 7 was rolled back")], False),
    ([Diagnosis("Rollout other/shop", BROKEN, "of another list")], True),
    ([Diagnosis("API server", OK, "fine"), Diagnosis("preflight", DOUBT, "you may not list gateways")], True),
]


@pytest.mark.parametrize(("found", "said"), AGAINST)
def test_that_nothing_is_known_is_said_of_rollouts_of_which_no_line_says_otherwise(
    found: list[Diagnosis], said: bool
) -> None:
    """Whoever found it, in a status, around the routes or among the Secrets."""
    lines = [*health.untroubled([rollout(status())], found)]
    assert [item.level for item in lines] == [OK] * said
    assert all(item.message == "1, and nothing is known against any of them" for item in lines)


class Cluster:
    """An API server with everything that canary needs but a controller; the test writes what that would write."""

    def __init__(self, api: GenericApiServer, kube: Kube, config: Path) -> None:
        self.api, self.kube, self.config = api, kube, config

    async def doctor(self, *arguments: str, **env: str) -> Run:
        return await canary("doctor", *arguments, **{"KUBECONFIG": str(self.config), **env})

    async def lines(self, *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
        """The exit code, and (level, message) by name."""
        ran = await self.doctor("-o", "json", *arguments)
        document = json.loads(ran.out)
        assert document["ok"] is (ran.code == 0)
        return ran.code, {item["name"]: (item["level"], item["message"]) for item in document["checks"]}

    async def furnish(self, namespace: str) -> None:
        """What the Rollouts of these tests name, all of it accepted."""
        spec = rollout(None)["spec"]
        listener = {"name": "http", "port": 80, "protocol": "HTTP"}
        gateway = {"apiVersion": GATEWAYS.api_version, "kind": "Gateway", "metadata": {"name": "gw"}}
        gateway["spec"] = {"gatewayClassName": EDGE, "listeners": [listener]}
        await self.kube.create(GATEWAYS, gateway, namespace)
        refs = []
        for role, weight in (("stable", 1), ("canary", 0)):
            service, port = spec[role]["service"], spec[role]["port"]
            document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": service}}
            await self.kube.create(SERVICES, {**document, "spec": {"ports": [{"port": port}]}}, namespace)
            refs.append({"name": service, "port": port, "weight": weight})
        for ref in spec["routes"]:
            document = {"apiVersion": HTTPROUTES.api_version, "kind": "HTTPRoute", "metadata": {"name": ref["name"]}}
            document["spec"] = {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": refs}]}
            await self.kube.create(HTTPROUTES, document, namespace)
            await self.answer(namespace, ref["name"])

    async def answer(self, namespace: str, name: str, **no: str) -> None:
        """What the Gateway says of a route: yes, or no to a condition for a reason."""
        now = format_time(datetime.now(UTC))
        said = [
            {
                "type": kind,
                "status": "False" if kind in no else "True",
                "reason": no.get(kind, kind),
                "message": "because",
                "observedGeneration": 1,
                "lastTransitionTime": now,
            }
            for kind in ("Accepted", "ResolvedRefs")
        ]
        parent = {"parentRef": {"name": "gw"}, "controllerName": "example.com/static", "conditions": said}
        await self.kube.merge_patch(
            HTTPROUTES, name, namespace, {"status": {"parents": [parent]}}, subresource="status"
        )

    async def create(self, name: str, found: RolloutStatus, namespace: str = NS) -> None:
        document = rollout(None)
        document["metadata"] = {"name": name, "namespace": namespace}
        await self.kube.create(ROLLOUTS, document)
        body = {"status": found.model_copy(update={"observed_generation": 1}).dump()}
        await self.kube.merge_patch(ROLLOUTS, name, namespace, body, subresource="status")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api_server() as api:
        await install_all(api)
        config = api.kubeconfig(tmp_path / "config", namespace=NS)
        async with await KubeClient.connect(kubeconfig=str(config)) as kube:
            for name in (NS, OTHER):
                await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            edge = {"apiVersion": GATEWAYCLASSES.api_version, "kind": "GatewayClass", "metadata": {"name": EDGE}}
            await kube.create(GATEWAYCLASSES, {**edge, "spec": {"controllerName": "example.com/gateway"}})
            yes = {"type": "Accepted", "status": "True", "reason": "Accepted", "message": ""}
            yes["lastTransitionTime"] = format_time(datetime.now(UTC))
            said = {"conditions": [yes], "supportedFeatures": [{"name": "HTTPRouteRequestMirror"}]}
            await kube.merge_patch(GATEWAYCLASSES, EDGE, None, {"status": said}, subresource="status")
            found = Cluster(api, kube, config)
            for namespace in (NS, OTHER):
                await found.furnish(namespace)
            yield found


@pytest.fixture
async def prometheus() -> AsyncIterator[str]:
    """Answers the one question that is asked, in the words of the HTTP API."""

    async def query(request: web.Request) -> web.Response:
        given = {**request.query, **await request.post()}
        if given.get("query") != "vector(1)":
            return web.json_response({"status": "error", "errorType": "bad_data", "error": "what?"}, status=400)
        result = [{"metric": {}, "value": [time.time(), "1"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    async for url in serve(query):
        yield url


async def serve(query: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/api/v1/query", query)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_healthy_cluster_ends_with_0(cluster: Cluster, prometheus: str) -> None:
    """A line each with a tick, for people; nothing is written but the questions about rights."""
    await cluster.create("shop", PHASES[Phase.IDLE])
    ran = await cluster.doctor("--prometheus-url", prometheus)
    assert (ran.code, ran.err) == (0, "")
    assert [line.partition(":")[0] for line in ran.out.splitlines()] == [
        f"✓ {name}"
        for name in (
            "API server",
            "clock",
            "CRD Rollout",
            "CRD CheckTemplate",
            "CRD ClusterCheckTemplate",
            "CRD NotificationTarget",
            "CRD ClusterNotificationTarget",
            "Gateway API",
            f"GatewayClass {EDGE}",
            "your rights",
            "controller",
            "Rollouts",
            "Prometheus",
        )
    ]
    assert cluster.api.token not in ran.out
    changed = [e.resource for e in cluster.api.audit if "cli" in e.user_agent and e.verb not in {"get", "list"}]
    assert set(changed) == {"selfsubjectaccessreviews"}


async def test_what_is_broken_ends_with_1_and_says_what_to_do(cluster: Cluster) -> None:
    """Rollouts of the namespace, of all with -A; a Prometheus that is not there."""
    await cluster.create("shop", PHASES[Phase.IDLE])
    await cluster.create("bad", PHASES[Phase.INVALID], OTHER)
    here, everywhere = await asyncio.gather(
        cluster.lines(), cluster.lines("-A", "--prometheus-url", "http://127.0.0.1:9")
    )
    code, found = here
    assert code == 0
    assert found["Rollouts"] == ("ok", "1, and nothing is known against any of them")
    assert found["Prometheus"][0] == "doubt"
    code, found = everywhere
    assert code == 1
    assert found[f"Rollout {OTHER}/bad"][0] == "broken"
    assert found["Prometheus"][0] == "broken"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ([{"metric": {}, "value": [0, "2"]}], "says that vector(1) is 2, so it is no Prometheus"),
        ([], "gave nothing for vector(1), so it is no Prometheus"),
        (
            [{"metric": {"a": "1"}, "value": [0, "1"]}, {"metric": {"a": "2"}, "value": [0, "1"]}],
            "2 series",
        ),
    ],
)
async def test_a_server_that_is_no_prometheus_is_told_in_words(result: list[Json], words: str) -> None:
    """Whatever it answers: a sentence, and nothing that only a programmer could read."""

    async def query(_: web.Request) -> web.Response:
        now = [{**one, "value": [time.time(), one["value"][1]]} for one in result]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": now}})

    async for url in serve(query):
        (said,) = await examine.prometheus(url)
    assert said.level is BROKEN
    assert words in said.message
    assert not [word for word in ("Sample(", "NoData(", "datetime", "query=") if word in said.message]


async def test_a_gateway_class_is_judged_by_the_routes_too(cluster: Cluster) -> None:
    """The route's Gateway leads to its class."""
    await cluster.create("shop", PHASES[Phase.IDLE])
    no = {"type": "Accepted", "status": "Unknown", "reason": "Pending", "message": "Waiting for controller"}
    no["lastTransitionTime"] = format_time(datetime.now(UTC))
    await cluster.kube.merge_patch(GATEWAYCLASSES, EDGE, None, {"status": {"conditions": [no]}}, subresource="status")
    await cluster.kube.delete(HTTPROUTES, "shop", NS)
    assert (await cluster.lines())[1][f"GatewayClass {EDGE}"][0] == "doubt"
    route = {"apiVersion": HTTPROUTES.api_version, "kind": "HTTPRoute", "metadata": {"name": "shop", "namespace": NS}}
    made = await cluster.kube.create(HTTPROUTES, {**route, "spec": {"parentRefs": [{"name": "gw"}]}})
    yes = {**no, "status": "True", "reason": "Accepted", "observedGeneration": made["metadata"]["generation"]}
    parent = {"parentRef": {"name": "gw"}, "controllerName": "example.com/static", "conditions": [yes]}
    await cluster.kube.merge_patch(HTTPROUTES, "shop", NS, {"status": {"parents": [parent]}}, subresource="status")
    assert (await cluster.lines())[1][f"GatewayClass {EDGE}"] == (
        "ok",
        "nobody accepts the class itself, but 1 route is accepted on its Gateways: it is served",
    )


async def test_what_the_controller_would_object_to_is_told_by_doctor_too(cluster: Cluster) -> None:
    """A route that its gateway refuses, a Service that is gone, and a right that is missing to find more."""
    await cluster.create("shop", PHASES[Phase.IDLE])
    assert (await cluster.lines())[0] == 0
    await cluster.answer(NS, "shop", Accepted="NotAllowedByListeners")
    code, found = await cluster.lines()
    level, words = found[f"Rollout {NS}/shop"]
    assert (code, level) == (1, "broken")
    assert words.startswith(
        "no run could work now (NotAllowedByListeners): HTTPRoute shop is not served: Gateway gw says"
    )
    assert "Rollouts" not in found
    await cluster.answer(NS, "shop")
    service = rollout(None)["spec"]["canary"]["service"]
    await cluster.kube.delete(SERVICES, service, NS)
    here, everywhere = await asyncio.gather(cluster.lines(), cluster.lines("-A"))
    for code, found in (here, everywhere):
        assert (code, found[f"Rollout {NS}/shop"][0]) == (1, "broken")
        assert f"(BackendNotFound): there is no Service {service} in namespace {NS}" in found[f"Rollout {NS}/shop"][1]
    cluster.api.faults.add(Fault(verb="list", resource="services", status=403))
    code, found = await cluster.lines()
    assert code == 0
    assert f"Rollout {NS}/shop" not in found
    assert found["preflight"] == (
        "doubt",
        f"you may not list services in namespace {NS}, so nothing is said about what that would show",
    )


async def test_the_label_that_a_namespace_lacks_is_told(cluster: Cluster) -> None:
    """Or the right that is missing to find it out, where a Gateway chooses by labels whose ListenerSets it takes."""
    await cluster.create("shop", PHASES[Phase.IDLE])
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    mine = {"apiVersion": LISTENERSETS.api_version, "kind": "ListenerSet", "metadata": {"name": "mine"}}
    mine["spec"] = {"parentRef": {"name": "far", "namespace": OTHER}, "listeners": [listener]}
    await cluster.kube.create(LISTENERSETS, mine, NS)
    far = {"apiVersion": GATEWAYS.api_version, "kind": "Gateway", "metadata": {"name": "far"}}
    sets = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"sets": "yes"}}}}
    far["spec"] = {"gatewayClassName": EDGE, "listeners": [listener], "allowedListeners": sets}
    await cluster.kube.create(GATEWAYS, far, OTHER)
    spec = {"parentRefs": [{"kind": "ListenerSet", "name": "mine"}]}
    await cluster.kube.merge_patch(HTTPROUTES, "shop", NS, {"spec": spec})
    code, found = await cluster.lines()
    assert (code, found[f"Rollout {NS}/shop"][0]) == (1, "broken")
    words = f"(NotAllowedByListeners): Gateway {OTHER}/far takes ListenerSets of namespaces with sets=yes only"
    assert words in found[f"Rollout {NS}/shop"][1]
    fault = cluster.api.faults.add(Fault(verb="get", resource="namespaces", status=403, times=None))
    code, found = await cluster.lines()
    assert found["preflight"] == (
        "doubt",
        f"you may not get namespace {NS}, so nothing is said about what that would show",
    )
    assert "(RouteNotAttached)" in found[f"Rollout {NS}/shop"][1]
    cluster.api.faults.remove(fault)
    await cluster.kube.merge_patch(NAMESPACES, NS, None, {"metadata": {"labels": {"sets": "yes"}}})
    assert "(RouteNotAttached)" in (await cluster.lines("-A"))[1][f"Rollout {NS}/shop"][1]


@pytest.mark.sandbox_only("takes a definition away: those of a real server are the whole session's")
async def test_a_definition_that_is_missing_is_told(cluster: Cluster) -> None:
    """With what to apply; in ASCII where Unicode cannot go."""
    await cluster.kube.delete(CRDS, "checktemplates.canary.dev")
    code, found = await cluster.lines()
    assert code == 1
    assert found["CRD CheckTemplate"] == ("broken", "checktemplates.canary.dev is not installed")
    text = await cluster.doctor(PYTHONIOENCODING="ascii")
    assert "x CRD CheckTemplate: checktemplates.canary.dev is not installed; apply this version's" in text.out


async def test_an_app_team_that_may_not_read_definitions_still_gets_answers(cluster: Cluster) -> None:
    """403 on CRDs and GatewayClasses is usual: discovery says what is served, and that it was not compared."""
    await cluster.create("shop", PHASES[Phase.IDLE])
    for resource in ("customresourcedefinitions", "gatewayclasses"):
        cluster.api.faults.add(Fault(verb="list", resource=resource, status=403))
    code, found = await cluster.lines()
    assert code == 0
    assert found["CRD Rollout"][0] == "doubt"
    assert found["CRD Rollout"][1].startswith("served as v1alpha1; you may not read CRDs")
    assert found["CRD HTTPRoute"][1].startswith("served as v1;")
    assert found["GatewayClass"] == ("doubt", "you may not read them")


async def test_rights_are_asked_for_the_kinds_of_route_that_rollouts_name(cluster: Cluster) -> None:
    """Whoever names a GRPCRoute has to be able to read it; of kinds that nobody names nothing is asked."""
    await cluster.create("shop", PHASES[Phase.IDLE])
    await cluster.kube.merge_patch(ROLLOUTS, "shop", NS, {"spec": {"routes": [{"kind": "GRPCRoute", "name": "shop"}]}})
    cluster.api.audit.clear()
    await cluster.lines()
    asked = sum(entry.resource == "selfsubjectaccessreviews" for entry in cluster.api.audit)
    assert asked == len(health.RIGHTS) + 2


@pytest.mark.sandbox_only("a server without our definitions: those of a real one are the whole session's")
async def test_a_cluster_without_canary_or_without_an_answer(tmp_path: Path) -> None:
    """Lines, not a traceback; what cannot be asked any more is left out."""
    async with ApiServer() as api:
        config = {"KUBECONFIG": str(api.kubeconfig(tmp_path / "config"))}
        bare = await canary("doctor", "-o", "json", **config)
    gone, none = await asyncio.gather(
        canary("doctor", **config), canary("doctor", KUBECONFIG=str(tmp_path / "nowhere"))
    )
    found = {item["name"]: item["level"] for item in json.loads(bare.out)["checks"]}
    assert bare.code == gone.code == none.code == 1
    assert (found["CRD Rollout"], found["Gateway API"], found["API server"]) == ("broken", "broken", "ok")
    assert "controller" not in found
    assert gone.out.startswith("✗ API server: the API server cannot be reached")
    assert none.out.startswith("✗ kubeconfig: there is no kubeconfig at")
    assert all(ran.out.splitlines()[-1].startswith("! Prometheus: not asked") for ran in (gone, none))


def test_levels_are_words_that_programs_may_rely_on() -> None:
    """In -o json."""
    assert {level.value for level in Level} == {"ok", "doubt", "broken"}
    assert Diagnosis("n", OK, "m").advice == ""
