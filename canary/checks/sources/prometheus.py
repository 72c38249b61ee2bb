"""A PromQL query as a source of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.checks.sources.auth import rendered as bound
from canary.model.checks import PrometheusSource


@dataclass(frozen=True, slots=True)
class Prometheus:
    """PromQL, and the base URL of the server that is asked (None: the controller's)."""

    PROVIDER: ClassVar[str] = "Prometheus"
    LANGUAGE: ClassVar[str] = "PromQL"
    FIELD: ClassVar[tuple[str, ...]] = ("prometheus", "query")

    query: str
    address: str | None = None
    auth: Auth | None = None

    @classmethod
    def of(cls, declared: PrometheusSource) -> Self:
        return cls(declared.query, declared.address, Auth.of(declared.auth))

    @property
    def text(self) -> str:
        return self.query

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Prometheus], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        return names(self.query)

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        return replace(self, query=render(self.query, variables), auth=bound(self.auth, variables))
