"""Checks as declared. Each field is declared once; what a check may override is derived.

A new source of numbers is a field of `Sources`, a new judge a field of `Settings` and a name in `JUDGES`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, create_model, model_validator
from pydantic.fields import FieldInfo

from canary.model.auth import ObjectName, OwnAuth
from canary.model.base import ApiModel
from canary.model.measurement import MAX_SERIES
from canary.model.values import Alpha, ArgumentText, Duration, Limit, Part
from canary.model.web import WebSource

MAX_CHECKS = 16
MAX_ARGS = 16
MAX_QUERY = 4096
SHORTEST_INTERVAL = 1.0
"""Seconds that are waited between two measurements at least, whatever a check declares."""
MAX_CONDITION = 1024
FAILURES_PATTERN = r"^[1-9][0-9]{0,2} of [1-9][0-9]{0,2}$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
ARG_PATTERN = r"^[a-zA-Z0-9_-]{1,63}$"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN)]


class OnUnknown(StrEnum):
    """What an absent or broken measurement means: hold the weight, count as a pass, or count as a failure."""

    HOLD = "Hold"
    PASS = "Pass"
    FAIL = "Fail"


class TemplateKind(StrEnum):
    """Where a check template lives: in the Rollout's namespace, or cluster-wide."""

    NAMESPACED = "CheckTemplate"
    CLUSTER = "ClusterCheckTemplate"


Address = Annotated[
    str | None,
    Field(
        max_length=512,
        pattern=r"^https?://.+$",
        description="Base URL of the Prometheus to ask; default: the controller's. Its host must be one that the "
        "controller was told to allow.",
    ),
]


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
    address: Address = None
    auth: OwnAuth = None


class Sources(ApiModel):
    """Where numbers come from: exactly one of these, if not from a template."""

    prometheus: Annotated[PrometheusSource | None, Field(description="Ask Prometheus.")] = None


SOURCES = tuple(Sources.model_fields)


class BucketUnit(StrEnum):
    """What the bounds of buckets (`le`) count in."""

    SECONDS = "s"
    MILLISECONDS = "ms"

    @property
    def seconds(self) -> float:
        return 1.0 if self is BucketUnit.SECONDS else 0.001


_FAILURES_OR_BUCKETS = (
    "what is compared is either failures of requests, or buckets, which count their requests themselves"
)
_UNIT_OF_BUCKETS = "unit is that of the bounds of buckets"


