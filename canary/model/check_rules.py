"""Rules on which fields of a check go together, as the API server evaluates them (CEL), each with what it says."""

from __future__ import annotations

from typing import Any

from canary.model.comparisons import WARM, WARM_WORDS

JUDGES = ("threshold", "condition")
"""Those settings of which a check has exactly one: what makes a verdict of its numbers."""


def count(names: tuple[str, ...]) -> str:
    """A CEL expression: how many of these fields are there."""
    return " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in names)


def one_of(names: tuple[str, ...]) -> str:
    """A CEL rule: exactly one of these fields is there."""
    if len(names) == 2:
        return f"has(self.{names[0]}) != has(self.{names[1]})"
    return f"{count(names)} == 1"


def either(words: list[str]) -> str:
    """Words in a row: `a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


JUDGED = count(JUDGES)
COMPARED = (
    "(has(self.compare) || has(self.mirrored) || (has(self.web) && has(self.web.expect)) || has(self.job) ? 1 : 0)"
)
SELF_JUDGED = "compare, mirrored, job or web.expect, which judge by themselves"
A_JUDGE = f"{either([f'a {name}' for name in JUDGES])} (one of them)"


_NO_ROW = "!has(self.failureLimit) || self.failureLimit == 0"
NO_LIMIT = f"!(has(self.compare) || has(self.mirrored)) || (!has(self.failures) && ({_NO_ROW}))"
NO_LIMIT_WORDS = (
    "compare and mirrored take no failureLimit and no failures: they say Fail once it is proved, and alpha is how much proof "
    "that takes"
)
ONE_COUNT = f"!has(self.failures) || {_NO_ROW}"
ONE_COUNT_WORDS = "failures and failureLimit are two answers to one question, how many failures are too many: give one"


def _not_more(most: int = 100) -> str:
    """What `N of M` is where 1 <= N <= M <= 100, as a regular expression: rules have nothing that takes a text apart."""
    digits = range(1, 10)
    units = [f"{n} of [{n}-9]" for n in digits]
    tens = [f"{n}[0-9] of [{n + 1}-9][0-9]" for n in digits if n < max(digits)]
    same = [f"{n}({'|'.join(f'{unit} of {n}[{unit}-9]' for unit in range(10))})" for n in digits]
    longer = ["[1-9] of [1-9][0-9]", f"[1-9][0-9]? of {most}", f"{most} of {most}"]
    return f"^({'|'.join([*units, *longer, *tens, *same])})$"


SO_MANY = f"!has(self.failures) || self.failures.matches('{_not_more()}')"
SO_MANY_WORDS = "failures are N of M with 1 <= N <= M <= 100, such as 2 of 5"

LIMITS: list[Any] = [
    {"rule": NO_LIMIT, "message": NO_LIMIT_WORDS},
    {"rule": ONE_COUNT, "message": ONE_COUNT_WORDS},
    {"rule": SO_MANY, "message": SO_MANY_WORDS},
    {"rule": WARM, "message": WARM_WORDS},
]
"""Rules on what a check tolerates, and from when on."""
