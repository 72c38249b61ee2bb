"""Real clients against the server: kubectl, kopf, the Python client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import kopf
import pytest
import yaml
from apiserver_kit import ROUTES, Client, Kubectl, definition, eventually, route, widget
from kubernetes import aio

from canary_sandbox.apiserver.generic import GenericApiServer

COLUMNS = [
    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Weight", "type": "integer", "jsonPath": ".spec.weight"},
    {"name": "Share", "type": "number", "jsonPath": ".spec.share", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
SPEC = {
    "type": "object",
    "description": "What is wanted of a widget.",
    "properties": {
        "weight": {"type": "integer", "description": "How heavy it is.", "maximum": 100, "default": 5},
        "share": {"type": "number"},
    },
}


def widgets() -> dict[str, Any]:
    doc = definition(SPEC, subresources={"status": {}}, additionalPrinterColumns=COLUMNS)
    schema = doc["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    condition = {"type": "object", "properties": {name: {"type": "string"} for name in ("type", "status", "reason")}}
    schema["properties"]["status"] = {
        "type": "object",
        "properties": {"conditions": {"type": "array", "items": condition}},
    }
    return doc


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
        - {name: shop, image: "shop:VERSION", ports: [{containerPort: 80}], env: [{name: A, value: "1"}]}
        - {name: side, image: "side:1"}
"""


async def test_kubectl_applies_gets_and_watches(kubectl: Kubectl, api: GenericApiServer) -> None:
    """A definition, an object of it, its columns in a table and in a watch."""
    assert "created" in await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(widgets()))
    await kubectl("wait", "--for=condition=Established", "crd/widgets.OWN.example.com", "--timeout=5s")
    assert "widget.OWN.example.com/one created" in await kubectl(
        "apply", "-f", "-", stdin=yaml.safe_dump(widget(share=0.5))
    )
    lines = (await kubectl("get", "wd")).splitlines()
    assert lines[0].split() == ["NAME", "READY", "WEIGHT", "AGE"]
    assert lines[1].split()[:2] == ["one", "5"]
    wide = (await kubectl("get", "widgets", "-o", "wide")).splitlines()
    assert wide[0].split() == ["NAME", "READY", "WEIGHT", "SHARE", "AGE"]
    assert yaml.safe_load(await kubectl("get", "widget", "one", "-o", "yaml"))["spec"] == {"share": 0.5, "weight": 5}
    watching = await kubectl.start("get", "widgets", "-w")
    await eventually(lambda: api.watching == 1)
    await kubectl("patch", "wd", "one", "--type=json", "-p", '[{"op":"replace","path":"/spec/weight","value":50}]')
    assert watching.stdout is not None
    shown = [await asyncio.wait_for(watching.stdout.readline(), 10) for _ in range(3)]
    watching.terminate()
    await watching.communicate()
    assert shown[2].split()[:2] == [b"one", b"50"]


async def test_kubectl_applies_a_deployment_twice(kubectl: Kubectl) -> None:
    """The second apply is a strategic merge: the other container and the defaults stay."""
    assert "created" in await kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("VERSION", "1"))
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("VERSION", "1"))
    assert "configured" in await kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("VERSION", "2"))
    doc = json.loads(await kubectl("get", "deployment", "shop", "-o", "json"))
    containers = doc["spec"]["template"]["spec"]["containers"]
    assert [container["image"] for container in containers] == ["shop:2", "side:1"]
    assert containers[0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert doc["metadata"]["generation"] == 2
    await kubectl("scale", "deployment/shop", "--replicas=3")
    assert "0/3" in await kubectl("get", "deploy", "shop")
    await kubectl("set", "image", "deployment/shop", "side=side:2")
    assert "side:2" in await kubectl("get", "deploy", "-o", "wide")


async def test_kubectl_is_told_what_is_wrong(kubectl: Kubectl, routes: GenericApiServer) -> None:
    """An unknown field, a bad value and a failed test come out in the words users know."""
    misspelt = route()
    misspelt["spec"]["rules"][0]["backendRefs"][0]["wieght"] = 1
    said = await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(misspelt), code=1)
    assert 'unknown field "spec.rules[0].backendRefs[0].wieght"' in said
    heavy = yaml.safe_dump(route()).replace("weight: 90", "weight: -1")
    said = await kubectl("apply", "-f", "-", stdin=heavy, code=1)
    assert 'The HTTPRoute "shop" is invalid: spec.rules[0].backendRefs[0].weight: Invalid value: -1' in said
    await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(route()))
    failing = '[{"op":"test","path":"/spec/rules/0/backendRefs/0/weight","value":1}]'
    said = await kubectl("patch", "httproute", "shop", "--type=json", "-p", failing, code=1)
    assert "The request is invalid" in said
    assert "NotFound" in await kubectl("get", "httproute", "nothing", code=1)


