"""The port to whatever can be asked for a number. `Scripted` is its twin for tests; both pass the same contract."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from canary.model.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Query:
    """One question, already rendered.

    `address` is where to ask (None: the provider's default). `timeout` is in seconds and covers everything, waiting for
    a free worker included. `many` says that the answer may be several series (a CEL condition over `values`).
    """

    text: str
    address: str | None = None
    timeout: float = 10.0
    many: bool = False


class Provider(Protocol):
    """Answers questions. Nothing that the world can do makes it raise: trouble comes back as a Measurement."""

    async def measure(self, query: Query, now: datetime) -> Measurement:
        """The answer, stamped with `now` and the query's text."""
        ...

    async def validate(self, query: Query) -> str | None:
        """The provider's refusal of the query as one sentence; None when it is fine, or nobody can tell now."""
        ...

    async def close(self) -> None:
        """Lets go of connections and workers."""
        ...
