"""Every way to get a manifest wrong that the API server knows: lint says so first, and never more than the server."""

from __future__ import annotations

import copy
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cluster_kit import api_server, own_namespace
from lint_kit import Edit, Json, dump, linted, rollout, spoiled, target, template

from canary.lint import rules, schema, targets
from canary.lint.findings import Rule, Severity, field_of
from canary.lint.run import lint
from canary.lint.source import read
from canary.model import jsonschema as editor
from canary.model.rollout import RolloutSpec

ROOT = Path(__file__).parents[2]
SPACE = own_namespace("team-shop")


def at(path: str, value: Any) -> Edit:
    """Set a field; parts of the path are split by dots, numbers are indices."""

    def edit(document: Json) -> None:
        node: Any = document
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            node = node[part]
        if isinstance(node, list) and last == len(node):
            node.append(value)
        else:
            node[last] = value

    return edit


def without(path: str) -> Edit:
    def edit(document: Json) -> None:
        node: Any = document
        *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        for part in way:
            node = node[part]
        del node[last]

    return edit


CHECK = {"name": "other", "prometheus": {"query": "up"}, "threshold": {"max": 1}}

COMPARE = {"prometheus": {"requests": "n{s='{{ backend.service }}'}", "failures": "n{s='{{ backend.service }}',c='5'}"}}

SLOWER = {
    "name": "latency",
    "initialDelay": "1m",
    "compare": {"prometheus": {"buckets": "b{{ backend.service }}"}, "slowerThan": ["300ms"], "tolerance": 1.2},
}

