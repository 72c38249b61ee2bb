"""A page of all series, made for all who ask at the same time, and never for long at a stretch.

Whoever makes it shares an event loop with rollbacks. In a thread it would hold them up by the interpreter's switch interval,
five milliseconds each time they have something to do; here it stops after half of one, and they go first. It is made once
however many wait for it, and then not again before nine times the time that it took: scrapers that ask without end take a
tenth of the processor and no more. A page is never older than the question.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Metric
from prometheus_client import exposition as classic
from prometheus_client.openmetrics import exposition as openmetrics

from canary.telemetry.series import RolloutSeries

STRETCH = 0.0005
"""Seconds of work after which others are let in."""

REST = 9
"""Rest after a page, in units of the processor time it took."""

LONGEST_REST = 2.0

CHUNK = 64 * 1024
_EOF = "# EOF\n"


@dataclass(frozen=True, slots=True)
class Format:
    """What a scraper wants to read."""

    openmetrics: bool = False
    gzip: bool = False

    @property
    def content_type(self) -> str:
        return openmetrics.CONTENT_TYPE_LATEST if self.openmetrics else classic.CONTENT_TYPE_PLAIN_0_0_4

    @classmethod
    def wanted(cls, accept: str, encoding: str) -> Format:
        """The best that we have for these two headers."""
        kinds = [kind.partition(";")[0].strip() for kind in accept.split(",")]
        first = next((kind for kind in kinds if kind in {"application/openmetrics-text", "text/plain"}), "")
        codings = [coding.strip().replace(" ", "") for coding in encoding.lower().split(",")]
        zipped = any(coding.partition(";")[0] == "gzip" and not coding.endswith(";q=0") for coding in codings)
        return cls(openmetrics=first == "application/openmetrics-text", gzip=zipped)


Page = tuple[bytes, ...]
"""The body of an answer, in pieces of at most about 64 KiB."""


class Exposition:
    """Pages of `series` and of what `process` has, which has to be small."""

    def __init__(
        self, process: CollectorRegistry, series: RolloutSeries, *, clock: Callable[[], float] = time.thread_time
    ) -> None:
        self._process, self._series = process, series
        self._clock = clock
        self._wanted: dict[Format, asyncio.Future[Page]] = {}
        self._making: asyncio.Task[None] | None = None

    async def page(self, wanted: Format) -> Page:
        """All series as they are now or later. Who asks while one is made waits for the next one."""
        if wanted not in self._wanted:
            self._wanted[wanted] = asyncio.get_running_loop().create_future()
            if self._making is None:
                self._making = asyncio.create_task(self._make_all(), name="exposition")
        return await asyncio.shield(self._wanted[wanted])

    async def close(self) -> None:
        """End what is being made; who waits for it is cancelled."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.gather(self._making, return_exceptions=True)

    async def _make_all(self) -> None:
        waiting: asyncio.Future[Page] | None = None
        try:
            while self._wanted:
                wanted, waiting = next(iter(self._wanted.items()))
                del self._wanted[wanted]
                page, busy = await self._make(wanted)
                waiting.set_result(page)
                await asyncio.sleep(min(busy * REST, LONGEST_REST))
        except Exception as error:  # noqa: BLE001 - whoever waits raises it, whatever it is
            for future in (waiting, *self._wanted.values()):
                if future is not None and not future.done():
                    future.set_exception(error)
            self._wanted.clear()
        finally:
            for future in (waiting, *self._wanted.values()):
                if future is not None and not future.done():
                    future.cancel()
            self._wanted.clear()
            self._making = None

    async def _make(self, wanted: Format) -> tuple[Page, float]:
        """A page, and the seconds of work in it."""
        zipping = zlib.compressobj(1, wbits=31) if wanted.gzip else None
        chunks: list[bytes] = []
        pending, busy, since = bytearray(), 0.0, self._clock()

        def chunk(*, last: bool = False) -> None:
            if zipping is not None:
                chunks.append(zipping.compress(pending) + (zipping.flush() if last else b""))
            else:
                chunks.append(bytes(pending))
            pending.clear()

        for piece in self._pieces(wanted.openmetrics):
            pending += piece.encode()
            if len(pending) >= CHUNK:
                chunk()
            spent = self._clock() - since
            if spent > STRETCH:
                busy += spent
                await asyncio.sleep(0)
                since = self._clock()
        chunk(last=True)
        return tuple(piece for piece in chunks if piece), busy + self._clock() - since

    def _pieces(self, om: bool) -> Iterator[str]:
        encode = openmetrics.generate_latest if om else classic.generate_latest
        for metric in self._process.collect():
            yield encode(_One(metric)).decode().removesuffix(_EOF)
        yield from self._series.text(openmetrics=om)
        if om:
            yield _EOF


class _One(CollectorRegistry):
    """A registry that has one metric, and has it ready."""

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric
