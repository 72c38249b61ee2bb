"""Checks, templates and neighbours by content, as sentences in tables."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from lint_kit import (
    QUERY,
    Json,
    deployment,
    dump,
    everything,
    linted,
    of,
    problems,
    rollout,
    route,
    service,
    template,
)

from canary.lint.findings import Severity, field_of, path_of
from canary.lint.run import lint
from canary.lint.source import LARGEST, read

USE: Json = {"template": {"name": "latency", "kind": "ClusterCheckTemplate"}}
CODE: Json = {"query": 'sum(rate(errors{service="{{ canary.service }}", code="{{ args.code }}"}[{{ window }}]))'}
COUNTED: Json = {"template": {"name": "traffic", "kind": "ClusterCheckTemplate"}}
NAMED: Json = {"prometheus": {"query": 'n{name="{{ args.name }}{{ backend.service }}"}'}}


def counter(name: str = "traffic", **spec: Any) -> Json:
    """A template of traffic."""
    counted = {"prometheus": {"query": 'sum(n{s="{{ backend.service }}"})'}}
    found = template(name)
    return {**found, "spec": {"traffic": counted, **spec}}


GRANT: Json = {
    "apiVersion": "gateway.networking.k8s.io/v1beta1",
    "kind": "ReferenceGrant",
    "metadata": {"name": "shop", "namespace": "other"},
    "spec": {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "team-shop"}],
        "to": [{"group": "", "kind": "Service", "name": "shop-canary"}],
    },
}


def check(**over: Any) -> list[Json]:
    return [{"name": "errors", "prometheus": {"query": QUERY}, "threshold": {"max": "1%"}, **over}]


def conditioned(condition: str) -> list[Json]:
    return [{"name": "errors", "prometheus": {"query": QUERY}, "condition": condition}]


def away(**more: Any) -> Json:
    """A Rollout whose canary lives in another namespace."""
    return rollout(canary={"service": "shop-canary", "port": 8080, "namespace": "other"}, **more)


CHECKS: list[tuple[str, list[Json], str, str, str]] = [
    (
        "an unknown variable is named, with the one that was meant",
        [rollout(checks=check(prometheus={"query": 'up{s="{{ canry.service }}{{ canary.service }}"}'}))],
        "spec.checks[0].prometheus.query",
        "unknown variable 'canry.service' (did you mean 'canary.service'?)",
        "error",
    ),
    (
        "a tag that is never closed",
        [rollout(checks=check(prometheus={"query": "up{{ canary.service"}))],
        "spec.checks[0].prometheus.query",
        "is never closed",
        "error",
    ),
    (
        "a query that says nothing of the canary",
        [rollout(checks=check(prometheus={"query": "up"}))],
        "spec.checks[0].prometheus.query",
        "measures the same whatever the canary does",
        "warning",
    ),
    (
        "a condition that is no CEL",
        [rollout(checks=conditioned("value <"))],
        "spec.checks[0].condition",
        "does not compile",
        "error",
    ),
    (
        "a condition over an unknown name",
        [rollout(checks=conditioned("latency < 1.0"))],
        "spec.checks[0].condition",
        "it may name `value` and `values`",
        "error",
    ),
    (
        "bounds that no value keeps",
        [rollout(checks=check(threshold={"min": 10, "max": 5}))],
        "spec.checks[0].threshold",
        "no value is good: min is 10, above max, 5",
        "error",
    ),
    (
        "bounds of a template that no value keeps, told at the template alone",
        [rollout(checks=[USE]), template(threshold={"min": 2, "max": "{{ args.limit }}"})],
        "spec.threshold",
        "no value is good: min is 2, above max, 0.5",
        "error",
    ),
    (
        "an argument that leaves no value",
        [
            rollout(checks=[{**USE, "args": {"limit": "100ms"}}]),
            template(threshold={"min": 0.2, "max": "{{ args.limit }}"}),
        ],
        "spec.checks[0].args",
        "no value is good: min is 0.2, above max, 0.1",
        "error",
    ),
    (
        "a condition that is no yes or no",
        [rollout(checks=conditioned("value + 1.0"))],
        "spec.checks[0].condition",
        "not true or false",
        "error",
    ),
    (
        "a condition that may take for ever",
        [rollout(checks=conditioned("values.all(v, values.exists(w, w > v))"))],
        "spec.checks[0].condition",
        "may cost 40 times what is allowed when the query returns 1000 series",
        "error",
    ),
    (
        "a condition about something else than numbers",
        [rollout(checks=conditioned("'abc'.matches('(a|aa)+$')"))],
        "spec.checks[0].condition",
        "a condition is about numbers and has no string",
        "error",
    ),
    (
        "an argument that the template does not take",
        [rollout(checks=[{**USE, "args": {"limt": "1"}}]), template()],
        "spec.checks[0].args.limt",
        "it takes: limit",
        "error",
    ),
    (
        "an argument that is required and not given",
        [rollout(checks=[USE]), template(args=[{"name": "limit", "required": True}])],
        "spec.checks[0].args.limit",
        "the template needs this argument",
        "error",
    ),
    (
        "an argument that a bound needs, declared and not given",
        [rollout(checks=[USE]), template(args=[{"name": "limit"}])],
        "spec.checks[0].args.limit",
        "threshold.max is {{ args.limit }}, which has no value",
        "error",
    ),
    (
        "an argument that a query needs, declared and not given",
        [rollout(checks=[USE]), template(args=[{"name": "code"}], threshold={"max": 1}, prometheus=CODE)],
        "spec.checks[0].template",
        "'args.code' has no value here; add it to args, or give the template a default",
        "error",
    ),
    (
        "an argument that is no number where a bound is wanted",
        [rollout(checks=[{**USE, "args": {"limit": "fast"}}]), template()],
        "spec.checks[0].threshold.max",
        "is not a limit",
        "error",
    ),
    (
        "seconds for an argument that is written in milliseconds",
        [rollout(checks=[{**USE, "args": {"limit": "300"}}]), template()],
        "spec.checks[0].args.limit",
        "300 has no unit, so it counts as 300s; the default of the template is 500ms",
        "warning",
    ),
    (
        "a bare number, too",
        [rollout(checks=[{**USE, "args": {"limit": 0.3}}]), template()],
        "spec.checks[0].args.limit",
        "0.3 has no unit, so it counts as 0.3s",
        "warning",
    ),
    (
        "a part for an argument that is written as a percentage",
        [rollout(checks=[{**USE, "args": {"limit": 5}}]), template(args=[{"name": "limit", "default": "1%"}])],
        "spec.checks[0].args.limit",
        "5 has no unit, so it counts as 500%; the default of the template is 1%",
        "warning",
    ),
    (
        "a percentage for a duration",
        [rollout(checks=[{**USE, "args": {"limit": "5%"}}]), template()],
        "spec.checks[0].args.limit",
        "5% is a percentage, and the default of the template is 500ms, a duration",
        "warning",
    ),
    (
        "a number without a unit that is a part of a query",
        [
            rollout(checks=[{**USE, "args": {"range": "300"}}]),
            template(
                args=[{"name": "range", "default": "5m"}],
                threshold={"max": 1},
                prometheus={"query": 'sum(rate(n{s="{{ canary.service }}"}[{{ args.range }}]))'},
            ),
        ],
        "spec.checks[0].args.range",
        "300 has no unit, and the default of the template is 5m",
        "warning",
    ),
    (
        "and one of the counters of traffic",
        [
            rollout(traffic={**COUNTED, "args": {"name": "300"}}),
            counter(args=[{"name": "name", "default": "5m"}], traffic=NAMED),
        ],
        "spec.traffic.args.name",
        "300 has no unit, and the default of the template is 5m",
        "warning",
    ),
    (
        "a template with another name than those of the files",
        [rollout(checks=[USE]), template("latency-p99")],
        "spec.checks[0].template.name",
        "did you mean 'latency-p99'?",
        "warning",
    ),
    (
        "a template that names an argument nobody declares",
        [template(threshold={"max": "{{ args.limti }}"}, args=[])],
        "spec.threshold.max",
        "names an argument that the template does not declare",
        "error",
    ),
    (
        "a template whose query names an argument nobody declares",
        [template(prometheus={"query": 'x{a="{{ args.nope }}"}'})],
        "spec.prometheus.query",
        "unknown variable 'args.nope'",
        "error",
    ),
    (
        "an argument that nothing uses",
        [template(args=[{"name": "limit", "default": "1"}, {"name": "spare", "default": "1"}])],
        "spec.args[1]",
        "neither the query nor the threshold uses the argument 'spare'",
        "warning",
    ),
    (
        "a template of traffic that counts the same for both",
        [counter(traffic={"prometheus": {"query": "n{{ rollout }}"}})],
        "spec.traffic.prometheus.query",
        "the query counts the same for both backends",
        "error",
    ),
    (
        "a template of traffic with an unknown variable",
        [counter(traffic={"prometheus": {"query": "n{{ backend.servise }}"}})],
        "spec.traffic.prometheus.query",
        "unknown variable 'backend.servise' (did you mean 'backend.service'?)",
        "error",
    ),
    (
        "an argument that no counter uses",
        [counter(args=[{"name": "spare", "default": "1"}])],
        "spec.args[0]",
        "uses the argument 'spare'",
        "warning",
    ),
    (
        "a setting of checks in a template of traffic",
        [counter(failureLimit=2)],
        "spec.failureLimit",
        "failureLimit is a setting of checks, and means nothing in a template of traffic",
        "warning",
    ),
    (
        "traffic by a template of a check",
        [rollout(traffic={**USE, "args": {"limit": "1"}}), template()],
        "spec.traffic.template",
        "ClusterCheckTemplate latency holds a check, and counts no traffic; name it in spec.checks",
        "error",
    ),
    (
        "a check by a template of traffic",
        [rollout(checks=[COUNTED]), counter()],
        "spec.checks[0].template",
        "ClusterCheckTemplate traffic holds traffic, and no check; name it in spec.traffic",
        "error",
    ),
    (
        "traffic by a template that the files do not have",
        [rollout(traffic=COUNTED), counter("trafic")],
        "spec.traffic.template.name",
        "did you mean 'trafic'?",
        "warning",
    ),
    (
        "traffic with an argument that its template does not take",
        [rollout(traffic={**COUNTED, "args": {"rout": "x"}}), counter()],
        "spec.traffic.args.rout",
        "it takes: none",
        "error",
    ),
    (
        "traffic by a template whose argument nobody gives",
        [rollout(traffic=COUNTED), counter(args=[{"name": "name"}], traffic=NAMED)],
        "spec.traffic.template",
        "'args.name' has no value here",
        "error",
    ),
    (
        "no checks at all",
        [rollout(checks=[])],
        "spec",
        "its weight rises on time alone",
        "warning",
    ),
    (
        "holds that outlast the deadline",
        [rollout(deadline="10m")],
        "spec.deadline",
        "the holds of the steps take 600 s, and after 10m every run fails",
        "error",
    ),
    (
        "a weight that does not rise",
        [rollout(steps=[{"weight": 50}, {"weight": "50.0%"}])],
        "spec.steps[1].weight",
        "the weight does not rise: 50 % after 50 %",
        "warning",
    ),
    (
        "an interval that is shorter than what is waited",
        [rollout(checks=check(interval="100ms"))],
        "spec.checks[0].interval",
        "at least 1s is waited",
        "warning",
    ),
]

SETS = rollout(workloads={role: {"kind": "StatefulSet", "name": f"shop-{role}"} for role in ("stable", "canary")})


def stateful(role: str, *, partition: int = 0) -> Json:
    """A StatefulSet that keeps so many pods as they are."""
    found = {**deployment(role), "kind": "StatefulSet"}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
    return {**found, "spec": {**found["spec"], "updateStrategy": strategy}}


NEIGHBOURS: list[tuple[str, list[Json], str, str, str]] = [
    (
        "a route with a name that is nearly right",
        [rollout(), route(name="shopp")],
        "spec.routes[0].name",
        "did you mean 'shopp'?",
        "warning",
    ),
    (
        "a route that does not list the canary",
        [rollout(), route(100)],
        "spec.routes[0]",
        "add the canary as a backendRef with weight 0",
        "error",
    ),
    (
        "a rule that the route does not have",
        [rollout(routes=[{"name": "shop", "rules": ["checkout"]}]), route(rule="pay")],
        "spec.routes[0]",
        "has no rule named 'checkout'",
        "error",
    ),
    (
        "a step that names a rule which the route does not have",
        [rollout(steps=[{"weight": 0, "rules": {"beta": 100}}, {"weight": 50}]), route(rule="pay")],
        "spec.steps[0].rules.beta",
        "no route of this Rollout has a rule named 'beta' that lists both Services",
        "error",
    ),
    (
        "a step that names a rule which `routes[].rules` leaves out",
        [rollout(routes=[{"name": "shop", "rules": ["pay"]}], steps=[{"weight": 50, "rules": {"beta": 100}}])],
        "spec.steps[0].rules.beta",
        "spec.routes[].rules leaves rule 'beta' out",
        "error",
    ),
    (
        "a share of a named rule that its weights cannot express",
        [rollout(steps=[{"weight": 100}, {"rules": {"pay": 50}}]), route(5, 0, 5, rule="pay")],
        "spec.steps[1].rules.pay",
        "multiply all weights of the rule by 2",
        "error",
    ),
    (
        "a route that no gateway serves",
        [rollout(), {**route(), "spec": {"rules": route()["spec"]["rules"]}}],
        "spec.routes[0]",
        "has no parentRefs",
        "error",
    ),
    (
        "a share that the weights cannot express next to a third backend",
        [rollout(), route(5, 0, 5)],
        "spec.steps[0].weight",
        "multiply all weights of the rule by 2",
        "error",
    ),
    (
        "a pair without any weight",
        [rollout(), route(0, 0)],
        "spec.routes[0]",
        "both weights of the pair are 0",
        "error",
    ),
    (
        "a canary that has traffic at rest",
        [rollout(), route(90, 10)],
        "spec.routes[0]",
        "gives the canary 10 % of the pair outside of runs",
        "warning",
    ),
    (
        "a port that the Service does not have",
        [rollout(), service("stable"), service("canary", 80)],
        "spec.canary.port",
        "has no port 8080; its ports: 80",
        "error",
    ),
    (
        "a Service that is not there though others are",
        [rollout(), service("stable")],
        "spec.canary.service",
        "there is no Service shop-canary in namespace team-shop in these files",
        "warning",
    ),
    (
        "two Services of the same pods",
        [rollout(), service("stable", app="shop"), service("canary", app="shop")],
        "spec.canary.service",
        "both Services select the same pods",
        "error",
    ),
    (
        "a workload that is not there though others are",
        [rollout(), deployment("stable")],
        "spec.workloads.canary.name",
        "there is no Deployment shop-canary",
        "warning",
    ),
    (
        "a workload whose pods its Service does not select",
        [rollout(), service("canary"), service("stable"), deployment("stable"), deployment("canary", app="shop")],
        "spec.workloads.canary.name",
        "selects track=canary, which the pods of Deployment shop-canary do not have",
        "error",
    ),
    (
        "a StatefulSet whose partition keeps pods as they are",
        [SETS, service("canary"), service("stable"), stateful("stable"), stateful("canary", partition=2)],
        "spec.workloads.canary.name",
        "StatefulSet shop-canary: the partition 2 of its updateStrategy keeps pods as they are: lower it to 0",
        "warning",
    ),
    (
        "a StatefulSet that is not there though others are",
        [SETS, stateful("stable"), deployment("canary")],
        "spec.workloads.canary.name",
        "there is no StatefulSet shop-canary",
        "warning",
    ),
    (
        "another Rollout on the same rule",
        [rollout(), route(), {**rollout(), "metadata": {"name": "again", "namespace": "team-shop"}}],
        "spec.routes[0]",
        "Rollout shop (m.yaml) drives rule #0 of HTTPRoute shop too",
        "error",
    ),
    (
        "another Rollout on the same pair, without the route at hand",
        [rollout(), {**rollout(), "metadata": {"name": "again", "namespace": "team-shop"}}],
        "spec.routes[0]",
        "Rollout shop (m.yaml) drives rules of HTTPRoute shop too",
        "error",
    ),
    (
        "a rule that keeps sessions where they are",
        [rollout(), route(sessionPersistence={"sessionName": "s"})],
        "spec.routes[0]",
        "rule #0 of HTTPRoute shop has sessionPersistence, which overrides weights",
        "warning",
    ),
    (
        "a route of another kind that is not there though others of that kind are",
        [rollout(routes=[{"kind": "GRPCRoute", "name": "shop"}]), route(), route(kind="GRPCRoute", name="shopp")],
        "spec.routes[0].name",
        "there is no GRPCRoute shop in namespace team-shop in these files",
        "warning",
    ),
    (
        "a TCPRoute with what only requests have",
        [rollout(routes=[{"kind": "TCPRoute", "name": "shop"}]), route(kind="TCPRoute", matches=[], filters=[])],
        "spec.routes[0]",
        "spec.rules[0] of TCPRoute shop has matches and filters; rules of a TCPRoute have none",
        "error",
    ),
    (
        "a UDPRoute with a share that its weights cannot express",
        [rollout(routes=[{"kind": "UDPRoute", "name": "shop"}]), route(5, 0, 5, kind="UDPRoute")],
        "spec.steps[0].weight",
        "rule #0 of UDPRoute shop: the pair's weights add up to 5",
        "error",
    ),
    (
        "another Rollout on the same rule of one of two kinds",
        [
            rollout(routes=[{"name": "shop"}]),
            route(),
            route(kind="GRPCRoute"),
            {
                **rollout(routes=[{"kind": "GRPCRoute", "name": "shop"}, {"name": "shop"}]),
                "metadata": {"name": "again", "namespace": "team-shop"},
            },
        ],
        "spec.routes[1]",
        "Rollout shop (m.yaml) drives rule #0 of HTTPRoute shop too",
        "error",
    ),
    (
        "the same object twice",
        [rollout(), rollout(paused=True)],
        "metadata.name",
        "Rollout team-shop/shop is given twice, first in m.yaml:1",
        "error",
    ),
    (
        "a namespace that is crossed without a grant for it",
        [away(), {**GRANT, "spec": {**GRANT["spec"], "to": [{"group": "", "kind": "Service", "name": "x"}]}}],
        "spec.canary.namespace",
        "lets HTTPRoute of namespace team-shop name Service shop-canary",
        "warning",
    ),
]


@pytest.mark.parametrize(("_why", "documents", "field", "words", "severity"), CHECKS + NEIGHBOURS)
def test_each_mistake_is_one_finding(_why: str, documents: list[Json], field: str, words: str, severity: str) -> None:
    """The field, the sentence and how bad it is; nothing else is objected to."""
    (finding,) = problems(*documents)
    assert (finding.field, finding.severity) == (field, severity)
    assert words in finding.text
    assert finding.line > 0


@pytest.mark.parametrize(
    "documents",
    [
        everything(),
        [rollout(), template("other")],
        [rollout(checks=[{**USE, "args": {"limit": "300ms"}}]), template()],
        [rollout(checks=conditioned("values.all(v, v < 1.0) && value > 0.5"))],
        [away(), GRANT],
        [away(), {**GRANT, "spec": {**GRANT["spec"], "to": [{"kind": "Service"}]}}],
        [rollout(), route(10, 0, 5)],
        [rollout(steps=[{"weight": 0, "rules": {"pay": 100}}, {"weight": 50}]), route(5, 0, 5, rule="pay")],
        [rollout(steps=[{"rules": {"nobody-can-tell": 100}}, {"weight": 50}])],
        [
            rollout(routes=[{"name": "shop", "rules": ["a"]}]),
            {**rollout(routes=[{"name": "shop", "rules": ["b"]}]), "metadata": {"name": "b", "namespace": "team-shop"}},
        ],
        [rollout(), {**rollout(), "metadata": {"name": "shop", "namespace": "elsewhere"}}],
        [rollout(), {**service("canary", 1), "apiVersion": "serving.knative.dev/v1"}],
    ],
)
def test_what_fits_together_passes(documents: list[Json]) -> None:
    """No false alarm for a whole set, for parts of one, for other namespaces, or for other kinds of the same name."""
    assert of(problems(*documents)) == []


def mirrored(mirror: Json, *rules: Json) -> list[Json]:
    """Everything, with a step that mirrors, and a route whose rules are these over the usual one."""
    document = route()
    (usual,) = document["spec"]["rules"]
    document["spec"]["rules"] = [{**usual, **rule} for rule in rules or ({},)]
    rest = [one for one in everything() if one["kind"] not in {"Rollout", "HTTPRoute"}]
    return [rollout(steps=[{"weight": 10}, {"mirror": mirror}, {"weight": 50}]), document, *rest]


def matched(step: Json, *rules: Json) -> list[Json]:
    """Everything, with a step that lets requests opt in, and a route whose rules are these over the usual one."""
    documents = mirrored({"percent": 20}, *rules)
    documents[0]["spec"]["steps"][1] = step
    return documents


BETA: Json = {"match": [{"headers": [{"name": "x-beta", "value": "yes"}]}]}


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        (
            matched(BETA, {"matches": [{"headers": [{"name": "X-Beta", "value": "1"}]}]}),
            "would match header x-beta twice",
        ),
        (
            matched(BETA, {"matches": [{"path": {"type": "RegularExpression", "value": "/a+"}}]}),
            "allowRegexPaths: true",
        ),
    ],
)
def test_a_step_that_could_add_no_rule_is_an_error(documents: list[Json], words: str) -> None:
    """At the step, with the sentence of the controller."""
    (finding,) = problems(*documents)
    assert (finding.field, finding.severity) == ("spec.steps[1].match", Severity.ERROR)
    assert words in finding.text


def test_a_step_that_can_add_its_rules_passes_and_what_guards_a_name_is_a_note() -> None:
    """Files do not tell whether a policy targets a rule by its name; one without a name cannot be."""
    assert problems(*matched(BETA, {})) == []
    (note,) = [
        item
        for item in linted(*matched(BETA, {"name": "pay"})).findings
        if item.severity is Severity.NOTE and "policy" in item.text
    ]
    assert "would copy rule pay of HTTPRoute shop" in note.text
    assert "cannot be seen from these files" in note.text


GET: Json = {"matches": [{"method": "GET"}]}
THERE: Json = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shop-canary", "port": 8080}}}


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        (mirrored({"percent": 20}), "no rule of HTTPRoute shop is limited to the methods GET, HEAD and OPTIONS"),
        (mirrored({"percent": 20}, {**GET, "filters": [THERE]}), "mirrors 100 % of its requests to the canary already"),
        (mirrored({"percent": 20}, {**GET, "filters": [{"type": "x"}] * 16}), "has 16 filters"),
    ],
)
def test_a_step_that_could_not_mirror_is_an_error(documents: list[Json], words: str) -> None:
    """At the step, with what to do: as the controller would say it."""
    (finding,) = problems(*documents)
    assert (finding.field, finding.severity) == ("spec.steps[1].mirror", Severity.ERROR)
    assert words in finding.text


@pytest.mark.parametrize(
    "documents",
    [
        mirrored({"percent": 20}, GET),
        mirrored({"percent": 20}, GET, {"name": "pay"}),
        mirrored({"fraction": {"numerator": 1, "denominator": 3}, "allowUnsafeMethods": True}),
    ],
)
def test_a_step_that_can_mirror_passes(documents: list[Json]) -> None:
    """Rules that are left out are no mistake."""
    assert problems(*documents) == []


@pytest.mark.parametrize(
    ("mirror", "field", "words"),
    [
        ({}, "spec.steps[1].mirror", "exactly one of percent and fraction"),
        ({"percent": 1, "fraction": {"numerator": 1}}, "spec.steps[1].mirror", "exactly one of percent and fraction"),
        ({"fraction": {"numerator": 101}}, "spec.steps[1].mirror.fraction", "at most the denominator"),
        ({"percent": 0}, "spec.steps[1].mirror.percent", ""),
    ],
)
def test_a_mirror_of_no_share_is_refused_as_the_api_server_refuses_it(mirror: Json, field: str, words: str) -> None:
    """By the rules of the definition."""
    (finding,) = problems(*mirrored(mirror, GET))
    assert (finding.field, finding.severity) == (field, Severity.ERROR)
    assert words in finding.text


COMPARER: Json = {"percent": 20, "comparer": {"service": "shop-comparer", "port": 8080}}
SAME: Json = {"name": "same-answers", "mirrored": {"maxDifferent": "0.1%"}}


def compared(*checks: Json, mirror: Json = COMPARER, service_there: bool = True) -> list[Json]:
    """Everything, with a step that mirrors to a comparer, and these checks."""
    documents = mirrored(mirror, GET)
    documents[0]["spec"]["checks"] = list(checks)
    return [*documents, *([service("comparer")] if service_there else [])]


@pytest.mark.parametrize(
    ("documents", "severity", "field", "words"),
    [
        (compared(*check()), Severity.WARNING, "spec.steps[1].mirror.comparer", "no check reads what that finds"),
        (
            compared(*check(), SAME, mirror={"percent": 20}),
            Severity.ERROR,
            "spec.checks[1]",
            "no step mirrors to a comparer",
        ),
        (compared(SAME), Severity.WARNING, "spec.checks[0]", "at step 1 no answers are compared; no other check looks"),
        (
            compared(*check(), SAME, service_there=False),
            Severity.WARNING,
            "spec.steps[1].mirror.comparer.service",
            "there is no Service shop-comparer",
        ),
        (
            compared(*check(), SAME, mirror={"percent": 20, "comparer": {"service": "shop-comparer", "port": 1}}),
            Severity.ERROR,
            "spec.steps[1].mirror.comparer.port",
            "Service shop-comparer has no port 1; its ports: 8080",
        ),
    ],
)
def test_a_comparer_and_who_reads_it_belong_together(
    documents: list[Json], severity: Severity, field: str, words: str
) -> None:
    """The one without the other decides nothing."""
    (finding,) = problems(*documents)
    assert (finding.severity, finding.field) == (severity, field)
    assert words in finding.text


def test_a_comparer_with_its_check_passes() -> None:
    """Beside a check that looks at the steps with weight; also where the check is a template's."""
    made = template("same")
    made["spec"] = {"mirrored": {}}
    use = {"template": {"name": "same", "kind": "ClusterCheckTemplate"}}
    assert problems(*compared(*check(), SAME)) == []
    assert problems(*compared(*check(), use), made) == []