GATE = "spec.steps[0].gate.window"
FOREIGN = {"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "name": "shop-canary"}
CONFIGS = {"includes": ["configs"]}
OFFICE = {"days": ["Mon", "Fri"], "from": "09:00", "to": "17:00", "timezone": "Europe/Berlin"}

BAD: list[tuple[Json, Edit, str, str]] = [
    (rollout(), at("spec.stpes", []), "spec.stpes", "unknown field 'stpes'; did you mean 'steps'?"),
    (rollout(), at("spec.steps.0.wieght", 1), "spec.steps[0].wieght", "did you mean 'weight'?"),
    (rollout(), at("spec.accept_timeout", "1s"), "spec.accept_timeout", "did you mean 'acceptTimeout'?"),
    (rollout(), at("spec.steps.1.approval.by", "me"), "spec.steps[1].approval.by", "must be an object"),
    (rollout(), at("spec.steps.1.approval.of", "me"), "spec.steps[1].approval.of", "known here: by"),
    (rollout(), at("spec.stable.zzz", 1), "spec.stable.zzz", "known here: service, port, namespace"),
    (rollout(), without("spec"), "spec", "required, and missing"),
    (rollout(), without("spec.steps"), "spec.steps", "required, and missing"),
    (rollout(), without("spec.canary.port"), "spec.canary.port", "required, and missing"),
    (rollout(), at("spec.steps", []), "spec.steps", "needs at least 1"),
    (rollout(), at("spec.steps", [{"weight": 1}] * 33), "spec.steps", "has 33 of them; 32 are allowed"),
    (rollout(), at("spec.steps.0.hold", "5 minutes"), "spec.steps[0].hold", "is not a duration; write for example"),
    (
        rollout(),
        at("spec.steps.0.hold", 300),
        "spec.steps[0].hold",
        'is an integer; write it with its unit, for example "300s" or "300ms"',
    ),
    (rollout(), at("spec.checks.0.failures", "two"), "spec.checks[0].failures", 'write for example "2 of 5"'),
    (rollout(), at("spec.steps.0.hold", 1.5), "spec.steps[0].hold", "is a number; it is a duration; write for example"),
    (rollout(), at("spec.onFailure", True), "spec.onFailure", "is a boolean; it is one of Rollback, Pause"),
    (rollout(), at("spec.canary.service", 7), "spec.canary.service", 'is an integer; write it in quotes: "7"'),
    (rollout(), at("spec.steps.0.weight", 101), "spec.steps[0].weight", "101 is more than 100"),
    (rollout(), at("spec.steps.0.weight", -1), "spec.steps[0].weight", "-1 is less than 0"),
    (rollout(), at("spec.steps.0.weight", "0.00001%"), "spec.steps[0].weight", "is not a share of the pair"),
    (
        rollout(),
        at("spec.steps.0.weight", 100.5),
        "spec.steps[0].weight",
        "100.5 is more than 100",
    ),
    (
        rollout(),
        at("spec.steps.0.weight", True),
        "spec.steps[0].weight",
        "must be a number or string, and is a boolean",
    ),
    (rollout(), at("spec.checks.0.threshold.max", [1]), "spec.checks[0].threshold.max", "string, and is a list"),
    (rollout(), at("spec.checks.0.threshold.max", 1e300), "spec.checks[0].threshold.max", "is more than"),
    (rollout(), at("spec.canary.port", 0), "spec.canary.port", "0 is less than 1"),
    (rollout(), at("spec.canary.port", "8080"), "spec.canary.port", "must be an integer, and is a string"),
    (rollout(), at("spec.canary.service", "Shop"), "spec.canary.service", "is not a name"),
    (rollout(), at("spec.onFailure", "rollback"), "spec.onFailure", "did you mean 'Rollback'?"),
    (rollout(), at("spec.routes.0.kind", "HttpRoute"), "spec.routes[0].kind", "did you mean 'HTTPRoute'?"),
    (rollout(), at("spec.routes.1", {"name": "shop"}), "spec.routes[1]", "the same as spec.routes[0]"),
    (rollout(), at("spec.routes.0.rules", ["a", "a"]), "spec.routes[0].rules", "names something twice"),
    (rollout(), at("spec.checks.0.threshold.max", "1 %"), "spec.checks[0].threshold.max", "is not a limit"),
    (rollout(), at("spec.checks.0.failureLimit", "3"), "spec.checks[0].failureLimit", "must be an integer"),
    (rollout(), at("spec.paused", "yes"), "spec.paused", "must be a boolean, and is a string"),
    (rollout(), at("spec.steps", {"weight": 10}), "spec.steps", "must be a list, and is an object"),
    (rollout(), at("metadata.name", "Shop"), "metadata.name", "is not a name"),
    (
        template(),
        without("spec.prometheus"),
        "spec",
        "a template has exactly one of: prometheus, web, job, datadog, influxdb, graphite, cloudwatch, scrape, compare, mirrored or traffic",
    ),
    (template(), at("spec.args.1", {"name": "limit"}), "spec.args[1]", "the same as spec.args[0] (name limit)"),
    (template(), at("spec.prometheus.address", "prom:9090"), "spec.prometheus.address", "is not an address"),
    # What only the rules of the CRDs know:
    (rollout(), at("spec.canary.service", "shop-stable"), "spec", "stable and canary are the same backend"),
    (rollout(), at("spec.steps.0", {"hold": "1m"}), "spec.steps[0]", "a step asks for something"),
    (rollout(), without("spec.checks.0.prometheus"), "spec.checks[0]", "exactly one source"),
    (rollout(), without("spec.checks.0.name"), "spec.checks[0]", "needs a name"),
    (rollout(), without("spec.checks.0.threshold"), "spec.checks[0]", "a threshold or a condition"),
    (rollout(), at("spec.checks.0.threshold", {}), "spec.checks[0].threshold", "needs at least 1 of: min, max"),
    (rollout(), at("spec.checks.0.args", {"a": "b"}), "spec.checks[0]", "args belong to a template"),
    (rollout(), at("spec.checks.1", {**CHECK, "name": "errors"}), "spec", "two checks have the same name"),
    (rollout(promotion="Copy"), without("spec.workloads"), "spec", "promotion Copy"),
    (rollout(trigger="OnRevision"), without("spec.workloads"), "spec", "trigger OnRevision"),
    (rollout(), at("spec.workloads.canary.name", "shop-stable"), "spec", "workloads.canary are the same"),
    (template(), without("spec.threshold"), "spec", "a threshold or a condition"),
    (
        rollout(),
        at("spec.checks.1", {"name": "a", "compare": COMPARE, "failureLimit": 1}),
        "spec.checks[1]",
        "alpha is",
    ),
    (rollout(), at("spec.checks.1", {**SLOWER, "initialDelay": "0s"}), "spec.checks[1]", "needs an initialDelay"),
    (
        rollout(),
        at("spec.checks.1", {**SLOWER, "compare": {**SLOWER["compare"], "tolerance": 1}}),
        "spec.checks[1].compare",
        "needs a tolerance of 1.1 or more",
    ),
    (
        rollout(),
        at("spec.checks.1", {"name": "other", "compare": {"prometheus": {"requests": "r"}}}),
        "spec.checks[1].compare.prometheus",
        "either failures of requests, or buckets",
    ),
    (
        rollout(),
        at("spec.checks.0", {**CHECK, "failures": "2 of 5", "failureLimit": 1}),
        "spec.checks[0]",
        "one question",
    ),
    (rollout(), at("spec.alpha", "50%"), "spec.alpha", "is not a chance"),
    (rollout(), at("spec.scale", {}), "spec.scale.canary", "required, and missing"),
    (
        rollout(),
        at("spec.scale", {"canary": "Match"}),
        "spec.scale.canary",
        "write MatchShare, or a number of replicas",
    ),
    (rollout(), at("spec.scale", {"canary": 1001}), "spec.scale.canary", "1001 is more than 1000"),
    (rollout(), at("spec.scale", {"canary": 0}), "spec.scale.canary", "0 is less than 1"),
    (rollout(), at("spec.scale", {"canary": 1, "after": "zero"}), "spec.scale.after", "did you mean 'Zero'?"),
    (rollout(scale={"canary": 1}), without("spec.workloads"), "spec", "scale is about the canary's Deployment"),
    (rollout(scale={"canary": 1}), at("spec.promotion", "Swap"), "spec", "which is never scaled; use Copy or Await"),
    (rollout(), at("spec.workloads.canary.kind", "CloneSet"), "spec.workloads.canary", "needs apiVersion"),
    (
        rollout(),
        at("spec.workloads.canary.kind", "cloneSet"),
        "spec.workloads.canary.kind",
        "write for example Deployment",
    ),
    (
        rollout(),
        at("spec.workloads.canary.apiVersion", "kruise"),
        "spec.workloads.canary.apiVersion",
        "write for example apps.kruise.io/v1alpha1",
    ),
    (rollout(promotion="Copy"), at("spec.workloads.canary", FOREIGN), "spec", "workloads are only read: use Await"),
    (rollout(scale={"canary": 1}), at("spec.workloads.canary.kind", "DaemonSet"), "spec", "drop scale, and see to"),
    (rollout(), at("spec.revision", {"includes": ["config"]}), "spec.revision.includes[0]", "did you mean 'configs'?"),
    (rollout(revision=CONFIGS), at("spec.promotion", "Copy"), "spec", "would reach stable without a run"),
    (rollout(revision=CONFIGS), without("spec.workloads"), "spec", "so it needs workloads"),
    (rollout(), at("spec.steps.0.gate", {}), "spec.steps[0].gate", "exactly one of window and http"),
    (rollout(), at("spec.steps.0.gate", {"window": {"from": "9:00"}}), GATE + ".from", 'write for example "09:00"'),
    (rollout(), at("spec.steps.0.gate", {"window": {"to": "24:30"}}), GATE + ".to", '"24:00" for midnight'),
    (rollout(), at("spec.steps.0.gate", {"window": {"days": ["Mo"]}}), GATE + ".days[0]", "did you mean 'Mon'?"),
    (rollout(), at("spec.steps.0.gate", {"window": {"from": "09:00", "to": "09:00"}}), GATE, "two different times"),
    (rollout(), at("spec.steps.0.gate", {"window": {"timezone": "../x"}}), GATE + ".timezone", "Europe/Berlin"),
]

GOOD: list[Json] = [
    rollout(),
    spoiled(rollout(), without("spec.workloads")),
    rollout(steps=[{"weight": "0.5%"}, {"weight": "100"}]),
    rollout(steps=[{"weight": 0.5}, {"weight": 100.0}]),
    rollout(checks=[{**CHECK, "threshold": {"min": -0.5, "max": 0.01}}]),
    rollout(checks=[{"template": {"name": "latency"}, "args": {"limit": 0.3, "quantile": 0.95}}]),
    template(threshold={"max": 0.01}, args=[{"name": "limit", "default": 300}]),
    rollout(canary={"service": "shop-stable", "port": 8080, "namespace": "other"}),
    rollout(checks=[CHECK, {"template": {"name": "latency"}, "args": {"limit": "1"}}]),
    rollout(steps=[{"weight": 10, "hold": None}]),
    template(),
    template(threshold=None, condition="value < 1.0"),
    rollout(checks=[{"name": "errors", "compare": COMPARE}], alpha=0.02),
    rollout(checks=[{"name": "errors", "compare": {**COMPARE, "alpha": "0.01%", "tolerance": 1.5, "lag": "5s"}}]),
    template(prometheus=None, threshold=None, compare=COMPARE),
    rollout(checks=[CHECK, SLOWER]),
    rollout(checks=[{**CHECK, "failures": "2 of 5"}]),
    template(prometheus=None, threshold=None, compare=SLOWER["compare"], initialDelay="30s"),
    rollout(
        workloads={"stable": {"name": "shop"}, "canary": {"kind": "StatefulSet", "name": "shop"}}, promotion="Copy"
    ),
    rollout(workloads={"stable": {"name": "shop-stable"}, "canary": FOREIGN}, promotion="Await"),
    rollout(revision=CONFIGS),
    rollout(scale={"canary": "MatchShare"}),
    rollout(scale={"canary": 3, "min": 2, "after": "Keep", "drain": "1m", "timeout": "5m"}),
    rollout(steps=[{"gate": {"window": {}}}, {"weight": 10, "gate": {"window": OFFICE}}]),
]


def structure(document: Json) -> list[tuple[str, str]]:
    return [
        (item.field, item.text)
        for item in linted(document).findings
        if item.rule in {Rule.SCHEMA, Rule.CEL} and item.severity is Severity.ERROR
    ]


@pytest.mark.parametrize(("document", "edit", "field", "words"), BAD)
def test_what_is_wrong_is_named_with_its_field(document: Json, edit: Edit, field: str, words: str) -> None:
    """One finding, at the field, that says what to write instead."""
    found = structure(spoiled(document, edit))
    assert [place for place, _ in found] == [field]
    assert words in found[0][1]


@pytest.mark.parametrize("document", GOOD)
def test_what_is_right_passes(document: Json) -> None:
    """Nothing is refused that the API server takes."""
    assert structure(document) == []


def test_a_newline_at_the_end_is_part_of_a_value() -> None:
    """In Go `$` matches at the very end only, and a block scalar such as `hold: |` ends with a newline."""
    ((field, words),) = structure(rollout(steps=[{"weight": 1, "hold": "5m\n"}]))
    assert field == "spec.steps[0].hold"
    assert "is not a duration" in words


def test_several_mistakes_are_told_at_once() -> None:
    """Nobody has to run lint as often as there are mistakes; rules wait until the structure is right."""
    bad = spoiled(rollout(canary={"service": "shop-stable", "port": 8080}), at("spec.bogus", 1))
    bad["spec"]["onFailure"] = 7
    assert {field for field, _ in structure(bad)} == {"spec.bogus", "spec.onFailure"}


def scalars(node: Json, path: str = "spec") -> Iterator[tuple[str, Json]]:
    """Every field that takes text, by its path, with the parts of lists as number 0."""
    if "string" in node.get("type", ()):
        yield path, node
    for name, sub in node.get("properties", {}).items():
        yield from scalars(sub, f"{path}.{name}")
    if "items" in node:
        yield from scalars(node["items"], f"{path}.0")


def whole() -> Json:
    """A Rollout in which every object that may be there is there."""
    auth = {"secretRef": {"name": "prom"}, "headers": [{"name": "X-Api-Key", "key": "key"}]}
    prometheus = {"query": "up", "auth": auth}
    named = [{"name": "a", "value": "b"}]
    expect = {"jsonPath": "$.a", "equals": "1", "status": [200]}
    web = {"url": "https://a/b", "headers": named, "form": named, "expect": expect, "auth": auth}
    counters = {"requests": "up", "failures": "up", "auth": auth}
    selector = {"metric": "a", "labels": {"code": "5*"}, "without": {"code": ""}}
    scraped = {"port": "metrics", "path": "/metrics", "requests": selector, "failures": selector}
    compare = {"prometheus": counters, "slowerThan": ["1s"], "scrape": scraped}
    server = {"address": "https://a", "auth": auth}
    check = {
        **CHECK,
        "template": {"name": "latency"},
        "prometheus": prometheus,
        "web": web,
        "datadog": {"query": "up", "site": "datadoghq.eu", "auth": {"secretRef": {"name": "datadog"}}},
        "influxdb": {**server, "database": "a", "retentionPolicy": "b", "query": "SELECT a FROM b"},
        "graphite": {**server, "target": "a"},
        "cloudwatch": {
            "region": "eu-west-1",
            "address": "https://a",
            "metrics": [
                {"id": "a", "namespace": "b", "name": "c", "stat": "Sum", "dimensions": [{"name": "d", "value": "e"}]}
            ],
            "expression": "a",
            "period": "1m",
            "auth": {"secretRef": {"name": "aws"}},
        },
        "scrape": {**scraped, "value": selector, "aggregate": "Max"},
        "compare": compare,
        "mirrored": {},
        "job": {
            "image": "x",
            "command": ["a"],
            "args": ["a"],
            "env": [{"name": "a", "value": "a"}],
            "resources": {"requests": {}, "limits": {}},
        },
    }
    traffic = {"template": {"name": "traffic"}, "prometheus": prometheus}
    field = {"name": "beta", "value": "1", "type": "Exact"}
    made = rollout(checks=[check], traffic=traffic, routes=[{"name": "shop", "rules": ["a"]}])
    made["spec"]["steps"][0]["match"] = [{"headers": [field], "queryParams": [dict(field)]}]
    made["spec"]["steps"][0]["gate"] = {"window": dict(OFFICE), "http": web | {"expect": dict(expect)}}
    made["spec"]["steps"][0]["approval"] = {"by": {"users": ["a"], "groups": ["a"]}}
    made["spec"]["scale"] = {"canary": "MatchShare"}
    made["spec"]["revision"] = {"includes": ["configs"]}
    made["spec"]["steps"][0]["mirror"] = {"percent": 20, "comparer": {"service": "compare", "port": 8080}}
    return made


@pytest.mark.parametrize("value", [30, 0, 1.5, -1, True])
@pytest.mark.parametrize(
    "path", [path for path, _ in scalars(editor.schemas()["Rollout"]["properties"]["spec"], "spec")]
)
def test_advice_is_accepted_when_it_is_taken(path: str, value: Any) -> None:
    """Whoever writes what lint tells them to write is not told again that it is wrong."""
    wrong = [item for item in linted(spoiled(whole(), at(path, value))).findings if item.field == field_of(parts(path))]
    advised = [re.search(r'write it .*: "(.*)"$', item.advice) for item in wrong]
    for advice in filter(None, advised):
        again = linted(spoiled(whole(), at(path, advice[1]))).findings
        assert [item.text for item in again if item.field == field_of(parts(path)) and item.rule is Rule.SCHEMA] == []


def parts(path: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in path.split("."))


@pytest.mark.parametrize("written", [".nan", ".inf", "-.inf"])
@pytest.mark.parametrize("field", ["threshold: {max: HERE}", "threshold: {min: HERE}"])
def test_what_is_no_number_in_json_is_none(field: str, written: str) -> None:
    """YAML has NaN and infinities; no API server can be sent one."""
    text = dump(rollout()).replace("threshold:\n      max: 1%", field.replace("HERE", written))
    documents, _ = read(text, "m.yaml")
    (finding,) = lint(documents).findings
    assert "must be a number or string, and is a number that JSON has not" in finding.text


@pytest.mark.parametrize("written", ["1e-3", "1E-3", "1.0e-3", "+1e-3", ".001", "0.001"])
def test_numbers_are_read_as_kubectl_reads_them(written: str) -> None:
    """Of YAML's many readers kubectl's takes an exponent without a point for a number, too."""
    text = dump(rollout()).replace("max: 1%", f"max: {written}")
    documents, _ = read(text, "m.yaml")
    assert documents[0].spec["checks"][0]["threshold"] == {"max": 0.001}


def test_a_share_is_never_rounded() -> None:
    """The API server takes any number from 0 to 100; a run needs one that weights can express."""
    ((field, words),) = structure(rollout(steps=[{"weight": 100 / 3}]))
    assert field == "spec.steps[0].weight"
    assert "with up to four decimals" in words


def test_an_empty_field_is_dropped_with_a_warning() -> None:
    """`hold:` with nothing after it is null, and the API server drops it: people think that they have set it."""
    (finding,) = linted(rollout(steps=[{"weight": 10, "hold": None}, {"weight": 20}])).findings
    assert (finding.severity, finding.field) == (Severity.WARNING, "spec.steps[0].hold")


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        ("Rolout", "canary.dev/v1alpha1", "did you mean 'Rollout'?"),
        ("Rollout", "canary.dev/v1", "write canary.dev/v1alpha1"),
        ("Rollout", "canary.io/v1alpha1", "is none of canary's, and is ignored"),
    ],
)
def test_a_wrong_kind_or_version_is_told(kind: str, version: str, words: str) -> None:
    """An object that nobody would look at is not passed over in silence."""
    (finding,) = linted({**rollout(), "kind": kind, "apiVersion": version}).findings
    assert words in finding.text