class PrometheusCounters(ApiModel):
    """Raw counters of a backend, rendered once for each: no rate(), no increase(), and not summed over its pods."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.buckets) ? !has(self.requests) && !has(self.failures) : has(self.requests) && has(self.failures)",
                    "message": _FAILURES_OR_BUCKETS,
                },
                {"rule": "!has(self.unit) || has(self.buckets)", "message": _UNIT_OF_BUCKETS},
            ]
        }
    }

    requests: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description="PromQL: the counters of a backend's requests, all series. Name {{ backend.service }}, .namespace or "
            ".port. Best those of the gateway: an application's miss what a pod that crashes took along.",
        ),
    ] = None
    failures: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description="PromQL: those of them that failed, as clients saw it. No series beside `requests`: nothing failed.",
        ),
    ] = None
    buckets: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description="PromQL: the buckets of a classic histogram of how long a backend's requests took, with their label le; "
            "instead of requests and failures. Native histograms are not supported.",
        ),
    ] = None
    unit: Annotated[
        BucketUnit | None,
        Field(description="What le counts in: s (default), or ms as the histograms of Envoy and Istio do."),
    ] = None
    address: Address = None
    auth: OwnAuth = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        counted = [self.requests is not None, self.failures is not None]
        if any(counted) if self.buckets is not None else not all(counted):
            raise ValueError(_FAILURES_OR_BUCKETS)
        if self.unit is not None and self.buckets is None:
            raise ValueError(_UNIT_OF_BUCKETS)
        return self


MAX_BOUNDS = 3
LEAST_EFFECT = 1.1
_BOUNDS_OF_BUCKETS = "slowerThan names bounds of buckets: both are there, or neither is"
_EARLY_BY_ERRORS = "promoteEarly goes by errors: how slow a canary is ends no hold"
_AN_EFFECT = f"a comparison of buckets needs a tolerance of {LEAST_EFFECT} or more: a little slower is no matter"
WARM = (
    "!has(self.compare) || !has(self.compare.prometheus.buckets) "
    "|| (has(self.initialDelay) && self.initialDelay.matches('[1-9]'))"
)
WARM_WORDS = "a comparison of buckets needs an initialDelay: a canary whose caches are cold is slower, and that is no matter of its version"


class Comparison(ApiModel):
    """Canary against stable: fails the canary that provably fails more often, or is slower, however often one looks."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {"rule": "has(self.prometheus.buckets) == has(self.slowerThan)", "message": _BOUNDS_OF_BUCKETS},
                {
                    "rule": f"!has(self.prometheus.buckets) || (has(self.tolerance) && self.tolerance >= {LEAST_EFFECT})",
                    "message": _AN_EFFECT,
                },
                {
                    "rule": "!has(self.prometheus.buckets) || !has(self.promoteEarly) || !self.promoteEarly",
                    "message": _EARLY_BY_ERRORS,
                },
            ]
        }
    }

    prometheus: Annotated[PrometheusCounters, Field(description="Ask Prometheus.")]
    slower_than: Annotated[
        Annotated[tuple[Duration, ...], Field(min_length=1, max_length=MAX_BOUNDS)] | None,
        Field(
            description="With buckets: a request that takes longer than this is slow. One to three bounds that the histograms "
            "have, such as 300ms.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    tolerance: Annotated[
        float,
        Field(
            ge=1,
            le=9,
            description="The canary may fail this many times as often as stable; with buckets: its odds to be slow may be this "
            "many times stable's.",
        ),
    ] = 1
    alpha: Annotated[
        Alpha | None,
        Field(
            description="The chance, over the whole run, to fail a canary that is as good as stable: 0.01, or 1%. Default: an "
            "even part of spec.alpha."
        ),
    ] = None
    min_requests: Annotated[
        int,
        Field(
            ge=1, le=1_000_000, description="Requests that the canary needs; with fewer, onNoData says what it means."
        ),
    ] = 20
    lag: Annotated[
        Duration,
        Field(
            description="How old the counters may be when they are read: the interval at which they are scraped, and a little "
            "more. What is counted so soon after a weight was written is not compared."
        ),
    ] = Duration.parse("30s")
    on_inconclusive: Annotated[
        OnUnknown,
        Field(
            description="What it means, once the step's hold is over, that the canary fails more often, or is slower, and that "
            "this may have other causes than its version."
        ),
    ] = OnUnknown.HOLD
    promote_early: Annotated[
        bool,
        Field(
            description="End the hold of a step early once it is proved, by what was counted at that step alone, that the canary "
            "fails less than twice as often as it may; when every other check passes. Of errors only."
        ),
    ] = False

    @model_validator(mode="after")
    def _of_buckets(self) -> Self:
        if (self.prometheus.buckets is None) != (self.slower_than is None):
            raise ValueError(_BOUNDS_OF_BUCKETS)
        if self.slower_than is not None and self.tolerance < LEAST_EFFECT:
            raise ValueError(_AN_EFFECT)
        if self.slower_than is not None and self.promote_early:
            raise ValueError(_EARLY_BY_ERRORS)
        return self


class MirroredAnswers(ApiModel):
    """What stable and the canary answer to mirrored requests, as the comparer of the step has counted it, path by path.

    What differs between two answers of stable to one request is noise, and is no difference.
    """

    max_different: Annotated[
        Part,
        Field(
            description="The part of the requests in which the canary may answer otherwise than stable at a place of the answer, "
            "beyond noise: 0.001, or 0.1%."
        ),
    ] = Part.parse("0.1%")
    min_compared: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="Requests that have to be compared; with fewer, onNoData says what it means.",
        ),
    ] = 100
    alpha: Annotated[
        Alpha | None,
        Field(
            description="The chance, over the whole run, to fail a canary that answers like stable: 0.01, or 1%. Default: an "
            "even part of spec.alpha."
        ),
    ] = None
    on_inconclusive: Annotated[
        OnUnknown,
        Field(
            description="What it means, once the step's hold is over, that the canary seems to answer otherwise and that this is "
            "not proved."
        ),
    ] = OnUnknown.HOLD


class CheckSources(Sources):
    """Where a check's numbers come from: exactly one of these, if not from a template."""

    web: Annotated[
        WebSource | None,
        Field(description="Ask a server over HTTP, which answers in JSON: a number, or something that is expected."),
    ] = None
    compare: Annotated[
        Comparison | None,
        Field(
            description="Compare the canary's errors, or how slow it is, with stable's. That is its judge too: it has no threshold."
        ),
    ] = None
    mirrored: Annotated[
        MirroredAnswers | None,
        Field(
            description="Compare the answers to mirrored requests, at steps that mirror to a comparer. That is its judge too: it has "
            "no threshold."
        ),
    ] = None


CHECK_SOURCES = tuple(CheckSources.model_fields)


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


JUDGES = ("threshold", "condition")
"""Those settings of which a check has exactly one: what makes a verdict of its numbers."""


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
COMPARED = "(has(self.compare) || has(self.mirrored) || (has(self.web) && has(self.web.expect)) ? 1 : 0)"
SELF_JUDGED = "compare, mirrored or web.expect, which judge by themselves"
A_JUDGE = f"{either([f'a {name}' for name in JUDGES])} (one of them)"


_NO_ROW = "!has(self.failureLimit) || self.failureLimit == 0"
NO_LIMIT = f"!(has(self.compare) || has(self.mirrored)) || (!has(self.failures) && ({_NO_ROW}))"
NO_LIMIT_WORDS = (
    "compare and mirrored take no failureLimit and no failures: they say Fail once it is proved, and alpha is how much proof "
    "that takes"
)
ONE_COUNT = f"!has(self.failures) || {_NO_ROW}"
ONE_COUNT_WORDS = "failures and failureLimit are two answers to one question, how many failures are too many: give one"

LIMITS: list[Any] = [
    {"rule": NO_LIMIT, "message": NO_LIMIT_WORDS},
    {"rule": ONE_COUNT, "message": ONE_COUNT_WORDS},
    {"rule": WARM, "message": WARM_WORDS},
]
"""Rules on what a check tolerates, and from when on."""


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
