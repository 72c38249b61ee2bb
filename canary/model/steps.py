"""A step of a run as people declare it: the traffic that it wants, and what has to come before the next one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from canary.model.base import ApiModel
from canary.model.checks import Name
from canary.model.gates import Gate
from canary.model.values import Duration, Share

MAX_RULES = 16
MAX_DENOMINATOR = 1_000_000

_ONE_SHARE = "a mirror has exactly one of percent and fraction"


_APPROVERS = "approval.by names at least one user or group"
_PERSONS = {"x-kubernetes-list-type": "set"}
Person = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\t\n\r]+$")]


class Approvers(ApiModel):
    """Who may approve, as the API server knows them."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [{"rule": "has(self.users) || has(self.groups)", "message": _APPROVERS}]
        }
    }

    users: Annotated[
        Annotated[tuple[Person, ...], Field(min_length=1, max_length=64, json_schema_extra=_PERSONS)] | None,
        Field(description="Users by their names."),
    ] = None
    groups: Annotated[
        Annotated[tuple[Person, ...], Field(min_length=1, max_length=64, json_schema_extra=_PERSONS)] | None,
        Field(description="Groups by their names: everybody in one of them."),
    ] = None

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.users is None and self.groups is None:
            raise ValueError(_APPROVERS)
        return self

    def include(self, user: str, groups: Collection[str]) -> bool:
        """Whether somebody may."""
        return user in (self.users or ()) or not set(groups).isdisjoint(self.groups or ())

    def __str__(self) -> str:
        """For people: `alice, or group release-managers`."""
        return ", or ".join([*(self.users or ()), *(f"group {group}" for group in self.groups or ())])


class Approval(ApiModel):
    """Waits for `canary promote`."""

    by: Annotated[
        Approvers | None,
        Field(
            description="Who may approve, and skip the approval by promote-full. Needs the admission policy of the component approvals, "
            "which sees to it that nobody asks in another one's name. Default: whoever may annotate the Rollout."
        ),
    ] = None


class RequestFraction(ApiModel):
    """A part of the requests, as the Gateway API writes it."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "self.numerator <= (has(self.denominator) ? self.denominator : 100)",
                    "message": "the numerator is at most the denominator: more than all requests cannot be mirrored",
                }
            ]
        }
    }

    numerator: Annotated[int, Field(ge=1, le=MAX_DENOMINATOR, description="So many of `denominator` requests.")]
    denominator: Annotated[int, Field(ge=1, le=MAX_DENOMINATOR, description="Of so many requests.")] = 100

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.numerator > self.denominator:
            raise ValueError("the numerator is at most the denominator: more than all requests cannot be mirrored")
        return self


class Comparer(ApiModel):
    """A Service of the Rollout's namespace behind which `canary comparer run` compares what stable and the canary answer."""

    service: Annotated[Name, Field(description="Name of the Service, in the namespace of the Rollout.")]
    port: Annotated[int, Field(ge=1, le=65535, description="Port of the Service that takes mirrored requests.")]


class Mirror(ApiModel):
    """Copies of requests that go to the canary, for as long as the step lasts. Users get the answers of stable alone."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {"rule": "has(self.percent) != has(self.fraction)", "message": _ONE_SHARE},
            ]
        }
    }

    percent: Annotated[int | None, Field(ge=1, le=100, description="Share of the requests, in percent.")] = None
    fraction: Annotated[RequestFraction | None, Field(description="Share of the requests, as a fraction.")] = None
    allow_unsafe_methods: Annotated[
        bool,
        Field(
            description="Mirror every rule. Default: only rules whose matches are all limited to GET, HEAD and OPTIONS, "
            "since a request that is mirrored happens twice."
        ),
    ] = False

    comparer: Annotated[
        Comparer | None,
        Field(
            description="Who gets the copies instead of the canary: a comparer, which sends each to stable twice and to the canary "
            "once, and counts how their answers differ, for a check with `mirrored`."
        ),
    ] = None

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if (self.percent is None) == (self.fraction is None):
            raise ValueError(_ONE_SHARE)
        return self

    @property
    def share(self) -> Fraction:
        """Share of the requests, in percent."""
        if self.fraction is not None:
            return Fraction(100 * self.fraction.numerator, self.fraction.denominator)
        return Fraction(self.percent or 0)


MOST_FIELDS = 16
MOST_MATCHES = 8

_SOMETHING = "an entry of match asks for at least one header or query parameter"
_NO_MATCH = "allowRegexPaths is about match; give the step one, or drop it"
_FIELD_NAME = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$"
_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class MatchType(StrEnum):
    """How a value is compared."""

    EXACT = "Exact"
    REGULAR_EXPRESSION = "RegularExpression"


class HeaderMatch(ApiModel):
    """A header of a request, as the Gateway API writes it."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=256, pattern=_FIELD_NAME, description="Of the header; case does not matter."),
    ]
    value: Annotated[str, Field(min_length=1, max_length=4096, description="What it has to be.")]
    type: Annotated[
        MatchType, Field(description="How the value is compared; regular expressions are up to each gateway.")
    ] = MatchType.EXACT


