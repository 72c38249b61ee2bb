"""Rules at work: each is run wherever in a document its schema applies."""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cel import OptionalValue

from canary_sandbox.apiserver.cel_compile import Rule, compile_rule
from canary_sandbox.apiserver.cel_shapes import escape, shape_of
from canary_sandbox.apiserver.errors import DUPLICATE, INVALID, OMITTED, FieldError, Json

RULES = "x-kubernetes-validations"


@dataclass(slots=True)
class RuleTree:
    """A schema reduced to the places that have rules, at themselves or below."""

    schema: Json
    rules: tuple[Rule, ...] = ()
    properties: dict[str, RuleTree] = field(default_factory=dict)
    items: RuleTree | None = None
    additional: RuleTree | None = None
    typed: bool = False
    """Whether a value below is something else in CEL than in JSON (times, bytes, floats)."""

    @classmethod
    def of(cls, schema: Json, *, root: bool = True) -> RuleTree | None:
        """The tree of a schema, None when it has no rule at all."""
        raw = schema.get(RULES) or ()
        shape = shape_of(schema, root=root) if raw else None
        tree = cls(schema, tuple(compile_rule(rule, shape) for rule in raw) if shape else ())
        for name, sub in (schema.get("properties") or {}).items():
            if found := cls.of(sub, root=False):
                tree.properties[name] = found
        if isinstance(schema.get("items"), dict):
            tree.items = cls.of(schema["items"], root=False)
        if isinstance(schema.get("additionalProperties"), dict):
            tree.additional = cls.of(schema["additionalProperties"], root=False)
        if not (tree.rules or tree.properties or tree.items or tree.additional):
            return None
        tree.typed = bool(tree.rules) and _is_typed(schema)
        return tree

    @property
    def limitations(self) -> tuple[str, ...]:
        """Rules that are not evaluated, each with why."""
        return tuple(
            f"rule {rule.program.source!r}: {rule.limitation}"
            for tree in self.walk()
            for rule in tree.rules
            if rule.limitation
        )

    def walk(self) -> Iterator[RuleTree]:
        yield self
        below = (*self.properties.values(), self.items, self.additional)
        for tree in below:
            if tree is not None:
                yield from tree.walk()

    def errors(self, doc: Any, old: Any | None) -> list[FieldError]:
        """Objections of all rules; `old` is None where there is nothing to compare with."""
        return list(self.objections(doc, old, ""))

    def objections(self, value: Any, old: Any, path: str) -> Iterator[FieldError]:
        """The same for the value at `path`, one by one."""
        if value is None:
            return
        for rule in self.rules:
            error = self._evaluate(rule, value, old, path)
            if error is not None:
                yield error
        if isinstance(value, dict):
            before = old if isinstance(old, dict) else {}
            for name, tree in self.properties.items():
                if name in value:
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

    def _evaluate(self, rule: Rule, value: Any, old: Any, path: str) -> FieldError | None:
        run = rule.program.run
        if run is None or (rule.is_transition and old is None and not rule.optional_old):
            return None
        variables = {"self": self._in_cel(rule, value)}
        if rule.is_transition:
            variables["oldSelf"] = self._old_in_cel(rule, old)
        try:
            if run(variables) is True:
                return None
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            said = rule.message or rule.program.source.strip()
            return FieldError(path, INVALID, f"{_named(error)} evaluating rule: {said}", _kind(value))
        at = f"{path}{rule.below}".removeprefix("." if not path else "")
        if rule.kind == DUPLICATE:
            return FieldError(at, DUPLICATE, value=OMITTED)
        shown = OMITTED if isinstance(value, (dict, list)) else value
        return FieldError(at, rule.kind, self._message(rule, variables), shown)

    def _in_cel(self, rule: Rule, value: Any) -> Any:
        rename = "__" in rule.program.source
        return to_cel(value, self.schema, rename=rename) if self.typed or rename else value

    def _old_in_cel(self, rule: Rule, old: Any) -> Any:
        if not rule.optional_old:
            return self._in_cel(rule, old)
        return OptionalValue.none() if old is None else OptionalValue.of(self._in_cel(rule, old))

    @staticmethod
    def _message(rule: Rule, variables: dict[str, Any]) -> str:
        program = rule.message_program
        if program is not None and program.run is not None:
            try:
                text = program.run(variables)
            except (KeyError, IndexError, TypeError, ValueError, RuntimeError):
                text = ""
            # As the real server: an expression that fails, or says nothing on one line, gives way to the message.
            if isinstance(text, str) and text.strip() and "\n" not in text:
                return text.strip()
        return rule.message or f"failed rule: {rule.program.source.strip()}"


def _named(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"no such key: {error.args[0]}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


_TIMES = frozenset({"date", "date-time", "duration", "byte"})


def _is_typed(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if schema.get("type") == "number" or (schema.get("type") == "string" and schema.get("format") in _TIMES):
        return True
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(map(_is_typed, below))


def to_cel(value: Any, schema: Any, *, rename: bool) -> Any:
    """A JSON value as CEL sees it: typed as its schema says, and with names escaped when `rename` is set."""
    if not isinstance(schema, dict):
        return value
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        return {
            (escape(name) if rename and name in properties else name): to_cel(
                member, properties.get(name, additional), rename=rename
            )
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [to_cel(item, schema.get("items"), rename=rename) for item in value]
    return _scalar(value, schema)


def _scalar(value: Any, schema: Json) -> Any:
    if schema.get("type") == "number" and isinstance(value, int):
        return float(value)
    if not isinstance(value, str):
        return value
    match schema.get("format"):
        case "date-time":
            return dt.datetime.fromisoformat(value.upper())
        case "date":
            return dt.datetime.combine(dt.date.fromisoformat(value), dt.time(), dt.UTC)
        case "duration":
            return _duration(value)
        case "byte":
            return base64.b64decode(value)
    return value


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _duration(text: str) -> dt.timedelta:
    sign = -1 if text.startswith("-") else 1
    parts = re.findall(r"([\d.]+)(ns|us|µs|ms|s|m|h|d|w)", text)
    return sign * dt.timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
