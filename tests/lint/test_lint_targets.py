"""Targets of notifications before they are applied: what would never be sent, and what nobody could trust."""

from __future__ import annotations

from typing import Any

import pytest
from lint_kit import Json, linted, target

from canary.lint.findings import Severity

SIGNING = {"secretRef": {"name": "hook"}}
HTTP = {"url": "https://hooks.example.com/in", "signing": SIGNING}


def found(document: Json) -> list[tuple[Severity, str, str]]:
    return [(one.severity, one.field, one.text) for one in linted(document).findings]


@pytest.mark.parametrize("kind", ["NotificationTarget", "ClusterNotificationTarget"])
def test_a_good_one(kind: str) -> None:
    """Not even a note."""
    chat = {"apprise": {"secretRef": {"name": "chat"}}, "events": ["RolledBack"]}
    some = {
        "http": HTTP,
        "selector": {"matchLabels": {"tier": "gold"}, "matchExpressions": [{"key": "a/b", "operator": "Exists"}]},
    }
    for document in (target(kind=kind), target(kind=kind, **chat), target(kind=kind, **some)):
        assert found(document) == []


BAD: list[tuple[str, Json, str, str]] = [
    ("no way to be told", {"events": ["Paused"]}, "spec", "one way to be told: apprise or http"),
    ("two ways", {"http": HTTP, "apprise": {"secretRef": {"name": "a"}}}, "spec", "one way to be told"),
    ("an event that is none", {"http": HTTP, "events": ["Rolledback"]}, "spec.events[0]", "did you mean 'RolledBack'?"),
    ("no event at all", {"http": HTTP, "events": []}, "spec.events", "needs at least 1"),
    ("an event twice", {"http": HTTP, "events": ["Paused", "Paused"]}, "spec.events", "names something twice"),
    (
        "no address",
        {"http": {"url": "hooks.example.com"}},
        "spec.http.url",
        "write for example https://hooks.example.com",
    ),
    (
        "a password in it",
        {"http": {**HTTP, "url": "https://a:b@c/"}},
        "spec.http.url",
        "must not contain a user or a password",
    ),
    (
        "a value that no label has",
        {"http": HTTP, "selector": {"matchLabels": {"tier": "so gold"}}},
        "spec.selector.matchLabels.tier",
        "is not the value of a label",
    ),
    (
        "values where there are none",
        {"http": HTTP, "selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "spec.selector.matchExpressions[0]",
        "In and NotIn list values",
    ),
]


@pytest.mark.parametrize(("what", "spec", "field", "words"), BAD, ids=[what for what, *_ in BAD])
def test_what_cannot_be_sent(what: str, spec: dict[str, Any], field: str, words: str) -> None:
    """At its place, in words that say what to type."""
    ((severity, where, text),) = found(target(**spec))
    assert (severity, where) == (Severity.ERROR, field)
    assert words in text


def test_the_key_on_is_true_to_yaml() -> None:
    """Why the field is called events."""
    ((severity, _, text),) = found(target(on=["Paused"], http=HTTP))
    assert (severity, "known here: events" in text) == (Severity.ERROR, True)


def test_what_nobody_could_trust() -> None:
    """A note where nothing is signed, a warning where a credential goes in the clear."""
    assert [one[0] for one in found(target(http={"url": "https://hooks.example.com"}))] == [Severity.NOTE]
    shown = {"url": "http://hooks.example.com", "signing": SIGNING, "auth": {"secretRef": {"name": "token"}}}
    ((severity, field, text),) = found(target(http=shown))
    assert (severity, field) == (Severity.WARNING, "spec.http.url")
    assert text.endswith("use https://")
