"""When Python looks for garbage: not among imports, seldom while a controller starts, and never again in what it has by then.

Nothing is imported here, so that it can be said before anything else is.
"""

from __future__ import annotations

import gc

USUAL = gc.get_threshold()
"""Thresholds of the collector as they are before anybody changes them."""

STARTING = (50_000, 1_000, 1_000)
"""And at a start: a page of a list is parsed, read and let go, and the usual ones take that for hundreds of occasions to look for
garbage. A third of a start went into that."""


def spare() -> None:
    """While a controller is imported: what is imported stays, and going through it takes a tenth of the time to import it."""
    gc.disable()


def start() -> None:
    """While it starts: in what is imported by now nobody ever looks for garbage."""
    gc.freeze()
    gc.set_threshold(*STARTING)
    gc.enable()


def settle() -> None:
    """What is known by now stays for long.

    Going through all of it again and again, as the collector would, holds up everything else for as long as a rollback
    may take. Not even once: the little garbage that a start leaves is no reason to begin half a second later.
    """
    gc.freeze()
    gc.set_threshold(*USUAL)
