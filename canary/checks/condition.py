"""Conditions of checks: CEL over `value` and `values`, refused beforehand if they may cost too much, and metered when run.

Limits as a real API server has them for the rules of a definition: an estimate when the condition is declared, a budget
when it is run (docs/decisions/0012).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from canary.checks.arithmetic import Fault
from canary.checks.cel_parser import CelSyntaxError, parse
from canary.checks.compiler import compile_tree, frame_of
from canary.checks.program import DOUBLE, CelTypeError, Compiled, Meter, OutOfSteps, Type
from canary.model.checks import MAX_CONDITION
from canary.model.measurement import MAX_SERIES, Sample, Weighed

MAX_STEPS = 100_000
"""What a condition may cost when `values` holds MAX_SERIES numbers: about 10 ms. `compiler` says what a step is."""

MAX_TOKENS = 400
"""Names, numbers and signs of a condition. More than anybody writes in 1,024 characters; it keeps compiling to a millisecond."""

KEPT = 512
"""Conditions that stay compiled. The largest take 60 KiB each, ordinary ones two or three."""

_VARIABLES = {"value": DOUBLE, "values": Type("list", MAX_SERIES, DOUBLE)}


class ConditionError(ValueError):
    """A condition that does not compile, or that has no value for this sample; `reason` is a word for it."""

    reason = "ConditionError"


class ConditionTooExpensive(ConditionError):
    """A condition that may take, or took, more steps or more time than it has."""

    reason = "ConditionTooExpensive"


def _no_pause() -> None:
    """For those whom nobody waits for."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that compiles and that is cheap enough. `steps` is the most that a run costs."""

    text: str
    steps: int
    _compiled: Compiled

    def run(
        self, value: float, values: tuple[float, ...], pause: Callable[[], None] = _no_pause, *, budget: int = MAX_STEPS
    ) -> bool:
        """Evaluate it. `pause` is called every thousand steps; what it raises ends the run.

        Raises:
            ConditionError: it has no value: an index out of bounds, an overflow, a division of integers by zero.
            ConditionTooExpensive: it took more than `budget` steps.

        """
        meter = Meter(budget, pause)
        try:
            meter.draw(self._compiled.own)
            return bool(self._compiled.run(frame_of(meter, float(value), [float(item) for item in values])))
        except Fault as fault:
            raise ConditionError(f"condition cannot be evaluated: {fault}") from fault
        except OutOfSteps as end:
            raise ConditionTooExpensive(
                f"the condition took more than {budget} steps for {len(values)} series; let the query aggregate"
            ) from end


def condition(text: str) -> Condition:
    """Compile a condition, or remember that it does not.

    Raises:
        ConditionError: it does not compile, names something unknown, or is not a boolean.
        ConditionTooExpensive: it may cost more than MAX_STEPS.

    """
    found = _known(text)
    if isinstance(found, ConditionError):
        raise type(found)(str(found))
    return found


@lru_cache(maxsize=KEPT)
def _known(text: str) -> Condition | ConditionError:
    if len(text) > MAX_CONDITION:  # the API server sees to that, but not everybody asks it
        return ConditionError(f"condition is longer than {MAX_CONDITION} characters")
    try:
        compiled = compile_tree(parse(text, most=MAX_TOKENS), _VARIABLES)
    except (CelSyntaxError, CelTypeError) as error:
        return ConditionError(f"condition does not compile: {error}")
    if compiled.type.kind != "bool":
        return ConditionError(f"condition yields {compiled.type}, not true or false")
    if compiled.steps > MAX_STEPS:
        dear = compiled.steps > 100 * MAX_STEPS  # and possibly more than a float can say
        shown = "more than 100 times" if dear else f"{compiled.steps / MAX_STEPS:.3g} times"
        return ConditionTooExpensive(
            f"condition may cost {shown} what is allowed when the query returns {MAX_SERIES} series: go through `values` "
            "less often, and not inside of all(), exists(), exists_one(), filter() or map(); or let the query compute more"
        )
    return Condition(text, compiled.steps, compiled)


def holds(expression: str, value: float, values: tuple[float, ...]) -> bool:
    """Whether a condition holds.

    Raises:
        ConditionError: it does not compile, or cannot be evaluated for these numbers.

    """
    return condition(expression).run(value, values)


def weighed(expression: str, sample: Sample, pause: Callable[[], None] = _no_pause) -> Weighed:
    """What a condition says of a sample, its errors included. Raises what else `pause` raises."""
    values = sample.values or (sample.value,)
    if len(values) > MAX_SERIES:
        message = f"a condition sees at most {MAX_SERIES} series, not {len(values)}: aggregate with sum() or max()"
        return Weighed(expression, None, "TooManySeries", message)
    try:
        good = condition(expression).run(sample.value, values, pause)
    except ConditionError as error:
        return Weighed(expression, None, error.reason, str(error))
    return Weighed(expression, good)


def problem(expression: str) -> str | None:
    """What is wrong with a condition, whatever is measured; None if nothing is."""
    try:
        condition(expression)
    except ConditionError as error:
        return str(error)
    return None
