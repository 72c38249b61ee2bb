"""Buckets of a backend's histogram: how many of its requests took at most so long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.checks.sources.auth import rendered as bound
from canary.checks.sources.prometheus import Prometheus


@dataclass(frozen=True, slots=True)
class Buckets:
    """A question in PromQL, and the base URL of the server that is asked (None: the controller's).

    `bounds` (seconds) are those beyond which a request is slow; what the histogram itself counts in is `unit` seconds.
    """

    PROVIDER: ClassVar[str] = "Prometheus"
    LANGUAGE: ClassVar[str] = "PromQL"
    FIELD: ClassVar[tuple[str, ...]] = ("compare", "prometheus")

    buckets: str
    bounds: tuple[float, ...]
    unit: float = 1.0
    address: str | None = None
    auth: Auth | None = None

    @property
    def text(self) -> str:
        return self.buckets

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Prometheus], ...]:
        return (((*self.FIELD, "buckets"), Prometheus(self.buckets, self.address, self.auth)),)

    def names(self) -> frozenset[str]:
        return names(self.buckets)

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        return replace(self, buckets=render(self.buckets, variables), auth=bound(self.auth, variables))
