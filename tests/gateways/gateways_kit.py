"""A sandbox without a gateway of its own, the demo's world behind a gateway of somebody else's, a controller, and counted requests."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Self

import aiohttp
import yaml
from cluster_kit import OUR_CRDS

from canary.controller.run import serve
from canary.controller.settings import Settings
from canary.kube import GATEWAYCLASSES, GRPCROUTES, HTTPROUTES, ROLLOUTS, TCPROUTES, UDPROUTES, Resource
from canary.routes.features import Feature
from canary_sandbox.apiserver.resources import Resource as ServedKind
from canary_sandbox.apiserver.schema import Schema
from canary_sandbox.cluster import GATEWAY_CLASS, Sandbox
from canary_sandbox.demo import manifests
from canary_sandbox.gateway.port import GatewayImplementation
from canary_sandbox.grpc_client import GrpcClient

Json = dict[str, Any]
NAMESPACE = manifests.NAMESPACE
GATEWAY = "public"
PORT = 7070
"""Of the Services: the sandbox listens on it at their ClusterIPs, and Envoy Gateway wants 8080 and 8081 of every address."""
REQUESTS = 1000
Speech = Literal["http", "grpc", "tcp", "udp"]
ROUTES: dict[Speech, Resource] = {"http": HTTPROUTES, "grpc": GRPCROUTES, "tcp": TCPROUTES, "udp": UDPROUTES}
OK = 200
"""Of an answer in any language that is as it should be."""
OPTED_IN = {"x-beta": "yes"}


Kind = tuple[str, str, str, str]
"""(group, version, kind, plural) of something in namespaces"""


def anything(group: str, version: str, kind: str, plural: str) -> ServedKind:
    """A kind that a foreign gateway watches and these tests have no object of: the API server takes anything for one."""
    schema = Schema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, list_types=False)
    return ServedKind(group, version, plural, kind, namespaced=True, schema=schema, singular=kind.lower(), status=True)


def gateway_class(controller: str) -> Json:
    return {
        "apiVersion": GATEWAYCLASSES.api_version,
        "kind": GATEWAYCLASSES.kind,
        "metadata": {"name": GATEWAY_CLASS},
        "spec": {"controllerName": controller},
    }


def mirror(service: str, **share: Any) -> Json:
    """A filter that sends copies to a Service: of all requests, or of a `percent`."""
    return {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": service, "port": PORT}, **share}}


def shipped(folder: str) -> list[Json]:
    """The templates that we ship for a data plane."""
    file = Path(__file__).resolve().parents[2] / "deploy" / "checks" / folder / "templates.yaml"
    return list(yaml.safe_load_all(file.read_text()))


def by_template(name: str, **more: Any) -> Json:
    """A check, or traffic, by a template of ours."""
    return {"template": {"name": name, "kind": "ClusterCheckTemplate"}, **more}


OFTEN = {"interval": "2s", "lag": "2s"}
"""How to read counters that are scraped twice a second."""


def declared(folder: Path, *features: Feature) -> str:
    """A file that declares them of the only class there is; its path, for `gateway_features`."""
    file = folder / "features.yaml"
    file.write_text(json.dumps({"gatewayClasses": {GATEWAY_CLASS: {"features": features}}}))
    return str(file)


def prepare(rules: list[Json]) -> None:
    """Put a rule beside the one that is there: the same pair, for whoever sends OPTED_IN."""
    headers = [{"name": name, "value": value} for name, value in OPTED_IN.items()]
    rules[0]["name"] = "all"
    rules.append({"name": "beta", "matches": [{"headers": headers}], "backendRefs": rules[0]["backendRefs"]})


@asynccontextmanager
async def bare_cluster(kinds: Iterable[Kind], *definitions: Json) -> AsyncIterator[Sandbox]:
    """API server and workloads; besides the usual kinds it serves `kinds` and `definitions`.

    The API server is the sandbox's own in any case: a real one refuses loopback addresses in EndpointSlices, and a foreign
    gateway would call any other address as it is.
    """
    async with Sandbox(gateway=None, crds=[OUR_CRDS]) as cluster:
        for kind in kinds:
            cluster.server._cluster.registry.add(anything(*kind))
        cluster.server.define(definitions)
        yield cluster


class Shop:
    """The demo's team behind a foreign gateway. Entered, a controller runs."""

    def __init__(
        self, cluster: Sandbox, gateway: GatewayImplementation, speech: Speech = "http", **settings: Any
    ) -> None:
        self.cluster = cluster
        self.speech = speech
        self.gateway = gateway
        self._settings = settings

    async def __aenter__(self) -> Self:
        self._stop = asyncio.Event()
        token = self.cluster.api.add_token("canary-controller")
        settings = Settings(metrics_address="127.0.0.1:0", **self._settings)
        self._controller = asyncio.create_task(
            serve(settings, stop=self._stop, server=self.cluster.api.url, token=token)
        )
        self._address = await self.gateway.address(NAMESPACE, GATEWAY)
        await self.served_by("v1")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stop.set()
        await asyncio.wait_for(self._controller, 10)

    # -- traffic

    async def ask(self, count: int = REQUESTS, headers: Mapping[str, str] | None = None) -> Counter[tuple[int, str]]:
        """Who answers that many requests, calls or connections, and how: counts of (status, version)."""
        return await self._count(iter(range(count)), headers)

    @asynccontextmanager
    async def load(self, headers: Mapping[str, str] | None = None) -> AsyncIterator[Counter[tuple[int, str]]]:
        """The same from entry to exit, as fast as they are answered; the counts are complete after the exit."""
        answers: Counter[tuple[int, str]] = Counter()
        ended = False

        async def run() -> None:
            answers.update(await self._count(iter(lambda: ended, True), headers))

        async with asyncio.TaskGroup() as group:
            group.create_task(run())
            try:
                yield answers
            finally:
                ended = True

    async def _count(self, left: Iterator[object], headers: Mapping[str, str] | None) -> Counter[tuple[int, str]]:
        """Sixteen at a time, for each of `left` one."""
        answers: Counter[tuple[int, str]] = Counter()
        async with AsyncExitStack() as stack:
            once = await self._asking(stack, headers)

            async def worker() -> None:
                for _ in left:
                    try:
                        answers[await once()] += 1
                    except (aiohttp.ClientError, OSError):
                        answers[0, ""] += 1

            await asyncio.gather(*(worker() for _ in range(16)))
        return answers

    async def _asking(
        self, stack: AsyncExitStack, headers: Mapping[str, str] | None
    ) -> Callable[[], Awaitable[tuple[int, str]]]:
        host, port = self._address
        if self.speech == "http":
            http = await stack.enter_async_context(
                aiohttp.ClientSession(headers={"Host": manifests.HOST, **(headers or {})})
            )

            async def get() -> tuple[int, str]:
                async with http.get(f"http://{host}:{port}/") as response:
                    await response.read()
                    return response.status, response.headers.get("x-version", "")

            return get
        if self.speech == "grpc":
            client = await stack.enter_async_context(GrpcClient(host, port, manifests.HOST))

            async def call() -> tuple[int, str]:
                answer = await client.call("/shop.v1.Shop/Buy", headers)
                return OK if answer.status == 0 else answer.status, answer.version

            return call
        if self.speech == "udp":

            async def send() -> tuple[int, str]:
                """Each as a client of its own; an answer that does not come within a second is none."""
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.setblocking(False)
                    client.connect((host, port))
                    client.send(b"who?")
                    try:
                        async with asyncio.timeout(1):
                            answer = await asyncio.get_running_loop().sock_recv(client, 1000)
                    except TimeoutError:
                        return 0, ""
                return OK, json.loads(answer)["version"]

            return send

        async def connect() -> tuple[int, str]:
            reader, writer = await asyncio.open_connection(host, port)
            async with asyncio.timeout(10):
                line = await reader.readline()
            writer.close()
            return (OK, json.loads(line)["version"]) if line else (0, "")

        return connect

    async def served_by(self, *versions: str, headers: Mapping[str, str] | None = None) -> None:
        """Wait until these versions answer forty requests in a row, and each some of them: data planes follow their status."""
        answers: Counter[tuple[int, str]] = Counter()
        try:
            async with asyncio.timeout(30):
                while set(answers) != {(OK, version) for version in versions}:
                    answers = await self.ask(40, headers)
        except TimeoutError:
            raise AssertionError(f"{versions}: never; last {answers}") from None

    async def copies(self) -> int:
        return await self.cluster.workloads.copies(NAMESPACE, "shop-canary")

    async def settled_copies(self) -> int:
        """How many copies the canary has got, once none has come for half a second."""
        count, still = await self.copies(), 0
        while still < 5:
            await asyncio.sleep(0.1)
            now = await self.copies()
            still = still + 1 if now == count else 0
            count = now
        return count

    async def counter(self, name: str, **labels: str) -> int:
        """What a metric of the data plane counts under exactly these labels, as Prometheus would scrape it; 0 without one."""
        async with aiohttp.ClientSession() as http, http.get(self.gateway.stats_url) as response:
            text = await response.text()
        found = re.findall(rf"^{name}\{{(.*)\}} (\d+)$", text, re.MULTILINE)
        values = [int(value) for said, value in found if dict(re.findall(r'(\w+)="([^"]*)"', said)) == labels]
        return sum(values)

    # -- objects

    async def route(self) -> Json:
        return await self.cluster.kube.get(ROUTES[self.speech], "shop", NAMESPACE)

    async def change_rules(self, change: Callable[[list[Json]], None]) -> None:
        """Write the rules of the route as somebody else would, and wait until the gateway has accepted them."""
        rules = (await self.route())["spec"]["rules"]
        change(rules)
        await self.cluster.kube.merge_patch(ROUTES[self.speech], "shop", NAMESPACE, {"spec": {"rules": rules}})
        await self.accepted()

    async def accepted(self) -> dict[str, str]:
        """The conditions of the route's only parent, once they are about what is written: status by type."""
        said: Json = {}
        try:
            async with asyncio.timeout(20):
                while True:
                    route = await self.route()
                    parents = (route.get("status") or {}).get("parents") or []
                    said = {one["type"]: one for parent in parents for one in parent["conditions"]}
                    generation = route["metadata"]["generation"]
                    if said and all(one.get("observedGeneration", 0) >= generation for one in said.values()):
                        return {kind: one["status"] for kind, one in said.items()}
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not answered: {json.dumps(said)}") from None

    async def until(self, what: str, condition: Callable[[Json], bool], within: float = 60) -> Json:
        """The Rollout's status once it is so."""
        last: Json = {}
        try:
            async with asyncio.timeout(within):
                while True:
                    last = (await self.cluster.kube.get(ROLLOUTS, "shop", NAMESPACE)).get("status") or {}
                    if condition(last):
                        return last
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{what}: never; the status says {json.dumps(last, indent=1)}") from None

    async def request(self, verb: str) -> None:
        annotation = {"metadata": {"annotations": {"canary.dev/request": verb}}}
        await self.cluster.kube.merge_patch(ROLLOUTS, "shop", NAMESPACE, annotation)

    async def declare(self, steps: Iterable[Json], **spec: Any) -> None:
        """Apply the Rollout, without checks."""
        document = at_port(manifests.rollout())
        document["spec"].pop("traffic", None)
        routes = [{"kind": ROUTES[self.speech].kind, "name": "shop"}]
        document["spec"] |= {"routes": routes, "steps": list(steps), "checks": [], **spec}
        await self.cluster.apply([document])

    async def begin(self, steps: Iterable[Json], **spec: Any) -> None:
        """Declare the Rollout, and deploy v2 once the Rollout is seen."""
        await self.declare(steps, **spec)
        await self.until("the first look", lambda status: status.get("phase") == "Idle")
        await self.cluster.apply([speaking(manifests.deployment("shop-canary", "v2"), self.speech)])

    async def refusal(self) -> tuple[str, str]:
        """Why no run may start: reason and message of Ready."""

        def ready(status: Json) -> Json:
            found: Iterable[Json] = (one for one in status.get("conditions") or [] if one["type"] == "Ready")
            return next(iter(found), {})

        status = await self.until("a refusal", lambda status: ready(status).get("status") == "False")
        return ready(status)["reason"], ready(status)["message"]

    async def step(self, number: int) -> Json:
        """The status once the step of that number (the first is 1) is reached."""
        return await self.until(
            f"step {number}",
            lambda status: (
                (status.get("step") or {}).get("index") == number and bool((status.get("step") or {}).get("reachedAt"))
            ),
        )


def world(controller: str, port: int, speech: Speech = "http") -> list[Json]:
    """The demo's world in another language, its class as the foreign controller wants it."""
    documents = [speaking(at_port(document), speech) for document in manifests.world(port)]
    return [gateway_class(controller), *documents]


def at_port(document: Json) -> Json:
    """A document of the demo, its Services at PORT."""
    text = json.dumps(document)
    return dict(json.loads(text.replace('"port": 8080', f'"port": {PORT}')))


def speaking(document: Json, speech: Speech) -> Json:
    """A document of the demo for that language: it changes listener, route and Deployments."""
    match document["kind"]:
        case "Gateway" if speech in ("tcp", "udp"):
            document["spec"]["listeners"][0]["protocol"] = speech.upper()
        case "Service" if speech == "udp":
            document["spec"]["ports"][0]["protocol"] = "UDP"
        case "HTTPRoute":
            document |= {"apiVersion": ROUTES[speech].api_version, "kind": ROUTES[speech].kind}
            if speech in ("tcp", "udp"):
                del document["spec"]["hostnames"]
        case "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            container["env"].append({"name": "PROTOCOL", "value": speech})
    return document
