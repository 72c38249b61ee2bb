"""The CEL rules of a schema, run wherever in a document it applies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from canary.lint.findings import Path

Json = dict[str, Any]

RULES = "x-kubernetes-validations"

RESERVED = frozenset(
    word
    for words in (
        ("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if"),
        ("import", "let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
    for word in words
)
"""Names that an expression writes as `__name__`."""


class RuleError(Exception):
    """A rule of our own CRDs that cannot be run: a mistake in this program, not in the manifest."""


@lru_cache(maxsize=256)
def _compile(rule: str) -> Any:
    import cel

    try:
        return cel.compile(rule)
    except ValueError as error:
        raise RuleError(f"the rule {rule!r} does not compile: {error}") from error


def violations(value: Any, schema: Json, path: Path) -> Iterator[tuple[Path, str]]:
    """(path, message) of every rule that the value breaks, from the outside in.

    Raises:
        RuleError: a rule cannot be evaluated.

    """
    for rule in schema.get(RULES) or ():
        if not _holds(rule["rule"], _seen(value, schema)):
            yield path, str(rule["message"])
    if isinstance(value, dict):
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, member in value.items():
            sub = properties.get(name, additional)
            if isinstance(sub, dict):
                yield from violations(member, sub, (*path, name))
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            yield from violations(item, schema["items"], (*path, index))


def _holds(rule: str, value: Any) -> bool:
    try:
        result = _compile(rule).execute({"self": value})
    except RuleError:
        raise
    except Exception as error:  # the library raises whatever its operators raise
        raise RuleError(f"the rule {rule!r} cannot be evaluated: {error}") from error
    return result is True


def _seen(value: Any, schema: Json) -> Any:
    """The value as an expression sees it: reserved names escaped."""
    if isinstance(value, dict):
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        return {
            (f"__{name}__" if name in RESERVED and name in properties else name): _seen(
                member, properties.get(name, additional) or {}
            )
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [_seen(item, schema.get("items") or {}) for item in value]
    return value