def test_objects_of_others_are_left_alone() -> None:
    """Argo has a Rollout too, and files hold much that is not ours."""
    other = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "x"}, "spec": {"steps": 1}}
    assert linted(other, {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}}).findings == ()


@pytest.fixture
async def server() -> AsyncIterator[httpx.AsyncClient]:
    async with api_server() as api:
        await api.install_crds(ROOT / "crds")
        headers = {"Authorization": f"Bearer {api.token}"}
        async with httpx.AsyncClient(base_url=api.url, headers=headers) as client:
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
            (await client.post("/api/v1/namespaces", json=space)).raise_for_status()
            yield client


async def test_lint_and_the_api_server_agree(server: httpx.AsyncClient) -> None:
    """Every manifest of these tables is refused by both, or by none: lint neither misses nor invents."""
    documents = [spoiled(document, edit) for document, edit, _, _ in BAD] + copy.deepcopy(GOOD)
    verdicts = []
    for document in documents:
        kind = document["kind"]
        place = f"/namespaces/{SPACE}/rollouts" if kind == "Rollout" else "/clusterchecktemplates"
        path = f"/apis/canary.dev/v1alpha1{place}?fieldValidation=Strict&dryRun=All"
        metadata = {**document["metadata"], "namespace": SPACE if kind == "Rollout" else ""}
        answer = await server.post(path, json={**document, "metadata": metadata})
        refused = answer.status_code in {400, 422}
        assert refused or answer.status_code == 201, answer.text
        verdicts.append((refused, bool(structure(document)), document))
    assert [document for refused, wrong, document in verdicts if refused != wrong] == []
    assert {refused for refused, _, _ in verdicts} == {True, False}


