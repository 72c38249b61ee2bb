"""Which Services Rollouts send traffic to, and which Rollouts a change of one may matter to."""

from __future__ import annotations

from collections.abc import Iterable

from canary.observe.index import Index
from canary.observe.objects import Key


class Backends:
    """The Services of every Rollout, each as (namespace, name)."""

    def __init__(self) -> None:
        self.services: dict[Key, tuple[Key, ...]] = {}
        """By Rollout."""
        self._senders: Index[Key, Key] = Index()
        self._crossing: Index[tuple[str, str], Key] = Index()
        """Rollouts by the namespace of a Service of theirs and their own, where the two are not the same."""

    def put(self, rollout: Key, services: tuple[Key, ...]) -> None:
        """A Rollout sends traffic to these Services from now on."""
        if self.services.get(rollout) == services:
            return
        self.drop(rollout)
        self.services[rollout] = services
        for service in services:
            self._senders.add(service, rollout)
            if service[0] != rollout[0]:
                self._crossing.add((service[0], rollout[0]), rollout)

    def drop(self, rollout: Key) -> None:
        """A Rollout sends traffic to none any more."""
        for service in self.services.pop(rollout, ()):
            self._senders.discard(service, rollout)
            self._crossing.discard((service[0], rollout[0]), rollout)

    def senders(self, service: Key) -> Iterable[Key]:
        """The Rollouts that send traffic to a Service; as of now, not to be kept."""
        return self._senders.get(service)

    def crossing(self, namespace: str, home: str) -> Iterable[Key]:
        """The Rollouts of a namespace (`home`) that send traffic to a Service in another one; as of now, not to be kept."""
        return self._crossing.get((namespace, home))
