"""How far long work is, for who waits at a terminal: on standard error, where it is in nobody's way."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self, TextIO

EVERY = 0.2
"""Seconds between two signs of life at a terminal."""

LINES = 10.0
"""The same where there is none, and each is a line of its own."""


class Progress:
    """Says what is done and how much of it. Where nobody sees it (no terminal), a line now and then, and none for quick work."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._drawn = 0
        self._terminal = stream.isatty()
        self._next = clock() + (EVERY if self._terminal else LINES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._stream.flush()

    def says(self, what: str, done: int, whole: int) -> None:
        """So many of `whole` are done of what this is called."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + (EVERY if self._terminal else LINES)
        words = f"{what}: {100 * done // max(whole, 1)} %"
        if self._terminal:
            self._stream.write("\r" + words.ljust(self._drawn))
            self._drawn = max(self._drawn, len(words))
        else:
            self._stream.write(words + "\n")
        self._stream.flush()
