"""Checks as declared, templates of checks, and the one resolved form that everything else works with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field

from canary.errors import SpecError
from canary.model.base import ApiModel
from canary.model.measurement import MAX_SERIES
from canary.model.values import ArgumentText, Duration, Limit

MAX_CHECKS = 16
MAX_ARGS = 16
MAX_QUERY = 4096
SHORTEST_INTERVAL = 1.0
"""Seconds that are waited between two measurements at least, whatever a check declares."""
MAX_CONDITION = 1024
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
ARG_PATTERN = r"^[a-zA-Z0-9_-]{1,63}$"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN)]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]


class OnUnknown(StrEnum):
    """What an absent or broken measurement means: hold the weight, count as a pass, or count as a failure."""

    HOLD = "Hold"
    PASS = "Pass"
    FAIL = "Fail"


class TemplateKind(StrEnum):
    """Where a check template lives: in the Rollout's namespace, or cluster-wide."""

    NAMESPACED = "CheckTemplate"
    CLUSTER = "ClusterCheckTemplate"


class PrometheusSource(ApiModel):
    """A PromQL query that yields one number for the canary."""

    query: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description="PromQL that yields one number. May name {{ canary.service }}, {{ stable.service }}, "
            ".namespace, .port, {{ namespace }}, {{ rollout }}, {{ route }}, {{ window }}, {{ weight }} and {{ args.NAME }}.",
        ),
    ]
    address: Annotated[
        str | None,
        Field(
            max_length=512,
            pattern=r"^https?://.+$",
            description="Base URL of the Prometheus to ask; default: the controller's. Its host must be one that the "
            "controller was told to allow.",
        ),
    ] = None


class Threshold(ApiModel):
    """Bounds that the value must keep; both are inclusive."""

    # CEL rules see no field of these, so what would be a rule is a condition on the object.
    model_config = {"json_schema_extra": {"minProperties": 1}}

    min: Annotated[
        Limit | None,
        Field(description="Smallest good value: a number such as 0.01, or a string such as 1% (0.01) or 300ms (0.3)."),
    ] = None
    max: Annotated[
        Limit | None,
        Field(description="Largest good value: a number such as 0.01, or a string such as 1% (0.01) or 300ms (0.3)."),
    ] = None


CONDITION = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=MAX_CONDITION,
        description="A CEL expression that is true when the value is good, over `value` (double) and `values` (list of "
        f"double: all series of the query, at most {MAX_SERIES}). Instead of threshold.",
    ),
]


class TemplateRef(ApiModel):
    """Names a check template."""

    name: Annotated[ObjectName, Field(description="Name of the template.")]
    kind: Annotated[
        TemplateKind,
        Field(description="CheckTemplate (of this namespace) or ClusterCheckTemplate."),
    ] = TemplateKind.NAMESPACED


ARGS_NEED_A_TEMPLATE: list[Any] = [{"required": ["template"]}, {"not": {"required": ["args"]}}]
"""A condition on a check instead of a rule: rules do not see `args`, whose values may be numbers or strings."""

_JUDGED = "(has(self.threshold) ? 1 : 0) + (has(self.condition) ? 1 : 0)"


