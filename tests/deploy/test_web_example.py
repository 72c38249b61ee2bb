"""The example that asks other systems, with servers that answer: a good release, a bad one, and a key that is not accepted."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from deploy_kit import ACCOUNT, SYSTEM, USER, Town, kustomized, overlay_with
from test_examples import rollout, world

from canary.controller.run import providers
from canary.controller.settings import Settings
from canary.kube import ROLLOUTS, KubeClient
from canary.metrics.secrets import KEPT

pytestmark = pytest.mark.timeout(180)

Json = dict[str, Any]
TEAM, NAME = "team-signup", "signup"


class Systems:
    """An error tracker, a synthetic monitor and a tracing system behind one address, as far as the example asks them."""

    def __init__(self) -> None:
        self.key, self.total, self.verdict, self.p99 = "key-one", 0, "passing", [0.1, 0.2]
        self.asked: set[str] = set()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/api/v1/projects/{project}/issues", self.issues)
        app.router.add_post("/query", self.journeys)
        app.router.add_get("/latency/{service}", self.latency)
        return app

    async def issues(self, request: web.Request) -> web.Response:
        self.asked.add(f"{request.match_info['project']} {request.query['environment']} {request.query['first-seen']}")
        if request.headers.get("X-Api-Key") != self.key:
            return web.json_response({"error": f"wrong key {request.headers.get('X-Api-Key')}"}, status=401)
        return web.json_response({"total": self.total})

    async def journeys(self, request: web.Request) -> web.Response:
        self.asked.add((await request.json())["target"])
        return web.json_response({"verdict": self.verdict})

    async def latency(self, request: web.Request) -> web.Response:
        return web.json_response({"endpoints": [{"p99": value} for value in self.p99]})


def here(address: str) -> list[Json]:
    """The example with all its systems at one address, and without the counters that only a Prometheus has."""
    found = copy.deepcopy(world("web"))
    spec = found[-1]["spec"]
    del spec["traffic"]
    for check in spec["checks"]:
        host = check["web"]["url"].split("/")[2]
        check["web"]["url"] = check["web"]["url"].replace(f"https://{host}", address)
    return found


def secret(key: str) -> Json:
    metadata = {"name": "errors-api", "namespace": TEAM, "annotations": {"canary.dev/hosts": "127.0.0.1"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": key}}


def rights(folder: Path) -> list[Json]:
    """The namespace's folder, as docs/sources.md shows it."""
    (folder / "team").mkdir()
    text = {"namespace": TEAM, "components": ["../canary/components/secrets"]}
    header = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "team" / "kustomization.yaml").write_text(yaml.safe_dump({**header, **text}))
    return kustomized(folder / "team")


async def test_a_release_lives_by_what_other_systems_say(place: Town, tmp_path: Path) -> None:
    """A good one is promoted; one that breaks a journey comes back, in the words of the answer; a key that changes is the next one shown."""
    assert rollout("web")["metadata"] == {"name": NAME, "namespace": TEAM}
    systems = Systems()
    await place.install(kustomized(overlay_with(tmp_path, "cluster-wide")))
    async with (
        TestServer(systems.application(), host="127.0.0.1") as server,
        await KubeClient.connect(server=place.api.url, token=place.api.add_token(USER)) as kube,
    ):
        settings = Settings(allow_hosts=("127.0.0.1",), lease=(SYSTEM, ACCOUNT))
        provider = providers(settings, kube)
        *objects, mine = here(f"http://127.0.0.1:{server.port}")
        try:
            async with place.controller(provider):
                await place.apply([*objects, secret("key-one"), *rights(tmp_path), mine], "--validate=strict")
                await place.until(NAME, TEAM, lambda status: status.get("phase") == "Idle")
                assert systems.asked == set()  # nobody is asked before a run

                await place.set_image(f"{NAME}-canary", TEAM, "registry.example.com/signup:2.0.0")
                await place.until(NAME, TEAM, lambda status: status.get("phase") == "Succeeded")
                assert systems.asked == {"signup signup-canary 5m", "http://signup-canary.team-signup:8080"}

                systems.key = "key-two"
                await place.set_image(f"{NAME}-canary", TEAM, "registry.example.com/signup:3.0.0")
                status = await place.until(NAME, TEAM, lambda status: "NotAuthorized" in reasons(status))
                held = next(one for one in status["checks"] if one.get("reason") == "NotAuthorized")
                assert "answered 401: it does not accept Secret errors-api" in held["message"]
                assert await place.weights(NAME, TEAM) == [90, 10]
                await place.apply([secret("key-two")])
                await asyncio.sleep(KEPT)
                await place.until(NAME, TEAM, lambda status: (status.get("step") or {}).get("index") == 2)

                systems.verdict = "failing"
                status = await place.until(NAME, TEAM, lambda status: status.get("phase") == "RolledBack")
                assert await place.weights(NAME, TEAM) == [1, 0]
                assert "$.verdict is 'failing', and 'passing' is expected" in json.dumps(status)
        finally:
            await provider.close()
    seen = json.dumps((await place.kube.list(ROLLOUTS, TEAM))["items"])
    assert "key-one" not in seen
    assert "key-two" not in seen


def reasons(status: Json) -> set[str]:
    return {one.get("reason", "") for one in status.get("checks", [])}