def test_what_was_not_looked_at_is_a_note() -> None:
    """A template or a grant that lives elsewhere is no mistake, but nobody may think that it was checked."""
    findings = linted(away(checks=[USE])).findings
    assert {finding.severity for finding in findings} == {Severity.NOTE}
    assert [finding.field for finding in findings] == ["spec.canary.namespace", "spec.checks[0].template"]


def test_queries_are_asked_as_they_would_be_asked() -> None:
    """Those of Rollouts with their arguments; those of templates only if every argument has a value."""
    bare = template(args=[{"name": "limit", "required": True}], prometheus={"query": 'x{a="{{ args.limit }}"}'})
    used = rollout(
        checks=[{**USE, "args": {"limit": "3"}}], traffic={"prometheus": {"query": "o {{ backend.service }}"}}
    )
    questions = linted(used, bare).questions
    assert [(question.document.kind, question.text) for question in questions] == [
        ("Rollout", 'x{a="3"}'),
        ("Rollout", "o shop-canary"),
    ]
    (plain,) = linted(template()).questions
    assert plain.text == 'sum(rate(errors{service="service"}[1m]))'


MANIFEST = """\
# A comment.
apiVersion: canary.dev/v1alpha1
kind: Rollout
metadata: {name: shop}
spec:
  routes: [{name: shop}]
  stable: &pair {service: a, port: 1}
  canary: {<<: *pair, service: b, prot: 2}
  steps:
    - weight: 10
    -   hold: soon
        weight: 20
  checks:
    - name: errors
      prometheus:
        query: |
          sum(rate(
            x{s="{{ canary.servce }}"}[1m]))
      threshold: {max: 1}
---
kind: List
apiVersion: v1
items:
  - apiVersion: canary.dev/v1alpha1
    kind: CheckTemplate
    metadata: {name: t}
    spec: {}
"""


