"""Whether the gateways of a route can do what the steps ask of it: the answer is no where nobody says that they can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from canary.preflight.findings import Finding, Reason, Who
from canary.preflight.objects import Absence, GatewayClass
from canary.preflight.offers import by_class, by_mesh
from canary.preflight.parents import class_of, is_gateway
from canary.preflight.surroundings import Surroundings
from canary.routes.acceptance import Answer
from canary.routes.features import MATCHING, Feature, Offered, Source, missing
from canary.routes.reading import RouteReading


def support(reading: RouteReading, needed: Mapping[Feature, int], around: Surroundings) -> Iterator[Finding]:
    """What is missing: one finding for each class of gateways, or mesh. `needed`: with the index of the step that asks first."""
    if not needed:
        return
    told: set[str] = set()
    for answer in reading.answers:
        for offered, subject, controller in offers(answer, around):
            lacking = missing(needed, offered)
            if lacking and subject not in told:
                told.add(subject)
                yield _finding(lacking, needed, offered, subject, controller)


def offers(answer: Answer, around: Surroundings) -> Iterator[tuple[Offered, str, str]]:
    """What a parent offers, what it is called, and whose controller serves it as far as that is known."""
    parent = answer.parent
    if is_gateway(parent):
        name = class_of(parent, around)
        there = around.gateway_class(name) if name else Absence.UNKNOWN
        subject = f"GatewayClass {name}" if name else f"the class of {parent.kind} {parent.namespace}/{parent.name}"
        controller = there.controller if isinstance(there, GatewayClass) else ""
        yield by_class(name, there, around.platform), subject, controller
        return
    for controller in answer.controllers or ("",):
        subject = f"mesh {controller}" if controller else f"the mesh of {parent.kind} {parent.name}"
        yield by_mesh(controller, around.platform), subject, controller


def _finding(
    lacking: tuple[Feature, ...], needed: Mapping[Feature, int], offered: Offered, subject: str, controller: str
) -> Finding:
    names, field = " and ".join(lacking), f"spec.steps[{needed[lacking[0]]}]"
    extra = "`match`" if set(lacking) & MATCHING else "the mirror"
    out = f"or take {extra} out of {field}"
    ask = f"the platform team has to declare in --gateway-features that it can, once it has tried it, {out}"
    match offered.source:
        case Source.PUBLISHED:
            words = f"{subject} publishes what its gateways can, and {names} is not among it"
            advice = f"use a gateway that can, {out}"
        case Source.DECLARED:
            words = f"the platform declares what {subject} can, and {names} is not among it"
            advice = ask
        case Source.SEEN:
            words = f"{subject} publishes nothing and the platform declares nothing; this version of {controller} was seen to do "
            words += f"{' and '.join(sorted(offered.features))}, not {names}"
            advice = ask
        case Source.NONE:
            version = f"this version of {controller}" if controller else "its controller"
            words = f"nobody says that {subject} can do {names}: it publishes nothing, the platform declares nothing, and what "
            words += f"{version} can was not seen"
            advice = ask
    sure = offered.source is Source.PUBLISHED
    return Finding(
        Reason.UNSUPPORTED_FEATURE, Who.PLATFORM, f"{field} needs {names}: {words}", advice, field, sure=sure
    )
