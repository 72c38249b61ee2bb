"""The status of the workloads: revisions, what they run, and the replicas of the canary."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from canary.model.auth import ObjectName
from canary.model.base import ApiModel
from canary.model.scaling import MOST_REPLICAS
from canary.model.times import Timestamp

MAX_IMAGES = 1024
"""Characters of a workload's images; what is longer is cut, and ends in an ellipsis."""

MOST_FAILED = 8
"""Revisions that failed one after the other, and are remembered as such; of more the oldest are forgotten."""

MOST_FORMER = 8
"""Workloads that were a Rollout's canary one after the other, before anything of the first was given back."""


class RevisionsStatus(ApiModel):
    """Revisions: ten hex digits over a pod spec."""

    stable: Annotated[str | None, Field(max_length=64, description="What the stable workload runs.")] = None
    canary: Annotated[str | None, Field(max_length=64, description="What the canary workload runs.")] = None
    settled: Annotated[
        str | None, Field(max_length=64, description="The canary revision that needs no run any more.")
    ] = None
    aside: Annotated[
        str | None,
        Field(
            max_length=64,
            description="A canary revision that was there, and not tried yet, when somebody said abort: it does not start by itself.",
        ),
    ] = None
    failed: Annotated[
        tuple[Annotated[str, Field(max_length=64)], ...],
        Field(
            max_length=MOST_FAILED,
            description="Revisions that were rolled back before the last run and since one succeeded, oldest first: none of them is "
            "tried again before somebody asks for it.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class WorkloadStatus(ApiModel):
    """What a workload runs. Images change with its revision, and with it they are written; replicas ride along."""

    images: Annotated[
        str, Field(max_length=MAX_IMAGES, description="Images of its containers, with commas in between.")
    ] = ""
    ready: Annotated[
        int | None, Field(ge=0, description="Ready replicas when the status was last written, which they never cause.")
    ] = None
    replicas: Annotated[
        int | None, Field(ge=0, description="Replicas wanted when the status was last written, which they never cause.")
    ] = None


class WorkloadsStatus(ApiModel):
    """The two workloads, by their present role."""

    stable: Annotated[WorkloadStatus | None, Field(description="The stable workload.")] = None
    canary: Annotated[WorkloadStatus | None, Field(description="The canary workload.")] = None


class ScaleStatus(ApiModel):
    """What a run with spec.scale has to do with the replicas of the canary workload. Gone once nothing is left to do about them."""

    workload: Annotated[ObjectName, Field(description="The canary workload.")]
    kind: Annotated[
        str,
        Field(
            max_length=64,
            description="Its kind; not there where an earlier version wrote this, which knew a name only.",
        ),
    ] = ""
    stable: Annotated[
        int,
        Field(
            ge=0, le=MOST_REPLICAS, description="The most replicas that stable had in this run: shares are of these."
        ),
    ] = 0
    reached: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_REPLICAS,
            description="The most replicas that the canary was given in this run: fewer are another's will, which is not fought.",
        ),
    ] = 0
    given: Annotated[
        int, Field(ge=0, le=MOST_REPLICAS, description="How many we gave the canary last in this run; 0: none.")
    ] = 0
    giving: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_REPLICAS,
            description="How many we are about to give it, or have just given it: on record before it is done.",
        ),
    ] = 0
    needed: Annotated[
        int, Field(ge=0, le=MOST_REPLICAS, description="How many ready replicas the next share waits for; 0: for none.")
    ] = 0
    short_since: Annotated[
        Timestamp | None, Field(description="Since when the next share waits for more ready replicas.")
    ] = None
    drained_since: Annotated[
        Timestamp | None, Field(description="Since when the canary has had no traffic, after the run.")
    ] = None

    def is_of(self, kind: str, name: str) -> bool:
        """Whether it is about this workload; of an earlier version any kind of that name will do."""
        return self.workload == name and self.kind in {"", kind}


class FormerCanaryStatus(ApiModel):
    """A workload that a run has scaled and that is the canary no more, since `spec.workloads` was edited: what was added is given back."""

    kind: Annotated[str, Field(max_length=64, description="Its kind.")]
    name: Annotated[ObjectName, Field(description="Its name.")]
    given: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_REPLICAS,
            description="How many replicas we gave it last: as long as it has so many, they are ours.",
        ),
    ] = 0
    giving: Annotated[
        int,
        Field(ge=0, le=MOST_REPLICAS, description="How many we were about to give it, which counts as much."),
    ] = 0
    drained_since: Annotated[
        Timestamp | None, Field(description="Since when the routes have sent nothing to the canary that it was.")
    ] = None
