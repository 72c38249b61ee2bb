"""The Rollout as people declare it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from canary.model.auth import ObjectName
from canary.model.base import ApiModel
from canary.model.checks import MAX_CHECKS, Check, Name
from canary.model.scaling import Scale
from canary.model.shares import Shares
from canary.model.steps import MAX_RULES, Comparer, Step
from canary.model.terms import TermsStatus
from canary.model.traffic import Traffic
from canary.model.values import Alpha, Duration
from canary.model.workloads import (
    API_VERSION_PATTERN,
    DEPLOYMENT,
    KIND_PATTERN,
    KINDS,
    Traits,
    expression,
    foreign,
    kind_of,
    kinds_that,
    traits,
)

GROUP = "canary.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

DEFAULT_ALPHA = Fraction(5, 100)

MAX_ROUTES = 16
MAX_STEPS = 32

_FIRST_OF_A_STEP = frozenset({"weight", "approval", "hold"})
"""What a step could ask for in the first version."""


class RouteKind(StrEnum):
    """Kinds of routes whose weights can be moved."""

    HTTP = "HTTPRoute"
    GRPC = "GRPCRoute"
    TLS = "TLSRoute"
    TCP = "TCPRoute"
    UDP = "UDPRoute"


class Trigger(StrEnum):
    """What starts a run: a new revision of the canary workload, or only a request."""

    ON_REVISION = "OnRevision"
    MANUAL = "Manual"


class OnFailure(StrEnum):
    """What a failed check does."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


class Promotion(StrEnum):
    """How a run that passed all steps ends."""

    COPY = "Copy"
    AWAIT = "Await"
    SWAP = "Swap"


class RevisionInput(StrEnum):
    """What a revision may include besides the pod spec."""

    CONFIGS = "configs"


