"""Manifests and waiting, shared by the tests of the sandbox."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from canary.kube import DEPLOYMENTS, HTTPROUTES
from canary_sandbox.cluster import Sandbox
from canary_sandbox.gateway import CONTROLLER_NAME

Json = dict[str, Any]
API = "gateway.networking.k8s.io"


def meta(name: str, namespace: str | None = "team-shop", generation: int = 1, **more: Any) -> Json:
    place = {"namespace": namespace} if namespace else {}
    return {"name": name, **place, "generation": generation, "uid": f"uid-{namespace}-{name}", **more}


def gateway_class(name: str = "sandbox", controller: str = CONTROLLER_NAME) -> Json:
    spec = {"controllerName": controller}
    return {"apiVersion": f"{API}/v1", "kind": "GatewayClass", "metadata": meta(name, None), "spec": spec}


def gateway(name: str = "shop", namespace: str = "team-shop", listeners: list[Json] | None = None) -> Json:
    spec = {"gatewayClassName": "sandbox", "listeners": listeners or [listener()]}
    return {"apiVersion": f"{API}/v1", "kind": "Gateway", "metadata": meta(name, namespace), "spec": spec}


def listener(name: str = "http", **more: Any) -> Json:
    return {"name": name, "port": 80, "protocol": "HTTP", **more}


def service(name: str, namespace: str = "team-shop", port: int = 8080, **more: Any) -> Json:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": port, "targetPort": 8080, **more}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, namespace), "spec": spec}


def endpoint_slice(
    name: str, port: int, namespace: str = "team-shop", address: str = "127.0.0.1", **conditions: bool
) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta(f"{name}-{port}", namespace, labels={"kubernetes.io/service-name": name}),
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": conditions or {"ready": True}}],
        "ports": [{"name": "http", "port": port}],
    }


def backend(name: str, weight: int | None = None, port: int = 8080, **more: Any) -> Json:
    return {"name": name, "port": port, **({} if weight is None else {"weight": weight}), **more}


def rule(*backends: Json, **more: Any) -> Json:
    return {"backendRefs": list(backends), **more}


def route(
    *rules: Json,
    name: str = "shop",
    namespace: str = "team-shop",
    hostnames: tuple[str, ...] = ("shop.example.com",),
    parent: Json | None = None,
    generation: int = 1,
    kind: str = "HTTPRoute",
) -> Json:
    spec: Json = {"parentRefs": [parent or {"name": "shop"}], "rules": list(rules)}
    if hostnames:
        spec["hostnames"] = list(hostnames)
    return {
        "apiVersion": f"{API}/v1",
        "kind": kind,
        "metadata": meta(name, namespace, generation),
        "spec": spec,
    }


def grant(namespace: str, from_namespace: str, name: str | None = None, kind: str = "HTTPRoute") -> Json:
    target = {"group": "", "kind": "Service", **({"name": name} if name else {})}
    origin = {"group": API, "kind": kind, "namespace": from_namespace}
    return {
        "apiVersion": f"{API}/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": meta("grant", namespace),
        "spec": {"from": [origin], "to": [target]},
    }


def namespace(name: str, **labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta(name, None, labels=labels)}


def deployment(name: str, env: dict[str, str], *, replicas: int = 1, namespace: str = "team-shop", **spec: Any) -> Json:
    container = {
        "name": "app",
        "image": "example.com/shop:v1",
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            **spec,
        },
    }


async def until(condition: Callable[[], Awaitable[Any]], within: float = 10.0, what: str = "the condition") -> Any:
    """Poll until the condition is truthy, and return what it gave; fails the test after `within` seconds."""
    last: Any = None
    try:
        async with asyncio.timeout(within):
            while not (last := await condition()):  # noqa: ASYNC110 - the other side has no event to give
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"{what} did not come true within {within:g} s; last: {last!r}")
    return last


def condition(conditions: list[Json], kind: str) -> Json:
    return next(item for item in conditions if item["type"] == kind)


def parent_condition(obj: Json, kind: str) -> Json:
    """Our condition of a route's only parent; {} while there is none."""
    parents = [
        entry for entry in (obj.get("status") or {}).get("parents") or [] if entry["controllerName"] == CONTROLLER_NAME
    ]
    return condition(parents[0]["conditions"], kind) if parents else {}