def test_a_place_is_line_and_column_in_the_file() -> None:
    """Of keys, of list items, through anchors and Lists, and of a line within a query."""
    documents, wrong = read(MANIFEST, "m.yaml")
    assert wrong == []
    places = {(item.field, item.line, item.column) for item in lint(documents).findings}
    assert places == {
        ("spec.canary.prot", 8, 35),
        ("spec.steps[1].hold", 11, 9),
        ("spec", 27, 5),
    }
    fixed = MANIFEST.replace(", prot: 2", "").replace("soon", "1m")
    documents, _ = read(fixed, "m.yaml")
    (query,) = [item for item in lint(documents[:1]).findings if item.rule == "query"]
    assert query.line == 18
    assert documents[1].position(("spec",)) == (27, 5)


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 10)}]\n" for before, name in pairwise("abcdef")
)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [\n", 3, "not YAML"),
        ("a: {{ .Values.x }}\n", 1, "the file looks like a template, and a template is no manifest"),
        ("{{- if .Values.x }}\na: 1\n{{- end }}\n", 1, "the file looks like a template"),
        ("\x85!\t", 2, "not YAML"),
        ("a: 1\nb:\n  {{- toYaml .Values.x | nindent 2 }}\n", 3, "the file looks like a template"),
        ("a: 1\na: 2\n", 2, "the key 'a' is given twice, first in line 1"),
        ("x: !vault secret\n", 1, "not YAML: could not determine a constructor"),
        ("a: \x01\n", 0, "not YAML"),
        ("x: !!int many\n", 0, "a value cannot be read"),
        ("a: &a [*a]\n", 1, "too deep: it has more than 100 levels once its aliases are spelled out"),
        (BOMB, 1, "too large: it has more than 200,000 values once its aliases are spelled out"),
        (f"a: [{','.join('1' * 200_001)}]\n", 1, "too large: it has more than 200,000 values"),
        ("\n---\n" + "[" * 102 + "]" * 102 + "\n", 3, "too deep: it has more than 100 levels"),
        ("? " * 10_000, 1, "too deep: it has more than 100 levels"),
        (f"a: [{'1,' * 200_000}1, and {{nothing ]of: this, is read", 1, "too large: it has more than 200,000 values"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_finding(text: str, line: int, words: str) -> None:
    """Neither a traceback nor silence, whatever stands in a file."""
    documents, findings = read(text, "m.yaml")
    assert documents == []
    assert [(finding.line, finding.severity) for finding in findings] == [(line, "error")]
    assert words in findings[0].message


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85"], ids=repr)
def test_a_document_that_is_too_large_is_refused_before_it_is_read(end: str) -> None:
    """With its size and the bound; the others of the file are read, and found where they are."""
    small = end.join(("---", "kind: Small", "x: {a: 1, a: 2}", ""))
    large = end.join(("--- # this is no YAML", f"a: ][ {'é' * (LARGEST // 2)}", "  ---", "----", ""))
    documents, findings = read(small + large + small.replace("a: 2", "b: 2"), "m.yaml")
    assert [document.kind for document in documents] == ["Small"]
    assert documents[0].position(("x", "b")) == (10, 11)
    assert [(finding.line, finding.message) for finding in findings] == [
        (4, "the document has 3.0 MiB, and no more than 3 MiB are read of one"),
        (3, "the key 'a' is given twice, first in line 3"),
    ]
    assert "no API server takes as much" in findings[0].advice


@pytest.mark.parametrize(
    ("default", "given"),
    [
        ("500ms", "300ms"),
        ("500ms", "0.3s"),
        ("500ms", "0"),
        ("1%", "0.5%"),
        ("0.5", "300ms"),
        ("0.5", "1%"),
        ("0.5", 2),
        (None, "300"),
        ("500ms", None),
    ],
)
def test_a_unit_is_missed_only_where_the_default_has_one(default: str | None, given: str | int | None) -> None:
    """Nothing is asked of zero, or beside a default that has no unit itself: a Rollout may be more precise than its template."""
    argument = {"name": "limit"} | ({} if default is None else {"default": default})
    check = USE if given is None else {**USE, "args": {"limit": given}}
    found = linted(rollout(checks=[check]), template(args=[argument])).findings
    assert [finding for finding in found if "unit" in finding.text or "percentage" in finding.text] == []


def test_a_unit_that_is_missed_may_be_one_of_two() -> None:
    """The one of the default, or the one that the number has now."""
    for default, given, advice in (("500ms", "300", "300ms or 300s"), ("5s", "3", "3s"), ("1%", "0.05", "0.05% or 5%")):
        spelled = template(args=[{"name": "limit", "default": default}])
        (found,) = problems(rollout(checks=[{**USE, "args": {"limit": given}}]), spelled)
        assert found.advice == f"say the unit: {advice}"


def test_a_file_may_be_larger_than_a_document() -> None:
    """As a whole rendering is, or a bundle of definitions."""
    document = "---\nkind: x\n" + (
        "# of a line of comment that has eighty characters, of which a newline is the last\n" * 20_000
    )
    documents, findings = read(document * 3, "m.yaml")
    assert (len(documents), findings) == (3, [])


def test_yaml_is_read_as_kubectl_reads_it() -> None:
    """Dates are text, tabs of JSON are fine, an empty document is nothing, and what is no object is told."""
    (document,), _ = read("metadata: {name: 2024-05-01, on: 1}\n---\n---\n", "m.yaml")
    assert document.content == {"metadata": {"name": "2024-05-01", "true": 1}}
    assert read('{\n\t"kind": "x"\n}', "m.json")[0][0].kind == "x"
    assert read("- 1\n", "m.yaml")[1][0].severity is Severity.WARNING


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *((word, True) for word in ("y", "Y", "yes", "on", "On", "true")),
        *((word, False) for word in ("n", "N", "no", "off", "OFF", "false")),
        *(
            ("0o17", 15),
            ("0O17", 15),
            ("017", 15),
            ("-0x1F", -31),
            ("0X1f", 31),
            ("0B11", 3),
            ("1_000", 1000),
            ("0", 0),
        ),
        *(("08", 8.0), ("09.5", 9.5), ("-08", -8.0)),
        *((word, word) for word in ("=", "17:00", "12e4567", "0o8", "0x", "yy", "yN", "2024-05-01", "1.2.3")),
        *((f"'{word}'", word) for word in ("y", "0o17", "08")),
    ],
)
def test_a_plain_word_is_what_kubectl_makes_of_it(written: str, value: object) -> None:
    """By the rules of the reader that kubectl has, in which y is a boolean and = is none of YAML's own."""
    (document,), findings = read(f"value: {written}\n", "m.yaml")
    assert findings == []
    assert document.content == {"value": value}
    assert type(document.content["value"]) is type(value)


