from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver_kit import CRDS, OURS, ROUTES, WIDGETS, Client, definition, eventually, route, widget
from hypothesis import given, settings
from hypothesis import strategies as st

from canary_sandbox.apiserver import ApiServer, StatusError
from canary_sandbox.apiserver.jsonpath import compile_path
from canary_sandbox.apiserver.schema import Schema
from canary_sandbox.apiserver.validation import Validator

STRING = {"type": "string"}


def whole(spec: dict[str, Any]) -> Schema:
    return Schema({"type": "object", "properties": {"spec": spec}})


def objections(spec: dict[str, Any], value: Any, old: Any = None) -> list[str]:
    """What a schema says of a spec, in the server's words."""
    before = None if old is None else {"spec": old}
    return [str(error) for error in whole(spec).errors({"spec": value}, before)]


def test_unknown_fields_are_pruned_unless_kept() -> None:
    """Pruning goes into lists and maps, keeps what is open, and still prunes what an open object declares."""
    inner = {"type": "object", "properties": {"a": STRING}}
    schema = whole(
        {
            "type": "object",
            "properties": {
                "list": {"type": "array", "items": inner},
                "map": {"type": "object", "additionalProperties": inner},
                "open": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"known": inner},
                },
            },
        }
    )
    doc = {"spec": {"list": [{"a": "1", "b": 1}], "map": {"x": {"c": 1}}, "open": {"y": 1, "known": {"d": 1}}, "e": 1}}
    assert sorted(schema.prune(doc)) == ["spec.e", "spec.list[0].b", "spec.map.x.c", "spec.open.known.d"]
    assert doc == {"spec": {"list": [{"a": "1"}], "map": {"x": {}}, "open": {"y": 1, "known": {}}}}


def test_defaults_fill_in_at_every_depth_and_nulls_go() -> None:
    """A default is itself completed by the defaults below it; a null where none is allowed is as good as absent."""
    leaf = {"type": "integer", "default": 1}
    schema = whole(
        {
            "type": "object",
            "default": {},
            "properties": {
                "list": {"type": "array", "items": {"type": "object", "properties": {"w": leaf}}},
                "w": leaf,
                "plain": STRING,
                "nullable": {"type": "string", "nullable": True},
            },
        }
    )
    empty: dict[str, Any] = {}
    schema.default(empty)
    assert empty == {"spec": {"w": 1}}
    full: dict[str, Any] = {"spec": {"list": [{}, {"w": 5}], "w": None, "plain": None, "nullable": None}}
    schema.default(full)
    assert full == {"spec": {"list": [{"w": 1}, {"w": 5}], "w": 1, "nullable": None}}


async def test_field_validation_is_as_asked(client: Client) -> None:
    """Strict refuses an unknown field, Warn warns of it, Ignore says nothing; the field is pruned in any case."""
    await client.define(definition({"type": "object", "properties": {"a": STRING}}))
    strict = await client("POST", f"{WIDGETS}?fieldValidation=Strict", widget(a="x", foo=1))
    assert strict.code == 400
    assert 'strict decoding error: unknown field "spec.foo"' in strict.body["message"]
    warned = await client("POST", f"{WIDGETS}?fieldValidation=Warn", widget(a="x", foo=1))
    assert warned.headers["Warning"] == '299 - "unknown field \\"spec.foo\\""'
    assert warned.body["spec"] == {"a": "x"}
    ignored = await client("POST", f"{WIDGETS}?fieldValidation=Ignore", widget("two", foo=1))
    assert (ignored.code, "Warning" in ignored.headers) == (201, False)


def rules(*entries: dict[str, Any], **schema: Any) -> dict[str, Any]:
    return {**schema, "x-kubernetes-validations": list(entries)}


def test_rules_see_self_and_say_their_message() -> None:
    """A rule that does not hold objects where it stands, with message, computed message, reason and fieldPath."""
    numbers = {"min": {"type": "integer"}, "max": {"type": "integer"}}
    spec = rules(
        {"rule": "self.min <= self.max", "messageExpression": "'min ' + 'is above max'",
         "message": "unused", "reason": "FieldValueForbidden", "fieldPath": ".min"},
        {"rule": "!has(self.min) || self.min > 0"},
        type="object", properties=numbers,
    )  # fmt: skip
    assert objections(spec, {"min": 1, "max": 2}) == []
    assert objections(spec, {"min": 3, "max": 2}) == ["spec.min: Forbidden: min is above max"]
    missing, _ = objections(spec, {"min": -1})
    assert missing == 'spec: Invalid value: "object": no such key: max evaluating rule: unused'


