"""The API server of the benchmark, with its objects, a gateway that accepts at once, and a harness on standard input.

Times are those of time.time(), so that they can be compared with those of the controller's process.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import world
from canary.routes.intent import Mode, parse_intent, run_annotation
from canary_sandbox.apiserver import ApiServer, AuditEntry
from canary_sandbox.apiserver.store import Event
from canary_sandbox.cluster import gateway_api_crds

USER = "canary-controller"
ROUTE_WRITE = "patch httproutes"
_CRDS = Path(__file__).resolve().parents[1] / "crds"

Json = dict[str, Any]


class Server:
    """Serves `declared` Rollouts at rest and does what the harness says, one JSON object a line."""

    def __init__(self, declared: int, quick: int, interval: float, *, compare: bool = False) -> None:
        self._declared = declared
        self._quick = quick
        self._interval = interval
        self._compare = compare
        self._api = ApiServer(history=400_000)
        self._pending: set[tuple[str, str]] = set()
        self._rolled_back_at: dict[str, float] = {}

    async def run(self) -> None:
        """Serve until standard input ends."""
        async with self._api:
            for folder in (gateway_api_crds(), _CRDS):
                await self._api.install_crds(folder)
            began = time.monotonic()
            self._api.store.put(world.GATEWAYS, world.gateway())
            for number in range(self._declared):
                self._api.store.put(world.NAMESPACES, world.namespace(number))
                quick = number < self._quick
                for resource, document in world.at_rest(number, self._interval, quick=quick, compare=self._compare):
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
                for number in range(command["first"], command["end"]):
                    self._deploy(number)
                    if number % 100 == 0:
                        await asyncio.sleep(0)
                return {}
            case "count":
                counted = Counter(_name(entry) for entry in self._taken())
                return dict(counted)
            case "steps":
                return _per_step(self._taken())
            case "phases":
                statuses = [item.doc.get("status") or {} for item in self._api.store.list(world.ROLLOUTS)]
                phases = Counter(str(status.get("phase")) for status in statuses)
                steps = Counter(
                    str((status.get("step") or {}).get("display"))
                    for status in statuses
                    if status.get("phase") == "Progressing"
                )
                compared = sum(_compared(status) for status in statuses)
                return {"phases": dict(phases), "steps": dict(steps), "compared": compared}
            case "evidence":
                statuses = [item.doc.get("status") or {} for item in self._api.store.list(world.ROLLOUTS)]
                checks = [check for status in statuses for check in status.get("checks") or [] if _compared(status)]
                return {"largest": max((len(json.dumps(check, separators=(",", ":"))) for check in checks), default=0)}
            case "rolled back":
                return dict(self._rolled_back_at)
            case _:
                return {"error": f"unknown command {command}"}

    def _deploy(self, number: int) -> None:
        """A new image for the canary of a team."""
        document = world.deployment("shop-canary", number, "v2", generation=2)
        kept = self._api.store.get(world.DEPLOYMENTS, (world.team(number), "shop-canary"))
        if kept is not None:
            document["metadata"]["uid"] = kept.metadata["uid"]
        self._api.store.put(world.DEPLOYMENTS, document)

    def _taken(self) -> list[AuditEntry]:
        """What the controller has asked since this was last called; watches are opened, not asked."""
        taken = [entry for entry in self._api.audit if entry.user == USER and entry.verb != "watch"]
        self._api.audit.clear()
        return taken

    def _accept(self, event: Event) -> None:
        """The gateway: accepts every new generation a moment later."""
        key = event.after.key
        intent = parse_intent((event.after.metadata.get("annotations") or {}).get(run_annotation("shop")))
        if intent is not None and intent.mode is Mode.ROLLBACK:
            self._rolled_back_at.setdefault(key[0], time.time())
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


def _per_step(entries: list[AuditEntry]) -> Json:
    """Requests by kind in an average weight step: from the patch that writes one weight to the one that writes the next.

    The first step of a run is left out: what starts a run (a finalizer, an Event) would count in it.
    """
    by_team: defaultdict[str, list[str]] = defaultdict(list)
    for entry in entries:
        by_team[entry.namespace].append(_name(entry))
    counted: Counter[str] = Counter()
    steps = 0
    for names in by_team.values():
        writes = [index for index, name in enumerate(names) if name == ROUTE_WRITE]
        for first, following in pairwise(writes[1:]):
            counted.update(names[first:following])
            steps += 1
    return {"steps": steps, "requests": {name: count / steps for name, count in sorted(counted.items())}}


def _compared(status: Json) -> bool:
    """Whether a comparison has looked at something, on record."""
    return any((check.get("evidence") or {}).get("looks") for check in status.get("checks") or [])


def _name(entry: AuditEntry) -> str:
    return f"{entry.verb} {entry.resource}" + (f"/{entry.subresource}" if entry.subresource else "")


if __name__ == "__main__":
    compare = sys.argv[4:] == ["compare"]
    asyncio.run(Server(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), compare=compare).run())
