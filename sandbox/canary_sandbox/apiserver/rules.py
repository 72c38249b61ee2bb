"""The CEL rules of definitions, run wherever in a document their schema applies.

A rule has to compile. Whether its types fit, and what it may cost, is for a real server to say. A rule that needs what is not
evaluated here lets everything pass; its definition names it (`limitations`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cel
from cel import OptionalValue, stdlib

from canary.checks.cel_parser import Call, CelSyntaxError, Ident, names_used, parse, walk
from canary.lint.rules import RESERVED, RULES
from canary_sandbox.apiserver.errors import DUPLICATE, FORBIDDEN, INVALID, OMITTED, REQUIRED, FieldError, Json

_REASONS = {
    "FieldValueInvalid": INVALID,
    "FieldValueForbidden": FORBIDDEN,
    "FieldValueRequired": REQUIRED,
    "FieldValueDuplicate": DUPLICATE,
}
_NATIVE = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes", "bool", "dyn"}
    | {"type", "timestamp", "duration", "has", "hasValue", "value", "orValue", "optional.of", "optional.none"}
)
"""Functions that the library evaluates by itself."""


def _is_ip(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


_ADDED: dict[str, Callable[..., Any]] = {**stdlib.STDLIB_FUNCTIONS, "isIP": _is_ip}
"""Functions that it has to be given: what it ships besides, and what rules of the Gateway API want."""
_TIMED = frozenset({"date", "date-time", "duration", "byte"})
"""Formats of texts that are something else in CEL."""
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_FAILURES = (KeyError, IndexError, TypeError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression. `problem` says why it is wrong, `limitation` why it is right but not evaluated here."""

    source: str
    run: Callable[[dict[str, Any]], Any] | None = None
    problem: str = ""
    limitation: str = ""
    asks_what_was: bool = False


@lru_cache(maxsize=2048)
def compiled(source: str) -> Expression:
    """Compile an expression. Never raises."""
    try:
        tree = parse(source)
    except CelSyntaxError as error:
        if ".?" in source or "[?" in source:
            return Expression(source, limitation="optional field selection (`.?`) is not evaluated here")
        return Expression(source, problem=f"compilation failed: {error}")
    names = {_qualified(part) for part in walk(tree) if isinstance(part, Call) and part.function[0].isalpha()}
    asks = "oldSelf" in names_used(tree)
    if missing := sorted(names - _NATIVE - _ADDED.keys()):
        return Expression(source, limitation=f"{missing[0]}() is not evaluated here", asks_what_was=asks)
    try:
        program = cel.compile(source)
    except (ValueError, RuntimeError) as error:
        return Expression(source, problem=f"compilation failed: {str(error).splitlines()[0]}")
    added = {name: _ADDED[name] for name in names - _NATIVE}

    def run(variables: dict[str, Any]) -> Any:
        context = cel.Context()
        for name, function in added.items():
            context.add_function(name, function)
        for name, value in variables.items():
            context.add_variable(name, value)
        return program.execute(context)

    return Expression(source, run if added else program.execute, asks_what_was=asks)


def _qualified(call: Call) -> str:
    """The name of a function, such as `size` or `sets.contains`."""
    whole = f"{call.target.name}.{call.function}" if isinstance(call.target, Ident) else ""
    return whole if whole in _NATIVE or whole in _ADDED else call.function


