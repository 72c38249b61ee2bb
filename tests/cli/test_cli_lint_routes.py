"""`canary lint --routes` against a cluster: what gateways say, what is there, what may not be seen, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from cli_kit import Run, canary
from cluster_kit import api_server, install_all, own_namespace
from definitions import concise, install, remove

from canary.cli.lint_routes import Cluster as Reader
from canary.kube import (
    GATEWAYCLASSES,
    GATEWAYS,
    HTTPROUTES,
    LISTENERSETS,
    NAMESPACES,
    REFERENCEGRANTS,
    ROUTES,
    SERVICES,
    Kube,
    KubeClient,
    Resource,
)
from canary.lint.findings import Severity
from canary.lint.route_rules import Reason
from canary_sandbox.apiserver import ApiServer, Fault
from canary_sandbox.apiserver.generic import GenericApiServer

NS = own_namespace("team-shop")
OTHER = own_namespace("team-pay")
Json = dict[str, Any]


@dataclass
class Cluster:
    """An API server with a Gateway, a Service in each of two namespaces, and no Rollout."""

    api: GenericApiServer
    kube: Kube
    env: dict[str, str]

    async def look(self, *arguments: str) -> Run:
        return await canary("lint", "--routes", *arguments, **self.env)

    async def told(self, *arguments: str) -> tuple[int, list[tuple[str, str, str]]]:
        """The exit code, and (object, reason, message) of the findings."""
        ran = await self.look("-o", "json", *arguments)
        found = json.loads(ran.out)["findings"] if ran.out else []
        return ran.code, [(item["object"], item["reason"], item["message"]) for item in found]

    async def create(self, route: Json, *, said: dict[str, Any] | None = None) -> None:
        """A route and what the gateway says of it; by default that it is fine."""
        kind, metadata = route["kind"], route["metadata"]
        await self.kube.create(ROUTES[kind], route)
        if said is None or said:
            await self.say(metadata["name"], metadata["namespace"], kind, **(said or {}))

    async def say(self, name: str, namespace: str = NS, kind: str = "HTTPRoute", **said: Any) -> None:
        conditions = [condition(name, said) for name in ("Accepted", "ResolvedRefs")]
        parent = {"parentRef": {"name": "edge"}, "controllerName": "example.com/gateway", "conditions": conditions}
        status = {"status": {"parents": [parent]}}
        await self.kube.merge_patch(ROUTES[kind], name, namespace, status, subresource="status")


def condition(kind: str, said: dict[str, Any]) -> Json:
    """A condition of a route; `said` may have another status, reason, message and generation of it."""
    refused = said.get("condition") == kind
    return {
        "type": kind,
        "status": "False" if refused else "True",
        "reason": said.get("reason", "R") if refused else "Fine",
        "message": said.get("message", "because") if refused else "",
        "observedGeneration": said.get("generation", 1),
        "lastTransitionTime": "2024-05-01T10:00:00Z",
    }


def route(name: str = "shop", kind: str = "HTTPRoute", namespace: str = NS, **spec: Any) -> Json:
    hostnames = {"hostnames": ["shop.example.com"]} if kind == "TLSRoute" else {}
    return {
        "apiVersion": ROUTES[kind].api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [to("shop")]}], **hostnames, **spec},
    }


def to(service: str, port: int = 8080, **more: Any) -> Json:
    return {"name": service, "port": port, **more}


def gateway(*listeners: Json, namespace: str = NS) -> Json:
    return {
        "apiVersion": GATEWAYS.api_version,
        "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": namespace},
        "spec": {"gatewayClassName": "example", "listeners": list(listeners) or [listener()]},
    }


def listener(**more: Any) -> Json:
    return {"name": "http", "port": 80, "protocol": "HTTP", **more}


def service(name: str, namespace: str = NS) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 8080}]},
    }


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api_server() as api:
        await install_all(api)
        config = api.kubeconfig(tmp_path / "config", namespace=NS)
        async with await KubeClient.connect(kubeconfig=str(config)) as kube:
            for name in (NS, OTHER):
                await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
                await kube.create(SERVICES, service("shop", name))
            await kube.create(GATEWAYS, gateway())
            yield Cluster(api, kube, {"KUBECONFIG": str(config)})


async def test_routes_that_are_served_are_clean(cluster: Cluster) -> None:
    """All five kinds, no Rollout, no definition of ours needed: 0, a sentence, and nothing was written."""
    for kind in ROUTES:
        await cluster.create(route(kind=kind))
    ran = await cluster.look()
    assert (ran.code, ran.out, ran.err) == (0, f"no problems in 5 objects of namespace {NS}\n", "")
    assert {entry.verb for entry in cluster.api.audit if "canary-cli" in entry.user_agent} <= {"list", "get"}
    junit = ET.fromstring((await cluster.look("-o", "junit")).out)
    assert [case.get("name") for case in junit.iter("testcase")] == [f"{kind} {NS}/shop" for kind in ROUTES]


async def test_every_route_of_every_namespace_or_of_one(cluster: Cluster) -> None:
    """-n, -A, or the context's; a namespace without any says so, and fails where warnings do."""
    await cluster.create(route())
    await cluster.create(route(namespace=OTHER, parentRefs=[{"name": "edge", "namespace": NS}]), said={})
    await cluster.kube.create(GATEWAYCLASSES, gateway_class())
    mine, theirs, all_, none = await asyncio.gather(
        cluster.told(),
        cluster.told("-n", OTHER),
        cluster.told("-A"),
        cluster.look("-n", "nobody", "--fail-on", "warning"),
    )
    assert mine == (0, [])
    words = f"Gateway {NS}/edge takes routes of its own namespace {NS} only, so it does not serve HTTPRoute shop of namespace {OTHER}"
    assert theirs == all_ == (1, [(f"HTTPRoute {OTHER}/shop", "NotAllowedByListeners", words)])
    assert none.code == 1
    assert none.out.startswith("warning: there is no route in namespace nobody [route]\n")


