"""Libraries that another library would import if they were there, and makes do without."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Within, an import of these packages fails as where they are not installed; what is imported already stays.

    For imports at the top of a module: a thread that imports one of them meanwhile would not find it either.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's own way to say so
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
