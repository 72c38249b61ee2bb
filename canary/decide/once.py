"""What is found out once: properties (`functools.cached_property` without the lock that it takes before Python 3.12), and questions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")

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


def asked_once(function: Callable[[S], T]) -> Callable[[S], T]:
    """A question about something immutable, answered once for each: the answer is kept where its properties are."""
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def answer(about: S) -> T:
        kept = about.__dict__
        if name not in kept:
            kept[name] = function(about)
        found: T = kept[name]
        return found

    return answer


def asked_once_of(function: Callable[[S, U], T]) -> Callable[[S, U], T]:
    """The same of a question about something immutable and one thing in it. Whoever asks leaves the answer as it is."""
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def answer(about: S, thing: U) -> T:
        kept: dict[int, tuple[U, T]] | None = about.__dict__.get(name)
        if kept is None:
            kept = about.__dict__[name] = {}
        found = kept.get(id(thing))
        if found is None:
            found = kept[id(thing)] = thing, function(about, thing)  # kept along, so that nothing else gets its id
        return found[1]

    return answer
