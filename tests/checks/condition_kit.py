"""Random conditions: well-typed ones by the grammar of what a condition may say, and text that only looks like one."""

from __future__ import annotations

from hypothesis import strategies as st

NUMBERS = ("int", "uint", "double")
ALPHABET = (
    *("values", "value", "v", "all", "exists", "exists_one", "map", "filter", "size", "double", "int", "uint", "true"),
    *("null", "in", "has", "type", "matches", " ", *"()[]{},.:?!-+*/%<>=&|", "<=", ">=", "==", "!=", "&&", "||"),
    *("0", "1", "2u", "1.5", "1e9", "0x1f", "9" * 19, '"a"', "'(a|aa)+$'", 'b"x"', "'", '"""', "//", "\n"),
    *("@", "#", "$", "`", "\\", "\u00e9", "\ud83d", "\U0001f680"),
)
"""Words of CEL, and a few that are none."""


def nested(depth: int, last: str = "v0 < 1.0") -> str:
    """Comprehensions over `values` inside one another."""
    for level in reversed(range(depth)):
        last = f"values.all(v{level}, {last})"
    return last


def garbage() -> st.SearchStrategy[str]:
    """Text that a parser has to cope with."""
    words = st.lists(st.sampled_from(ALPHABET), max_size=400).map(" ".join)
    repeated = st.tuples(st.sampled_from(ALPHABET), st.integers(1, 1024)).map(lambda pair: pair[0] * pair[1])
    pieces = st.lists(st.one_of(repeated, words), max_size=4).map("".join)
    return st.one_of(st.text(max_size=1024), words, pieces).map(lambda text: text[:1024])


@st.composite
def conditions(draw: st.DrawFn, depth: int = 4) -> str:
    """A condition: types fit, but it may cost anything."""
    scope = {"value": "double", "values": "list double"}
    return _expression(draw, "bool", depth, scope)


