"""How a comparison is told to people. Pure."""

from __future__ import annotations

from math import exp

TIMES = "×"  # noqa: RUF001 - meant: the sign of multiplication


def share(part: float) -> str:
    """A part of 1 in percent, with two digits that mean something: 1.1 %, 0.034 %, 12 %."""
    percent = 100 * part
    if percent == 0:
        return "0 %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.2g} %"


def times(canary: float, stable: float) -> str:
    """How many times as often: 2.4 times stable, with the sign for it."""
    if stable == 0:
        return "as rare as stable's" if canary == 0 else "where stable has none"
    ratio = canary / stable
    return f"{ratio:.0f}{TIMES} stable" if ratio >= 9.95 else f"{ratio:.1f}{TIMES} stable"


def seconds_words(seconds: float) -> str:
    """A length of time as people write it: 300 ms, 2.5 s."""
    return f"{1000 * seconds:g} ms" if seconds < 1 else f"{seconds:g} s"


def evidence_words(evidence: float, needed: float) -> str:
    """`evidence 41 of 100 needed`, from logarithms."""
    return f"evidence {_number(evidence)} of {_number(needed)} needed"


def _number(logarithm: float) -> str:
    if logarithm > 13.8:
        return "more than 1,000,000"
    number = exp(logarithm)
    return f"{number:,.0f}" if number >= 9.95 else f"{number:.1g}" if number < 1 else f"{number:.1f}"
