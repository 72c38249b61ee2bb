"""Values held against schemas and rules: what is said of each, word for word, by the sandbox and by a real server."""

from __future__ import annotations

from typing import Any

from apiserver_kit import WIDGETS, Client, definition, widget

STRING = {"type": "string"}
UNCHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the "
    "existing errors to complete validation"
)
NAMED = {
    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"],
    "items": {"type": "object", "properties": {"n": STRING, "v": STRING}, "required": ["n"]},
}  # fmt: skip
EITHER = {"type": "object", "properties": {"a": STRING, "b": STRING}}
ANY = {"x-kubernetes-preserve-unknown-fields": True}
NO_LIST = {**ANY, "minItems": 1, "maxItems": 0}
NO_OBJECT = {**ANY, "minProperties": 1, "maxProperties": 0}
ONE_IS_NEEDED = [{"required": ["a"]}, {"required": ["b"]}]


def ruled(schema: dict[str, Any], *rules: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "x-kubernetes-validations": list(rules)}


SHORT = {"type": "string", "maxLength": 20}
STARTS_WITH_A = ruled(SHORT, {"rule": "self.startsWith('a')", "message": "begin with a"})
RANGE = {"type": "object", "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}}}
ORDERED = ruled(
    RANGE,
    {"rule": "self.min <= self.max", "messageExpression": "'min is ' + 'above max'", "message": "unused",
     "reason": "FieldValueForbidden", "fieldPath": ".min"},
    {"rule": "!has(self.min) || self.min > 0"},
)  # fmt: skip
PAIR = ruled(
    EITHER,
    {"rule": "has(self.a) == has(self.b)", "message": "both", "reason": "FieldValueRequired", "fieldPath": ".b"},
    {"rule": "!has(self.a) || !has(self.b) || self.a != self.b", "message": "unused", "reason": "FieldValueDuplicate"},
)

# A schema, a value, and what is said of it ("": it is taken). A trailing `*` stands for UNCHECKED.
ROWS: list[tuple[dict[str, Any], Any, str]] = [
    ({"type": "integer"}, "x", 'AT: Invalid value: "string": AT in body must be of type integer: "string" *'),
    ({"type": "integer", "format": "int32"}, 2**31, '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in AT'),
    ({"type": "integer", "format": "int32"}, 2**31 - 1, ""),
    ({"type": "integer", "maximum": 10}, 11, "AT: Invalid value: 11: AT in body should be less than or equal to 10"),
    ({"type": "integer", "maximum": 10, "exclusiveMaximum": True}, 10, "AT: Invalid value: 10: AT in body should be less than 10"),
    ({"type": "integer", "minimum": 1}, 0, "AT: Invalid value: 0: AT in body should be greater than or equal to 1"),
    ({"type": "number", "multipleOf": 0.5}, 0.3, "AT: Invalid value: 0.3: AT in body should be a multiple of 0.5"),
    ({"type": "boolean"}, "true", 'AT: Invalid value: "string": AT in body must be of type boolean: "string" *'),
    ({"type": "string", "enum": ["A", "B"]}, "C", 'AT: Unsupported value: "C": supported values: "A", "B" *'),
    ({"type": "string", "maxLength": 2}, "abc", "AT: Too long: may not be more than 2 bytes *"),
    ({"type": "string", "minLength": 1}, "", 'AT: Invalid value: "": AT in body should be at least 1 chars long'),
    ({"type": "string", "pattern": "^[0-9]+m$"}, "5", "AT: Invalid value: \"5\": AT in body should match '^[0-9]+m$'"),
    ({"type": "string", "pattern": "^[0-9]+m$"}, "5m\n", "AT: Invalid value: \"5m\\n\": AT in body should match '^[0-9]+m$'"),
    ({"type": "string", "pattern": "^[$]$"}, "$", ""),
    ({"type": "string", "pattern": "[0-9]"}, "a1", ""),
    ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, {}, "AT.a: Required value *"),
    ({"type": "object", "properties": {"a": STRING}, "required": ["a"]}, {"a": None}, "AT.a: Required value *"),
    ({"type": "array", "items": STRING, "maxItems": 1}, ["a", "b"], "AT: Too many: 2: must have at most 1 item *"),
    ({"type": "array", "items": STRING, "minItems": 1}, [], "AT: Invalid value: 0: AT in body should have at least 1 items"),
    ({"type": "array", "items": STRING}, [1], 'AT[0]: Invalid value: "integer": AT[0] in body must be of type string: "integer" *'),
    ({"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}, ["a", "a"], 'AT[1]: Duplicate value: "a"'),
    (NAMED, [{"n": "a", "v": "1"}, {"n": "a", "v": "2"}], 'AT[1]: Duplicate value: {"n":"a"}'),
    (NAMED, [{"v": "x"}], "AT[0].n: Required value *"),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1}, ""),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": "x"}, 'AT.a: Invalid value: "string": AT.a in body must be of type integer: "string" *'),
    ({"type": "object", "additionalProperties": STRING, "maxProperties": 1}, {"a": "1", "b": "2"}, "AT: Too many: 2: must have at most 1 item *"),
    ({**EITHER, "anyOf": ONE_IS_NEEDED}, {}, '<nil>: Invalid value: "": "AT" must validate at least one schema (anyOf), AT.a: Required value *'),
    ({**EITHER, "oneOf": ONE_IS_NEEDED}, {"a": "1", "b": "1"}, '<nil>: Invalid value: "": "AT" must validate one and only one schema (oneOf). Found 2 valid alternatives'),
    ({**EITHER, "not": {"required": ["a"]}}, {"a": "1"}, '<nil>: Invalid value: "": "AT" must not validate the schema (not)'),
    ({"type": "string", "nullable": True}, None, ""),
    ({"x-kubernetes-int-or-string": True}, "50%", ""),
    ({"x-kubernetes-int-or-string": True}, 1.5, 'AT: Invalid value: "number": AT in body must be of type integer,string: "number" *'),
    ({"x-kubernetes-int-or-string": True}, None, ""),
    ({"type": "object", "minProperties": 1, "properties": {"a": {"x-kubernetes-int-or-string": True}}}, {"a": None}, "AT: Invalid value: 0: AT in body should have at least 1 properties"),
    ({"type": "object", "minProperties": 1, "properties": {"a": ANY}}, {"a": None}, "AT: Invalid value: 0: AT in body should have at least 1 properties"),
    ({**ANY, "pattern": "^[0-9]+%$", "maximum": 1}, "5%", ""),
    ({**ANY, "pattern": "^[0-9]+%$", "maximum": 1}, "5", "AT: Invalid value: \"5\": AT in body should match '^[0-9]+%$'"),
    ({**ANY, "pattern": "^[0-9]+%$", "maximum": 1}, 0.25, ""),
    ({**ANY, "pattern": "^[0-9]+%$", "maximum": 1}, 1.5, "AT: Invalid value: 1.5: AT in body should be less than or equal to 1"),
    ({**ANY, "not": {"enum": [True, False]}}, True, '<nil>: Invalid value: "": "AT" must not validate the schema (not)'),
    ({**ANY, "not": {"enum": [True, False]}}, 1, ""),
    ({**ANY, "not": {"enum": [True, False]}}, 0, ""),
    (NO_LIST, [], "AT: Invalid value: 0: AT in body should have at least 1 items"),
    (NO_LIST, [1], "AT: Too many: 1: must have at most 0 items *"),
    (NO_LIST, {"a": 1}, ""),
    (NO_OBJECT, {}, "AT: Invalid value: 0: AT in body should have at least 1 properties"),
    (NO_OBJECT, {"a": 1}, "AT: Too many: 1: must have at most 0 items *"),
    (NO_OBJECT, [1], ""),
    ({**EITHER, "anyOf": [{"required": ["b"]}, {"not": {"required": ["a"]}}]}, {"a": "1"}, '<nil>: Invalid value: "": "AT" must validate at least one schema (anyOf), AT.b: Required value *'),
    ({"x-kubernetes-embedded-resource": True, "type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"apiVersion": "v1"}, "AT.kind: Required value *"),
    ({"type": "string", "format": "date-time"}, "today", 'AT: Invalid value: "today": AT in body must be of type date-time: "today" *'),
    ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00.123Z", ""),
    ({"type": "string", "format": "ipv4"}, "127.0.0.1", ""),
    ({"type": "string", "format": "ipv4"}, "127.0.0.256", 'AT: Invalid value: "127.0.0.256": AT in body must be of type ipv4: "127.0.0.256" *'),
    ({"type": "string", "format": "unheard-of"}, "x", ""),
    (ORDERED, {"min": 3, "max": 2}, "AT.min: Forbidden: min is above max"),
    (ORDERED, {"min": -1, "max": 2}, "AT: Invalid value: failed rule: !has(self.min) || self.min > 0"),
    (ORDERED, {"min": 1}, 'AT: Invalid value: "object": no such key: max evaluating rule: unused'),
    (PAIR, {"a": "1"}, "AT.b: Required value: both"),
    (PAIR, {"a": "1", "b": "1"}, "AT: Duplicate value"),
    (STARTS_WITH_A, "b", 'AT: Invalid value: "b": begin with a'),
    ({"type": "array", "maxItems": 3, "items": STARTS_WITH_A}, ["a", "b"], 'AT[1]: Invalid value: "b": begin with a'),
    ({"type": "object", "maxProperties": 3, "additionalProperties": STARTS_WITH_A}, {"k": "c"}, 'AT[k]: Invalid value: "c": begin with a'),
    (ruled({"type": "integer"}, {"rule": "self % 2 == 0", "message": "even"}), 3, "AT: Invalid value: 3: even"),
    (ruled(SHORT, {"rule": "self.matches('^a+$')", "message": "only a"}), "aa\n", 'AT: Invalid value: "aa\\n": only a'),
    (ruled(SHORT, {"rule": "duration(self) > duration('1s')", "message": "longer"}), "500ms", 'AT: Invalid value: "500ms": longer'),
    (ruled({"type": "array", "maxItems": 3, "items": SHORT}, {"rule": "self.all(x, x != 'b')", "message": "no b"}), ["b"], "AT: Invalid value: no b"),
    (ruled({**SHORT, "format": "date-time"}, {"rule": "self > timestamp('2020-01-01T00:00:00Z')"}), "2026-01-01T00:00:00Z", ""),
    (ruled({"x-kubernetes-int-or-string": True}, {"rule": "type(self) == int ? self < 10 : self == 'all'"}), "all", ""),
]  # fmt: skip


async def test_every_value_is_judged_in_the_same_words(client: Client) -> None:
    """One sentence per fault, with path, value and bound; a value that fits is taken."""
    schemas = {f"p{index}": schema for index, (schema, _, _) in enumerate(ROWS)}
    await client.define(definition({"type": "object", "properties": schemas}))
    wrong = []
    for index, (schema, value, said) in enumerate(ROWS):
        expected = said.replace("AT", f"spec.p{index}").replace(" *", f", {UNCHECKED}")
        answer = await client("POST", f"{WIDGETS}?dryRun=All", widget(**{f"p{index}": value}))
        found = ""
        if answer.code != 201:
            assert (answer.code, answer.body["reason"]) == (422, "Invalid"), answer.body
            found = answer.body["message"].removeprefix('Widget.OWN.example.com "one" is invalid: ')
            found = found[1:-1] if found.startswith("[") else found
        if found != expected:
            wrong.append((schema, value, found, expected))
    assert not wrong


async def test_a_cause_has_a_reason_that_clients_can_match(client: Client) -> None:
    """Wrong types, bounds, choices and doubles are told apart without reading the message."""
    rows: dict[str, tuple[dict[str, Any], Any]] = {
        "FieldValueTypeInvalid": ({"type": "integer"}, "x"),
        "FieldValueInvalid": ({"type": "integer", "maximum": 10}, 11),
        "FieldValueNotSupported": ({"type": "string", "enum": ["A"]}, "C"),
        "FieldValueDuplicate": ({"type": "array", "items": STRING, "x-kubernetes-list-type": "set"}, ["a", "a"]),
    }
    schemas = {reason: schema for reason, (schema, _) in rows.items()}
    await client.define(definition({"type": "object", "properties": schemas}))
    for reason, (_, value) in rows.items():
        answer = await client("POST", f"{WIDGETS}?dryRun=All", widget(**{reason: value}))
        cause = answer.body["details"]["causes"][0]
        assert (cause["reason"], cause["field"].partition("[")[0]) == (reason, f"spec.{reason}")
