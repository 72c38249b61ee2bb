"""What is made when it is first asked for, because its libraries take long to import and many controllers never need them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Later(Generic[T]):
    """Something that is made once, when somebody first asks for it. For one event loop.

    `load` imports what it takes and returns what makes it. It runs in a thread: nobody who does not ask waits for an import.
    What it returns is called in the event loop.
    """

    def __init__(self, load: Callable[[], Callable[[], T]]) -> None:
        self._load = load
        self.made: T | None = None
        """What was made; None: nobody has asked yet."""

    async def get(self) -> T:
        """The one thing, made now if need be. Raises whatever the import or the making raises; the next one tries again."""
        if self.made is None:
            make = await asyncio.to_thread(self._load)
            if self.made is None:  # somebody else may have asked meanwhile
                self.made = make()
        return self.made
