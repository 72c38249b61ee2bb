"""From the tree of a condition to something that runs: its types, what it may cost at worst, and a function.

All three come from one walk over the tree, so that what is estimated is what is run. The language is what can be said of
numbers in CEL: bool, int, uint, double and lists of them, the macros, `size` and conversions. Everything else (text, maps,
times, functions nobody knows) is refused by name.

The unit of cost is a *step*: one node of the tree, run once. A macro runs its body once for each element; comparing and
joining lists costs a step per element. Whatever may run often draws its steps from a `Meter` before it runs, by the same
numbers that the estimate adds up: `steps` is the most that a run can draw, and no run goes on past what its meter has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canary.checks.arithmetic import Fault, within
from canary.checks.cel_parser import DEEPEST, Aggregate, Call, Comprehension, Ident, Literal, Node, Select
from canary.checks.macros import MACROS
from canary.checks.operators import FUNCTIONS, METHODS
from canary.checks.program import (
    BOOL,
    DOUBLE,
    NUMBERS,
    SCALARS,
    CelTypeError,
    Compiled,
    Frame,
    Meter,
    Type,
    common,
    composed,
)

RESERVED = frozenset(
    word
    for words in (
        ("as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"),
        ("namespace", "null", "package", "return", "true", "var", "void", "while"),
    )
    for word in words
)
"""Words that are no names."""


def compile_tree(tree: Node, variables: Mapping[str, Type]) -> Compiled:
    """Compile an expression over `variables`, which stand in this order in the frame, after the meter.

    Raises:
        CelTypeError: it is not about numbers, or its types do not fit.

    """
    scope = {name: (index, kind) for index, (name, kind) in enumerate(variables.items(), 1)}
    return _Compiler(len(scope)).compile(tree, scope)


def frame_of(meter: Meter, *values: Any) -> Frame:
    """What an expression is run with. Names that macros bind come after the variables, one each."""
    return [meter, *values, *[None] * DEEPEST]


Scope = Mapping[str, tuple[int, Type]]


class _Compiler:
    def __init__(self, variables: int) -> None:
        self._variables = variables
        self._depth = 0

    def compile(self, node: Node, scope: Scope) -> Compiled:
        self._depth += 1
        if self._depth > DEEPEST:
            raise CelTypeError(f"more than {DEEPEST} operators on top of one another; split it into several checks")
        match node:
            case Literal():
                found = _literal(node)
            case Ident(name=name):
                found = _variable(name, scope)
            case Select(operand=Ident(name=name)) if name not in scope:
                raise CelTypeError(f"undeclared reference to '{name}'")
            case Select(field=field):
                raise CelTypeError(f"numbers and lists have no field '{field}'")
            case Aggregate():
                found = self._list(node, scope)
            case Comprehension():
                found = self._comprehension(node, scope)
            case Call():
                found = self._call(node, scope)
        self._depth -= 1
        return found

    def _list(self, node: Aggregate, scope: Scope) -> Compiled:
        if node.kind != "list":
            raise CelTypeError("a condition is about numbers and has no maps")
        members = [self.compile(member, scope) for member in node.members]
        element: Type | None = None
        for member in members:
            element = member.type if element is None else common(element, member.type, "the elements of a list")
        runs = [member.run for member in members]
        return composed(Type("list", len(members), element), members, lambda frame: [run(frame) for run in runs])

    def _comprehension(self, node: Comprehension, scope: Scope) -> Compiled:
        if node.variable in RESERVED:
            raise CelTypeError(f"'{node.variable}' is a reserved word")
        over = self.compile(node.over, scope)
        if over.type.kind != "list":
            raise CelTypeError(f"{node.macro}() goes through a list, and this is {over.type}")
        slot = self._variables + self._depth  # no macro inside this one has the same
        inner = {**scope, node.variable: (slot, over.type.element or DOUBLE)}
        body = self.compile(node.body, inner)
        keep = self.compile(node.keep, inner) if node.keep else None
        for part, is_predicate in ((body, node.macro != "map"), (keep, True)):
            if part is not None and is_predicate and part.type.kind != "bool":
                raise CelTypeError(f"{node.macro}() wants true or false for each element, and this is {part.type}")
        each = 1 + body.own + (keep.own if keep else 0)
        inside = body.drawn + (keep.drawn if keep else 0)
        result = {"map": Type("list", over.type.size, body.type), "filter": over.type}.get(node.macro, BOOL)
        run = MACROS[node.macro](over.run, slot, each, body.run, keep.run if keep else None)
        return Compiled(result, 1 + over.own, over.drawn + over.type.size * (each + inside), run)

    def _call(self, node: Call, scope: Scope) -> Compiled:
        if isinstance(node.target, Ident) and node.target.name not in scope:
            raise CelTypeError(f"undeclared reference to '{node.target.name}'")
        if node.function == "-_" and isinstance(node.args[0], Literal) and node.args[0].kind == "int":
            return _literal(node.args[0], negative=True)  # the least int has no positive twin
        parts = [self.compile(part, scope) for part in (*((node.target,) if node.target else ()), *node.args)]
        build = FUNCTIONS.get(node.function)
        if node.function in MACROS:
            raise CelTypeError(f"{node.function}() wants a list before it, and a name and an expression in it")
        if build is None or (node.target is not None and node.function not in METHODS):
            known = ", ".join(sorted((*METHODS, *NUMBERS, *MACROS)))
            raise CelTypeError(f"a condition has no function '{node.function}'; it has: {known}")
        found = build(node.function, parts)
        if found is None:
            listed = ", ".join(str(part.type) for part in parts)
            raise CelTypeError(f"found no matching overload for '{node.function}' applied to ({listed})")
        return found


def _literal(node: Literal, *, negative: bool = False) -> Compiled:
    value: Any
    match node.kind:
        case "bool":
            value = node.text == "true"
        case "double":
            value = float(node.text)
            if value == float("inf"):
                raise CelTypeError("a number is too large for a double")
        case "int" | "uint" as kind:
            digits = node.text.rstrip("uU")
            if len(digits) > 100:  # more than any number of 64 bits takes
                raise CelTypeError(f"a number is too large for {kind}")
            number = int(digits, 16) if digits[:2] in {"0x", "0X"} else int(digits)
            try:
                value = within(kind, -number if negative else number)
            except Fault as fault:
                raise CelTypeError(f"a number is too large for {kind}") from fault
        case other:
            raise CelTypeError(f"a condition is about numbers and has no {other}")
    return Compiled(SCALARS[node.kind], 1, 0, lambda _: value)


def _variable(name: str, scope: Scope) -> Compiled:
    if name not in scope:
        raise CelTypeError(f"undeclared reference to '{name}'")
    slot, kind = scope[name]
    return Compiled(kind, 1, 0, lambda frame: frame[slot])
