"""Which routes send users to which Services, be they named by a Rollout or not: for who asks whether a canary is still of use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from canary.observe.index import Index
from canary.observe.objects import Key, key_of
from canary.routes.key import RouteKey
from canary.routes.pair import Backend

Json = dict[str, Any]

Port = tuple[str, str, int]
"""Namespace and name of a Service, and its port."""


class Senders:
    """What every route sends users to. Copies of requests are no users, and a weight of 0 sends none."""

    def __init__(self) -> None:
        self._sent: dict[RouteKey, tuple[Port, ...]] = {}
        self._routes: Index[Port, RouteKey] = Index()

    def put(self, route: RouteKey, document: Json | None) -> set[Key]:
        """A route is this from now on (None: it is gone); returns the Services to which it sends users now and did not before, or the reverse."""
        after = _shared(tuple(_sent(document))) if document is not None else ()
        before = self._sent.get(route, ())
        if before == after:
            return set()
        for port in before:
            self._routes.discard(port, route)
        for port in after:
            self._routes.add(port, route)
        if after:
            self._sent[route] = after
        else:
            self._sent.pop(route, None)
        return {port[:2] for port in {*before} ^ {*after}}

    def of(self, backend: Backend) -> Iterator[RouteKey]:
        """The routes that send users to a Service and port; as of now, not to be kept."""
        yield from self._routes.get((backend.namespace, backend.service, backend.port))


def _sent(document: Json) -> Iterator[Port]:
    """Lenient: of what makes no sense nothing is said."""
    namespace, _ = key_of(document)
    spec = document.get("spec")
    for rule in _objects(spec.get("rules") if isinstance(spec, dict) else None):
        for ref in _objects(rule.get("backendRefs")):
            if ref.get("weight", 1) == 0 or (ref.get("kind") or "Service") != "Service" or ref.get("group"):
                continue
            place, name, port = ref.get("namespace") or namespace, ref.get("name"), ref.get("port")
            if isinstance(place, str) and isinstance(name, str) and isinstance(port, int):
                yield sys.intern(place), sys.intern(name), port


def _objects(value: Any) -> Iterator[Json]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


@lru_cache(4096)
def _shared(ports: tuple[Port, ...]) -> tuple[Port, ...]:
    """Each once; many routes send to the same: those are kept once."""
    return tuple(dict.fromkeys(ports))
