"""A Job that a check runs: one container of the team's, with no more rights than the namespace gives anybody."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from canary.model.auth import ObjectName
from canary.model.base import ApiModel
from canary.model.values import Duration

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
ENV_PATTERN = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
LONGEST_SECONDS = 6 * 3600

_TOO_LONG = "a Job of a check has from 1s to 6h"

Word = Annotated[str, Field(max_length=1024)]
Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=QUANTITY_PATTERN)]


class EnvVar(ApiModel):
    """An environment variable of the container."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=ENV_PATTERN, description="Its name.")]
    value: Annotated[str, Field(max_length=4096, description="Its value; may use {{ }} variables.")] = ""


class Amounts(ApiModel):
    """Amounts of what a container uses."""

    cpu: Annotated[Quantity | None, Field(description="Cores, such as 500m.")] = None
    memory: Annotated[Quantity | None, Field(description="Bytes, such as 128Mi.")] = None


class Resources(ApiModel):
    """What the container asks for, and may use."""

    requests: Annotated[Amounts | None, Field(description="What is set aside for it.")] = None
    limits: Annotated[Amounts | None, Field(description="The most that it may use.")] = None


class JobSource(ApiModel):
    """A smoke or load test: a container that ends by itself, with 0 where the canary is good."""

    image: Annotated[
        str, Field(min_length=1, max_length=512, pattern=r"^[^\s{}]+$", description="Image of the container.")
    ]
    command: Annotated[
        tuple[Word, ...],
        Field(
            max_length=32,
            description="Its command, instead of the image's; may use {{ }} variables.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    args: Annotated[
        tuple[Word, ...],
        Field(
            max_length=64,
            description="Arguments of the command; may use the {{ }} variables of queries.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    env: Annotated[
        tuple[EnvVar, ...],
        Field(
            max_length=32,
            description="Environment variables.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    resources: Annotated[Resources | None, Field(description="What it asks for, and may use.")] = None
    run_as_user: Annotated[
        int | None,
        Field(
            ge=1,
            le=4294967294,
            description="The user that it runs as, where the image names none by a number. Never root.",
        ),
    ] = None
    service_account_name: Annotated[
        ObjectName | None,
        Field(
            description="A ServiceAccount of the namespace whose annotation canary.dev/jobs says `allowed`. Default: the namespace's "
            "default one, without its token."
        ),
    ] = None
    timeout: Annotated[
        Duration,
        Field(description="How long it may take, from 1s to 6h; one that takes longer is ended, and says nothing."),
    ] = Duration.parse("5m")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if not 1 <= self.timeout.seconds <= LONGEST_SECONDS:
            raise ValueError(_TOO_LONG)
        return self
