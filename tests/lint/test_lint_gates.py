"""Windows and replicas in files: what is doubtful about them, before anybody waits for them."""

from __future__ import annotations

from typing import Any

from lint_kit import linted, rollout

from canary.lint.findings import Rule, Severity
from canary.lint.run import lint
from canary.lint.source import read

OFFICE = {"days": ["Mon", "Tue", "Wed", "Thu", "Fri"], "from": "09:00", "to": "17:00", "timezone": "Europe/Berlin"}


def test_a_deadline_that_is_over_before_the_window_opens() -> None:
    """From Friday evening to Monday morning it is closed for 64 hours."""
    steps = [{"weight": 10, "gate": {"window": OFFICE}}, {"weight": 50}]
    (found,) = [item for item in linted(rollout(steps=steps, deadline="8h")).findings if item.rule is Rule.PLAN]
    assert found.field == "spec.deadline"
    assert "the window of step 1 is closed for up to 2d16h, and after 8h every run fails" in found.text
    for quiet in (rollout(steps=steps), rollout(steps=steps, deadline="100h")):
        assert not [item for item in linted(quiet).findings if "window" in item.text]


def asking(url: str = "https://deploys.example.com/may-i", **gate: Any) -> list[dict[str, Any]]:
    return [{"weight": 10, "gate": {"http": {"url": url}, **gate}}, {"weight": 50}]


def test_a_gate_that_can_never_be_asked() -> None:
    """What it names, and where it goes."""
    for url, words in (
        ("https://deploys.example.com/{{ window }}", "unknown variable 'window'"),
        ("https://deploys.example.com/a/../b", "leads elsewhere"),
    ):
        (found,) = [item for item in linted(rollout(steps=asking(url))).findings if words in item.text]
        assert found.field == "spec.steps[0].gate.http.url"
    fine = asking("https://deploys.example.com/{{ rollout }}/{{ revision }}?canary={{ canary.service }}")
    assert not linted(rollout(steps=fine)).findings


def test_an_approval_by_somebody_needs_its_policy() -> None:
    """That is for a cluster to have, so it is a note."""
    steps = [{"weight": 10, "approval": {"by": {"users": ["alice"]}}}, {"weight": 50}]
    (found,) = linted(rollout(steps=steps)).findings
    assert (found.severity, found.field) == (Severity.NOTE, "spec.steps[0].approval.by")
    assert "component approvals" in found.text


def test_a_gate_with_too_little_time() -> None:
    """One answer is not much of a chance; and a deadline that is over first ends every run that waits."""
    found = [item for item in linted(rollout(steps=asking(timeout="30s"))).findings if item.rule is Rule.PLAN]
    assert [(item.field, "one no is too many" in item.text) for item in found] == [("spec.steps[0].gate.timeout", True)]
    found = [
        item for item in linted(rollout(steps=asking(timeout="8h"), deadline="2h")).findings if item.rule is Rule.PLAN
    ]
    assert ["the gate of step 1 is given 8h, and after 2h every run fails" in item.text for item in found] == [True]


def test_a_zone_that_is_none_is_refused() -> None:
    """The definition knows what a name looks like; whether there is such a place the controller knows, and so does lint."""
    steps = [{"weight": 10, "gate": {"window": {**OFFICE, "timezone": "Europe/Berln"}}}]
    found = [item.text for item in linted(rollout(steps=steps)).findings]
    assert any("'Europe/Berln' is no time zone" in text for text in found)


def test_a_time_without_quotes_is_text() -> None:
    """As kubectl reads it: only an old kind of YAML takes 17:00 for a number to the base of sixty."""
    text = """
apiVersion: canary.dev/v1alpha1
kind: Rollout
metadata: {name: shop, namespace: team-shop}
spec:
  routes: [{name: shop}]
  stable: {service: shop-stable, port: 8080}
  canary: {service: shop-canary, port: 8080}
  steps:
    - weight: 10
      gate: {window: {from: 09:00, to: 17:00, days: [Mon]}}
  checks:
    - name: errors
      prometheus: {query: 'errors{service="{{ canary.service }}"}'}
      threshold: {max: 1%}
"""
    documents, findings = read(text, "rollout.yaml")
    assert not findings
    assert documents[0].spec["steps"][0]["gate"]["window"] == {"from": "09:00", "to": "17:00", "days": ["Mon"]}
    assert not lint(documents).findings


def test_a_manifest_that_says_how_many_replicas_a_scaled_canary_has() -> None:
    """It would be put back at every apply; of stable, and without scale, it is nobody's business."""

    def deployment(name: str, **spec: Any) -> dict[str, Any]:
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "team-shop"},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}},
                **spec,
            },
        }

    def told(canary: dict[str, Any], **spec: Any) -> list[str]:
        found = linted(rollout(**spec), deployment("shop-stable", replicas=4), canary).findings
        return [item.field for item in found if "how many replicas" in item.text]

    scale = {"canary": "MatchShare"}
    assert told(deployment("shop-canary", replicas=2), scale=scale) == ["spec.scale"]
    assert told(deployment("shop-canary"), scale=scale) == []
    assert told(deployment("shop-canary", replicas=2)) == []
