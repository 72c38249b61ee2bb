"""Whether what a route itself names is there, without a Rollout: the Services of all backendRefs and of all mirrors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from canary.preflight.backends import grants, unserved
from canary.preflight.findings import Finding, Reason, Who
from canary.preflight.surroundings import Surroundings
from canary.routes.pair import Backend
from canary.routes.unpaired import rule_words

Json = dict[str, Any]


class Reference(NamedTuple):
    """A backendRef, and where it stands; `rule` in words. `mirror`: it gets copies of requests, and answers none."""

    ref: Json
    field: str
    rule: str
    mirror: bool = False

    def backend(self, namespace: str) -> Backend | None:
        """The Service that a route of a namespace means by it; None for anything else, and where no port is named."""
        if (self.ref.get("kind") or "Service") != "Service" or self.ref.get("group") or not self.ref.get("port"):
            return None
        return Backend(self.ref["name"], self.ref.get("namespace") or namespace, self.ref["port"])


def references(route: Json) -> Iterator[Reference]:
    """Everything that the rules of a route, which has the shape of one, send requests to."""
    rules = route["spec"].get("rules") or []
    for index, rule in enumerate(rules):
        words, field = rule_words(rules, index), f"spec.rules[{index}]"
        for place, ref in enumerate(rule.get("backendRefs") or ()):
            yield Reference(ref, f"{field}.backendRefs[{place}]", words)
            yield from _mirrors(ref, f"{field}.backendRefs[{place}]", words)
        yield from _mirrors(rule, field, words)


def _mirrors(holder: Json, field: str, words: str) -> Iterator[Reference]:
    for place, item in enumerate(holder.get("filters") or ()):
        if item.get("type") == "RequestMirror" and "backendRef" in (item.get("requestMirror") or {}):
            where = f"{field}.filters[{place}].requestMirror.backendRef"
            yield Reference(item["requestMirror"]["backendRef"], where, words, mirror=True)


def unresolved(route: Json, around: Surroundings) -> Iterator[Finding]:
    """What is wrong with the Services that a route names: each once, at the place that names it first."""
    kind, namespace = route["kind"], route["metadata"]["namespace"]
    told: set[tuple[Backend, bool]] = set()
    for reference in references(route):
        backend = reference.backend(namespace)
        if backend is None or (backend, reference.mirror) in told:
            continue
        told.add((backend, reference.mirror))
        found = unserved(backend, around)
        if found is not None:
            yield _told(found, reference, backend, namespace)
        yield from grants(backend, [kind], namespace, f"{reference.field}.namespace", around)


def _told(found: tuple[Reason, str], reference: Reference, backend: Backend, namespace: str) -> Finding:
    reason, words = found
    if reference.mirror:
        words += f", and {reference.rule} sends copies there: some gateways then answer each of its requests with 500"
    owners = f"the owners of {backend.namespace} have to " if backend.namespace != namespace else ""
    if reason is Reason.WRONG_PORT:
        out = "take the mirror out" if reference.mirror else "correct the port of the backendRef"
        advice = f"{out}, or {owners}give the Service that port"
        return Finding(reason, Who.APP_TEAM, words, advice, f"{reference.field}.port")
    out = "take the mirror out, or correct it" if reference.mirror else "correct the backendRef"
    return Finding(reason, Who.APP_TEAM, words, f"{owners}create it, or {out}", f"{reference.field}.name")
