"""What a server is shown, as a check declares it: a Secret by its name, and never what is in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from canary.model.base import ApiModel

ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
HEADER_PATTERN = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
MAX_HEADERS = 16
HeaderName = Annotated[
    str, Field(min_length=1, max_length=128, pattern=HEADER_PATTERN, description="Name of the header.")
]


class SecretRef(ApiModel):
    """Names a Secret."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.")]


class SecretHeader(ApiModel):
    """A header whose value is in the Secret."""

    name: HeaderName
    key: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^[-._a-zA-Z0-9]+$",
            description="Key of the Secret that holds its value.",
        ),
    ]


class Auth(ApiModel):
    """What the server is shown, and whom the controller trusts to be it: from a Secret, which nobody else gets to see.

    Of the Secret these keys count: `token` (a bearer token), or `username` and `password`; `ca.crt`, the authorities of the server's
    certificate; `tls.crt` and `tls.key`, a client certificate. Its annotation canary.dev/hosts names the hosts that it is for.
    """

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="A Secret in the Rollout's namespace; in a ClusterCheckTemplate, one in the namespace of the controller."
        ),
    ]
    headers: Annotated[
        tuple[SecretHeader, ...],
        Field(
            max_length=MAX_HEADERS,
            description="Headers with values from the Secret: an API key, say.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()


OwnAuth = Annotated[
    Auth | None,
    Field(
        description="What the server is shown, from a Secret. Without it, the controller's own address gets the controller's."
    ),
]
