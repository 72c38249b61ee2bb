from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.checks.render import KNOWN, names, render, variables
from canary.errors import RenderError

VALUES = variables(
    stable={"service": "shop-stable", "namespace": "team", "port": 8080},
    canary={"service": "shop-canary", "namespace": "team", "port": 8081},
    namespace="team",
    rollout="shop",
    route="web",
    window="1m",
    weight=12.5,
    args={"limit": "300ms", "min-rps": 3, "on": True, "nothing": None, "evil": 'x"} or vector(0'},
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("up", "up"),
        ('up{job="x"}', 'up{job="x"}'),
        ("{{ canary.service }}:{{stable.port}}", "shop-canary:8080"),
        ("{{\n\tcanary.service  }}", "shop-canary"),
        (
            'rate(x{service="{{ canary.service }}",code=~"5.."}[{{ window }}])',
            'rate(x{service="shop-canary",code=~"5.."}[1m])',
        ),
        ("{{ weight }} {{ args.min-rps }} {{ args.on }} {{ args.limit }}", "12.5 3 true 300ms"),
        ("x{{{ namespace }}}", "x{team}"),
        ('"{{ "{{" }} .Labels {{ "}}" }}"', '"{{ .Labels }}"'),
        ('{a=~"b{2}"}', '{a=~"b{2}"}'),
    ],
)
def test_rendering(template: str, expected: str) -> None:
    """Tags are replaced; PromQL's own braces and everything else stay as they are."""
    assert render(template, VALUES) == expected


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            "{{ canary.sevice }}",
            r"unknown variable 'canary.sevice' \(did you mean 'canary.service'\?\); known: .*window",
        ),
        ("{{ zzz }}", r"unknown variable 'zzz'; known: args.evil, .*, weight, window"),
        ("{{ args.other }}", "unknown variable 'args.other'"),
        ("{{ canary.service.name }}", "unknown variable 'canary.service.name'"),
        ("{{ canary }}", r"'canary' is a group of variables \(canary.service, canary.namespace, canary.port\)"),
        ("{{ args.nothing }}", "'args.nothing' has no value here; add it to args"),
        ("{{ args.evil }}", r"the value of 'args.evil' contains '\"'"),
        ("a\n{{ canary.service", 'line 2: "{{" is never closed'),
        ("{{ canary.service }", "is never closed"),
        ("a }} b", 'line 1: "}}" without "{{"'),
        ("{{ }}", "'' is no name"),
        ("{{ a + b }}", "'a \\+ b' is no name"),
        ("{{ a | upper }}", "is no name"),
        ("{{ a.__class__() }}", "is no name"),
        ("{{ {{ window }} }}", "is no name"),
        ("{{ .canary }}", "is no name"),
    ],
)
def test_mistakes_are_named(template: str, words: str) -> None:
    """A template that cannot be rendered says what is wrong, and what would be right."""
    with pytest.raises(RenderError, match=words):
        render(template, VALUES)


def test_the_unknown_name_is_told() -> None:
    """The error carries the name for the program, too."""
    with pytest.raises(RenderError) as caught:
        render("{{ canary.sevice }}", VALUES)
    assert caught.value.variable == "canary.sevice"


def test_names_without_values() -> None:
    """A template can be checked before there is anything to render it with."""
    template = '{{ canary.service }} {{ args.limit }} {{canary.service}} {{ "{{" }}'
    assert names(template) == {"canary.service", "args.limit"}
    with pytest.raises(RenderError, match="is never closed"):
        names("{{ canary")


def test_all_known_names_render() -> None:
    """What the documentation lists is what a query gets."""
    for name in KNOWN:
        assert render(f"{{{{ {name} }}}}", VALUES)


SAFE = st.text(st.characters(exclude_categories=["C"], exclude_characters="\"'`\\\u2028\u2029"), max_size=20)


@given(st.text().map(lambda text: re.sub(r"\{+|\}+", lambda run: run[0][0], text)))
def test_text_without_tags_is_untouched(text: str) -> None:
    """Whatever has no tag comes out as it went in."""
    assert render(text, {}) == text


@given(st.text(alphabet='{}"ab ', max_size=30))
def test_any_text_renders_or_is_refused(text: str) -> None:
    """Odd braces never end in anything but a rendered text or a RenderError, and names() agrees about which."""
    try:
        found = names(text)
    except RenderError:
        with pytest.raises(RenderError):
            render(text, {})
        return
    assert isinstance(render(text, dict.fromkeys(found, "v")), str)


@given(SAFE, st.text(alphabet='{}=~"[]() xy', max_size=12))
def test_values_are_text_and_not_templates(value: str, around: str) -> None:
    """A value goes in as it is: tags inside it are not rendered again, and its literal is still closed."""
    around = around.replace("{{", "{").replace("}}", "}").strip("{}")
    assert render(f'{around}"{{{{ x }}}}"{around}', {"x": value}) == f'{around}"{value}"{around}'


@given(SAFE, st.sampled_from(['"', "'", "`", "\\", "\n", "\r", "\x00", "\x7f", "\u2028"]), SAFE)
def test_values_cannot_break_out(before: str, bad: str, after: str) -> None:
    """No value with a character that ends a literal, or begins an escape, is put into a query."""
    with pytest.raises(RenderError, match="refused"):
        render("{{ x }}", {"x": before + bad + after})


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_numbers_keep_their_value(number: float) -> None:
    """A number is written such that PromQL reads the same one."""
    assert float(render("{{ x }}", {"x": number})) == pytest.approx(number, rel=1e-14)