class QueryParamMatch(ApiModel):
    """A query parameter of a request, as the Gateway API writes it."""

    name: Annotated[
        str, Field(min_length=1, max_length=256, pattern=_FIELD_NAME, description="Of the query parameter.")
    ]
    value: Annotated[str, Field(min_length=1, max_length=1024, description="What it has to be.")]
    type: Annotated[
        MatchType, Field(description="How the value is compared; regular expressions are up to each gateway.")
    ] = MatchType.EXACT


class Match(ApiModel):
    """What a request has to carry, all of it, to be one that opts in."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [{"rule": "has(self.headers) || has(self.queryParams)", "message": _SOMETHING}]
        }
    }

    headers: Annotated[
        Annotated[tuple[HeaderMatch, ...], Field(min_length=1, max_length=MOST_FIELDS, json_schema_extra=_BY_NAME)]
        | None,
        Field(description="Headers that it carries."),
    ] = None
    query_params: Annotated[
        Annotated[tuple[QueryParamMatch, ...], Field(min_length=1, max_length=MOST_FIELDS, json_schema_extra=_BY_NAME)]
        | None,
        Field(description="Query parameters that it carries; of an HTTPRoute only."),
    ] = None

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if self.headers is None and self.query_params is None:
            raise ValueError(_SOMETHING)
        return self


STEP_ASKS: list[Any] = [{"required": [name]} for name in ("weight", "rules", "mirror", "match", "gate", "approval")]
"""A step asks for something. A condition and no rule: rules do not see `weight`, which may be a number or a string."""


class Step(ApiModel):
    """The traffic that a step wants, and how long it must hold."""

    model_config = {
        "json_schema_extra": {
            "anyOf": STEP_ASKS,
            "x-kubernetes-validations": [
                {"rule": "!has(self.allowRegexPaths) || has(self.match)", "message": _NO_MATCH}
            ],
        }
    }

    weight: Annotated[
        Share | None,
        Field(
            description="The canary's share of what the pair of Services gets, in percent: 10, 0.5, or 0.5% as a string. "
            "Lasts until a later step changes it."
        ),
    ] = None
    rules: Annotated[
        Annotated[dict[str, Share], Field(min_length=1, max_length=MAX_RULES)] | None,
        Field(
            description="The canary's share in single rules, by their names: for requests that opt in by a rule of their own. "
            "Lasts until a later step names the rule again; all other rules follow `weight`."
        ),
    ] = None
    mirror: Annotated[
        Mirror | None,
        Field(description="Send copies of requests to the canary. Lasts for this step only."),
    ] = None
    match: Annotated[
        Annotated[tuple[Match, ...], Field(min_length=1, max_length=MOST_MATCHES)] | None,
        Field(
            description="Send requests that opt in to the canary: those that meet one of these. For the time of this step a rule "
            "is added behind all others for each rule that lists both Services: that rule, for such requests, and the canary alone.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    allow_regex_paths: Annotated[
        bool | None,
        Field(
            description="With `match`: also for rules that match paths by regular expressions. Default: the step is refused then, "
            "since each gateway has an order of its own for these, and a rule that is added might never be used."
        ),
    ] = None
    gate: Annotated[
        Gate | None,
        Field(
            description="What has to say that the run may go on from here, once the step has held its time. A rollback never waits "
            "for it."
        ),
    ] = None
    approval: Annotated[Approval | None, Field(description="Wait here for `canary promote`.")] = None
    hold: Annotated[
        Duration | None,
        Field(description="Time to stay after every gateway accepted the weight. Default: as long as the checks need."),
    ] = None

    @model_validator(mode="after")
    def _regex_paths_of_a_match(self) -> Self:
        if self.allow_regex_paths is not None and self.match is None:
            raise ValueError(_NO_MATCH)
        return self

    @property
    def named(self) -> Mapping[str, Share]:
        """The rules that it names, and their shares."""
        return self.rules or {}

    @property
    def kind(self) -> Literal["mirror", "match", "weight", "gate", "approval"]:
        """What it is about, first of all: `{{ step.kind }}`."""
        if self.mirror is not None:
            return "mirror"
        if self.match is not None:
            return "match"
        if self.weight is not None or self.named:
            return "weight"
        return "gate" if self.gate is not None else "approval"