def test_rules_run_wherever_their_schema_applies() -> None:
    """Every element of a list and of a map is judged, under its own path."""
    item = rules({"rule": "self.startsWith('a')", "message": "must begin with a"}, type="string", maxLength=5)
    spec = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": item},
            "map": {"type": "object", "additionalProperties": item},
        },
    }
    assert objections(spec, {"list": ["a", "b"], "map": {"k": "c"}}) == [
        'spec.list[1]: Invalid value: "b": must begin with a',
        'spec.map[k]: Invalid value: "c": must begin with a',
    ]


def test_transition_rules_compare_with_what_was() -> None:
    """oldSelf rules run only on change, follow list elements by key, and may ask whether there was anything."""
    frozen = rules({"rule": "self == oldSelf", "message": "immutable"}, type="string")
    element = {"type": "object", "properties": {"n": STRING, "v": frozen}, "required": ["n"]}
    keyed = {"type": "array", "items": element, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}
    spec = {"type": "object", "properties": {"l": keyed}}
    old = {"l": [{"n": "a", "v": "1"}, {"n": "b", "v": "2"}]}
    assert objections(spec, old) == []
    assert objections(spec, {"l": [{"n": "b", "v": "2"}, {"n": "c", "v": "9"}]}, old) == []
    assert objections(spec, {"l": [{"n": "b", "v": "3"}]}, old) == ['spec.l[0].v: Invalid value: "3": immutable']
    once = rules(
        {"rule": "oldSelf.hasValue() || self == 1", "optionalOldSelf": True, "message": "starts at 1"}, type="integer"
    )
    assert objections({"type": "object", "properties": {"i": once}}, {"i": 2}) == [
        "spec.i: Invalid value: 2: starts at 1"
    ]
    assert objections({"type": "object", "properties": {"i": once}}, {"i": 2}, {"i": 1}) == []


@pytest.mark.parametrize(
    ("schema", "rule", "value", "holds"),
    [
        (
            {"type": "object", "properties": {"namespace": STRING}},
            "self.__namespace__ == 'a'",
            {"namespace": "a"},
            True,
        ),
        ({"type": "object", "properties": {"x-y": STRING}}, "self.x__dash__y == 'a'", {"x-y": "b"}, False),
        ({"type": "number"}, "self * 2.0 == 4.0", 2, True),
        ({"type": "string"}, "isIP(self)", "1.2.3.4", True),
        ({"type": "string"}, "self.split('/')[0].size() < 3", "ab/c", True),
        ({"type": "string"}, "self.lowerAscii() == self", "https://a.example/B", False),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "self.all(k, self[k] > 1)", {"a": 2}, True),
        ({"x-kubernetes-int-or-string": True}, "type(self) == int ? self < 10 : self == 'all'", "all", True),
    ],
)
def test_cel_has_types_names_and_functions_of_kubernetes(
    schema: dict[str, Any], rule: str, value: Any, holds: bool
) -> None:
    """Numbers, escaped names and functions of its library work as in a real server."""
    said = objections({"type": "object", "properties": {"v": rules({"rule": rule}, **schema)}}, {"v": value})
    assert (said == []) is holds, said


async def refusal(client: Client, spec: dict[str, Any]) -> str:
    answer = await client("POST", CRDS, definition(spec))
    assert (answer.code, answer.body["reason"]) == (422, "Invalid"), answer.body
    return str(answer.body["message"])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "must not be empty for specified object fields"),
        ({"$ref": "#/x"}, "$ref is not supported"),
        ({"type": "integer", "default": "x"}, "must be of type integer"),
        ({"type": "array"}, "items: Required value"),
        ({"type": "string", "pattern": "("}, "must be a valid regular expression"),
        ({"type": "array", "items": STRING, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"]}, "must be object if parent array's x-kubernetes-list-type is map"),
        (rules({"rule": "self.a >"}, type="object", properties={"a": STRING}), "compilation failed"),
    ],
)  # fmt: skip
async def test_a_definition_that_a_real_server_refuses_is_refused(
    client: Client, spec: dict[str, Any], said: str
) -> None:
    """Schemas that make no sense, and rules that are not CEL, are 422."""
    assert said in await refusal(client, spec)
    assert (await client("GET", WIDGETS)).code == 404


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.a", [1]),
        (".spec.list[0].n", ["x"]),
        (".spec.list[*].n", ["x", "y"]),
        ('.spec.list[?(@.n=="y")].v', [2]),
        (".spec.list[?(@.v>1)].n", ["y"]),
        (r".metadata.labels.example\.com/x", ["l"]),
        (".metadata.labels['example.com/x']", ["l"]),
        (".spec.missing.deeper", []),
        (".spec.list[-1].n", ["y"]),
    ],
)
def test_printer_columns_find_their_values(path: str, found: list[Any]) -> None:
    """The part of JSONPath that printer columns use."""
    doc = {
        "metadata": {"labels": {"example.com/x": "l"}},
        "spec": {"a": 1, "list": [{"n": "x", "v": 1}, {"n": "y", "v": 2}]},
    }
    assert compile_path(path)(doc) == found


