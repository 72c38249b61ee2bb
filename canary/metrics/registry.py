"""Which provider answers the questions of which source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from canary.later import Later
from canary.metrics.port import Provider, Query, Refusal
from canary.model.measurement import Malformed, Measurement


class Providers:
    """A provider that hands each question to the one for its source, by the type of the source; of other types to `others`."""

    def __init__(self, by_source: Mapping[type[Any], Provider], others: Provider | None = None) -> None:
        self._by_source = dict(by_source)
        self._others = others

    async def measure(self, query: Query, now: datetime) -> Measurement:
        provider = self._by_source.get(type(query.source), self._others)
        if provider is None:
            return Malformed(now, "NoProvider", f"{query.source.PROVIDER} cannot be asked here", query.text)
        return await provider.measure(query, now)

    async def validate(self, query: Query) -> Refusal | None:
        provider = self._by_source.get(type(query.source), self._others)
        return None if provider is None else await provider.validate(query)

    async def close(self) -> None:
        every = (*self._by_source.values(), *((self._others,) if self._others is not None else ()))
        await asyncio.gather(*(provider.close() for provider in dict.fromkeys(every)))


class AskedLater:
    """A provider that is made when it is first asked."""

    def __init__(self, load: Callable[[], Callable[[], Provider]]) -> None:
        """`load`: see `Later`."""
        self._provider = Later(load)

    async def measure(self, query: Query, now: datetime) -> Measurement:
        return await (await self._provider.get()).measure(query, now)

    async def validate(self, query: Query) -> Refusal | None:
        return await (await self._provider.get()).validate(query)

    async def close(self) -> None:
        if self._provider.made is not None:
            await self._provider.made.close()