def test_a_query_in_a_broken_file_makes_no_template_of_it() -> None:
    """The variables of queries stand inside texts."""
    for text in ("query: up{{ canary.service }}", 'query: "{{ canary.service }}"', "query: >\n  {{ canary.service }}"):
        (finding,) = read(f"{text}\nb: [\n", "m.yaml")[1]
        assert "template" not in finding.text, text


def test_nonsense_in_other_objects_is_no_crash() -> None:
    """Routes, Services and Deployments are read without a schema, so anything may stand in them."""
    for value in (None, 1, "x", [], {"updateStrategy": 1}, {"updateStrategy": {"rollingUpdate": []}, "template": 1}):
        sets = ({**item, "spec": value, "status": value} for item in (stateful("stable"), stateful("canary")))
        assert isinstance(problems(SETS, *sets), list)
    odd = [None, 1, "x", [], [1], {}, {"rules": 1}, {"rules": [1]}, {"rules": [{"backendRefs": [1]}]}]
    for value in [*odd, {"ports": [1], "selector": 3, "template": []}, {"ports": 1, "from": 1, "to": [1]}]:
        documents = [rollout(), *({**item, "spec": value} for item in everything()[1:]), {**GRANT, "spec": value}]
        assert isinstance(problems(*documents), list)
    for name in (None, 1, {}):
        assert isinstance(linted({**route(), "metadata": {"name": name}}, {**rollout(), "metadata": name}), object)


