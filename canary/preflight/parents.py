"""Of which GatewayClass the parents of routes are, or of which mesh, and how long those take to settle."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from canary.preflight.objects import Gateway
from canary.preflight.surroundings import PARENTS, Surroundings
from canary.routes.acceptance import GATEWAY_API, Answer, ParentRef


def is_gateway(parent: ParentRef) -> bool:
    """Whether a parent is a Gateway, or a ListenerSet; else it is a Service of a mesh."""
    return parent.group == GATEWAY_API and parent.kind in PARENTS


def class_of(parent: ParentRef, around: Surroundings) -> str:
    """The name of the GatewayClass of a Gateway, or of that of a ListenerSet; empty where nobody can tell."""
    found = around.gateway(parent.kind, parent.namespace, parent.name)
    if isinstance(found, Gateway) and found.of is not None:
        found = around.gateway("Gateway", *found.of)
    return found.gateway_class if isinstance(found, Gateway) else ""


def settle_time(answers: Iterable[Answer], around: Surroundings) -> timedelta:
    """How long the data planes of some routes may take to follow what their parents report: the longest of them all."""
    return max((_settle(answer, around) for answer in answers), default=timedelta(0))


def _settle(answer: Answer, around: Surroundings) -> timedelta:
    if is_gateway(answer.parent):
        return around.platform.settle_of_class(class_of(answer.parent, around))
    return max(around.platform.settle_of_mesh(controller) for controller in answer.controllers or ("",))
