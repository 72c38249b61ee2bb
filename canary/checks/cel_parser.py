"""A parser for CEL: the tree of an expression, which is what names, types and cost can be told from before it runs.

Conditions of checks are evaluated by this tree (`compiler`). The sandbox's API server looks at it for the rules of
definitions, which a library evaluates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})

DEEPEST = 64
"""Levels of brackets and prefixes inside one another. Each takes a few frames of the stack, here and where the tree is walked."""


class CelSyntaxError(ValueError):
    """Text that is not CEL. `position` is an offset into the source."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant. `kind` is int, uint, double, string, bytes, bool or null; `size` counts characters of text.

    `text` is how numbers and bools are written.
    """

    kind: str
    size: int
    at: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable, or the first part of a qualified name."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or the test whether it is there (`has`)."""

    operand: Node
    field: str
    at: int
    test: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """A function, a method (with `target`) or an operator (`_+_`, `_?_:_`, `_[_]`, `!_`, `-_`, `@in`, ...)."""

    function: str
    target: Node | None
    args: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A list or a map that is written out; a map's members alternate key and value."""

    kind: str
    members: tuple[Node, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Comprehension:
    """A macro that walks `over`: `body` is its predicate or transformation, `keep` the filter of a three-armed map."""

    macro: str
    over: Node
    variable: str
    body: Node
    keep: Node | None
    at: int


Node = Literal | Ident | Select | Call | Aggregate | Comprehension

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''
                   |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<double>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
      | (?P<int>0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)
      | (?P<ident>[_a-zA-Z][_a-zA-Z0-9]*)
      | (?P<op>\|\||&&|==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)

_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||",),
    ("&&",),
    ("==", "!=", "<", "<=", ">", ">=", "in"),
    ("+", "-"),
    ("*", "/", "%"),
)
_BINDS = {operator: level for level, operators in enumerate(_LEVELS) for operator in operators}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(source: str) -> Iterator[_Token]:
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if not found:
            raise CelSyntaxError(f"token recognition error at: {source[at]!r}", at)
        kind = found.lastgroup or ""
        if kind != "space":
            yield _Token(kind, found.group(), at)
        at = found.end()
    yield _Token("end", "<EOF>", len(source))


def parse(source: str, *, most: int | None = None) -> Node:
    """The tree of `source`, of at most so many tokens (names, numbers, operators, brackets). Raises CelSyntaxError."""
    tokens = list(islice(_tokens(source), None if most is None else most + 1))
    if tokens[-1].kind != "end":
        raise CelSyntaxError(f"more than {len(tokens) - 1} names, numbers and signs", tokens[-1].at)
    parser = _Parser(tokens)
    node = parser.expression()
    parser.expect("<EOF>")
    return node


