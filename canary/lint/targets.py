"""Targets of notifications by content: what the controller would not send, and what a receiver could not trust."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import ValidationError

from canary.lint.findings import Finding, Path, Rule, Severity
from canary.lint.source import Document
from canary.metrics.address import normalise
from canary.model.notifications import HttpTarget, NotificationTargetSpec
from canary.preflight import selectors

KINDS = frozenset({"NotificationTarget", "ClusterNotificationTarget"})


def target_findings(document: Document) -> Iterator[Finding]:
    """A NotificationTarget or ClusterNotificationTarget that its schema has nothing against."""
    try:
        spec = NotificationTargetSpec.model_validate(document.content.get("spec"))
    except ValidationError as error:
        first = error.errors()[0]
        path: Path = ("spec", *first["loc"])
        yield document.finding(Severity.ERROR, Rule.TARGET, path, str(first["msg"]).removeprefix("Value error, "))
        return
    if selectors.read((document.content["spec"].get("selector")) or {}) is None:
        words = "the selector has a label, or a value of one, that no object can have"
        yield document.finding(Severity.ERROR, Rule.TARGET, ("spec", "selector"), words, "correct it")
    if spec.http is not None:
        yield from _http(document, spec.http)


def _http(document: Document, http: HttpTarget) -> Iterator[Finding]:
    where: Path = ("spec", "http", "url")
    try:
        normalise("{0.scheme}://{0.netloc}".format(urlsplit(http.url)))
    except ValueError as error:
        yield document.finding(
            Severity.ERROR, Rule.TARGET, where, str(error), "write for example https://hooks.example.com/canary"
        )
        return
    if http.url.startswith("http://") and http.auth is not None:
        words = "what the receiver is shown goes over http://, where everybody on the way reads along"
        yield document.finding(Severity.WARNING, Rule.TARGET, where, words, "use https://")
    if http.signing is None:
        words = "nothing is signed, so whoever can reach the receiver can pose as canary"
        advice = "add signing, unless the receiver is sure of that by other means"
        yield document.finding(Severity.NOTE, Rule.TARGET, ("spec", "http"), words, advice)
