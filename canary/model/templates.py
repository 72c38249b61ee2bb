"""Templates: a check, or counters of traffic, that is written once and filled in with arguments."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from canary.model.base import ApiModel
from canary.model.checks import (
    A_JUDGE,
    ARG_PATTERN,
    CHECK_SOURCES,
    COMPARED,
    JUDGED,
    LIMITS,
    MAX_ARGS,
    SELF_JUDGED,
    CheckSources,
    Settings,
    either,
    one_of,
)
from canary.model.traffic import TemplateTraffic
from canary.model.values import ArgumentText


class Argument(ApiModel):
    """An argument that a template takes."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=ARG_PATTERN, description="Name: {{ args.NAME }}.")]
    default: Annotated[ArgumentText | None, Field(description="Value when the Rollout gives none.")] = None
    required: Annotated[bool, Field(description="Whether a Rollout must give a value.")] = False
    description: Annotated[str | None, Field(max_length=1024, description="What it means, for the reader.")] = None


class _Parametrised(ApiModel):
    args: Annotated[
        tuple[Argument, ...],
        Field(
            max_length=MAX_ARGS,
            description="Arguments that the query and the threshold may use.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()


class CheckTemplateSpec(Settings, CheckSources, _Parametrised):
    """One check with arguments, or counters of traffic, so that PromQL is written once."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": one_of((*CHECK_SOURCES, "traffic")),
                    "message": f"a template has exactly one of: {either([*CHECK_SOURCES, 'traffic'])}",
                },
                {
                    "rule": f"has(self.traffic) ? {JUDGED} == 0 : {JUDGED} + {COMPARED} == 1",
                    "message": f"a template has {A_JUDGE}; one of traffic has neither, because nobody sets it a limit, nor one "
                    f"with {SELF_JUDGED}",
                },
                *LIMITS,
            ],
        },
    }

    traffic: Annotated[
        TemplateTraffic | None,
        Field(
            description="Counters of what each backend gets, for `traffic` of a Rollout, instead of a check. The settings of "
            "a check mean nothing then."
        ),
    ] = None