class Check(ApiModel):
    """One check of a Rollout: its own query, or a template with arguments. What is set here overrides the template."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.prometheus) != has(self.template)",
                    "message": "a check has exactly one source: prometheus or template",
                },
                {
                    "rule": "has(self.name) || has(self.template)",
                    "message": "a check without a template needs a name",
                },
                {
                    "rule": f"has(self.template) ? {_JUDGED} == 0 : {_JUDGED} == 1",
                    "message": "a check with its own query has a threshold or a condition (one of them); "
                    "with a template it has neither, because the template brings it",
                },
            ],
            "anyOf": ARGS_NEED_A_TEMPLATE,
        },
    }

    name: Annotated[Name | None, Field(description="Name within the Rollout; default: the template's name.")] = None
    prometheus: Annotated[PrometheusSource | None, Field(description="Ask Prometheus.")] = None
    template: Annotated[TemplateRef | None, Field(description="Use a check that somebody wrote once.")] = None
    args: Annotated[
        dict[str, ArgumentText] | None,
        Field(max_length=MAX_ARGS, description="Arguments for the template, by name: text or numbers."),
    ] = None
    window: Annotated[Duration | None, Field(description="What {{ window }} stands for in the query. Default: 1m.")] = (
        None
    )
    interval: Annotated[
        Duration | None, Field(description="Time between two measurements. Default: 30s; at least 1s is waited.")
    ] = None
    threshold: Annotated[Threshold | None, Field(description="Bounds of a good value: a min, a max, or both.")] = None
    condition: CONDITION = None
    failure_limit: Annotated[
        int | None,
        Field(ge=0, le=1000, description="Consecutive failed measurements that are still tolerated. Default: 0."),
    ] = None
    initial_delay: Annotated[
        Duration | None,
        Field(description="Time after the canary's first traffic of a run before the first measurement. Default: 0s."),
    ] = None
    on_no_data: Annotated[
        OnUnknown | None, Field(description="What an empty answer means: Hold, Pass or Fail. Default: Hold.")
    ] = None
    on_error: Annotated[
        OnUnknown | None,
        Field(
            description="What an unreachable provider, a bad query, NaN or an ambiguous answer means: Hold, Pass or "
            "Fail. Default: Hold."
        ),
    ] = None
    hold_limit: Annotated[
        Duration | None, Field(description="Held longer than this, onFailure applies. Default: 10m.")
    ] = None
    dry_run: Annotated[
        bool | None, Field(description="Measure and show, but neither hold nor fail the run. Default: false.")
    ] = None

    @property
    def key(self) -> str:
        """The name of the check within its Rollout."""
        return self.name or (self.template.name if self.template else "")


class Argument(ApiModel):
    """An argument that a template takes."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=ARG_PATTERN, description="Name: {{ args.NAME }}.")]
    default: Annotated[ArgumentText | None, Field(description="Value when the Rollout gives none.")] = None
    required: Annotated[bool, Field(description="Whether a Rollout must give a value.")] = False
    description: Annotated[str | None, Field(max_length=1024, description="What it means, for the reader.")] = None