def test_every_rule_of_our_crds_can_be_run() -> None:
    """A rule that the library cannot evaluate would silently pass everything; all of them run on a whole document."""

    def count(node: Any) -> int:
        if isinstance(node, list):
            return sum(map(count, node))
        if not isinstance(node, dict):
            return 0
        return len(node.get(rules.RULES, ())) + sum(count(value) for value in node.values())

    schemas = schema.structural()
    assert {kind: count(found) for kind, found in schemas.items()}["Rollout"] >= 8
    for kind, found in schemas.items():
        documents = {"Rollout": rollout(), **dict.fromkeys(targets.KINDS, target())}
        document = documents.get(kind) or template()
        assert list(rules.violations(schema.with_defaults(document, found), found, ())) == []
    with pytest.raises(rules.RuleError, match="does not compile"):
        list(rules.violations({}, {rules.RULES: [{"rule": "self.(", "message": "m"}]}, ()))
    with pytest.raises(rules.RuleError, match="cannot be evaluated"):
        list(rules.violations({}, {rules.RULES: [{"rule": "nobody(self)", "message": "m"}]}, ()))


def test_a_field_of_an_earlier_version_is_a_warning_that_says_what_to_write() -> None:
    """The API server drops `observed`, and the controller goes on without it: nothing about it is an error."""
    old = rollout(observed={"prometheus": {"query": "up"}, "window": "1m"})
    found = [item for item in linted(old).findings if item.rule is Rule.SCHEMA]
    assert [(item.severity, item.field) for item in found] == [(Severity.WARNING, "spec.observed")]
    assert "'traffic'" in found[0].advice
    spec = RolloutSpec.model_validate(old["spec"])
    assert spec.traffic is None
