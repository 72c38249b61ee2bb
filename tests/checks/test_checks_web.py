"""A request over HTTP as it is declared and rendered: what is filled in stays where it was put."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from canary.checks import jsonpath
from canary.checks.render import variables
from canary.checks.resolve import resolve
from canary.checks.sources.auth import Auth
from canary.checks.sources.prometheus import Prometheus
from canary.checks.sources.web import Web
from canary.errors import RenderError
from canary.model.checks import Check
from canary.model.templates import CheckTemplateSpec
from canary.model.web import WebSource


def names(**args: str) -> dict[str, Any]:
    backend = {"service": "shop-canary", "namespace": "team-shop", "port": 8080}
    return variables(
        stable=backend | {"service": "shop-stable"},
        canary=backend,
        namespace="team-shop",
        rollout="shop",
        route="shop",
        window="1m",
        weight=10,
        args=args,
    )


def web(url: str = "https://api.example.com/v1", **more: Any) -> Web:
    declared = {"url": url, **({} if "expect" in more else {"jsonPath": "$.value"}), **more}
    return Web.of(WebSource.model_validate(declared))


def test_a_request_is_rendered_everywhere() -> None:
    """Path, query, headers, the strings of the body and what is expected may name variables."""
    source = web(
        "https://api.example.com/v1/{{ namespace }}?service={{ canary.service }}&w={{ weight }}",
        method="POST",
        headers=[{"name": "X-Team", "value": "{{ namespace }}"}],
        body='{"q": "errors of {{ canary.service }}", "n": [1, "{{ args.x }}"], "t": true}',
    )
    assert source.names() == {"namespace", "canary.service", "weight", "args.x"}
    found = source.rendered(names(x="a b"))
    assert found.url == "https://api.example.com/v1/team-shop?service=shop-canary&w=10"
    assert found.headers == (("X-Team", "team-shop"),)
    assert found.content == ("application/json", b'{"q":"errors of shop-canary","n":[1,"a b"],"t":true}')
    assert found.text == f"POST {found.url} $.value"
    form = web(method="POST", form=[{"name": "search", "value": "{{ args.x }}"}]).rendered(names(x="a&b=c"))
    assert form.content == ("application/x-www-form-urlencoded", b"search=a%26b%3Dc")
    expected = web(expect={"jsonPath": "$.service", "equals": "{{ canary.service }}"}).rendered(names()).expected
    assert expected is not None
    assert (expected.equals, expected.words) == ("shop-canary", "200 with $.service = shop-canary")


ANY_TEXT = st.text(max_size=60) | st.sampled_from(
    [
        "@evil.example",
        "/../..",
        "..",
        ".",
        "%2e%2e",
        "//evil",
        "?a=b",
        "#x",
        "&x=y",
        '"}',
        "\\",
        "{{ weight }}",
        "}}",
        "a\r\nb",
        "\u2028",
    ]
)


@given(ANY_TEXT)
def test_no_value_changes_whom_or_what_is_asked(value: str) -> None:
    """Whatever an argument says: the same host, the same segments, the same parameters, the same members; or it is refused."""
    source = web(
        "https://api.example.com:8443/v1/{{ args.x }}/q?a={{ args.x }}&b=1",
        method="POST",
        body='{"a": "{{ args.x }}", "b": {"c": "x{{ args.x }}y"}}',
        headers=[{"name": "X-A", "value": "v{{ args.x }}"}],
    )
    try:
        found = source.rendered(names(x=value))
    except RenderError:
        return
    parts = urlsplit(found.url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example.com:8443", "")
    before, own, after = parts.path.removeprefix("/").split("/")
    assert (before, unquote(own), after) == ("v1", value, "q")
    assert value not in (".", "..")
    assert parse_qsl(parts.query, keep_blank_values=True) == [("a", value), ("b", "1")]
    assert json.loads(found.body or "") == {"a": value, "b": {"c": f"x{value}y"}}
    assert not set(found.headers[0][1]) & set("\r\n\0")


@pytest.mark.parametrize(
    "url",
    [
        "https://{{ args.x }}/v1",
        "https://api.{{ args.x }}.com/v1",
        "https://api.example.com:{{ args.x }}/v1",
        "https://api.example.com{{ args.x }}/v1",
        "{{ args.x }}://api.example.com/v1",
        "https://user@api.example.com/v1",
        "https://user:pw@api.example.com/v1",
        "https:///v1",
        "ftp://api.example.com",
        "//api.example.com",
    ],
)
def test_whom_is_written_out(url: str) -> None:
    """Scheme, host and port take no variables, by the definition and by the code behind it."""
    with pytest.raises(ValidationError):
        web(url)
    with pytest.raises(RenderError):
        Web(url, path="$").rendered(names(x="evil.example"))
    with pytest.raises(RenderError):
        Web(url, path="$").names()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"url": "https://a/b#c"}, "fragments"),
        ({"url": "https://a/b c"}, "spaces"),
        ({"url": "https://a/é"}, "ASCII"),
        ({"url": "https://a/../b"}, "leads elsewhere"),
        ({"url": "https://a/%2E%2e/b"}, "leads elsewhere"),
        ({"url": "https://a/{{ nothing }}"}, "unknown variable 'nothing'"),
        ({"headers": [{"name": "Host", "value": "evil"}]}, "belongs to the connection"),
        ({"headers": [{"name": "authorization", "value": "Bearer x"}]}, "auth.secretRef"),
        ({"headers": [{"name": "Cookie", "value": "x"}]}, "auth.secretRef"),
        ({"headers": [{"name": "X-A", "value": "é"}]}, "ASCII on one line"),
        ({"method": "POST", "body": "{"}, "it is no JSON"),
        ({"method": "POST", "body": '{"a": {{ weight }}}'}, "stands only in its strings"),
        ({"method": "POST", "body": '{"{{ weight }}": 1}'}, "names of members"),
        ({"method": "POST", "body": '{"a": NaN}'}, "NaN is no JSON"),
        ({"jsonPath": "$.a["}, "is no JSONPath"),
        ({"jsonPath": "$..a..b"}, "more than one `..`"),
        ({"expect": {"jsonPath": "$['a','b']", "equals": "1"}}, "side by side"),
    ],
)
def test_what_can_never_be_asked(more: dict[str, Any], words: str) -> None:
    """Each says which part of the request it is about."""
    source = web(**{"url": "https://a/b", **more})
    with pytest.raises(RenderError, match=words.replace("(", r"\(")):
        source.rendered(names())


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"jsonPath": "$.a", "expect": {"status": [200]}},
        {"jsonPath": "$.a", "body": "{}"},
        {"jsonPath": "$.a", "method": "POST", "body": "{}", "form": [{"name": "a", "value": "b"}]},
        {"jsonPath": "a"},
        {"expect": {"jsonPath": "$.a"}},
        {"expect": {"equals": "a"}},
        {"expect": {"status": []}},
        {"expect": {"status": [99]}},
        {"jsonPath": "$.a", "method": "DELETE"},
        {"jsonPath": "$.a", "auth": {"secretRef": {"name": "x", "namespace": "other"}}},
        {"jsonPath": "$.a", "auth": {"secretRef": {"name": "other/x"}}},
    ],
)
def test_what_is_no_request(more: dict[str, Any]) -> None:
    """One thing is made of an answer, what is sent is sent by POST, and a Secret has a name and no namespace."""
    with pytest.raises(ValidationError):
        WebSource.model_validate({"url": "https://a/b", **more})


# -- whose Secret -------------------------------------------------------------------------------------------------------

AUTH = {"secretRef": {"name": "prom"}}


@pytest.mark.parametrize("field", ["prometheus", "web"])
def test_a_secret_of_the_platform_goes_where_the_platform_said(field: str) -> None:
    """An app team cannot send it elsewhere: by arguments, by a source of its own beside the template, or by a template of its own."""
    own = {
        "prometheus": {"query": "x{{ args.host }}", "address": "https://prom.example.com", "auth": AUTH},
        "web": {"url": "https://prom.example.com/{{ args.host }}", "jsonPath": "$.a", "auth": AUTH},
    }[field]
    template = CheckTemplateSpec.model_validate({"args": [{"name": "host"}], field: own, "threshold": {"max": 1}})
    evil = {
        "prometheus": {"query": "x", "address": "https://evil.example", "auth": AUTH},
        "web": {"url": "https://evil.example/", "jsonPath": "$.a", "auth": AUTH},
    }[field]
    reference = {"name": "t", "kind": "ClusterCheckTemplate"}
    check = Check.model_validate({"template": reference, "args": {"host": "@evil.example"}, field: evil})
    source = resolve(check, template, "spec.checks[0]").source.rendered(names(host="@evil.example"))
    assert source.auth == Auth("prom", platform=True)
    assert "https://prom.example.com" in (source.address if isinstance(source, Prometheus) else source.url)  # type: ignore[attr-defined]
    assert "evil.example" not in (getattr(source, "address", None) or urlsplit(getattr(source, "url", "")).netloc)

    for kind in ({"name": "t", "kind": "CheckTemplate"}, None):
        theirs = Check.model_validate(
            {"name": "x", "threshold": {"max": 1}, field: evil} if kind is None else {"template": kind}
        )
        found = resolve(theirs, None if kind is None else template, "spec.checks[0]").source.rendered(names(host=""))
        assert found.auth == Auth("prom", namespace="team-shop")


# -- JSONPath -----------------------------------------------------------------------------------------------------------

DOCUMENT = {"data": [{"value": 1, "name": "a"}, {"value": "2.5", "name": "b"}], "deep": {"data": {"value": None}}}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$.data[0].value", [1]),
        ("$.data[*].value", [1, "2.5"]),
        ("$['data'][-1]['value']", ["2.5"]),
        ("$.data[?@.name == 'b'].value", ["2.5"]),
        ("$.data[?@.value > 0].name", ["a"]),
        ("$.data[?@.name == $.data[1].name].value", ["2.5"]),
        ("$.data[0:1].name", ["a"]),
        ("$..value", [None, 1, "2.5"]),
        ("$.nothing", []),
        ("$.data[?length(@.name) == 1 && !(@.value == 1)].name", ["b"]),
    ],
)
def test_what_paths_select(path: str, values: list[Any]) -> None:
    """Names, indices, slices, wildcards, `..` and filters, as RFC 9535 has them."""
    found = [place.value for place in jsonpath.places(path, DOCUMENT, 10)]
    assert sorted(map(str, found)) == sorted(map(str, values))


def test_no_more_is_selected_than_is_wanted() -> None:
    """One more, so that it is seen that there are more."""
    assert len(jsonpath.places("$[*]", list(range(1000)), 3)) == 4


@pytest.mark.parametrize(
    "path",
    [
        "$..*..*",
        "$[?@..a]",
        "$[?@[*]]",
        "$[?count(@.*) > 1]",
        "$[0,1]",
        "$[?match(@.a, '(a+)+$')]",
        "$[?search(@.a, 'x')]",
        "$" + ".a" * 40,
    ],
)
def test_paths_that_could_cost_too_much(path: str) -> None:
    """What may look at a value more than once is refused before it is tried."""
    with pytest.raises(ValueError, match=r"cannot be used|is no JSONPath"):
        jsonpath.check(path)


def test_what_is_too_deep_is_said_so() -> None:
    """A document of a thousand levels ends no controller."""
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    with pytest.raises(jsonpath.TooDeep):
        jsonpath.places("$..a", deep, 10)


@given(st.text(max_size=40))
def test_whatever_a_path_is(text: str) -> None:
    """It is refused in words, or selects something or nothing."""
    try:
        jsonpath.check(f"${text}")
        jsonpath.places(f"${text}", DOCUMENT, 5)
    except (ValueError, jsonpath.TooDeep):
        pass


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (True, 1, False),
        (None, None, True),
        ([1, {"a": 2}], [1, {"a": 2.0}], True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ("1", 1, False),
        (0, False, False),
    ],
)
def test_equality_is_that_of_json(one: Any, other: Any, same: bool) -> None:
    """Numbers by their value, and true is no number."""
    assert jsonpath.equal(one, other) is same
