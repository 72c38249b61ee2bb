"""What a GitOps tool does to a route, as requests to an API server: applies what Git has, whatever stands there.

How each does it, by its own source (Argo CD 3.6, kustomize-controller 1.9): Flux applies on the server, by force, as
`kustomize-controller`, after a dry run that shows a difference. So does Argo CD with `ServerSideApply=true`, as
`argocd-controller`; by default it applies like kubectl, with a merge patch of three documents, of which the last one applied is in
an annotation. Told to ignore differences, Argo CD sends the whole list of rules as the cluster has it (lists of a custom
resource are one value), and Flux the ignored fields, found by their places.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any, Self

from controller_kit import (
    RUN_ANNOTATION,
    World,
    backend,
    check,
    deployment_document,
    gateway_document,
    pair_weights,
    route_document,
    rule,
    service_document,
)

from canary.errors import NotFound
from canary.kube import DEPLOYMENTS, GATEWAYS, HTTPROUTES, SERVICES
from canary.routes.pair import Weights

Json = dict[str, Any]
Keep = Callable[[Json, Json], None]
"""Copies into what Git has (first) what is to stay as the cluster has it (second)."""

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
GET = [{"path": {"type": "PathPrefix", "value": "/"}, "method": "GET"}]
LONG = [{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "30s"}, {"weight": 100, "hold": "10s"}]
SHORT = [
    {"mirror": {"percent": 20}, "hold": "10s"},
    {"weight": 10, "hold": "30s"},
    {"weight": 50, "hold": "10s"},
    {"weight": 100, "hold": "10s"},
]

TOOLS = ("kustomize-controller", "argocd-controller", "argocd-controller, client-side")


class GitOpsTool:
    """One tool, and the route that Git has. `keep`: what it has been told to leave alone."""

    def __init__(self, world: World, name: str, git: Json, keep: Keep | None = None) -> None:
        self.git = git
        self.keep = keep
        self.manager, _, how = name.partition(", ")
        self._client_side = bool(how)
        self._world = world

    async def furnish(self) -> Self:
        """Everything that a run needs; the route comes from Git."""
        world = self._world
        self._kube: Any = await world.person(self.manager)
        await world.create(GATEWAYS, gateway_document())
        for name in ("stable", "canary"):
            await world.create(SERVICES, service_document(name))
            await world.create(DEPLOYMENTS, deployment_document(name))
        await self.sync()
        await world.settle()
        return self

    async def live(self) -> Json | None:
        """The route as the cluster has it now."""
        try:
            found: Json = await self._kube.get(HTTPROUTES, self.git["metadata"]["name"], self._world.namespace)
        except NotFound:
            return None
        return found

    async def sync(self, seen: Json | None = None) -> None:
        """Put what Git has on the cluster. `seen`: the route as the tool read it, some time ago."""
        live = await self.live()
        wanted = copy.deepcopy(self.git)
        kept = seen or live
        if self.keep is not None and kept is not None:
            self.keep(wanted, kept)
        if self._client_side:
            await self._apply_like_kubectl(wanted, live)
        elif live is None or (await self.apply(wanted, dry_run=True))["spec"] != live["spec"]:
            await self.apply(wanted)

    async def beside(self, seconds: float, every: float = 3) -> None:
        """Sync again and again while this much time passes."""
        for _ in range(round(seconds / every)):
            await self.sync()
            await self._world.pass_(every)

    async def apply(self, wanted: Json, *, force: bool = True, dry_run: bool = False) -> Json:
        """Server-side apply."""
        more = {**({"force": "true"} if force else {}), **({"dryRun": "All"} if dry_run else {})}
        name, kind = wanted["metadata"]["name"], "application/apply-patch+yaml"
        found: Json = await self._kube._patch(
            HTTPROUTES, name, self._world.namespace, wanted, content_type=kind, subresource=None, more=more
        )
        return found

    async def _apply_like_kubectl(self, wanted: Json, live: Json | None) -> None:
        wanted["metadata"]["annotations"] = {
            **wanted["metadata"].get("annotations", {}),
            LAST_APPLIED: json.dumps(wanted),
        }
        if live is None:
            await self._kube.create(HTTPROUTES, wanted, self._world.namespace)
            return
        last = json.loads((live["metadata"].get("annotations") or {}).get(LAST_APPLIED, "{}"))
        patch = merge_patch(last, wanted, live)
        if patch:
            await self._kube.merge_patch(HTTPROUTES, wanted["metadata"]["name"], self._world.namespace, patch)


def merge_patch(last: Json, wanted: Json, live: Json) -> Json:
    """What brings a live document to what is wanted, and takes away what was applied last and is not wanted any more."""
    patch: Json = {key: None for key in last if key not in wanted and key in live}
    for key, value in wanted.items():
        there = live.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            before = last.get(key)
            inner = merge_patch(before if isinstance(before, dict) else {}, value, there)
            if inner:
                patch[key] = inner
        elif value != there:
            patch[key] = value
    return patch


def live_rules(git: Json, live: Json) -> None:
    """`RespectIgnoreDifferences=true`: a list that holds an ignored field is sent as the cluster has it."""
    git["spec"]["rules"] = copy.deepcopy(live["spec"]["rules"])


def live_weights(git: Json, live: Json) -> None:
    """`spec.ignore` of a Kustomization: the weights at the places that it names, as the cluster has them."""
    for wanted, there in zip(git["spec"]["rules"], live["spec"]["rules"], strict=True):
        for ref, other in zip(wanted["backendRefs"], there["backendRefs"], strict=True):
            ref["weight"] = other["weight"]


def writers_of_rules(route: Json) -> set[str]:
    """The field managers that own the rules of a route."""
    entries = route["metadata"].get("managedFields") or []
    return {
        str(entry["manager"])
        for entry in entries
        if not entry.get("subresource") and "f:rules" in entry["fieldsV1"].get("f:spec", {})
    }


# -- a run beside a tool ------------------------------------------------------------------------------------------------


def in_git(stable: int | None = 1, canary: int | None = 0) -> Json:
    """The route as Git has it: weights written out, or left out."""
    return route_document("shop", rule(backend("stable", stable), backend("canary", canary), matches=GET))


async def beside(world: World, tool: GitOpsTool, **spec: Any) -> None:
    """The tool has put everything there, and a controller has found it settled."""
    await tool.furnish()
    await world.declare(checks=[check(interval="5s")], **spec)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")


async def at_ten(world: World, tool: GitOpsTool, **spec: Any) -> None:
    """A run that holds 10 %."""
    await beside(world, tool, **{"steps": LONG, **spec})
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    await world.settle()


def written(world: World, since: int = 0) -> int:
    """How many of our patches of routes took effect, from a point in the record on."""
    return len([entry for entry in world.writes()[since:] if entry.resource == "httproutes" and entry.code == 200])


def shares(world: World, since: int = 0) -> list[int]:
    """The canary's share in percent, each time that it changed, from a version of the route on."""
    found: list[int] = []
    for version in world.records.versions["httproutes"][since:]:
        share = int(Weights(*pair_weights(version["spec"]["rules"][0])).share)
        if not found or found[-1] != share:
            found.append(share)
    return found


def seen(world: World) -> int:
    """How many versions of the route there have been."""
    return len(world.records.versions["httproutes"])


async def applies_without_force(world: World, tool: GitOpsTool) -> None:
    """What the run touched is the tool's again: its next apply needs no force, though it changes a rule."""
    live = await tool.live()
    assert live is not None
    assert "canary" not in writers_of_rules(live)
    assert RUN_ANNOTATION not in (live["metadata"].get("annotations") or {})
    changed = copy.deepcopy(tool.git)
    changed["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "/other"}, "method": "GET"}]
    if tool.manager in {
        entry["manager"] for entry in live["metadata"]["managedFields"] if entry["operation"] == "Apply"
    }:
        await tool.apply(changed, force=False)
    else:
        tool.git, tool.keep = changed, None
        await tool.sync()
    await world.settle()
    assert world.route()["spec"]["rules"][0]["matches"][0]["path"]["value"] == "/other"
