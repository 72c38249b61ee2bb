"""What is kept per address, for teams that must not push each other's out.

An address belongs to the namespaces that used it lately. A namespace keeps a few; what all of them keep is bounded too. When
there is no room, the one goes whose best-behaved user holds the most addresses: naming ever new paths and ports costs the
one who names them its own connections, and nobody else's.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

MOST = 64
"""Addresses in all."""

OF_ONE_NAMESPACE = 8

FORGOTTEN_AFTER = 600.0
"""Seconds without a question after which an address is not a namespace's any more."""


class Crowded(Exception):
    """All places are taken, and those that might go are at work; the message says whose they are."""


@dataclass(slots=True)
class _Kept(Generic[T]):
    value: T
    used: dict[str, float] = field(default_factory=dict)
    """When each namespace used it last."""


class KeptByAddress(Generic[K, T]):
    """Makes a value for each address (whatever tells one from others) by `make(address)` and ends it with `close`. `busy` says whether it is at work."""

    def __init__(
        self,
        make: Callable[[K], T],
        *,
        busy: Callable[[T], bool],
        close: Callable[[T], None],
        most: int = MOST,
        of_one: int = OF_ONE_NAMESPACE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make, self._busy, self._close = make, busy, close
        self._most, self._of_one = most, of_one
        self._clock = clock
        self._kept: OrderedDict[K, _Kept[T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[K]:
        return iter(self._kept)

    def values(self) -> list[T]:
        """All that are kept."""
        return [kept.value for kept in self._kept.values()]

    def get(self, address: K, namespace: str) -> T:
        """The value of an address, made if there is none. Raises Crowded."""
        now = self._clock()
        kept = self._kept.get(address)
        if kept is None or namespace not in kept.used:
            self._forget(now)
            self._own_room(namespace)
        if kept is None:
            self._room(namespace)
            kept = self._kept[address] = _Kept(self._make(address))
        kept.used[namespace] = now
        self._kept.move_to_end(address)
        return kept.value

    def clear(self) -> None:
        """End all of them."""
        for address in list(self._kept):
            self._drop(address)

    def _forget(self, now: float) -> None:
        for kept in self._kept.values():
            kept.used = {who: at for who, at in kept.used.items() if now - at < FORGOTTEN_AFTER}

    def _own_room(self, namespace: str) -> None:
        """A namespace that has all it may have gives one back: the one it used longest ago that is not at work for it."""
        own = [address for address, kept in self._kept.items() if namespace in kept.used]
        if len(own) < self._of_one:
            return
        for address in own:
            kept = self._kept[address]
            if len(kept.used) > 1:
                del kept.used[namespace]
                return
            if not self._busy(kept.value):
                self._drop(address)
                return
        raise Crowded(f"namespace {namespace} asks {len(own)} addresses already, and each is still at work")

    def _room(self, namespace: str) -> None:
        """If nothing fits in any more, one of somebody goes who has more of them than this namespace has with a new one.

        Of somebody who has as many, and of its own, only one that rests.
        """
        if len(self._kept) < self._most:
            return
        held = Counter(who for kept in self._kept.values() for who in kept.used)
        ours = held[namespace] + 1

        def greed(address: K) -> int:
            return min((held[who] for who in self._kept[address].used), default=self._most + 1)

        busy = {address: self._busy(kept.value) for address, kept in self._kept.items()}
        may_go = [
            address
            for address, kept in self._kept.items()
            if greed(address) > ours
            or (not busy[address] and (greed(address) == ours or kept.used.keys() == {namespace}))
        ]
        if not may_go:
            raise Crowded(f"{len(self._kept)} addresses are asked already, and each is still at work")
        # Of the same greed those that rest go first, and of these the one used longest ago.
        self._drop(min(may_go, key=lambda address: (-greed(address), busy[address])))

    def _drop(self, address: K) -> None:
        self._close(self._kept.pop(address).value)
