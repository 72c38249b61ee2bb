"""The two screens of `canary watch`: a picture that is redrawn in place, and lines that are appended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live as RichLive
from rich.text import Text

from canary.cli.options import program
from canary.cli.output import ENDLESS, PHASE_STYLES, Symbols, phase_symbol, show, symbols_for
from canary.cli.render_status import render_status
from canary.cli.render_watch import render_watch
from canary.cli.session import events_of
from canary.kube import Kube
from canary.view.rollout import short_status, view
from canary.view.words import clean, since

Json = dict[str, Any]

EVENTS_LATER = 2.0
"""Seconds after a change to look for events once more: they are written after the status that they explain."""


TROUBLE_SHOWN = timedelta(minutes=1)
"""A lost connection that has not been complained of for so long is back: nobody says so by itself."""


class Live:
    """Redraws the picture on every change, and once a second because of the times in it. Asks only on changes.

    It uses the terminal's other screen, so that what was there before comes back, however this ends: after a run that
    is over with the whole picture below it, else with a line about where things stood.
    """

    def __init__(self, console: Console, kube: Kube) -> None:
        self._kube = kube
        self._console = console
        self._symbols = symbols_for(console)
        self._live = RichLive(console=console, auto_refresh=False, screen=True, vertical_overflow="crop")
        self._document: Json | None = None
        self._events: list[Json] | None = []
        self._trouble: tuple[datetime, str] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._read_events())]
        loop = asyncio.get_running_loop()
        for name, handle in self._signals().items():
            with suppress(NotImplementedError, AttributeError):  # not on every system
                loop.add_signal_handler(getattr(signal, name), handle)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._live.stop()
        loop = asyncio.get_running_loop()
        for name in self._signals():
            with suppress(NotImplementedError, AttributeError):
                loop.remove_signal_handler(getattr(signal, name))
        if self._document is None:
            return
        if kind is None:  # the run is over: how it went is worth a picture, and the last Events came after the status
            self._events = await events_of(self._kube, self._document)
            now = datetime.now(UTC)
            show(
                self._console,
                render_status(self._document, self._events, now, symbols=self._symbols, program=program()),
            )
        else:
            line = Text.assemble((f"{name_of(self._document)}  ", "bold"), change_line(self._document, self._symbols))
            show(self._console, line, width=ENDLESS)

    async def change(self, document: Json) -> None:
        self._document, self._trouble = document, None
        self._live.start()  # only now: whether there is anything to follow is known
        self._changed.set()
        self._draw()

    def trouble(self, words: str) -> None:
        self._trouble = datetime.now(UTC), words
        self._draw()

    def _signals(self) -> dict[str, Callable[[], None]]:
        """Signals by name: a new size is drawn at once; what ends or stops the process leaves the screen first."""
        return {
            "SIGWINCH": self._draw,
            "SIGTERM": lambda: self._give_way(signal.SIGTERM),
            "SIGHUP": lambda: self._give_way(signal.SIGHUP),
            "SIGTSTP": lambda: self._give_way(signal.SIGTSTP),
        }

    def _give_way(self, number: signal.Signals) -> None:
        """Take the signal as if nobody handled it, with the terminal as it was; go on if it brings us back (`fg`)."""
        loop = asyncio.get_running_loop()
        self._live.stop()
        loop.remove_signal_handler(number)
        os.kill(os.getpid(), number)
        loop.add_signal_handler(number, lambda: self._give_way(number))
        if self._document is not None:
            self._live.start()
            self._draw()

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
        if self._document is None or not self._live.is_started:
            return
        now = datetime.now(UTC)
        trouble = ""
        if self._trouble is not None and now - self._trouble[0] < TROUBLE_SHOWN:
            trouble = f"{since(self._trouble[0], now)}: {self._trouble[1]}"
        lines = render_watch(
            self._document,
            self._events,
            now,
            (self._console.width, self._console.height),
            symbols=self._symbols,
            program=program(),
            trouble=trouble,
        )
        self._live.update(Text("\n", no_wrap=True, overflow="crop", end="").join(lines), refresh=True)


def name_of(document: Json) -> str:
    """Namespace and name."""
    rollout = view(document)
    return f"{rollout.namespace}/{rollout.name}"


def change_line(document: Json, symbols: Symbols) -> Text:
    """Where a Rollout stands, in one line."""
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
    sign = f"{phase_symbol(rollout.phase, symbols)} "
    return Text.assemble((sign, PHASE_STYLES.get(rollout.phase, "")), "  ".join(word for word in words if word))


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
        line = change_line(document, self._symbols)
        if line.plain == self._last:
            return
        self._last = line.plain
        now = f"{datetime.now(UTC):%H:%M:%S}Z "
        show(self._console, Text.assemble((now, "dim"), line), width=ENDLESS)

    def trouble(self, words: str) -> None:
        show(self._console, Text(f"connection lost: {clean(words)}", style="yellow"), width=ENDLESS)
