"""What a Rollout refers to, as its document says it, read leniently: a spec that is nonsense still names some of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any, NamedTuple

from canary.model.checks import TemplateKind
from canary.model.rollout import RevisionInput, RouteKind
from canary.model.workloads import DEPLOYMENT, foreign, kind_of, traits
from canary.observe.objects import Key, key_of
from canary.observe.workloads import WorkloadKey
from canary.preflight.surroundings import POLICY
from canary.routes.key import RouteKey

Json = dict[str, Any]

Need = tuple[str, str, str]
"""(kind, namespace, name) of something that a Rollout refers to."""

AUTOSCALERS = "Autoscalers"
"""What a Rollout with `scale` refers to besides its Deployments: all autoscalers of its namespace."""

CONFIGS_OF = "configs of "


class ConfigsOf(NamedTuple):
    """The ConfigMaps and Secrets that a workload names: what a Rollout refers to that includes them in its revisions."""

    kind: str
    """CONFIGS_OF and the kind of the workload: a need of its own."""
    namespace: str
    name: str

    @property
    def key(self) -> WorkloadKey:
        """The workload."""
        return WorkloadKey(sys.intern(self.kind.removeprefix(CONFIGS_OF)), self.namespace, self.name)


def configs_of(key: WorkloadKey) -> ConfigsOf:
    """Those of a workload."""
    return ConfigsOf(sys.intern(CONFIGS_OF + key.kind), key.namespace, key.name)


def needs_of(document: Json) -> Iterator[Need]:
    """Everything that a Rollout's spec and the routes of its run refer to. Lenient: the spec may be nonsense."""
    namespace, _ = key_of(document)
    spec = document.get("spec") or {}
    status = document.get("status") or {}
    for route in [*_list(spec.get("routes")), *_list(status.get("routes"))]:
        with suppress(ValueError):  # of a kind that nobody may name
            of = RouteKind(route.get("kind") or RouteKind.HTTP)
            yield RouteKey(of, namespace, sys.intern(str(route.get("name", ""))))
    including = RevisionInput.CONFIGS in _strings(_dict(spec.get("revision")).get("includes"))
    for key in named_workloads(document):
        yield key
        if including:
            yield configs_of(key)
    yield from _scaled(namespace, status)
    yield from _copied(namespace, status)
    if isinstance(spec.get("scale"), dict):
        yield AUTOSCALERS, namespace, ""
    if any(step.get("match") for step in _list(spec.get("steps"))):
        yield POLICY, namespace, ""
    for user in _list([*_list(spec.get("checks")), spec.get("traffic")]):
        template = user.get("template")
        if isinstance(template, dict):
            kind = str(template.get("kind") or TemplateKind.NAMESPACED)
            yield kind, "" if kind == TemplateKind.CLUSTER else namespace, str(template.get("name", ""))


def named_workloads(document: Json) -> Iterator[WorkloadKey]:
    """The workloads that a Rollout's spec names. Lenient: it may be nonsense."""
    namespace, _ = key_of(document)
    workloads = _dict(document.get("spec")).get("workloads")
    for ref in workloads.values() if isinstance(workloads, dict) else ():
        if isinstance(ref, dict):
            kind = kind_of(str(ref.get("apiVersion") or ""), str(ref.get("kind") or DEPLOYMENT))
            yield WorkloadKey(kind, namespace, sys.intern(str(ref.get("name", ""))))


def _scaled(namespace: str, status: Json) -> Iterator[WorkloadKey]:
    """The workloads on record as scaled, of kinds that may be."""
    scale = status.get("scale")
    books = _list(status.get("formerCanaries"))
    books += [{"kind": scale.get("kind"), "name": scale.get("workload")}] if isinstance(scale, dict) else []
    for book in books:
        kind = str(book.get("kind") or DEPLOYMENT)
        if not foreign(kind) and traits(kind).scales:
            yield WorkloadKey(sys.intern(kind), namespace, sys.intern(str(book.get("name") or "")))


def _copied(namespace: str, status: Json) -> Iterator[WorkloadKey]:
    """The workload on record as copied to, which may be declared no more."""
    book = _dict(_dict(status.get("run")).get("copied"))
    if book and not foreign(kind := str(book.get("kind") or DEPLOYMENT)):
        yield WorkloadKey(sys.intern(kind), namespace, sys.intern(str(book.get("workload") or "")))


def services_of(document: Json) -> tuple[Key, ...]:
    """The two Services of a Rollout, and those of comparers. Lenient: the spec may be nonsense."""
    namespace, _ = key_of(document)
    spec = document.get("spec") or {}
    mirrors = (step.get("mirror") for step in _list(spec.get("steps")))
    comparers = (mirror["comparer"] for mirror in mirrors if isinstance(mirror, dict) and "comparer" in mirror)
    targets = (spec.get("stable"), spec.get("canary"), *comparers)
    return tuple(dict.fromkeys(_service(target, namespace) for target in targets))


def _service(target: Any, namespace: str) -> Key:
    fields = target if isinstance(target, dict) else {}
    place, name = fields.get("namespace") or namespace, fields.get("service") or ""
    return sys.intern(str(place)), sys.intern(str(name))


def routes_among(needs: AbstractSet[Need]) -> set[RouteKey]:
    """The routes among what is referred to."""
    return {need for need in needs if isinstance(need, RouteKey)}


def _list(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
