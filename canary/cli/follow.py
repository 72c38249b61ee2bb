"""Follows one Rollout through a watch and knows when its run is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Protocol

from canary.cli.exits import CliError, ExitCode
from canary.cli.session import missing
from canary.errors import ApiError, NotFound, NotServed, Unavailable
from canary.kube import ROLLOUTS, Kube
from canary.kube.unreached import address
from canary.model.run_status import Outcome
from canary.view.rollout import RolloutView, view

Json = dict[str, Any]

FIRST_WITHIN = 10.0
"""Seconds to wait for the first answer."""
FIRST_TRIES = 4
"""How often the first connection is tried, as often as other verbs try to read."""


class Screen(Protocol):
    """Where changes are shown."""

    async def change(self, document: Json) -> None: ...

    def trouble(self, words: str) -> None: ...


async def follow(
    kube: Kube, name: str, namespace: str, screen: Screen, *, leave: bool, first: First | None = None
) -> int:
    """Show every change until the Rollout is deleted, or with `leave` until its run is over; answers the exit code.

    `first` is for who ends this from outside, and then has to know whether anything was ever read.
    """
    seen = False
    first = first or First()
    try:
        with _told(screen, first):
            async with first.limit, aclosing(kube.list_and_watch(ROLLOUTS, namespace, name=name)) as events:
                async for event in events:
                    first.answered()
                    if event.type == "DELETED":
                        raise CliError(f"the Rollout {namespace}/{name} was deleted", ExitCode.NOT_FOUND)
                    if event.type == "SYNCED":
                        if not seen:
                            raise await missing(kube, name, namespace)
                        continue
                    seen = True
                    await screen.change(event.object)
                    code = verdict(view(event.object))
                    if leave and code is not None:
                        return code
    except (NotFound, NotServed) as error:
        raise await missing(kube, name, namespace) from error
    except TimeoutError as error:
        if not first.limit.expired():
            raise
        raise first.silence(kube.server, FIRST_WITHIN) from error
    return ExitCode.OK


class First:
    """The first answer: without one there is nothing to follow, so it is not waited for as patiently as later ones."""

    def __init__(self) -> None:
        self.limit = asyncio.timeout(FIRST_WITHIN)
        self.trouble: ApiError | None = None
        self.heard = False
        self._tries = 0

    def answered(self) -> None:
        """There is a connection; from now on it may be gone for as long as it likes."""
        if not self.heard:
            self.heard = True
            self.limit.reschedule(None)

    def silence(self, server: str, seconds: float) -> ApiError:
        """Why nothing was heard within that time: what the last try failed for, or just that nobody answered."""
        return self.trouble or Unavailable(f"no answer from {address(server)} within {seconds:g} s", reason="Timeout")

    def failed(self, error: ApiError) -> bool:
        """Note a failed try; whether that is one of those that people are told of, because there was a connection."""
        if not self.heard:
            self.trouble = error
            self._tries += 1
            if self._tries >= FIRST_TRIES:
                self.limit.reschedule(asyncio.get_running_loop().time())
        return self.heard


def verdict(rollout: RolloutView) -> int | None:
    """The exit code of a run that is over; None while there is something to wait for.

    Without any run yet there is: somebody may just have applied the Rollout. A status that is behind the spec says
    nothing about it, and neither does one with a request still to be answered (`start --no-wait`).
    """
    if rollout.active or not rollout.current or rollout.pending is not None:
        return None
    if rollout.phase == "Invalid":
        return ExitCode.ERROR
    run = rollout.status.run
    if run is None or run.outcome is None or rollout.phase == "":
        return None
    return ExitCode.OK if run.outcome is Outcome.SUCCEEDED else ExitCode.REFUSED


@contextmanager
def _told(screen: Screen, first: First) -> Iterator[None]:
    """Passes the watch's own words about broken connections on to the reader."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            error = next((part for part in record.args or () if isinstance(part, ApiError)), None)
            if error is None or first.failed(error):
                screen.trouble(record.getMessage())

    logger, handler = logging.getLogger("canary.kube"), Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
