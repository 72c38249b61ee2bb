"""The CRDs: printed from the models, structural, and accepted by an API server that refuses what they forbid."""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cluster_kit import api_server, own_namespace
from model_kit import SPEC, changed

from canary.model.crd import crds, render
from canary.model.values import number_or_string
from canary_sandbox.apiserver import ApiServer
from canary_sandbox.apiserver.generic import GenericApiServer

Json = dict[str, Any]
FOLDER = Path(__file__).parents[2] / "crds"
PRINTED = crds()


def schema_of(name: str) -> Json:
    found: Json = PRINTED[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


def walk(node: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every schema within a schema, with its path."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    if isinstance(node.get("items"), dict):
        yield from walk(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from walk(node["additionalProperties"], f"{path}{{}}")


ALL = [(name, path, node) for name in PRINTED for path, node in walk(schema_of(name))]


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_what_is_in_the_folder_is_what_the_models_say(name: str) -> None:
    """`make crds` prints them; nobody edits them."""
    assert (FOLDER / name).read_text(encoding="utf-8") == render(PRINTED[name])


def test_there_are_no_others() -> None:
    """A CRD that no model prints would be a leftover."""
    assert {path.name for path in FOLDER.glob("*.yaml")} == set(PRINTED)


KNOWN = {
    "type",
    "format",
    "description",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "anyOf",
    "not",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}


def test_schemas_are_structural() -> None:
    """Only words that an API server knows, and a type everywhere but where a number or a string may stand.

    There other bounds shut out everything else; and a union is about which fields there are.
    """
    for name, path, node in ALL:
        where = f"{name}{path}"
        assert not set(node) - KNOWN, f"{where}: {set(node) - KNOWN}"
        if "x-kubernetes-preserve-unknown-fields" in node:
            assert "type" not in node, where
            assert number_or_string().items() <= node.items(), where
            assert {"minimum", "maximum", "maxLength"} <= node.keys(), where
        else:
            assert "not" not in node, where
            assert all(branch.keys() <= {"required", "not"} for branch in node.get("anyOf", ())), where
            assert node.get("type") in {"object", "array", "string", "integer", "number", "boolean"}, where
        if node.get("type") == "array":
            assert "items" in node, where
            assert node.get("x-kubernetes-list-type") in {"atomic", "set", "map"}, where
        assert not ("properties" in node and "additionalProperties" in node), where


def test_every_field_says_what_it_is() -> None:
    """`kubectl explain` is documentation."""
    for name, path, node in ALL:
        if path and not path.endswith(("[]", "{}")) and path != ".metadata":
            assert node.get("description"), f"{name}{path} has no description"
            assert node["description"][-1] in ".)", f"{name}{path}: {node['description']}"


def test_whatever_a_rule_may_walk_is_bounded() -> None:
    """The API server reckons the cost of CEL rules by the largest document that the schema allows."""
    for name, path, node in ALL:
        where = f"{name}{path}"
        if not path.startswith(".spec"):
            continue
        if node.get("type") == "array":
            assert "maxItems" in node, where
        if "additionalProperties" in node:
            assert "maxProperties" in node, where
        if node.get("type") == "string" and "enum" not in node and node.get("format") is None:
            assert "maxLength" in node, where


def test_keys_of_lists_that_are_maps_are_always_there() -> None:
    """A key must be required, or have a default."""
    found = 0
    for name, path, node in ALL:
        for key in node.get("x-kubernetes-list-map-keys", ()):
            item = node["items"]
            assert key in item.get("required", ()) or "default" in item["properties"][key], f"{name}{path}: {key}"
            found += 1
    assert found >= 8


def test_defaults_fit_their_schema() -> None:
    """Printed as the API writes them: "60s", not the fields of a duration."""
    defaults = {f"{name}{path}": node["default"] for name, path, node in ALL if "default" in node}
    assert defaults["canary.dev_rollouts.yaml.spec.acceptTimeout"] == "60s"
    assert all(isinstance(value, str | bool | int) for value in defaults.values()), defaults


def test_a_status_has_no_defaults() -> None:
    """An absent field of a status stays absent: the controller writes it whole."""
    assert not [path for _, path, node in ALL if path.startswith(".status") and "default" in node]


def test_columns_lead_somewhere() -> None:
    """Every printer column's path is a field of the schema, of a type that it can show."""
    for name, document in PRINTED.items():
        for column in document["spec"]["versions"][0]["additionalPrinterColumns"]:
            node = schema_of(name)
            path = re.sub(r'\[\?\(@\.type=="[A-Za-z]+"\)\]', ".items", column["jsonPath"])
            for part in path.strip(".").split("."):
                if part == "metadata":
                    break
                node = node["items"] if part == "items" else node["properties"][part]


def test_what_may_be_long_comes_last() -> None:
    """At 80 columns a terminal breaks the sentence and nothing else, with `-o wide` too."""
    columns = PRINTED["canary.dev_rollouts.yaml"]["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    assert shown == ["Phase", "Step", "Weight", "Observed", "Checks", "Age", "Message"]
    assert columns[-1]["name"] == "Message"


def test_short_names_leave_room_for_others() -> None:
    """`ro` and `rollouts` are Argo's too, where both are installed; `cro` and `rollouts.canary.dev` are ours alone."""
    names = PRINTED["canary.dev_rollouts.yaml"]["spec"]["names"]
    assert (names["plural"], names["shortNames"]) == ("rollouts", ["ro", "cro"])


# -- on an API server ---------------------------------------------------------------------------------------------


class Api:
    """The few requests that these tests make."""

    def __init__(self, server: GenericApiServer) -> None:
        self._client = httpx.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {server.token}"})
        self._count = 0
        self._namespace = own_namespace("model")

    async def open(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        (await self._client.post("/api/v1/namespaces", json=body)).raise_for_status()

    async def close(self) -> None:
        await self._client.aclose()

    async def create(self, spec: Json, plural: str = "rollouts", kind: str = "Rollout") -> httpx.Response:
        self._count += 1
        where = "" if kind.startswith("Cluster") else f"/namespaces/{self._namespace}"
        body = {
            "apiVersion": "canary.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": f"{self._namespace}-{self._count}"},
            "spec": spec,
        }
        params = {"fieldValidation": "Strict"}
        return await self._client.post(f"/apis/canary.dev/v1alpha1{where}/{plural}", json=body, params=params)


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with api_server() as server:
        await server.install_crds(FOLDER)
        client = Api(server)
        await client.open()
        yield client
        await client.close()


@pytest.mark.sandbox_only("about what the sandbox leaves out")
async def test_the_sandbox_evaluates_all_of_it() -> None:
    """No rule and no format of our definitions is beyond the sandbox's server."""
    async with ApiServer() as server:
        await server.install_crds(FOLDER)
        assert server.limitations == []


async def test_a_valid_rollout_is_accepted_and_defaulted(api: Api) -> None:
    """What was left out is there, what was written stays as it was."""
    answer = await api.create(SPEC)
    assert answer.status_code == 201, answer.text
    stored = answer.json()["spec"]
    assert (stored["acceptTimeout"], stored["onFailure"], stored["paused"]) == ("60s", "Rollback", False)
    assert stored["routes"] == [{"kind": "HTTPRoute", "name": "shop"}]
    assert stored["workloads"]["canary"] == {"kind": "Deployment", "name": "c"}
    assert stored["checks"][1]["template"] == {"kind": "CheckTemplate", "name": "latency"}
    assert stored["steps"] == SPEC["steps"]


CHECK: Json = {"name": "a", "prometheus": {"query": "q"}, "threshold": {"max": 1}}
WEB: Json = {"url": "https://a/b", "jsonPath": "$.a"}
EXPECTING: Json = {"url": "https://a/b", "expect": {"status": [200, 204]}}
FROM_TEMPLATE: Json = {"template": {"name": "t"}}


def to_comparer(service: str) -> Json:
    """A step that mirrors to a comparer."""
    return {"mirror": {"percent": 20, "comparer": {"service": service, "port": 8080}}}


WITH_CALLS: list[Json] = [{"name": "shop"}, {"kind": "GRPCRoute", "name": "calls"}]

INFLUX: Json = {"query": "SELECT a FROM b", "address": "https://a", "database": "a"}
KEYS: Json = {"secretRef": {"name": "datadog"}}
METRIC: Json = {"metric": "requests_total"}
AWS: Json = {
    "region": "eu-west-1",
    "metrics": [{"id": "a", "namespace": "b", "name": "c", "stat": "p99.9"}],
    "auth": KEYS,
}
KRUISE: Json = {"apiVersion": "apps.kruise.io/v1alpha1", "kind": "StatefulSet", "name": "c"}
CONFIGS: Json = {"includes": ["configs"]}
VALID: list[tuple[str, Json]] = [
    ("mirrors to a comparer, and leaves a GRPCRoute out", {"routes": WITH_CALLS, "steps": [to_comparer("x")]}),
    ("mirrors to a comparer", {"steps": [to_comparer("x"), {"weight": 1}, to_comparer("x")], "checks": [{"name": "a", "mirrored": {}}]}),
    ("without workloads", {"workloads": None}),
    ("workloads of two kinds and one name", {"workloads": {"stable": {"name": "s"}, "canary": {"kind": "StatefulSet", "name": "s"}}, "promotion": "Copy", "scale": {"canary": 1}}),
    ("a workload of another group", {"workloads": {"stable": {"kind": "StatefulSet", "name": "s"}, "canary": KRUISE}, "promotion": "Await"}),
    ("configs in revisions", {"revision": CONFIGS, "promotion": "Await"}),
    ("a DaemonSet of the group apps", {"workloads": {"stable": {"name": "s"}, "canary": {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "c"}}, "promotion": "Copy"}),
    ("without checks", {"checks": None}),
    ("the same Service on another port", {"canary": {"service": "s", "port": 81}}),
    ("the same Service in another namespace", {"canary": {"service": "s", "port": 80, "namespace": "lab"}}),
    ("both with a namespace", {
        "stable": {"service": "s", "port": 80, "namespace": "a"},
        "canary": {"service": "s", "port": 80, "namespace": "b"},
    }),
    ("a weight of 0", {"steps": [{"weight": 0}]}),
    ("a weight of half a percent", {"steps": [{"weight": 0.5}]}),
    ("a weight of 100 in a string", {"steps": [{"weight": "100%"}]}),
    ("a step of a weight and an approval", {"steps": [{"weight": 1, "approval": {}, "hold": "1h30m"}]}),
    ("a condition", {"checks": [changed(CHECK, threshold=None, condition="value < 1.0")]}),
    ("one template twice, by two names", {"checks": [FROM_TEMPLATE, {**FROM_TEMPLATE, "name": "b"}]}),
    ("a comparison of buckets", {"checks": [{
        "name": "a", "initialDelay": "30s", "compare": {
            "prometheus": {"buckets": "b", "unit": "ms"}, "slowerThan": ["100ms", "1s"], "tolerance": 2, "minRequests": 100,
        },
    }]}),
    ("errors that end a hold", {"checks": [{"name": "a", "compare": {
        "prometheus": {"requests": "n", "failures": "f"}, "promoteEarly": True,
    }}]}),
    ("a query of Datadog", {"checks": [{"name": "a", "datadog": {"query": "a", "site": "us5.datadoghq.com", "auth": KEYS}, "threshold": {"max": 1}}]}),
    ("a query of InfluxDB", {"checks": [{"name": "a", "influxdb": {**INFLUX, "retentionPolicy": "b", "auth": KEYS}, "condition": "value < 1.0"}]}),
    ("a target of Graphite", {"checks": [{"name": "a", "graphite": {"target": "a", "address": "https://a/base"}, "threshold": {"max": 1}}]}),
    ("a metric of CloudWatch", {"checks": [{"name": "a", "cloudwatch": AWS, "threshold": {"max": 1}}]}),
    ("an expression of CloudWatch", {"checks": [{"name": "a", "cloudwatch": {**AWS, "expression": "a * 2", "period": "10s", "address": "https://a"}, "threshold": {"max": 1}}]}),
    ("a ratio that pods tell", {"checks": [{"name": "a", "scrape": {"port": "metrics", "path": "/stats/prometheus", "requests": METRIC, "failures": {**METRIC, "labels": {"code": "5*"}, "without": {"code": ""}}}, "threshold": {"max": "1%"}}]}),
    ("a value that pods tell", {"checks": [{"name": "a", "scrape": {"port": 9090, "value": METRIC, "aggregate": "Max"}, "threshold": {"max": 1}}]}),
    ("a comparison of what pods tell", {"checks": [{"name": "a", "compare": {"scrape": {"requests": METRIC, "failures": METRIC}, "lag": "1s", "promoteEarly": True}}]}),
    ("limits that are numbers", {"checks": [{**CHECK, "threshold": {"min": -0.5, "max": 0.01}}]}),
    ("arguments that are numbers", {"checks": [{**FROM_TEMPLATE, "args": {"limit": 0.3, "n": 300, "text": "300ms"}}]}),
    ("a threshold whose max is empty", {"checks": [{**CHECK, "threshold": {"min": 1, "max": None}}]}),
    ("a limit in a string", {"checks": [{**CHECK, "threshold": {"min": "-0.5", "max": "300ms"}}]}),
    ("a swap without workloads", {"workloads": None, "promotion": "Swap", "trigger": "Manual"}),
    ("all that there may be", {
        "steps": [{"weight": 1, "hold": "5m"}] * 32,
        "routes": [{"name": f"r{n}", "rules": [f"rule-{m}" for m in range(16)]} for n in range(16)],
        "checks": [{**CHECK, "name": f"c{n}"} for n in range(16)],
    }),
]  # fmt: skip


@pytest.mark.parametrize("changes", [row[1] for row in VALID], ids=[row[0] for row in VALID])
async def test_what_is_accepted(api: Api, changes: Json) -> None:
    """What the models take, the API server takes."""
    answer = await api.create(changed(SPEC, **changes))
    assert answer.status_code == 201, answer.text


COMPARE: Json = {
    "compare": {"prometheus": {"requests": "n{{ backend.service }}", "failures": "f{{ backend.service }}"}}
}


SAME = "stable and canary are the same backend; they must differ in service, port or namespace"
BUCKETS: Json = {
    "name": "a",
    "initialDelay": "30s",
    "compare": {"prometheus": {"buckets": "b{{ backend.service }}"}, "slowerThan": ["300ms"], "tolerance": 1.5},
}


def comparing(prometheus: Json | None = None, **compare: Any) -> Json:
    """A check of buckets with changes; None: without that field."""
    asked = changed(BUCKETS["compare"]["prometheus"], **(prometheus or {}))
    return {"checks": [{**BUCKETS, "compare": changed({**BUCKETS["compare"], "prometheus": asked}, **compare)}]}


INVALID: list[tuple[str, Json, str, str]] = [
    ("the same backend twice", {"canary": {"service": "s", "port": 80}}, "spec", SAME),
    ("the same backend in the same other namespace", {
        "stable": {"service": "s", "port": 80, "namespace": "a"},
        "canary": {"service": "s", "port": 80, "namespace": "a"},
    }, "spec", SAME),
    ("Copy without workloads", {"workloads": None, "promotion": "Copy"}, "spec", "promotion Copy copies a pod spec, so it needs workloads"),
    ("OnRevision without workloads", {"workloads": None, "trigger": "OnRevision"}, "spec", "trigger OnRevision watches a workload, so it needs workloads"),
    ("a kind that needs its group", {"workloads": {"stable": {"name": "s"}, "canary": {"kind": "CloneSet", "name": "c"}}}, "spec.workloads.canary", "needs apiVersion"),
    ("a group without a version", {"workloads": {"stable": {"name": "s"}, "canary": {**KRUISE, "apiVersion": "apps.kruise.io"}}}, "spec.workloads.canary.apiVersion", "should match"),
    ("Copy to another group", {"workloads": {"stable": {**KRUISE, "name": "s"}, "canary": {"name": "c"}}, "promotion": "Copy"}, "spec", "of other kinds workloads are only read"),
    ("Copy from another group", {"workloads": {"stable": {"name": "s"}, "canary": KRUISE}, "promotion": "Copy"}, "spec", "of other kinds workloads are only read"),
    ("replicas of a DaemonSet", {"workloads": {"stable": {"name": "s"}, "canary": {"kind": "DaemonSet", "name": "c"}}, "scale": {"canary": 1}}, "spec", "drop scale"),
    ("replicas of another group", {"workloads": {"stable": {"name": "s"}, "canary": KRUISE}, "scale": {"canary": 1}}, "spec", "drop scale"),
    ("configs without workloads", {"workloads": None, "revision": CONFIGS}, "spec", "so it needs workloads"),
    ("Copy with configs", {"revision": CONFIGS, "promotion": "Copy"}, "spec", "would reach stable without a run"),
    ("one workload of another group for both", {"workloads": {"stable": KRUISE, "canary": {**KRUISE, "apiVersion": "apps.kruise.io/v1beta1"}}}, "spec", "a canary needs its own"),
    ("one workload for both, said twice", {"workloads": {"stable": {"name": "s"}, "canary": {"apiVersion": "apps/v1", "name": "s"}}}, "spec", "a canary needs its own"),
    ("one workload for both", {"workloads": {"stable": {"name": "s"}, "canary": {"name": "s"}}}, "spec", "a canary needs its own"),
    ("two checks of one name", {"checks": [CHECK, CHECK]}, "spec", "two checks have the same name"),
    ("one template twice", {"checks": [FROM_TEMPLATE, FROM_TEMPLATE]}, "spec", "two checks have the same name"),
    ("a step that asks for nothing", {"steps": [{"hold": "5m"}]}, "spec.steps[0].weight", "Required value"),
    ("a step whose weight is empty", {"steps": [{"weight": None}]}, "spec.steps[0].weight", "Required value"),
    ("a weight of 101", {"steps": [{"weight": 101}]}, "spec.steps[0].weight", "less than or equal to 100"),
    ("a negative weight", {"steps": [{"weight": -1}]}, "spec.steps[0].weight", "greater than or equal to 0"),
    ("half a percent too much", {"steps": [{"weight": 100.5}]}, "spec.steps[0].weight", "less than or equal to 100"),
    ("a weight of true", {"steps": [{"weight": True}]}, "<nil>", '"spec.steps[0].weight" must not validate the schema (not)'),
    ("a list of weights", {"steps": [{"weight": [10]}]}, "spec.steps[0].weight", "must have at most 0 items"),
    ("a weight in words", {"steps": [{"weight": "ten"}]}, "spec.steps[0].weight", "should match"),
    ("two sources", {"checks": [{**CHECK, **FROM_TEMPLATE}]}, "spec.checks[0]", "a check has exactly one source: prometheus, web, job, datadog, influxdb, graphite, cloudwatch, scrape, compare, mirrored or template"),
    ("a comparison beside a query", {"checks": [{**CHECK, **COMPARE}]}, "spec.checks[0]", "a check has exactly one source"),
    ("a comparison with a threshold", {"checks": [{"name": "a", **COMPARE, "threshold": {"max": 1}}]}, "spec.checks[0]", "nor with compare, mirrored, job or web.expect, which judge by themselves"),
    ("a comparison with tolerated failures", {"checks": [{"name": "a", **COMPARE, "failureLimit": 1}]}, "spec.checks[0]", "compare and mirrored take no failureLimit"),
    ("a comparison of so many failures", {"checks": [{"name": "a", **COMPARE, "failures": "2 of 5"}]}, "spec.checks[0]", "compare and mirrored take no failureLimit and no failures"),
    ("failures counted in two ways", {"checks": [{**CHECK, "failures": "2 of 5", "failureLimit": 1}]}, "spec.checks[0]", "two answers to one question"),
    ("more failures than measurements", {"checks": [{**CHECK, "failures": "6 of 5"}]}, "spec.checks[0]", "failures are N of M with 1 <= N <= M <= 100"),
    ("a window that is too long", {"checks": [{**CHECK, "failures": "2 of 101"}]}, "spec.checks[0]", "failures are N of M with 1 <= N <= M <= 100"),
    ("failures in words", {"checks": [{**CHECK, "failures": "two of 5"}]}, "spec.checks[0].failures", "should match"),
    ("failures and buckets", comparing({"failures": "f", "requests": "n"}), "spec.checks[0].compare.prometheus", "either failures of requests, or buckets"),
    ("requests of buckets", comparing({"requests": "n"}), "spec.checks[0].compare.prometheus", "either failures of requests, or buckets"),
    ("neither failures nor buckets", comparing({"buckets": None}, slowerThan=None), "spec.checks[0].compare.prometheus", "either failures of requests, or buckets"),
    ("failures of no requests", comparing({"buckets": None, "failures": "f"}, slowerThan=None), "spec.checks[0].compare.prometheus", "either failures of requests, or buckets"),
    ("a unit of failures", {"checks": [{"name": "a", "compare": {"prometheus": {**COMPARE["compare"]["prometheus"], "unit": "ms"}}}]}, "spec.checks[0].compare.prometheus", "unit is that of the bounds"),
    ("buckets without bounds", comparing(slowerThan=None), "spec.checks[0].compare", "slowerThan names bounds of buckets"),
    ("bounds of failures", {"checks": [{"name": "a", "compare": {**COMPARE["compare"], "slowerThan": ["1s"]}}]}, "spec.checks[0].compare", "slowerThan names bounds of buckets"),
    ("four bounds", comparing(slowerThan=["1s", "2s", "3s", "4s"]), "spec.checks[0].compare.slowerThan", "at most 3"),
    ("buckets without a least effect", comparing(tolerance=None), "spec.checks[0].compare", "needs a tolerance of 1.1 or more"),
    ("buckets without a warm-up", {"checks": [changed(BUCKETS, initialDelay=None)]}, "spec.checks[0]", "needs an initialDelay"),
    ("buckets that end a hold", comparing(promoteEarly=True), "spec.checks[0].compare", "promoteEarly goes by errors"),
    ("buckets with a warm-up of nothing", {"checks": [{**BUCKETS, "initialDelay": "0m0s"}]}, "spec.checks[0]", "needs an initialDelay"),
    ("a tolerance below one", {"checks": [{"name": "a", "compare": {**COMPARE["compare"], "tolerance": 0.5}}]}, "spec.checks[0].compare.tolerance", "greater than or equal to 1"),
    ("an alpha of nothing", {"checks": [{"name": "a", "compare": {**COMPARE["compare"], "alpha": "0%"}}]}, "spec.checks[0].compare.alpha", "should match"),
    ("an alpha of everything", {"alpha": 0.6}, "spec.alpha", "less than or equal to 0.4999"),
    ("answers with a threshold", {"checks": [{"name": "a", "mirrored": {}, "threshold": {"max": 1}}]}, "spec.checks[0]", "nor with compare, mirrored, job or web.expect, which judge by themselves"),
    ("answers of which most may differ", {"checks": [{"name": "a", "mirrored": {"maxDifferent": "60%"}}]}, "spec.checks[0].mirrored.maxDifferent", "should match"),
    ("two comparers", {"steps": [to_comparer("x"), to_comparer("y")]}, "spec", "steps that mirror name the same comparer, or none of them names one"),
    ("a comparer at one of two mirrors", {"steps": [{"mirror": {"percent": 1}}, to_comparer("x")]}, "spec", "steps that mirror name the same comparer"),
    ("a comparer that is the canary", {"steps": [to_comparer("c")]}, "spec", "a comparer is neither stable nor the canary"),
    ("a comparer whose Services change roles", {"promotion": "Swap", "steps": [to_comparer("x")]}, "spec", "promotion Swap makes the two change roles"),
    ("a comparer of gRPC calls", {"routes": [{"kind": "GRPCRoute", "name": "calls"}], "steps": [to_comparer("x")]}, "spec", "copies of a GRPCRoute arrive as HTTP/2"),
    ("a comparer also of gRPC calls", {"routes": WITH_CALLS, "steps": [{"mirror": {**to_comparer("x")["mirror"], "allowUnsafeMethods": True}}]}, "spec", "copies of a GRPCRoute arrive as HTTP/2"),
    ("a request without a judge", {"checks": [{"name": "a", "web": WEB}]}, "spec.checks[0]", "a check with its own query has a threshold or a condition"),
    ("an expectation with a threshold", {"checks": [{"name": "a", "web": EXPECTING, "threshold": {"max": 1}}]}, "spec.checks[0]", "nor with compare, mirrored, job or web.expect"),
    ("a number and an expectation", {"checks": [{"name": "a", "web": {**WEB, "expect": {}}, "threshold": {"max": 1}}]}, "spec.checks[0].web", "either a number (jsonPath) or"),
    ("neither a number nor an expectation", {"checks": [{"name": "a", "web": {"url": "https://a/b"}, "threshold": {"max": 1}}]}, "spec.checks[0].web", "either a number (jsonPath) or"),
    ("half an expectation", {"checks": [{"name": "a", "web": {"url": "https://a/b", "expect": {"equals": 1}}}]}, "<nil>", "must validate at least one schema (anyOf)"),
    ("a body that is got", {"checks": [{"name": "a", "web": {**WEB, "body": "{}"}, "threshold": {"max": 1}}]}, "spec.checks[0].web", "are sent by POST"),
    ("a body and a form", {"checks": [{"name": "a", "web": {**WEB, "method": "POST", "body": "{}", "form": [{"name": "a", "value": "b"}]}, "threshold": {"max": 1}}]}, "spec.checks[0].web", "are sent by POST"),
    ("a host that an argument chooses", {"checks": [{"name": "a", "web": {**WEB, "url": "https://{{ args.x }}/"}, "threshold": {"max": 1}}]}, "spec.checks[0].web.url", "should match"),
    ("a host with a password", {"checks": [{"name": "a", "web": {**WEB, "url": "https://u:p@a/"}, "threshold": {"max": 1}}]}, "spec.checks[0].web.url", "should match"),
    ("a statement of InfluxDB that writes", {"checks": [{"name": "a", "influxdb": {**INFLUX, "query": "DROP DATABASE a"}, "threshold": {"max": 1}}]}, "spec.checks[0].influxdb.query", "should match"),
    ("a server that an argument chooses", {"checks": [{"name": "a", "influxdb": {**INFLUX, "address": "https://{{ args.x }}"}, "threshold": {"max": 1}}]}, "spec.checks[0].influxdb.address", "should match"),
    ("a server with a query", {"checks": [{"name": "a", "graphite": {"target": "a", "address": "https://a/b?c=d"}, "threshold": {"max": 1}}]}, "spec.checks[0].graphite.address", "should match"),
    ("no number of CloudWatch", {"checks": [{"name": "a", "cloudwatch": {**AWS, "metrics": []}, "threshold": {"max": 1}}]}, "spec.checks[0].cloudwatch", "an expression says which number is meant"),
    ("a region that is a host", {"checks": [{"name": "a", "cloudwatch": {**AWS, "region": "eu-west-1.evil.com/"}, "threshold": {"max": 1}}]}, "spec.checks[0].cloudwatch.region", "should match"),
    ("a period that CloudWatch has not", {"checks": [{"name": "a", "cloudwatch": {**AWS, "period": "90s"}, "threshold": {"max": 1}}]}, "spec.checks[0].cloudwatch.period", "should match"),
    ("keys of Datadog for another host", {"checks": [{"name": "a", "datadog": {"query": "a", "site": "datadoghq.com.evil.com", "auth": KEYS}, "threshold": {"max": 1}}]}, "spec.checks[0].datadog.site", "should match"),
    ("Datadog without keys", {"checks": [{"name": "a", "datadog": {"query": "a"}, "threshold": {"max": 1}}]}, "spec.checks[0].datadog.auth", "Required value"),
    ("requests without failures", {"checks": [{"name": "a", "scrape": {"requests": METRIC}, "threshold": {"max": 1}}]}, "spec.checks[0].scrape", "either failures of requests, or a value"),
    ("a ratio and a value", {"checks": [{"name": "a", "scrape": {"requests": METRIC, "failures": METRIC, "value": METRIC}, "threshold": {"max": 1}}]}, "spec.checks[0].scrape", "either failures of requests, or a value"),
    ("a ratio that is aggregated", {"checks": [{"name": "a", "scrape": {"requests": METRIC, "failures": METRIC, "aggregate": "Max"}, "threshold": {"max": 1}}]}, "spec.checks[0].scrape", "aggregate is how values"),
    ("a scrape without a judge", {"checks": [{"name": "a", "scrape": {"value": METRIC}}]}, "spec.checks[0]", "a check with its own query has a threshold or a condition"),
    ("a path with a query", {"checks": [{"name": "a", "scrape": {"value": METRIC, "path": "/metrics?x=1"}, "threshold": {"max": 1}}]}, "spec.checks[0].scrape.path", "should match"),
    ("a port that is none", {"checks": [{"name": "a", "scrape": {"value": METRIC, "port": 70000}, "threshold": {"max": 1}}]}, "spec.checks[0].scrape.port", "less than or equal to 65535"),
    ("a comparison by two tellers", {"checks": [{"name": "a", "compare": {**COMPARE["compare"], "scrape": {"requests": METRIC, "failures": METRIC}}}]}, "spec.checks[0].compare", "counters are those of Prometheus, or what pods tell themselves"),
    ("a comparison of nothing", {"checks": [{"name": "a", "compare": {}}]}, "spec.checks[0].compare", "counters are those of Prometheus, or what pods tell themselves"),
    ("a Secret of another namespace", {"checks": [{"name": "a", "web": {**WEB, "auth": {"secretRef": {"name": "b/c"}}}, "threshold": {"max": 1}}]}, "spec.checks[0].web.auth.secretRef.name", "should match"),
    ("no source", {"checks": [{"name": "a", "threshold": {"max": 1}}]}, "spec.checks[0]", "a check has exactly one source"),
    ("a check without a name", {"checks": [changed(CHECK, name=None)]}, "spec.checks[0]", "a check without a template needs a name"),
    ("nothing to judge by", {"checks": [changed(CHECK, threshold=None)]}, "spec.checks[0]", "has a threshold or a condition (one of them)"),
    ("two things to judge by", {"checks": [{**CHECK, "condition": "value < 1.0"}]}, "spec.checks[0]", "has a threshold or a condition (one of them)"),
    ("a threshold besides a template", {"checks": [{**FROM_TEMPLATE, "threshold": {"max": 1}}]}, "spec.checks[0]", "with a template it has neither"),
    ("args without a template", {"checks": [{**CHECK, "args": {"a": "b"}}]}, "spec.checks[0].template", "Required value"),
    ("an argument that is a list", {"checks": [{**FROM_TEMPLATE, "args": {"a": ["b"]}}]}, "spec.checks[0].args.a", "must have at most 0 items"),
    ("an argument that is true", {"checks": [{**FROM_TEMPLATE, "args": {"a": True}}]}, "<nil>", '"spec.checks[0].args.a" must not validate'),
    ("an empty threshold", {"checks": [{**CHECK, "threshold": {}}]}, "spec.checks[0].threshold", "should have at least 1 properties"),
    ("a threshold whose max is null", {"checks": [{**CHECK, "threshold": {"max": None}}]}, "spec.checks[0].threshold", "should have at least 1 properties"),
    ("a limit that is an object", {"checks": [{**CHECK, "threshold": {"max": {"value": 1}}}]}, "spec.checks[0].threshold.max", "must have at most 0 items"),
    ("a limit that is false", {"checks": [{**CHECK, "threshold": {"max": False}}]}, "<nil>", '"spec.checks[0].threshold.max" must not validate'),
    ("a limit beyond all bounds", {"checks": [{**CHECK, "threshold": {"max": 1e300}}]}, "spec.checks[0].threshold.max", "should be less than or equal to 9"),
    ("a hold in days", {"steps": [{"weight": 1, "hold": "1d"}]}, "spec.steps[0].hold", "should match"),
    ("no steps", {"steps": []}, "spec.steps", "at least 1 items"),
    ("the same route twice", {"routes": [{"name": "a"}, {"name": "a"}]}, "spec.routes[1]", "Duplicate value"),
    ("the same rule twice", {"routes": [{"name": "a", "rules": ["x", "x"]}]}, "spec.routes[0].rules[1]", "Duplicate value"),
    ("no stable", {"stable": None}, "spec.stable", "Required value"),
    ("an unknown promotion", {"promotion": "Move"}, "spec.promotion", "Unsupported value"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "where", "message"), [row[1:] for row in INVALID], ids=[row[0] for row in INVALID])
async def test_what_is_refused(api: Api, changes: Json, where: str, message: str) -> None:
    """At the door, with the field and a sentence that says what to do."""
    answer = await api.create(changed(SPEC, **changes))
    assert answer.status_code == 422, answer.text
    causes = [(cause["field"], cause["message"]) for cause in answer.json()["details"]["causes"]]
    assert any(field == where and message in text for field, text in causes), causes


async def test_unknown_fields_are_named(api: Api) -> None:
    """kubectl asks for strict validation: a misspelt field is an error, not a surprise."""
    answer = await api.create({**SPEC, "onFailiure": "Pause"})
    assert answer.status_code == 400, answer.text
    assert "onFailiure" in answer.json()["message"]


TEMPLATE: Json = {
    "args": [{"name": "limit", "required": True}],
    "prometheus": {"query": "q"},
    "threshold": {"max": "{{ args.limit }}"},
}


@pytest.mark.parametrize(
    ("plural", "kind"), [("checktemplates", "CheckTemplate"), ("clusterchecktemplates", "ClusterCheckTemplate")]
)
async def test_templates(api: Api, plural: str, kind: str) -> None:
    """A template is accepted and defaulted; one that judges by nothing, or by two things, is refused."""
    answer = await api.create(TEMPLATE, plural, kind)
    assert answer.status_code == 201, answer.text
    stored = answer.json()["spec"]
    assert (stored["interval"], stored["holdLimit"], stored["onNoData"]) == ("30s", "10m", "Hold")
    for changes in ({"threshold": None}, {"condition": "value < 1.0"}):
        answer = await api.create(changed(TEMPLATE, **changes), plural, kind)
        assert answer.status_code == 422
        assert "a template has a threshold or a condition (one of them)" in answer.text
    twice = copy.deepcopy(TEMPLATE)
    twice["args"] *= 2
    assert (await api.create(twice, plural, kind)).status_code == 422


COUNTERS: Json = {"prometheus": {"query": "n{{ backend.service }}"}}


async def test_templates_of_traffic(api: Api) -> None:
    """Counters stand there instead of a check: not beside one, and without a judge; they have defaults of their own."""
    for plural, kind in (("checktemplates", "CheckTemplate"), ("clusterchecktemplates", "ClusterCheckTemplate")):
        answer = await api.create({"args": [{"name": "route"}], "traffic": COUNTERS}, plural, kind)
        assert answer.status_code == 201, answer.text
        assert answer.json()["spec"]["traffic"] == {**COUNTERS, "interval": "15s", "lag": "30s"}
    for wrong, words in (
        (
            {**TEMPLATE, "threshold": None, "traffic": COUNTERS},
            "a template has exactly one of: prometheus, web, job, datadog, influxdb, graphite, cloudwatch, scrape, compare, mirrored or traffic",
        ),
        (
            {"threshold": {"max": 1}},
            "a template has exactly one of: prometheus, web, job, datadog, influxdb, graphite, cloudwatch, scrape, compare, mirrored or traffic",
        ),
        ({"traffic": COUNTERS, "threshold": {"max": 1}}, "one of traffic has neither"),
    ):
        spec = {name: value for name, value in wrong.items() if value is not None}
        answer = await api.create(spec, "checktemplates", "CheckTemplate")
        assert answer.status_code == 422
        assert words in answer.text
    answer = await api.create({"traffic": {}}, "checktemplates", "CheckTemplate")
    assert (answer.status_code, "spec.traffic.prometheus" in answer.text) == (422, True)


async def test_traffic_has_one_source(api: Api) -> None:
    """A query or a template; arguments only with the latter; and nothing is filled in that would hide the template's."""
    named: Json = {"template": {"name": "traffic"}}
    answer = await api.create({**SPEC, "traffic": {**named, "args": {"route": "shop"}}})
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"]["traffic"] == {
        "template": {"name": "traffic", "kind": "CheckTemplate"},
        "args": {"route": "shop"},
    }
    for wrong in ({**named, **COUNTERS}, {"lag": "5s"}):
        answer = await api.create({**SPEC, "traffic": wrong})
        assert (answer.status_code, "traffic has exactly one source: prometheus or template" in answer.text) == (
            422,
            True,
        )
    assert (await api.create({**SPEC, "traffic": {**COUNTERS, "args": {"a": "b"}}})).status_code == 422


def test_printed_yaml_is_what_was_meant() -> None:
    """Nothing is lost on the way to YAML and back."""
    for document in PRINTED.values():
        assert yaml.safe_load(render(document)) == document
