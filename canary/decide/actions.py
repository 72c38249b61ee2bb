"""What a decision asks for, as data. `canary.act` is the only place that performs any of it.

Kinds of workloads are those that can be written, by name; none is taken for granted: a Deployment of the same name is somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from canary.model.rollout import RouteKind
from canary.routes.intent import Intent
from canary.routes.key import RouteKey
from canary.routes.plan import RoutePlan


@dataclass(frozen=True, slots=True)
class WriteRoute:
    """Make rules of a route say what a plan says, and its annotation this (None: remove it), in one patch."""

    key: RouteKey
    plan: RoutePlan
    intent: Intent | None

    @property
    def kind(self) -> RouteKind:
        return self.key.kind

    @property
    def name(self) -> str:
        return self.key.name


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Keep the Rollout from vanishing while its routes are not as they were."""


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Let the Rollout go."""


@dataclass(frozen=True, slots=True)
class CopyPodSpec:
    """Copy the pod spec of one workload to another, keeping the replaced one in an annotation, in one patch.

    Only if the source still has `revision`, and the target the one that it `replaces`. `uid` and `run` go on record.
    """

    source: str
    target: str
    revision: str
    replaces: str
    uid: str
    run: int
    source_kind: str
    target_kind: str


@dataclass(frozen=True, slots=True)
class RestorePodSpec:
    """Put back the pod spec of revision `replaced`, if the workload still has exactly what was `copied` to it in a run.

    It is taken from the record on the workload, or from what the workload's own history has kept.
    """

    target: str
    kind: str
    run: int
    copied: str
    replaced: str


@dataclass(frozen=True, slots=True)
class ForgetPodSpec:
    """Drop the record of a copy and give its fields back to their owners: the pod spec stays as it is."""

    target: str
    kind: str


@dataclass(frozen=True, slots=True)
class ScaleWorkload:
    """Give a workload so many replicas, by its scale subresource: only if it still has as many as were `found`.

    `idle` are the routes that have to be as they were seen, since they send it nothing: a watch may be late.
    """

    target: str
    found: int
    replicas: int
    kind: str
    idle: tuple[RouteKey, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseReplicas:
    """Give the ownership of a workload's replicas back: they stay as many as they are."""

    target: str
    kind: str


@dataclass(frozen=True, slots=True)
class StampRequest:
    """Give a plain request an id, so that it is done exactly once."""

    raw: str


@dataclass(frozen=True, slots=True)
class ClearRequest:
    """Remove the request annotation, if it still says this."""

    raw: str


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """EmitEvent people: an Event on the Rollout. `once`: it is about a state, and said again only after another start."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    once: bool = False


Action = (
    WriteRoute
    | AddFinalizer
    | RemoveFinalizer
    | CopyPodSpec
    | RestorePodSpec
    | ForgetPodSpec
    | ScaleWorkload
    | ReleaseReplicas
    | StampRequest
    | ClearRequest
    | EmitEvent
)
