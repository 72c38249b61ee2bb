"""A target of Graphite as a source of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.checks.sources.auth import rendered as bound
from canary.checks.sources.places import base, window_of
from canary.model.databases import GraphiteSource


@dataclass(frozen=True, slots=True)
class Graphite:
    """A target, the server that is asked, and over how many seconds."""

    PROVIDER: ClassVar[str] = "Graphite"
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("graphite", "target")

    target: str
    address: str
    auth: Auth | None = None
    window: float = 0.0

    @classmethod
    def of(cls, declared: GraphiteSource) -> Self:
        return cls(declared.target, declared.address, Auth.of(declared.auth))

    @property
    def text(self) -> str:
        return self.target

    @property
    def origin(self) -> str:
        """The base URL."""
        return base(self.address, "graphite.address")

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Graphite], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        return names(self.target)

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        base(self.address, "graphite.address")
        return replace(
            self, target=render(self.target, variables), auth=bound(self.auth, variables), window=window_of(variables)
        )
