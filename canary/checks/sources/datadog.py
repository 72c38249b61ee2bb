"""A metrics query of Datadog as a source of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.checks.sources.auth import rendered as bound
from canary.checks.sources.places import window_of
from canary.model.databases import DatadogSource

KEYS = (("DD-API-KEY", "api-key"), ("DD-APPLICATION-KEY", "app-key"))
"""The headers by which Datadog knows who asks, and the keys of a Secret that hold their values."""


@dataclass(frozen=True, slots=True)
class Datadog:
    """A query, the site that is asked, and over how many seconds."""

    PROVIDER: ClassVar[str] = "Datadog"
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("datadog", "query")

    query: str
    site: str
    auth: Auth | None
    window: float = 0.0

    @classmethod
    def of(cls, declared: DatadogSource) -> Self:
        return cls(declared.query, declared.site, Auth(declared.auth.secret_ref.name, KEYS))

    @property
    def text(self) -> str:
        return self.query

    @property
    def origin(self) -> str:
        """Scheme and host."""
        return f"https://api.{self.site}"

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Datadog], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        return names(self.query)

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        return replace(
            self, query=render(self.query, variables), auth=bound(self.auth, variables), window=window_of(variables)
        )
