"""The component `keep-weights` on a real API server, and routes in runs to try it on."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import yaml
from controller_kit import Json, World, backend, route_document, rule
from deploy_kit import COMPONENTS, kustomized
from gitops_kit import GitOpsTool

from canary.kube import HTTPROUTES, NAMESPACES, Resource
from canary.routes.identity import rule_key
from canary.routes.intent import Intent, Mode, run_annotation
from canary.routes.pair import Backend, Pair, Weights

GROUP = "admissionregistration.k8s.io"
KINDS = {
    kind: Resource(GROUP, "v1", plural, kind, namespaced=False)
    for kind, plural in (
        ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
        ("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings"),
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    )
}
LISTED = ("kustomize-controller", "argocd-controller")
"""Who is listed here: the users by whose names the tools of these tests apply."""
BYPASS = {"canary.dev/keep-weights": "false"}
REAL_SECONDS = 30.0


def rendered(folder: Path, listed: tuple[str, ...] = LISTED) -> list[Json]:
    """The component with a list of one's own, by the patch that its first lines show."""
    text = (COMPONENTS / "keep-weights" / "kustomization.yaml").read_text()
    shown = "\n".join(line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   "))
    (patch,) = yaml.safe_load(shown)
    (operation,) = yaml.safe_load(patch["patch"])
    operation["value"] = f"request.userInfo.username in {json.dumps(listed)}"
    shutil.copytree(COMPONENTS / "keep-weights", folder / "component")
    mine = folder / "mine"
    mine.mkdir()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "components": ["../component"],
        "patches": [{**patch, "patch": yaml.safe_dump([operation])}],
    }
    (mine / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomized(mine)


async def install(world: World, documents: list[Json]) -> None:
    """Put the component there, by a name of this world's, and wait until it is in force."""
    for document in documents:
        name = document["metadata"]["name"] = f"{document['metadata']['name']}-{world.namespace}"
        if "policyName" in document["spec"]:
            document["spec"]["policyName"] = name
        await world.create(KINDS[document["kind"]], document, world.admin)
    apart = probe_namespace(world)
    await world.admin.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": apart}})
    await world.admin.create(HTTPROUTES, stored(apart, "probe", Weights(90, 10)), apart)
    await in_force(world)


def probe_namespace(world: World) -> str:
    """Where a route stands in a run that nobody looks after: whether the component is in force is tried on it."""
    return f"probe-{world.namespace}"


async def in_force(world: World) -> None:
    """Wait until the API server keeps weights: it reads policies in its own time."""
    async with asyncio.timeout(REAL_SECONDS):
        git, apart = route_document("probe"), probe_namespace(world)
        while not await warnings(world, LISTED[0], git, apart) or weights(await dry(world, git, apart)) != [90, 10]:  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.05)


async def ask(
    world: World, by: str, method: str, document: Json, namespace: str, media: str, **query: str
) -> httpx.Response:
    """Send a route as somebody, and return the whole answer."""
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{document['metadata']['name']}"
    headers = {"Authorization": f"Bearer {world.clients.token(by)}", "Content-Type": media}
    async with httpx.AsyncClient(base_url=world.api.url) as client:
        answer = await client.request(method, path, headers=headers, params=query, content=json.dumps(document))
    assert answer.status_code == 200, answer.text
    return answer


async def warnings(world: World, by: str, document: Json, namespace: str = "") -> str:
    """What the API server warns of in its answer to a forced apply."""
    media = "application/apply-patch+yaml"
    answer = await ask(
        world, by, "PATCH", document, namespace or world.namespace, media, fieldManager=by, force="true", dryRun="All"
    )
    return str(answer.headers.get("Warning", ""))


async def dry(
    world: World, document: Json, namespace: str, by: str = LISTED[0], resource: Resource = HTTPROUTES
) -> Json:
    """What the API server would make of a forced apply."""
    kube: Any = await world.person(by)
    more, name = {"force": "true", "dryRun": "All"}, document["metadata"]["name"]
    media = "application/apply-patch+yaml"
    found: Json = await kube._patch(
        resource, name, namespace, document, content_type=media, subresource=None, more=more
    )
    return found


async def tool_of(world: World, git: Json, name: str = LISTED[0]) -> GitOpsTool:
    """A tool that has yet to apply anything."""
    tool = GitOpsTool(world, name, git)
    tool._kube = await world.person(tool.manager)
    return tool


def weights(route: Json, index: int = 0) -> list[int]:
    """The weights of a rule, in its order."""
    return [ref["weight"] for ref in route["spec"]["rules"][index]["backendRefs"]]


def stored(namespace: str, name: str, written: Weights, *rules: Json, kind: Resource = HTTPROUTES) -> Json:
    """A route in a run of a Rollout of its name that has written these weights to its rules."""
    listed = rules or (rule(backend("stable", written.stable), backend("canary", written.canary)),)
    document = route_document(name, *listed)
    document |= {"apiVersion": kind.api_version, "kind": kind.kind}
    if kind.plural not in {"httproutes", "grpcroutes", "tlsroutes"}:
        del document["spec"]["hostnames"]
    keys = [rule_key(index, one) for index, one in enumerate(listed)]
    pair = Pair(Backend("stable", namespace, 80), Backend("canary", namespace, 80))
    intent = Intent(
        name, "uid", 1, Mode.STEP, 1, dict.fromkeys(keys, written), dict.fromkeys(keys, Weights(1, 0)), pair
    )
    document["metadata"]["annotations"] = {run_annotation(name): intent.dump()}
    return document