async def test_kubectl_edits_explains_and_cleans_up(kubectl: Kubectl, routes: GenericApiServer, client: Client) -> None:
    """annotate, label, replace, explain, api-resources, wait, describe with events, delete, create namespace, whoami."""
    await kubectl("apply", "-f", "-", stdin=yaml.safe_dump(route()))
    await kubectl("annotate", "httproute", "shop", "canary.dev/run=1")
    await kubectl("label", "httproute", "shop", "team=shop")
    edited = (await kubectl("get", "httproute", "shop", "-o", "yaml")).replace("weight: 90", "weight: 80")
    assert "replaced" in await kubectl("replace", "-f", "-", stdin=edited)
    assert "canary.dev/run" in await kubectl("get", "httproute", "shop", "-o", "yaml")
    assert "weight	<integer>" in await kubectl("explain", "httproute.spec.rules.backendRefs")
    assert "FIELD: weight <integer>" in await kubectl("explain", "httproutes.spec.rules.backendRefs.weight")
    listed = await kubectl("api-resources", "--api-group=gateway.networking.k8s.io")
    assert {"httproutes", "gateways", "gatewayclasses", "referencegrants"} <= set(listed.split())
    made = (await client("GET", f"{ROUTES}/shop")).body["metadata"]
    event = {
        "metadata": {"name": "shop.1"}, "reason": "Weighted", "message": "10 % on canary", "type": "Normal",
        "involvedObject": {"kind": "HTTPRoute", "name": "shop", "namespace": "OWN", "uid": made["uid"]},
        "firstTimestamp": made["creationTimestamp"], "lastTimestamp": made["creationTimestamp"], "count": 1,
    }  # fmt: skip
    await client("POST", "/api/v1/namespaces/OWN/events", event)
    described = await kubectl("describe", "httproute", "shop")
    assert "Weighted" in described
    assert "10 % on canary" in described
    assert "Weighted" in await kubectl("get", "events")
    assert "deleted" in await kubectl("delete", "httproute", "shop", "--timeout=5s")
    assert "created" in await kubectl("create", "namespace", "OWN-team")
    assert "deleted" in await kubectl("delete", "namespace", "OWN-team", "--wait=false")
    assert "admin" in await kubectl("auth", "whoami")
    assert "yes" in await kubectl("auth", "can-i", "patch", "httproutes")


