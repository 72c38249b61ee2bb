"""What the watches say of what stands around routes, until it is taken in: of each object the newest, of each namespace in turn.

Anybody writes the objects of their own namespace as often as they like. What is said of one a thousand times a second is taken in
as often as its namespace has a turn, and whoever depends on it is looked for no more often than that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from canary.observe.objects import key_of

Json = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name)"""


class Arrival(NamedTuple):
    """An object as it is now; `gone`: it is not there any more."""

    kind: str
    document: Json
    gone: bool


class Arrivals:
    """What waits, by namespace: an object waits with its own, a Namespace with what is in it, what has none with its like."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[tuple[str, Key], Arrival]] = {}

    def put(self, arrival: Arrival) -> str | None:
        """Let something wait. Returns the namespace whose turn it needs; None: that is on its way already."""
        key = key_of(arrival.document)
        home = _home(arrival.kind, key)
        there = self._waiting.get(home)
        if there is not None:
            there[arrival.kind, key] = arrival
            return None
        self._waiting[home] = {(arrival.kind, key): arrival}
        return home

    def take(self, namespace: str) -> Arrival | None:
        """The one of a namespace that waits longest; None: nothing does."""
        there = self._waiting.get(namespace)
        if not there:
            return None
        arrival = there.pop(next(iter(there)))
        if not there:
            del self._waiting[namespace]
        return arrival

    def waits(self, namespace: str) -> bool:
        """Whether something of a namespace waits."""
        return namespace in self._waiting

    def drop(self, kind: str, key: Key) -> None:
        """An object has been taken in by another way, in a newer version."""
        home = _home(kind, key)
        there = self._waiting.get(home, {})
        if there.pop((kind, key), None) is not None and not there:
            del self._waiting[home]

    def of(self, kind: str, place: str | None) -> list[Arrival]:
        """Everything that waits of a kind, in a namespace or (None) anywhere: it waits no more."""
        found = [
            (key, arrival)
            for there in self._waiting.values()
            for (of, key), arrival in there.items()
            if of == kind and place in {None, key[0]}
        ]
        for key, _ in found:
            self.drop(kind, key)
        return [arrival for _, arrival in found]


def _home(kind: str, key: Key) -> str:
    namespace, name = key
    return name if kind == "Namespace" else namespace
