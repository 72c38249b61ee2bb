"""Where the numbers of a check come from, and what it means that there are none. Each field is declared once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from canary.model.auth import OwnAuth
from canary.model.base import ApiModel

MAX_QUERY = 4096


class OnUnknown(StrEnum):
    """What an absent or broken measurement means: hold the weight, count as a pass, or count as a failure."""

    HOLD = "Hold"
    PASS = "Pass"
    FAIL = "Fail"


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
