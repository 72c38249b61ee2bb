"""Selectors of namespaces: what they mean is what the API server means by them, and what makes no sense means nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.preflight.selectors import Requirement, read, unmet
from canary_sandbox.gateway.attach import selects

Json = dict[str, Any]

names, values = st.sampled_from(["team", "env", "example.com/tier"]), st.sampled_from(["a", "b", "c", ""])
some = st.lists(values, min_size=1, max_size=3)
terms = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        names,
        st.sampled_from(["In", "NotIn"]),
        some,
    ),
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, **values},
        names,
        st.sampled_from(["Exists", "DoesNotExist"]),
        st.sampled_from([{}, {"values": []}, {"values": None}]),
    ),
)
selectors = st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": st.dictionaries(names, values, max_size=2),
        "matchExpressions": st.lists(terms, max_size=3),
    },
)


@given(selectors, st.dictionaries(names, values, max_size=3))
def test_a_selector_means_what_a_gateway_makes_of_it(selector: Json, labels: dict[str, str]) -> None:
    """All terms have to be met; what is not is named, one by one."""
    found = read(selector)
    assert found is not None
    lacking = unmet(found, labels)
    assert (not lacking) is selects(selector, labels)
    assert all(not requirement.met(labels) for requirement in lacking)


SENSELESS: list[Any] = [
    None,
    "team=a",
    {"matchLabels": ["team"]},
    {"matchLabels": {"team": 1}},
    {"matchLabels": {"team": "a b"}},
    {"matchLabels": {"not a name": "a"}},
    {"matchLabels": {"team": "x" * 64}},
    {"matchExpressions": {"key": "team"}},
    {"matchExpressions": ["team"]},
    {"matchExpressions": [{"key": "team", "operator": "In"}]},
    {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": []}]},
    {"matchExpressions": [{"key": "team", "operator": "Exists", "values": ["a"]}]},
    {"matchExpressions": [{"key": "team", "operator": "Gt", "values": ["1"]}]},
    {"matchExpressions": [{"operator": "Exists"}]},
    {"matchExpressions": [{"key": "team", "operator": "In", "values": "a"}]},
    {"matchExpressions": [{"key": "team", "operator": "Exists"}, {"key": "env", "operator": "exists"}]},
]


@pytest.mark.parametrize("selector", SENSELESS, ids=str)
def test_what_the_api_server_would_refuse_is_no_selector(selector: Any) -> None:
    """One term that makes no sense, and nobody knows what the whole of it means."""
    assert read(selector) is None


def test_an_empty_selector_is_met_by_every_namespace() -> None:
    """Which is not the same as none."""
    assert read({}) == ()
    assert unmet((), {}) == ()


@pytest.mark.parametrize(
    ("requirement", "words", "remedy"),
    [
        (Requirement("team", "In", ("a",)), "team=a", "set the label team=a"),
        (Requirement("team", "In", ("a", "b")), "team in (a, b)", "set the label team=a or team=b"),
        (
            Requirement("team", "NotIn", ("a", "b")),
            "team not in (a, b)",
            "take away the label team, or give it another value",
        ),
        (Requirement("team", "Exists"), "label team", "set a label team"),
        (Requirement("team", "DoesNotExist"), "no label team", "take away the label team"),
    ],
)
def test_each_says_what_it_asks_for_and_what_mends_it(requirement: Requirement, words: str, remedy: str) -> None:
    """For somebody who has the namespace in front of them."""
    assert (requirement.words, requirement.remedy) == (words, remedy)
