"""Raw counters of a backend: its requests, and those of them that failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.checks.sources.auth import rendered as bound
from canary.checks.sources.prometheus import Prometheus
from canary.model.comparisons import PrometheusCounters


@dataclass(frozen=True, slots=True)
class Counters:
    """Two questions in PromQL, and the base URL of the server that is asked (None: the controller's)."""

    PROVIDER: ClassVar[str] = "Prometheus"
    LANGUAGE: ClassVar[str] = "PromQL"
    FIELD: ClassVar[tuple[str, ...]] = ("compare", "prometheus")

    requests: str
    failures: str
    address: str | None = None
    auth: Auth | None = None

    @classmethod
    def of(cls, counters: PrometheusCounters) -> Self:
        return cls(counters.requests or "", counters.failures or "", counters.address, Auth.of(counters.auth))

    @property
    def text(self) -> str:
        return f"{self.failures} of {self.requests}"

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Prometheus], ...]:
        return tuple(
            ((*self.FIELD, name), Prometheus(query, self.address, self.auth))
            for name, query in (("requests", self.requests), ("failures", self.failures))
        )

    def names(self) -> frozenset[str]:
        return names(self.requests) | names(self.failures)

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        return replace(
            self,
            requests=render(self.requests, variables),
            failures=render(self.failures, variables),
            auth=bound(self.auth, variables),
        )
