"""A property that is found out once: `functools.cached_property` without the lock that it takes before Python 3.12."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    once = cached_property
else:

    class once:  # noqa: N801 - used as the decorator that it stands for
        """Kept in the instance's `__dict__`, which is asked first from then on. For what one thread uses."""

        def __init__(self, function: Callable[[Any], Any]) -> None:
            self._function = function
            self.__doc__ = function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            found = instance.__dict__[self._name] = self._function(instance)
            return found
