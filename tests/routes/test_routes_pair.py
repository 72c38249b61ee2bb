"""Where in a route our pair is, and what is wrong when it cannot be told."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routes_kit import CANARY, STABLE, Json, ref, route, rule

from canary.errors import SpecError
from canary.model.rollout import BackendTarget
from canary.routes.pair import MAX_WEIGHT, Backend, Pair, Weights
from canary.routes.rules import read_pairs

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
    ("no rules", route(), (), "route shop has no rules; add one that lists s:80 and c:80, the canary with weight 0"),
    (
        "no canary",
        route(rule(ref("s"))),
        (),
        "the only rule of route shop lists s:80, and not c:80; add the canary as a backendRef with weight 0",
    ),
    (
        "no stable",
        route(rule(ref("x")), rule(ref("c"), name="pay")),
        (),
        "rule pay of route shop lists c:80, and not s:80; add stable as a backendRef",
    ),
    (
        "not in one rule",
        route(rule(ref("s")), rule(ref("c"))),
        (),
        (
            "spec.rules[0] of route shop lists s:80 and spec.rules[1] lists c:80; one rule has to list both: "
            "add the canary as a backendRef with weight 0 beside stable"
        ),
    ),
    (
        "neither",
        route(rule(ref("x"), ref("y", port=81), name="pay")),
        (),
        (
            "rule pay of route shop lists neither s:80 nor c:80, but x:80, y:81; add both as backendRefs, the canary "
            "with weight 0, or correct spec.stable and spec.canary"
        ),
    ),
    (
        "neither in any",
        route(rule(ref("x")), rule()),
        (),
        (
            "no rule of route shop lists s:80 or c:80; add both as backendRefs, the canary with weight 0, or correct "
            "spec.stable and spec.canary"
        ),
    ),
    (
        "a rule without backends",
        route(rule(name="pay"), rule(ref("z"))),
        ("pay",),
        "rule pay of route shop lists neither s:80 nor c:80, but nothing;",
    ),
    (
        "another port",
        route(rule(ref("x")), rule(ref("s"), ref("c", port=9090), name="checkout")),
        (),
        "rule checkout of route shop lists c:9090, not :80; correct the port there, or spec.canary.port",
    ),
    (
        "another port in a rule without a name",
        route(rule(ref("x")), rule(ref("s", port=81), ref("c"))),
        (),
        "spec.rules[1] of route shop lists s:81, not :80; correct the port there, or spec.stable.port",
    ),
    (
        "other ports of both",
        route(rule(ref("s", port=81), ref("c", port=82))),
        (),
        (
            "the only rule of route shop lists s:81, not :80, and c:82, not :80; correct the ports there, or "
            "spec.stable.port and spec.canary.port"
        ),
    ),
    (
        "two other ports of one",
        route(rule(ref("s"), ref("c", port=81), ref("c", port=82))),
        (),
        "the only rule of route shop lists c:81 and c:82, not :80; correct the port there, or spec.canary.port",
    ),
    (
        "no port",
        route(rule(ref("s"), {"name": "c"})),
        (),
        "the only rule of route shop lists c without a port, not c:80; give it the port there",
    ),
    (
        "another namespace",
        route(rule(ref("s", 9, namespace="other"), ref("c", 1))),
        (),
        (
            "the only rule of route shop lists other/s:80, not team/s:80; correct the namespace there, or "
            "spec.stable.namespace"
        ),
    ),
    (
        "another kind",
        route(rule(ref("s"), ref("c", kind="Bucket", group="storage.example.org"))),
        (),
        "the only rule of route shop lists Bucket c, not Service c; name the Service there",
    ),
    (
        "one wrong and one missing",
        route(rule(ref("s", port=81))),
        (),
        (
            "the only rule of route shop lists s:81, not :80, and no c:80; correct the port there, or spec.stable.port, and "
            "add the canary as a backendRef with weight 0"
        ),
    ),
    ("no such rule", route(rule(*PAIR)), ("pay",), "route shop has no rule named 'pay'"),
    (
        "the rule that was asked for, and not one that would fit better",
        route(rule(*PAIR, name="a"), rule(ref("s"), name="b")),
        ("a", "b"),
        "rule b of route shop lists s:80, and not c:80",
    ),
    ("twice", route(rule(*PAIR, ref("c", 2), name="pay")), (), "rule pay of route shop lists c:80 2 times"),
    (
        "twice, in a rule without a name",
        route(rule(ref("x")), rule(*PAIR, ref("c", 2))),
        (),
        "spec.rules[1] of route shop lists c:80 2 times; list it once",
    ),
]


@pytest.mark.parametrize(
    ("document", "rules", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_what_cannot_be_told_is_refused_in_words(document: Json, rules: tuple[str, ...], message: str) -> None:
    """Ambiguity is never resolved by guessing; what the rule lists is said, and what to do about it."""
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


def test_a_backend_elsewhere_is_named_in_full() -> None:
    """With a pair across namespaces nobody has to guess which Service is meant."""
    there = Backend.of(BackendTarget(service="c", port=80, namespace="lab"), "team")
    with pytest.raises(SpecError) as caught:
        read_pairs(route(rule(ref("s"), ref("c"))), Pair(STABLE, there))
    assert "lists team/c:80, not lab/c:80; correct the namespace there" in caught.value.message


NAMES = st.sampled_from(["s", "c", "x"])
REFS = st.fixed_dictionaries(
    {"name": NAMES, "port": st.sampled_from([80, 81])},
    optional={"namespace": st.sampled_from(["team", "other"]), "kind": st.sampled_from(["Service", "Bucket"])},
)


@given(st.lists(st.lists(REFS, max_size=3), max_size=3), st.booleans())
def test_any_route_has_a_pair_or_a_sentence(rules: list[list[Json]], named: bool) -> None:
    """Never a crash, never both; and a sentence names nothing that is not in the route or in the Rollout."""
    document = route(*(rule(*refs, name=f"r{index}" if named else None) for index, refs in enumerate(rules)))
    try:
        pairs, said = read_pairs(document, Pair(STABLE, CANARY)), ""
    except SpecError as error:
        pairs, said = (), error.message
    assert bool(pairs) != bool(said)
    assert pairs or ("route shop" in said and ";" in said), "where, and what to do"


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
