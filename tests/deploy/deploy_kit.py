"""Rendering, judging and running an installation: kubectl, helm, a rule evaluator, and a cluster with people in it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import marshal
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from cluster_kit import REAL, api_server, install_all

from canary.controller.clock import ManualClock
from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import DEPLOYMENTS, EVENTS, HTTPROUTES, ROLLOUTS, ROUTES, WORKLOADS, Kube, KubeClient, Resource
from canary.metrics.port import Provider
from canary.routes.features import Feature
from canary.telemetry import Telemetry
from canary_sandbox.apiserver import AuditEntry
from canary_sandbox.apiserver.generic import GenericApiServer
from canary_sandbox.cluster import gateway_api_crds
from canary_sandbox.watching import Cache, running, watch_into

Json = dict[str, Any]

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
IMAGE = "image.repository=canary"
"""What the chart cannot know."""
CHART = DEPLOY / "helm" / "canary"
OVERLAYS = DEPLOY / "kustomize" / "overlays"
COMPONENTS = DEPLOY / "kustomize" / "components"

SYSTEM = "canary-system"
ACCOUNT = "canary-controller"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
PLACEHOLDER = "your-registry.invalid/canary"
"""The image that has to be replaced: there is none published, and `.invalid` is a name that nobody can have."""
IMAGE = f"image.repository={PLACEHOLDER}"
"""What the chart has to be told; this is what the kustomization says until somebody replaces it."""
TEAM = "team-shop"
"""The namespace that the namespaced overlay is written for."""

OPERATOR = Path(__file__).with_name("operator.yaml")
"""What the monitoring component needs of the Prometheus operator."""
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "ClusterCheckTemplate"}

REAL_SECONDS = 45.0
"""How long anything may take on the wall clock before a test gives up."""
GONE_SECONDS = 20.0
"""How long what another test has made may take to go."""


# -- rendering ----------------------------------------------------------------------------------------------------------


def program(name: str) -> str:
    """A program of the machine, or one that the set-up has unpacked."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{ROOT / '.sandbox' / 'bin'}")
    assert found is not None, f"{name} is missing; `make tools` fetches it"
    return found


def run(*command: str | Path, stdin: str = "", ok: bool = True) -> str:
    """What a command prints (both streams). `ok`: whether it has to succeed, or has to fail."""
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode == 0) is ok, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout if ok else done.stdout + done.stderr


@functools.cache
def _kustomized(folder: Path) -> str:
    return run(program("kubectl"), "kustomize", folder)


def kustomized(folder: Path) -> list[Json]:
    """The objects of a kustomization."""
    return _documents(_kustomized(folder))