def test_fields_are_written_and_read() -> None:
    """A path and its text are the same thing."""
    path = ("spec", "checks", 0, "args", "limit")
    assert field_of(path) == "spec.checks[0].args.limit"
    assert path_of(field_of(path)) == path


def test_namespaces_are_those_of_the_command_line() -> None:
    """Objects that name no namespace are of the one that was chosen, and find each other there."""
    text = dump(
        *({**item, "metadata": {"name": item["metadata"]["name"]}} for item in [rollout(), route(name="other")])
    )
    documents, _ = read(text, "m.yaml", "team-shop")
    words = [finding.message for finding in lint(documents).findings]
    assert words == ["there is no HTTPRoute shop in namespace team-shop in these files"]


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"])
def test_a_route_of_any_kind_may_be_all_right(kind: str) -> None:
    """Nothing is found of a Rollout next to its route; and a Rollout of another kind's route of that name is no rival."""
    mine = rollout(routes=[{"kind": kind, "name": "shop"}])
    assert problems(mine, route(kind=kind)) == []
    other = "GRPCRoute" if kind == "HTTPRoute" else "HTTPRoute"
    theirs = {**rollout(routes=[{"kind": other, "name": "shop"}]), "metadata": {"name": "x", "namespace": "team-shop"}}
    assert problems(mine, route(kind=kind), theirs, route(kind=other)) == []


