"""Checks as declared. Each field is declared once; what a check may override is derived.

A new source of numbers is a field of `Sources` (`sources.py`), what judges by itself one of `CheckSources` (`comparisons.py`), a new judge
a field of `Settings` and a name in `JUDGES` (`check_rules.py`, with all rules on which fields go together).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from canary.model.auth import ObjectName
from canary.model.base import ApiModel
from canary.model.check_rules import (
    A_JUDGE,
    COMPARED,
    JUDGED,
    JUDGES,
    LIMITS,
    NO_LIMIT_WORDS,
    ONE_COUNT_WORDS,
    SELF_JUDGED,
    either,
    one_of,
)
from canary.model.comparisons import CHECK_SOURCES, WARM_WORDS, BucketUnit, CheckSources, Comparison, MirroredAnswers
from canary.model.measurement import MAX_SERIES
from canary.model.sources import SOURCES, OnUnknown, PrometheusSource, Sources
from canary.model.values import ArgumentText, Duration, Limit

__all__ = [
    "ARGS_NEED_A_TEMPLATE",
    "ARG_PATTERN",
    "A_JUDGE",
    "CHECK_SOURCES",
    "COMPARED",
    "FAILURES_PATTERN",
    "JUDGED",
    "JUDGES",
    "LIMITS",
    "MAX_ARGS",
    "MAX_CHECKS",
    "MAX_CONDITION",
    "NAME_PATTERN",
    "NO_LIMIT_WORDS",
    "ONE_COUNT_WORDS",
    "OVERRIDES",
    "SELF_JUDGED",
    "SHORTEST_INTERVAL",
    "SOURCES",
    "WARM_WORDS",
    "BucketUnit",
    "Check",
    "CheckSources",
    "Comparison",
    "MirroredAnswers",
    "Name",
    "ObjectName",
    "OnUnknown",
    "PrometheusSource",
    "Settings",
    "Sources",
    "TemplateKind",
    "TemplateRef",
    "Templated",
    "Threshold",
    "either",
    "one_of",
    "optional",
]

MAX_CHECKS = 16
MAX_ARGS = 16
SHORTEST_INTERVAL = 1.0
"""Seconds that are waited between two measurements at least, whatever a check declares."""
MAX_CONDITION = 1024
FAILURES_PATTERN = r"^[1-9][0-9]{0,2} of [1-9][0-9]{0,2}$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
ARG_PATTERN = r"^[a-zA-Z0-9_-]{1,63}$"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN)]


class TemplateKind(StrEnum):
    """Where a check template lives: in the Rollout's namespace, or cluster-wide."""

    NAMESPACED = "CheckTemplate"
    CLUSTER = "ClusterCheckTemplate"


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


class Settings(ApiModel):
    """How a check measures, judges and counts, with what holds where nobody says otherwise."""

    window: Annotated[Duration, Field(description="What {{ window }} stands for in the query.")] = Duration.parse("1m")
    interval: Annotated[Duration, Field(description="Time between two measurements; at least 1s is waited.")] = (
        Duration.parse("30s")
    )
    threshold: Annotated[
        Threshold | None,
        Field(description="Bounds of a good value: a min, a max, or both; each may be {{ args.NAME }}."),
    ] = None
    condition: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_CONDITION,
            description="A CEL expression that is true when the value is good, over `value` (double) and `values` (list "
            f"of double: all series of the query, at most {MAX_SERIES}). Instead of threshold.",
        ),
    ] = None
    failure_limit: Annotated[
        int, Field(ge=0, le=1000, description="Consecutive failed measurements that are still tolerated.")
    ] = 0
    failures: Annotated[
        str | None,
        Field(
            max_length=16,
            pattern=FAILURES_PATTERN,
            description="N of M: so many failed measurements of the last so many (at most 100) fail the check, in a row or not, "
            "such as `2 of 5`. Instead of failureLimit.",
        ),
    ] = None
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


OVERRIDES = tuple(name for name in Settings.model_fields if name not in JUDGES)
"""The settings that a check may set over those of its template."""


def optional(model: type[ApiModel]) -> type[ApiModel]:
    """The same fields, each of which may be absent; what holds then stands in its description."""
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        kind: Any = info.annotation
        fields[name] = (Annotated[kind | None, *info.metadata, Field(description=_with_default(info))], None)
    return create_model("Overrides", __base__=ApiModel, **fields)


def _with_default(info: FieldInfo) -> str:
    """What a setting means, its choices and its default included, as a schema without a default has to say it."""
    what, _, more = (info.description or "").removesuffix(".").partition(";")
    default = info.default
    if default is None:
        return f"{what}."  # what follows the semicolon is about templates
    if isinstance(default, StrEnum):
        *others, last = type(default)
        what += f": {', '.join(others)} or {last}"
    word = str(default).lower() if isinstance(default, bool) else default
    return f"{what}. Default: {word}{';' if more else ''}{more}."


if TYPE_CHECKING:

    class _Overrides(ApiModel):
        """Every setting, without a default."""

else:
    _Overrides = optional(Settings)


class TemplateRef(ApiModel):
    """Names a check template."""

    name: Annotated[ObjectName, Field(description="Name of the template.")]
    kind: Annotated[
        TemplateKind,
        Field(description="CheckTemplate (of this namespace) or ClusterCheckTemplate."),
    ] = TemplateKind.NAMESPACED


ARGS_NEED_A_TEMPLATE: list[Any] = [{"required": ["template"]}, {"not": {"required": ["args"]}}]
"""A condition on a check, or on traffic, instead of a rule: rules do not see `args`, whose values may be numbers or strings."""


class _Named(ApiModel):
    name: Annotated[Name | None, Field(description="Name within the Rollout; default: the template's name.")] = None


class Templated(ApiModel):
    """What may be filled in from a template."""

    template: Annotated[TemplateRef | None, Field(description="Use what somebody wrote once.")] = None
    args: Annotated[
        dict[str, ArgumentText] | None,
        Field(max_length=MAX_ARGS, description="Arguments for the template, by name: text or numbers."),
    ] = None


class Check(_Overrides, Templated, CheckSources, _Named):  # fields stand in the order of the bases, the last one first
    """One check of a Rollout: its own query, or a template with arguments. What is set here overrides the template."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": one_of((*CHECK_SOURCES, "template")),
                    "message": f"a check has exactly one source: {either([*CHECK_SOURCES, 'template'])}",
                },
                {
                    "rule": "has(self.name) || has(self.template)",
                    "message": "a check without a template needs a name",
                },
                {
                    "rule": f"has(self.template) ? {JUDGED} == 0 : {JUDGED} + {COMPARED} == 1",
                    "message": f"a check with its own query has {A_JUDGE}; "
                    f"with a template it has neither, because the template brings it, nor with {SELF_JUDGED}",
                },
                *LIMITS,
            ],
            "anyOf": ARGS_NEED_A_TEMPLATE,
        },
    }

    @property
    def key(self) -> str:
        """The name of the check within its Rollout."""
        return self.name or (self.template.name if self.template else "")
