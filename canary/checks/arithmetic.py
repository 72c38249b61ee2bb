"""The numbers of CEL: int and uint of 64 bits, which overflow into an error, and double as IEEE 754 has it.

Python's integers grow and its division by zero raises, so every operator is spelled out here. Each takes constant time.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

RANGES = {"int": (-(2**63), 2**63 - 1), "uint": (0, 2**64 - 1)}


class Fault(Exception):
    """An operation without a result, as CEL has it: `&&` and `||` may do without the operand in which it happened."""


def within(kind: str, number: int) -> int:
    """The number if it is an int (or uint), of 64 bits. Raises Fault."""
    low, high = RANGES[kind]
    if low <= number <= high:
        return number
    raise Fault(f"the result is outside the range of {kind}")


def _quotient(one: int, other: int) -> int:
    if other == 0:
        raise Fault("division by zero")
    size = abs(one) // abs(other)
    return size if (one < 0) == (other < 0) else -size


def _remainder(one: int, other: int) -> int:
    if other == 0:
        raise Fault("modulus by zero")
    return one - other * _quotient(one, other)


def _ratio(one: float, other: float) -> float:
    if other != 0.0:
        return one / other
    if one == 0.0 or math.isnan(one):
        return math.nan
    return math.copysign(math.inf, one) * math.copysign(1.0, other)


def _bounded(kind: str, plain: Callable[[int, int], int]) -> Callable[[Any, Any], Any]:
    low, high = RANGES[kind]

    def bounded(one: int, other: int) -> int:
        result = plain(one, other)
        return result if low <= result <= high else within(kind, result)

    return bounded


_INTEGER: dict[str, Callable[[int, int], int]] = {
    "_+_": operator.add,
    "_-_": operator.sub,
    "_*_": operator.mul,
    "_/_": _quotient,
    "_%_": _remainder,
}

ARITHMETIC: dict[tuple[str, str], Callable[[Any, Any], Any]] = {
    ("_+_", "double"): operator.add,
    ("_-_", "double"): operator.sub,
    ("_*_", "double"): operator.mul,
    ("_/_", "double"): _ratio,
} | {(name, kind): _bounded(kind, plain) for name, plain in _INTEGER.items() for kind in RANGES}
"""By operator and the type that both operands have; CEL converts nothing by itself."""

ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
"""Numbers are compared across their types, and exactly, which is what Python does too."""


def negation(kind: str) -> Callable[[Any], Any]:
    """`-x` of an int or a double."""
    return operator.neg if kind == "double" else lambda number: within("int", -number)


def conversion(kind: str) -> Callable[[Any], Any]:
    """`int(x)`, `uint(x)` or `double(x)` of a number; fractions are cut off."""
    if kind == "double":
        return float

    def convert(number: float) -> int:
        if not math.isfinite(number):
            raise Fault(f"{kind}() of a number that is not finite")
        return within(kind, int(number))

    return convert
