"""What stands against a run: a reason to alert on, who has to act, and a sentence that tells them what."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from canary.routes.acceptance import GATEWAY_API

Json = dict[str, Any]


class Reason(StrEnum):
    """Part of the API: the reason of the Ready condition while it holds. The names are the Gateway API's where it has one."""

    PARENT_MISSING = "ParentMissing"
    NO_MATCHING_PARENT = "NoMatchingParent"
    NOT_ALLOWED_BY_LISTENERS = "NotAllowedByListeners"
    NO_MATCHING_LISTENER_HOSTNAME = "NoMatchingListenerHostname"
    ROUTE_NOT_ATTACHED = "RouteNotAttached"
    """No parent has answered for the route."""
    NOT_ACCEPTED = "RoutesNotAccepted"
    """A parent says no for a reason of its own, or has not answered for the current generation yet."""
    BACKEND_NOT_FOUND = "BackendNotFound"
    WRONG_PORT = "WrongPort"
    REF_NOT_PERMITTED = "RefNotPermitted"
    UNSUPPORTED_FEATURE = "UnsupportedFeature"
    POLICY_TARGETS_RULE = "PolicyTargetsRule"
    """A rule that a step would copy is guarded by a policy that knows it by its name."""
    POLICIES_UNKNOWN = "PoliciesUnknown"
    """Nobody may look whether there is such a policy."""


class Who(StrEnum):
    """Who has to act."""

    APP_TEAM = "the owners of the Rollout and its routes"
    GATEWAY_OWNER = "the owners of the Gateway"
    BACKEND_OWNER = "the owners of the namespace of the Service"
    PLATFORM = "the platform team"
    NOBODY = "nobody yet: an answer is on its way"


@dataclass(frozen=True, slots=True)
class MissingGrant:
    """A ReferenceGrant that is not there: routes of these kinds of `source` may not name a Service of `namespace`."""

    namespace: str
    service: str
    source: str
    kinds: tuple[str, ...]

    @property
    def document(self) -> Json:
        """The ReferenceGrant to create: no more than what is missing."""
        return {
            "apiVersion": f"{GATEWAY_API}/v1beta1",
            "kind": "ReferenceGrant",
            "metadata": {"name": f"{self.source}-{self.service}"[:63].rstrip("-."), "namespace": self.namespace},
            "spec": {
                "from": [{"group": GATEWAY_API, "kind": kind, "namespace": self.source} for kind in self.kinds],
                "to": [{"group": "", "kind": "Service", "name": self.service}],
            },
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a run could not work now. `field`: where in the Rollout the thing in question is named."""

    reason: Reason
    who: Who
    message: str
    """What is the case."""
    advice: str
    """Who must do what about it."""
    field: str
    grant: MissingGrant | None = None
    sure: bool = True
    """False: the controller may know better than who asks, by what the platform declares to it."""

    @property
    def text(self) -> str:
        """Both as one sentence."""
        return f"{self.message}; {self.advice}" if self.advice else self.message
