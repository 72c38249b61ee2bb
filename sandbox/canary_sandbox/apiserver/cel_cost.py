"""How much a rule may cost at worst, and whether its names and types fit the schema.

The estimate follows the cost model of cel-go, upper bounds only: a name or a selection costs 1, walking text a tenth
per byte, a macro its body times the greatest number of elements. The real server refuses a rule above 10 million, and a
definition whose rules sum up to more than 100 million.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from canary.checks.cel_parser import Aggregate, Call, Comprehension, Ident, Literal, Node, Select
from canary_sandbox.apiserver.cel_shapes import BOOL, DOUBLE, DURATION, DYN, INT, STRING, TIMESTAMP, UNBOUNDED, Shape

RULE_LIMIT = 10_000_000
TOTAL_LIMIT = 100_000_000

_TEXT = 0.1
_REGEX = 0.25
_NEW_LIST = 10
_NEW_MAP = 30
_ORDERED = frozenset({"_<_", "_<=_", "_>_", "_>=_"})
_COMPARED = _ORDERED | {"_==_", "_!=_"}
_ARITHMETIC = frozenset({"_-_", "_*_", "_/_", "_%_"})
_BOOLEANS = frozenset(
    {"contains", "startsWith", "endsWith", "matches", "isSorted", "isURL", "isIP", "isCIDR", "isQuantity", "bool"}
    | {"hasValue"}
)
_INTEGERS = frozenset(
    {"size", "int", "uint", "indexOf", "lastIndexOf", "getHours", "getMinutes", "getSeconds", "getMilliseconds"}
    | {"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"}
)
_SAME_SIZE = frozenset({"substring", "lowerAscii", "upperAscii", "trim", "reverse", "charAt", "find", "string", "dyn"})
_NUMBERS = frozenset({"int", "uint", "double"})
_KEY = Shape("string", 0)
_CONVERSIONS = {"double": DOUBLE, "timestamp": TIMESTAMP, "duration": DURATION}


class CelTypeError(ValueError):
    """A name or a type that does not fit the schema. `position` is an offset into the source."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Estimate:
    """The greatest cost of an expression, and the shape of its result."""

    cost: int
    shape: Shape


def saturated(value: float) -> int:
    """Costs stop at the largest unsigned number."""
    return UNBOUNDED if value >= UNBOUNDED else math.ceil(value)


def estimate(node: Node, scope: Mapping[str, Shape]) -> Estimate:
    """Cost and shape of an expression; `scope` holds the variables. Raises CelTypeError."""
    match node:
        case Literal(kind=kind, size=size):
            return Estimate(0, Shape(kind, size))
        case Ident():
            if node.name not in scope:
                raise CelTypeError(f"undeclared reference to '{node.name}' (in container '')", node.at)
            return Estimate(1, scope[node.name])
        case Select():
            return _select(node, scope)
        case Aggregate():
            return _aggregate(node, scope)
        case Comprehension():
            return _comprehension(node, scope)
        case Call():
            return _call(node, scope)


def _select(node: Select, scope: Mapping[str, Shape]) -> Estimate:
    operand = estimate(node.operand, scope)
    shape = operand.shape
    cost = saturated(operand.cost + 1)
    match shape.kind:
        case "object":
            if node.field not in shape.fields:
                raise CelTypeError(f"undefined field '{node.field}'", node.at)
            found = shape.fields[node.field]
        case "map":
            found = shape.element or DYN
        case "dyn":
            found = DYN
        case other:
            raise CelTypeError(f"type '{other}' does not support field selection", node.at)
    return Estimate(cost, BOOL if node.test else found)


def _aggregate(node: Aggregate, scope: Mapping[str, Shape]) -> Estimate:
    members = [estimate(member, scope) for member in node.members]
    cost = sum(member.cost for member in members)
    if node.kind == "map":
        values = members[1::2]
        element = values[0].shape if values else DYN
        return Estimate(saturated(cost + _NEW_MAP), Shape("map", len(values), element))
    largest = max(members, key=lambda member: member.shape.size, default=Estimate(0, DYN))
    return Estimate(saturated(cost + _NEW_LIST), Shape("list", len(members), largest.shape))


def _comprehension(node: Comprehension, scope: Mapping[str, Shape]) -> Estimate:
    over = estimate(node.over, scope)
    shape = over.shape
    if shape.kind not in {"list", "map", "dyn"}:
        raise CelTypeError(f"expression of type '{shape.kind}' cannot be range of a comprehension", node.at)
    # A macro walks the keys of a map; the real server takes keys to be of no length, and so do we.
    element = _KEY if shape.kind == "map" else (shape.element or DYN)
    inner = {**scope, node.variable: element}
    body = estimate(node.body, inner)
    keep = estimate(node.keep, inner).cost if node.keep else 0
    if node.macro != "map":
        _require_bool(body.shape, node.macro, node.at)
    match node.macro:
        case "all":
            per_element, result, after = 3 + body.cost, BOOL, 1
        case "exists":
            per_element, result, after = 4 + body.cost, BOOL, 1
        case "exists_one":
            per_element, result, after = 3 + body.cost, BOOL, 2
        case "filter":
            per_element, result, after = 3 + _NEW_LIST + body.cost, Shape("list", shape.size, element), 1 + _NEW_LIST
        case _:
            per_element = 3 + _NEW_LIST + body.cost + keep
            result, after = Shape("list", shape.size, body.shape), 1 + _NEW_LIST
    return Estimate(saturated(over.cost + shape.size * per_element + after), result)