class RouteRef(ApiModel):
    """A route of the Rollout's own namespace."""

    kind: Annotated[RouteKind, Field(description="Kind of the route.")] = RouteKind.HTTP
    name: Annotated[ObjectName, Field(description="Name of the route.")]
    rules: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=253)], ...],
        Field(
            max_length=MAX_RULES,
            description="Names of the rules to move. Default: every rule that lists both Services.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()


class BackendTarget(ApiModel):
    """A Service and port that the routes list as a backendRef."""

    service: Annotated[Name, Field(description="Name of the Service.")]
    port: Annotated[int, Field(ge=1, le=65535, description="Port of the Service, as in the backendRef.")]
    namespace: Annotated[
        Name | None,
        Field(
            description="Namespace of the Service; default: the Rollout's. Another one needs a ReferenceGrant there."
        ),
    ] = None


_FOREIGN_NEEDS = (
    "a kind other than Deployment, StatefulSet and DaemonSet needs apiVersion, such as apps.kruise.io/v1alpha1"
)


class WorkloadRef(ApiModel):
    """A workload of the Rollout's namespace."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {"rule": f"has(self.apiVersion) || {expression('self')}", "message": _FOREIGN_NEEDS}
            ]
        }
    }

    api_version: Annotated[
        str | None,
        Field(
            max_length=317,
            pattern=API_VERSION_PATTERN,
            description="API group and version of the workload, for kinds of other groups than apps, such as "
            "apps.kruise.io/v1alpha1. Which version is read is for the cluster to say. Default: apps/v1.",
        ),
    ] = None
    kind: Annotated[
        str,
        Field(
            max_length=63,
            pattern=KIND_PATTERN,
            description="Deployment, StatefulSet or DaemonSet; or, with apiVersion, any kind with a pod template at "
            "spec.template, which is read and never written.",
        ),
    ] = DEPLOYMENT
    name: Annotated[ObjectName, Field(description="Name of the workload.")]

    @model_validator(mode="after")
    def _of_kind(self) -> Self:
        """Where definitions of an older version let it pass."""
        if self.api_version is None and foreign(self.kind):
            raise ValueError(_FOREIGN_NEEDS)
        return self

    @cached_property
    def called(self) -> str:
        """Its kind, as `kind_of` calls it."""
        return kind_of(self.api_version or "", self.kind)

    @property
    def traits(self) -> Traits:
        """What there is to know of its kind."""
        return traits(self.called)


class Workloads(ApiModel):
    """The workloads behind the two Services."""

    stable: Annotated[WorkloadRef, Field(description="Runs the version that most users get.")]
    canary: Annotated[WorkloadRef, Field(description="Runs the version under test.")]

    @property
    def foreign(self) -> bool:
        """Whether one of them is another controller's, so that nothing can be copied."""
        return foreign(self.stable.called) or foreign(self.canary.called)

    @property
    def comparable(self) -> bool:
        """Whether the same pod spec gives both the same revision: an API server fills in defaults in kinds of its own."""
        return self.stable.called == self.canary.called or not self.foreign


class Revision(ApiModel):
    """What makes a revision of a workload, besides its pod spec."""

    includes: Annotated[
        tuple[RevisionInput, ...],
        Field(
            max_length=1,
            description="configs: the content of the ConfigMaps and Secrets that the pod spec names, instead of their names.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()


GONE = {"observed": "traffic"}
"""Fields of an earlier version that do nothing any more, and what to write instead."""


_SAME = (
    "self.stable.service == self.canary.service && self.stable.port == self.canary.port && "
    "(has(self.stable.__namespace__) ? self.stable.__namespace__ : '') == "
    "(has(self.canary.__namespace__) ? self.canary.__namespace__ : '')"
)
_COMPARER = "has({0}.mirror) && has({0}.mirror.comparer)"
_ONE_COMPARER = "steps that mirror name the same comparer, or none of them names one"
_COMPARER_TWICE = "a comparer is neither stable nor the canary: it asks both"
_NO_SWAP = (
    "a comparer is told once which Service is stable, and promotion Swap makes the two change roles; use Copy or Await"
)
_NO_GRPC = (
    "a comparer speaks HTTP/1.1, and copies of a GRPCRoute arrive as HTTP/2; mirror to the canary itself, or, beside an HTTPRoute, without "
    "allowUnsafeMethods, which leaves out what is gRPC"
)
_WORKLOADS_SAME = "workloads.stable and workloads.canary are the same; a canary needs its own"
_NO_COPY = f"promotion Copy writes a {kinds_that('copies')} of the group apps; of other kinds workloads are only read: use Await or Swap"
_NO_SCALE = (
    f"scale writes the replicas of a {kinds_that('scales')} of the group apps, which workloads.canary is not; drop scale, and see to "
    "the canary's pods yourself"
)
_REVISION_NEEDS = "revision is about the revisions of workloads, so it needs workloads"
_NO_CONFIG_COPY = (
    "promotion Copy makes stable name the ConfigMaps and Secrets of the canary, so their next change would reach stable without a run; use "
    "Await or Swap, or drop revision.includes and give configs names that change with their content"
)
_SCALE_NEEDS = "scale is about the canary's Deployment, so it needs workloads"
_SCALE_NO_SWAP = "promotion Swap makes the canary's Deployment the stable one, which is never scaled; use Copy or Await"
_GROUP = "(has({0}.apiVersion) ? {0}.apiVersion.split('/')[0] : 'apps')"
_KEY = "(has({0}.name) ? {0}.name : has({0}.template) ? {0}.template.name : '')"


class RolloutSpec(ApiModel):
    """What to move, in which steps, and what must hold meanwhile."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": f"!({_SAME})",
                    "message": "stable and canary are the same backend; they must differ in service, port or namespace",
                },
                {
                    "rule": "!has(self.promotion) || self.promotion != 'Copy' || has(self.workloads)",
                    "message": "promotion Copy copies a pod spec, so it needs workloads; or use Await or Swap",
                },
                {
                    "rule": "!has(self.trigger) || self.trigger != 'OnRevision' || has(self.workloads)",
                    "message": "trigger OnRevision watches a workload, so it needs workloads; or use Manual",
                },
                {
                    "rule": "!has(self.workloads) || self.workloads.stable.name != self.workloads.canary.name || "
                    "self.workloads.stable.kind != self.workloads.canary.kind || "
                    + " != ".join(_GROUP.format(f"self.workloads.{role}") for role in ("stable", "canary")),
                    "message": _WORKLOADS_SAME,
                },
                {
                    "rule": "!has(self.promotion) || self.promotion != 'Copy' || !has(self.workloads) || "
                    f"({expression('self.workloads.stable')} && {expression('self.workloads.canary')})",
                    "message": _NO_COPY,
                },
                {
                    "rule": "!has(self.scale) || !has(self.workloads) || "
                    + expression("self.workloads.canary", tuple(kind for kind, each in KINDS.items() if each.scales)),
                    "message": _NO_SCALE,
                },
                {"rule": "!has(self.revision) || has(self.workloads)", "message": _REVISION_NEEDS},
                {
                    "rule": "!has(self.promotion) || self.promotion != 'Copy' || !has(self.revision) || "
                    "!has(self.revision.includes) || self.revision.includes.size() == 0",
                    "message": _NO_CONFIG_COPY,
                },
                {"rule": "!has(self.scale) || has(self.workloads)", "message": _SCALE_NEEDS},
                {
                    "rule": "!has(self.scale) || !has(self.promotion) || self.promotion != 'Swap'",
                    "message": _SCALE_NO_SWAP,
                },
                {
                    "rule": f"self.steps.all(s, !({_COMPARER.format('s')}) || self.steps.all(t, !has(t.mirror) || "
                    "(has(t.mirror.comparer) && t.mirror.comparer.service == s.mirror.comparer.service && "
                    "t.mirror.comparer.port == s.mirror.comparer.port)))",
                    "message": _ONE_COMPARER,
                },
                {
                    "rule": f"self.steps.all(s, !({_COMPARER.format('s')}) || "
                    + " && ".join(
                        f"(has(self.{role}.__namespace__) || s.mirror.comparer.service != self.{role}.service)"
                        for role in ("stable", "canary")
                    )
                    + ")",
                    "message": _COMPARER_TWICE,
                },
                {
                    "rule": "!has(self.promotion) || self.promotion != 'Swap' || "
                    f"!self.steps.exists(s, {_COMPARER.format('s')})",
                    "message": _NO_SWAP,
                },
                {
                    "rule": f"(!self.routes.all(r, r.kind == 'GRPCRoute') || !self.steps.exists(s, {_COMPARER.format('s')})) && "
                    f"(!self.routes.exists(r, r.kind == 'GRPCRoute') || !self.steps.exists(s, {_COMPARER.format('s')} && "
                    "s.mirror.allowUnsafeMethods))",
                    "message": _NO_GRPC,
                },
                {
                    "rule": "!has(self.checks) || self.checks.all(c, self.checks.exists_one(d, "
                    f"{_KEY.format('c')} == {_KEY.format('d')}))",
                    "message": "two checks have the same name; give each its own `name` (default: the template's)",
                },
            ],
        },
    }

    routes: Annotated[
        tuple[RouteRef, ...],
        Field(
            min_length=1,
            max_length=MAX_ROUTES,
            description="Routes of this namespace that are moved as one.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["kind", "name"]},
        ),
    ]
    stable: Annotated[BackendTarget, Field(description="The Service that all traffic goes to outside of runs.")]
    canary: Annotated[BackendTarget, Field(description="The Service that runs are about.")]
    workloads: Annotated[
        Workloads | None,
        Field(description="Lets the controller see revisions and readiness, start by itself, and promote by copying."),
    ] = None
    revision: Annotated[
        Revision | None,
        Field(description="What makes a revision of a workload besides its pod spec. Default: nothing."),
    ] = None
    scale: Annotated[
        Scale | None,
        Field(
            description="Makes the canary workload large enough before its share rises, and takes its replicas away after the run. "
            "Where an autoscaler targets it, it is waited for and not written. Stable is never scaled. Default: nobody's replicas "
            "are touched."
        ),
    ] = None
    trigger: Annotated[
        Trigger | None,
        Field(
            description="OnRevision: a new revision of the canary workload starts a run. Manual: only a request does. "
            "Default: OnRevision with workloads, else Manual."
        ),
    ] = None
    steps: Annotated[
        tuple[Step, ...],
        Field(
            min_length=1,
            max_length=MAX_STEPS,
            description="What a run goes through, in order.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ]
    checks: Annotated[
        tuple[Check, ...],
        Field(
            max_length=MAX_CHECKS,
            description="What must hold while the canary has traffic.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    alpha: Annotated[
        Alpha | None,
        Field(
            description="The chance, over a whole run, that checks with `compare` or `mirrored` fail a canary that is as good as stable; those "
            "without an alpha of their own share it. Default: 5%."
        ),
    ] = None
    traffic: Annotated[
        Traffic | None,
        Field(
            description="How to count what each backend gets: shows the share that the canary really gets, holds a step whose "
            "share is provably another one, and ends a run whose mirror copies far too much."
        ),
    ] = None
    on_failure: Annotated[
        OnFailure,
        Field(
            description="What a failed check, a hold past its limit or a refused route does. Rollback: all traffic "
            "back to stable. Pause: stay and wait for a person."
        ),
    ] = OnFailure.ROLLBACK
    promotion: Annotated[
        Promotion | None,
        Field(
            description="Copy: copy the canary's pod spec to the stable workload, then return traffic. Await: wait "
            "until the stable workload runs the same revision (or for `canary promote`), then return traffic. Swap: they "
            "change roles. Default: Copy with workloads that can be written and without revision.includes, else Await."
        ),
    ] = None
    accept_timeout: Annotated[
        Duration, Field(description="How long a gateway may take to accept a written route before the run fails.")
    ] = Duration.parse("60s")
    unavailable_grace: Annotated[
        Duration,
        Field(
            description="A canary without a ready endpoint loses its weight at once. Ready again within this time, the "
            "step is entered anew (three times at most in a run); else the run fails."
        ),
    ] = Duration.parse("30s")
    deadline: Annotated[
        Duration | None, Field(description="A run longer than this fails, pauses included. Default: none.")
    ] = None
    paused: Annotated[bool, Field(description="Start nothing, and keep a run where it is.")] = False

    @model_validator(mode="before")
    @classmethod
    def _without_what_is_gone(cls, data: Any) -> Any:
        """Where an older definition kept a field that is gone, the Rollout goes on without it."""
        return {name: value for name, value in data.items() if name not in GONE} if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _of_comparers(self) -> Self:
        """Where definitions of an older version let it pass: what a run has written is found by one comparer."""
        named = {step.mirror.comparer for step in self.steps if step.mirror is not None}
        if len(named) > 1:
            raise ValueError(_ONE_COMPARER)
        if self.comparer is not None and self.promotion is Promotion.SWAP:
            raise ValueError(_NO_SWAP)
        calls = [route.kind is RouteKind.GRPC for route in self.routes]
        unsafe = any(step.mirror is not None and step.mirror.allow_unsafe_methods for step in self.steps)
        if self.comparer is not None and (all(calls) or (any(calls) and unsafe)):
            raise ValueError(_NO_GRPC)
        return self

    @model_validator(mode="after")
    def _of_scale(self) -> Self:
        """Where definitions of an older version let it pass."""
        if self.scale is not None and self.workloads is None:
            raise ValueError(_SCALE_NEEDS)
        if self.scale is not None and self.promotion is Promotion.SWAP:
            raise ValueError(_SCALE_NO_SWAP)
        return self

    @model_validator(mode="after")
    def _of_workloads(self) -> Self:
        """Where definitions of an older version let it pass, and what they cannot tell."""
        named = self.workloads
        if named is None:
            if self.revision is not None:
                raise ValueError(_REVISION_NEEDS)
            return self
        if (named.stable.called, named.stable.name) == (named.canary.called, named.canary.name):
            raise ValueError(_WORKLOADS_SAME)
        if self.promotion is Promotion.COPY and not (named.stable.traits.copies and named.canary.traits.copies):
            raise ValueError(_NO_COPY)
        if self.promotion is Promotion.COPY and self.includes_configs:
            raise ValueError(_NO_CONFIG_COPY)
        if self.scale is not None and not named.canary.traits.scales:
            raise ValueError(_NO_SCALE)
        return self

    @property
    def includes_configs(self) -> bool:
        """Whether the content of ConfigMaps and Secrets is part of revisions."""
        return self.revision is not None and RevisionInput.CONFIGS in self.revision.includes

    @property
    def comparer(self) -> Comparer | None:
        """Who gets the copies at every step that mirrors; None: the canary itself."""
        mirrors = (step.mirror for step in self.steps)
        return next((mirror.comparer for mirror in mirrors if mirror is not None), None)

    @property
    def comparer_field(self) -> str:
        """Where it is named first; empty where none is."""
        named = (index for index, step in enumerate(self.steps) if step.mirror is not None and step.mirror.comparer)
        return next((f"spec.steps[{index}].mirror.comparer" for index in named), "")

    @property
    def trigger_mode(self) -> Trigger:
        """The trigger with its default filled in."""
        if self.trigger is not None:
            return self.trigger
        return Trigger.ON_REVISION if self.workloads else Trigger.MANUAL

    @property
    def promotion_mode(self) -> Promotion:
        """The promotion with its default filled in."""
        if self.promotion is not None:
            return self.promotion
        copies = self.workloads is not None and not self.workloads.foreign and not self.includes_configs
        return Promotion.COPY if copies else Promotion.AWAIT

    @property
    def shared_alpha(self) -> Fraction:
        """What comparisons without an alpha of their own share."""
        return self.alpha.chance if self.alpha is not None else DEFAULT_ALPHA

    def misnamed(self, found: frozenset[str]) -> Iterator[tuple[int, str, str]]:
        """Rules that a step names and that no route has for it: index of the step, name, and a sentence.

        `found`: the keys of the rules with the pair in all routes, as far as `routes[].rules` allows them.
        """
        for index, step in enumerate(self.steps):
            for name in step.named:
                if all(route.rules and name not in route.rules for route in self.routes):
                    yield (
                        index,
                        name,
                        f"spec.routes[].rules leaves rule {name!r} out; add it there, or drop it from the step",
                    )
                elif name not in found or name.startswith("#"):
                    words = f"no route of this Rollout has a rule named {name!r} that lists both Services"
                    yield index, name, f"{words}; correct the name, or add such a rule with the canary at weight 0"

    def shares_at(self, index: int) -> Shares:
        """The canary's shares at a one-based step, and after the last one."""
        shares = self._shares
        return shares[index] if 0 <= index < len(shares) else shares[0 if index < 0 else -1]

    @cached_property
    def _shares(self) -> tuple[Shares, ...]:
        return tuple(Shares.at(self.steps, index) for index in range(len(self.steps) + 1))

    @cached_property
    def named_rules(self) -> frozenset[str]:
        """Every rule that some step names: those that do not follow `weight` all the time."""
        return frozenset(name for step in self.steps for name in step.named)

    @cached_property
    def gated(self) -> bool:
        """Whether any step has a gate."""
        return any(step.gate is not None for step in self.steps)

    @cached_property
    def names_approvers(self) -> bool:
        """Whether any approval is to be by somebody in particular."""
        return any(step.approval is not None and step.approval.by is not None for step in self.steps)

    @cached_property
    def asks_gates(self) -> bool:
        """Whether the gate of any step is another system."""
        return any(step.gate is not None and step.gate.http is not None for step in self.steps)

    @cached_property
    def terms(self) -> TermsStatus:
        """What is declared besides the plan, where it is no default: a run has it on record for when it cannot be read."""
        found = {name: getattr(self, name) for name in TermsStatus.model_fields}
        fields = type(self).model_fields
        return TermsStatus(**{name: value for name, value in found.items() if value != fields[name].default})

    def plan_hash(self) -> str:
        """Ten hex digits over what a run is bound to: routes, pair, workloads and steps.

        When it changes during a run, the run starts again at step one.
        """
        return self._plan_hash

    @cached_property
    def _plan_hash(self) -> str:
        plan = self.model_dump(mode="json", by_alias=True, include={"routes", "stable", "canary", "workloads", "steps"})
        # What came later counts only where it is set: an upgrade of the controller starts no run again.
        for ref in (plan["workloads"] or {}).values():
            if ref["apiVersion"] is None:
                del ref["apiVersion"]
        plan["steps"] = [
            {name: asked for name, asked in step.items() if asked is not None or name in _FIRST_OF_A_STEP}
            for step in plan["steps"]
        ]
        for step in plan["steps"]:
            if step.get("mirror") and step["mirror"]["comparer"] is None:
                del step["mirror"]["comparer"]
            if step.get("approval"):
                step["approval"] = {name: said for name, said in step["approval"].items() if said is not None}
            if step.get("gate"):
                step["gate"] = {name: said for name, said in step["gate"].items() if said is not None}
        return digest(plan)


def digest(document: Any) -> str:
    """Ten hex digits over a JSON document, whatever the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
