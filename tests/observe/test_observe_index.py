"""An index of members by key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary.observe.index import Index

steps = st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 3)), max_size=40)


@given(steps)
def test_it_is_a_dictionary_of_sets(script: list[tuple[bool, int, int]]) -> None:
    """Whatever is added and discarded, in whatever order; a key that nobody is left of is gone."""
    index: Index[int, int] = Index()
    expected: dict[int, set[int]] = {}
    for adds, key, member in script:
        (index.add if adds else index.discard)(key, member)
        (expected.setdefault(key, set()).add if adds else expected.get(key, set()).discard)(member)
        expected = {name: members for name, members in expected.items() if members}
        assert {name: set(index.get(name)) for name in index} == expected
        assert (key in index) is (key in expected)
        assert len(list(index.get(key))) == len(expected.get(key, ()))
