"""Definitions of kinds of route as clusters of various ages serve them."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import yaml

import canary_sandbox
from canary.errors import NotFound, NotServed
from canary.kube import CRDS, ROUTES, Kube, Resource

Json = dict[str, Any]

CONCISE = Path(canary_sandbox.__file__).parent / "gatewayapi"


def definition(kind: str, *served: str, unserved: tuple[str, ...] = ()) -> Json:
    """A kind without hostnames and matches (TCPRoute, UDPRoute) in these versions; the last of `served` is stored."""
    document = copy.deepcopy(yaml.safe_load((CONCISE / "tlsroutes.yaml").read_text()))
    plural = ROUTES[kind].plural
    document["metadata"]["name"] = ROUTES[kind].definition
    document["spec"]["names"] |= {"plural": plural, "singular": plural[:-1], "kind": kind, "listKind": f"{kind}List"}
    (version,) = document["spec"]["versions"]
    spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["required"], _ = ["rules"], spec["properties"].pop("hostnames")
    version["additionalPrinterColumns"] = version["additionalPrinterColumns"][1:]
    document["spec"]["versions"] = [
        {**copy.deepcopy(version), "name": name, "served": name in served, "storage": name == served[-1]}
        for name in (*served, *unserved)
    ]
    return document


def concise(kind: str) -> Json:
    """The definition that the sandbox has of a kind."""
    document: Json = yaml.safe_load((CONCISE / f"{ROUTES[kind].plural}.yaml").read_text())
    return document


async def install(kube: Kube, document: Json) -> None:
    """Apply a definition and wait until each of its versions is as it says."""
    name = document["metadata"]["name"]
    await _not_of_others(kube, name)
    try:
        await kube.merge_patch(CRDS, name, None, {"spec": document["spec"]})
    except NotFound:
        await kube.create(CRDS, document)
    spec = document["spec"]
    async with asyncio.timeout(20):
        for version in spec["versions"]:
            resource = Resource(spec["group"], version["name"], spec["names"]["plural"], spec["names"]["kind"])
            while await _lists(kube, resource) != version["served"]:  # noqa: ASYNC110 - a server tells nobody
                await asyncio.sleep(0.02)


async def remove(kube: Kube, kind: str) -> None:
    """Delete a definition, and wait until it is gone."""
    await _not_of_others(kube, ROUTES[kind].definition)
    async with asyncio.timeout(20):
        while True:
            try:
                await kube.delete(CRDS, ROUTES[kind].definition)
            except NotFound:
                return
            await asyncio.sleep(0.02)


async def _not_of_others(kube: Kube, name: str) -> None:
    """On a cluster of somebody's, a definition that they have brought is theirs: with it go all routes of its kind."""
    try:
        there = await kube.get(CRDS, name)
    except NotFound:
        return
    approved = (there["metadata"].get("annotations") or {}).get("api-approved.kubernetes.io", "")
    assert approved.startswith("unapproved, a concise form"), f"this cluster has {name} already: it is left alone"


async def _lists(kube: Kube, resource: Resource) -> bool:
    try:
        await kube.list(resource)
    except NotServed:
        return False
    return True


def scaled_object_definition() -> Json:
    """The definition of KEDA's ScaledObject, as far as it matters here."""
    names = {"plural": "scaledobjects", "singular": "scaledobject", "kind": "ScaledObject"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "scaledobjects.keda.sh"},
        "spec": {
            "group": "keda.sh",
            "names": {**names, "listKind": "ScaledObjectList"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def policy_definition() -> Json:
    """The definition of a policy (GEP-713), as far as it matters here."""
    names = {"plural": "securitypolicies", "singular": "securitypolicy", "kind": "SecurityPolicy"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "securitypolicies.gateway.envoyproxy.io",
            "labels": {"gateway.networking.k8s.io/policy": "Direct"},
        },
        "spec": {
            "group": "gateway.envoyproxy.io",
            "names": {**names, "listKind": "SecurityPolicyList"},
            "scope": "Namespaced",
            "versions": [version],
        },
    }
