"""Conditions: what they say is CEL, what they may cost is known beforehand, and none of them can run away."""

from __future__ import annotations

import gc
import time
from itertools import pairwise
from typing import Any, Self

import cel
import pytest
from condition_kit import conditions, garbage, nested
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canary.checks.cel_parser import parse
from canary.checks.compiler import compile_tree
from canary.checks.condition import (
    MAX_STEPS,
    Condition,
    ConditionError,
    ConditionTooExpensive,
    condition,
    holds,
    problem,
    weighed,
)
from canary.checks.program import DOUBLE, SLICE, CelTypeError, Type
from canary.model.measurement import MAX_SERIES, Sample, Weighed

numbers = st.sampled_from((0.0, -0.0, 0.5, 1.0, 2.0, 3.0, -2.5, 1000.0, 1e308))
series = st.lists(numbers, max_size=6).map(tuple)
thorough = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))

CPU_PER_STEP = 2e-6
"""Seconds; it is a tenth of that on a machine of today."""


class Spent:
    """CPU seconds of this thread within a block, the garbage of a whole test session left aside."""

    seconds = 0.0

    def __enter__(self) -> Self:
        gc.disable()
        self._started = time.thread_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.thread_time() - self._started
        gc.enable()


def unlimited(text: str, most: int = MAX_SERIES) -> Condition:
    """A condition past the limit, for lists of at most `most` series."""
    compiled = compile_tree(parse(text), {"value": DOUBLE, "values": Type("list", most, DOUBLE)})
    return Condition(text, compiled.steps, compiled)


# -- what they say -------------------------------------------------------------------------------------------------------


@thorough
@given(text=conditions(), value=numbers, values=series)
def test_a_condition_says_what_the_library_says(text: str, value: float, values: tuple[float, ...]) -> None:
    """Whatever a CEL library makes of an expression, we make of it; where we have no value, it has none either."""
    expected: Any
    try:
        expected = cel.compile(text).execute({"value": value, "values": list(values)})
    except Exception as error:  # noqa: BLE001 - the library raises whatever its operators raise
        expected = error
    try:
        found: Any = unlimited(text).run(value, values, budget=10**9)
    except (CelTypeError, ConditionError) as error:
        found = error
    if isinstance(found, ConditionError):
        assert isinstance(expected, Exception)
    elif isinstance(found, CelTypeError):
        assert "more than 64" in str(found)
    elif not isinstance(expected, Exception):
        assert found == expected


SAID = [
    ("value < 1", 0.5, (), True),
    ("value <= 1u && value > 0.1 && value != 2", 0.5, (), True),
    ("values.all(v, v < 0.5)", 0.1, (0.1, 0.4), True),
    ("values.all(v, v < 0.5)", 0.1, (0.1, 0.6), False),
    ("values.exists(v, v > 0.5)", 0.1, (0.1, 0.6), True),
    ("values.exists_one(v, v > 0.5)", 0.1, (0.9, 0.6), False),
    ("values.filter(v, v > 0.5).size() <= 1", 0.1, (0.1, 0.6), True),
    ("size(values.map(v, v > 0.5, v * 2.0)) == 1", 0.1, (0.1, 0.6), True),
    ("values.map(v, v * 2.0) == [0.2, 1.2]", 0.1, (0.1, 0.6), True),
    ("0.6 in values && !(0.7 in values)", 0.1, (0.1, 0.6), True),
    ("values[size(values) - 1] > values[0]", 0.1, (0.1, 0.6), True),
    ("double(size(values)) / 2.0 == 1.0", 0.1, (0.1, 0.6), True),
    ("value > 1.0 ? values.all(v, v > 1.0) : value == 0.1", 0.1, (0.1,), True),
    ("[0.1, 0.2].exists(limit, values.all(v, v < limit))", 0.1, (0.15,), True),
    ("values.all(value, value > 0.5)", 0.1, (0.9,), True),
    ("-7 / 2 == -3 && -7 % 3 == -1 && 7 % -3 == 1", 0.0, (), True),
    ("1.0 / 0.0 > 1e308 && !(0.0 / 0.0 == 0.0 / 0.0) && !(0.0 / 0.0 in [0.0 / 0.0])", 0.0, (), True),
    ("1 / 0 > 0 || true", 0.0, (), True),
    ("[0, 1].all(n, 1 / n > 5)", 0.0, (), False),
    ("[0, 1].exists(n, 1 / n == 1)", 0.0, (), True),
    ("values.filter(v, v < 0.0) == [] && !(1.0 in []) && [] + [value] == values", 0.5, (0.5,), True),
]