class _Parser:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._token = tokens[0]
        self._depth = 0

    def _take(self) -> _Token:
        """The token that is next; the last one stays."""
        token = self._token
        self._next = min(self._next + 1, len(self._tokens) - 1)
        self._token = self._tokens[self._next]
        return token

    def _accept(self, text: str) -> bool:
        if self._token.text == text and self._token.kind in {"op", "end", "ident"}:
            self._take()
            return True
        return False

    def expect(self, text: str) -> None:
        if not self._accept(text):
            raise CelSyntaxError(f"mismatched input {self._token.text!r} expecting {text!r}", self._token.at)

    def expression(self) -> Node:
        self._descend(1)
        condition = self._binary(0)
        at = self._token.at
        if self._accept("?"):
            then = self._binary(0)
            self.expect(":")
            condition = Call("_?_:_", None, (condition, then, self.expression()), at)
        self._descend(-1)
        return condition

    def _descend(self, levels: int) -> None:
        self._depth += levels
        if self._depth > DEEPEST:
            raise CelSyntaxError(f"more than {DEEPEST} levels of brackets inside one another", self._token.at)

    def _binary(self, level: int) -> Node:
        """Operands joined by operators that bind at least as tightly as `level`; those of one level join from the left."""
        left = self._unary()
        while self._token.kind in {"op", "ident"} and _BINDS.get(self._token.text, -1) >= level:
            token = self._take()
            right = self._binary(_BINDS[token.text] + 1)
            function = "@in" if token.text == "in" else f"_{token.text}_"
            left = Call(function, None, (left, right), token.at)
        return left

    def _unary(self) -> Node:
        token = self._token
        if token.text in {"!", "-"} and token.kind == "op":
            self._take()
            self._descend(1)
            operand = self._unary()
            self._descend(-1)
            return Call(f"{token.text}_", None, (operand,), token.at)
        return self._member()

    def _member(self) -> Node:
        node = self._primary()
        while True:
            at = self._token.at
            if self._accept("."):
                name = self._take()
                if name.kind != "ident":
                    raise CelSyntaxError(f"no viable alternative at input '.{name.text}'", name.at)
                if self._accept("("):
                    node = self._method(node, name, self._arguments(")"))
                else:
                    node = Select(node, name.text, at)
            elif self._accept("["):
                index = self.expression()
                self.expect("]")
                node = Call("_[_]", None, (node, index), at)
            else:
                return node

    @staticmethod
    def _method(target: Node, name: _Token, args: tuple[Node, ...]) -> Node:
        if name.text in MACROS and len(args) in {2, 3} and isinstance(args[0], Ident):
            variable = args[0].name
            if len(args) == 2:
                return Comprehension(name.text, target, variable, args[1], None, name.at)
            if name.text == "map":
                return Comprehension("map", target, variable, args[2], args[1], name.at)
        return Call(name.text, target, args, name.at)

    def _arguments(self, closing: str) -> tuple[Node, ...]:
        args: list[Node] = []
        while not self._accept(closing):
            args.append(self.expression())
            if not self._accept(","):
                self.expect(closing)
                break
        return tuple(args)

    def _primary(self) -> Node:
        self._accept(".")  # a leading dot names the root container; there is only one here
        token = self._take()
        match token.kind, token.text:
            case "string", text:
                return _text(text, token.at)
            case "double", text:
                return Literal("double", 0, token.at, text)
            case "int", text:
                return Literal("uint" if text[-1] in "uU" else "int", 0, token.at, text)
            case "ident", "true" | "false" as text:
                return Literal("bool", 0, token.at, text)
            case "ident", "null":
                return Literal("null", 0, token.at)
            case "ident", name:
                return self._call(token, self._arguments(")")) if self._accept("(") else Ident(name, token.at)
            case "op", "(":
                node = self.expression()
                self.expect(")")
                return node
            case "op", "[":
                return Aggregate("list", self._arguments("]"), token.at)
            case "op", "{":
                return Aggregate("map", self._entries(), token.at)
        raise CelSyntaxError(f"mismatched input {token.text!r}", token.at)

    @staticmethod
    def _call(token: _Token, args: tuple[Node, ...]) -> Node:
        if token.text != "has":
            return Call(token.text, None, args, token.at)
        if len(args) == 1 and isinstance(args[0], Select):
            return Select(args[0].operand, args[0].field, token.at, test=True)
        raise CelSyntaxError("invalid argument to has() macro", token.at)

    def _entries(self) -> tuple[Node, ...]:
        members: list[Node] = []
        while not self._accept("}"):
            members.append(self.expression())
            self.expect(":")
            members.append(self.expression())
            if not self._accept(","):
                self.expect("}")
                break
        return tuple(members)


def _text(text: str, at: int) -> Literal:
    prefix = re.match(r"[rRbB]*", text)
    marks = prefix.group().lower() if prefix else ""
    body = text[len(marks) :]
    body = body[3:-3] if body.startswith(('"""', "'''")) else body[1:-1]
    if "r" not in marks:
        body = re.sub(r"\\(x..|u....|U........|[0-7]{3}|.)", "x", body, flags=re.DOTALL)
    return Literal("bytes" if "b" in marks else "string", len(body), at)


def names_used(node: Node) -> set[str]:
    """Every variable that the expression mentions."""
    return {part.name for part in walk(node) if isinstance(part, Ident)}


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    match node:
        case Select(operand=operand):
            yield from walk(operand)
        case Call(target=target, args=args):
            for part in (*((target,) if target else ()), *args):
                yield from walk(part)
        case Aggregate(members=members):
            for part in members:
                yield from walk(part)
        case Comprehension(over=over, body=body, keep=keep):
            for part in (over, body, *((keep,) if keep else ())):
                yield from walk(part)
