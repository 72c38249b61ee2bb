from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cluster_kit import api_server, own_namespace
from multidict import CIMultiDict
from yarl import URL

import canary_sandbox
from canary_sandbox.apiserver import ApiServer
from canary_sandbox.apiserver.generic import GenericApiServer
from canary_sandbox.cluster import gateway_api_crds

OURS = Path(canary_sandbox.__file__).parent / "gatewayapi"
OWN = "OWN"
_OWN_AS_A_WORD = re.compile(rf"(?<![\w-]){OWN}(?!\w)")
"""Stands for the namespace of the test in whatever a test sends or expects; no real name has capitals."""
ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/OWN/httproutes"


@dataclass
class Answer:
    code: int
    body: Any
    headers: Any = field(default_factory=dict)


class Client:
    """The smallest HTTP client of the API: what a request gets, without interpretation.

    What it sends has `OWN` replaced by the namespace of the test, what it receives the other way round: so every test
    has a namespace (and names of what belongs to none, such as `OWN-reader`, and a group of its own, `OWN.example.com`)
    that nobody else has, and reads as if it were alone.
    """

    def __init__(self, api: GenericApiServer, session: aiohttp.ClientSession, namespace: str = "default") -> None:
        self.api = api
        self.session = session
        self.namespace = namespace

    async def __call__(self, method: str, path: str, body: Any = None, *, patch: str = "", **headers: str) -> Answer:
        sent = {"Authorization": f"Bearer {self.api.token}", "User-Agent": "test/1"}
        sent |= {name.replace("_", "-"): self.placed(value) for name, value in headers.items()}
        data = None
        if body is not None:
            data = body if isinstance(body, (str, bytes)) else json.dumps(body)
            if isinstance(data, str):
                data = self.placed(data)
            sent.setdefault("Content-Type", {"": "application/json"}.get(patch, f"application/{patch}-patch+json"))
        async with self.session.request(method, self.url(path), data=data, headers=sent) as response:
            text = (await response.text()).replace(self.namespace, OWN)
            answered = {name: value.replace(self.namespace, OWN) for name, value in response.headers.items()}
            return Answer(response.status, json.loads(text) if text[:1] in "{[" else text, CIMultiDict(answered))

    def url(self, path: str) -> URL:
        """Where a path of the API is: what it has encoded stays as it is."""
        return URL(self.api.url + self.placed(path), encoded=True)

    def placed(self, text: str) -> str:
        """With the namespace of the test for `OWN` where that stands as a word: in a token it may be three letters."""
        return _OWN_AS_A_WORD.sub(self.namespace, text)

    async def watch(self, path: str, count: int = 10_000, **headers: str) -> list[dict[str, Any]]:
        """Events of a watch, until there are `count` or the stream ends."""
        sent = {"Authorization": f"Bearer {self.api.token}", **headers}
        events: list[dict[str, Any]] = []
        async with self.session.get(self.url(path), headers=sent) as response:
            assert response.status == 200
            async for line in response.content:
                events.append(json.loads(line.replace(self.namespace.encode(), OWN.encode())))
                if len(events) >= count:
                    break
        return events

    async def revision(self) -> str:
        """The resourceVersion of now."""
        return str((await self("GET", "/api/v1/namespaces?limit=1")).body["metadata"]["resourceVersion"])

    async def names(self, path: str) -> list[str]:
        """What a collection has, by name."""
        return [item["metadata"]["name"] for item in (await self("GET", path)).body["items"]]

    async def define(self, doc: dict[str, Any]) -> None:
        """Create a definition and wait until each of its versions is served and can be discovered."""
        made = await self("POST", CRDS, doc)
        assert made.code == 201, made.body
        spec = doc["spec"]
        for version in spec["versions"]:
            path = f"/apis/{spec['group']}/{version['name']}"

            async def served(path: str = path) -> bool:
                listed = await self("GET", f"{path}/{spec['names']['plural']}")
                found = await self("GET", path)
                names = [entry["name"] for entry in found.body["resources"]] if found.code == 200 else []
                return listed.code == 200 and spec["names"]["plural"] in names

            await eventually(served)


@pytest.fixture
async def api() -> AsyncIterator[GenericApiServer]:
    async with api_server() as server:
        yield server


@pytest.fixture
async def client(api: GenericApiServer) -> AsyncIterator[Client]:
    """In a namespace of the test's own."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        client = Client(api, session, own_namespace("conf"))
        made = await client("POST", "/api/v1/namespaces", {"metadata": {"name": OWN}})
        assert made.code == 201, made.body
        yield client


@pytest.fixture
async def routes(api: GenericApiServer) -> GenericApiServer:
    """A server that knows the Gateway API: by our definitions, or by those that GATEWAY_API_CRDS names."""
    await api.install_crds(gateway_api_crds())
    return api


def sandbox(client: Client) -> ApiServer:
    """The server of a test that is for the sandbox only."""
    assert isinstance(client.api, ApiServer)
    return client.api


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
    """The real kubectl, as a user has it; `OWN` as in Client."""

    config: Path
    home: Path
    namespace: str

    async def __call__(self, *args: str, stdin: str = "", code: int = 0) -> str:
        """Its output; both streams when it is expected to fail."""
        process = await self.start(*args)
        out, err = await asyncio.wait_for(process.communicate(stdin.replace(OWN, self.namespace).encode()), 30)
        assert process.returncode == code, f"kubectl {args}: {out.decode()}{err.decode()}"
        said = out.decode() if code == 0 else out.decode() + err.decode()
        return said.replace(self.namespace, OWN)

    async def start(self, *args: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "kubectl", *(arg.replace(OWN, self.namespace) for arg in args), stdin=pipe, stdout=pipe, stderr=pipe,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "KUBECONFIG": str(self.config)},
        )  # fmt: skip


@pytest.fixture
def kubectl(client: Client, tmp_path: Path) -> Kubectl:
    config = client.api.kubeconfig(tmp_path / "kubeconfig", namespace=client.namespace)
    return Kubectl(config, tmp_path, client.namespace)


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
    """A definition in OWN.example.com/v1 whose `spec` has the given schema."""
    schema = {
        "type": "object",
        "properties": {"spec": spec, "status": {"type": "object", "properties": {"ready": {"type": "boolean"}}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.OWN.example.com"},
        "spec": {
            "group": "OWN.example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": ["wd"]},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **version}
            ],
        },
    }


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/OWN.example.com/v1/namespaces/OWN/widgets"
CONFIG_MAPS = "/api/v1/namespaces/OWN/configmaps"


def widget(name: str = "one", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "OWN.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}