@asynccontextmanager
async def client(url: str, host: str = "shop.example.com") -> AsyncGenerator[Callable[..., Awaitable[Any]]]:
    """A function that sends one request and returns its status, headers and text."""
    async with aiohttp.ClientSession(headers={"Host": host}, timeout=aiohttp.ClientTimeout(total=10)) as http:

        async def get(path: str = "/", **more: Any) -> Any:
            method = more.pop("method", "GET")
            async with http.request(method, url + path, **more) as response:
                return SimpleNamespace(status=response.status, headers=response.headers, text=await response.text())

        yield get


def mirror(name: str, **more: Any) -> Json:
    """A filter that copies requests to a Service; `percent`, `fraction`."""
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend(name), **more}}


def manifest(document: Json) -> Json:
    """The document as a user would write it: without what only a server may set."""
    kept = {key: value for key, value in document["metadata"].items() if key not in ("uid", "generation")}
    return {**document, "metadata": kept}


class Shop:
    """A namespace with a Gateway, a route, and a stable (v1) and a canary (v2) Deployment, in a running Sandbox."""

    def __init__(self, cluster: Sandbox) -> None:
        self.cluster = cluster
        self.url = ""

    async def open(self, *, replicas: int = 1, port: int = 80) -> None:
        """`port` is what the Gateway's listener names."""
        await self.cluster.apply([manifest(namespace("team-shop"))])
        pair = (backend("shop-stable", 1), backend("shop-canary", 1))
        documents = [
            gateway(listeners=[listener(port=port)]),
            service("shop-stable"),
            service("shop-canary"),
            route(rule(*pair)),
        ]
        await self.cluster.apply(manifest(document) for document in documents)
        await self.cluster.apply(
            deployment(name, {"VERSION": version}, replicas=replicas)
            for name, version in (("shop-stable", "v1"), ("shop-canary", "v2"))
        )
        self.url = await self.cluster.gateway_url("team-shop", "shop")
        async with client(self.url) as get:
            seen: set[str] = set()

            async def both() -> bool:
                seen.add((await get()).headers.get("x-version", ""))
                return {"v1", "v2"} <= seen

            await until(both, what="traffic to both versions")

    async def route(self, name: str = "shop") -> Json:
        return await self.cluster.kube.get(HTTPROUTES, name, "team-shop")

    async def patch(self, *ops: Json) -> int:
        """Patch the route; returns the generation that this made."""
        return int((await self.cluster.kube.json_patch(HTTPROUTES, "shop", "team-shop", ops))["metadata"]["generation"])

    async def weigh(self, stable: int, canary: int) -> int:
        path = "/spec/rules/0/backendRefs/{}/weight"
        return await self.patch(
            {"op": "replace", "path": path.format(0), "value": stable},
            {"op": "replace", "path": path.format(1), "value": canary},
        )

    async def verdict(self, kind: str, generation: int, name: str = "shop") -> Json:
        """Our condition once it is about `generation`."""

        async def there() -> Json:
            found = parent_condition(await self.route(name), kind)
            return found if found.get("observedGeneration", 0) >= generation else {}

        return await until(there, what=f"{kind} of generation {generation}")

    async def accepted(self, generation: int) -> None:
        assert (await self.verdict("Accepted", generation))["status"] == "True"

    async def fire(self, count: int, **more: Any) -> Counter[tuple[int, str]]:
        """Send requests, 16 at a time; count (status, version)."""
        answers: Counter[tuple[int, str]] = Counter()
        left = iter(range(count))
        async with client(self.url) as get:

            async def worker() -> None:
                for _ in left:
                    answer = await get(**more)
                    answers[answer.status, answer.headers.get("x-version", "")] += 1

            await asyncio.gather(*(worker() for _ in range(16)))
        return answers

    async def deployment(self, name: str) -> Json:
        return await self.cluster.kube.get(DEPLOYMENTS, name, "team-shop")

    async def rolled_out(self, name: str, within: float = 10) -> Json:
        """The Deployment once its rollout is complete, read as `kubectl rollout status` reads it."""

        async def complete() -> Json | None:
            found = await self.deployment(name)
            status, wanted = found.get("status") or {}, found["spec"]["replicas"]
            done = status.get("observedGeneration", 0) >= found["metadata"]["generation"] and all(
                status.get(field, 0) == wanted for field in ("replicas", "updatedReplicas", "availableReplicas")
            )
            return found if done else None

        return await until(complete, within, f"the rollout of {name}")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie that nobody has collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
