"""The two backends that share traffic, and what a rule gives each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

from canary.model.rollout import BackendTarget, RolloutSpec

MAX_WEIGHT = 1_000_000
"""Largest weight that the Gateway API allows for a backendRef."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service and port, its namespace spelled out."""

    service: str
    namespace: str
    port: int

    @classmethod
    def of(cls, target: BackendTarget, namespace: str) -> Backend:
        return cls(target.service, target.namespace or namespace, target.port)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.service}:{self.port}"

    def is_named_by(self, ref: Mapping[str, Any], namespace: str) -> bool:
        """Whether a reference of a route, which is in a namespace, means this Service and port."""
        return ref.get("port") == self.port and self.is_service_of(ref, namespace)

    def is_service_of(self, ref: Mapping[str, Any], namespace: str) -> bool:
        """Whether a reference of a route, which is in a namespace, means this Service, on whatever port."""
        return (
            ref.get("name") == self.service
            and (ref.get("namespace") or namespace) == self.namespace
            and (ref.get("kind") or "Service") == "Service"
            and not ref.get("group")
        )

    def ref(self, namespace: str) -> dict[str, Any]:
        """A reference to it of a route, which is in a namespace."""
        elsewhere = {} if self.namespace == namespace else {"namespace": self.namespace}
        return {**elsewhere, "name": self.service, "port": self.port}

    @classmethod
    def parse(cls, text: str) -> Backend:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        place, _, port = text.rpartition(":")
        namespace, _, service = place.partition("/")
        if not namespace or not service or not (port.isascii() and port.isdecimal() and len(port) <= 5):
            raise ValueError(f"{text!r} is not namespace/service:port")
        return cls(service, namespace, int(port))


@dataclass(frozen=True, slots=True)
class Recipient:
    """Who gets copies of requests: a Service, on whatever port, or on just the one (`by_port`)."""

    backend: Backend
    by_port: bool = False

    @property
    def port(self) -> int:
        """That which it should be."""
        return self.backend.port

    def is_meant_by(self, ref: Mapping[str, Any], namespace: str) -> bool:
        """Whether copies that go by a reference of a route, which is in a namespace, go there."""
        return (self.backend.is_named_by if self.by_port else self.backend.is_service_of)(ref, namespace)


@dataclass(frozen=True, slots=True)
class Pair:
    """The two backends by the role that they have in a run."""

    stable: Backend
    canary: Backend
    comparer: Backend | None = None
    """Who gets the copies of requests where the run mirrors, and asks both; None: the canary itself does."""

    @classmethod
    def of(cls, spec: RolloutSpec, namespace: str, *, swapped: bool = False) -> Pair:
        """The pair that a Rollout of a namespace declares, by its present role."""
        stable, canary = Backend.of(spec.stable, namespace), Backend.of(spec.canary, namespace)
        named = spec.comparer
        comparer = Backend(named.service, namespace, named.port) if named is not None else None
        return cls(canary, stable, comparer) if swapped else cls(stable, canary, comparer)

    @property
    def one_service(self) -> bool:
        """Whether it is two ports of one Service: then the port alone tells who is who, else it tells nothing."""
        return (self.stable.service, self.stable.namespace) == (self.canary.service, self.canary.namespace)

    def means_canary(self, ref: Mapping[str, Any], namespace: str) -> bool:
        """Whether a reference of a route, which is in a namespace, gives the canary what it has: by its Service, on whatever port."""
        return (
            self.canary.is_named_by(ref, namespace) if self.one_service else self.canary.is_service_of(ref, namespace)
        )

    def may_mean_stable(self, ref: Mapping[str, Any], namespace: str) -> bool:
        """The same of stable, where no reference names it by its port as well."""
        return self.stable.is_service_of(ref, namespace) and not self.means_canary(ref, namespace)

    def turns(self, other: Pair) -> bool:
        """Whether a backend of one has the other role in the other: what gives one's stable everything takes it away there.

        A Service on another port is the same backend, but where one of the pairs is two ports of one Service.
        """
        by_port = self.one_service or other.one_service

        def same(one: Backend, another: Backend) -> bool:
            return one == (another if by_port else replace(another, port=one.port))

        return same(self.stable, other.canary) or same(self.canary, other.stable)

    @property
    def copied_to(self) -> Recipient:
        """Who gets the copies where the run mirrors: told as the canary is, by the Service, and by the port where that alone tells."""
        if self.comparer is None:
            return Recipient(self.canary, by_port=self.one_service)
        services = {(each.service, each.namespace) for each in (self.stable, self.canary)}
        shared = (self.comparer.service, self.comparer.namespace) in services
        return Recipient(self.comparer, by_port=shared)

    @property
    def copied_to_words(self) -> str:
        """The same in words, by its role."""
        return "the canary" if self.comparer is None else "the comparer"

    def __str__(self) -> str:
        return f"{self.stable} {self.canary}" + (f" {self.comparer}" if self.comparer is not None else "")

    @classmethod
    def parse(cls, text: str) -> Pair:
        """Read what `str()` wrote. Raises ValueError for anything else."""
        stable, canary, *comparer = map(Backend.parse, text.split(" "))
        if len(comparer) > 1:
            raise ValueError(f"{text!r} is more than a pair and a comparer")
        return cls(stable, canary, *comparer)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of stable and canary in one rule, as written. None: the field is absent, which means 1."""

    stable: int | None
    canary: int | None

    @property
    def total(self) -> int:
        return (1 if self.stable is None else self.stable) + (1 if self.canary is None else self.canary)

    @property
    def share(self) -> Fraction:
        """The canary's share of the pair in percent; 0 when the pair gets nothing at all."""
        return _share(self.stable, self.canary)

    @property
    def filled(self) -> Weights:
        """The same with nothing absent, as an API server keeps it."""
        return Weights(weight_of(self.stable), weight_of(self.canary))

    def __str__(self) -> str:
        return "/".join("-" if weight is None else str(weight) for weight in (self.stable, self.canary))

    @classmethod
    @lru_cache(4096)
    def parse(cls, text: str) -> Weights:
        """Read what `str()` wrote; the same few texts again and again, in every look at a run.

        Raises:
            ValueError: not two weights with a slash between them.

        """
        stable, canary = (None if part == "-" else _digits(part) for part in text.split("/"))
        if any(weight is not None and not 0 <= weight <= MAX_WEIGHT for weight in (stable, canary)):
            raise ValueError(f"{text!r} is outside of what a route may say, 0 to {MAX_WEIGHT}")
        return cls(stable, canary)

    @property
    def only_stable(self) -> Weights:
        """The same sum, all of it on stable; exactly what it was if the canary had nothing and stable something.

        A sum beyond what one weight may be is cut to that: a rollback that no API server takes would be none.
        """
        if weight_of(self.canary) == 0 and weight_of(self.stable) > 0:
            return self
        return Weights(max(min(self.total, MAX_WEIGHT), 1), 0)

    @property
    def only_canary(self) -> Weights:
        """The same sum, all of it on the canary; cut like `only_stable`."""
        if weight_of(self.stable) == 0 and weight_of(self.canary) > 0:
            return self
        return Weights(0, max(min(self.total, MAX_WEIGHT), 1))


def _digits(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 7):
        raise ValueError(f"{text!r} is no weight")
    return int(text)


@lru_cache(4096)
def _share(stable: int | None, canary: int | None) -> Fraction:
    part = weight_of(canary)
    total = weight_of(stable) + part
    return Fraction(100 * part, total) if total else Fraction(0)


def weight_of(weight: int | None) -> int:
    """A weight as it works: an absent one is 1."""
    return 1 if weight is None else weight
