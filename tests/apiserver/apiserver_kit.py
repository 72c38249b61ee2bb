from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import canary.sandbox
from canary.sandbox.apiserver import ApiServer

OURS = Path(canary.sandbox.__file__).parent / "gatewayapi"
GATEWAY_API = Path(os.environ.get("GATEWAY_API_CRDS") or OURS)
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"


@dataclass
class Answer:
    code: int
    body: Any
    headers: Any = field(default_factory=dict)


class Client:
    """The smallest HTTP client of the API: what a request gets, without interpretation."""

    def __init__(self, api: ApiServer, session: aiohttp.ClientSession) -> None:
        self.api = api
        self.session = session

    async def __call__(self, method: str, path: str, body: Any = None, *, patch: str = "", **headers: str) -> Answer:
        sent = {"Authorization": f"Bearer {self.api.token}", "User-Agent": "test/1"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = None
        if body is not None:
            data = body if isinstance(body, (str, bytes)) else json.dumps(body)
            sent.setdefault("Content-Type", {"": "application/json"}.get(patch, f"application/{patch}-patch+json"))
        async with self.session.request(method, self.api.url + path, data=data, headers=sent) as response:
            text = await response.text()
            return Answer(response.status, json.loads(text) if text[:1] in "{[" else text, response.headers)

    async def watch(self, path: str, count: int = 10_000, **headers: str) -> list[dict[str, Any]]:
        """Events of a watch, until there are `count` or the stream ends."""
        sent = {"Authorization": f"Bearer {self.api.token}", **headers}
        events: list[dict[str, Any]] = []
        async with self.session.get(self.api.url + path, headers=sent) as response:
            assert response.status == 200
            async for line in response.content:
                events.append(json.loads(line))
                if len(events) >= count:
                    break
        return events


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@pytest.fixture
async def client(api: ApiServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Client(api, session)


@pytest.fixture
async def routes(api: ApiServer) -> ApiServer:
    """A server that knows the Gateway API: by our definitions, or by those that GATEWAY_API_CRDS names."""
    await api.install_crds(GATEWAY_API)
    return api


async def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true result of a condition that something else brings about."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.02)


@dataclass
class Kubectl:
    """The real kubectl, as a user has it."""

    config: Path
    home: Path

    async def __call__(self, *args: str, stdin: str = "", code: int = 0) -> str:
        """Its output; both streams when it is expected to fail."""
        process = await self.start(*args)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        assert process.returncode == code, f"kubectl {args}: {out.decode()}{err.decode()}"
        return out.decode() if code == 0 else out.decode() + err.decode()

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "kubectl", *args, stdin=pipe, stdout=pipe, stderr=pipe,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": str(self.config)},
        )  # fmt: skip


@pytest.fixture
def kubectl(api: ApiServer, tmp_path: Path) -> Kubectl:
    return Kubectl(api.kubeconfig(tmp_path / "kubeconfig"), tmp_path)


def route(name: str = "shop", **spec: Any) -> dict[str, Any]:
    refs = [{"name": "stable", "port": 80, "weight": 90}, {"name": "canary", "port": 80, "weight": 10}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": [{"backendRefs": refs}], **spec},
    }


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def definition(
    spec: dict[str, Any], *, plural: str = "widgets", kind: str = "Widget", **version: Any
) -> dict[str, Any]:
    """A definition in example.com/v1 whose `spec` has the given schema."""
    schema = {
        "type": "object",
        "properties": {"spec": spec, "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": ["wd"]},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
            ],
        },
    }


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def widget(name: str = "one", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}
