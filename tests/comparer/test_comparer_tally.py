"""What is counted of comparisons, and how much of it is kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.comparer.answers import Answer, NoAnswer, Reply
from canary.comparer.comparison import compare
from canary.comparer.documents import ignores
from canary.comparer.tally import BUCKETS, Tally
from canary.model.comparer_results import MAX_PATHS, MAX_RESULTS_BYTES, ComparerResults

NOW = datetime(2026, 11, 29, 10, tzinfo=UTC)


def answer(document: Any = None, *, status: int = 200, seconds: float = 0.02, **headers: str) -> Answer:
    body = document if isinstance(document, bytes) or document is None else json.dumps(document).encode()
    return Answer(status, {name.replace("_", "-"): text for name, text in headers.items()}, body, seconds)


LATE = NoAnswer("no answer in time", 5.0)
BODIES = st.sampled_from(
    [b"", b"text", b"other text", b'{"a": 1}', b'{"a": 2}', b'{"a": "1", "b": [1]}', b'{"b": [2, {"c": 1}]}', None]
)
ANSWERS = st.builds(
    lambda status, body, kind: Answer(status, {"content-type": kind} if kind else {}, body, 0.01),
    st.sampled_from([200, 404, 500]),
    BODIES,
    st.sampled_from(["", "text/html", "application/json"]),
)
REPLIES = ANSWERS | st.just(LATE)
HEADERS = ("content-type",)


def tally_of(*triples: tuple[Answer, Reply, Reply], **limits: int) -> ComparerResults:
    tally = Tally("i", NOW, **limits)
    for first, second, canary in triples:
        tally.received += 1
        tally.add(compare(first, second, canary, HEADERS), second, canary)
    return ComparerResults.read(tally.results(NOW).text())


@given(st.lists(st.tuples(ANSWERS.filter(lambda one: one.body is not None), REPLIES, REPLIES), max_size=8))
def test_whoever_changes_places_changes_counts(triples: list[tuple[Answer, Reply, Reply]]) -> None:
    """If stable's second answer and the canary's are swapped, then so are the counts: nothing else tells them apart."""
    there = tally_of(*triples)
    back = tally_of(*((first, canary, second) for first, second, canary in triples))
    counts = {found.path: (found.canary_only, found.stable_only, found.both) for found in there.paths}
    assert counts == {found.path: (found.stable_only, found.canary_only, found.both) for found in back.paths}
    assert (there.failures.stable, there.failures.canary) == (back.failures.canary, back.failures.stable)
    assert there.latency is not None
    assert back.latency is not None
    assert (there.latency.stable, there.latency.canary) == (back.latency.canary, back.latency.stable)


@given(ANSWERS.filter(lambda one: one.body is not None))
def test_equal_answers_give_nothing(one: Answer) -> None:
    """Three that are alike are compared, and that is all that is known of them."""
    results = tally_of((one, one, one))
    assert (results.compared, results.different, results.paths) == (1, 0, ())


@pytest.mark.parametrize(
    ("second", "canary", "counts"),
    [
        (answer({"a": 1}), answer({"a": 2}), {"$.a": (1, 0, 0)}),
        (answer({"a": 2}), answer({"a": 1}), {"$.a": (0, 1, 0)}),
        (answer({"a": 2}), answer({"a": 3}), {"$.a": (0, 0, 1)}),
        (answer({"a": 1}), answer({"a": 1}, status=500), {"status": (1, 0, 0)}),
        (answer({"a": 1}), answer(b"oops", status=500), {"status": (1, 0, 0), "body": (1, 0, 0)}),
        (answer({"a": 1}), answer({"a": 1}, content_type="text/html"), {"header:content-type": (1, 0, 0)}),
        (answer({"a": 1}), answer(None), {"body": (1, 0, 0)}),
        (answer({"a": 1}), LATE, {"status": (1, 0, 0)}),
        (LATE, answer({"a": 1}), {"status": (0, 1, 0)}),
        (LATE, LATE, {"status": (0, 0, 1)}),
        (answer({"a": 2}), LATE, {"$.a": (0, 1, 0), "status": (1, 0, 0)}),
    ],
)
def test_each_difference_is_counted_once_at_its_path(
    second: Reply, canary: Reply, counts: dict[str, tuple[int, int, int]]
) -> None:
    """Canary only, stable only, or both; an answer that never came is one, at `status`."""
    results = tally_of((answer({"a": 1}), second, canary))
    assert {found.path: (found.canary_only, found.stable_only, found.both) for found in results.paths} == counts
    assert results.different == any(only for only, _, _ in counts.values())


@given(st.permutations([0, 1]), st.integers(0, 50), st.integers(0, 50))
def test_noise_is_counted_alike_for_both(order: list[int], hours: int, minutes: int) -> None:
    """A time that is new in every answer differs in both, whichever is asked first."""
    times = [hours + 100, minutes + 200]
    replies = [answer({"now": times[index]}) for index in order]
    (found,) = tally_of((answer({"now": 1}), replies[0], replies[1])).paths
    assert (found.canary_only, found.stable_only, found.both) == (0, 0, 1)


def test_failures_and_times_are_counted() -> None:
    """Failures are 5xx and answers that never came; the latter are slower than any bound."""
    first = answer({"a": 1})
    results = tally_of(
        (first, answer({"a": 1}, status=503, seconds=0.0004), answer({"a": 1}, status=404, seconds=99)),
        (first, answer({"a": 1}, seconds=0.01), LATE),
    )
    assert (results.failures.stable, results.failures.canary) == (1, 1)
    assert results.latency is not None
    assert results.latency.buckets == BUCKETS
    assert results.latency.stable == (1, 0, 0, 1, *[0] * (len(BUCKETS) - 3))
    assert results.latency.canary == (*[0] * len(BUCKETS), 2)


def test_examples_show_types_and_no_more_than_wanted() -> None:
    """Up to so many different ones are kept of each path, of answers in which the canary alone differed; none with 0."""
    triples = [
        (answer({"secret": "hunter2"}), answer({"secret": "hunter2"}), answer({"secret": value}))
        for value in ("other", "hunter3", 4, None, True, [1])
    ]
    results = tally_of(*triples, examples=3)
    (found,) = results.paths
    assert [(one.stable, one.canary) for one in found.examples] == [
        ("string", "string"),
        ("string", "number"),
        ("string", "null"),
    ]
    assert "hunter" not in results.text()
    assert tally_of(*triples, examples=0).paths[0].examples == ()


def test_a_status_is_shown_as_it_is() -> None:
    """It is no secret, and `number` would say nothing."""
    first = answer({})
    results = tally_of((first, first, answer({}, status=500)), (first, first, LATE))
    assert [(one.stable, one.canary) for one in results.paths[0].examples] == [
        ("200", "500"),
        ("200", "no answer in time"),
    ]


def test_ignored_paths_are_not_counted() -> None:
    """Neither is a request different by them."""
    first = answer({"a": 1, "b": {"c": 1}})
    found = compare(first, first, answer({"a": 1, "b": {"c": 2}}, status=201), (), ignores(["$.b", "status"]))
    assert found.canary == found.stable == {}


def test_garbage_paths_fill_a_table_that_has_an_end() -> None:
    """However many paths there are, so many are kept; the others count together, so that what comes late is still seen."""
    tally = Tally("i", NOW)

    def name(number: int) -> str:
        return "".join(chr(97 + number // 26**place % 26) for place in range(4))

    same = answer({"fine": 1})
    for number in range(3 * MAX_PATHS):
        tally.received += 1
        noise = answer({"fine": 1, name(number): 1})
        tally.add(compare(same, noise, same), noise, same)
    late = answer({"fine": 1, "late": 1})
    for _ in range(7):
        tally.received += 1
        tally.add(compare(same, same, late), same, late)
    text = tally.results(NOW).text()
    results = ComparerResults.read(text)
    assert len(text) < MAX_RESULTS_BYTES
    assert len(results.paths) == MAX_PATHS
    assert results.paths_dropped == 2 * MAX_PATHS + 1 + 7
    assert (results.paths[-1].path, results.paths[-1].canary_only) == ("other", 7)
    assert results.different == 7


def test_even_the_longest_results_can_be_read() -> None:
    """With every path as long as can be, in letters of three bytes, they are within what a reader takes."""
    tally = Tally("i", NOW)

    def nested(number: int, leaf: Any) -> Any:
        key = f"{'漢' * 58}{number:04d}"
        return {key: {key: {key: {key: {key: leaf}}}}}

    for number in range(MAX_PATHS):
        first = answer(nested(number, 1))
        for leaf in ("text", [1], True):
            tally.received += 1
            tally.add(compare(first, first, answer(nested(number, leaf))), first, first)
    text = tally.results(NOW).text()
    of_counters = 3 * MAX_PATHS * len("999999999")
    assert len(text.encode()) + of_counters < MAX_RESULTS_BYTES
    assert len(ComparerResults.read(text.encode()).paths) == MAX_PATHS
