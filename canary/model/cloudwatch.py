"""What Amazon CloudWatch is asked: metrics, and an expression over them."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from canary.model.auth import SecretRef
from canary.model.base import ApiModel
from canary.model.databases import BaseUrl
from canary.model.values import Duration

REGION_PATTERN = r"^[a-z]{2}(-[a-z]{2,9}){1,2}-[0-9]{1,2}$"
ID_PATTERN = r"^[a-z][a-zA-Z0-9_]*$"
STAT_PATTERN = r"^[A-Za-z][A-Za-z0-9.:%()]*$"
PERIOD_PATTERN = r"^([15]s|[1236]0s|[1-9][0-9]{0,2}m|([1-9]|1[0-9]|2[0-4])h)$"
MAX_METRICS = 10
_ONE_NUMBER = "with several metrics, or none, an expression says which number is meant"
_ONE_NUMBER_RULE = "has(self.expression) || (has(self.metrics) && size(self.metrics) == 1)"


class CloudwatchKeys(ApiModel):
    """What requests are signed with."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="A Secret with the keys access-key-id and secret-access-key, and session-token where they are temporary, in the "
            "Rollout's namespace; in a ClusterCheckTemplate, one in the namespace of the controller."
        ),
    ]


class CloudwatchDimension(ApiModel):
    """A dimension of a metric."""

    name: Annotated[str, Field(min_length=1, max_length=255, description="Name of the dimension.")]
    value: Annotated[
        str, Field(min_length=1, max_length=1024, description="Its value; may use the {{ }} variables of queries.")
    ]


class CloudwatchMetric(ApiModel):
    """One metric, with all of its dimensions."""

    id: Annotated[
        str, Field(max_length=64, pattern=ID_PATTERN, description="What the expression calls it, such as errors.")
    ]
    namespace: Annotated[
        str,
        Field(
            min_length=1, max_length=255, pattern=r"^[^:].*$", description="Its namespace, such as AWS/ApplicationELB."
        ),
    ]
    name: Annotated[str, Field(min_length=1, max_length=255, description="Its name, such as RequestCount.")]
    dimensions: Annotated[
        tuple[CloudwatchDimension, ...],
        Field(
            max_length=30,
            description="All the dimensions that it is published with: CloudWatch knows no other metric by the name.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    stat: Annotated[
        str,
        Field(
            max_length=64,
            pattern=STAT_PATTERN,
            description="What is made of the values of a period: Sum, Average, Minimum, Maximum, SampleCount, p99 and so on.",
        ),
    ]


class CloudwatchSource(ApiModel):
    """Metrics of Amazon CloudWatch over the last `window`, by GetMetricData. The number is that of the latest period that is over."""

    model_config = {
        "json_schema_extra": {"x-kubernetes-validations": [{"rule": _ONE_NUMBER_RULE, "message": _ONE_NUMBER}]}
    }

    region: Annotated[
        str, Field(max_length=32, pattern=REGION_PATTERN, description="Region of the metrics, such as eu-west-1.")
    ]
    address: Annotated[
        BaseUrl | None,
        Field(
            description="URL of an endpoint of one's own, of a VPC say. Default: the public one of the region. Its host must be one that "
            "the controller was told to allow."
        ),
    ] = None
    metrics: Annotated[
        tuple[CloudwatchMetric, ...],
        Field(
            max_length=MAX_METRICS,
            description="What is asked for. Amazon charges for each of them, each time.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
        ),
    ] = ()
    expression: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=2048,
            description="Metric math over the ids, such as errors / requests, or a SELECT of Metrics Insights. Needed unless there is one "
            "metric. May name {{ canary.service }} and the other variables of queries.",
        ),
    ] = None
    period: Annotated[
        Duration,
        Field(
            description="What one value is of: 1m or a multiple, or 1s, 5s, 10s, 20s or 30s.",
            json_schema_extra={"pattern": PERIOD_PATTERN},
        ),
    ] = Duration.parse("1m")
    auth: Annotated[CloudwatchKeys, Field(description="What requests are signed with, from a Secret.")]

    @model_validator(mode="after")
    def _a_period(self) -> Self:
        if not re.fullmatch(PERIOD_PATTERN, self.period.text):
            raise ValueError("period is 1m or a multiple of it, or 1s, 5s, 10s, 20s or 30s")
        return self

    @model_validator(mode="after")
    def _one_number(self) -> Self:
        if self.expression is None and len(self.metrics) != 1:
            raise ValueError(_ONE_NUMBER)
        return self
