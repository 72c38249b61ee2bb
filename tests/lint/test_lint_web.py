"""Checks that ask over HTTP, as lint sees them: what the API server would refuse, and what only rendering finds."""

from __future__ import annotations

from typing import Any

import pytest
from lint_kit import dump, rollout, template

from canary.lint.findings import Severity
from canary.lint.run import lint
from canary.lint.source import read

GOOD = {"url": "https://api.example.com/v1?service={{ canary.service }}", "jsonPath": "$.value"}


def said(*documents: dict[str, Any], severity: Severity = Severity.ERROR) -> list[tuple[str, str]]:
    found, problems = read("---\n".join(map(dump, documents)), "m.yaml")
    assert not problems
    return [(one.field, one.text) for one in lint(found).findings if one.severity is severity]


def of(web: dict[str, Any], **more: Any) -> dict[str, Any]:
    check = {"name": "api", "web": web, **({"threshold": {"max": 1}} if "expect" not in web else {}), **more}
    return rollout(checks=[check])


def test_a_good_one() -> None:
    """A number with a threshold, an expectation without."""
    assert said(of(GOOD)) == []
    assert said(of({"url": GOOD["url"], "expect": {}})) == []
    assert said(of(GOOD), severity=Severity.WARNING) == []


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"url": "https://{{ canary.service }}/"}, "spec.checks[0].web.url", "is not of the form"),
        ({"url": "https://a/{{ nothing }}"}, "spec.checks[0].web.url", "unknown variable 'nothing'"),
        ({"url": "https://a/{{ canary.service }}/../x"}, "spec.checks[0].web.url", "leads elsewhere"),
        ({"jsonPath": "$.a["}, "spec.checks[0].web.jsonPath", "is no JSONPath"),
        ({"jsonPath": "$..a..b"}, "spec.checks[0].web.jsonPath", "more than one `..`"),
        ({"method": "POST", "body": '{"a": {{ weight }}}'}, "spec.checks[0].web.body", "stands only in its strings"),
        (
            {"headers": [{"name": "Authorization", "value": "x"}]},
            "spec.checks[0].web.headers[0].name",
            "auth.secretRef",
        ),
        (
            {"headers": [{"name": "X-A", "value": "x"}, {"name": "X-B", "value": "{{ nothing }}"}]},
            "spec.checks[0].web.headers[1].value",
            "unknown variable 'nothing'",
        ),
        (
            {"method": "POST", "form": [{"name": "a", "value": "{{ nothing }}"}]},
            "spec.checks[0].web.form[0].value",
            "unknown variable 'nothing'",
        ),
        (
            {"method": "POST", "body": '{"a": "{{ nothing }}"}'},
            "spec.checks[0].web.body",
            "unknown variable 'nothing'",
        ),
        ({"body": "{}"}, "spec.checks[0].web", "are sent by POST"),
        (
            {"auth": {"secretRef": {"name": "a", "namespace": "b"}}},
            "spec.checks[0].web.auth.secretRef.namespace",
            "unknown",
        ),
    ],
)
def test_what_cannot_work(change: dict[str, Any], field: str, words: str) -> None:
    """With the field and what is wrong, before anything is applied."""
    found = said(of({**GOOD, **change}))
    assert any(where == field and words in text for where, text in found), found


def test_what_is_expected_names_its_own_field() -> None:
    """Of an expectation too, and in a template."""
    bad = {"url": GOOD["url"], "expect": {"jsonPath": "$.a", "equals": "{{ nothing }}"}}
    ((field, text),) = said(of(bad))
    assert (field, "unknown variable 'nothing'" in text) == ("spec.checks[0].web.expect.equals", True)
    made = template(web={"url": GOOD["url"], "expect": {"jsonPath": "$.a[", "equals": "1"}})
    del made["spec"]["prometheus"], made["spec"]["threshold"]
    ((field, text),) = said(made)
    assert (field, "is no JSONPath" in text) == ("spec.web.expect.jsonPath", True)


def test_a_request_that_says_nothing_of_the_canary() -> None:
    """It measures the same whatever the canary does."""
    ((field, text),) = said(of({**GOOD, "url": "https://api.example.com/v1"}), severity=Severity.WARNING)
    assert (field, "names nothing of the canary" in text) == ("spec.checks[0].web.url", True)


def test_an_argument_that_nobody_uses_and_one_that_the_request_uses() -> None:
    """Arguments are looked for in every part of a request."""
    args = [{"name": "limit", "default": "1"}, {"name": "team", "default": "x"}, {"name": "idle", "default": "z"}]
    web = {**GOOD, "method": "POST", "body": '{"team": "{{ args.team }}"}'}
    made = template(args=args, web=web)
    del made["spec"]["prometheus"]
    assert said(made) == []
    warned = said(made, severity=Severity.WARNING)
    assert [field for field, _ in warned] == ["spec.args[2]"]
