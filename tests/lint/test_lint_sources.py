"""Checks that ask neither Prometheus nor `web`, as lint sees them."""

from __future__ import annotations

from typing import Any

import pytest
from lint_kit import dump, rollout, template

from canary.lint.findings import Severity
from canary.lint.run import lint
from canary.lint.source import read

Json = dict[str, Any]

METRIC = {"metric": "shop_requests_total"}
FAILED = {**METRIC, "labels": {"code": "5*"}}
GOOD: dict[str, Json] = {
    "datadog": {"query": "sum:errors{service:{{ canary.service }}}", "auth": {"secretRef": {"name": "keys"}}},
    "influxdb": {
        "address": "https://influx.example.com",
        "database": "shop",
        "query": "SELECT mean(took) FROM r WHERE service = '{{ canary.service }}'",
    },
    "graphite": {"address": "https://graphite.example.com", "target": "errors.{{ canary.service }}"},
    "cloudwatch": {
        "region": "eu-west-1",
        "metrics": [
            {
                "id": "errors",
                "namespace": "Shop",
                "name": "Errors",
                "stat": "Sum",
                "dimensions": [{"name": "Service", "value": "{{ canary.service }}"}],
            }
        ],
        "auth": {"secretRef": {"name": "aws"}},
    },
    "scrape": {"requests": METRIC, "failures": FAILED},
}


def said(*documents: Json, severity: Severity = Severity.ERROR) -> list[tuple[str, str]]:
    found, problems = read("---\n".join(map(dump, documents)), "m.yaml")
    assert not problems
    return [(one.field, one.text) for one in lint(found).findings if one.severity is severity]


def of(source: str, **change: Any) -> Json:
    return rollout(checks=[{"name": "a", source: {**GOOD[source], **change}, "threshold": {"max": 1}}])


@pytest.mark.parametrize("source", GOOD)
def test_good_ones(source: str) -> None:
    """In a Rollout and in a template."""
    made = template(**{source: GOOD[source]}, args=[], threshold={"max": 1})
    del made["spec"]["prometheus"]
    for severity in (Severity.ERROR, Severity.WARNING):
        assert said(of(source), severity=severity) == []
        assert said(made, severity=severity) == []


@pytest.mark.parametrize(
    ("source", "change", "field", "words"),
    [
        ("datadog", {"query": "sum:{{ nothing }}"}, "datadog.query", "unknown variable 'nothing'"),
        ("datadog", {"site": "example.com"}, "datadog.site", "a site of Datadog"),
        ("datadog", {"auth": {"secretRef": {"name": "a"}, "headers": []}}, "datadog.auth.headers", "unknown field"),
        ("influxdb", {"query": "DROP DATABASE a"}, "influxdb.query", "a check only reads"),
        ("influxdb", {"query": "SELECT a FROM b; DROP DATABASE c"}, "influxdb.query", "semicolon"),
        ("influxdb", {"query": "SELECT a INTO b FROM c"}, "influxdb.query", "INTO"),
        ("influxdb", {"address": "https://{{ args.x }}"}, "influxdb.address", "without variables"),
        ("graphite", {"target": "{{ stable }}"}, "graphite.target", "is a group of variables"),
        ("cloudwatch", {"expression": "errors / {{ nothing }}"}, "cloudwatch.expression", "unknown variable 'nothing'"),
        ("cloudwatch", {"metrics": []}, "cloudwatch", "an expression says which number is meant"),
        ("cloudwatch", {"region": "eu-west-1.evil.com/"}, "cloudwatch.region", "a region of Amazon's"),
        ("cloudwatch", {"period": "90s"}, "cloudwatch.period", "write 1m or a multiple"),
        ("cloudwatch", {"address": "https://{{ args.x }}"}, "cloudwatch.address", "without variables"),
        ("scrape", {"port": "http:80"}, "scrape.port", "a port; write its number"),
        ("scrape", {"requests": {"metric": 'a{b="c"}'}}, "scrape.requests.metric", "labels stand in `labels`"),
        ("scrape", {"path": "/metrics?a=b"}, "scrape.path", "without a query"),
        (
            "scrape",
            {"failures": {**METRIC, "labels": {"code": "{{ nothing }}"}}},
            "scrape.failures.labels.code",
            "unknown variable",
        ),
    ],
)
def test_what_cannot_work(source: str, change: Json, field: str, words: str) -> None:
    """With the field that is to blame."""
    found = said(of(source, **change))
    assert any(where == f"spec.checks[0].{field}" and words in text for where, text in found), found


@pytest.mark.parametrize("source", ["datadog", "influxdb", "graphite"])
def test_a_question_that_says_nothing_of_the_canary(source: str) -> None:
    """It measures the same whatever the canary does; pods that are scraped are always the canary's."""
    asked = {"datadog": "query", "influxdb": "query", "graphite": "target"}[source]
    ((field, text),) = said(of(source, **{asked: "SELECT a FROM b"}), severity=Severity.WARNING)
    assert (field, "names nothing of the canary" in text) == (f"spec.checks[0].{source}.{asked}", True)


def test_a_comparison_of_what_pods_tell() -> None:
    """As of Prometheus: counters of an application miss what a pod that crashes took along."""
    check = {"name": "a", "compare": {"scrape": {"requests": METRIC, "failures": FAILED}, "lag": "1s"}}
    other = {"name": "b", "graphite": GOOD["graphite"], "threshold": {"max": 1}}
    assert said(rollout(checks=[check, other])) == []
    check["compare"]["scrape"]["requests"] = {"metric": "http_requests_total"}  # type: ignore[index]
    notes = said(rollout(checks=[check, other]), severity=Severity.NOTE)
    assert [field for field, _ in notes] == ["spec.checks[0].compare.scrape.requests"]
    assert "misses what a pod that crashes took along" in notes[0][1]


def test_pods_of_another_namespace_are_not_scraped() -> None:
    """Whose numbers these are is not this team's to say."""
    made = of("scrape")
    made["spec"]["canary"]["namespace"] = "team-other"
    ((field, text),) = said(made)
    assert (field, "in the Rollout's own namespace only" in text) == ("spec.checks[0].scrape", True)
