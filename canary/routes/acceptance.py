"""Whether the gateways serve what a route says: Accepted and ResolvedRefs, at a generation that says so.

Which one that is, is up to who asks. A generation is of the whole route, and anybody who edits another rule of it makes a new one; a
gateway that has accepted an older one in which our rules said what they say now serves them, however far it is behind
(docs/decisions/0078). Without anything else that is known it is the route's current generation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

Json = dict[str, Any]

GATEWAY_API = "gateway.networking.k8s.io"
REQUIRED = ("Accepted", "ResolvedRefs")


class ParentRef(NamedTuple):
    """What a route wants to be attached to, with the defaults of a parentRef spelled out; `port` 0: any."""

    group: str
    kind: str
    namespace: str
    name: str
    section: str = ""
    port: int = 0

    @classmethod
    def read(cls, ref: Json, namespace: str) -> ParentRef:
        """A parentRef of a route of a namespace."""
        return cls(
            ref.get("group", GATEWAY_API),
            ref.get("kind") or "Gateway",
            ref.get("namespace") or namespace,
            ref.get("name") or "",
            ref.get("sectionName") or "",
            ref.get("port") or 0,
        )

    def label(self, home: str) -> str:
        """What people call it who live in the namespace `home`."""
        place = "" if self.namespace == home else f"{self.namespace}/"
        part = self.section or (f":{self.port}" if self.port else "")
        return f"{self.kind} {place}{self.name}{f' ({part})' if part else ''}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the controllers of one parent say of a route: yes, no (`refused`), or nothing about the generation that is asked for yet."""

    parent: ParentRef
    accepted: bool
    message: str = ""
    refused: bool = False
    answered: bool = True
    """Somebody has answered for the route at this parent, be it for an older generation."""
    condition: str = ""
    """The condition that says no, of `REQUIRED`, and the reason that it gives."""
    reason: str = ""
    words: str = ""
    """What the controller says to it, in its own words."""
    controllers: tuple[str, ...] = ()
    """The controllerNames of those who have answered."""
    unresolved: str = ""
    """What is said where a reference cannot be resolved in a generation that counts, be it beside something else."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """`accepted` once every parent says yes at the generation that is asked for, or at a later one; `message` names the first that does not."""

    accepted: bool
    message: str = ""
    refused: bool = False
    """A gateway has looked at that generation, or at a later one, and said no (as opposed to: has not looked yet)."""
    unresolved: str = ""
    """What a gateway says that cannot resolve a reference of such a generation; empty when none says so."""


def acceptance(route: Json, since: int = 0) -> Acceptance:
    """Read `status.parents[]` of a route against its spec.

    Every parentRef of the spec must be answered by at least one controller, and every controller that answers for it
    must report Accepted and ResolvedRefs as True with observedGeneration at least `since` (0: the route's current generation).
    """
    return summary(answers(route, since))


def summary(said: tuple[Answer, ...]) -> Acceptance:
    """All answers of a route in one: a no counts more than a silence."""
    if not said:
        return Acceptance(accepted=False, message="the route has no parentRefs, so no gateway serves it", refused=True)
    missing = [answer for answer in said if not answer.accepted]
    if not missing:
        return Acceptance(accepted=True)
    first = next((answer for answer in missing if answer.refused), missing[0])
    unresolved = next((answer.unresolved for answer in missing if answer.unresolved), "")
    return Acceptance(accepted=False, message=first.message, refused=first.refused, unresolved=unresolved)


def answers(route: Json, since: int = 0) -> tuple[Answer, ...]:
    """What is said for each parentRef of a route, in their order; empty for a route without any.

    `since` is the generation from which on an answer counts. One that the route has not come to (it was made anew), or 0, is none:
    then its current generation has to be answered for.
    """
    namespace = route.get("metadata", {}).get("namespace", "")
    parents = route.get("spec", {}).get("parentRefs") or []
    return tuple(_answer(route, ParentRef.read(parent, namespace), namespace, since) for parent in parents)


def _answer(route: Json, parent: ParentRef, namespace: str, since: int) -> Answer:
    latest = route.get("metadata", {}).get("generation", 0)
    generation = since if 0 < since < latest else latest
    reports = (route.get("status") or {}).get("parents") or []
    mine = [report for report in reports if ParentRef.read(report.get("parentRef", {}), namespace) == parent]
    if not mine:
        message = f"{parent.label(namespace)} has not answered for the route yet"
        return Answer(parent, accepted=False, message=message, answered=False)
    # A report that a removed controller left behind stays as it is for ever: where somebody has looked at the latest
    # generation, only those who have count; else, where somebody has at one that says the same, only those.
    current = [report for report in mine if _looked(report, latest)] or [
        report for report in mine if generation < latest and _looked(report, generation)
    ]
    against = [objection for report in current or mine for objection in _report(report, parent, namespace, generation)]
    controllers = tuple(dict.fromkeys(str(report.get("controllerName") or "") for report in current or mine))
    if not against:
        return Answer(parent, accepted=True, controllers=controllers)
    first = next((objection for objection in against if objection.refused), against[0])
    unresolved = next((objection.unresolved for objection in against if objection.unresolved), "")
    return replace(first, unresolved=unresolved, controllers=controllers)


def _looked(report: Json, generation: int) -> bool:
    """Whether a controller has looked at this generation, as far as one of its conditions tells."""
    return any(
        condition.get("type") in REQUIRED and (condition.get("observedGeneration") or 0) >= generation
        for condition in report.get("conditions") or []
    )


def _report(report: Json, parent: ParentRef, namespace: str, generation: int) -> Iterator[Answer]:
    name = parent.label(namespace)
    conditions = {condition.get("type"): condition for condition in report.get("conditions") or []}
    for kind in REQUIRED:
        condition = conditions.get(kind)
        if condition is None or condition.get("observedGeneration", 0) < generation:
            message = f"{name} has not answered for generation {generation} yet ({kind})"
            yield Answer(parent, accepted=False, message=message)
        elif condition.get("status") != "True":
            reason, words = str(condition.get("reason") or ""), str(condition.get("message") or "")
            said = f"{reason}: {words}".strip(": ")
            message = f"{name} says {kind}={condition.get('status')} ({said})"
            unresolved = message if kind == "ResolvedRefs" and condition.get("status") == "False" else ""
            yield Answer(
                parent,
                accepted=False,
                message=message,
                refused=True,
                condition=kind,
                reason=reason,
                words=words,
                unresolved=unresolved,
            )


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
