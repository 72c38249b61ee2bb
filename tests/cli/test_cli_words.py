"""Numbers, times and text in the words of a person at a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from canary.cli.query import wrap_query
from canary.view.words import (
    age,
    clean,
    clock,
    counted,
    event_time,
    every,
    left,
    listing,
    measured,
    percent,
    recorded,
    since,
    span,
    tolerance,
)

NOW = datetime(2024, 5, 1, 10, 40, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (42, "42s"), (245, "4m05s"), (300, "5m"), (4320, "1h12m"), (3600, "1h"), (273_600, "3d4h")],
)
def test_a_span_has_at_most_two_units(seconds: int, text: str) -> None:
    """Lengths of time are short and their parts line up."""
    assert span(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5s"),
        (119, "119s"),
        (245, "4m5s"),
        (720, "12m"),
        (4 * 3600 + 600, "4h10m"),
        (90_000, "25h"),
        (259_200, "3d"),
    ],
)
def test_an_age_reads_as_kubectl_prints_it(seconds: int, text: str) -> None:
    """The AGE column does not differ from that of `kubectl get`."""
    assert age(timedelta(seconds=seconds)) == text


def test_time_that_is_left_is_rounded_up() -> None:
    """A hold is not over while anything of it is left."""
    assert left(NOW + timedelta(milliseconds=300), NOW) == "1s"
    assert left(NOW - timedelta(seconds=3), NOW) == "0s"


@pytest.mark.parametrize("passed", [0, 4, 31, 4000])
def test_of_a_measurement_only_what_is_on_record_is_said(passed: int) -> None:
    """Values within limits are not written at every measurement: neither `overdue` nor `next in 4s` could be known."""
    words = recorded(NOW - timedelta(seconds=passed), NOW)
    assert words == f"recorded {since(NOW - timedelta(seconds=passed), NOW)}"
    assert (every(10), every(0.5), every(90), every(None)) == (
        "measured every 10s",
        "measured every 0.5s",
        "measured every 1m30s",
        "",
    )


def test_one_is_not_many() -> None:
    """`1 failed measurements` reads like a machine."""
    assert [counted(number, "check passes", "checks pass") for number in (1, 2)] == ["1 check passes", "2 checks pass"]
    assert [counted(number, "time") for number in (0, 1, 2)] == ["0 times", "1 time", "2 times"]


@pytest.mark.parametrize(
    ("failures", "limit", "words"),
    [
        (0, 0, ""),
        (0, 2, ""),
        (1, 0, "failed once, tolerates none"),
        (2, 2, "failed twice in a row, tolerates 2"),
        (3, 2, "failed 3 times in a row, tolerates 2"),
    ],
)
def test_failures_are_told_in_words(failures: int, limit: int, words: str) -> None:
    """`failures 1/0` is a riddle."""
    assert tolerance(failures, limit) == words


def test_failures_of_the_last_measurements_are_told_in_words() -> None:
    """How many are too many stands beside how many there were; none is no word."""
    assert tolerance(1, 1, 5) == "failed 1 of the last 5, 2 are too many"
    assert tolerance(0, 1, 5) == ""


def test_a_time_of_another_day_has_its_date() -> None:
    """A bare time of day would be read as today's."""
    assert clock(NOW, NOW) == "10:40:02"
    assert clock(NOW - timedelta(days=1), NOW) == "2024-04-30 10:40:02"


def test_control_characters_never_reach_the_terminal() -> None:
    """A message from the cluster cannot move the cursor, set a title, or clear the screen."""
    assert clean("a\x1b[2Jb\x07c\x9b31md\r\n") == "a[2Jbc31md"
    assert clean("two\nlines") == "two\nlines"


def test_numbers_are_short_and_absence_is_no_number() -> None:
    """No needless zeros, and nothing measured is not 0."""
    assert percent(48.7) == "48.7 %"
    assert percent(50.0) == "50 %"
    assert percent(None) == ""
    assert measured(0.00123456) == "0.001235"
    assert measured(None) == "-"
    assert measured(0) == "0"


def test_a_listing_reads_as_a_sentence() -> None:
    """Commas, and one `and`."""
    assert [listing(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


def test_the_time_of_an_event_is_its_last() -> None:
    """Events have three ways to say when; the latest known counts."""
    assert event_time({"series": {"lastObservedTime": "c"}, "lastTimestamp": "b"}) == "c"
    assert event_time({"lastTimestamp": None, "eventTime": "e"}) == "e"
    assert event_time({"metadata": {"creationTimestamp": "m"}}) == "m"


@pytest.mark.parametrize("width", [8, 20, 40, 72, 200])
def test_a_query_breaks_at_its_joints_and_loses_nothing(width: int) -> None:
    """Every line fits, and the pieces are the query."""
    query = 'sum(rate(http_requests_total{service="shop",code=~"5.."}[1m]))\n  / sum(rate(x{service="shop"}[1m]))'
    lines = wrap_query(query, width)
    assert max(len(line) for line in lines) <= width
    assert "".join("".join(lines).split()) == "".join(query.split())
    if width == 40:
        assert lines[:2] == ["sum(rate(http_requests_total{", 'service="shop",code=~"5.."}[1m]))']
