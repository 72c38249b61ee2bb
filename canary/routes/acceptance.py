"""Whether the gateways serve what a route says: Accepted and ResolvedRefs, at the route's current generation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

Json = dict[str, Any]

REQUIRED = ("Accepted", "ResolvedRefs")


@dataclass(frozen=True, slots=True)
class Acceptance:
    """`accepted` once every parent says yes at the current generation; `message` names the first that does not."""

    accepted: bool
    message: str = ""
    refused: bool = False
    """A gateway has looked at this very generation and said no (as opposed to: has not looked yet)."""
    unresolved: str = ""
    """What a gateway says that cannot resolve a reference of this very generation; empty when none says so."""


def acceptance(route: Json) -> Acceptance:
    """Read `status.parents[]` of a route against its spec.

    Every parentRef of the spec must be answered by at least one controller, and every controller that answers for it
    must report Accepted and ResolvedRefs as True with observedGeneration at least the route's generation.
    """
    parents = route.get("spec", {}).get("parentRefs") or []
    if not parents:
        return Acceptance(accepted=False, message="the route has no parentRefs, so no gateway serves it", refused=True)
    found = list(_objections(route, parents))
    unresolved = next((objection.unresolved for objection in found if objection.unresolved), "")
    refusal = next((objection for objection in found if objection.refused), None)
    if refusal is not None:
        return replace(refusal, unresolved=unresolved)
    return Acceptance(accepted=not found, message=found[0].message if found else "")


def _objections(route: Json, parents: list[Json]) -> Iterator[Acceptance]:
    namespace = route.get("metadata", {}).get("namespace", "")
    generation = route.get("metadata", {}).get("generation", 0)
    reports = (route.get("status") or {}).get("parents") or []
    for parent in parents:
        name = _name(parent)
        mine = [report for report in reports if _key(report.get("parentRef", {}), namespace) == _key(parent, namespace)]
        if not mine:
            yield Acceptance(accepted=False, message=f"{name} has not answered for the route yet")
        # A report that a removed controller left behind stays as it is for ever: where somebody has looked at this
        # generation, only those who have count.
        current = [report for report in mine if _looked(report, generation)]
        for report in current or mine:
            yield from _report(report, name, generation)


def _looked(report: Json, generation: int) -> bool:
    """Whether a controller has looked at this generation, as far as one of its conditions tells."""
    return any(
        condition.get("type") in REQUIRED and (condition.get("observedGeneration") or 0) >= generation
        for condition in report.get("conditions") or []
    )


def _report(report: Json, name: str, generation: int) -> Iterator[Acceptance]:
    conditions = {condition.get("type"): condition for condition in report.get("conditions") or []}
    for kind in REQUIRED:
        condition = conditions.get(kind)
        if condition is None or condition.get("observedGeneration", 0) < generation:
            yield Acceptance(
                accepted=False, message=f"{name} has not answered for generation {generation} yet ({kind})"
            )
        elif condition.get("status") != "True":
            said = f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")
            words = f"{name} says {kind}={condition.get('status')} ({said})"
            unresolved = words if kind == "ResolvedRefs" and condition.get("status") == "False" else ""
            yield Acceptance(accepted=False, message=words, refused=True, unresolved=unresolved)


def _key(ref: Json, namespace: str) -> tuple[Any, ...]:
    return (
        ref.get("group", "gateway.networking.k8s.io"),
        ref.get("kind") or "Gateway",
        ref.get("namespace") or namespace,
        ref.get("name"),
        ref.get("sectionName") or "",
        ref.get("port") or 0,
    )


def _name(parent: Json) -> str:
    section = parent.get("sectionName")
    return f"{parent.get('kind') or 'Gateway'} {parent.get('name')}{f' ({section})' if section else ''}"


def last_writer(document: Json, field: str = "f:rules", ours: str = "canary") -> str:
    """Name the field manager, other than us, that wrote a field of the spec last; empty when nobody is recorded."""
    writers = [
        (entry.get("time") or "", entry.get("manager") or "")
        for entry in document.get("metadata", {}).get("managedFields") or []
        if entry.get("manager") != ours
        and entry.get("subresource", "") == ""
        and field in (entry.get("fieldsV1") or {}).get("f:spec", {})
    ]
    return max(writers)[1] if writers else ""
