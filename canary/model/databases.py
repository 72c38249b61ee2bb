"""Databases of metrics that are asked over HTTP besides Prometheus: what each is asked, in its own language."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from canary.model.auth import Auth, SecretRef
from canary.model.base import ApiModel

MAX_QUERY = 4096
BASE_PATTERN = r"^https?://[^/?#{}@\s]+(/[^?#{}\s]*)?$"
SITE_PATTERN = r"^([a-z0-9]{1,16}\.)?(datadoghq\.com|datadoghq\.eu|ddog-gov\.com)$"
SELECT_PATTERN = r"^\s*[Ss][Ee][Ll][Ee][Cc][Tt]\s"

BaseUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        pattern=BASE_PATTERN,
        description="Base URL of the server. Its host must be one that the controller was told to allow.",
    ),
]
_VARIABLES = "May name {{ canary.service }} and the other variables of queries."


class DatadogKeys(ApiModel):
    """What Datadog is shown."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="A Secret with the keys api-key and app-key, in the Rollout's namespace; in a ClusterCheckTemplate, one in the "
            "namespace of the controller."
        ),
    ]


class DatadogSource(ApiModel):
    """A query of Datadog over the last `window`. The number is the last point of the series that is not null."""

    query: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description=f"A metrics query, such as sum:trace.http.request.errors{{service:shop}}.as_count(). {_VARIABLES}",
        ),
    ]
    site: Annotated[
        str,
        Field(
            max_length=64,
            pattern=SITE_PATTERN,
            description="The Datadog site of the account: datadoghq.com, datadoghq.eu, us5.datadoghq.com and so on.",
        ),
    ] = "datadoghq.com"
    auth: Annotated[DatadogKeys, Field(description="The API key and the application key, from a Secret.")]


class InfluxdbSource(ApiModel):
    """A query of InfluxDB in InfluxQL. The number is that of the last row, in the one column besides `time`."""

    address: BaseUrl
    database: Annotated[str, Field(min_length=1, max_length=253, description="The database that is asked.")]
    retention_policy: Annotated[
        str | None, Field(min_length=1, max_length=253, description="Its retention policy. Default: the database's.")
    ] = None
    query: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            pattern=SELECT_PATTERN,
            description="One SELECT that selects one field, without INTO and without semicolons: a check changes nothing. "
            f"{_VARIABLES}",
        ),
    ]
    auth: Annotated[Auth | None, Field(description="What the server is shown, from a Secret.")] = None


class GraphiteSource(ApiModel):
    """A target of Graphite over the last `window`. The number is the last point of the series that is not null."""

    address: BaseUrl
    target: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description=f"A target of the render API, such as summarize(shop.canary.errors, '5min', 'sum'). {_VARIABLES}",
        ),
    ]
    auth: Annotated[Auth | None, Field(description="What the server is shown, from a Secret.")] = None