class CheckTemplateSpec(ApiModel):
    """One check with arguments, so that PromQL is written once."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": f"{_JUDGED} == 1",
                    "message": "a template has a threshold or a condition (one of them)",
                },
            ],
        },
    }

    args: Annotated[
        tuple[Argument, ...],
        Field(
            max_length=MAX_ARGS,
            description="Arguments that the query and the threshold may use.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    prometheus: Annotated[PrometheusSource, Field(description="Ask Prometheus.")]
    window: Annotated[Duration, Field(description="What {{ window }} stands for in the query.")] = Duration.parse("1m")
    interval: Annotated[Duration, Field(description="Time between two measurements; at least 1s is waited.")] = (
        Duration.parse("30s")
    )
    threshold: Annotated[
        Threshold | None,
        Field(description="Bounds of a good value: a min, a max, or both; each may be {{ args.NAME }}."),
    ] = None
    condition: CONDITION = None
    failure_limit: Annotated[
        int, Field(ge=0, le=1000, description="Consecutive failed measurements that are still tolerated.")
    ] = 0
    initial_delay: Annotated[
        Duration, Field(description="Time after the canary's first traffic of a run before the first measurement.")
    ] = Duration.parse("0s")
    on_no_data: Annotated[OnUnknown, Field(description="What an empty answer means.")] = OnUnknown.HOLD
    on_error: Annotated[
        OnUnknown, Field(description="What an unreachable provider, a bad query, NaN or an ambiguous answer means.")
    ] = OnUnknown.HOLD
    hold_limit: Annotated[Duration, Field(description="Held longer than this, onFailure applies.")] = Duration.parse(
        "10m"
    )
    dry_run: Annotated[bool, Field(description="Measure and show, but neither hold nor fail the run.")] = False


@dataclass(frozen=True, slots=True)
class ResolvedCheck:
    """A check with nothing left to look up: template merged, arguments filled in, bounds as numbers."""

    name: str
    query: str  # still a query template: {{ weight }} and friends are filled in when it is asked
    address: str | None
    args: Mapping[str, str | None]  # all that are declared; None: nobody gave a value
    minimum: Fraction | None
    maximum: Fraction | None
    condition: str | None
    window: Duration
    interval: Duration
    failure_limit: int
    initial_delay: Duration
    on_no_data: OnUnknown
    on_error: OnUnknown
    hold_limit: Duration
    dry_run: bool

    @property
    def limit(self) -> str:
        """The limit in words, for a human: `<= 0.01`, `0.9 to 1.1`, or the condition."""
        if self.condition is not None:
            return self.condition
        low = None if self.minimum is None else f"{float(self.minimum):g}"
        high = None if self.maximum is None else f"{float(self.maximum):g}"
        if low is not None and high is not None:
            return f"{low} to {high}"
        return f"<= {high}" if high is not None else f">= {low}"


_ARG = re.compile(r"\{\{ *args\.([a-zA-Z0-9_-]{1,63}) *\}\}")


def _bound(limit: Limit | None, args: Mapping[str, str | None], field: str, name: str) -> Fraction | None:
    """The number of the bound `name` (min or max) of the check at `field`."""
    if limit is None:
        return None
    if limit.number is not None:
        return limit.number
    place = f"{field}.threshold.{name}"
    found = _ARG.match(limit.text)
    if found is None or found[1] not in args:
        known = ", ".join(sorted(args)) or "none"
        words = f"{limit.text} names an argument that the template does not declare; it declares: {known}"
        raise SpecError(place, words)
    argument = found[1]
    given = args[argument]
    if given is None:
        raise SpecError(
            f"{field}.args.{argument}",
            f"threshold.{name} is {limit.text}, which has no value: the template declares it without a default; "
            f"add `{argument}: …` to args",
        )
    try:
        value = Limit.parse(given)
    except ValueError as error:
        raise SpecError(place, f"argument {argument}: {error}") from error
    if value.number is None:
        raise SpecError(place, f"argument {argument} must be a number, not another template")
    return value.number


def _arguments(check: Check, template: CheckTemplateSpec, field: str) -> dict[str, str | None]:
    """Every argument that the template declares, with its value; None where nobody gave one and none is required."""
    declared = {argument.name: argument for argument in template.args}
    given = dict(check.args or {})
    unknown = sorted(set(given) - set(declared))
    if unknown:
        known = ", ".join(sorted(declared)) or "none"
        raise SpecError(f"{field}.args.{unknown[0]}", f"the template takes no such argument; it takes: {known}")
    values: dict[str, str | None] = {}
    for name, argument in declared.items():
        values[name] = given.get(name, argument.default)
        if values[name] is None and argument.required:
            raise SpecError(f"{field}.args.{name}", f"the template needs this argument; add `{name}: …` to args")
    return values


def resolve(check: Check, template: CheckTemplateSpec | None, field: str) -> ResolvedCheck:
    """Merge a check with its template (None for an inline check) into the form that is measured and judged.

    Raises:
        SpecError: an argument is missing, unknown or no number; `field` prefixes the path it names.

    """
    if template is None:
        if check.prometheus is None:
            raise SpecError(field, "the check has neither a query nor a template that exists")
        template = CheckTemplateSpec(prometheus=check.prometheus, threshold=check.threshold, condition=check.condition)
        args: dict[str, str | None] = {}
    else:
        args = _arguments(check, template, field)
    overrides: dict[str, Any] = {
        name: value
        for name in (
            "window",
            "interval",
            "failure_limit",
            "initial_delay",
            "on_no_data",
            "on_error",
            "hold_limit",
            "dry_run",
        )
        if (value := getattr(check, name)) is not None
    }
    merged = template.model_copy(update=overrides)
    threshold = merged.threshold or Threshold()
    return ResolvedCheck(
        name=check.key,
        query=merged.prometheus.query,
        address=merged.prometheus.address,
        args=args,
        minimum=_bound(threshold.min, args, field, "min"),
        maximum=_bound(threshold.max, args, field, "max"),
        condition=merged.condition,
        window=merged.window,
        interval=merged.interval,
        failure_limit=merged.failure_limit,
        initial_delay=merged.initial_delay,
        on_no_data=merged.on_no_data,
        on_error=merged.on_error,
        hold_limit=merged.hold_limit,
        dry_run=merged.dry_run,
    )
