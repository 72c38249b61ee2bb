"""The two screens of `canary watch`: a picture that is redrawn, and lines that are appended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.text import Text

from canary.cli.output import PHASE_STYLES, phase_symbol, show, symbols_for
from canary.cli.render_status import render_status
from canary.cli.session import events_of
from canary.cli.view import short_status, view
from canary.cli.words import clean
from canary.kube import Kube

Json = dict[str, Any]

EVENTS_LATER = 2.0
"""Seconds after a change to look for events once more: they are written after the status that they explain."""


class Live:
    """Redraws the picture on every change, and once a second because of the times in it. Asks only on changes."""

    def __init__(self, console: Console, kube: Kube) -> None:
        self._kube = kube
        self._console = console
        self._symbols = symbols_for(console)
        # Taller than the terminal is cut: else each redraw would scroll the old picture into the history.
        self._live = RichLive(console=console, auto_refresh=False, transient=True, vertical_overflow="ellipsis")
        self._document: Json | None = None
        self._events: list[Json] | None = []
        self._trouble = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._live.start()
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._read_events())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._live.stop()
        if self._document is not None:  # the last picture stays, whole
            show(self._console, self._picture(compact=False))

    async def change(self, document: Json) -> None:
        self._document, self._trouble = document, ""
        self._changed.set()
        self._draw()

    def trouble(self, words: str) -> None:
        self._trouble = words

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._draw()

    async def _read_events(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for pause in (0.0, EVENTS_LATER):
                await asyncio.sleep(pause)
                if self._document is not None:
                    self._events = await events_of(self._kube, self._document)
                    self._draw()

    def _draw(self) -> None:
        if self._document is not None:
            self._live.update(self._picture(compact=True), refresh=True)

    def _picture(self, *, compact: bool) -> RenderableType:
        document = self._document or {}
        picture = render_status(document, self._events, datetime.now(UTC), symbols=self._symbols, compact=compact)
        if not self._trouble:
            return picture
        return Group(picture, Text(), Text(f"connection lost: {clean(self._trouble)}", style="yellow"))


class Lines:
    """One line for each change, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._symbols = symbols_for(console)
        self._last = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def change(self, document: Json) -> None:
        rollout = view(document)
        step, weight, observed, checks = short_status(rollout)
        words = [
            rollout.phase or "not seen yet",
            step and f"step {step}",
            weight and f"weight {weight} %",
            observed and f"observed {observed} %",
            checks and f"checks {checks}",
            " ".join(clean(rollout.status.message).split()),
        ]
        line = "  ".join(word for word in words if word)
        if line == self._last:
            return
        self._last = line
        sign = f"{phase_symbol(rollout.phase, self._symbols)} "
        now = f"{datetime.now(UTC):%H:%M:%S}Z "
        text = Text.assemble((now, "dim"), (sign, PHASE_STYLES.get(rollout.phase, "")), line)
        show(self._console, text, width=10_000)

    def trouble(self, words: str) -> None:
        show(self._console, Text(f"connection lost: {clean(words)}", style="yellow"), width=10_000)
