"""What the sandbox's parts have in common: each is made of other parts, and ends them in reverse order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self


class Composite(ABC):
    """An async context that enters others. If one of them fails to start, those that had started are ended."""

    _stack: AsyncExitStack

    @abstractmethod
    async def _enter(self, stack: AsyncExitStack) -> None:
        """Start everything, and put on the stack what has to be ended."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._enter(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