@dataclass(slots=True)
class RuleTree:
    """A schema reduced to the places that have rules, at themselves or below."""

    schema: Json
    rules: tuple[Json, ...] = ()
    properties: dict[str, RuleTree] = field(default_factory=dict)
    items: RuleTree | None = None
    additional: RuleTree | None = None
    timed: bool = False
    """Whether a value below is a time, or bytes: rules about it are not evaluated."""
    differs: bool = False
    """Whether a value below, or the name of one, is something else in CEL than in JSON."""
    asks: bool = False
    """Whether a rule, here or below, asks what was."""

    @classmethod
    def of(cls, schema: Json) -> RuleTree | None:
        """The tree of a schema, None when it has no rule at all."""
        tree = cls(schema, tuple(schema.get(RULES) or ()))
        for name, sub in (schema.get("properties") or {}).items():
            if found := cls.of(sub):
                tree.properties[name] = found
        if isinstance(schema.get("items"), dict):
            tree.items = cls.of(schema["items"])
        if isinstance(schema.get("additionalProperties"), dict):
            tree.additional = cls.of(schema["additionalProperties"])
        tree.timed = bool(tree.rules) and anywhere(_is_timed, schema)
        tree.differs = bool(tree.rules) and anywhere(_is_different, schema)
        tree.asks = any(expression.asks_what_was for _, expression in tree.expressions())
        return tree if tree.rules or tree.properties or tree.items or tree.additional else None

    def expressions(self, at: str = "") -> Iterator[tuple[str, Expression]]:
        """Every expression, here and below, with its path in the schema."""
        for index, rule in enumerate(self.rules):
            for member in ("rule", "messageExpression"):
                if rule.get(member):
                    found = compiled(rule[member])
                    if self.timed and not found.problem:
                        found = Expression(rule[member], limitation="times and bytes are not evaluated here")
                    yield f"{at}.{RULES}[{index}].{member}", found
        below = {f"{at}.properties[{name}]": tree for name, tree in self.properties.items()}
        for where, tree in {**below, f"{at}.items": self.items, f"{at}.additionalProperties": self.additional}.items():
            if tree is not None:
                yield from tree.expressions(where)

    def objections(self, value: Any, old: Any, path: str = "", same: Collection[str] = ()) -> Iterator[FieldError]:
        """What the rules have against a value at `path`; `old` is what was there, if anything, and `same` what is as it was."""
        if value is None:
            return
        for rule in () if self.timed else self.rules:
            error = self._evaluate(rule, value, old, path)
            if error is not None:
                yield error
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, tree in self.properties.items():
                if name in value and (tree.asks or name not in same):
                    yield from tree.objections(value[name], before.get(name), f"{path}.{name}" if path else name)
            if self.additional is not None:
                for name, member in value.items():
                    yield from self.additional.objections(member, before.get(name), f"{path}[{name}]")
        elif isinstance(value, list) and self.items is not None:
            for index, item in enumerate(value):
                yield from self.items.objections(item, self._counterpart(item, old), f"{path}[{index}]")

    def _counterpart(self, item: Any, old: Any) -> Any:
        """The former state of an element: only lists that are maps say which one that is."""
        keys = self.schema.get("x-kubernetes-list-map-keys")
        if not keys or not isinstance(old, list) or not isinstance(item, dict):
            return None
        return next((other for other in old if all(other.get(key) == item.get(key) for key in keys)), None)

    def _evaluate(self, rule: Json, value: Any, old: Any, path: str) -> FieldError | None:
        expression, optional = compiled(rule["rule"]), bool(rule.get("optionalOldSelf"))
        if expression.run is None or (expression.asks_what_was and old is None and not optional):
            return None
        variables = {"self": self._in_cel(value)}
        if expression.asks_what_was:
            before = None if old is None else self._in_cel(old)
            variables["oldSelf"] = _maybe(before) if optional else before
        said = rule.get("message") or f"failed rule: {rule['rule'].strip()}"
        try:
            if expression.run(variables) is True:
                return None
        except _FAILURES as error:
            said = rule.get("message") or rule["rule"].strip()
            return FieldError(path, INVALID, f"{_named(error)} evaluating rule: {said}", _kind(value))
        at = f"{path}{rule.get('fieldPath', '')}".removeprefix("." if not path else "")
        kind = _REASONS.get(rule.get("reason", ""), INVALID)
        if kind == DUPLICATE:
            return FieldError(at, DUPLICATE, value=OMITTED)
        shown = OMITTED if isinstance(value, (dict, list)) else value
        return FieldError(at, kind, _computed(rule, variables) or said, shown)

    def _in_cel(self, value: Any) -> Any:
        return to_cel(value, self.schema) if self.differs else value


def _computed(rule: Json, variables: dict[str, Any]) -> str:
    """What the rule's messageExpression says; nothing when it fails, or says nothing on one line."""
    run = compiled(rule["messageExpression"]).run if rule.get("messageExpression") else None
    try:
        text = run(variables) if run else ""
    except _FAILURES:
        return ""
    return text.strip() if isinstance(text, str) and "\n" not in text else ""


def _maybe(value: Any) -> Any:
    return OptionalValue.none() if value is None else OptionalValue.of(value)


def _named(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no such key: {error.args[0]}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _kind(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "object")


def anywhere(test: Callable[[Json], bool], schema: Any) -> bool:
    """Whether a test holds of a schema, or of one below."""
    if not isinstance(schema, dict):
        return False
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return test(schema) or any(anywhere(test, sub) for sub in below)


def _is_timed(schema: Json) -> bool:
    return schema.get("type") == "string" and schema.get("format") in _TIMED


def _is_different(schema: Json) -> bool:
    return schema.get("type") == "number" or any(_escape(name) != name for name in schema.get("properties") or ())


def to_cel(value: Any, schema: Any) -> Any:
    """A JSON value as CEL sees it: names escaped, numbers of the type that the schema says."""
    if not isinstance(schema, dict):
        return value
    if isinstance(value, dict):
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        return {
            (_escape(name) if name in properties else name): to_cel(member, properties.get(name, additional))
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [to_cel(item, schema.get("items")) for item in value]
    return float(value) if schema.get("type") == "number" and isinstance(value, int) else value


def _escape(name: str) -> str:
    if name in RESERVED:
        return f"__{name}__"
    for plain, escaped in _ESCAPES:
        name = name.replace(plain, escaped)
    return name
