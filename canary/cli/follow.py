"""Follows one Rollout through a watch and knows when its run is over."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Protocol

from canary.cli.exits import CliError, ExitCode
from canary.cli.session import missing
from canary.cli.view import RolloutView, view
from canary.errors import NotFound
from canary.kube import ROLLOUTS, Kube
from canary.model.status import Outcome

Json = dict[str, Any]


class Screen(Protocol):
    """Where changes are shown."""

    async def change(self, document: Json) -> None: ...

    def trouble(self, words: str) -> None: ...


async def follow(kube: Kube, name: str, namespace: str, screen: Screen, *, leave: bool) -> int:
    """Show every change until the Rollout is deleted, or with `leave` until its run is over; answers the exit code."""
    seen = False
    try:
        with _told(screen):
            async with aclosing(kube.list_and_watch(ROLLOUTS, namespace, name=name)) as events:
                async for event in events:
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
    except NotFound as error:
        raise await missing(kube, name, namespace) from error
    return ExitCode.OK


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
def _told(screen: Screen) -> Iterator[None]:
    """Passes the watch's own words about broken connections on to the reader."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            screen.trouble(record.getMessage())

    logger, handler = logging.getLogger("canary.kube"), Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
