"""Label selectors: what they ask of the labels of a namespace, which of that is not so, and who could mend it in which words.

A selector that the API server would refuse is none: what a gateway makes of it is for it to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_OPERATORS = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}
"""Each with whether it has values: some, or none."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a selector asks of one label. `values` are sorted, and empty for Exists and DoesNotExist."""

    label: str
    operator: str
    values: tuple[str, ...] = ()

    def met(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels are as it asks; one that is missing is in no list of values."""
        value = labels.get(self.label)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case _:
                return value is None

    @property
    def words(self) -> str:
        """What it asks for: `public=yes`, `env in (a, b)`, `no label old`."""
        listed = ", ".join(self.values)
        match self.operator:
            case "In":
                return f"{self.label}={listed}" if len(self.values) == 1 else f"{self.label} in ({listed})"
            case "NotIn":
                return f"{self.label} not in ({listed})"
            case "Exists":
                return f"label {self.label}"
            case _:
                return f"no label {self.label}"

    @property
    def remedy(self) -> str:
        """What to do to a namespace that is not so."""
        match self.operator:
            case "In":
                one_of = " or ".join(f"{self.label}={value}" for value in self.values)
                return f"set the label {one_of}"
            case "NotIn":
                return f"take away the label {self.label}, or give it another value"
            case "Exists":
                return f"set a label {self.label}"
            case _:
                return f"take away the label {self.label}"


Selector = tuple[Requirement, ...]
"""All of them have to be met; an empty one is met by every namespace."""


def read(selector: Any) -> Selector | None:
    """A LabelSelector of a document; None where there is none, or none that makes sense."""
    if not isinstance(selector, dict):
        return None
    found = tuple(_requirements(selector))
    return None if None in found else tuple(filter(None, found))


def _requirements(selector: dict[str, Any]) -> Iterator[Requirement | None]:
    """Each term; None for one that makes no sense."""
    labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or ()
    if not isinstance(labels, dict) or not isinstance(expressions, list | tuple):
        yield None
        return
    for name, value in sorted(labels.items(), key=str):
        yield _requirement(name, "In", [value])
    for term in expressions:
        known = isinstance(term, dict) and term.keys() <= {"key", "operator", "values"}
        yield _requirement(term.get("key"), term.get("operator"), term.get("values") or []) if known else None


def _requirement(label: Any, operator: Any, values: Any) -> Requirement | None:
    if not isinstance(label, str) or not isinstance(operator, str) or not isinstance(values, list):
        return None
    if not _NAME.fullmatch(label) or _OPERATORS.get(operator) is not bool(values):
        return None
    if not all(isinstance(value, str) and _VALUE.fullmatch(value) for value in values):
        return None
    return Requirement(label, operator, tuple(sorted(set(values))))


def unmet(selector: Selector, labels: Mapping[str, str]) -> Selector:
    """What these labels lack."""
    return tuple(requirement for requirement in selector if not requirement.met(labels))