REQUESTS = 'n{service="{{ backend.service }}"}'
COMPARED: Json = {"prometheus": {"requests": REQUESTS, "failures": 'n{service="{{ backend.service }}",code="500"}'}}


def comparing(**counters: str) -> Json:
    return {"name": "compared", "compare": {"prometheus": {**COMPARED["prometheus"], **counters}}}


@pytest.mark.parametrize(
    ("counters", "field", "words"),
    [
        ({"requests": "r"}, "spec.checks[1].compare.prometheus", "requests counts the same for both backends"),
        ({"failures": "n{s='{{ canary.service }}'}"}, "spec.checks[1].compare.prometheus", "failures counts the same"),
        (
            {"failures": "n{s='{{ backend.name }}'}"},
            "spec.checks[1].compare.prometheus",
            "unknown variable 'backend.name'",
        ),
        (
            {"requests": f"rate({REQUESTS}[1m])"},
            "spec.checks[1].compare.prometheus.requests",
            "rate() is no counter any more",
        ),
        (
            {"failures": f"sum by (pod) ({REQUESTS})"},
            "spec.checks[1].compare.prometheus.failures",
            "sum() hides which pod restarted",
        ),
    ],
)
def test_what_is_compared_are_raw_counters_of_each_backend(counters: Json, field: str, words: str) -> None:
    """Told at the field, with what to write."""
    (finding,) = linted(rollout(checks=[*check(), comparing(**counters)])).findings
    assert finding.field == field
    assert words in finding.text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("took_bucket", "buckets counts the same for both backends"),
        ("sum by (le) (took_bucket{s='{{ backend.service }}'})", "sum() hides which pod restarted"),
        (
            "histogram_quantile(0.9, took_bucket{s='{{ backend.service }}'})",
            "histogram_quantile() is no counter any more",
        ),
    ],
)
def test_buckets_that_are_compared_are_raw_too(query: str, words: str) -> None:
    """A quantile of each backend is no count of anything."""
    compare = {"prometheus": {"buckets": query}, "slowerThan": ["1s"], "tolerance": 2}
    made = {"name": "slow", "initialDelay": "1m", "compare": compare}
    (finding,) = linted(rollout(checks=[*check(), made])).findings
    assert finding.field.startswith("spec.checks[1].compare.prometheus")
    assert words in finding.text


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ("http_requests_total", True),
        ("http_server_requests_seconds_count", True),
        ("http_server_request_duration_seconds_count", True),
        ("grpc_server_handled_total", True),
        ("flask_http_request_total", True),
        ("envoy_cluster_upstream_rq_completed", False),
        ("traefik_service_requests_total", False),
        ("kong_http_requests_total", False),
        ("nginx_ingress_controller_requests", False),
        ("istio_requests_total", False),
        ("hubble_http_requests_total", False),
        ("caddy_http_request_duration_seconds_count", False),
        ("n:http_requests_total:sum", False),
    ],
)
def test_counters_of_an_application_are_hinted_at(requests: str, said: bool) -> None:
    """Once a check, with why; it is a name only, so it fails nobody. What is the gateway's own is fine."""
    counters = {
        "requests": f"{requests}{{s='{{{{ backend.service }}}}'}}",
        "failures": f"{requests}{{s='{{{{ backend.service }}}}',code='500'}}",
    }
    found = linted(rollout(checks=[*check(), comparing(**counters)])).findings
    assert [(item.severity, item.field) for item in found] == (
        [(Severity.NOTE, "spec.checks[1].compare.prometheus.requests")] if said else []
    )
    assert all("misses what a pod that crashes took along" in item.text for item in found)


