"""The last question before a write is sent: may this process still write what it decided?

A process can be stopped on any line and go on much later. What it decided before is then refused here, and what is already
on its way is refused by the API server, because the patch tests what has changed since.
"""

from __future__ import annotations

from collections.abc import Callable

Gate = Callable[[bool], None]
"""Called with whether the write gives the canary more traffic; raises StaleDecision when it must not be sent."""


def always_open(_rising: bool) -> None:
    """For those who run for one moment only."""
