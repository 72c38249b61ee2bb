"""What an expression is compiled to: a type, what it may cost, and a function that draws its steps from a meter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SLICE = 1000
"""Steps after which a run pauses, so that somebody else gets a turn: a tenth of a millisecond or two."""

NUMBERS = frozenset({"int", "uint", "double"})

Frame = list[Any]
"""The meter, then what each variable stands for."""

Run = Callable[[Frame], Any]


class CelTypeError(ValueError):
    """What is refused: a name, a function or a combination of types."""


class OutOfSteps(Exception):
    """The meter is empty. Nothing in an expression can go on from here."""


class Meter:
    """Counts the steps of one run. `pause` is called every thousand; it may raise, which ends the run."""

    __slots__ = ("_budget", "_left", "_pause")

    def __init__(self, budget: int, pause: Callable[[], None]) -> None:
        self._left = min(SLICE, budget)
        self._budget = budget - self._left
        self._pause = pause

    def draw(self, steps: int) -> None:
        """Take steps, before they are run. Raises OutOfSteps."""
        self._left -= steps
        if self._left < 0:
            self._budget += self._left
            if self._budget < 0:
                raise OutOfSteps
            self._pause()
            self._left = min(SLICE, self._budget)
            self._budget -= self._left


@dataclass(frozen=True, slots=True)
class Type:
    """A type. A list has at most `size` elements; one that is written as `[]` has elements of no type."""

    kind: str
    size: int = 0
    element: Type | None = None

    @property
    def parts(self) -> int:
        """The most values that one of this type consists of, itself included."""
        return 1 + self.size * (self.element.parts if self.element else 0)

    def __str__(self) -> str:
        return self.kind if self.kind != "list" else f"list({self.element or ''})"


BOOL, INT, UINT, DOUBLE = Type("bool"), Type("int"), Type("uint"), Type("double")
SCALARS = {"bool": BOOL, "int": INT, "uint": UINT, "double": DOUBLE}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A part of an expression: its type, what it costs, and how it is run.

    `own` steps are drawn by whatever runs it; `drawn` is the most that it draws by itself.
    """

    type: Type
    own: int
    drawn: int
    run: Run

    @property
    def steps(self) -> int:
        """The most that it costs."""
        return self.own + self.drawn


def composed(kind: Type, parts: list[Compiled], run: Run, *, drawn: int = 0) -> Compiled:
    """A node over parts that are run once each; `drawn` is the most that it draws besides."""
    return Compiled(kind, 1 + sum(part.own for part in parts), drawn + sum(part.drawn for part in parts), run)


def common(one: Type, other: Type, what: str) -> Type:
    """The type that two values have in common. Raises CelTypeError."""
    if one.kind != other.kind:
        raise CelTypeError(f"{what} are of one type, and here are {one} and {other}; double(x) converts")
    if one.element is None or other.element is None:
        return Type(one.kind, max(one.size, other.size), one.element or other.element)
    return Type(one.kind, max(one.size, other.size), common(one.element, other.element, what))


def comparable(one: Type, other: Type) -> bool:
    """Whether equality can be asked: numbers of any types, bools, and lists of such."""
    if one.kind == other.kind == "list":
        return one.element is None or other.element is None or comparable(one.element, other.element)
    return one.kind == other.kind or {one.kind, other.kind} <= NUMBERS