def test_a_comparison_beside_a_threshold_is_all_right() -> None:
    """And each of its four questions is asked of promtool."""
    found = linted(rollout(checks=[*check(), comparing()]))
    assert found.findings == ()
    asked = [(field_of(one.path), one.text) for one in found.questions][1:]
    assert [text for _, text in asked].count('n{service="shop-canary"}') == 1
    assert {field for field, _ in asked} == {
        f"spec.checks[1].compare.prometheus.{name}" for name in ("requests", "failures")
    }


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"weight": 10}, {"weight": 100}], "at step 2 stable has no traffic at 100 %"),
        ([{"match": [{"headers": [{"name": "a", "value": "b"}]}]}, {"weight": 10}], "at step 1 who opts in"),
        ([{"weight": 10}, {"weight": 50}], ""),
    ],
)
def test_a_comparison_alone_says_nothing_at_some_steps(steps: list[Json], words: str) -> None:
    """There the weight would rise on time alone."""
    found = [item for item in linted(rollout(checks=[comparing()], steps=steps)).findings if "time alone" in item.text]
    assert [(item.severity, item.field) for item in found] == ([(Severity.WARNING, "spec.checks[0]")] if words else [])
    assert all(words in item.text for item in found)


def test_a_template_that_compares() -> None:
    """Its counters name the backend, and a Rollout that uses it needs no judge."""
    made = template("compared")
    made["spec"] = {"compare": COMPARED}
    assert (
        linted(
            made, rollout(checks=[*check(), {"template": {"name": "compared", "kind": "ClusterCheckTemplate"}}])
        ).findings
        == ()
    )
    made["spec"] = {"compare": comparing(requests="r")["compare"]}
    (finding,) = linted(made).findings
    assert (finding.field, "the same for both backends" in finding.text) == ("spec.compare.prometheus.requests", True)