def overlay_with(folder: Path, overlay: str, *components: str) -> Path:
    """A kustomization of one's own, made in `folder`: an overlay and components of ours, as the docs show it."""
    bases = folder / "canary"
    shutil.copytree(DEPLOY / "kustomize", bases)
    mine = folder / "mine"
    mine.mkdir()
    text = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"../canary/overlays/{overlay}"],
        "components": [f"../canary/components/{name}" for name in components],
    }
    (mine / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return mine


@functools.cache
def _templated(*settings: str) -> str:
    image = [] if any(setting.startswith("image.repository=") for setting in settings) else [IMAGE]
    options = [word for setting in (*image, *settings) for word in ("--set", setting)]
    return run(program("helm"), "template", "canary", CHART, "--namespace", SYSTEM, *options)


def templated(*settings: str) -> list[Json]:
    """The objects of the chart, released as `canary` into canary-system."""
    return _documents(_templated(*settings))


def _documents(text: str) -> list[Json]:
    found: list[Json] = marshal.loads(_read(text))
    return found


@functools.cache
def _read(text: str) -> bytes:
    """Its objects. The definitions are long and in almost every text: so they are read once, and by the parser in C."""
    return marshal.dumps([document for document in yaml.load_all(text, yaml.CSafeLoader) if document])


def load(path: Path) -> list[Json]:
    return _documents(path.read_text())


def key(document: Json) -> tuple[str, str, str]:
    """Kind, namespace and name."""
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


def named(documents: Iterable[Json], kind: str, name: str = "") -> Json:
    """The one document of a kind (and a name)."""
    (found,) = [one for one in documents if one["kind"] == kind and name in {"", one["metadata"]["name"]}]
    return found


# -- rights -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grant:
    """One verb on one resource (with its subresource), in one namespace or, if that is empty, everywhere."""

    namespace: str
    group: str
    resource: str
    verb: str

    def covers(self, request: AuditEntry) -> bool:
        resource = f"{request.resource}/{request.subresource}" if request.subresource else request.resource
        return (
            self.namespace in {"", request.namespace}
            and (self.group, self.resource, self.verb) == (request.group, resource, request.verb)
        )  # fmt: skip


def grants(documents: Sequence[Json], account: str = ACCOUNT, namespace: str = SYSTEM) -> frozenset[Grant]:
    """What the roles bound to a service account allow, a grant per verb. Wildcards are refused: we have none."""
    roles = {key(one): one["rules"] for one in documents if one["kind"] in {"Role", "ClusterRole"}}
    found = set()
    for binding in documents:
        if binding["kind"] not in {"RoleBinding", "ClusterRoleBinding"}:
            continue
        if {"kind": "ServiceAccount", "name": account, "namespace": namespace} not in binding["subjects"]:
            continue
        where = binding["metadata"].get("namespace", "") if binding["kind"] == "RoleBinding" else ""
        ref = binding["roleRef"]
        for rule in roles[(ref["kind"], where if ref["kind"] == "Role" else "", ref["name"])]:
            assert set(rule) - {"resourceNames"} == {"apiGroups", "resources", "verbs"}, rule
            for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                assert "*" not in {group, resource, verb}, rule
                found.add(Grant(where, group, resource, verb))
    return frozenset(found)


def judge(granted: frozenset[Grant], requests: Iterable[AuditEntry]) -> tuple[list[AuditEntry], set[Grant]]:
    """The requests that nothing allows, and the grants that no request needed.

    Discovery is left out: every authenticated user may read it (the cluster's own role system:discovery).
    """
    refused, unused = [], set(granted)
    for request in requests:
        if not request.resource:
            assert request.verb == "get", request
            continue
        covering = {grant for grant in granted if grant.covers(request)}
        unused -= covering
        if not covering:
            refused.append(request)
    return refused, unused


# -- a cluster with people in it ----------------------------------------------------------------------------------------


@dataclass
class Town:
    """An API server with a Gateway implementation and a kubelet, as far as the controller can tell."""

    api: GenericApiServer
    kube: Kube
    kubeconfig: Path
    # A real API server stamps objects with the time of day, so the controller's clock begins there.
    clock: ManualClock = field(default_factory=lambda: ManualClock(datetime.now(UTC).replace(microsecond=0)))
    seen: Cache = field(default_factory=Cache)
    heard_of: int = 0
    """How many watch events have filled `seen`."""
    ours: set[tuple[str, str, str]] = field(default_factory=set)
    """What belongs to no namespace and was free when we came."""

    def kubectl(self, *words: str, documents: Sequence[Json] = (), ok: bool = True) -> str:
        stdin = yaml.safe_dump_all(documents) if documents else ""
        return run(program("kubectl"), "--kubeconfig", self.kubeconfig, *words, stdin=stdin, ok=ok)

    async def apply(self, documents: Sequence[Json], *options: str) -> str:
        if REAL:
            await self._claim(documents)
        return await asyncio.to_thread(self.kubectl, "apply", "-f", "-", *options, documents=documents)

    async def install(self, rendered: Sequence[Json], *, definitions: bool = True) -> None:
        """As docs/install.md says: the definitions, then the rest. `definitions` False: `rendered` brings them."""
        if definitions:
            await asyncio.to_thread(self.kubectl, "apply", "-f", str(ROOT / "crds"))
        first = [one for one in rendered if one["kind"] in {"Namespace", "CustomResourceDefinition"}]
        for part in (first, [one for one in rendered if one not in first]):
            if part:
                await self.apply(part)

    async def _claim(self, documents: Sequence[Json]) -> None:
        """Manifests are applied with the names that they have: nobody else on a cluster may own those."""
        wide = [one for one in documents if "namespace" not in one["metadata"] and "Definition" not in one["kind"]]
        new = [one for one in wide if one["kind"] in CLUSTER_WIDE and key(one) not in self.ours]
        deadline = time.monotonic() + GONE_SECONDS
        while new and (
            there := await asyncio.to_thread(
                self.kubectl, "get", "-f", "-", "--ignore-not-found", "-o", "name", documents=new
            )
        ):  # of the test before, on its way out
            assert time.monotonic() < deadline, f"on this cluster there are, and would be replaced:\n{there}"
            await asyncio.sleep(0.2)
        self.ours |= {key(one) for one in new}

    def _present(self, name: str, namespace: str) -> Json:
        """The status of a Rollout, read without a request: this is asked hundreds of times."""
        return _status(self.seen.of(ROLLOUTS.plural).get((namespace, name)) or {})

    async def weights(self, name: str, namespace: str) -> list[int]:
        route = await self.kube.get(HTTPROUTES, name, namespace)
        return [ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]]

    async def gone(self, name: str, namespace: str) -> None:
        """Let time pass until a Rollout is deleted."""
        deadline = time.monotonic() + REAL_SECONDS
        while (namespace, name) in self.seen.of(ROLLOUTS.plural):
            await self._pass()
            assert time.monotonic() < deadline, f"{name} does not go"

    async def heard(self, reason: str, namespace: str) -> Json:
        """Let time pass until there is an Event with this reason."""
        deadline = time.monotonic() + REAL_SECONDS
        while True:
            for event in (await self.kube.list(EVENTS, namespace))["items"]:
                if event["reason"] == reason:
                    found: Json = event
                    return found
            await self._pass()
            assert time.monotonic() < deadline, f"nobody says {reason}"

    async def annotate(self, resource: Resource, name: str, namespace: str, **annotations: str | None) -> None:
        """As `kubectl annotate` does it; None takes one away."""
        body = {"metadata": {"annotations": annotations}}
        await self.kube.merge_patch(resource, name, namespace, body)

    async def request(self, name: str, namespace: str, verb: str) -> None:
        """As `kubectl annotate` does it."""
        body = {"metadata": {"annotations": {"canary.dev/request": verb}}}
        await self.kube.merge_patch(ROLLOUTS, name, namespace, body)

    async def set_image(self, name: str, namespace: str, image: str, resource: Resource = DEPLOYMENTS) -> None:
        container = "/spec/template/spec/containers/0/image"
        await self.kube.json_patch(resource, name, namespace, [{"op": "replace", "path": container, "value": image}])

    async def until(self, name: str, namespace: str, what: Callable[[Json], bool], within: float = 14400) -> Json:
        """Let time pass (at most `within` seconds of the clock) until the status of a Rollout is so."""
        end = self.clock.now().timestamp() + within
        deadline = time.monotonic() + REAL_SECONDS
        while True:
            await self._settle()
            status = self._present(name, namespace)
            if what(status):
                return status
            over = self.clock.now().timestamp() >= end or time.monotonic() > deadline
            assert not over, f"in vain: {json.dumps(status, indent=1)}"
            self._advance()

    async def _pass(self) -> None:
        await self._settle()
        self._advance()

    def _advance(self) -> None:
        """On to the next moment that somebody waits for, ten seconds at most."""
        wake = self.clock.next_wake
        if wake is not None:
            self.clock.advance(min(10.0, max((wake - self.clock.now()).total_seconds(), 0.0)))

    async def _settle(self) -> None:
        """Return when nobody has said anything for a moment, and everything that was written has been answered."""
        quiet, last = 0, (-1, -1)
        deadline = time.monotonic() + REAL_SECONDS
        while quiet < 3 or not self._answered():
            await asyncio.sleep(0.004)
            mark = (len(self.api.audit), self.heard_of)
            quiet = quiet + 1 if mark == last and not self.api.busy else 0
            last = mark
            assert time.monotonic() < deadline, "nobody comes to rest"

    def _answered(self) -> bool:
        return all(not owed for _, owed in self.owed())

    def owed(self) -> list[tuple[Json, Json]]:
        """Every route and Deployment, with the status that it should have and has not."""
        found = []
        for route in itertools.chain.from_iterable(
            self.seen.of(resource.plural).values() for resource in ROUTES.values()
        ):
            said = [parent["conditions"][0]["observedGeneration"] for parent in _status(route).get("parents", [])]
            late = said != [route["metadata"]["generation"]] * len(route["spec"]["parentRefs"])
            found.append((route, _accepted(route) if late else {}))
        for deployment in (each for kind in WORKLOADS.values() for each in self.seen.of(kind.plural).values()):
            late = _status(deployment).get("observedGeneration") != deployment["metadata"]["generation"]
            late = late and HELD not in (deployment["metadata"].get("annotations") or {})
            found.append((deployment, _ready(deployment) if late else {}))
        return found

    def following(self, resource: Resource) -> AbstractAsyncContextManager[None]:
        """Keep `seen` current for as long as this is open."""

        def changed() -> None:
            self.heard_of += 1

        return watch_into(self.seen, resource.plural, self.kube, resource, changed)

    async def serve_people(self) -> None:
        """A gateway that accepts every route, and a kubelet that makes every Deployment ready."""
        kinds = {**ROUTES, **WORKLOADS}
        while True:
            for document, status in self.owed():
                if status:
                    metadata = document["metadata"]
                    resource = kinds[document["kind"]]
                    with contextlib.suppress(Exception):  # deleted meanwhile: the next round sees that
                        await self.kube.merge_patch(
                            resource, metadata["name"], metadata["namespace"], {"status": status}, subresource="status"
                        )
            await asyncio.sleep(0.01)

    @asynccontextmanager
    async def controller(self, provider: Provider, *namespaces: str, lease: bool = False) -> AsyncIterator[None]:
        """A whole controller, kopf included, as the service account of the installation; `lease`: with its Lease."""
        async with self.following(ROLLOUTS), self._serving(provider, *namespaces, lease=lease):
            yield

    @asynccontextmanager
    async def _serving(self, provider: Provider, *namespaces: str, lease: bool) -> AsyncIterator[None]:
        stop, ready = asyncio.Event(), asyncio.Event()
        able = Path(self.kubeconfig).with_name("gateway-features.yaml")
        able.write_text(yaml.safe_dump({"gatewayClasses": {"*": {"features": [feature.value for feature in Feature]}}}))
        task = asyncio.create_task(
            serve(
                Settings(
                    metrics_address="127.0.0.1:0",
                    gateway_features=str(able),
                    namespaces=namespaces,
                    lease=(SYSTEM, ACCOUNT) if lease else None,
                ),
                provider=provider,
                clock=self.clock,
                stop=stop,
                ready=ready,
                server=self.api.url,
                token=self.api.add_token(USER),
            )
        )
        waiting = asyncio.create_task(ready.wait())
        try:
            async with asyncio.timeout(REAL_SECONDS):
                await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield
        finally:
            waiting.cancel()
            stop.set()
            await asyncio.wait_for(task, 15)


