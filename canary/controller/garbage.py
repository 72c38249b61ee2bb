"""When Python looks for garbage: not among imports, seldom while a controller starts, and never again in what it has by then.

Nothing is imported here, so that it can be said before anything else is.
"""

from __future__ import annotations

import gc

USUAL = gc.get_threshold()
"""Thresholds of the collector as they are before anybody changes them."""

STARTING = (500_000, 1_000, 1_000)
"""And at a start: a page of a list is parsed, read and let go, and the usual ones take that for hundreds of occasions to look for
garbage. In fifty thousand objects that a start keeps there are a dozen that are garbage, and to find them takes as long as fifty looks at
Rollouts; so it is looked for when a hundred megabytes of them are new."""


SETTLED = (*USUAL[:2], 1_000_000_000)
"""And at work: what is young is looked through as usual, and what is not only when somebody says so (`calm.py`)."""


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
    may take. Not even once: the little garbage that a start leaves is no reason to begin half a second later. Nor may it go through
    all that comes afterwards whenever that has grown by a quarter, as it does while a thousand runs begin, or fail.
    """
    gc.freeze()
    gc.set_threshold(*SETTLED)
