"""OpenAPI v3 schemas held against documents by the `jsonschema` library, with the words of the real server."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from typing import Any

import jsonschema
import jsonschema_rs
from jsonschema import Draft4Validator

from canary_sandbox.apiserver.errors import (
    INVALID,
    REQUIRED,
    TOO_LONG,
    TOO_MANY,
    UNSUPPORTED,
    WRONG_TYPE,
    FieldError,
    Json,
)

_KEPT = frozenset([
    "type", "format", "enum", "maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "maxLength", "minLength", "pattern",
    "maxItems", "minItems", "maxProperties", "minProperties", "multipleOf", "required",
])  # fmt: skip
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def is_date_time(value: str) -> bool:
    """RFC 3339, with a time zone."""
    if not _RFC3339.fullmatch(value):
        return False
    try:
        dt.datetime.fromisoformat(re.sub(r"\.\d+", "", value).upper())
    except ValueError:
        return False
    return True


def _parses(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _parses(dt.date.fromisoformat),
    "date-time": is_date_time,
    "micro-time": lambda value: is_date_time(value) and bool(re.search(r"\.\d{6}\D", value)),
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "byte": lambda value: bool(re.fullmatch(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", value)),
}


INTEGERS = {"int32": 2**31, "int64": 2**63}
"""Formats of whole numbers, and where each ends."""


def _fits(limit: int) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, int) or -limit <= value < limit


def _checker() -> jsonschema.FormatChecker:
    checker = jsonschema.FormatChecker(formats=())
    for name, limit in INTEGERS.items():
        checker.checks(name)(_fits(limit))
    for name, check in FORMATS.items():
        checker.checks(name)(lambda value, check=check: not isinstance(value, str) or check(value))
    return checker


_FORMAT_CHECKER = _checker()


def _pattern(validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[jsonschema.ValidationError]:
    """`$` is the end of the text, as in Go, and not also the place before a last line break, as in Python."""
    if validator.is_type(value, "string") and not go_pattern(pattern).search(value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


_Validator: Any = jsonschema.validators.extend(Draft4Validator, {"pattern": _pattern})


@lru_cache(maxsize=1024)
def go_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression of a schema, compiled."""
    translated, in_class, at = "", False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            translated += {"\\z": r"\Z"}.get(pattern[at : at + 2], pattern[at : at + 2])
            at += 2
            continue
        in_class = (char == "[" or in_class) and char != "]"
        translated += r"\Z" if char == "$" and not in_class else char
        at += 1
    return re.compile(translated)


