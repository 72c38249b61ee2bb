"""What stands around the routes of Rollouts, as the watches have told it: Gateways, their classes, Services, grants, labels.

Slim views: of a Service its ports, of a Gateway its listeners, of a Namespace its labels. A cluster has ten thousand Services, and
any of them may be named tomorrow; so all are kept, at the price of an entry. What changes without changing such a view wakes
nobody, and who depends on what is found in an index: what one team does to its objects costs no walk over all others'.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from canary.observe.index import Index
from canary.observe.objects import Key, key_of
from canary.preflight.objects import (
    Absence,
    Gateway,
    GatewayClass,
    Grant,
    Labels,
    Namespaces,
    Policy,
    labels_of,
    named,
    ports_of,
)
from canary.preflight.offers import NOTHING_DECLARED, Platform
from canary.preflight.surroundings import PARENTS, POLICY
from canary.routes.acceptance import GATEWAY_API, ParentRef
from canary.routes.key import RouteKey

Json = dict[str, Any]

Thing = tuple[str, str, str]
"""(kind, namespace, name) of something that a route is attached to."""

KINDS = frozenset({*PARENTS, "GatewayClass", "Service", "ReferenceGrant", "Namespace"})


@dataclass(frozen=True, slots=True)
class Change:
    """An object around routes is another one for a preflight than before (None: it was not there, or is not any more)."""

    kind: str
    namespace: str
    name: str
    before: Any
    after: Any


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
        self._labels: dict[str, Labels | None] = {}
        self._policies: dict[Thing, Policy] = {}
        """Those that target some part of something by its name, by the name of their definition."""
        self._known: set[tuple[str, str]] = set()
        self._parents: dict[RouteKey, tuple[Thing, ...]] = {}
        self._children: Index[Thing, RouteKey] = Index()
        self._homes: Index[str, RouteKey] = Index()
        """Routes by namespace."""
        self._of_class: Index[str, Key] = Index()
        """Gateways by their class."""
        self._sets: Index[Key, Key] = Index()
        """ListenerSets by their Gateway."""

    # -- what a preflight asks ------------------------------------------------------------------------------------

    def service(self, namespace: str, name: str) -> tuple[int, ...] | Absence:
        if not self.knows("Service", namespace):
            return Absence.UNKNOWN
        return self._services.get((namespace, name), Absence.MISSING)

    def gateway(self, kind: str, namespace: str, name: str) -> Gateway | Absence:
        if not self.knows(kind, namespace):
            return Absence.UNKNOWN
        return self._gateways.get((kind, namespace, name), Absence.MISSING)

    def gateway_class(self, name: str) -> GatewayClass | Absence:
        if not self.knows("GatewayClass", ""):
            return Absence.UNKNOWN
        return self._classes.get(name, Absence.MISSING)

    def grants(self, namespace: str) -> Iterable[Grant] | None:
        if not self.knows("ReferenceGrant", namespace):
            return None
        return self._grants.get(namespace, {}).values()

    def labels(self, namespace: str) -> Mapping[str, str] | None:
        kept = self._labels.get(namespace) if self.knows("Namespace", namespace) else None
        return named(kept, namespace) if kept is not None else None

    def policies(self, namespace: str) -> Iterable[Policy] | None:
        if not self.knows(POLICY, namespace):
            return None
        return self._policies.values()

    def knows(self, kind: str, namespace: str) -> bool:
        """Whether all objects of a kind in a namespace are known, so that what is not there does not exist."""
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
        gone: list[Key]
        match kind:
            case "Service":
                gone = list(self._services)
            case "GatewayClass":
                gone = [("", name) for name in self._classes]
            case "ReferenceGrant":
                gone = [(namespace, name) for namespace, grants in self._grants.items() for name in grants]
            case "Namespace":
                gone = [("", name) for name in self._labels]
            case _:
                gone = [(namespace, name) for of, namespace, name in self._gateways if of == kind]
        for key in gone:
            if place in {None, key[0]}:
                self.drop(kind, key)

    def put(self, kind: str, document: Json) -> Change | None:
        """Keep an object of one of `KINDS`; None when nothing that a preflight looks at has changed."""
        thing = kind, *(key := key_of(document))
        namespace, name = key
        match kind:
            case "Service":
                return _set(self._services, key, ports_of(document), thing)
            case "GatewayClass":
                return _set(self._classes, name, GatewayClass.read(document), thing)
            case "ReferenceGrant":
                return _set(self._grants[namespace], name, Grant.read(document), thing)
            case "Namespace":
                return _set(self._labels, name, labels_of(document), thing)
            case _:
                return self._filed(_set(self._gateways, thing, Gateway.read(document), thing))

    def drop(self, kind: str, key: Key) -> Change | None:
        """Forget an object; None when there was none."""
        thing = kind, *key
        namespace, name = key
        match kind:
            case "Service":
                return _pop(self._services, key, thing)
            case "GatewayClass":
                return _pop(self._classes, name, thing)
            case "ReferenceGrant":
                grants = self._grants.get(namespace, {})
                change = _pop(grants, name, thing)
                if not grants:
                    self._grants.pop(namespace, None)
                return change
            case "Namespace":
                return _pop(self._labels, name, thing)
            case _:
                return self._filed(_pop(self._gateways, thing, thing))

    def _filed(self, change: Change | None) -> Change | None:
        """Keep the indexes by class and by Gateway true to a Gateway or ListenerSet."""
        if change is None:
            return None
        key = change.namespace, change.name
        for found, there in ((change.before, False), (change.after, True)):
            if found is None:
                continue
            if change.kind == "Gateway":
                (self._of_class.add if there else self._of_class.discard)(found.gateway_class, key)
            elif found.of is not None:
                (self._sets.add if there else self._sets.discard)(found.of, key)
        return change

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
                self._children.discard(thing, route)
        for thing in after:
            self._children.add(thing, route)
        if after:
            self._parents[route] = before if before == after else after
            self._homes.add(route.namespace, route)
        else:
            self._homes.discard(route.namespace, route)

    def concerned(self, change: Change) -> Iterator[RouteKey]:
        """The routes that a change matters to, by what they are attached to; some perhaps more than once."""
        key = change.namespace, change.name
        match change.kind:
            case "GatewayClass":
                for gateway in self._of_class.get(change.name):
                    yield from self._attached(gateway)
            case "Gateway":
                yield from self._attached(key)
            case "Namespace":
                yield from self._selected(change)
            case kind:
                yield from self._children.get((kind, *key))

    def attached_in(self, namespace: str) -> Iterator[RouteKey]:
        """The routes of everything in a namespace that routes are attached to; some perhaps more than once."""
        for thing in self._children:
            if thing[1] == namespace:
                yield from self._children.get(thing)
        for gateway in self._sets:
            if gateway[0] == namespace:
                yield from self._attached(gateway)

    def _attached(self, gateway: Key) -> Iterator[RouteKey]:
        """The routes of a Gateway, those of its ListenerSets among them."""
        yield from self._children.get(("Gateway", *gateway))
        for one in self._sets.get(gateway):
            yield from self._children.get(("ListenerSet", *one))

    def _selected(self, change: Change) -> Iterator[RouteKey]:
        """The routes that some selector is about which looks at what has changed of the labels of a namespace."""
        namespace = change.name
        labels = _differing(change.before, change.after)
        for route in self._homes.get(namespace):
            parents = (self._gateways.get(thing) for thing in self._parents[route])
            if any(_looks(one.takes, labels) for gateway in parents if gateway for one in gateway.listeners):
                yield route
        for gateway in self._sets:
            found = self._gateways.get(("Gateway", *gateway))
            if found is not None and _looks(found.takes_sets, labels):
                for one in self._sets.get(gateway):
                    if one[0] == namespace:
                        yield from self._children.get(("ListenerSet", *one))


def _about(policy: Policy | None) -> set[str]:
    return {target.namespace for target in policy.targets} if policy is not None else set()


def _set(kept: dict[Any, Any], at: Any, value: Any, thing: Thing) -> Change | None:
    before = kept.get(at, Absence.MISSING)
    if before == value:
        return None
    kept[at] = value
    return Change(*thing, None if before is Absence.MISSING else before, value)


def _pop(kept: dict[Any, Any], at: Any, thing: Thing) -> Change | None:
    before = kept.pop(at, Absence.MISSING)
    return Change(*thing, before, None) if before is not Absence.MISSING else None


def _differing(before: Labels | None, after: Labels | None) -> frozenset[str] | None:
    """The labels that are not as they were; None: it may be any of them."""
    if before is None or after is None:
        return None
    return frozenset(name for name, _ in {*before} ^ {*after})


def _looks(takes: Namespaces, labels: frozenset[str] | None) -> bool:
    """Whether a selector looks at one of these labels."""
    return takes.of == "Selector" and (
        labels is None or any(requirement.label in labels for requirement in takes.selector or ())
    )


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
