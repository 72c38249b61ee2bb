"""Where in a route our pair is, and what is wrong when it cannot be told."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from gateway_kit import CANARY, STABLE, Json, ref, route, rule
from hypothesis import given
from hypothesis import strategies as st

from canary.errors import SpecError
from canary.gateway.pair import MAX_WEIGHT, Backend, Pair, Weights, read_pairs
from canary.model.rollout import BackendTarget

PAIR = (ref("s", 9), ref("c", 1))

FOUND = [
    pytest.param(route(rule(*PAIR)), [("#0", 0, 1, "9/1", 0)], id="an unnamed rule goes by its index"),
    pytest.param(route(rule(*PAIR, name="pay")), [("pay", 0, 1, "9/1", 0)], id="a named rule goes by its name"),
    pytest.param(route(rule(ref("c", 1), ref("s", 9))), [("#0", 1, 0, "9/1", 0)], id="the order does not matter"),
    pytest.param(route(rule(ref("s"), ref("c", 0))), [("#0", 0, 1, "-/0", 0)], id="an absent weight stays absent"),
    pytest.param(
        route(rule(ref("x", 5), ref("s", 9), ref("y"), ref("c", 1))), [("#0", 1, 3, "9/1", 6)], id="others count, too"
    ),
    pytest.param(
        route(rule(ref("x")), rule(*PAIR), rule(ref("s"))), [("#1", 0, 1, "9/1", 0)], id="rules without the pair do not"
    ),
    pytest.param(
        route(rule(*PAIR), rule(*PAIR, name="b")),
        [("#0", 0, 1, "9/1", 0), ("b", 0, 1, "9/1", 0)],
        id="every rule with the pair counts",
    ),
    pytest.param(
        route(rule(ref("s", 9, namespace="team"), ref("c", 1, kind="Service", group=""))),
        [("#0", 0, 1, "9/1", 0)],
        id="what is the default may be spelled out",
    ),
    pytest.param(
        route(rule(*PAIR, ref("c", 4, port=81), ref("c", 3, namespace="other"))),
        [("#0", 0, 1, "9/1", 7)],
        id="another port or namespace is another backend",
    ),
    pytest.param(
        route(rule(*PAIR, ref("c", 4, kind="Bucket", group="storage.example.org"))),
        [("#0", 0, 1, "9/1", 4)],
        id="another kind is another backend",
    ),
]


@pytest.mark.parametrize(("document", "expected"), FOUND)
def test_the_pair_is_found(document: Json, expected: list[tuple[str, int, int, str, int]]) -> None:
    """(key, index of stable, index of canary, weights, weight of all others)"""
    pairs = read_pairs(document, Pair(STABLE, CANARY))
    assert [(pair.key, pair.stable, pair.canary, str(pair.weights), pair.others) for pair in pairs] == expected


REFUSED = [
    pytest.param(route(), (), "no rule of route shop lists both team/s:80 and team/c:80", id="no rules"),
    pytest.param(route(rule(ref("s"))), (), "add the canary as a backendRef with weight 0", id="no canary"),
    pytest.param(route(rule(ref("s")), rule(ref("c"))), (), "no rule of route shop lists both", id="not in one rule"),
    pytest.param(route(rule(*PAIR)), ("pay",), "route shop has no rule named 'pay'", id="no such rule"),
    pytest.param(
        route(rule(*PAIR, name="a"), rule(ref("s"), name="b")), ("a", "b"), "rule 'b' of route shop", id="half named"
    ),
    pytest.param(
        route(rule(*PAIR, ref("c", 2), name="pay")), (), "rule pay of route shop lists team/c:80 2 times", id="twice"
    ),
    pytest.param(
        route(rule(ref("s", 9, namespace="other"), ref("c", 1))), (), "no rule of route shop", id="of another namespace"
    ),
]


@pytest.mark.parametrize(("document", "rules", "message"), REFUSED)
def test_what_cannot_be_told_is_refused_in_words(document: Json, rules: tuple[str, ...], message: str) -> None:
    """Ambiguity is never resolved by guessing."""
    with pytest.raises(SpecError, match=r"spec\.routes") as caught:
        read_pairs(document, Pair(STABLE, CANARY), rules)
    assert message in str(caught.value)


def test_only_the_named_rules_are_read() -> None:
    """The same pair in a rule that is not named is none of our business, ambiguous or not."""
    document = route(rule(*PAIR, ref("s", 3)), rule(*PAIR, name="pay"))
    assert [pair.key for pair in read_pairs(document, Pair(STABLE, CANARY), ("pay",))] == ["pay"]


def test_a_pair_across_namespaces_is_read_by_full_name() -> None:
    """The canary's Service lives elsewhere (and needs a ReferenceGrant there)."""
    there = Backend.of(BackendTarget(service="c", port=80, namespace="lab"), "team")
    document = route(rule(ref("s", 1), ref("c", 0), ref("c", 0, namespace="lab")))
    (pair,) = read_pairs(document, Pair(STABLE, there))
    assert (pair.canary, str(there)) == (2, "lab/c:80")


@pytest.mark.parametrize(
    ("weights", "share"),
    [("9/1", 10), ("-/-", 50), ("-/0", 0), ("0/0", 0), ("0/5", 100), ("199/1", Fraction(1, 2))],
)
def test_shares_are_exact(weights: str, share: Fraction | int) -> None:
    """Percent of the pair; an absent weight is 1, a pair that gets nothing gives the canary nothing."""
    assert Weights.parse(weights).share == share


@pytest.mark.parametrize("text", ["", "1", "1/2/3", "a/b", "1/", "-1/0", "0/1000001", "1.5/2"])
def test_what_is_no_pair_of_weights_is_refused(text: str) -> None:
    """The annotation is text, and anybody may edit it."""
    with pytest.raises(ValueError):
        Weights.parse(text)


bounded = st.one_of(st.none(), st.integers(0, MAX_WEIGHT))


@given(bounded, bounded)
def test_weights_survive_the_annotation(stable: int | None, canary: int | None) -> None:
    """Absent weights stay absent."""
    weights = Weights(stable, canary)
    assert Weights.parse(str(weights)) == weights


@given(bounded, bounded)
def test_all_on_one_side_is_always_writable(stable: int | None, canary: int | None) -> None:
    """A rollback needs no arithmetic and never exceeds what the API takes; what is so already is left as it is."""
    weights = Weights(stable, canary)
    assert weights.only_stable.share == 0
    assert weights.only_canary.share == 100
    for end, was in ((weights.only_stable, weights.share == 0), (weights.only_canary, weights.share == 100)):
        assert max(end.stable or 0, end.canary or 0) <= MAX_WEIGHT
        assert not was or end == weights or not weights.total  # a pair that gets nothing serves nobody: one side gets 1
        assert end.total == max(min(weights.total, MAX_WEIGHT), 1) or end == weights


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (ref("c", 0, port=9090), "rule #0 lists team/c:9090, not team/c:80"),
        (ref("c", 0, namespace="lab"), "rule #0 lists lab/c:80, not team/c:80"),
        (ref("other", 0), "add the canary as a backendRef with weight 0"),
    ],
)
def test_a_wrong_port_is_told_by_what_the_rule_lists(listed: Any, words: str) -> None:
    """The Service is there, with another port or from another namespace: that is what has to be corrected."""
    with pytest.raises(SpecError, match="no rule of route") as caught:
        read_pairs(route(rule(ref("s", 1), listed)), Pair(STABLE, CANARY))
    assert words in str(caught.value)
