"""The store's lists, against the plainest way of making them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from canary_sandbox.apiserver.store import Key, Store

THINGS = ("example.dev", "things")
KEYS = st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y", "z"]))


@given(st.lists(st.tuples(st.booleans(), KEYS), max_size=30), st.data())
def test_a_list_is_what_there_was_in_order(changes: list[tuple[bool, Key]], data: st.DataObject) -> None:
    """At any revision, behind any key, of any namespace or all of them; lists in between change nothing."""
    store = Store()
    state: dict[Key, int] = {}
    then: dict[int, dict[Key, int]] = {store.revision: {}}
    for present, key in changes:
        if present:
            put = store.put(THINGS, {"metadata": {"namespace": key[0], "name": key[1]}})
            state = {**state, key: put.revision}
        elif key in state:
            store.remove(THINGS, key)
            state = {other: revision for other, revision in state.items() if other != key}
        then[store.revision] = state
        assert [item.key for item in store.list(THINGS)] == sorted(state)
    at = data.draw(st.sampled_from([None, *then]))
    after = data.draw(st.none() | KEYS)
    namespace = data.draw(st.sampled_from(["", "a", "b", "d"]))
    listed = {item.key: item.revision for item in store.list(THINGS, namespace, at=at, after=after)}
    expected = {
        key: revision
        for key, revision in sorted(then[store.revision if at is None else at].items())
        if namespace in {"", key[0]} and (after is None or key > after)
    }
    assert list(listed.items()) == list(expected.items())
