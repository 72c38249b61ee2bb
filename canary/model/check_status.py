"""The status of a check: what it said last, and the evidence that it rests on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from canary.model.base import ApiModel
from canary.model.bounded import MAX_RUNS, Number, Text
from canary.model.jobs import LONGEST_SECONDS
from canary.model.times import Timestamp


class VerdictKind(StrEnum):
    """What a check says."""

    PASS = "Pass"
    FAIL = "Fail"
    UNKNOWN = "Unknown"


NOT_APPLICABLE = "NotApplicable"
"""Reason of a check that can say nothing at the present step, and so neither holds it nor objects."""


class EvidenceStatus(ApiModel):
    """What a comparison of canary and stable has gathered in this run."""

    alpha: Annotated[
        Number,
        Field(ge=0, le=1, description="Its chance, over the whole run, to fail a canary that is as good as stable."),
    ]
    process: Annotated[str, Field(max_length=64, description="Digest of what is compared: evidence of else is none.")]
    about: Annotated[str, Field(max_length=64, description="Digest of what the routes say.")] = ""
    since: Annotated[Timestamp | None, Field(description="Since when every gateway has accepted that.")] = None
    looks: Annotated[int, Field(ge=0, le=MAX_RUNS, description="How often it looked.")] = 0
    state: Annotated[str, Field(max_length=1024, description="What is known after these looks, as JSON.")] = ""


class CheckStatus(ApiModel):
    """What a check said last, and what that rests on."""

    name: Annotated[str, Field(max_length=253, description="Name of the check.")]
    verdict: Annotated[VerdictKind, Field(description="Pass, Fail or Unknown.")] = VerdictKind.UNKNOWN
    reason: Annotated[str, Field(max_length=64, description="Why, as a constant.")] = "NotMeasured"
    value: Annotated[Number | None, Field(description="The value measured last.")] = None
    limit: Annotated[str, Field(max_length=1024, description="What it is held against.")] = ""
    failures: Annotated[
        int, Field(ge=0, description="Failed measurements: consecutive ones, or of the last failureWindow.")
    ] = 0
    failure_limit: Annotated[int, Field(ge=0, description="Failed measurements that are tolerated.")] = 0
    failure_window: Annotated[
        int, Field(ge=0, le=100, description="Of so many measurements; 0: failures count in a row.")
    ] = 0
    recent: Annotated[
        str, Field(max_length=100, description="The last measurements of the window, oldest first: `.` good, `x` bad.")
    ] = ""
    measured_at: Annotated[Timestamp | None, Field(description="When it was measured last.")] = None
    unknown_since: Annotated[Timestamp | None, Field(description="Since when it has been Unknown.")] = None
    interval_seconds: Annotated[Number | None, Field(description="Seconds between measurements.")] = None
    job_seconds: Annotated[
        Number | None,
        Field(ge=0, le=LONGEST_SECONDS, description="Of a check with `job`: how long a Job of it may take."),
    ] = None
    dry_run: Annotated[bool, Field(description="Shown only; neither holds nor fails the run.")] = False
    query: Annotated[str, Field(max_length=8192, description="The query as rendered.")] = ""
    message: Annotated[Text, Field(description="Why, in words.")] = ""
    definition: Annotated[
        str,
        Field(max_length=16, description="Digest of what it asks and judges by: a pass of something else is none."),
    ] = ""
    evidence: Annotated[
        EvidenceStatus | None,
        Field(description="Of a check with `compare` or `mirrored`: what it rests on, look after look."),
    ] = None

    @property
    def applicable(self) -> bool:
        """Whether it can say anything at the present step."""
        return self.reason != NOT_APPLICABLE
