"""The status of a run: how it began and ends, the step that it is at, its gate, and why it is paused."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from canary.model.auth import ObjectName
from canary.model.base import ApiModel
from canary.model.bounded import MAX_RUNS, Text
from canary.model.terms import TermsStatus
from canary.model.times import Timestamp


class Outcome(StrEnum):
    """How a run ended, or is bound to end."""

    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"


class GateAnswer(StrEnum):
    """What another system says that is asked whether a run may go on."""

    YES = "Yes"
    NO = "No"
    UNKNOWN = "Unknown"


class TriggerStatus(ApiModel):
    """Who or what started a run."""

    by: Annotated[Text, Field(description="A user, or `revision`.")] = ""
    reason: Annotated[Text, Field(description="Why, in words.")] = ""


class CopyStatus(ApiModel):
    """A Copy of a run: on record before the workload is written, so that what stands there can be told from what anybody else put there."""

    kind: Annotated[str, Field(max_length=64, description="Kind of the workload that it is made over.")]
    workload: Annotated[ObjectName, Field(description="Its name.")]
    replaced: Annotated[
        str, Field(max_length=64, description="Revision that the workload had before: what is put back.")
    ]
    kept: Annotated[
        str,
        Field(
            max_length=64,
            description="Revision that the API server keeps of what was copied; empty: it is not known yet whether it was.",
        ),
    ] = ""
    lost: Annotated[
        bool,
        Field(description="The pod spec that it replaced was to be put back, and is nowhere to be found any more."),
    ] = False

    def is_over(self, kind: str, name: str) -> bool:
        """Whether it is made over this workload."""
        return (self.kind, self.workload) == (kind, name)


class RunStatus(ApiModel):
    """The current run, or the last one."""

    number: Annotated[int, Field(ge=1, le=MAX_RUNS, description="Counts the runs of this Rollout.")]
    revision: Annotated[str, Field(max_length=64, description="Revision of the canary workload under test.")] = ""
    plan: Annotated[
        str, Field(max_length=64, description="Hash of the routes, Services and steps the run is bound to.")
    ] = ""
    started_at: Annotated[Timestamp, Field(description="When the run began.")]
    reckoned_since: Annotated[
        Timestamp | None,
        Field(
            description="From when its deadline is reckoned, where that is later than startedAt: by what no controller has seen pass."
        ),
    ] = None
    traffic_since: Annotated[
        Timestamp | None, Field(description="When the gateways first accepted a share for the canary.")
    ] = None
    ended_at: Annotated[Timestamp | None, Field(description="When its outcome was decided.")] = None
    trigger: Annotated[TriggerStatus, Field(description="Who or what started it.")] = TriggerStatus()
    outcome: Annotated[
        Outcome | None, Field(description="How it ended; set as soon as that is decided, and never changed.")
    ] = None
    reason: Annotated[str, Field(max_length=64, description="Why it ended, as a constant.")] = ""
    message: Annotated[Text, Field(description="Why it ended, in words.")] = ""
    full: Annotated[bool, Field(description="Somebody asked to skip the remaining holds (promote-full).")] = False
    full_at: Annotated[
        int | None,
        Field(ge=0, le=64, description="Step from which promote-full skips: those after it were skipped."),
    ] = None
    ignore_unknown: Annotated[
        bool, Field(description="promote-full was told to go on although checks are Unknown.")
    ] = False
    replaces: Annotated[
        str, Field(max_length=64, description="Revision of the stable workload that a Copy may replace.")
    ] = ""
    copied: Annotated[
        CopyStatus | None,
        Field(description="What its Copy is made over; once it is lost and put back, it is over no workload any more."),
    ] = None
    unavailable_since: Annotated[
        Timestamp | None, Field(description="Since when the canary has had no ready endpoint, and so no weight.")
    ] = None
    outages: Annotated[
        int, Field(ge=0, le=64, description="How often the canary had no ready endpoint while it had weight.")
    ] = 0
    pod_spec: Annotated[
        str,
        Field(
            max_length=64,
            description="Of a revision that includes ConfigMaps and Secrets: digest of the canary's pod spec without their names. Another one "
            "is another revision, also while that is not known.",
        ),
    ] = ""
    swap: Annotated[bool, Field(description="It was won by Swap: its end leaves all traffic where it is.")] = False
    terms: Annotated[
        TermsStatus, Field(description="What was declared when the spec could last be read, where it is no default.")
    ] = TermsStatus()

    @property
    def counts_from(self) -> datetime:
        """From when the time counts that it takes."""
        return self.reckoned_since or self.started_at


class GateStatus(ApiModel):
    """What the gate of a step says, where that is another system. For people, and for the timeout: no run goes on by it."""

    since: Annotated[
        Timestamp, Field(description="Since when it is waited for its yes. Where it has said yes: when that was, last.")
    ]
    answer: Annotated[GateAnswer, Field(description="Yes or No; Unknown: it could not be asked.")] = GateAnswer.UNKNOWN
    reason: Annotated[str, Field(max_length=64, description="Why it could not be asked, as a constant.")] = ""
    message: Annotated[Text, Field(description="What it says, in its own words, or why it could not be asked.")] = ""
    asked_at: Annotated[Timestamp | None, Field(description="When it was asked.")] = None


class StepStatus(ApiModel):
    """The step a run is at. Index 0 is the preflight, before the first step."""

    index: Annotated[int, Field(ge=0, le=64, description="One-based index; 0 before the first step.")]
    total: Annotated[int, Field(ge=0, le=64, description="Number of steps.")]
    display: Annotated[str, Field(max_length=16, description="index/total, for people.")] = ""
    started_at: Annotated[Timestamp, Field(description="When the step was entered.")]
    reached_at: Annotated[
        Timestamp | None, Field(description="When every parent of every route had accepted its weight.")
    ] = None
    settled_at: Annotated[
        Timestamp | None,
        Field(
            description="From when on what is measured is of this step: it was reached, and its gateways had their settle "
            "time to follow what they reported."
        ),
    ] = None
    hold_until: Annotated[Timestamp | None, Field(description="When its hold is over.")] = None
    unaccepted_since: Annotated[
        Timestamp | None, Field(description="Since when some gateway has not accepted a route.")
    ] = None
    approved: Annotated[bool, Field(description="Somebody approved this step.")] = False
    gate: Annotated[GateStatus | None, Field(description="What its gate says, once the step has held its time.")] = None

    @property
    def evidence_since(self) -> datetime | None:
        """From when on a measurement counts for this step; None: it is not reached."""
        return self.settled_at or self.reached_at


class PauseStatus(ApiModel):
    """Why a run is paused."""

    reason: Annotated[str, Field(max_length=64, description="Why, as a constant.")]
    message: Annotated[Text, Field(description="Why, in words.")] = ""
    since: Annotated[Timestamp, Field(description="Since when.")]
