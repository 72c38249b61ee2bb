"""What a watch does when it cannot see: how long it pauses, who is told, and what is said."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Protocol

from canary.backoff import Backoff
from canary.errors import ApiError
from canary.kube.pace import TURNS, Silent

log = logging.getLogger(__name__)

BLINK = 1.0
"""Seconds that an answer may take before what is asked for counts as lost."""
WATCH = Backoff(0.2, 1.5, obeys=10.0)
"""Sight is back within two seconds when the server is; within ten and a half where it has said Retry-After."""
REMINDER = 30.0
"""Seconds after which trouble that lasts is mentioned again."""


class Eyes(Protocol):
    """Somebody who wants to know when a watch sees nothing. Who has eyes says so in the log, too."""

    def lost(self, seconds: float, why: str) -> None:
        """It is out of sight since so many seconds ago. May be said again, with another reason."""
        ...

    def suspect(self) -> None:
        """Its connection has died in silence: others may have as well."""
        ...

    def found(self) -> None:
        """It is in sight; said whenever the watch is opened."""
        ...


class Outage:
    """The trouble of one watch, over all its connections."""

    def __init__(self, what: str, eyes: Eyes | None = None) -> None:
        self._what = what
        self._eyes = eyes
        self._failures = 0
        self._blink: asyncio.Handle | None = None
        self._since: float | None = None
        self._said = 0.0

    def watched_by(self, eyes: Eyes | None) -> None:
        """From now on these eyes want to know."""
        self._eyes = eyes

    def opening(self) -> None:
        """A list or a watch is asked for: if the answer takes long, we are blind meanwhile, without any error."""
        self._stop_blinking()
        self._blink = asyncio.get_running_loop().call_later(BLINK, self._unanswered, time.monotonic(), TURNS)

    def answered(self) -> None:
        """A page of a list is there. How long we take over it is no silence of the server's."""
        self._stop_blinking()

    def opened(self) -> None:
        """The watch is open."""
        self._stop_blinking()
        if self._eyes is not None:
            self._eyes.found()
        if self._since is not None:
            self._say(logging.INFO, "watching %s again, after %.1f s", self._what, time.monotonic() - self._since)
            self._since = None

    def steady(self) -> None:
        """It works: the next failure is the first one again."""
        self._failures = 0

    def failed(self, error: ApiError, heard: float) -> float:
        """It does not work. Returns for how many seconds to pause.

        `heard` is when (time.monotonic) something came last, or, if it was never open, when it was asked for.
        """
        self._stop_blinking()
        self._lost(heard, str(error))
        self._complain(error)
        if self._eyes is not None and isinstance(error, Silent):
            self._eyes.suspect()
        self._failures += 1
        return WATCH.pause(self._failures, error)

    def close(self) -> None:
        """Nobody watches any more."""
        self._stop_blinking()

    def _unanswered(self, since: float, turns: int) -> None:
        """Time is over. What came in while our loop was busy is read first, however busy that is."""
        if turns:
            self._blink = asyncio.get_running_loop().call_soon(self._unanswered, since, turns - 1)
        else:
            self._lost(since, "no answer")

    def _lost(self, since: float, why: str) -> None:
        if self._eyes is not None:
            self._eyes.lost(max(0.0, time.monotonic() - since), why)

    def _complain(self, error: ApiError) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        elif now - self._said < REMINDER:
            return
        self._said = now
        self._say(logging.WARNING, "cannot watch %s: %s; trying again until it works", self._what, error)

    def _say(self, level: int, text: str, *values: object) -> None:
        log.log(
            level if self._eyes is None else logging.DEBUG, text, *values
        )  # who has eyes speaks for all that they lose

    def _stop_blinking(self) -> None:
        if self._blink is not None:
            self._blink.cancel()
            self._blink = None
