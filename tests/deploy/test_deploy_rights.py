"""An installation is applied, and a controller lives a life there with exactly the rights that were rendered."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from definitions import concise, policy_definition, remove, scaled_object_definition
from definitions import install as define
from deploy_kit import (
    ACCOUNT,
    HELD,
    OVERLAYS,
    ROOT,
    SYSTEM,
    TEAM,
    USER,
    Grant,
    Town,
    grants,
    judge,
    kustomized,
    load,
    named,
    overlay_with,
    templated,
)

from canary.controller.jobs import JOBS_ACCOUNT, NEEDED
from canary.controller.run import providers
from canary.controller.settings import Settings
from canary.decide.copying import copy_annotation
from canary.kube import (
    DAEMONSETS,
    DEPLOYMENTS,
    EVENTS,
    HISTORIES,
    HTTPROUTES,
    JOBS,
    ROLLOUTS,
    ROUTES,
    STATEFULSETS,
    WORKLOADS,
    KubeClient,
    Resource,
)
from canary.metrics.scripted import Scripted
from canary.metrics.secrets import KEPT
from canary_sandbox.apiserver.faults import Fault

pytestmark = pytest.mark.timeout(180)

Json = dict[str, Any]

MONITORING = tuple(f"monitoring.{part}.enabled=true" for part in ("serviceMonitor", "prometheusRule", "dashboard"))

TEAM_OBJECTS = f"""
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: public, namespace: {TEAM}}}
spec:
  gatewayClassName: town
  listeners: [{{name: http, port: 80, protocol: HTTP}}]