def gateway_class() -> Json:
    return {
        "apiVersion": GATEWAYCLASSES.api_version,
        "kind": "GatewayClass",
        "metadata": {"name": "example"},
        "spec": {"controllerName": "example.com/gateway"},
    }


SAID: list[tuple[Json, str, str]] = [
    ({"generation": 0}, "RoutesNotAccepted", "Gateway edge has not answered for generation 1 yet (Accepted)"),
    ({"condition": "Accepted", "reason": "Odd"}, "RoutesNotAccepted", "Gateway edge says Accepted=False (Odd: because)"),
    ({"condition": "Accepted", "reason": "NotAllowedByListeners"}, "NotAllowedByListeners", "says Accepted=False"),
    ({"condition": "Accepted", "reason": "NoMatchingParent"}, "NoMatchingParent", "says Accepted=False"),
    ({"condition": "Accepted", "reason": "NoMatchingListenerHostname"}, "NoMatchingListenerHostname", "says Accepted=False"),
    ({"condition": "ResolvedRefs", "reason": "BackendNotFound"}, "BackendNotFound", "says ResolvedRefs=False"),
    ({"condition": "ResolvedRefs", "reason": "InvalidKind"}, "RoutesNotAccepted", "says ResolvedRefs=False (InvalidKind"),
]  # fmt: skip


async def test_what_gateways_say_of_a_route(cluster: Cluster) -> None:
    """Every parent's word at the current generation, under a name to alert on; one that says nothing has not answered."""
    await cluster.create(route(), said={})
    code, ((name, reason, words),) = await cluster.told()
    assert (code, name, reason) == (1, f"HTTPRoute {NS}/shop", "RouteNotAttached")
    assert words.endswith("Gateway edge has not answered for the route yet")
    reader = Reader(cluster.kube)
    for said, reason, part in SAID:
        await cluster.say("shop", **said)
        reader = Reader(cluster.kube)
        await reader.routes(NS)
        (found,) = reader.findings
        assert (found.severity, found.reason, found.field) == (Severity.ERROR, reason, "spec.parentRefs[0]"), said
        assert part in found.message
    assert len(reader.objects) == 1


