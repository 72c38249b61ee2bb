"""Operators and functions of conditions: each from its name and its operands to what is run, or None where no types fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from canary.checks.arithmetic import ARITHMETIC, ORDER, RANGES, Fault, conversion, negation
from canary.checks.program import (
    BOOL,
    DOUBLE,
    INT,
    NUMBERS,
    SCALARS,
    Compiled,
    Frame,
    Type,
    common,
    comparable,
    composed,
)


def _logic(name: str, parts: list[Compiled]) -> Compiled | None:
    if [part.type.kind for part in parts] != ["bool", "bool"]:
        return None
    first, second, decisive = parts[0].run, parts[1].run, name == "_||_"

    def run(frame: Frame) -> bool:
        try:
            if first(frame) == decisive:
                return decisive
        except Fault:
            if second(frame) == decisive:
                return decisive
            raise
        return bool(second(frame))

    return composed(BOOL, parts, run)


def _not(_: str, parts: list[Compiled]) -> Compiled | None:
    run = parts[0].run
    return composed(BOOL, parts, lambda frame: not run(frame)) if parts[0].type.kind == "bool" else None


def _negative(_: str, parts: list[Compiled]) -> Compiled | None:
    kind = parts[0].type.kind
    if kind not in {"int", "double"}:
        return None
    run, negate = parts[0].run, negation(kind)
    return composed(parts[0].type, parts, lambda frame: negate(run(frame)))


def _choice(_: str, parts: list[Compiled]) -> Compiled | None:
    condition, then, otherwise = (part.run for part in parts)
    if parts[0].type.kind != "bool":
        return None
    kind = common(parts[1].type, parts[2].type, "what stands on both sides of `:`")
    return composed(kind, parts, lambda frame: then(frame) if condition(frame) else otherwise(frame))


def _ordered(name: str, parts: list[Compiled]) -> Compiled | None:
    kinds = {part.type.kind for part in parts}
    if not kinds <= NUMBERS and kinds != {"bool"}:
        return None
    one, other, compare = parts[0].run, parts[1].run, ORDER[name]
    return composed(BOOL, parts, lambda frame: compare(one(frame), other(frame)))


def _equality(name: str, parts: list[Compiled]) -> Compiled | None:
    kinds = [part.type for part in parts]
    if not comparable(*kinds):
        return None
    one, other, wanted = parts[0].run, parts[1].run, name == "_==_"
    if kinds[0].kind != "list":
        return composed(BOOL, parts, lambda frame: (one(frame) == other(frame)) is wanted)
    drawn = min(kind.parts for kind in kinds)
    return composed(
        BOOL, parts, lambda frame: _equal(one(frame), other(frame), frame[0].draw) is wanted, drawn=drawn
    )  # fmt: skip


def _equal(one: Any, other: Any, draw: Callable[[int], None]) -> bool:
    """Not Python's equality of lists, which takes a NaN for itself and counts no steps."""
    draw(1)
    if not isinstance(one, list):
        return bool(one == other)
    return len(one) == len(other) and all(_equal(a, b, draw) for a, b in zip(one, other, strict=True))


def _in(_: str, parts: list[Compiled]) -> Compiled | None:
    item, within_ = parts[0].type, parts[1].type
    if within_.kind != "list" or (within_.element is not None and not comparable(item, within_.element)):
        return None
    wanted, among = parts[0].run, parts[1].run
    drawn = within_.size * min(item.parts, within_.element.parts if within_.element else 0)

    def run(frame: Frame) -> bool:
        value, draw = wanted(frame), frame[0].draw
        return any(_equal(value, other, draw) for other in among(frame))

    return composed(BOOL, parts, run, drawn=drawn)


def _arithmetic(name: str, parts: list[Compiled]) -> Compiled | None:
    one, other = parts[0].type, parts[1].type
    if name == "_+_" and one.kind == other.kind == "list":
        return _joined(parts)
    operate = ARITHMETIC.get((name, one.kind))
    if operate is None or one.kind != other.kind:
        return None
    first, second = parts[0].run, parts[1].run
    return composed(one, parts, lambda frame: operate(first(frame), second(frame)))


def _joined(parts: list[Compiled]) -> Compiled:
    first, second = parts[0].run, parts[1].run
    size = sum(part.type.size for part in parts)
    element = common(parts[0].type, parts[1].type, "the elements of a list").element

    def run(frame: Frame) -> list[Any]:
        one, other = first(frame), second(frame)
        frame[0].draw(len(one) + len(other))
        joined: list[Any] = one + other
        return joined

    return composed(Type("list", size, element), parts, run, drawn=size)


def _element(_: str, parts: list[Compiled]) -> Compiled | None:
    if parts[0].type.kind != "list" or parts[1].type.kind not in RANGES:
        return None
    of, at = parts[0].run, parts[1].run

    def run(frame: Frame) -> Any:
        items, index = of(frame), at(frame)
        if not 0 <= index < len(items):
            raise Fault(f"there is no element {index} among {len(items)}")
        return items[index]

    return composed(parts[0].type.element or DOUBLE, parts, run)


def _size(_: str, parts: list[Compiled]) -> Compiled | None:
    if len(parts) != 1 or parts[0].type.kind != "list":
        return None
    run = parts[0].run
    return composed(INT, parts, lambda frame: len(run(frame)))


def _converted(name: str, parts: list[Compiled]) -> Compiled | None:
    if len(parts) != 1 or parts[0].type.kind not in NUMBERS:
        return None
    run, convert = parts[0].run, conversion(name)
    return composed(SCALARS[name], parts, lambda frame: convert(run(frame)))


METHODS = frozenset({"size"})
FUNCTIONS: dict[str, Callable[[str, list[Compiled]], Compiled | None]] = {
    "_&&_": _logic,
    "_||_": _logic,
    "!_": _not,
    "-_": _negative,
    "_?_:_": _choice,
    **dict.fromkeys(ORDER, _ordered),
    "_==_": _equality,
    "_!=_": _equality,
    "@in": _in,
    **dict.fromkeys(("_+_", "_-_", "_*_", "_/_", "_%_"), _arithmetic),
    "_[_]": _element,
    "size": _size,
    **dict.fromkeys(NUMBERS, _converted),
}
