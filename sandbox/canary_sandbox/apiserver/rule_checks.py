"""The rules of a schema, each compiled and held against the budget of the real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from canary_sandbox.apiserver.cel_compile import Program, compile_rule
from canary_sandbox.apiserver.cel_cost import RULE_LIMIT, saturated
from canary_sandbox.apiserver.cel_rules import RULES
from canary_sandbox.apiserver.cel_shapes import REQUEST_BYTES, Shape, shape_of
from canary_sandbox.apiserver.errors import FORBIDDEN, INVALID, REQUIRED, FieldError, Json

_HINT = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)


@dataclass(slots=True)
class Cost:
    """The running total of a schema, and whether a rule was refused on its own."""

    sum: int = 0
    refused: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a rule stands: how often it may run in one object (None: no bound is declared), and what may be compared."""

    times: int | None = 1
    correlatable: bool = True

    def below(self, bound: int | None, *, correlatable: bool = True) -> _Place:
        times = None if self.times is None or bound is None else self.times * bound
        return _Place(times, self.correlatable and correlatable)


def check_rules(schema: Json, at: str, total: Cost, *, root: bool = False) -> Iterator[FieldError]:
    """Objections to every rule of a structural schema; adds their cost to `total`."""
    yield from _check(schema, at, _Place(), total, root=root)


def _check(schema: Json, at: str, place: _Place, total: Cost, *, root: bool = False) -> Iterator[FieldError]:
    raw_rules = schema.get(RULES) or ()
    if raw_rules:
        shape = shape_of(schema, root=root)
        fits = REQUEST_BYTES // (shape.smallest + 1)
        times = fits if place.times is None else place.times
        for index, raw in enumerate(raw_rules):
            yield from _check_rule(raw, shape, f"{at}.{RULES}[{index}]", place, times, total)
    for name, sub in (schema.get("properties") or {}).items():
        yield from _check(sub, f"{at}.properties[{name}]", place, total)
    if isinstance(schema.get("items"), dict):
        is_map = schema.get("x-kubernetes-list-type") == "map"
        below = place.below(schema.get("maxItems"), correlatable=is_map)
        yield from _check(schema["items"], f"{at}.items", below, total)
    if isinstance(schema.get("additionalProperties"), dict):
        below = place.below(schema.get("maxProperties"))
        yield from _check(schema["additionalProperties"], f"{at}.additionalProperties", below, total)


def _check_rule(raw: Json, shape: Shape, at: str, place: _Place, times: int, total: Cost) -> Iterator[FieldError]:
    rule = compile_rule(raw, shape)
    for member, problem in rule.problems:
        missing = member == "rule" and not raw.get("rule", "").strip()
        yield FieldError(f"{at}.{member}", REQUIRED if missing else INVALID, problem, raw.get(member))
    if rule.is_transition and not place.correlatable:
        detail = "oldSelf cannot be used on the uncorrelatable portion of the schema"
        yield FieldError(f"{at}.rule", INVALID, detail, raw["rule"])
    if "\n" in raw.get("message", "").strip():
        yield FieldError(f"{at}.message", INVALID, "message must not contain line breaks", raw["message"])
    for member, program in (("rule", rule.program), ("messageExpression", rule.message_program)):
        if program is not None:
            yield from _check_cost(program, f"{at}.{member}", times, total)


def _check_cost(program: Program, at: str, times: int, total: Cost) -> Iterator[FieldError]:
    cost = saturated(program.cost * times)
    total.sum = saturated(total.sum + cost)
    if cost <= RULE_LIMIT:
        return
    total.refused = True
    factor = cost / RULE_LIMIT
    shown = "more than 100x" if factor > 100 else f"{factor:.1f}x"
    yield FieldError(at, FORBIDDEN, f"estimated rule cost exceeds budget by factor of {shown} {_HINT}")
