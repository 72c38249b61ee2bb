"""The API server of the benchmark, with its objects, a gateway that accepts at once, and a referee on standard input."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from canary.sandbox.apiserver import ApiServer
from canary.sandbox.apiserver.store import Event
from canary.sandbox.bench import world
from canary.sandbox.cluster import gateway_api_crds

USER = "canary-controller"
_CRDS = Path(__file__).resolve().parents[3] / "crds"

Json = dict[str, Any]


class Server:
    """Serves `declared` Rollouts at rest and does what the referee says, one JSON object a line."""

    def __init__(self, declared: int) -> None:
        self._declared = declared
        self._api = ApiServer(history=400_000)
        self._pending: set[tuple[str, str]] = set()
        self._deployed_at = 0.0

    async def run(self) -> None:
        """Serve until standard input ends."""
        async with self._api:
            for folder in (gateway_api_crds(), _CRDS):
                await self._api.install_crds(folder)
            began = time.monotonic()
            for number in range(self._declared):
                self._api.store.put(world.NAMESPACES, world.namespace(number))
                for resource, document in world.at_rest(number):
                    self._api.store.put(resource, document)
                if number % 200 == 0:
                    await asyncio.sleep(0)
            self._api.store.subscribe(world.ROUTES, self._accept)
            token = self._api.add_token(USER)
            self._say({"url": self._api.url, "token": token, "seeded_seconds": time.monotonic() - began})
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
            while line := await reader.readline():
                self._say(await self._do(json.loads(line)))

    async def _do(self, command: Json) -> Json:
        match command["do"]:
            case "deploy":
                for number in range(command["count"]):
                    document = world.deployment("shop-canary", number, command["version"], command["generation"])
                    kept = self._api.store.get(world.DEPLOYMENTS, (world.team(number), "shop-canary"))
                    if kept is not None:
                        document["metadata"]["uid"] = kept.metadata["uid"]
                    self._api.store.put(world.DEPLOYMENTS, document)
                return {}
            case "count":
                entries = [entry for entry in self._api.audit if entry.user == USER and entry.verb != "watch"]
                counted = Counter(_name(entry) for entry in entries)
                self._api.audit.clear()
                return dict(counted)
            case "phases":
                items = self._api.store.list(world.ROLLOUTS)
                phases = Counter(str((item.doc.get("status") or {}).get("phase")) for item in items)
                steps = Counter(
                    str(((item.doc.get("status") or {}).get("step") or {}).get("display"))
                    for item in items
                    if (item.doc.get("status") or {}).get("phase") == "Progressing"
                )
                return {"phases": dict(phases), "steps": dict(steps)}
            case _:
                return {"error": f"unknown command {command}"}

    def _accept(self, event: Event) -> None:
        """The gateway: accepts every new generation a moment later."""
        key = event.after.key
        if key not in self._pending:
            self._pending.add(key)
            asyncio.get_running_loop().call_later(0.01, self._accept_now, key)

    def _accept_now(self, key: tuple[str, str]) -> None:
        self._pending.discard(key)
        kept = self._api.store.get(world.ROUTES, key)
        if kept is None:
            return
        fresh = world.accepted(kept.doc)
        if fresh["status"] != kept.doc.get("status"):
            self._api.store.put(world.ROUTES, fresh)

    @staticmethod
    def _say(answer: Json) -> None:
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _name(entry: Any) -> str:
    return f"{entry.verb} {entry.resource}" + (f"/{entry.subresource}" if entry.subresource else "")


if __name__ == "__main__":
    asyncio.run(Server(int(sys.argv[1])).run())
