"""A step of a run as people declare it: the traffic that it wants, and what has to come before the next one."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from canary.model.base import ApiModel
from canary.model.values import Duration, Share

MAX_RULES = 16
MAX_DENOMINATOR = 1_000_000

_ONE_SHARE = "a mirror has exactly one of percent and fraction"


class Approval(ApiModel):
    """Waits for `canary promote`."""


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


STEP_ASKS: list[Any] = [{"required": [name]} for name in ("weight", "rules", "mirror", "approval")]
"""A step asks for something. A condition and no rule: rules do not see `weight`, which may be a number or a string."""


class Step(ApiModel):
    """The traffic that a step wants, and how long it must hold."""

    model_config = {"json_schema_extra": {"anyOf": STEP_ASKS}}

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
    approval: Annotated[Approval | None, Field(description="Wait here for `canary promote`.")] = None
    hold: Annotated[
        Duration | None,
        Field(description="Time to stay after every gateway accepted the weight. Default: as long as the checks need."),
    ] = None

    @property
    def named(self) -> Mapping[str, Share]:
        """The rules that it names, and their shares."""
        return self.rules or {}

    @property
    def kind(self) -> Literal["mirror", "weight", "approval"]:
        """What it is about, first of all: `{{ step.kind }}`."""
        if self.mirror is not None:
            return "mirror"
        return "weight" if self.weight is not None or self.named else "approval"
