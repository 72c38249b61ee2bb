"""A query of InfluxDB as a source of numbers: one SELECT, which changes nothing, whatever is filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.checks.sources.auth import rendered as bound
from canary.checks.sources.places import base
from canary.errors import RenderError
from canary.model.databases import InfluxdbSource

_SELECT = re.compile(r"\s*select\s", re.IGNORECASE)
_INTO = re.compile(r"(?:(?<![a-z_])|[0-9][a-zµ]{1,2})into(?![a-z_])", re.IGNORECASE | re.ASCII)
"""To the server a number ends at its last digit, or at its unit: `2.INTO` and `1hINTO` may be two words."""


@dataclass(frozen=True, slots=True)
class Influxdb:
    """InfluxQL, and which database of which server is asked."""

    PROVIDER: ClassVar[str] = "InfluxDB"
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("influxdb", "query")

    query: str
    address: str
    database: str
    retention_policy: str | None = None
    auth: Auth | None = None

    @classmethod
    def of(cls, declared: InfluxdbSource) -> Self:
        return cls(
            declared.query, declared.address, declared.database, declared.retention_policy, Auth.of(declared.auth)
        )

    @property
    def text(self) -> str:
        return self.query

    @property
    def origin(self) -> str:
        """The base URL."""
        return base(self.address, "influxdb.address")

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Influxdb], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        return names(self.query)

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        base(self.address, "influxdb.address")
        query = render(self.query, variables)
        _only_reads(query)
        return replace(self, query=query, auth=bound(self.auth, variables))


def _only_reads(query: str) -> None:
    """Raises RenderError. Where in the text it stands is not looked at: who reads literals otherwise than the server misses something."""
    if not _SELECT.match(query):
        raise RenderError("it is no SELECT: a check only reads")
    if ";" in query:
        raise RenderError("it has a semicolon: a check asks one question")
    if _INTO.search(query):
        raise RenderError("it has the word INTO, which writes: a check only reads")
