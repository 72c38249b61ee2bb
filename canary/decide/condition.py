"""Conditions: CEL expressions over `value` and `values`, compiled once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

VARIABLES = frozenset({"value", "values"})


class ConditionError(ValueError):
    """A condition that does not compile, names an unknown variable, or yields something other than true or false."""


@lru_cache(maxsize=1024)
def _compile(expression: str) -> Any:
    import cel

    try:
        program = cel.compile(expression)
    except ValueError as error:
        raise ConditionError(f"condition does not compile: {error}") from error
    # Comprehension macros bind names of their own, so only a name that evaluation misses is an error; see `holds`.
    return program


def holds(expression: str, value: float, values: tuple[float, ...]) -> bool:
    """Evaluate a condition.

    Raises:
        ConditionError: it does not compile, cannot be evaluated, or is not a boolean.

    """
    try:
        result = _compile(expression).execute({"value": float(value), "values": [float(item) for item in values]})
    except ConditionError:
        raise
    except Exception as error:  # the library raises whatever its operators raise
        raise ConditionError(f"condition cannot be evaluated: {error}") from error
    if not isinstance(result, bool):
        raise ConditionError(f"condition yields {result!r}, not true or false")
    return result


def problem(expression: str) -> str | None:
    """Try a condition on an ordinary value; say what is wrong with it, or None."""
    try:
        holds(expression, 1.0, (1.0,))
    except ConditionError as error:
        return str(error)
    return None
