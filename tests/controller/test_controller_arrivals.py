"""What waits of what stands around routes: the newest of each object, and each with its namespace."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from canary.controller.arrivals import Arrival, Arrivals

Json = dict[str, Any]


def arrival(kind: str, namespace: str, name: str, version: int = 0, *, gone: bool = False) -> Arrival:
    return Arrival(kind, {"metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)}}, gone)


def test_a_thousand_words_about_one_object_are_one() -> None:
    """The last of them; its namespace needs one turn, and another that writes as much waits in a line of its own."""
    arrivals = Arrivals()
    turns = [arrivals.put(arrival("Gateway", "evil", "g", number)) for number in range(1000)]
    assert turns == ["evil", *[None] * 999]
    assert arrivals.put(arrival("Gateway", "team", "g")) == "team"
    assert arrivals.take("evil") == arrival("Gateway", "evil", "g", 999)
    assert (arrivals.take("evil"), arrivals.waits("evil"), arrivals.waits("team")) == (None, False, True)


def test_what_comes_and_goes_waits_as_gone() -> None:
    """Names that nobody will hear of again do not pile up: of each there is one word, and it is taken in like any other."""
    arrivals = Arrivals()
    arrivals.put(arrival("ReferenceGrant", "far", "g", 1))
    arrivals.put(arrival("ReferenceGrant", "far", "g", 2, gone=True))
    assert arrivals.take("far") == arrival("ReferenceGrant", "far", "g", 2, gone=True)


def test_a_namespace_waits_with_what_is_in_it() -> None:
    """What its owners do to its labels is on their account; what has no namespace is on nobody's."""
    arrivals = Arrivals()
    assert arrivals.put(arrival("Namespace", "", "team")) == "team"
    assert arrivals.put(arrival("Gateway", "team", "g")) is None
    assert arrivals.put(arrival("GatewayClass", "", "edge")) == ""
    assert [arrivals.take("team"), arrivals.take("team")] == [
        arrival("Namespace", "", "team"),
        arrival("Gateway", "team", "g"),
    ]


names = st.sampled_from(["a", "b", "c"])
kinds = st.sampled_from(["Gateway", "Service"])
script = st.lists(
    st.one_of(
        st.tuples(st.just("put"), kinds, names, names),
        st.tuples(st.just("take"), st.none(), names, st.none()),
        st.tuples(st.just("drop"), kinds, names, names),
        st.tuples(st.just("of"), kinds, st.none() | names, st.none()),
    ),
    max_size=40,
)


@given(script)
def test_it_is_a_dictionary_of_what_was_said_last(steps: list[tuple[str, Any, Any, Any]]) -> None:
    """Nothing is lost, nothing is taken in twice, and nothing that is older than what was said last."""
    arrivals, expected = Arrivals(), dict[tuple[str, str, str], Arrival]()
    for number, (what, kind, namespace, name) in enumerate(steps):
        if what == "put":
            expected[kind, namespace, name] = arrival(kind, namespace, name, number)
            arrivals.put(expected[kind, namespace, name])
        elif what == "take":
            taken = arrivals.take(namespace)
            mine = [key for key in expected if key[1] == namespace]
            assert (taken is None) is not bool(mine)
            if taken is not None:
                key = next(key for key in mine if expected[key] == taken)
                del expected[key]
        elif what == "drop":
            arrivals.drop(kind, (namespace, name))
            expected.pop((kind, namespace, name), None)
        else:
            found = arrivals.of(kind, namespace)
            mine = [key for key in expected if key[0] == kind and namespace in {None, key[1]}]
            assert sorted(map(repr, found)) == sorted(repr(expected.pop(key)) for key in mine)
        assert {place for place in "abc" if arrivals.waits(place)} == {key[1] for key in expected}