---
apiVersion: v1
kind: Service
metadata: {{name: shop-stable, namespace: {TEAM}}}
spec: {{ports: [{{port: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop-canary, namespace: {TEAM}}}
spec: {{ports: [{{port: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop-comparer, namespace: {TEAM}}}
spec: {{ports: [{{port: 8080}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: shop-comparer-1, namespace: {TEAM}, labels: {{kubernetes.io/service-name: shop-comparer}}}}
addressType: IPv4
endpoints: [{{addresses: [192.0.2.9], conditions: {{ready: true}}}}]
ports: [{{port: 8080}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop, namespace: {TEAM}}}
spec:
  parentRefs: [{{name: public}}]
  rules:
    - matches: [{{method: GET}}]
      backendRefs:
        - {{name: shop-stable, port: 8080, weight: 1}}
        - {{name: shop-canary, port: 8080, weight: 0}}
"""


def route_of(kind: str) -> Json:
    """A route of any kind: what they have in common, and the hostnames that a TLSRoute must have."""
    refs = [{"name": f"shop-{role}", "port": 8080, "weight": int(role == "stable")} for role in ("stable", "canary")]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": "shop", "namespace": TEAM},
        "spec": {
            "parentRefs": [{"name": "public"}],
            "rules": [{"backendRefs": refs}],
            **({"hostnames": ["shop.example.org"]} if kind == "TLSRoute" else {}),
        },
    }


def namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def pair(resource: Resource) -> list[Json]:
    """Two workloads of a kind, a route of their own, and a Rollout about them."""
    name = resource.kind.lower()
    workloads = [
        {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": f"{name}-{role}", "namespace": TEAM},
            "spec": {
                "selector": {"matchLabels": {"app": role}},
                "template": {
                    "metadata": {"labels": {"app": role}},
                    "spec": {"containers": [{"name": "shop", "image": "shop:1"}]},
                },
            },
        }
        for role in ("stable", "canary")
    ]
    route = next(one for one in yaml.safe_load_all(TEAM_OBJECTS) if one["kind"] == "HTTPRoute")
    rollout = {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": TEAM},
        "spec": {
            "routes": [{"name": name}],
            "stable": {"service": "shop-stable", "port": 8080},
            "canary": {"service": "shop-canary", "port": 8080},
            "workloads": {role: {"kind": resource.kind, "name": f"{name}-{role}"} for role in ("stable", "canary")},
            "steps": [{"weight": 100}],
            **({"scale": {"canary": 2, "drain": "1s"}} if resource is STATEFULSETS else {}),
        },
    }
    return [*workloads, route | {"metadata": {"name": name, "namespace": TEAM}}, rollout]


def team() -> list[Json]:
    """A Gateway, three Services, routes, two Deployments and a Rollout that uses every kind of object there is for it."""
    deployments = [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": f"shop-{role}", "namespace": TEAM},
            "spec": {
                "selector": {"matchLabels": {"app": role}},
                "template": {
                    "metadata": {"labels": {"app": role}},
                    "spec": {"containers": [{"name": "shop", "image": "shop:1"}]},
                },
            },
        }
        for role in ("stable", "canary")
    ]
    template = {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "ClusterCheckTemplate",
        "metadata": {"name": "errors"},
        "spec": {
            "prometheus": {"query": 'errors{service="{{ canary.service }}"}'},
            "interval": "5s",
            "threshold": {"max": "1%"},
        },
    }
    own = {**template, "kind": "CheckTemplate", "metadata": {"name": "own-errors", "namespace": TEAM}}
    comparer = {"service": "shop-comparer", "port": 8080}
    mirror = {"percent": 20, "comparer": comparer}
    rollout = {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "shop", "namespace": TEAM},
        "spec": {
            "routes": [{"kind": kind, "name": "shop"} for kind in ROUTES],
            "stable": {"service": "shop-stable", "port": 8080},
            "canary": {"service": "shop-canary", "port": 8080},
            "workloads": {"stable": {"name": "shop-stable"}, "canary": {"name": "shop-canary"}},
            "steps": [
                {"weight": 10, "mirror": mirror, "hold": "10s"},
                {"approval": {}},
                {"weight": 100, "hold": "10s"},
            ],
            "checks": [
                {"template": {"name": "errors", "kind": "ClusterCheckTemplate"}},
                {"template": {"name": "own-errors", "kind": "CheckTemplate"}},
            ],
        },
    }
    hook = {"http": {"url": "https://hooks.example.com/canary"}}  # no allowed host: which is said in its status
    targets = [
        {
            "apiVersion": "canary.dev/v1alpha1",
            "kind": f"{scope}NotificationTarget",
            "metadata": {"name": "hook", **({} if scope else {"namespace": TEAM})},
            "spec": hook,
        }
        for scope in ("", "Cluster")
    ]
    others = [route_of(kind) for kind in ROUTES if kind != "HTTPRoute"]
    return [*yaml.safe_load_all(TEAM_OBJECTS), *others, *deployments, template, own, *targets, rollout]


async def install(place: Town, documents: list[Json], *, definitions: bool) -> None:
    """The namespaces that an administrator makes first, and the installation."""
    await place.apply([namespace("canary-system"), namespace(TEAM)])
    await place.install(documents, definitions=definitions)


async def lose_record(place: Town, resource: Resource, name: str, image: str = "shop:3") -> None:
    """Somebody strips the record of a copy, and the run is aborted: what was replaced is looked for in the workload's history."""
    stable = f"{name}-stable"
    await place.annotate(resource, stable, TEAM, **{HELD: "yes"})
    await place.set_image(f"{name}-canary", TEAM, image, resource)
    await place.until(name, TEAM, lambda status: f"waiting for {stable} to roll out" in status.get("message", ""))
    await place.annotate(resource, stable, TEAM, **{copy_annotation(name): None})
    await place.request(name, TEAM, "abort")
    await place.until(name, TEAM, lambda status: status.get("phase") == "RolledBack")
    await place.annotate(resource, stable, TEAM, **{HELD: None})


async def live(place: Town, *namespaces: str) -> None:
    """Copy, promotion, rollback, writes that somebody else got in between of, deletion in the middle of a run; Events."""
    provider = Scripted({"errors": 0.0})
    await place.apply([scaled_object_definition()])
    documents = team()
    documents[-1]["spec"]["scale"] = {"canary": 2, "drain": "1s"}
    async with place.controller(provider, *namespaces, lease=True):
        await place.apply(documents)
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Idle")

        for resource in ROUTES.values():
            place.api.faults.add(Fault(verb="patch", resource=resource.plural, subresource="", status=409, user=USER))
        await place.set_image("shop-canary", TEAM, "shop:2")
        await place.until("shop", TEAM, lambda status: (status.get("step") or {}).get("index") == 2)
        await place.request("shop", TEAM, "promote")
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Succeeded")
        await place.until("shop", TEAM, lambda status: "scale" not in status)
        assert (await place.kube.get(DEPLOYMENTS, "shop-canary", TEAM))["spec"]["replicas"] == 0

        await place.annotate(DEPLOYMENTS, "shop-stable", TEAM, **{HELD: "yes"})
        await place.set_image("shop-canary", TEAM, "shop:lost")
        await place.until("shop", TEAM, lambda status: (status.get("step") or {}).get("index") == 2)
        await place.request("shop", TEAM, "promote")
        await place.until("shop", TEAM, lambda status: "waiting for shop-stable to roll out" in status["message"])
        await place.annotate(DEPLOYMENTS, "shop-stable", TEAM, **{copy_annotation("shop"): None})
        await place.request("shop", TEAM, "abort")
        await place.until("shop", TEAM, lambda status: status.get("phase") == "RolledBack" and "scale" not in status)
        await place.annotate(DEPLOYMENTS, "shop-stable", TEAM, **{HELD: None})
        assert (await place.kube.get(DEPLOYMENTS, "shop-canary", TEAM))["spec"]["replicas"] == 0

        for resource in (STATEFULSETS, DAEMONSETS):
            name = resource.kind.lower()
            await place.apply(pair(resource))
            await place.until(name, TEAM, lambda status: status.get("phase") == "Idle")
            await place.set_image(f"{name}-canary", TEAM, "shop:2", resource)
            await place.until(name, TEAM, lambda status: status.get("phase") == "Succeeded" and "scale" not in status)

        for resource in (STATEFULSETS, DAEMONSETS):
            name = resource.kind.lower()
            await lose_record(place, resource, name)

        await place.set_image("shop-canary", TEAM, "shop:3")
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Progressing")
        provider.answers["errors"] = 0.5
        await place.until("shop", TEAM, lambda status: status.get("phase") == "RolledBack")

        provider.answers["errors"] = 0.0
        await place.set_image("shop-canary", TEAM, "shop:4")
        await place.until("shop", TEAM, lambda status: (status.get("split") or {}).get("accepted") == 10)
        await place.kube.delete(ROLLOUTS, "shop", TEAM)
        await place.gone("shop", TEAM)
    assert await place.weights("shop", TEAM) == [1, 0]
    route = await place.kube.get(HTTPROUTES, "shop", TEAM)
    assert "run.canary.dev/shop" not in (route["metadata"].get("annotations") or {})
    reasons = {event["reason"] for event in (await place.kube.list(EVENTS, TEAM))["items"]}
    assert {"RunStarted", "Succeeded", "RolledBack"} <= reasons


def check_rights(place: Town, documents: list[Json]) -> None:
    """Every request of the controller is allowed by what was rendered, and every verb that was rendered was needed."""
    granted = grants(documents)
    requests = [entry for entry in place.api.audit if entry.user == USER]
    assert not [one for one in requests if one.code in {401, 403}]
    alike = {(one.verb, one.group, one.resource, one.subresource, one.namespace): one for one in requests}.values()
    refused, unused = judge(granted, alike)
    assert not refused, sorted({(one.verb, one.group, one.resource, one.subresource, one.namespace) for one in refused})
    assert not unused, sorted(unused, key=str)
    for grant in granted:  # the evaluator has teeth: without any one of them something is refused
        assert judge(granted - {grant}, alike)[0], grant


async def test_the_cluster_wide_overlay_is_enough_and_no_more(place: Town, tmp_path: Path) -> None:
    """Applied with kubectl, monitoring included; a controller of all namespaces lives with exactly its rights."""
    documents = kustomized(overlay_with(tmp_path, "cluster-wide", "monitoring"))
    await install(place, documents, definitions=True)
    await live(place)
    check_rights(place, documents)


async def test_the_namespaced_overlay_is_enough_and_no_more(place: Town) -> None:
    """A controller of one namespace writes only there; of what has no namespace it reads five kinds, and writes a status."""
    documents = kustomized(OVERLAYS / "namespaced")
    await install(place, documents, definitions=True)
    await live(place, TEAM)
    check_rights(place, documents)
    everywhere = {(grant.resource, grant.verb) for grant in grants(documents) if not grant.namespace}
    kinds = (
        "clusterchecktemplates",
        "clusternotificationtargets",
        "customresourcedefinitions",
        "gatewayclasses",
        "namespaces",
    )
    written = {("clusternotificationtargets/status", "patch")}
    assert everywhere == written | {(kind, verb) for kind in kinds for verb in ("list", "watch")}


@pytest.mark.parametrize("settings", [(), (f"namespaces={{{TEAM}}}",)], ids=["cluster-wide", "namespaced"])
async def test_the_chart_can_be_applied(place: Town, settings: tuple[str, ...]) -> None:
    """All that the chart renders, definitions and monitoring included, is accepted as it is: again changes nothing."""
    documents = templated(*settings, *MONITORING)
    await install(place, documents, definitions=False)
    again = (await place.apply(documents)).splitlines()
    assert len(again) == len(documents)
    # The selector of a PodDisruptionBudget is replaced as a whole by every client-side apply.
    changed = [line for line in again if not line.endswith("unchanged")]
    assert [line for line in changed if not line.startswith("poddisruptionbudget")] == []
    await place.apply(team())


async def test_a_mistyped_field_is_refused(place: Town) -> None:
    """The sandbox that the manifests are applied to knows the fields of every kind in them, and no others."""
    documents = kustomized(OVERLAYS / "cluster-wide")
    await place.apply([namespace("canary-system")])
    for kind in ("NetworkPolicy", "PodDisruptionBudget", "Deployment", "ClusterRole"):
        (wrong, *_) = [json.loads(json.dumps(one)) for one in documents if one["kind"] == kind]
        (wrong["rules"][0] if kind == "ClusterRole" else wrong["spec"])["polciy"] = ["x"]
        said = await asyncio.to_thread(place.kubectl, "apply", "-f", "-", documents=[wrong], ok=False)
        assert "polciy" in said, said


def without(documents: list[Json], *plurals: str) -> list[Json]:
    """The same installation with no right at all on these resources."""
    lean: list[Json] = json.loads(json.dumps(documents))
    for one in lean:
        for rule in one.get("rules") or ():
            rule["resources"] = [resource for resource in rule["resources"] if resource not in plurals]
        if "rules" in one:
            one["rules"] = [rule for rule in one["rules"] if rule["resources"]]
    return lean


def only(kind: str) -> list[Json]:
    """The team's objects, with a Rollout that moves one route."""
    documents = team()
    documents[-1]["spec"] |= {"routes": [{"kind": kind, "name": "shop"}], "steps": [{"weight": 10, "hold": "10s"}]}
    return [one for one in documents if not one["kind"].endswith("Route") or one["kind"] == kind]


async def test_a_controller_that_may_not_see_definitions_finds_new_kinds_too(place: Town) -> None:
    """It asks what is served from time to time: a kind that comes late is found without a restart."""
    await remove(place.kube, "UDPRoute")
    await install(place, without(kustomized(OVERLAYS / "cluster-wide"), "customresourcedefinitions"), definitions=True)
    documents = only("UDPRoute")
    async with place.controller(Scripted({"errors": 0.0})):
        await place.apply([one for one in documents if one["kind"] != "UDPRoute"])
        await place.until("shop", TEAM, lambda status: "this cluster serves no UDPRoute" in status.get("message", ""))
        await define(place.kube, concise("UDPRoute"))
        await place.apply(documents)
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Idle")


async def test_a_kind_that_may_not_be_seen_is_the_trouble_of_who_names_it(place: Town) -> None:
    """The controller starts and works; who names a TCPRoute reads which right it lacks, and it goes on when that is given."""
    documents = kustomized(OVERLAYS / "cluster-wide")
    await install(place, without(documents, "tcproutes"), definitions=True)
    async with place.controller(Scripted({"errors": 0.0})):
        tcp, http = only("TCPRoute"), only("HTTPRoute")
        http[-1]["metadata"]["name"] = "web"
        await place.apply([*http, *tcp])
        await place.until("web", TEAM, lambda status: status.get("phase") == "Idle")
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Invalid")
        said = (await place.kube.get(ROLLOUTS, "shop", TEAM))["status"]["message"]
        assert "spec.routes[0]: the controller may not see any TCPRoute here: " in said
        assert "allow it to get, list, watch and patch tcproutes.gateway.networking.k8s.io" in said
        await place.apply(documents)
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Idle")


async def test_copy_without_the_right_to_says_so(place: Town) -> None:
    """A Deployment that may not be patched: the run waits at Promoting, users stay on the canary, an Event says why."""
    await install(place, kustomized(OVERLAYS / "cluster-wide"), definitions=True)
    place.api.faults.add(Fault(verb="patch", resource="deployments", status=403, user=USER, times=None))
    async with place.controller(Scripted({"errors": 0.0})):
        await place.apply(team())
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Idle")
        await place.set_image("shop-canary", TEAM, "shop:2")
        await place.until("shop", TEAM, lambda status: (status.get("step") or {}).get("index") == 2)
        await place.request("shop", TEAM, "promote")
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Promoting")
        await place.heard("WriteFailed", TEAM)
    assert (await place.weights("shop", TEAM))[0] == 0


async def test_without_the_right_to_scale(place: Town, tmp_path: Path) -> None:
    """The chart leaves it out, and nothing else; the Rollout says which right is missing, and nobody is moved."""
    full = grants(kustomized(OVERLAYS / "cluster-wide"))
    lean = grants(templated("rbac.scaling=false"))
    scale = {
        Grant("", "apps", f"{kind}/scale", verb)
        for kind in ("deployments", "statefulsets")
        for verb in ("get", "patch")
    }
    scalers = {("autoscaling", "horizontalpodautoscalers"), ("keda.sh", "scaledobjects")}
    assert full - lean == scale | {Grant("", *one, verb) for one in scalers for verb in ("list", "watch")}
    installed = without(kustomized(OVERLAYS / "cluster-wide"), "horizontalpodautoscalers")
    await install(place, installed, definitions=True)
    documents = team()
    documents[-1]["spec"]["scale"] = {"canary": 2}
    async with place.controller(Scripted({"errors": 0.0})):
        await place.apply(documents)
        status = await place.until("shop", TEAM, lambda status: reason(status) == "AutoscalersUnknown")
        assert "horizontalpodautoscalers" in status["message"]
        assert "grant list and watch" in status["message"]
    assert await place.weights("shop", TEAM) == [1, 0]


async def test_without_the_right_to_copy(place: Town, tmp_path: Path) -> None:
    """The component takes the right to touch workloads away and leaves the rest; the chart does the same."""
    full = grants(kustomized(OVERLAYS / "cluster-wide"))
    lean = grants(kustomized(overlay_with(tmp_path, "cluster-wide", "routes-only")))
    kinds = [resource.plural for resource in WORKLOADS.values()]
    histories = {Grant("", "apps", resource.plural, "list") for resource in HISTORIES.values()}
    assert full - lean == histories | {Grant("", "apps", kind, verb) for kind in kinds for verb in ("get", "patch")}
    assert lean == grants(templated("rbac.copyPodSpecs=false"))


async def test_what_more_may_be_named_is_chosen(tmp_path: Path) -> None:
    """Kinds of workloads are left out altogether; those of other groups, and ConfigMaps by name, are seen where somebody says so.

    The components and the chart do the same.
    """
    full = grants(kustomized(OVERLAYS / "cluster-wide"))
    where = tmp_path / "team-configs"
    where.mkdir()
    overlay = kustomized(overlay_with(tmp_path, "cluster-wide", "foreign-workloads"))
    (where / "kustomization.yaml").write_text(
        yaml.safe_dump({"namespace": TEAM, "components": ["../canary/components/configs"]})
    )
    more = grants([*overlay, *kustomized(where)]) - full
    assert {(grant.verb, grant.group, grant.namespace) for grant in more} == {
        *((verb, group, "") for verb in ("list", "watch") for group in ("apps.kruise.io", "argoproj.io")),
        ("get", "", TEAM),
    }
    lean = grants(
        templated(
            "rbac.workloads={daemonsets}",
            "rbac.foreignWorkloads[0].group=apps.kruise.io",
            "rbac.foreignWorkloads[0].resources={clonesets,statefulsets,daemonsets}",
            "rbac.foreignWorkloads[1].group=argoproj.io",
            "rbac.foreignWorkloads[1].resources={rollouts}",
            f"rbac.configs.namespaces={{{TEAM}}}",
        )
    )
    assert lean - full == more
    assert {grant.resource for grant in full - lean} == {
        *("deployments", "deployments/scale", "replicasets", "statefulsets", "statefulsets/scale"),
    }


def team_with_secrets(folder: Path) -> list[Json]:
    """What docs/sources.md has a platform team write for a namespace."""
    mine = folder / "team"
    mine.mkdir()
    text = {"namespace": TEAM, "components": ["../canary/components/secrets"]}
    header = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (mine / "kustomization.yaml").write_text(json.dumps({**header, **text}))
    return kustomized(mine)


async def test_the_right_to_read_secrets(tmp_path: Path) -> None:
    """By name, in the namespaces that are named and nowhere else, and nobody has it who did not ask; the chart does the same."""
    full = grants(kustomized(OVERLAYS / "cluster-wide"))
    assert not [grant for grant in full if grant.resource == "secrets"]
    own = kustomized(overlay_with(tmp_path, "cluster-wide", "own-secrets"))
    more = grants([*own, *team_with_secrets(tmp_path)])
    assert more - full == {Grant(place, "", "secrets", "get") for place in (SYSTEM, TEAM)}
    assert more == grants(templated("rbac.secrets.own=true", f"rbac.secrets.namespaces={{{TEAM}}}"))
    assert grants(templated("rbac.secrets.own=true")) - full == {Grant(SYSTEM, "", "secrets", "get")}


JOBS_NEED = {
    Grant(TEAM, group, resource, verb)
    for group, resource, verbs in (*NEEDED, ("", "serviceaccounts", ("get",)))
    for verb in verbs
}


def team_with_jobs(folder: Path) -> list[Json]:
    """What a team applies with the component."""
    where = folder / "team-jobs"
    where.mkdir(exist_ok=True)
    text = {"namespace": TEAM, "components": ["../canary/components/jobs"]}
    (where / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return kustomized(where)


async def test_the_right_to_run_jobs(tmp_path: Path) -> None:
    """What the controller asks for, in the namespaces that are named and nowhere else, and nobody has it who did not ask."""
    full = grants(kustomized(overlay_with(tmp_path, "cluster-wide")))
    assert not [grant for grant in full if grant.resource in {"jobs", "pods", "serviceaccounts"}]
    assert grants([*kustomized(OVERLAYS / "cluster-wide"), *team_with_jobs(tmp_path)]) - full == JOBS_NEED
    chart = templated(f"rbac.jobs.namespaces={{{TEAM}}}")
    assert grants(chart) - grants(templated()) == JOBS_NEED
    for documents in (team_with_jobs(tmp_path), chart):
        account = named(documents, "ServiceAccount", JOBS_ACCOUNT)
        assert (account["metadata"]["namespace"], account["automountServiceAccountToken"]) == (TEAM, False)
        assert not grants(documents, JOBS_ACCOUNT, TEAM)


async def test_jobs_run_with_the_right_to_and_without_it_that_is_said(place: Town, tmp_path: Path) -> None:
    """Invalid until they may be run, with what is missing; then one is created, with those rights."""
    await install(place, kustomized(overlay_with(tmp_path, "cluster-wide")), definitions=True)
    async with await KubeClient.connect(server=place.api.url, token=place.api.add_token(USER)) as kube:
        provider = providers(Settings(lease=(SYSTEM, ACCOUNT)), kube)
        objects = only("HTTPRoute")

        def asked(verb: str) -> bool:
            return any((entry.user, entry.resource, entry.verb) == (USER, "jobs", verb) for entry in place.api.audit)

        job = {"image": "smoke:1", "args": ["{{ canary.service }}"]}
        objects[-1]["spec"]["checks"] = [{"name": "smoke", "job": job}]
        objects[-1]["spec"]["steps"] = [{"weight": 10}]
        try:
            async with place.controller(provider):
                await place.apply(objects)
                await place.until("shop", TEAM, lambda status: status.get("phase") == "Invalid")
                said = (await place.kube.get(ROLLOUTS, "shop", TEAM))["status"]["message"]
                assert f"the controller may not create jobs in namespace {TEAM}" in said
                assert "(Helm: rbac.jobs.namespaces)" in said
                await place.apply(team_with_jobs(tmp_path))
                await place.until("shop", TEAM, lambda status: status.get("phase") == "Idle")
                await place.set_image("shop-canary", TEAM, "shop:2")
                await place.until("shop", TEAM, lambda _: asked("create"))
                made = (await place.kube.list(JOBS, TEAM))["items"]
                assert [one["spec"]["template"]["spec"]["containers"][0]["args"] for one in made] == [["shop-canary"]]
                await place.request("shop", TEAM, "abort")
                await place.until("shop", TEAM, lambda status: status.get("phase") == "RolledBack")
                await place.until("shop", TEAM, lambda _: asked("delete"))
                assert (await place.kube.list(JOBS, TEAM))["items"] == []
        finally:
            await provider.close()


def secret_of(namespace: str, name: str, token: str, hosts: str) -> Json:
    metadata = {"name": name, "namespace": namespace, "annotations": {"canary.dev/hosts": hosts}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}}


async def test_secrets_are_read_with_the_right_to_and_without_it_that_is_said(place: Town, tmp_path: Path) -> None:
    """A team's Secret and the platform's: Invalid until each may be read, with what is missing; then both are shown, unseen.

    What was applied changes on the way: a new token is the next one to be shown.
    """
    heard: list[str | None] = []

    async def query(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization"))
        result = [{"metric": {}, "value": [time.time(), "0"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    application = web.Application()
    application.router.add_get("/api/v1/query", query)
    await install(place, kustomized(overlay_with(tmp_path, "cluster-wide")), definitions=True)
    async with (
        TestServer(application, host="127.0.0.1") as server,
        await KubeClient.connect(server=place.api.url, token=place.api.add_token(USER)) as kube,
    ):
        address = f"http://127.0.0.1:{server.port}"
        settings = Settings(allow_hosts=(f"127.0.0.1:{server.port}",), lease=(SYSTEM, ACCOUNT))
        provider = providers(settings, kube)
        objects = only("HTTPRoute")
        for one in objects:
            if one["kind"] == "ClusterCheckTemplate":
                one["spec"]["prometheus"] |= {"address": address, "auth": {"secretRef": {"name": "prom"}}}
        own = {
            "query": 'own{service="{{ canary.service }}"}',
            "address": address,
            "auth": {"secretRef": {"name": "prom"}},
        }
        objects[-1]["spec"]["checks"] = [
            {"template": {"name": "errors", "kind": "ClusterCheckTemplate"}},
            {"name": "own", "prometheus": own, "interval": "5s", "threshold": {"max": "1%"}},
        ]
        objects[-1]["spec"]["steps"] = [{"weight": 10, "hold": "10s"}, {"approval": {}}, {"weight": 20, "hold": "10s"}]
        try:
            async with place.controller(provider):
                await place.apply([*objects, secret_of(SYSTEM, "prom", "platform-1", "127.0.0.1")])
                await place.apply([secret_of(TEAM, "prom", "team-1", f"127.0.0.1:{server.port}")])
                await place.until("shop", TEAM, lambda status: status.get("phase") == "Invalid")
                said = (await place.kube.get(ROLLOUTS, "shop", TEAM))["status"]["message"]
                assert f"the controller may not read Secret prom in namespace {SYSTEM}" in said
                assert "(Helm: rbac.secrets.own)" in said
                await place.apply(kustomized(overlay_of_secrets(tmp_path)))
                await place.until("shop", TEAM, lambda status: f"in namespace {TEAM}" in status.get("message", ""))
                said = (await place.kube.get(ROLLOUTS, "shop", TEAM))["status"]["message"]
                assert "it lacks the right to `get` secrets there" in said
                assert "(Helm: rbac.secrets.namespaces)" in said
                await place.apply(team_with_secrets(tmp_path))
                await place.until("shop", TEAM, lambda status: status.get("phase") == "Idle")

                await place.set_image("shop-canary", TEAM, "shop:2")
                await place.until("shop", TEAM, lambda status: (status.get("step") or {}).get("index") == 2)
                assert set(heard) == {"Bearer platform-1", "Bearer team-1"}
                await place.apply([secret_of(TEAM, "prom", "team-2", "127.0.0.1")])
                await asyncio.sleep(KEPT)  # of real time: that is how long what was read is used
                await place.request("shop", TEAM, "promote")
                heard.clear()
                await place.until("shop", TEAM, lambda status: (status.get("step") or {}).get("index") == 3)
                await place.until("shop", TEAM, lambda _: len(set(heard)) == 2)
                assert set(heard) == {"Bearer platform-1", "Bearer team-2"}
        finally:
            await provider.close()
    seen = json.dumps([(await place.kube.list(one, TEAM))["items"] for one in (ROLLOUTS, EVENTS)])
    assert not [token for token in ("platform-1", "team-1", "team-2") if token in seen]
    assert not [
        entry for entry in place.api.audit if entry.user == USER and entry.resource == "secrets" and entry.verb != "get"
    ]


def overlay_of_secrets(folder: Path) -> Path:
    """The installation of `folder` once more, with the component."""
    mine = folder / "mine" / "kustomization.yaml"
    text = json.loads(json.dumps(yaml.safe_load(mine.read_text())))
    text["components"] = ["../canary/components/own-secrets"]
    (folder / "again").mkdir()
    (folder / "again" / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return folder / "again"


@pytest.mark.parametrize("overlay", ["cluster-wide", "namespaced"])
async def test_the_right_to_see_policies(tmp_path: Path, overlay: str) -> None:
    """The component adds nothing but looking at policies, in the whole cluster; the chart does the same."""
    settings = () if overlay == "cluster-wide" else (f"namespaces={{{TEAM}}}",)
    full = grants(kustomized(overlay_with(tmp_path, overlay, "policies")))
    added = full - grants(kustomized(OVERLAYS / overlay))
    assert full == grants(templated("rbac.policies=true", *settings))
    assert {(grant.namespace, grant.verb) for grant in added} == {("", "list"), ("", "watch")}
    assert all(grant.resource.endswith("policies") for grant in added)


async def test_a_rule_that_a_policy_guards_is_not_copied(place: Town, tmp_path: Path) -> None:
    """With the rights of the component, and while a run waits at its step; without them no rule with a name is."""
    documents = team()
    route = next(one for one in documents if one["kind"] == "HTTPRoute")
    route["spec"]["rules"][0]["name"] = "all"
    match = {"match": [{"headers": [{"name": "x-beta", "value": "yes"}]}], "approval": {}}
    documents[-1]["spec"] |= {"routes": [{"name": "shop"}], "steps": [match, {"weight": 10}]}
    await install(place, kustomized(OVERLAYS / "cluster-wide"), definitions=True)
    await place.apply([policy_definition()])
    await place.apply(documents)
    async with place.controller(Scripted({"errors": 0.0})):
        status = await place.until("shop", TEAM, lambda status: reason(status) == "PoliciesUnknown")
        assert "component `policies`" in status["message"]
    await place.apply(kustomized(overlay_with(tmp_path, "cluster-wide", "policies")))
    async with place.controller(Scripted({"errors": 0.0})):
        await place.until("shop", TEAM, lambda status: reason(status) not in {"PoliciesUnknown", ""})
        await place.set_image("shop-canary", TEAM, "shop:2")
        await place.until("shop", TEAM, lambda status: status.get("phase") == "Paused")
        assert len((await place.kube.get(HTTPROUTES, "shop", TEAM))["spec"]["rules"]) == 2
        await place.apply([policy("all")])
        status = await place.until("shop", TEAM, lambda status: status.get("phase") == "RolledBack")
        assert "SecurityPolicy login targets by its name" in status["message"]
    assert len((await place.kube.get(HTTPROUTES, "shop", TEAM))["spec"]["rules"]) == 1


def reason(status: Json) -> str:
    """Of the condition Ready."""
    return next((one["reason"] for one in status.get("conditions", ()) if one["type"] == "Ready"), "")


def policy(rule: str) -> Json:
    """A policy about one rule of the team's route."""
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "shop", "sectionName": rule}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "SecurityPolicy",
        "metadata": {"name": "login", "namespace": TEAM},
        "spec": {"targetRefs": [target]},
    }


def test_teams_get_our_kinds_with_the_roles_they_have() -> None:
    """view may read Rollouts; edit and admin may write them; none of it is bound to the controller."""
    roles = {
        one["metadata"]["name"]: one for one in kustomized(OVERLAYS / "cluster-wide") if one["kind"] == "ClusterRole"
    }
    prefix = "rbac.authorization.k8s.io/aggregate-to-"

    def joins(name: str) -> set[str]:
        labels = roles[name]["metadata"]["labels"]
        return {
            label.removeprefix(prefix)
            for label, value in labels.items()
            if label.startswith(prefix) and value == "true"
        }

    def may(name: str) -> set[str]:
        return {verb for rule in roles[name]["rules"] for verb in rule["verbs"]}

    assert joins("canary-view") == {"view", "edit", "admin"}
    assert may("canary-view") == {"get", "list", "watch"}
    assert joins("canary-edit") == {"edit", "admin"}
    assert may("canary-edit") == {"create", "update", "patch", "delete", "deletecollection"}
    served = {one["spec"]["names"]["plural"] for path in (ROOT / "crds").glob("*.yaml") for one in load(path)}
    readable = {resource for rule in roles["canary-view"]["rules"] for resource in rule["resources"]}
    assert readable == served
    assert not [name for name in roles if name.startswith("canary-controller") and joins(name)]