def to_json_schema(schema: Json, *, top: bool = False) -> Json:
    """The part of an OpenAPI schema that JSON Schema draft 4 can hold against a document."""
    result: Json = {key: value for key, value in schema.items() if key in _KEPT}
    if result.get("format") not in FORMATS | INTEGERS:
        result.pop("format", None)
    if schema.get("x-kubernetes-embedded-resource"):
        result["required"] = [*dict.fromkeys([*result.get("required", ()), "apiVersion", "kind"])]
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    if "properties" in schema:
        result["properties"] = {
            key: to_json_schema(sub) for key, sub in schema["properties"].items() if not (top and key == "metadata")
        }
    if top and "metadata" in (schema.get("properties") or {}):
        result["properties"]["metadata"] = to_json_schema({**schema["properties"]["metadata"], "type": "object"})
    if isinstance(schema.get("items"), dict):
        result["items"] = to_json_schema(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = to_json_schema(schema["additionalProperties"])
    for junctor in ("allOf", "anyOf", "oneOf"):
        if schema.get(junctor):
            result[junctor] = [to_json_schema(sub) for sub in schema[junctor]]
    if schema.get("not"):
        result["not"] = to_json_schema(schema["not"])
    if schema.get("nullable"):
        # Draft 4 knows no `nullable`: null passes, or everything else holds.
        return {"anyOf": [{"type": "null"}, result], "x-nullable": True}
    return result


def _bounded(schema: Any) -> Any:
    """The same with whole numbers bounded by `minimum` and `maximum`, and not by a format."""
    if isinstance(schema, list):
        return [_bounded(sub) for sub in schema]
    if not isinstance(schema, dict):
        return schema
    inner, limit = {name: _bounded(sub) for name, sub in schema.items()}, INTEGERS.get(str(schema.get("format")))
    return inner if limit is None else {"allOf": [inner, {"minimum": -limit, "maximum": limit - 1}]}


class Validator:
    """A compiled schema. Nearly always there is nothing to object to, and that is known quickly."""

    def __init__(self, schema: Json) -> None:
        whole = to_json_schema(schema, top=True)
        self._validator = _Validator(whole, format_checker=_FORMAT_CHECKER)
        try:
            quick = jsonschema_rs.Draft4Validator(_bounded(whole), formats=dict(FORMATS), validate_formats=True)
        except ValueError:  # a pattern that only Go knows
            quick = None
        self._passes: Callable[[Any], bool] = quick.is_valid if quick else lambda _: False

    def errors(self, doc: Any, same: Collection[str] = ()) -> Iterator[FieldError]:
        """In document order, and nothing of the members named in `same`."""
        for error in () if self._passes(doc) else self._validator.iter_errors(doc):
            if not error.absolute_path or error.absolute_path[0] not in same:
                yield from _translated(error)


def _path(parts: Any) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def _translated(error: Any) -> Iterator[FieldError]:
    if error.validator == "anyOf" and isinstance(error.schema, dict) and error.schema.get("x-nullable"):
        for inner in error.context:
            if inner.schema_path and inner.schema_path[0] == 1:
                yield from _translated(inner)
        return
    yield _one(error)
    if error.validator in {"anyOf", "oneOf"}:
        # What is wrong by the first alternative, as the most likely one to be meant.
        for inner in error.context:
            if inner.schema_path and inner.schema_path[0] == 0:
                yield from _translated(inner)


def _valid(error: Any) -> int:
    """How many alternatives of a `oneOf` hold."""
    return sum(
        _Validator(schema, format_checker=_FORMAT_CHECKER).is_valid(error.instance) for schema in error.validator_value
    )


def _one(error: Any) -> FieldError:
    at = _path(error.absolute_path)
    value, bound = error.instance, error.validator_value
    match error.validator:
        case "required":
            missing = re.match(r"'(.*)' is a required property$", error.message)
            name = missing.group(1) if missing else ""
            return FieldError(f"{at}.{name}" if at else name, REQUIRED)
        case "type":
            wanted = bound if isinstance(bound, str) else ",".join(bound)
            kind = _type_name(value)
            return FieldError(at, WRONG_TYPE, f'{at} in body must be of type {wanted}: "{kind}"', kind)
        case "format" if bound in INTEGERS:
            return FieldError("", INVALID, f"Checked value must be of type integer with format {bound} in {at}", "")
        case "format":
            return FieldError(at, WRONG_TYPE, f'{at} in body must be of type {bound}: "{value}"', value)
        case "enum":
            shown = ", ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in bound)
            return FieldError(at, UNSUPPORTED, f"supported values: {shown}", value)
        case "maximum":
            than = "less than" if error.schema.get("exclusiveMaximum") else "less than or equal to"
            return FieldError(at, INVALID, f"{at} in body should be {than} {bound}", value)
        case "minimum":
            than = "greater than" if error.schema.get("exclusiveMinimum") else "greater than or equal to"
            return FieldError(at, INVALID, f"{at} in body should be {than} {bound}", value)
        case "maxLength":
            return FieldError(at, TOO_LONG, f"may not be more than {bound} bytes", value)
        case "maxItems" | "maxProperties":
            return FieldError(at, TOO_MANY, f"must have at most {bound} item{'s' * (bound != 1)}", len(value))
        case "minItems" | "minProperties":
            things = "items" if error.validator == "minItems" else "properties"
            return FieldError(at, INVALID, f"{at} in body should have at least {bound} {things}", len(value))
        case "anyOf":
            return FieldError("", INVALID, f'"{at}" must validate at least one schema (anyOf)', "")
        case "oneOf":
            found = "none valid" if error.context else f"{_valid(error)} valid alternatives"
            return FieldError("", INVALID, f'"{at}" must validate one and only one schema (oneOf). Found {found}', "")
        case "not":
            return FieldError("", INVALID, f'"{at}" must not validate the schema (not)', "")
        case _ as keyword:
            detail = f"{at} in body {_WORDS[keyword].format(bound)}"
    return FieldError(at, INVALID, detail, value)


_WORDS = {
    "minLength": "should be at least {} chars long",
    "pattern": "should match '{}'",
    "multipleOf": "should be a multiple of {}",
}


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
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
