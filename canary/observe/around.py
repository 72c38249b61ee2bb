"""What stands around the routes of Rollouts, as the watches have told it: Gateways, their classes, Services, grants.

Slim views: of a Service its ports, of a Gateway its listeners. A cluster has ten thousand Services, and any of them may be
named tomorrow; so all are kept, at the price of an entry. What changes without changing such a view wakes nobody.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any

from canary.observe.objects import key_of
from canary.preflight.objects import Absence, Gateway, GatewayClass, Grant, Policy, ports_of
from canary.preflight.offers import NOTHING_DECLARED, Platform
from canary.preflight.surroundings import PARENTS, POLICY
from canary.routes.acceptance import GATEWAY_API, ParentRef
from canary.routes.key import RouteKey

Json = dict[str, Any]

Key = tuple[str, str]
"""(namespace, name)"""
Thing = tuple[str, str, str]
"""(kind, namespace, name) of something that a route is attached to."""

KINDS = frozenset({*PARENTS, "GatewayClass", "Service", "ReferenceGrant"})


class Around:
    """The surroundings (`canary.preflight.surroundings`) that a controller keeps, and which routes depend on what.

    Of a kind that is not `known` in a place nothing is said: it may not be read, is not served, or is not listed yet.
    """

    def __init__(self, place: str = "", platform: Platform = NOTHING_DECLARED) -> None:
        self.place = place
        self.platform = platform
        self.complete = True
        """Whether everything is listed that may be. Before that no run begins, and none goes on that asks more of gateways."""
        self._services: dict[Key, tuple[int, ...]] = {}
        self._gateways: dict[Thing, Gateway] = {}
        self._classes: dict[str, GatewayClass] = {}
        self._grants: defaultdict[str, dict[str, Grant]] = defaultdict(dict)
        self._policies: dict[Thing, Policy] = {}
        """Those that target some part of something by its name, by the name of their definition."""
        self._known: set[tuple[str, str]] = set()
        self._parents: dict[RouteKey, tuple[Thing, ...]] = {}
        self._children: dict[Thing, dict[RouteKey, None]] = {}

    # -- what a preflight asks ------------------------------------------------------------------------------------

    def service(self, namespace: str, name: str) -> tuple[int, ...] | Absence:
        if not self._knows("Service", namespace):
            return Absence.UNKNOWN
        return self._services.get((namespace, name), Absence.MISSING)

    def gateway(self, kind: str, namespace: str, name: str) -> Gateway | Absence:
        if not self._knows(kind, namespace):
            return Absence.UNKNOWN
        return self._gateways.get((kind, namespace, name), Absence.MISSING)

    def gateway_class(self, name: str) -> GatewayClass | Absence:
        if not self._knows("GatewayClass", ""):
            return Absence.UNKNOWN
        return self._classes.get(name, Absence.MISSING)

    def grants(self, namespace: str) -> Iterable[Grant] | None:
        if not self._knows("ReferenceGrant", namespace):
            return None
        return self._grants.get(namespace, {}).values()

    def labels(self, namespace: str) -> Mapping[str, str] | None:  # noqa: ARG002 # nobody watches Namespaces
        return None

    def policies(self, namespace: str) -> Iterable[Policy] | None:
        if not self._knows(POLICY, namespace):
            return None
        return self._policies.values()

    def _knows(self, kind: str, namespace: str) -> bool:
        return (kind, "") in self._known or (kind, namespace) in self._known

    # -- what the watches say -------------------------------------------------------------------------------------

    def know(self, kind: str, place: str | None, *, known: bool) -> bool:
        """Whether all objects of a kind in a namespace (None: everywhere) are known from now on. Returns whether that is news."""
        mark = kind, place or ""
        news = (mark in self._known) is not known
        (self._known.add if known else self._known.discard)(mark)
        return news

    def forget(self, kind: str, place: str | None) -> None:
        """A kind is listed anew in a namespace (None: everywhere): what was seen of it before counts no more."""
        gone: list[Thing]
        match kind:
            case "Service":
                gone = [(kind, *key) for key in self._services]
            case "GatewayClass":
                gone = [(kind, "", name) for name in self._classes]
            case "ReferenceGrant":
                gone = [(kind, namespace, name) for namespace, grants in self._grants.items() for name in grants]
            case _:
                gone = [thing for thing in self._gateways if thing[0] == kind]
        for _, namespace, name in gone:
            if place in {None, namespace}:
                self.drop(kind, (namespace, name))

    def put(self, kind: str, document: Json) -> bool:
        """Keep an object of one of `KINDS`; False when nothing that a preflight looks at has changed."""
        namespace, name = key_of(document)
        match kind:
            case "Service":
                return _set(self._services, (namespace, name), ports_of(document))
            case "GatewayClass":
                return _set(self._classes, name, GatewayClass.read(document))
            case "ReferenceGrant":
                return _set(self._grants[namespace], name, Grant.read(document))
            case _:
                return _set(self._gateways, (kind, namespace, name), Gateway.read(document))

    def drop(self, kind: str, key: Key) -> bool:
        """Forget an object; False when there was none."""
        namespace, name = key
        match kind:
            case "Service":
                return self._services.pop(key, None) is not None
            case "GatewayClass":
                return self._classes.pop(name, None) is not None
            case "ReferenceGrant":
                return self._grants[namespace].pop(name, None) is not None
            case _:
                return self._gateways.pop((kind, namespace, name), None) is not None

    def put_policy(self, definition: str, document: Json) -> set[str]:
        """Keep a policy; the namespaces of what it targets, or targeted, by the name of a part. None: nothing has changed."""
        namespace, name = key_of(document)
        policy = Policy.read(document)
        if not policy.targets:
            return self.drop_policy(definition, (namespace, name))
        before = self._policies.get((definition, namespace, name))
        if before == policy:
            return set()
        self._policies[definition, namespace, name] = policy
        return _about(policy) | _about(before)

    def drop_policy(self, definition: str, key: Key) -> set[str]:
        """Forget a policy; the namespaces of what it targeted."""
        return _about(self._policies.pop((definition, *key), None))

    def drop_policies(self, definition: str, place: str | None) -> set[str]:
        """Forget all policies of a definition in a namespace (None: everywhere); the namespaces of what they targeted."""
        gone = [thing for thing in self._policies if thing[0] == definition and place in {None, thing[1]}]
        return {about for _, namespace, name in gone for about in self.drop_policy(definition, (namespace, name))}

    # -- who depends on what --------------------------------------------------------------------------------------

    def attach(self, route: RouteKey, document: Json | None) -> None:
        """A route names these parents from now on; without a document it is gone."""
        after = _parents(document) if document is not None else ()
        before = self._parents.pop(route, ())
        for thing in before:
            if thing not in after:
                children = self._children.get(thing, {})
                children.pop(route, None)
                if not children:
                    self._children.pop(thing, None)
        for thing in after:
            self._children.setdefault(thing, {})[route] = None
        if after:
            self._parents[route] = before if before == after else after

    def attached(self, kind: str, key: Key) -> AbstractSet[RouteKey]:
        """The routes that an object of a kind matters to, by what they are attached to."""
        namespace, name = key
        if kind == "GatewayClass":
            of = [thing for thing, gateway in self._gateways.items() if gateway.gateway_class == name]
            return {route for thing in of for route in self._children.get(thing, ())}
        return self._children.get((kind, namespace, name), {}).keys()


def _about(policy: Policy | None) -> set[str]:
    return {target.namespace for target in policy.targets} if policy is not None else set()


def _set(kept: dict[Any, Any], key: Any, value: Any) -> bool:
    if kept.get(key) == value:
        return False
    kept[key] = value
    return True


def _parents(document: Json) -> tuple[Thing, ...]:
    namespace, _ = key_of(document)
    refs = (document.get("spec") or {}).get("parentRefs") or ()
    found = (ParentRef.read(ref, namespace) for ref in refs if isinstance(ref, dict))
    kept = tuple(
        (parent.kind, parent.namespace, parent.name)
        for parent in found
        if (parent.group == GATEWAY_API and parent.kind in PARENTS) or (parent.group == "" and parent.kind == "Service")
    )
    return _shared(kept)


@lru_cache(4096)
def _shared(parents: tuple[Thing, ...]) -> tuple[Thing, ...]:
    """Most routes have the same few parents: those are kept once."""
    return parents
