"""The port to whatever can be asked for a number. `Scripted` is its twin for tests; both pass the same contract."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from canary.checks.sources import Source
from canary.fair import NOBODY, Tenant
from canary.model.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Query:
    """One question, already rendered.

    `timeout` is in seconds, from the moment it is sent. `many` says that the answer may be several series (a CEL condition
    over `values`). `counters` asks for all series with their labels, and for the instant that they are of; `instant` names
    one: seconds, by the clock of who is asked (None: now). `tenant` is who asks: tenants take turns. `patience` is how long it may wait for its turn, in seconds;
    after that it is `Queued`. `max_age` is how old, in seconds, an answer to somebody else may be by the time this is asked (0: it is
    to be sent later than that).
    """

    source: Source
    timeout: float = 10.0
    many: bool = False
    counters: bool = False
    instant: float | None = None
    tenant: Tenant = NOBODY
    patience: float = 10.0
    max_age: float = 0.0

    @property
    def text(self) -> str:
        """The question as people see it."""
        return self.source.text


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a query cannot be asked, as one sentence. `asked`: the provider said so; otherwise nobody has asked it.

    `field` is the one to blame, beside the query's own, where it is not that: `auth.secretRef`.
    """

    words: str
    asked: bool = True
    field: str = ""


class Provider(Protocol):
    """Answers questions. Nothing that the world can do makes it raise: trouble comes back as a Measurement."""

    async def measure(self, query: Query, now: datetime) -> Measurement:
        """The answer, stamped with the query's text and `now`, or with when it was asked for or is known to be of, if that was before."""
        ...

    async def validate(self, query: Query) -> Refusal | None:
        """Why the query cannot be asked; None when it is fine, or nobody can tell now."""
        ...

    async def close(self) -> None:
        """Lets go of connections and workers."""
        ...
