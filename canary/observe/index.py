"""An index by key that costs little where most keys have one member: a set for each would take four times the memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Index(Generic[K, V]):
    """Members by key, each once, in the order in which they came; a key without any is gone."""

    def __init__(self) -> None:
        self._members: dict[K, tuple[V] | dict[V, None]] = {}

    def add(self, key: K, member: V) -> None:
        there = self._members.get(key)
        if there is None:
            self._members[key] = (member,)
        elif isinstance(there, dict):
            there[member] = None
        elif member not in there:
            self._members[key] = {there[0]: None, member: None}

    def discard(self, key: K, member: V) -> None:
        there = self._members.get(key)
        if isinstance(there, dict) and len(there) > 1:
            there.pop(member, None)
        elif there is not None and member in there:
            del self._members[key]

    def get(self, key: K) -> Iterable[V]:
        """The members of a key, none where there are none; as of now, not to be kept."""
        return self._members.get(key, ())

    def __contains__(self, key: K) -> bool:
        return key in self._members

    def __iter__(self) -> Iterator[K]:
        return iter(self._members)
