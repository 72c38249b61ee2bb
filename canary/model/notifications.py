"""Who is told what happens to Rollouts, and how: targets of notifications, as declared and as the controller found them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from canary.model.auth import Auth, ObjectName, SecretRef
from canary.model.base import ApiModel
from canary.model.bounded import Text
from canary.model.status import Condition
from canary.model.times import Timestamp
from canary.model.web import MAX_URL

MAX_LABELS = 16
ADDRESS_PATTERN = r"^https?://[^\s]+$"
KEY_PATTERN = r"^[-._a-zA-Z0-9]+$"
LABEL_PATTERN = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_VALUE_PATTERN = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$"
TEST_ANNOTATION = "canary.dev/test"
"""On a target: send a test. Its value is an id, and what came of it is in `status.lastTest`."""

_ONE_WAY = "a target has one way to be told: apprise or http"
_VALUES = "In and NotIn list values, Exists and DoesNotExist none"


class EventKind(StrEnum):
    """What may happen to a Rollout that somebody wants to be told."""

    RUN_STARTED = "RunStarted"
    STEP_STARTED = "StepStarted"
    AWAITING_APPROVAL = "AwaitingApproval"
    ROLLED_BACK = "RolledBack"
    SUCCEEDED = "Succeeded"
    PAUSED = "Paused"
    CONTESTED = "Contested"
    INVALID = "Invalid"


UNASKED = tuple(kind for kind in EventKind if kind is not EventKind.STEP_STARTED)
"""What a target is told that does not say which events it wants: a run of ten steps is not ten messages."""


class SelectorOperator(StrEnum):
    """How a label is held against values."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=LABEL_PATTERN)]
LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]


class LabelRequirement(ApiModel):
    """What is asked of one label."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "self.operator in ['In', 'NotIn'] == (has(self.values) && size(self.values) > 0)",
                    "message": _VALUES,
                }
            ]
        }
    }

    key: Annotated[LabelKey, Field(description="Name of the label.")]
    operator: Annotated[SelectorOperator, Field(description="How it is held against the values.")]
    values: Annotated[
        tuple[LabelValue, ...] | None,
        Field(
            max_length=MAX_LABELS,
            description="Of In and NotIn.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None

    @model_validator(mode="after")
    def _has_values_or_not(self) -> Self:
        if (self.operator in {SelectorOperator.IN, SelectorOperator.NOT_IN}) is not bool(self.values):
            raise ValueError(_VALUES)
        return self


class LabelSelector(ApiModel):
    """Chooses by labels, as selectors do everywhere: all that is asked has to hold."""

    match_labels: Annotated[
        dict[str, LabelValue] | None, Field(max_length=MAX_LABELS, description="Labels that have just these values.")
    ] = None
    match_expressions: Annotated[
        tuple[LabelRequirement, ...] | None,
        Field(
            max_length=MAX_LABELS,
            description="What else is asked of labels.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None


class UrlKey(ApiModel):
    """A key of a Secret that holds a URL."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.")]
    key: Annotated[
        str, Field(min_length=1, max_length=253, pattern=KEY_PATTERN, description="Key that holds the URL.")
    ] = "url"


class SigningKey(ApiModel):
    """A key of a Secret that holds what messages are signed with."""

    name: Annotated[ObjectName, Field(description="Name of the Secret.")]
    key: Annotated[
        str, Field(min_length=1, max_length=253, pattern=KEY_PATTERN, description="Key that holds the secret.")
    ] = "signing"


class AppriseTarget(ApiModel):
    """A chat, or mail, by a URL of apprise: `slack://…`, `msteams://…`, `discord://…`, `mailto://…`, `json://…`."""

    secret_ref: Annotated[
        UrlKey,
        Field(
            description="Where the URL is: a Secret of the target's namespace; of a ClusterNotificationTarget, one of the "
            "controller's. Its annotation canary.dev/hosts names the hosts that the URL leads to."
        ),
    ]


class Signing(ApiModel):
    """Signs each request by HMAC-SHA256, as Standard Webhooks has it."""

    secret_ref: Annotated[
        SigningKey,
        Field(
            description="Where the secret is: 16 bytes and more, or whsec_ and base64 of them. Its annotation canary.dev/hosts "
            "names the host of the url."
        ),
    ]


class TargetAuth(Auth):
    """What the receiver is shown, and whom the controller trusts to be it: from a Secret, as of a check."""

    secret_ref: Annotated[
        SecretRef,
        Field(
            description="A Secret in the target's namespace; of a ClusterNotificationTarget, one in that of the controller."
        ),
    ]


class HttpTarget(ApiModel):
    """A receiver of CloudEvents 1.0, in structured mode: JSON by POST."""

    url: Annotated[
        str,
        Field(
            min_length=8,
            max_length=MAX_URL,
            pattern=ADDRESS_PATTERN,
            description="Where to. Its host has to be among the allowed ones.",
        ),
    ]
    auth: Annotated[TargetAuth | None, Field(description="What the receiver is shown, from a Secret.")] = None
    signing: Annotated[
        Signing | None, Field(description="Signs what is sent, so that the receiver knows whose it is.")
    ] = None


class NotificationTargetSpec(ApiModel):
    """Whom to tell, what, and of which Rollouts."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [{"rule": "has(self.apprise) != has(self.http)", "message": _ONE_WAY}]
        }
    }

    events: Annotated[
        Annotated[tuple[EventKind, ...], Field(min_length=1, max_length=len(EventKind))] | None,
        Field(
            description="What to tell. Default: all but StepStarted.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    selector: Annotated[
        LabelSelector | None,
        Field(
            description="Of which Rollouts, by their labels. Default: all of the namespace; of a ClusterNotificationTarget, all."
        ),
    ] = None
    apprise: Annotated[AppriseTarget | None, Field(description="A chat, or mail, by a URL of apprise.")] = None
    http: Annotated[HttpTarget | None, Field(description="A receiver of CloudEvents.")] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.apprise is None) == (self.http is None):
            raise ValueError(_ONE_WAY)
        return self

    @property
    def wanted(self) -> tuple[EventKind, ...]:
        """The events to tell."""
        return self.events or UNASKED


class DeliveryOutcome(StrEnum):
    """What came of a message."""

    DELIVERED = "Delivered"
    FAILED = "Failed"


class LastTest(ApiModel):
    """The last test that somebody asked for, and what came of it."""

    id: Annotated[str, Field(max_length=128, description="What the annotation canary.dev/test said.")]
    at: Annotated[Timestamp, Field(description="When it was over.")]
    outcome: Annotated[DeliveryOutcome, Field(description="Delivered or Failed.")]
    message: Annotated[Text, Field(description="What came of it, in words.")] = ""


class NotificationTargetStatus(ApiModel):
    """Whether the last message arrived."""

    observed_generation: Annotated[int, Field(ge=0, description="Generation of the spec this is about.")] = 0
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=8,
            description="Delivered: whether the last message arrived. Written when that changes.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    last_test: Annotated[LastTest | None, Field(description="The last test, by `canary notify test`.")] = None
