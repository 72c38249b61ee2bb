"""Whether a route's parents serve it: the verdict is what they say themselves, the objects around it say why.

Only that a parent does not exist needs no answer of its own: what was said before it went stays in the route's status for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from canary.preflight.findings import Finding, Reason, Who
from canary.preflight.hostnames import meet
from canary.preflight.objects import NAME_LABEL, Absence, Gateway, GatewayClass, Namespaces
from canary.preflight.parents import is_gateway
from canary.preflight.selectors import Selector, unmet
from canary.preflight.surroundings import Surroundings
from canary.routes.acceptance import GATEWAY_API, Answer, ParentRef
from canary.routes.reading import RouteReading

Json = dict[str, Any]

REFUSALS = {
    reason.value: reason
    for reason in (
        Reason.NO_MATCHING_PARENT,
        Reason.NOT_ALLOWED_BY_LISTENERS,
        Reason.NO_MATCHING_LISTENER_HOSTNAME,
        Reason.BACKEND_NOT_FOUND,
        Reason.REF_NOT_PERMITTED,
    )
}
"""Reasons of the Gateway API that a condition gives and that are reasons of ours."""

WITH_HOSTNAMES = frozenset({"HTTPRoute", "GRPCRoute", "TLSRoute"})


def attachment(
    reading: RouteReading, around: Surroundings, field: str, *, by_parent: bool = False, applied: bool = True
) -> Iterator[Finding]:
    """Why a route is not served as it is: at most one finding a parent.

    Args:
        reading: the route.
        around: what stands around it.
        field: where the Rollout names the route; with `by_parent`, where the parents are named.
        by_parent: the field of each finding is that of its parentRef.
        applied: False for a route that is in no cluster yet, where no gateway can have answered for it.

    """
    route = _Route(reading.document)
    if not reading.answers:
        yield Finding(
            Reason.ROUTE_NOT_ATTACHED,
            Who.APP_TEAM,
            f"{route.label} has no parentRefs, so no gateway serves it",
            "name the Gateway in its spec.parentRefs",
            field,
        )
    for index, answer in enumerate(reading.answers):
        found = _of_parent(route, answer, around, f"{field}[{index}]" if by_parent else field, applied=applied)
        if found is not None:
            yield found


class _Route:
    """What of a route decides where it may be attached."""

    def __init__(self, document: Json) -> None:
        metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
        self.kind = str(document.get("kind") or "HTTPRoute")
        self.namespace = str(metadata.get("namespace") or "")
        self.hostnames = [str(name) for name in spec.get("hostnames") or ()] if self.kind in WITH_HOSTNAMES else []
        self.label = f"{self.kind} {metadata.get('name')}"


def _of_parent(route: _Route, answer: Answer, around: Surroundings, field: str, *, applied: bool) -> Finding | None:
    parent = answer.parent
    name = parent.label(route.namespace)
    there = _find(parent, around)
    if there is Absence.MISSING:
        where = f" in {around.place}" if around.place else ""
        words = f"there is no {parent.kind} {parent.name} in namespace {parent.namespace}{where}, which {route.label} names as parent"
        advice = f"its owners have to create it, or the owners of {route.label} correct its parentRefs"
        return Finding(Reason.PARENT_MISSING, Who.APP_TEAM, words, advice, field)
    if answer.accepted:
        return None
    gateway = there if isinstance(there, Gateway) else None
    if answer.refused:
        return _refused(route, answer, gateway, around, field)
    if answer.answered:
        words = f"{route.label} is not served: {answer.message}"
        return Finding(Reason.NOT_ACCEPTED, Who.NOBODY, words, "", field)
    why = _why_not(route, parent, gateway, around, field) if gateway is not None else None
    if why is not None or not applied:
        return why
    words = f"{route.label} is not served: {name} has not answered for the route yet"
    return Finding(Reason.ROUTE_NOT_ATTACHED, Who.PLATFORM, words, _who_answers(parent, gateway, around), field)


def _find(parent: ParentRef, around: Surroundings) -> Gateway | Absence | None:
    """The parent: its listeners where it has some, None where it is there and has none (a Service of a mesh)."""
    if is_gateway(parent):
        return around.gateway(parent.kind, parent.namespace, parent.name)
    if parent.group == "" and parent.kind == "Service":
        found = around.service(parent.namespace, parent.name)
        return found if isinstance(found, Absence) else None
    return Absence.UNKNOWN


def _refused(route: _Route, answer: Answer, gateway: Gateway | None, around: Surroundings, field: str) -> Finding:
    words = f"{route.label} is not served: {answer.message}"
    reason = REFUSALS.get(answer.reason, Reason.NOT_ACCEPTED)
    if answer.condition == "Accepted" and gateway is not None and reason is not Reason.NOT_ACCEPTED:
        why = _why_not(route, answer.parent, gateway, around, field)
        if why is not None and why.reason is reason:
            return why
    name = answer.parent.label(route.namespace)
    who, advice = {
        Reason.NO_MATCHING_PARENT: (Who.APP_TEAM, f"correct sectionName and port of its parentRef to {name}"),
        Reason.NOT_ALLOWED_BY_LISTENERS: (
            Who.GATEWAY_OWNER,
            f"the owners of {name} have to allow it in allowedRoutes of a listener",
        ),
        Reason.NO_MATCHING_LISTENER_HOSTNAME: (
            Who.APP_TEAM,
            f"give it a hostname that a listener of {name} has, or have its owners add a listener",
        ),
        Reason.BACKEND_NOT_FOUND: (Who.APP_TEAM, f"create what it names, or correct the backendRefs of {route.label}"),
        Reason.REF_NOT_PERMITTED: (
            Who.BACKEND_OWNER,
            "the owners of the namespace that it refers to have to create a ReferenceGrant there",
        ),
    }.get(reason, (Who.APP_TEAM, f"correct {route.label}, or ask the owners of {name}"))
    return Finding(reason, who, words, advice, field)


def _why_not(route: _Route, parent: ParentRef, gateway: Gateway, around: Surroundings, field: str) -> Finding | None:
    """Why no listener takes the route, where that is certain; None: one may, or nobody can tell."""
    name = ParentRef(parent.group, parent.kind, parent.namespace, parent.name).label(route.namespace)
    meant = [
        listener
        for listener in gateway.listeners
        if parent.section in {"", listener.name} and parent.port in {0, listener.port}
    ]
    if gateway.of is not None:
        refused = _set_refused(route, parent, gateway.of, around, field)
        if refused is not None:
            return refused
    if not gateway.listeners:
        return None  # where it has none of its own, those of ListenerSets may be meant
    if not meant:
        wanted = " ".join(filter(None, (parent.section, f"port {parent.port}" if parent.port else "")))
        listed = ", ".join(listener.label for listener in gateway.listeners)
        words = f"{name} has no listener {wanted}, which {route.label} names; its listeners: {listed}"
        advice = "correct sectionName and port of the parentRef, or have the owners of the Gateway add the listener"
        return Finding(Reason.NO_MATCHING_PARENT, Who.APP_TEAM, words, advice, field)
    takers = [listener for listener in meant if listener.kinds is None or route.kind in listener.kinds]
    if not takers:
        words = f"no listener of {name} takes {route.kind}s, so it does not serve {route.label}"
        advice = f"the owners of {name} have to allow the kind in allowedRoutes.kinds, or the parentRef to name another"
        return Finding(Reason.NOT_ALLOWED_BY_LISTENERS, Who.GATEWAY_OWNER, words, advice, field)
    open_ = [taker for taker in takers if _lets_in(taker.takes, parent.namespace, route.namespace, around)]
    if not open_:
        whose = ", ".join(dict.fromkeys(_whose(taker.takes, parent.namespace) for taker in takers))
        words = (
            f"{name} takes routes of {whose} only, so it does not serve {route.label} of namespace {route.namespace}"
        )
        asked = [taker.takes for taker in takers]
        place = "allowedRoutes.namespaces of a listener"
        return _outside(words, asked, name, route.namespace, place, around, field)
    if route.hostnames and not any(meet(host, item.hostname) for host in route.hostnames for item in open_):
        ours = ", ".join(route.hostnames)
        theirs = ", ".join(dict.fromkeys(listener.hostname for listener in open_))
        words = f"{route.label} is for {ours}, and the listeners of {name} that it may use are for {theirs}"
        advice = "give the route a hostname that one of them has, or have the owners of the Gateway add a listener"
        return Finding(Reason.NO_MATCHING_LISTENER_HOSTNAME, Who.APP_TEAM, words, advice, field)
    return None


def _set_refused(
    route: _Route, parent: ParentRef, of: tuple[str, str], around: Surroundings, field: str
) -> Finding | None:
    """Why the Gateway of a ListenerSet does not take it, where that is certain."""
    gateway = around.gateway("Gateway", *of)
    if not isinstance(gateway, Gateway) or _lets_in(gateway.takes_sets, of[0], parent.namespace, around):
        return None
    name = ParentRef(GATEWAY_API, "Gateway", *of).label(route.namespace)
    mine = ParentRef(parent.group, parent.kind, parent.namespace, parent.name).label(route.namespace)
    whose = _whose(gateway.takes_sets, of[0])
    words = (
        f"{name} takes ListenerSets of {whose} only, so {mine} of namespace {parent.namespace} is none of its, and does not "
        f"serve {route.label}"
    )
    return _outside(words, [gateway.takes_sets], name, parent.namespace, "allowedListeners.namespaces", around, field)


def _lets_in(takes: Namespaces, home: str, namespace: str, around: Surroundings) -> bool:
    """Whether something that lives in namespace `home` may take what is of another; where nobody can tell, yes."""
    match takes.of:
        case "Same":
            return namespace == home
        case "None":
            return False
        case "Selector":
            return not _lacking(takes, namespace, around)
        case _:
            return True


def _lacking(takes: Namespaces, namespace: str, around: Surroundings) -> Selector:
    """What the labels of a namespace lack for a selector; nothing where nobody can tell."""
    if takes.selector is None:
        return ()
    labels = around.labels(namespace)
    if labels is not None:
        return unmet(takes.selector, labels)
    by_name = tuple(requirement for requirement in takes.selector if requirement.label == NAME_LABEL)
    return unmet(by_name, {NAME_LABEL: namespace})


def _outside(
    words: str, takes: list[Namespaces], name: str, namespace: str, place: str, around: Surroundings, field: str
) -> Finding:
    """Nobody of `takes` lets a namespace in. Where a label would do, that is said: it is no matter of the Gateway's owners."""
    reason = Reason.NOT_ALLOWED_BY_LISTENERS
    others = f"the owners of {name} have to allow the namespace in {place}"
    found = [_lacking(each, namespace, around) for each in takes]
    lacking = next((some for some in found if some and all(each.label != NAME_LABEL for each in some)), ())
    if not lacking:  # what a namespace is called is not to be mended
        return Finding(reason, Who.GATEWAY_OWNER, words, others, field)
    remedy = " and ".join(requirement.remedy for requirement in lacking)
    advice = f"whoever may label namespaces has to {remedy} on namespace {namespace}, or {others}"
    return Finding(reason, Who.PLATFORM, words, advice, field)


def _whose(takes: Namespaces, home: str) -> str:
    match takes.of:
        case "Same":
            return f"its own namespace {home}"
        case "Selector":
            asked = ", ".join(requirement.words for requirement in takes.selector or ())
            return f"namespaces with {asked}" if asked else "chosen namespaces"
        case _:
            return "no namespace"


def _who_answers(parent: ParentRef, gateway: Gateway | None, around: Surroundings) -> str:
    """Who ought to have answered, as far as that can be told."""
    if gateway is None or not gateway.gateway_class:
        return f"ask whoever runs the controller of {parent.kind} {parent.name}"
    of = around.gateway_class(gateway.gateway_class)
    if of is Absence.MISSING:
        return (
            f"the owners of {parent.kind} {parent.name} have to correct its gatewayClassName: there is no GatewayClass "
            f"{gateway.gateway_class}"
        )
    controller = f"the controller {of.controller}" if isinstance(of, GatewayClass) else "the controller"
    return f"the platform team has to see that {controller} of GatewayClass {gateway.gateway_class} runs"
