"""Counters of what each backend gets, as a Rollout or a template declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from canary.model.base import ApiModel
from canary.model.checks import (
    ARGS_NEED_A_TEMPLATE,
    SOURCES,
    PrometheusSource,
    Sources,
    Templated,
    either,
    one_of,
    optional,
)
from canary.model.values import Duration

_COUNTER = (
    "A counter of the requests that a backend got, rendered once for each: name {{ backend.service }}, .namespace or .port, "
    "and sum to one number. Best that of the gateway, for these routes alone."
)


class TrafficSettings(ApiModel):
    """How counters are read, with what holds where nobody says otherwise."""

    interval: Annotated[Duration, Field(description="Time between two looks; at least 1s is waited.")] = Duration.parse(
        "15s"
    )
    lag: Annotated[
        Duration,
        Field(
            description="How old the counters may be when they are read: the interval at which they are scraped, and a "
            "little more. What is counted so soon after a step is accepted belongs to the step before."
        ),
    ] = Duration.parse("30s")


if TYPE_CHECKING:

    class _Overrides(ApiModel):
        """Every setting, without a default."""

else:
    _Overrides = optional(TrafficSettings)


class TemplateTraffic(TrafficSettings):
    """Counters of what each backend gets, written once for the Rollouts that name the template in `traffic`."""

    prometheus: Annotated[PrometheusSource, Field(description=_COUNTER)]


class Traffic(_Overrides, Templated, Sources):  # fields stand in the order of the bases, the last one first
    """Counters of what each backend gets: requests, or connections of a TCPRoute, TLSRoute or UDPRoute.

    A query of its own, or a template with arguments. What is set here overrides the template.
    """

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": one_of((*SOURCES, "template")),
                    "message": f"traffic has exactly one source: {either([*SOURCES, 'template'])}",
                },
            ],
            "anyOf": ARGS_NEED_A_TEMPLATE,
        },
    }

    prometheus: Annotated[PrometheusSource | None, Field(description=_COUNTER)] = None
