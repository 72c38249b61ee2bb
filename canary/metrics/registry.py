"""Which provider answers the questions of which source."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from canary.metrics.port import Provider, Query, Refusal
from canary.model.measurement import Malformed, Measurement


class Providers:
    """A provider that hands each question to the one for its source, by the type of the source."""

    def __init__(self, by_source: Mapping[type[Any], Provider]) -> None:
        self._by_source = dict(by_source)

    async def measure(self, query: Query, now: datetime) -> Measurement:
        provider = self._by_source.get(type(query.source))
        if provider is None:
            return Malformed(now, "NoProvider", f"{query.source.PROVIDER} cannot be asked here", query.text)
        return await provider.measure(query, now)

    async def validate(self, query: Query) -> Refusal | None:
        provider = self._by_source.get(type(query.source))
        return None if provider is None else await provider.validate(query)

    async def close(self) -> None:
        await asyncio.gather(*(provider.close() for provider in dict.fromkeys(self._by_source.values())))