@pytest.mark.parametrize(("text", "value", "values", "expected"), SAID)
def test_what_a_condition_says(text: str, value: float, values: tuple[float, ...], expected: bool) -> None:
    """CEL over `value` and `values`, as its specification has it; an error that decides nothing is no error."""
    assert problem(text) is None
    assert holds(text, value, values) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("values[3] > 0.5", "there is no element 3 among 1"),
        ("size(values) / (size(values) - 1) > 0", "division by zero"),
        ("size(values) % 0 == 0", "modulus by zero"),
        ("size(values) + 9223372036854775807 > 0", "outside the range of int"),
        ("-(-9223372036854775808) > 0", "outside the range of int"),
        ("uint(0) - 1u < 1u", "outside the range of uint"),
        ("int(value * 1e200) > 0", "outside the range of int"),
        ("int(value / 0.0) > 0", "not finite"),
        ("[0, 1].all(n, 1 / n > 0)", "division by zero"),
        ("[0, 1].exists_one(n, 1 / n > 0)", "division by zero"),
    ],
)
def test_what_has_no_value(text: str, words: str) -> None:
    """Errors of evaluation say what happened. Nothing is wrong with the condition as such."""
    assert problem(text) is None
    with pytest.raises(ConditionError, match=words):
        holds(text, 1e10, (1e10,))


# -- what is refused -----------------------------------------------------------------------------------------------------

REFUSED = [
    ("value <", "does not compile"),
    ("latency < 1.0", "undeclared reference to 'latency'"),
    ("math.abs(value) < 1.0", "undeclared reference to 'math'"),
    ("labels.pod == 1", "undeclared reference to 'labels'"),
    ("value + 1.0", "yields double, not true or false"),
    ("values.map(v, [v])", r"yields list\(list\(double\)\), not true or false"),
    ("value + 1 > 2.0", r"no matching overload for '_\+_' applied to \(double, int\)"),
    ("value && true", "no matching overload for '_&&_'"),
    ("!value", "no matching overload for '!_'"),
    ("values < values", "no matching overload for '_<_'"),
    ("true == 1", "no matching overload for '_==_'"),
    ("values.all(v, v)", r"all\(\) wants true or false for each element, and this is double"),
    ("value.all(v, true)", r"all\(\) goes through a list, and this is double"),
    ("values.all(values)", r"all\(\) wants a list before it"),
    ("values.all(in, true)", "'in' is a reserved word"),
    ("[1, 2.0] == values", r"elements of a list are of one type, and here are int and double; double\(x\) converts"),
    ("(value > 1.0 ? 1 : 2.0) > 1.0", "of one type"),
    ("'a'.matches('a')", "about numbers and has no string"),
    ("{1: 2}[1] == 2", "has no maps"),
    ("value == null", "has no null"),
    ("has(value.x)", "have no field 'x'"),
    ("max(values) > 1.0", "has no function 'max'; it has: all, double, exists"),
    ("value.double() > 1.0", "has no function 'double'"),
    ("values[0.0] > 1.0", "no matching overload"),
    ("size(value) > 1", "no matching overload"),
    ("value < 1e400", "too large for a double"),
    ("value < 9223372036854775808", "too large for int"),
    ("value < " + "9" * 1000, "too large for int"),
    ("(" * 65 + "true" + ")" * 65, "more than 64 levels of brackets"),
    ("!" * 100 + "true", "more than 64 levels"),
    ("1+" * 100 + "1 > 0", "more than 64 operators on top of one another"),
    ("value<1||" * 113 + "true", "more than 400 names"),
    ("value < 1.0" + " " * 1024, "longer than 1024"),
    ("value < 1.0\ud83d", "token recognition error"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_is_refused_beforehand(text: str, words: str) -> None:
    """What is no condition is refused with what is wrong with it, before anything is measured."""
    with pytest.raises(ConditionError, match=words) as refused:
        condition(text)
    assert refused.value.reason == "ConditionError"
    assert problem(text) == str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        nested(2),
        nested(9),
        nested(50),
        "".join(f"values.map(v{n}, " for n in range(30)) + "values" + ")" * 30 + " == []",
        "values.exists(v, values.filter(w, w > v).size() > 3)",
        "values.map(v, values).size() > 0 && values.map(v, values) == values.map(v, values)",
        "size(values" + ".map(v,[v,v])" * 30 + ") > 0 && values.all(v, v in values)",
        " && ".join(f"values.all(v, v < {number}.0)" for number in range(30)),
    ],
)
def test_what_may_cost_too_much_is_refused_beforehand(text: str) -> None:
    """With as many series as there may be, a condition must still be cheap; the message says what to do."""
    with pytest.raises(ConditionTooExpensive, match="let the query compute more") as refused:
        condition(text)
    assert refused.value.reason == "ConditionTooExpensive"


