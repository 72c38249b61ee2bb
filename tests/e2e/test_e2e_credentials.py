"""A Prometheus that asks who one is: by its own web configuration, over TLS, and behind a proxy that wants a token."""

from __future__ import annotations

import base64
import json
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from certificates import Authority
from cli_kit import canary
from deployed_kit import NAMESPACE, Deployed, component, deployed

from canary_sandbox.demo import manifests
from canary_sandbox.load import LoadGenerator
from canary_sandbox.prometheus import Guarded, Prometheus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

Json = dict[str, Any]

WORDS = {
    "first-of-its-words-9c1": "$2b$04$K.IPYcrtWnuBiEL8Fs1nuezvFLUn.SaLYtMtWvoC6.RQs2.AFxuX.",
    "second-of-its-words-4e7": "$2b$04$zFV6DtBnf7vQdU4f6FdHcO7/QVFWPRNyVRl6wwgBKsEo9MWupkFam",
}
"""What opens the door, and its bcrypt hash: that is what Prometheus is told."""
FIRST, SECOND = WORDS
WRONG = "never-of-its-words-0a3"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Door(ABC):
    """What stands before the metrics, and lets in who says the word."""

    url: str

    @abstractmethod
    def accept(self, word: str) -> None:
        """From now on this one, and no other."""

    @abstractmethod
    def secret(self, word: str) -> dict[str, str]:
        """What a Secret has to hold for it."""


class Own(Door):
    """Prometheus itself: TLS by an authority of its own, and basic authentication. It reads its web configuration anew for each request."""

    def __init__(self, folder: Path) -> None:
        self._authority, self.file, self._folder = Authority(), folder / "web.yml", folder
        (folder / "server.pem").write_text(self._authority.server())
        (folder / "ca.crt").write_text(self._authority.pem)
        self.accept(FIRST)

    def accept(self, word: str) -> None:
        pem = str(self._folder / "server.pem")
        text = {
            "tls_server_config": {"cert_file": pem, "key_file": pem},
            "basic_auth_users": {"canary": WORDS[word]},
        }
        self.file.write_text(yaml.safe_dump(text))

    def secret(self, word: str) -> dict[str, str]:
        return {"username": "canary", "password": word, "ca.crt": self._authority.pem}

    @asynccontextmanager
    async def before(self, stats: str) -> AsyncIterator[None]:
        tls = ssl.create_default_context(cafile=str(self._folder / "ca.crt"))
        async with Prometheus(
            [stats], guarded=Guarded(self.file, tls, {"Authorization": f"Basic {encoded(f'canary:{FIRST}')}"})
        ) as made:
            self.url = made.url
            await made.scraping()
            yield


class Proxy(Door):
    """A proxy that wants a bearer token, and tells whoever has another one what that was."""

    def __init__(self, _folder: Path) -> None:
        self._word = FIRST

    def accept(self, word: str) -> None:
        self._word = word

    def secret(self, word: str) -> dict[str, str]:
        return {"token": word}

    @asynccontextmanager
    async def before(self, stats: str) -> AsyncIterator[None]:
        async with Prometheus([stats]) as made, aiohttp.ClientSession() as http:
            await made.scraping()

            async def passed_on(request: web.Request) -> web.Response:
                said = request.headers.get("Authorization", "")
                if said != f"Bearer {self._word}":
                    return web.json_response({"status": "error", "error": f"not yours: {said}"}, status=401)
                query, body = request.query_string, await request.read()
                form = {"Content-Type": request.headers.get("Content-Type", "")} if body else {}
                url = f"{made.url}{request.path}?{query}"
                async with http.request(request.method, url, data=body, headers=form) as answer:
                    return web.Response(body=await answer.read(), status=answer.status, content_type="application/json")

            app = web.Application()
            app.router.add_route("*", "/{path:.*}", passed_on)
            async with TestServer(app, host="127.0.0.1") as server:
                self.url = f"http://127.0.0.1:{server.port}"
                yield