def _expression(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    leaves = [name for name, found in scope.items() if found == kind]
    if leaves and draw(st.integers(0, 3)) > 0:
        return draw(st.sampled_from(leaves))
    if depth == 0:
        return _constant(draw, kind)
    make = draw(st.sampled_from(_MAKERS[kind.partition(" ")[0]]))
    return make(draw, kind, depth - 1, scope)


def _constant(draw: st.DrawFn, kind: str) -> str:
    match kind:
        case "bool":
            return draw(st.sampled_from(("true", "false")))
        case "int":
            return draw(st.sampled_from(("0", "1", "-1", "3", "0x7f", "9223372036854775807", "-9223372036854775807")))
        case "uint":
            return draw(st.sampled_from(("0u", "1u", "7u", "18446744073709551615u")))
        case "double":
            return draw(st.sampled_from(("0.0", "1.0", "-2.5", ".5", "1e3", "1e308", "0.1")))
        case "list int":
            return "[1, 2]"
        case "list uint":
            return "[1u]"
        case "list bool":
            return "[true]"
        case "list double":
            return "[0.5]"
    return f"[{_constant(draw, kind.removeprefix('list '))}]"


def _number(draw: st.DrawFn, _: str, depth: int, scope: dict[str, str]) -> tuple[str, str]:
    return tuple(_expression(draw, draw(st.sampled_from(NUMBERS)), depth, scope) for _ in "12")  # type: ignore[return-value]


def _list_kind(draw: st.DrawFn, depth: int) -> str:
    return "list " + draw(st.sampled_from(("double", "int", "list double")[: 3 if depth > 1 else 2]))


def _logic(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    one, other = (_expression(draw, kind, depth, scope) for _ in "12")
    return draw(st.sampled_from((f"({one} && {other})", f"({one} || {other})", f"!({one})")))


def _comparison(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    one, other = _number(draw, kind, depth, scope)
    return f"({one} {draw(st.sampled_from(('<', '<=', '>', '>=', '==', '!=')))} {other})"


def _list_equality(draw: st.DrawFn, _: str, depth: int, scope: dict[str, str]) -> str:
    kind = _list_kind(draw, depth)
    one, other = (_expression(draw, kind, depth, scope) for _ in "12")
    return f"({one} {draw(st.sampled_from(('==', '!=')))} {other})"


def _membership(draw: st.DrawFn, _: str, depth: int, scope: dict[str, str]) -> str:
    kind = _list_kind(draw, depth)
    return f"({_expression(draw, kind.removeprefix('list '), depth, scope)} in {_expression(draw, kind, depth, scope)})"


def _choice(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    condition = _expression(draw, "bool", depth, scope)
    one, other = (_expression(draw, kind, depth, scope) for _ in "12")
    return f"({condition} ? {one} : {other})"


def _search(draw: st.DrawFn, _: str, depth: int, scope: dict[str, str]) -> str:
    over, name, inner = _walked(draw, _list_kind(draw, depth), depth, scope)
    macro = draw(st.sampled_from(("all", "exists", "exists_one")))
    return f"{over}.{macro}({name}, {_expression(draw, 'bool', depth, inner)})"


def _walked(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> tuple[str, str, dict[str, str]]:
    name = draw(st.sampled_from(("v", "w", "value", f"x{len(scope)}")))
    return _expression(draw, kind, depth, scope), name, {**scope, name: kind.removeprefix("list ")}


def _operation(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    one, other = (_expression(draw, kind, depth, scope) for _ in "12")
    operators = {"double": "+-*/", "int": "+-*/%", "uint": "+-*/%"}[kind]
    return f"({one} {draw(st.sampled_from(operators))} {other})"


def _converted(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    # The library takes uint(-0.5) for 0 and int(1e308) for an error; so do we, but nobody has to.
    sources = {"double": ("int", "uint", "double"), "int": ("int", "uint"), "uint": ("int", "uint")}[kind]
    return f"{kind}({_expression(draw, draw(st.sampled_from(sources)), depth, scope)})"


def _negated(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    # The library negates the least int into itself; the specification, and we, have an error there.
    return f"{'0 -' if kind == 'int' else '-'} ({_expression(draw, kind, depth, scope)})"


def _sized(draw: st.DrawFn, _: str, depth: int, scope: dict[str, str]) -> str:
    listed = _expression(draw, _list_kind(draw, depth), depth, scope)
    return draw(st.sampled_from((f"size({listed})", f"{listed}.size()")))


def _element(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    index = _expression(draw, draw(st.sampled_from(("int", "uint"))), depth, scope)
    return f"{_expression(draw, f'list {kind}', depth, scope)}[{index}]"


def _listed(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    element = kind.removeprefix("list ")
    return "[" + ", ".join(_expression(draw, element, depth, scope) for _ in range(draw(st.integers(1, 3)))) + "]"


def _joined(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    one, other = (_expression(draw, kind, depth, scope) for _ in "12")
    return f"({one} + {other})"


def _filtered(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    over, name, inner = _walked(draw, kind, depth, scope)
    return f"{over}.filter({name}, {_expression(draw, 'bool', depth, inner)})"


def _mapped(draw: st.DrawFn, kind: str, depth: int, scope: dict[str, str]) -> str:
    over, name, inner = _walked(draw, _list_kind(draw, depth), depth, scope)
    body = _expression(draw, kind.removeprefix("list "), depth, inner)
    if draw(st.booleans()):
        return f"{over}.map({name}, {_expression(draw, 'bool', depth, inner)}, {body})"
    return f"{over}.map({name}, {body})"


_MAKERS = {
    "bool": (_logic, _comparison, _list_equality, _membership, _choice, _search, _search),
    "int": (_operation, _converted, _negated, _sized, _element, _choice),
    "uint": (_operation, _converted, _element, _choice),
    "double": (_operation, _converted, _negated, _element, _choice),
    "list": (_listed, _joined, _filtered, _mapped, _choice),
}