def test_our_definitions_default_as_the_gateway_api_does() -> None:
    """parentRefs, matches and backendRefs get group, kind, path and weight."""
    doc = yaml.safe_load((OURS / "httproutes.yaml").read_text())
    schema = Schema(doc["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    filled = {**route(rules=[{"backendRefs": [{"name": "a", "port": 80}]}])}
    schema.default(filled)
    assert filled["spec"] == {
        "parentRefs": [{"name": "gw", "group": "gateway.networking.k8s.io", "kind": "Gateway"}],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"group": "", "kind": "Service", "name": "a", "port": 80, "weight": 1}],
            }
        ],
    }


GOOD_FILTER = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "canary", "port": 80}, "percent": 20}}


@pytest.mark.usefixtures("routes")
@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"backendRefs": [{"name": "a", "port": 80, "weight": 1_000_001}]}, "should be less than or equal to 1000000"),
        ({"backendRefs": [{"name": "a"}]}, "Must have port for Service reference"),
        ({"filters": [{"type": "RequestMirror"}]}, "requestMirror"),
        ({"filters": [{**GOOD_FILTER, "type": "URLRewrite"}]}, "equest"),
        ({"timeouts": {"request": "1s", "backendRequest": "2s"}}, "backendRequest timeout cannot be longer"),
        ({"matches": [{"path": {"value": "no-slash"}}]}, "must be an absolute path"),
        ({"filters": [GOOD_FILTER], "backendRefs": [{"name": "a", "port": 80}], "name": "main"}, ""),
    ],
)
async def test_routes_are_judged_alike_by_our_and_the_real_definitions(
    client: Client, rule: dict[str, Any], said: str
) -> None:
    """With GATEWAY_API_CRDS set the same sentences hold for the definitions of the Gateway API itself."""
    answer = await client("POST", ROUTES, route(rules=[rule]))
    assert answer.code == (422 if said else 201), answer.body
    assert said in answer.body.get("message", "")


@pytest.mark.sandbox_only("a real server evaluates every rule that it takes")
async def test_a_rule_that_is_not_evaluated_is_listed(tmp_path: Path) -> None:
    """A function that only a real server has does not refuse the definition, and is not passed over in silence."""
    api = ApiServer()
    doc = definition(rules({"rule": "quantity(self).isLessThan(quantity('1Gi'))"}, type="string"))
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump(doc).replace("OWN", "own"))
    assert await api.install_crds(tmp_path) == ["widgets.own.example.com"]
    (limitation,) = api.limitations
    assert "widgets.own.example.com/v1" in limitation
    assert "quantity" in limitation
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump(definition({"$ref": "x"})).replace("OWN", "own"))
    with pytest.raises(StatusError, match="is invalid"):
        await api.install_crds(tmp_path)


@pytest.mark.sandbox_only("a real server evaluates every rule that it takes")
async def test_a_rule_that_is_not_evaluated_is_warned_about(client: Client) -> None:
    """Whoever creates or changes the definition is told, as kubectl prints it."""
    doc = definition(rules({"rule": "quantity(self).isLessThan(quantity('1Gi'))"}, type="string"))
    made = await client("POST", CRDS, doc)
    changed = await client(
        "PATCH", f"{CRDS}/{doc['metadata']['name']}", {"metadata": {"labels": {"a": "b"}}}, patch="merge"
    )
    assert (made.code, changed.code) == (201, 200)
    for answer in (made, changed):
        (warned,) = answer.headers.getall("Warning")
        assert warned.startswith('299 - "not evaluated: widgets.OWN.example.com/v1: rule')
        assert "quantity" in warned
    plain = await client("POST", "/api/v1/namespaces/OWN/configmaps", {"metadata": {"name": "a"}})
    assert "Warning" not in plain.headers


