"""Hours of a week at a place: held against a clock on the wall that is looked at minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from canary.model.gates import WEEK, Window

BERLIN = "Europe/Berlin"
ZONES = ("UTC", BERLIN, "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Cairo")
"""Clocks that are set by an hour, by half an hour, at midnight, in either half of the year, and never."""


def window(**declared: object) -> Window:
    return Window.model_validate(declared)


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("declared", "moment", "open_"),
    [
        ({}, "2026-03-02T12:00", True),
        ({"from": "09:00", "to": "17:00"}, "2026-03-02T08:59:59", False),
        ({"from": "09:00", "to": "17:00"}, "2026-03-02T09:00", True),
        ({"from": "09:00", "to": "17:00"}, "2026-03-02T16:59:59", True),
        ({"from": "09:00", "to": "17:00"}, "2026-03-02T17:00", False),
        ({"days": ["Mon"]}, "2026-03-02T00:00", True),
        ({"days": ["Mon"]}, "2026-03-03T00:00", False),
        ({"days": ["Fri"], "from": "22:00", "to": "04:00"}, "2026-03-06T23:00", True),
        ({"days": ["Fri"], "from": "22:00", "to": "04:00"}, "2026-03-07T03:59", True),
        ({"days": ["Fri"], "from": "22:00", "to": "04:00"}, "2026-03-07T04:00", False),
        ({"days": ["Fri"], "from": "22:00", "to": "04:00"}, "2026-03-06T03:00", False),
        ({"days": ["Sun"], "from": "22:00", "to": "04:00"}, "2026-03-02T01:00", True),
    ],
)
def test_when_it_is_open(declared: dict[str, object], moment: str, open_: bool) -> None:
    """From its first second to before its last; over midnight it belongs to the day on which it opens."""
    assert window(**declared).open_at(at(moment)) is open_


@pytest.mark.parametrize(
    ("declared", "now", "opens"),
    [
        ({"from": "09:00", "to": "17:00"}, "2026-03-02T18:00", "2026-03-03T09:00"),
        ({"days": ["Mon"], "from": "09:00", "to": "17:00"}, "2026-03-02T17:00", "2026-03-09T09:00"),
        ({"days": ["Mon", "Fri"]}, "2026-03-03T00:00", "2026-03-06T00:00"),
        ({"from": "22:00", "to": "04:00"}, "2026-03-02T05:00", "2026-03-02T22:00"),
    ],
)
def test_when_it_opens_next(declared: dict[str, object], now: str, opens: str) -> None:
    """Also a week from now."""
    assert window(**declared).opens_after(at(now)) == at(opens)


def test_a_time_that_is_skipped_opens_when_clocks_are_put_forward() -> None:
    """On 29 March 2026 there is no 02:30 in Berlin: at 03:00 it is past it."""
    night = window(**{"from": "02:30", "to": "05:00", "timezone": BERLIN})
    before = at("2026-03-29T01:59", BERLIN)
    opens = night.opens_after(before)
    assert opens == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert night.spoken(opens) == "Sun 2026-03-29 03:00 CEST"


def test_a_window_that_is_skipped_altogether_opens_another_day() -> None:
    """Between 02:10 and 02:50 there is nothing that night."""
    night = window(**{"days": ["Sun"], "from": "02:10", "to": "02:50", "timezone": BERLIN})
    assert night.opens_after(at("2026-03-29T00:00", BERLIN)) == at("2026-04-05T02:10", BERLIN)


def test_a_time_that_comes_twice_is_in_it_twice() -> None:
    """On 25 October 2026 it is 02:10 twice in Berlin."""
    night = window(**{"from": "01:00", "to": "02:30", "timezone": BERLIN})
    between = at("2026-10-25T02:40", BERLIN)
    assert night.open_at(at("2026-10-25T02:10", BERLIN))
    assert not night.open_at(between)
    assert night.opens_after(between) == datetime(2026, 10, 25, 1, tzinfo=UTC)


times = st.times().map(lambda found: f"{found:%H:%M}")
windows = st.builds(
    lambda days, begins, ends, zone: {"days": sorted(days), "from": begins, "to": ends, "timezone": zone},
    st.sets(st.sampled_from([str(day) for day in WEEK]), min_size=1),
    times,
    times | st.just("24:00"),
    st.sampled_from(ZONES),
).filter(lambda found: found["from"] != found["to"])
set_nearby = st.sampled_from(
    ["2026-03-08", "2026-03-29", "2026-04-05", "2026-04-24", "2026-09-06", "2026-10-04", "2026-10-25", "2026-10-30"]
)
"""Days near which clocks are set somewhere."""


@settings(max_examples=60, deadline=None)
@given(declared=windows, day=set_nearby, minutes=st.integers(-2880, 2880))
def test_it_opens_when_the_clock_on_the_wall_says_so(declared: dict[str, object], day: str, minutes: int) -> None:
    """The next opening is the first minute at which it is open, whatever is done to clocks on the way."""
    found = window(**declared)
    now = at(day) + timedelta(minutes=minutes)
    opens = found.opens_after(now)
    minute = now
    for _ in range(3 * 1440):
        if found.open_at(minute):
            break
        minute += timedelta(minutes=1)
    else:
        assert opens is None or opens > now + timedelta(days=3) - timedelta(minutes=1)
        return
    assert opens == minute


@settings(max_examples=100, deadline=None)
@given(declared=windows, seconds=st.integers(0, 366 * 86400))
def test_the_clock_on_the_wall_is_all_that_counts(declared: dict[str, object], seconds: int) -> None:
    """Two moments at which it shows the same on the same day are both in it, or both not."""
    found = window(**declared)
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    there = now.astimezone(ZoneInfo(str(declared["timezone"])))
    twin = there.replace(fold=1 - there.fold).astimezone(UTC).astimezone(there.tzinfo)
    if twin.replace(fold=0, tzinfo=None) == there.replace(fold=0, tzinfo=None):
        assert found.open_at(twin) == found.open_at(now)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"from": "09:00", "to": "09:00"}, "two different times"),
        ({"from": "24:00", "to": "09:00"}, "should match pattern"),
        ({"from": "9:00"}, "should match pattern"),
        ({"timezone": "Mars/Olympus"}, "is no time zone"),
        ({"timezone": "Europe"}, "is no time zone"),
        ({"timezone": "../../etc/passwd"}, "should match pattern"),
        ({"days": []}, "at least 1"),
        ({"days": ["Monday"]}, "Input should be"),
    ],
)
def test_what_is_no_window_is_refused(declared: dict[str, object], words: str) -> None:
    """In words that say what is wrong with it."""
    with pytest.raises(ValidationError, match=words):
        window(**declared)


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({}, "every day UTC"),
        ({"days": ["Mon", "Tue", "Wed", "Fri"], "from": "09:00"}, "Mon-Wed, Fri 09:00-24:00 UTC"),
        ({"days": ["Sun", "Sat"], "to": "12:00", "timezone": BERLIN}, "Sat, Sun 00:00-12:00 Europe/Berlin"),
    ],
)
def test_people_read_it_in_short(declared: dict[str, object], words: str) -> None:
    """Rows of days as one."""
    assert str(window(**declared)) == words
