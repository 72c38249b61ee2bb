"""Durations, shares and limits: parsed once, exact ever after, written as they were read."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from pydantic import BaseModel, ValidationError

from canary.model.check_status import CheckStatus
from canary.model.status import Phase, RequestOutcome, RolloutStatus
from canary.model.values import (
    DURATION_PATTERN,
    LARGEST_NUMBER,
    LIMIT_TEMPLATE_PATTERN,
    SHARE_PATTERN,
    Alpha,
    ArgumentText,
    Duration,
    Limit,
    Share,
    decimal_text,
    number,
    number_or_string,
)

NO_SHARES = (0.00001, 100.1, -0.5, 1e300, math.nan, math.inf, 10**400)
NO_LIMITS = (math.nan, math.inf, -math.inf, 1e300, 2**53, -(2**53), 10**400)


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
        (1.0, Fraction(1), 1),
        (0.5, Fraction(1, 2), "0.5%"),
        (33.3333, Fraction(333_333, 10_000), "33.3333%"),
        (0.1, Fraction(1, 10), "0.1%"),
    ],
)
def test_shares(raw: Any, percent: Fraction, dumped: Any) -> None:
    """Exact: half a percent is one in two hundred, not something near it."""
    share = Share.parse(raw)
    assert (share.percent, share.dump()) == (percent, dumped)
    assert Share.parse(share.dump()) == share


@pytest.mark.parametrize(
    "raw",
    [-1, 101, True, None, "", "101", "100.1", "-1", "1e1", "0.00001", "10 %", "%", "ten", "10\n", [10], {}, *NO_SHARES],
)
def test_what_is_no_share(raw: Any) -> None:
    """Neither is a number with more decimals than a share may have: a run never rounds what it was told."""
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
        (0.01, Fraction(1, 100), "0.01"),
        (-0.5, Fraction(-1, 2), "-0.5"),
        (0.1 + 0.2, Fraction(30_000_000_000_000_004, 10**17), 0.1 + 0.2),
        (1e-07, Fraction(1, 10**7), "0.0000001"),
        (1e-12, Fraction(1, 10**12), 1e-12),
        (2.0, Fraction(2), 2),
        (-0.0, Fraction(0), 0),
        (2**53 - 1, Fraction(2**53 - 1), 2**53 - 1),
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
    "raw",
    ["", "1 %", "1e3", ".5", "5.", "nan", "{{ limit }}", "{{ args. }}", "1%\n", True, None, [1], *NO_LIMITS],
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


@given(st.floats())
def test_a_number_means_the_shortest_decimal_that_is_that_number(raw: float) -> None:
    """What was typed, without the noise of binary: 0.1 is a tenth. What is no number, or beyond all bounds, is refused."""
    if not abs(raw) <= LARGEST_NUMBER:
        with pytest.raises(ValueError, match="is not a limit"):
            Limit.parse(raw)
        return
    limit = Limit.parse(raw)
    assert limit.number == Fraction(repr(raw))
    assert limit.number is not None
    assert float(limit.number) == raw
    assert Limit.parse(limit.dump()) == limit
    assert Fraction(limit.text) == limit.number


@given(st.decimals(-(10**12) + 1, 10**12 - 1, places=4, allow_nan=False))
def test_quotes_make_no_difference(typed: Decimal) -> None:
    """A number and the same number in quotes are one limit (as far as a float holds all its digits)."""
    text = format(typed, "f")
    assume(len(text.replace("-", "").replace(".", "")) <= 15)
    assert Limit.parse(float(text)).number == Limit.parse(text).number


@given(st.integers(0, 1_000_000))
def test_quotes_make_no_difference_to_a_share(ten_thousandths: int) -> None:
    """Every share that a string can say can be said by a number."""
    text = format(Decimal(ten_thousandths) / 10_000, "f")
    assert Share.parse(float(text)) == Share.parse(text) == Share(Fraction(ten_thousandths, 10_000))


class _Arguments(BaseModel):
    args: dict[str, ArgumentText]


@pytest.mark.parametrize(
    ("raw", "text"),
    [("300ms", "300ms"), (300, "300"), (0.95, "0.95"), (1e-07, "0.0000001"), (2.0, "2"), ("", ""), ("true", "true")],
)
def test_arguments_are_text_or_numbers(raw: Any, text: str) -> None:
    """A number becomes a part of a query as it was typed."""
    assert _Arguments(args={"a": raw}).args == {"a": text}


@pytest.mark.parametrize("raw", [True, None, [1], {}, math.nan, math.inf, 2**53, "x" * 257])
def test_what_is_no_argument(raw: Any) -> None:
    """`args: {on: true}` is a mistake: YAML has made a truth out of text, and PromQL has none."""
    with pytest.raises(ValidationError):
        _Arguments(args={"a": raw})


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4))
BEYOND = st.recursive(
    SCALARS, lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text(), inside, max_size=2)
)


@given(BEYOND)
def test_a_schema_of_numbers_and_strings_takes_nothing_else(value: Any) -> None:
    """Its type is open, as it has to be; bounds that nothing else can keep say what it is."""
    is_one = isinstance(value, int | float | str) and not isinstance(value, bool)
    assert Draft4Validator(number_or_string()).is_valid(value) is is_one or value is None


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


@pytest.mark.parametrize(
    ("said", "outcome", "message"),
    [
        ("done: step 1/3 is approved", RequestOutcome.DONE, "step 1/3 is approved"),
        ("refused: check a: b", RequestOutcome.REFUSED, "check a: b"),
        ("Done", RequestOutcome.DONE, ""),
    ],
)
def test_an_answer_of_an_earlier_version_is_read(said: str, outcome: RequestOutcome, message: str) -> None:
    """Outcome and message were one text: a request that was done then is not done once more."""
    last = {"id": "r1", "verb": "promote", "at": "2026-01-01T11:00:00Z", "outcome": said}
    request = RolloutStatus.load({"lastRequest": last}).last_request
    assert request is not None
    assert (request.outcome, request.message) == (outcome, message)


@pytest.mark.parametrize(
    ("raw", "chance"),
    [
        (0.01, "1/100"),
        ("1%", "1/100"),
        ("0.5%", "1/200"),
        ("0.05", "1/20"),
        (0.0001, "1/10000"),
        ("49.99%", "4999/10000"),
    ],
)
def test_an_alpha_is_a_chance(raw: Any, chance: str) -> None:
    """Exact, and written as it was read."""
    found = Alpha.parse(raw)
    assert (found.chance, str(found.dump())) == (Fraction(chance), str(raw))
    assert Alpha.parse(found.dump()) == found


@pytest.mark.parametrize(
    "raw", [0, 1, 0.5, "0%", "50%", "100%", "0.00001", "1 %", "one", True, None, float("nan"), -0.1, [0.1]]
)
def test_what_is_no_alpha_is_refused(raw: Any) -> None:
    """Nothing is never wrong, and what is wrong every other time proves nothing."""
    with pytest.raises(ValueError, match="is no alpha"):
        Alpha.parse(raw)


@pytest.mark.parametrize(
    "value",
    [
        RolloutStatus.load({"phase": "Idle", "checks": [{"name": "errors"}]}),
        RolloutStatus.load({"phase": "Idle", "checks": [{"name": "errors"}]}).checks[0],
        RolloutStatus(phase=Phase.IDLE),
        RolloutStatus(phase=Phase.IDLE).model_copy(update={"phase": Phase.INVALID}),
        RolloutStatus(phase=Phase.IDLE).model_copy(),
        CheckStatus.model_construct(name="errors"),
    ],
)
def test_no_value_keeps_which_of_its_fields_were_set(value: BaseModel) -> None:
    slot = BaseModel.__dict__["__pydantic_fields_set__"]
    with pytest.raises(AttributeError):
        slot.__get__(value)
    assert value.model_fields_set == set()


def test_values_made_in_different_ways_are_the_same() -> None:
    said, changed = RolloutStatus(phase=Phase.INVALID), RolloutStatus().model_copy(update={"phase": Phase.INVALID})
    assert said == changed
    assert said.model_dump_json(by_alias=True) == changed.model_dump_json(by_alias=True)
    assert said != RolloutStatus()