async def test_versions_of_a_definition_share_their_objects(client: Client) -> None:
    """An object written in one version is read in the other, under that version's name."""
    doc = definition({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    first = doc["spec"]["versions"][0]
    doc["spec"]["versions"].append({**first, "name": "v1beta1", "storage": False})
    await client.define(doc)
    await client("POST", WIDGETS, widget(a=1))
    old = await client("GET", f"{WIDGETS}/one".replace("/v1/", "/v1beta1/"))
    assert old.body["apiVersion"] == "OWN.example.com/v1beta1"
    listed = (await client("GET", "/apis/OWN.example.com/v1beta1/widgets")).body
    assert (listed["kind"], listed["items"][0]["apiVersion"]) == ("WidgetList", "OWN.example.com/v1beta1")
    group = (await client("GET", "/apis/OWN.example.com")).body
    assert [version["version"] for version in group["versions"]] == ["v1", "v1beta1"]


async def test_what_is_left_as_it_was_is_not_held_against_a_stricter_definition(client: Client) -> None:
    """Ratcheting: an older object can still get its labels and its status, and only a change of the part has to be right."""
    loose = definition({"type": "object", "properties": {"a": STRING, "n": {"type": "integer"}}})
    await client.define(loose)
    await client("POST", WIDGETS, widget(a="long", n=1))
    strict = {"type": "object", "properties": {"a": {**STRING, "maxLength": 2}, "n": {"type": "integer"}}}
    strict |= rules({"rule": "!has(self.n) || self.n > 1", "message": "n above 1"})
    schema = loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"] = strict
    versions = {"spec": {"versions": loose["spec"]["versions"]}}
    assert (await client("PATCH", f"{CRDS}/{loose['metadata']['name']}", versions, patch="merge")).code == 200

    async def refused() -> bool:
        made = await client("POST", f"{WIDGETS}?dryRun=All", {**widget(a="long"), "metadata": {"name": "two"}})
        return made.code == 422

    await eventually(refused)
    labelled = await client("PATCH", f"{WIDGETS}/one", {"metadata": {"labels": {"b": "c"}}}, patch="merge")
    assert (labelled.code, labelled.body["spec"]) == (200, {"a": "long", "n": 1})
    changed = await client("PATCH", f"{WIDGETS}/one", {"spec": {"a": "longer"}}, patch="merge")
    assert changed.code == 422


ROOT = Path(__file__).parents[3]


def judged(folder: Path, name: str, example: dict[str, Any]) -> tuple[Validator, dict[str, Any]]:
    """The validator of a definition's first version, and an object that it finds valid."""
    schema = yaml.safe_load((folder / name).read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return Validator(schema), example


@functools.cache
def all_judged() -> list[tuple[Validator, dict[str, Any]]]:
    rollout = yaml.safe_load((ROOT / "examples/mirrored/rollout.yaml").read_text())
    return [judged(OURS, "httproutes.yaml", route()), judged(ROOT / "crds", "canary.dev_rollouts.yaml", rollout)]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5), st.sampled_from(["1s", "shop", "a.b", "1m\n", "2026-01-01T00:00:00Z", "10.0.0.1", "x" * 300, "ä" * 60]),
    st.lists(st.integers(0, 3), max_size=3), st.dictionaries(st.sampled_from("ab"), st.integers(), max_size=2),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, as a path of names and indices."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, member in below for place in places(member, (*path, key)))]


@settings(max_examples=300)
@given(st.data())
def test_what_is_quickly_found_valid_is_valid(data: st.DataObject) -> None:
    """Two libraries answer one question, whatever stands at whatever place of a document of ours."""
    validator, good = data.draw(st.sampled_from(all_judged()))
    doc = copy.deepcopy(good)
    for _ in range(data.draw(st.integers(0, 2))):
        *path, last = data.draw(st.sampled_from([place for place in places(doc) if place]))
        holder = functools.reduce(lambda inside, key: inside[key], path, doc)
        holder[last] = data.draw(VALUES)
    assert validator._passes(doc) is not any(True for _ in validator._validator.iter_errors(doc))