def _require_bool(shape: Shape, function: str, at: int) -> None:
    if shape.kind not in {"bool", "dyn"}:
        raise CelTypeError(f"expected type 'bool' but found '{shape.kind}' in {function}", at)


def _call(node: Call, scope: Mapping[str, Shape]) -> Estimate:
    parts = (*((node.target,) if node.target else ()), *node.args)
    if _is_namespace(node, scope):
        parts = node.args
    given = [estimate(part, scope) for part in parts]
    shapes = [item.shape for item in given]
    cost: float = sum(item.cost for item in given)
    if node.function == "_?_:_":
        cost = given[0].cost + max(given[1].cost, given[2].cost)
        return Estimate(saturated(cost), _common(shapes[1], shapes[2]))
    _check_operands(node, shapes)
    return Estimate(saturated(cost + _own_cost(node.function, shapes)), _result(node.function, shapes))


def _is_namespace(node: Call, scope: Mapping[str, Shape]) -> bool:
    """Whether the target is only a prefix of the function's name, as in `sets.contains(a, b)`."""
    return isinstance(node.target, Ident) and node.target.name not in scope and node.target.name in _NAMESPACES


_NAMESPACES = frozenset({"sets", "math", "optional", "base64", "strings", "format"})


def _own_cost(function: str, shapes: list[Shape]) -> float:
    sizes = [shape.size for shape in shapes]
    match function, shapes:
        case "_&&_" | "_||_", _:
            return 0
        case "@in", [_, Shape(kind="list" | "dyn")]:
            return sizes[1]
        case "startsWith" | "endsWith", [_, _]:
            return _TEXT * sizes[1]
        case "matches" | "find" | "findAll", [_, _, *_]:
            return math.ceil(_TEXT * (sizes[0] + 1)) * math.ceil(_REGEX * max(sizes[1], 1))
        case "contains", [_, _]:
            return math.ceil(_TEXT * sizes[0]) * math.ceil(_TEXT * sizes[1])
        case _, [_, _] if function in _COMPARED:
            return math.ceil(_TEXT * min(sizes)) if any(map(_is_sized, shapes)) else 1
        case "_+_", [Shape(kind="string" | "bytes" | "list"), _]:
            return _TEXT * sum(sizes)
        case "string" | "bytes" | "split" | "replace" | "join" | "lowerAscii" | "upperAscii" | "trim", [_, *_]:
            return 1 + _TEXT * sizes[0]
        case "isSorted" | "sum" | "min" | "max" | "indexOf" | "lastIndexOf", [_, *_]:
            return 1 + sizes[0]
        case _:
            return 1


def _is_sized(shape: Shape) -> bool:
    return shape.kind in {"string", "bytes", "list", "map", "object"}


def _result(function: str, shapes: list[Shape]) -> Shape:
    match function:
        case "_&&_" | "_||_" | "!_" | "@in":
            return BOOL
        case "_[_]":
            return shapes[0].element or DYN
        case "_+_" if shapes[0].kind in {"string", "bytes", "list"}:
            element = shapes[0].element
            return Shape(shapes[0].kind, min(sum(shape.size for shape in shapes), UNBOUNDED), element)
        case "-_" | "_+_":
            return shapes[0]
        case "split":
            return Shape("list", shapes[0].size, shapes[0])
        case "replace" | "join":
            return STRING
        case "charAt" | "substring" | "trim" | "lowerAscii" | "upperAscii" | "find":
            return Shape("string", shapes[0].size if shapes else 0)
        case "string":
            return Shape("string", UNBOUNDED)  # nobody says how long a text a number makes, there neither
    if function in _COMPARED or function in _BOOLEANS:
        return BOOL
    if function in _CONVERSIONS:
        return _CONVERSIONS[function]
    if function in _INTEGERS:
        return INT
    if function in _ARITHMETIC:
        return shapes[0] if shapes[0].kind in _NUMBERS else DYN
    return shapes[0] if function in _SAME_SIZE and shapes else DYN


def _common(one: Shape, other: Shape) -> Shape:
    if one.kind != other.kind:
        return other if one.kind == "null" else (one if other.kind == "null" else DYN)
    return one if one.size >= other.size else other


def _check_operands(node: Call, shapes: list[Shape]) -> None:
    """Refuse operators on types that can never fit; what is dynamic passes."""
    kinds = [_comparable_kind(shape) for shape in shapes]
    if "dyn" in kinds:
        return
    wrong = False
    if node.function in {"_&&_", "_||_", "!_"}:
        wrong = any(kind != "bool" for kind in kinds)
    elif node.function in {"_==_", "_!=_"}:
        wrong = kinds[0] != kinds[1] and "null" not in kinds
    elif node.function in _ORDERED:
        wrong = kinds[0] != kinds[1] and not set(kinds) <= _NUMBERS
    elif node.function in {"startsWith", "endsWith", "matches"}:
        wrong = kinds != ["string", "string"]
    elif node.function == "size":
        wrong = kinds[0] not in {"string", "bytes", "list", "map"}
    if wrong:
        listed = ", ".join(kinds)
        raise CelTypeError(f"found no matching overload for '{node.function}' applied to '({listed})'", node.at)


def _comparable_kind(shape: Shape) -> str:
    return "map" if shape.kind == "object" and not shape.fields else shape.kind