def test_what_people_write_is_cheap_enough() -> None:
    """Every series against a few limits, lists made and counted: all of that fits many times over."""
    for text, *_ in SAID:
        assert condition(text).steps < MAX_STEPS / 5, text


# -- what they cost ------------------------------------------------------------------------------------------------------


@thorough
@given(text=conditions(depth=5), count=st.integers(0, 12), value=numbers, data=st.data())
def test_no_run_costs_more_than_was_estimated(text: str, count: int, value: float, data: st.DataObject) -> None:
    """The estimate for lists of some length is enough for every list of that length."""
    values = tuple(data.draw(st.lists(numbers, min_size=count, max_size=count)))
    try:
        found = unlimited(text, count)
    except CelTypeError:
        return
    try:
        found.run(value, values, budget=found.steps)
    except ConditionTooExpensive:
        pytest.fail(f"{text} took more than {found.steps} steps for {values}")
    except ConditionError:
        pass


@pytest.mark.cpu_time("how long a run takes")
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=conditions(depth=6), value=numbers)
def test_no_run_takes_longer_than_its_steps_imply(text: str, value: float) -> None:
    """With a thousand series, and whatever the estimate says of it, a run ends after its budget, and in that much time."""
    try:
        found = unlimited(text)
    except CelTypeError:
        return
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    values = tuple(float(number % 17) for number in range(MAX_SERIES))
    with Spent() as spent:
        try:
            found.run(value, values, pause)
        except ConditionError as error:
            if isinstance(error, ConditionTooExpensive):
                assert found.steps > MAX_STEPS
                assert pauses >= 1
    assert spent.seconds < 0.005 + CPU_PER_STEP * min(found.steps, MAX_STEPS)


@pytest.mark.cpu_time("how long a run takes")
@pytest.mark.parametrize("text", [nested(2), nested(9), "values.map(v, values) == values.map(v, values)"])
def test_a_run_that_was_estimated_wrongly_ends_all_the_same(text: str) -> None:
    """The budget of a run does not rest on the estimate: every thousand steps others get a turn, and then it is over."""
    pauses: list[float] = []
    with Spent() as spent, pytest.raises(ConditionTooExpensive, match=f"{MAX_STEPS} steps for {MAX_SERIES} series"):
        unlimited(text).run(0.0, (0.5,) * MAX_SERIES, lambda: pauses.append(time.thread_time()))
    assert spent.seconds < CPU_PER_STEP * MAX_STEPS
    assert MAX_STEPS / SLICE / 2 < len(pauses) <= MAX_STEPS / SLICE
    assert max(later - before for before, later in pairwise(pauses)) < 10 * CPU_PER_STEP * SLICE


@pytest.mark.cpu_time("how long an answer takes")
@settings(max_examples=400, deadline=None)
@given(text=garbage())
def test_any_text_is_answered_at_once(text: str) -> None:
    """Whatever is written there, it compiles or is refused with a sentence; neither takes long, and nothing else happens."""
    with Spent() as spent:
        found = problem(text)
    assert spent.seconds < 0.05
    assert found is None or found.startswith("condition ")


def test_what_compiles_stays_compiled_within_bounds() -> None:
    """A condition is compiled once, refused ones included; a thousand others push it out, and take no more room."""
    from canary.checks import condition as module

    before = module._known.cache_info()
    for _ in range(3):
        assert problem("value < 0.123") is None
        assert problem("value < foo") is not None
    after = module._known.cache_info()
    assert after.misses - before.misses <= 2
    for number in range(2 * module.KEPT):
        assert problem(f"value < {number}.5") is None
    assert module._known.cache_info().currsize == module.KEPT
    assert holds("value < 0.123", 0.1, ())


# -- what a sample carries -----------------------------------------------------------------------------------------------


def test_what_a_sample_carries() -> None:
    """What a condition said: true, false, or why nobody knows. A sample of one number is a list of one."""
    sample = Sample(0.5, None)  # type: ignore[arg-type]  # when is of no interest here
    assert weighed("values.all(v, v < 1.0)", sample) == Weighed("values.all(v, v < 1.0)", True)
    assert weighed("size(values) > 1", sample) == Weighed("size(values) > 1", False)
    error = weighed("values[1] > 1.0", sample)
    assert (error.holds, error.reason) == (None, "ConditionError")
    dear = weighed(nested(9), sample)
    assert (dear.holds, dear.reason) == (None, "ConditionTooExpensive")


def test_more_series_than_a_condition_sees() -> None:
    """What the limit does not count on is not evaluated, whichever provider let it through."""
    many = Sample(0.5, None, "", (0.5,) * (MAX_SERIES + 1))  # type: ignore[arg-type]
    found = weighed("value < 1.0", many)
    assert (found.holds, found.reason) == (None, "TooManySeries")
    assert "at most 1000 series, not 1001" in found.message
