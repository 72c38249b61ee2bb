"""Comparisons and counters by content: raw, of each backend, and with somebody beside them where they say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from canary.checks.comparable import incomparable
from canary.checks.resolve import ResolvedCheck, overlay
from canary.checks.sources import Source
from canary.lint.findings import Finding, Path, Rule, Severity
from canary.lint.source import Document
from canary.model.checks import Settings
from canary.model.rollout import RolloutSpec

_NO_COUNTER = re.compile(r"\b(rate|irate|increase|delta|idelta|sum|histogram_quantile)\b\s*(?:by|without|\()")

_OF_AN_APPLICATION = re.compile(
    r"(?<![\w:])(?:http_requests?_total|http_request_duration_(?:milli)?seconds_(?:bucket|count)"  # what most examples of clients are called
    r"|http_server_requests_seconds_(?:bucket|count)"  # Micrometer
    r"|http_server_(?:request_)?duration_(?:milli)?seconds_(?:bucket|count)"  # OpenTelemetry
    r"|grpc_server_(?:handled_total|handling_seconds_(?:bucket|count))"
    r"|(?:django|fastapi|flask|starlette)_(?:http_)?requests?_\w+)(?![\w:])"
)
"""Names that libraries give to what an application counts of itself. Gateways and meshes put their own name in front."""


def alone(document: Document, spec: RolloutSpec, check: ResolvedCheck, path: Path) -> Iterator[Finding]:
    """Steps at which a comparison says nothing, and no other check says anything."""
    counted = [one for one in spec.checks if not overlay(one, Settings()).dry_run]
    if check.settings.dry_run or any(not (one.compare or one.mirrored or one.template) for one in counted):
        return
    if any(one.template is not None and one.key != check.name for one in spec.checks):
        return  # which may be what is missing here
    for index, step in enumerate(spec.steps, 1):
        why = incomparable(spec, index) if spec.shares_at(index).some or step.match is not None else ""
        if why:
            words = f"at step {index} {why}; no other check looks there, so its weight rises on time alone"
            advice = "add a check with a threshold"
            yield document.finding(Severity.WARNING, Rule.PLAN, path, words, advice)
            return


def raw(document: Document, path: Path, source: Source) -> Iterator[Finding]:
    """What is compared are counters themselves, one for each process that counts."""
    for field, part in source.parts:
        found = _NO_COUNTER.search(part.text)
        if found:
            hides = "hides which pod restarted" if found[1] == "sum" else "is no counter any more"
            words = f"{found[1]}() {hides}: a comparison reads raw counters, and takes care of restarts itself"
            yield document.finding(Severity.WARNING, Rule.QUERY, (*path, *field), words, "ask for the series alone")


def of_applications(document: Document, path: Path, source: Source) -> Iterator[Finding]:
    """Counters by the name of what an application counts of itself: a hint, since a name is all that is seen of them."""
    for field, part in source.parts:
        found = _OF_AN_APPLICATION.search(part.text)
        if found:
            words = (
                f"{found[0]} is what an application counts of itself, mostly: it misses what a pod that crashes took along, and "
                "requests that never reached one"
            )
            advice = "compare the gateway's counters, if it tells the two Services apart"
            yield document.finding(Severity.NOTE, Rule.QUERY, (*path, *field), words, advice)
            return


def tells_backends_apart(document: Document, path: Path, source: Source) -> Iterator[Finding]:
    """What is counted for each backend has to name it."""
    for field, part in source.parts:
        if not any(name.startswith("backend.") for name in part.names()):
            words = "the query counts the same for both backends"
            yield document.finding(
                Severity.ERROR, Rule.QUERY, (*path, *field), words, "select by {{ backend.service }}"
            )
