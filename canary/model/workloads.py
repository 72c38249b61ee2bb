"""What Rollouts may name as workloads: for each kind, how it says how far its pods are, and what may be done to it.

This table is the one place that tells kinds of workloads apart. Everybody else asks it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import lru_cache

GROUP = "apps"
"""The API group of the kinds that every cluster has."""

KIND_PATTERN = r"^[A-Z][A-Za-z0-9]*$"
API_VERSION_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/v[a-z0-9]+$"


@dataclass(frozen=True, slots=True)
class Traits:
    """One kind of workload. What it says is read as its controller writes it; a count that is not there is 0."""

    wanted: tuple[str, str]
    """The member of the object, and in it the field, that says how many pods are wanted."""
    otherwise: int
    """How many are wanted where nothing is said there."""
    counts: tuple[str, ...]
    """What of its status has to be as many as are wanted once every pod runs the template and is ready."""
    ready: str
    """The one of these that says how many are ready."""
    revisions: tuple[str, str] | None = None
    """Two members of its status that name the same revision once its pods were replaced in turn."""
    replaces: str = ""
    """The member of its spec that says how pods are replaced, where that may leave some that do not follow the template."""
    copies: bool = False
    """Whether `promotion: Copy` may read and write its pod template."""
    scales: bool = False
    """Whether `scale` may set its replicas, by the scale subresource."""


_REPLICAS = Traits(
    wanted=("spec", "replicas"),
    otherwise=1,
    counts=("updatedReplicas", "readyReplicas", "replicas"),
    ready="readyReplicas",
)

KINDS: dict[str, Traits] = {
    "Deployment": replace(_REPLICAS, copies=True, scales=True),  # its pods follow, or its status says that they do not
    "StatefulSet": replace(
        _REPLICAS,
        revisions=("currentRevision", "updateRevision"),
        replaces="updateStrategy",
        copies=True,
        scales=True,
    ),
    "DaemonSet": Traits(
        wanted=("status", "desiredNumberScheduled"),
        otherwise=0,
        counts=("updatedNumberScheduled", "numberReady", "currentNumberScheduled"),
        ready="numberReady",
        replaces="updateStrategy",
        copies=True,
        # It has one pod on each node, and no scale subresource.
    ),
}
"""The kinds of the group apps, by name."""

DEPLOYMENT = "Deployment"


def kind_of(api_version: str, kind: str) -> str:
    """How a kind of workload is called here: by its name alone where every cluster has it, else with its group, as kubectl does.

    Of an apiVersion only the group counts; empty means apps.
    """
    group = api_version.partition("/")[0] or GROUP
    return sys.intern(kind if group == GROUP and kind in KINDS else f"{kind}.{group}")


def foreign(kind: str) -> bool:
    """Whether a kind, as `kind_of` calls it, is another controller's: it is read and never written."""
    return kind not in KINDS


def group_of(kind: str) -> tuple[str, str]:
    """Name and group of a kind, as `kind_of` calls it."""
    name, _, group = kind.partition(".")
    return name, group or GROUP


@lru_cache(64)
def traits(kind: str) -> Traits:
    """What there is to know of a kind. A foreign one speaks as the kind of that name does, else as a Deployment."""
    found = KINDS.get(kind)
    if found is not None:
        return found
    like = KINDS.get(group_of(kind)[0], _REPLICAS)
    return replace(like, replaces="updateStrategy", copies=False, scales=False)


def kinds_that(what: str) -> str:
    """The kinds that may be copied to (`copies`) or scaled (`scales`), in words."""
    found = [kind for kind, each in KINDS.items() if getattr(each, what)]
    return f"{', '.join(found[:-1])} or {found[-1]}"


def expression(of: str, kinds: tuple[str, ...] = tuple(KINDS)) -> str:
    """In CEL, of a workload that is called `of`: whether it is one of these kinds of the group apps."""
    names = ", ".join(f"'{kind}'" for kind in kinds)
    return f"({of}.kind in [{names}] && (!has({of}.apiVersion) || {of}.apiVersion.startsWith('{GROUP}/')))"