def _status(document: Json) -> Json:
    status: Json = document.get("status") or {}
    return status


def _accepted(route: Json) -> Json:
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": kind,
            "message": "",
            "observedGeneration": route["metadata"]["generation"],
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("Accepted", "ResolvedRefs")
    ]
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
    return {
        "parents": [
            {"parentRef": {**ref, **parent}, "controllerName": "example.org/gateway", "conditions": conditions}
            for parent in route["spec"]["parentRefs"]
        ]
    }


HELD = "example.org/held"
"""Of a workload with this annotation no new template is rolled out."""


def _ready(deployment: Json) -> Json:
    generation, replicas = deployment["metadata"]["generation"], deployment["spec"].get("replicas", 1)
    if deployment["kind"] == "DaemonSet":
        counted = ("desiredNumberScheduled", "currentNumberScheduled", "updatedNumberScheduled", "numberReady")
        return {"observedGeneration": generation, "numberMisscheduled": 0, **dict.fromkeys(counted, 1)}
    numbers = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
    return {"observedGeneration": generation, **numbers}


@asynccontextmanager
async def town(folder: Path) -> AsyncIterator[Town]:
    """A cluster with the Gateway API and its people; our own CRDs come with what is installed."""
    async with api_server(authorization="RBAC") as api:
        if REAL:
            await install_all(api)  # those of a real server are the whole session's: what is installed replaces them
        await api.install_crds([gateway_api_crds(), OPERATOR])
        async with await KubeClient.connect(server=api.url, token=api.token, user_agent="people") as kube:
            made = Town(api, kube, api.kubeconfig(folder / "kubeconfig"))
            async with AsyncExitStack() as stack:
                for resource in (*ROUTES.values(), *WORKLOADS.values()):
                    await stack.enter_async_context(made.following(resource))
                await stack.enter_async_context(running(made.serve_people()))
                yield made


def told_everything() -> Telemetry:
    """One in which every kind of series has a sample."""
    telemetry = Telemetry()
    telemetry.run_finished("n", "r", "Succeeded")
    telemetry.weights("n", "r", desired=1, written=1, accepted=1)
    telemetry.verdict("n", "r", "c", "Pass")
    telemetry.value("n", "r", "c", 1.0)
    telemetry.api_request("get", "pods", 200, 0.1)
    telemetry.rollback_latency(0.1)
    telemetry.tick(0.1)
    telemetry.waits("n", "r", "Invalid")
    telemetry.notification(("NotificationTarget", "n", "t"), "failed")
    return telemetry
