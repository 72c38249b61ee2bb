"""Durations, shares and limits: parsed once, exact ever after, written as they were read."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.model.values import (
    DURATION_PATTERN,
    LIMIT_TEMPLATE_PATTERN,
    SHARE_PATTERN,
    Duration,
    Limit,
    Share,
    decimal_text,
    number,
)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0s", 0),
        ("1ms", 1),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1h2m3s4ms", 3_723_004),
        ("99999h", 359_996_400_000),
        ("10s10s", 20_000),
    ],
)
def test_durations(text: str, milliseconds: int) -> None:
    """GEP-2257: up to four parts of h, m, s, ms."""
    duration = Duration.parse(text)
    assert (duration.milliseconds, duration.seconds, duration.dump()) == (milliseconds, milliseconds / 1000, text)
    assert duration.delta.total_seconds() == milliseconds / 1000


@pytest.mark.parametrize(
    "raw",
    ["", "5", "5 m", "1d", "-5m", "1.5h", "100000s", "1s1s1s1s1s", "ms", "5M", "5m\n", 5, 5.0, None, True, ["5m"]],
)
def test_what_is_no_duration(raw: Any) -> None:
    """Refused with an example of what would do."""
    with pytest.raises(ValueError, match="is not a duration; write for example"):
        Duration.parse(raw)


@pytest.mark.parametrize(
    ("raw", "percent", "dumped"),
    [
        (0, Fraction(0), 0),
        (10, Fraction(10), 10),
        (100, Fraction(100), 100),
        ("10", Fraction(10), 10),
        ("10%", Fraction(10), 10),
        ("0.5%", Fraction(1, 2), "0.5%"),
        ("0.5", Fraction(1, 2), "0.5%"),
        ("33.3333%", Fraction(333_333, 10_000), "33.3333%"),
        ("0.0001%", Fraction(1, 10_000), "0.0001%"),
        ("100.0%", Fraction(100), 100),
        ("07", Fraction(7), 7),
    ],
)
def test_shares(raw: Any, percent: Fraction, dumped: Any) -> None:
    """Exact: half a percent is one in two hundred, not something near it."""
    share = Share.parse(raw)
    assert (share.percent, share.dump()) == (percent, dumped)
    assert Share.parse(share.dump()) == share


@pytest.mark.parametrize(
    "raw",
    [-1, 101, 1.0, 0.5, True, None, "", "101", "100.1", "-1", "1e1", "0.00001", "10 %", "%", "ten", "10\n", [10], {}],
)
def test_what_is_no_share(raw: Any) -> None:
    """Floats too: 0.1 in YAML is not a tenth."""
    with pytest.raises(ValueError, match="is not a share"):
        Share.parse(raw)


@pytest.mark.parametrize(
    ("raw", "number_", "dumped"),
    [
        (0, Fraction(0), 0),
        (-3, Fraction(-3), -3),
        ("0.01", Fraction(1, 100), "0.01"),
        ("1%", Fraction(1, 100), "1%"),
        ("99.9%", Fraction(999, 1000), "99.9%"),
        ("300ms", Fraction(3, 10), "300ms"),
        ("2m", Fraction(120), "2m"),
        ("1h", Fraction(3600), "1h"),
        ("-0.5", Fraction(-1, 2), "-0.5"),
        ("7", Fraction(7), 7),
        ("{{ args.limit }}", None, "{{ args.limit }}"),
        ("{{args.a-b_C}}", None, "{{args.a-b_C}}"),
    ],
)
def test_limits(raw: Any, number_: Fraction | None, dumped: Any) -> None:
    """Base units: seconds, and 1 for ratios. A template's argument has no number yet."""
    limit = Limit.parse(raw)
    assert (limit.number, limit.dump()) == (number_, dumped)
    assert Limit.parse(limit.dump()) == limit


@pytest.mark.parametrize(
    "raw", ["", "1 %", "1e3", ".5", "5.", "nan", "{{ limit }}", "{{ args. }}", "1%\n", 0.1, True, None, [1]]
)
def test_what_is_no_limit(raw: Any) -> None:
    """Refused with examples."""
    with pytest.raises(ValueError, match="is not a limit"):
        Limit.parse(raw)


@given(st.one_of(st.text(max_size=12), st.from_regex(SHARE_PATTERN), st.integers(-5, 200).map(str)))
def test_shares_are_what_the_schema_says(raw: str) -> None:
    """The API server's pattern and our parser agree on every string."""
    try:
        Share.parse(raw)
        parsed = True
    except ValueError:
        parsed = False
    # Go's regular expressions know no match before a final newline.
    assert parsed == (re.fullmatch(SHARE_PATTERN.strip("^$"), raw) is not None)


@given(st.one_of(st.text(max_size=12), st.from_regex(DURATION_PATTERN)))
def test_durations_are_what_the_schema_says(raw: str) -> None:
    """The same for durations."""
    try:
        Duration.parse(raw)
        parsed = True
    except ValueError:
        parsed = False
    assert parsed == (re.fullmatch(DURATION_PATTERN.strip("^$"), raw) is not None)


@given(st.one_of(st.text(max_size=12), st.from_regex(LIMIT_TEMPLATE_PATTERN)))
def test_limits_are_what_the_schema_says(raw: str) -> None:
    """The same for limits."""
    try:
        Limit.parse(raw)
        parsed = True
    except ValueError:
        parsed = False
    assert parsed == (re.fullmatch(LIMIT_TEMPLATE_PATTERN[1:-1], raw) is not None)


@pytest.mark.parametrize(
    ("value", "text", "json"),
    [
        (Fraction(50), "50", 50),
        (Fraction(1, 2), "0.5", 0.5),
        (Fraction(100, 3), "33.3333", 33.3333),
        (Fraction(1, 10_000), "0.0001", 0.0001),
        (Fraction(0), "0", 0),
    ],
)
def test_fractions_for_people_and_for_json(value: Fraction, text: str, json: float) -> None:
    """Short decimals; whole numbers stay whole."""
    assert (decimal_text(value), number(value)) == (text, json)
    assert type(number(value)) is type(json)