async def test_what_a_route_names_is_there(cluster: Cluster) -> None:
    """Services, ports, grants and parents, in whatever namespace; what a gateway says of the same is not told twice."""
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": to("shadow")}}
    rules = [
        {"name": "a", "backendRefs": [to("shop", 1), to("gone", weight=0)]},
        {
            "name": "b",
            "matches": [{"method": "GET"}],
            "filters": [mirror],
            "backendRefs": [to("shop", namespace=OTHER)],
        },
    ]
    parents = [{"name": "edge"}, {"name": "gone"}]
    await cluster.create(
        route(rules=rules, parentRefs=parents), said={"condition": "ResolvedRefs", "reason": "BackendNotFound"}
    )
    code, found = await cluster.told()
    assert code == 1
    assert sorted((reason, words) for _, reason, words in found) == [
        ("BackendNotFound", f"there is no Service gone in namespace {NS} in the cluster"),
        (
            "BackendNotFound",
            (
                f"there is no Service shadow in namespace {NS} in the cluster, and rule b sends copies there: some gateways "
                "then answer each of its requests with 500"
            ),
        ),
        (
            "ParentMissing",
            f"there is no Gateway gone in namespace {NS} in the cluster, which HTTPRoute shop names as parent",
        ),
        (
            "RefNotPermitted",
            f"no ReferenceGrant of namespace {OTHER} in the cluster lets HTTPRoute of namespace {NS} name Service shop",
        ),
        ("WrongPort", "Service shop has no port 1; its ports: 8080"),
    ]
    grant = {
        "apiVersion": REFERENCEGRANTS.api_version,
        "kind": "ReferenceGrant",
        "metadata": {"name": "shop", "namespace": OTHER},
        "spec": {
            "from": [{"group": HTTPROUTES.group, "kind": "HTTPRoute", "namespace": NS}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }
    await cluster.kube.create(REFERENCEGRANTS, grant)
    assert "RefNotPermitted" not in {reason for _, reason, _ in (await cluster.told())[1]}


async def test_parents_of_other_kinds(cluster: Cluster) -> None:
    """A ListenerSet has listeners as a Gateway has; a Service is the parent of a mesh, and may be missing."""
    listeners = {
        "apiVersion": LISTENERSETS.api_version,
        "kind": "ListenerSet",
        "metadata": {"name": "more", "namespace": NS},
        "spec": {"parentRef": {"name": "edge"}, "listeners": [listener(name="mine", port=8081)]},
    }
    await cluster.kube.create(LISTENERSETS, listeners)
    parents = [
        {"kind": "ListenerSet", "name": "more", "sectionName": "yours"},
        {"group": "", "kind": "Service", "name": "mesh", "port": 8080},
    ]
    await cluster.create(route(parentRefs=parents), said={})
    code, found = await cluster.told()
    assert code == 1
    assert [(reason, words) for _, reason, words in found] == [
        (
            "NoMatchingParent",
            "ListenerSet more has no listener yours, which HTTPRoute shop names; its listeners: mine:8081",
        ),
        (
            "ParentMissing",
            f"there is no Service mesh in namespace {NS} in the cluster, which HTTPRoute shop names as parent",
        ),
    ]


async def test_what_may_not_be_read_is_never_clean(cluster: Cluster) -> None:
    """A sentence for each kind, and 6; 1 where something is wrong besides. The rest is looked at all the same."""
    await cluster.create(route())
    await cluster.create(route("shop", "TCPRoute"))
    cluster.api.faults.add(Fault(verb="list", resource="services", status=403, times=None))
    cluster.api.faults.add(Fault(verb="list", resource="grpcroutes", status=403, times=None))
    code, found = await cluster.told()
    assert code == 6
    assert found == [
        (
            "",
            "MayNotRead",
            f"you may not list services in namespace {NS}, so nothing is said about what that would show",
        ),
        ("", "MayNotRead", f"you may not list grpcroutes in namespace {NS}, so none of them was looked at"),
    ]
    everywhere = await cluster.look("-A")
    assert everywhere.code == 6
    assert "you may not list services in all namespaces, so" in everywhere.out
    await cluster.say("shop", condition="Accepted")
    assert (await cluster.look()).code == 1


@pytest.mark.sandbox_only("a server without definitions: those of a real one are the whole session's")
async def test_a_cluster_that_cannot_be_looked_at_is_never_clean(cluster: Cluster, tmp_path: Path) -> None:
    """No kind of route served: 1; credentials that are not accepted: 6; nobody there: 7. In every format."""
    async with ApiServer() as bare:
        env = {"KUBECONFIG": str(bare.kubeconfig(tmp_path / "bare"))}
        unserved = await canary("lint", "--routes", **env)
        bare.faults.add(Fault(verb="list", status=401, times=None))
    gone = await canary("lint", "--routes", "-A", "-o", "sarif", **env)
    assert (unserved.code, gone.code) == (1, 7)
    assert unserved.err == "Error: this cluster serves no kind of route; install the CRDs of the Gateway API\n"
    assert "the API server cannot be reached" in gone.err
    assert (unserved.out, gone.out) == ("", "")
    await cluster.create(route())
    cluster.api.faults.add(Fault(verb="list", status=401, times=None))
    assert (await cluster.look()).code == 6


async def test_kinds_that_are_not_served_are_no_problem(cluster: Cluster) -> None:
    """Most clusters have no UDPRoutes and no ListenerSets."""
    await cluster.create(route())
    await remove(cluster.kube, "UDPRoute")
    try:
        assert await cluster.told() == (0, [])
    finally:
        await install(cluster.kube, concise("UDPRoute"))


async def test_names_and_messages_of_strangers_steer_nothing(cluster: Cluster) -> None:
    """A controller's message may hold anything: no terminal obeys it, and no CI."""
    message = "\x1b]0;owned\x07\x1b[2J\n::error::you are fired\u202e"
    await cluster.create(route(), said={"condition": "Accepted", "message": message})
    for form in ("text", "json", "junit", "github", "sarif"):
        ran = await cluster.look("-o", form)
        assert ran.code == 1, form
        assert not set(ran.out) & set("\x1b\x07\u202e"), form
        assert not any(line.lstrip().startswith("::error::") for line in ran.out.splitlines()), form


async def test_files_against_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    """Routes and what stands around them from the files, the rest from the cluster; nobody can have accepted them yet."""
    new = route(
        "new", rules=[{"backendRefs": [to("shop"), to("new"), to("gone")]}], parentRefs=[{"name": "edge", "port": 81}]
    )
    manifest = tmp_path / "m.yaml"
    manifest.write_text(yaml.safe_dump_all([new, service("new")], sort_keys=False))
    code, found = await cluster.told("--live", str(manifest))
    assert code == 1
    assert sorted((name, reason) for name, reason, _ in found) == [
        (f"HTTPRoute {NS}/new", "BackendNotFound"), (f"HTTPRoute {NS}/new", "NoMatchingParent")
    ]  # fmt: skip
    alone, _ = await cluster.told(str(manifest))
    assert alone == 0, (
        "of files alone a Service is missed only where it could have been among them, and that is a warning"
    )
    new["spec"] |= {"rules": [{"backendRefs": [to("shop"), to("new")]}], "parentRefs": [{"name": "edge"}]}
    manifest.write_text(yaml.safe_dump_all([new, service("new")], sort_keys=False))
    assert await cluster.told("--live", str(manifest)) == (0, [])


class Interrupted(Reader):
    """Something goes wrong on the way through the pages, once, when the first has been looked at."""

    def __init__(self, cluster: Cluster, fault: Fault) -> None:
        super().__init__(cluster.kube)
        self._cluster, self._fault = cluster, fault
        self.sizes: list[int] = []

    async def _look(self, resource: Resource, items: Sequence[Json]) -> None:
        await super()._look(resource, items)
        self.sizes.append(len(items))
        if len(self.sizes) == 1:
            self._cluster.api.faults.add(self._fault)


@pytest.fixture
async def many(cluster: Cluster) -> Cluster:
    """1,100 routes, of which one names a Service that is not there, on the last page."""
    async with asyncio.TaskGroup() as group:
        for index in range(11):
            group.create_task(_some(cluster, index))
    return cluster


async def _some(cluster: Cluster, part: int) -> None:
    for index in range(part * 100, part * 100 + 100):
        refs = [to("gone" if index == 1099 else "shop")]
        await cluster.kube.create(HTTPROUTES, route(f"r{index:04}", rules=[{"backendRefs": refs}], parentRefs=[]))


@pytest.mark.parametrize("status", [410, 503])
async def test_thousands_are_looked_at_page_by_page(many: Cluster, status: int) -> None:
    """Each once, whatever happens on the way; what stands around them is read once; no more than a page is in hand."""
    reader = Interrupted(many, Fault(verb="list", resource="httproutes", status=status))
    await reader.routes(NS)
    assert sorted(reader.objects) == [f"HTTPRoute {NS}/r{index:04}" for index in range(1100)]
    assert [item.subject for item in reader.findings if item.reason == "BackendNotFound"] == [f"HTTPRoute {NS}/r1099"]
    assert sum(item.reason == "RouteNotAttached" for item in reader.findings) == 1100
    if status == 503:
        assert max(reader.sizes) <= 500
    listed = [entry.resource for entry in many.api.audit if entry.verb == "list"]
    assert listed.count("services") == 1


async def test_what_stands_around_is_asked_for_again_after_a_failure(cluster: Cluster) -> None:
    """A list of Services that failed at first is no list without Services, and none that was never asked for."""
    await cluster.create(route(rules=[{"backendRefs": [to("gone")]}]))
    fault = cluster.api.faults.add(Fault(verb="list", resource="services", status=503, times=6))
    reader = Reader(cluster.kube)
    await reader.routes(NS)
    assert fault.hits == 6
    assert [item.reason for item in reader.findings] == ["BackendNotFound"]


async def test_where_options_do_not_go_together(cluster: Cluster) -> None:
    """-A is for a cluster, and nothing at all is for --routes."""
    nothing, alone, files = await asyncio.gather(
        canary("lint", **cluster.env), canary("lint", "-A", "x.yaml", **cluster.env), cluster.look("-A", "x.yaml")
    )
    assert (nothing.code, alone.code, files.code) == (2, 2, 2)
    assert "only --routes can do without" in nothing.err
    assert "goes with --routes and without FILE" in alone.err


async def test_a_shell_completes_options_and_what_they_take() -> None:
    """Tab shows --routes, the formats, and what makes lint fail; for FILE the shell is left to list files."""

    async def complete(*words: str) -> list[str]:
        line = " ".join(("canary", "lint", *words))
        env = {"_CANARY_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) + 1)}
        return (await canary(**env, KUBECONFIG="/nowhere")).out.split()

    options, formats, least, files = await asyncio.gather(
        complete("--ro"), complete("-o", "s"), complete("--fail-on", "w"), complete("--routes", "dep")
    )
    assert (options, formats, least, files) == (["--routes"], ["sarif"], ["warning"], [])


def test_a_missing_right_has_a_name_that_scripts_may_rely_on() -> None:
    """As every other reason has."""
    assert Reason.MAY_NOT_READ == "MayNotRead"