async def test_kubectl_creates_builtin_objects_by_command(kubectl: Kubectl) -> None:
    """The imperative commands send protobuf, which a real server reads, too."""
    await kubectl("create", "configmap", "settings", "--from-literal=mode=fast")
    assert await kubectl("get", "cm", "settings", "-o", "jsonpath={.data.mode}") == "fast"
    await kubectl("create", "secret", "generic", "key", "--from-literal=a=b")
    assert await kubectl("get", "secret", "key", "-o", "jsonpath={.data.a}") == "Yg=="
    await kubectl("create", "serviceaccount", "robot")
    await kubectl("create", "deployment", "shop", "--image=shop:1", "--replicas=2", "--port=80")
    doc = json.loads(await kubectl("get", "deployment", "shop", "-o", "json"))
    assert doc["spec"]["replicas"] == 2
    assert doc["spec"]["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    await kubectl("expose", "deployment", "shop", "--port=80", "--target-port=8080")
    service = json.loads(await kubectl("get", "service", "shop", "-o", "json"))
    assert service["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 8080}]
    await kubectl("create", "service", "clusterip", "plain", "--tcp=80:http")
    assert await kubectl("get", "svc", "plain", "-o", "jsonpath={.spec.ports[0].targetPort}") == "http"


async def test_an_operator_of_kopf_works(
    api: GenericApiServer, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds resources, watches, patches status, posts events, holds a finalizer and lets go of it."""
    namespace = client.namespace
    await client.define(widgets())
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig(tmp_path / "kubeconfig", user="operator")))
    registry, group = kopf.OperatorRegistry(), f"{namespace}.example.com"
    seen: list[tuple[str, str]] = []

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> Any:
        return kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(group, "v1", "widgets", registry=registry)
    async def changed(event: Any, name: str, **_: Any) -> None:
        seen.append((event["type"], name))

    @kopf.on.create(group, "v1", "widgets", registry=registry)
    async def created(body: Any, patch: Any, **_: Any) -> None:
        patch.status["conditions"] = [{"type": "Ready", "status": "True"}]
        kopf.info(body, reason="Made", message="as wanted")

    @kopf.on.delete(group, "v1", "widgets", registry=registry)
    async def deleted(name: str, **_: Any) -> None:
        seen.append(("handled", name))

    settings = kopf.OperatorSettings()
    settings.posting.enabled = True
    settings.watching.server_timeout = 60
    stop, ready = asyncio.Event(), asyncio.Event()
    operator = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=settings,
            namespaces=[namespace],
            stop_flag=stop,
            ready_flag=ready,
            standalone=True,
        )
    )
    path = "/apis/OWN.example.com/v1/namespaces/OWN/widgets"
    try:
        await asyncio.wait_for(ready.wait(), 10)
        await client("POST", path, widget())

        async def is_ready() -> bool:
            return (await client("GET", f"{path}/one")).body.get("status", {}).get("conditions", [{}])[0].get(
                "status"
            ) == "True"

        async def has_event() -> bool:
            events = (await client("GET", "/api/v1/namespaces/OWN/events")).body["items"]
            return any(event["reason"] == "Made" and event["involvedObject"]["name"] == "one" for event in events)

        await eventually(is_ready)
        await eventually(has_event)
        api.drop_watches()
        await eventually(lambda: api.watching > 0)
        assert (await client("DELETE", f"{path}/one")).body["metadata"]["finalizers"]

        async def is_gone() -> bool:
            return ("handled", "one") in seen and not await client.names(path)

        await eventually(is_gone)
        await eventually(lambda: ("DELETED", "one") in seen)
    finally:
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(operator, 20)
    assert {entry.user for entry in api.audit if entry.verb == "watch"} == {"operator"}
    assert threading.active_count() < 50


@pytest.mark.usefixtures("routes")
async def test_the_python_client_works(api: GenericApiServer, client: Client, tmp_path: Path) -> None:
    """Configuration from the kubeconfig, typed and untyped calls, a watch that ends by itself."""
    namespace = client.namespace
    await aio.config.load_kube_config(str(api.kubeconfig(tmp_path / "kubeconfig")))
    async with aio.client.ApiClient() as raw:
        custom = aio.client.CustomObjectsApi(raw)
        where = {"group": "gateway.networking.k8s.io", "version": "v1", "namespace": namespace, "plural": "httproutes"}
        await custom.create_namespaced_custom_object(**where, body=route())
        listed = await custom.list_namespaced_custom_object(**where)
        assert [item["metadata"]["name"] for item in listed["items"]] == ["shop"]
        core = aio.client.CoreV1Api(raw)
        namespaces = await core.list_namespace()
        assert "default" in [item.metadata.name for item in namespaces.items]
        with pytest.raises(aio.client.ApiException) as missing:
            await core.read_namespaced_service("nothing", namespace)
        assert missing.value.status == 404
        watch = aio.watch.Watch()
        events = [
            (event["type"], event["object"]["metadata"]["name"])
            async for event in watch.stream(custom.list_namespaced_custom_object, **where, timeout_seconds=1)
        ]
        assert events == [("ADDED", "shop")]