def declared(door: Door) -> Json:
    """The shop's Rollout, whose one check asks behind the door."""
    document = manifests.rollout()
    spec = document["spec"]
    del spec["traffic"]
    spec["steps"] = [{"weight": 20, "hold": "2s"}, {"weight": 50, "hold": "10m"}]
    (check,) = spec["checks"]
    check |= {"interval": "1s", "window": "4s"}
    check["prometheus"] |= {"address": door.url, "auth": {"secretRef": {"name": "prometheus"}}}
    return document


async def keep(town: Deployed, door: Door, word: str) -> None:
    """Write the Secret."""
    metadata = {"name": "prometheus", "namespace": NAMESPACE, "annotations": {"canary.dev/hosts": "127.0.0.1"}}
    data = {key: encoded(value) for key, value in door.secret(word).items()}
    await town.cluster.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}])


def says(status: Json) -> Json:
    found: Json = (status.get("checks") or [{}])[0]
    return found


async def told(town: Deployed) -> str:
    """All that anybody gets to read: the object, Events, logs, and what the CLI prints of it and of the cluster."""
    where = ("-n", NAMESPACE, "--kubeconfig", str(town.cluster.kubeconfig))
    printed = []
    for words in (("status", "shop"), ("explain", "shop"), ("doctor",), ("status", "shop", "-o", "json")):
        done = await canary(*words, *where)
        printed += [done.out, done.err]
    return "\n".join([json.dumps(await town.rollout()), json.dumps(await town.events()), town.logs, *printed])


def spellings(word: str) -> set[str]:
    """How a password may be written on its way."""
    return {word, *map(encoded, (word, f"canary:{word}"))}


@pytest.mark.parametrize("door_of", [Own, Proxy])
async def test_a_run_lives_by_a_prometheus_that_asks_who_one_is(door_of: type[Own | Proxy], tmp_path: Path) -> None:
    """Without the right to read the Secret it is Invalid; a wrong word, one that is rotated, and at last the numbers of a bad canary."""
    door = door_of(tmp_path)
    async with deployed(tmp_path) as town, door.before(town.cluster.gateway.stats_url):
        await town.start()
        await keep(town, door, WRONG)
        await town.cluster.apply([declared(door)])
        status = await town.until("that a right is missing", lambda status: status.get("phase") == "Invalid")
        assert f"the controller may not read Secret prometheus in namespace {NAMESPACE}: it lacks " in status["message"]
        assert (
            "the right to `get` secrets there; a platform team gives it by the component secrets" in status["message"]
        )

        await town.cluster.apply(component("secrets"))
        await town.edit(deadline="1h")  # who edits it is not kept waiting for a minute
        await town.until("the right", lambda status: status.get("phase") == "Idle")
        url = await town.cluster.gateway_url(NAMESPACE, "public")
        async with LoadGenerator(url, manifests.HOST, 60, max_seconds=220):
            await town.release("v2")
            status = await town.until("a wrong word", lambda status: says(status).get("reason") == "NotAuthorized")
            assert says(status)["verdict"] == "Unknown"
            assert "answered 401: it does not accept Secret prometheus" in says(status)["message"]
            assert await town.weights() == [80, 20]
            seen = await told(town)
            assert "401" in seen

            await keep(town, door, FIRST)
            passed = await town.until("step two", lambda status: (status.get("step") or {}).get("index") == 2)
            assert says(passed)["verdict"] == "Pass"
            door.accept(SECOND)
            await town.until("that it is another word", lambda status: says(status).get("reason") == "NotAuthorized")
            await keep(town, door, SECOND)
            await town.until("the new word", lambda status: says(status).get("verdict") == "Pass")

            await town.release("v3", errors=60)
            status = await town.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        assert (status["run"]["reason"], says(status)["verdict"]) == ("CheckFailed", "Fail")
        # How much more depends on how many requests of before are in its window by then.
        assert says(status)["value"] > float(says(status)["limit"].removeprefix("<= "))
        assert await town.weights() == [1, 0]
        seen += await told(town)
        for word in (WRONG, FIRST, SECOND):
            assert [spelt for spelt in spellings(word) if spelt in seen] == []
