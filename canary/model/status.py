"""The status of a Rollout: everything that a restart needs, and everything that a person wants to read.

All state of a run is in here and in the run annotation on the routes; the controller keeps none of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, Self

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from canary.model.auth import ObjectName
from canary.model.base import ApiModel
from canary.model.checks import MAX_CHECKS
from canary.model.jobs import LONGEST_SECONDS
from canary.model.rollout import MAX_ROUTES, RouteKind
from canary.model.scaling import MOST_REPLICAS
from canary.model.steps import MAX_RULES
from canary.model.values import decimal_text


class Time:
    """Annotation that reads and writes RFC 3339 with milliseconds, always UTC."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            parse_time, serialization=core_schema.plain_serializer_function_ser_schema(format_time)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _core: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "date-time"}


def parse_time(raw: Any) -> datetime:
    """Read RFC 3339 into an aware UTC datetime.

    Raises:
        ValueError: not a time, or none that there is a point in reckoning with.

    """
    value = raw if isinstance(raw, datetime) else datetime.fromisoformat(str(raw))
    if not 1970 <= value.year < 9000:
        raise ValueError(f"{raw!r} is no time of a run")
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


def format_time(value: datetime) -> str:
    """Write RFC 3339 with milliseconds and a Z."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


Timestamp = Annotated[datetime, Time]
Number = Annotated[float, Field(allow_inf_nan=False), PlainSerializer(_whole)]
"""Written without a fraction where it has none: 50, not 50.0."""
Percent = Annotated[Number, Field(ge=0, le=100)]
MOST_COUNTED = 1e15
"""More than any counter says."""
Count = Annotated[Number, Field(ge=0, le=MOST_COUNTED)]
Text = Annotated[str, Field(max_length=1024)]
MAX_IMAGES = 1024
"""Characters of a workload's images; what is longer is cut, and ends in an ellipsis."""


MAX_RUNS = 1_000_000_000
"""More runs than any Rollout has; what says more is not ours."""


class Phase(StrEnum):
    """Where a Rollout stands."""

    IDLE = "Idle"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    ROLLING_BACK = "RollingBack"
    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"
    INVALID = "Invalid"


ACTIVE = frozenset({Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING, Phase.ROLLING_BACK})
"""Phases in which a run is under way."""


class Outcome(StrEnum):
    """How a run ended, or is bound to end."""

    SUCCEEDED = "Succeeded"
    ROLLED_BACK = "RolledBack"


class VerdictKind(StrEnum):
    """What a check says."""

    PASS = "Pass"
    FAIL = "Fail"
    UNKNOWN = "Unknown"


class RequestOutcome(StrEnum):
    """What came of a request."""

    DONE = "Done"
    REFUSED = "Refused"


class GateAnswer(StrEnum):
    """What another system says that is asked whether a run may go on."""

    YES = "Yes"
    NO = "No"
    UNKNOWN = "Unknown"


NOT_APPLICABLE = "NotApplicable"
"""Reason of a check that can say nothing at the present step, and so neither holds it nor objects."""


class TriggerStatus(ApiModel):
    """Who or what started a run."""

    by: Annotated[Text, Field(description="A user, or `revision`.")] = ""
    reason: Annotated[Text, Field(description="Why, in words.")] = ""


class RunStatus(ApiModel):
    """The current run, or the last one."""

    number: Annotated[int, Field(ge=1, le=MAX_RUNS, description="Counts the runs of this Rollout.")]
    revision: Annotated[str, Field(max_length=64, description="Revision of the canary workload under test.")] = ""
    plan: Annotated[
        str, Field(max_length=64, description="Hash of the routes, Services and steps the run is bound to.")
    ] = ""
    started_at: Annotated[Timestamp, Field(description="When the run began.")]
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
        Field(ge=0, le=64, description="Step at which promote-full was asked for; those after it were skipped."),
    ] = None
    ignore_unknown: Annotated[
        bool, Field(description="promote-full was told to go on although checks are Unknown.")
    ] = False
    replaces: Annotated[
        str, Field(max_length=64, description="Revision of the stable workload that a Copy may replace.")
    ] = ""
    unavailable_since: Annotated[
        Timestamp | None, Field(description="Since when the canary has had no ready endpoint, and so no weight.")
    ] = None
    outages: Annotated[
        int, Field(ge=0, le=64, description="How often the canary had no ready endpoint while it had weight.")
    ] = 0
    swap: Annotated[bool, Field(description="It was won by Swap: its end leaves all traffic where it is.")] = False


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


class SplitStatus(ApiModel):
    """The canary's share of the pair, in percent."""

    desired: Annotated[Percent, Field(description="What the step asks for.")] = 0
    written: Annotated[Percent, Field(description="What the routes say; the largest of them.")] = 0
    accepted: Annotated[Percent, Field(description="What every gateway last accepted.")] = 0
    observed: Annotated[
        Percent | None,
        Field(description="What the canary got of all that spec.traffic counted since the step settled."),
    ] = None


class TrafficStatus(ApiModel):
    """What spec.traffic counted while the routes have said what they say now."""

    about: Annotated[str, Field(max_length=64, description="Digest of what the routes say.")] = ""
    since: Annotated[Timestamp | None, Field(description="Since when every gateway has accepted that.")] = None
    read_at: Annotated[Timestamp | None, Field(description="When the counters were read last.")] = None
    canary: Annotated[Count, Field(description="The canary's counter then.")] = 0
    stable: Annotated[Count, Field(description="Stable's counter then.")] = 0
    peak_canary: Annotated[Count, Field(description="The largest value of the canary's counter.")] = 0
    peak_stable: Annotated[Count, Field(description="The largest value of stable's counter.")] = 0
    counted_canary: Annotated[Count, Field(description="What was counted at the canary.")] = 0
    counted_stable: Annotated[Count, Field(description="What was counted at stable.")] = 0
    seconds: Annotated[Count, Field(description="In so many seconds.")] = 0
    background: Annotated[
        Count | None, Field(description="What the canary got each second while the routes sent it nothing.")
    ] = None
    reason: Annotated[str, Field(max_length=64, description="Why the counters could not be read, as a constant.")] = ""
    message: Annotated[Text, Field(description="The same in words.")] = ""


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
    evidence: Annotated[
        EvidenceStatus | None,
        Field(description="Of a check with `compare` or `mirrored`: what it rests on, look after look."),
    ] = None

    @property
    def applicable(self) -> bool:
        """Whether it can say anything at the present step."""
        return self.reason != NOT_APPLICABLE


class RouteStatus(ApiModel):
    """One route as the controller sees it."""

    kind: Annotated[RouteKind, Field(description="Kind of the route.")]
    name: Annotated[ObjectName, Field(description="Name of the route.")]
    generation: Annotated[int, Field(ge=0, description="Its generation when last seen.")] = 0
    owned: Annotated[bool, Field(description="Whether this run has written it.")] = False
    share: Annotated[Number | None, Field(description="The canary's share that it says, in percent.")] = None
    shares: Annotated[
        dict[str, Number],
        Field(max_length=MAX_RULES * 4, description="The same of rules that a step names, by name."),
    ] = {}
    lowered: Annotated[
        dict[str, Number],
        Field(
            max_length=MAX_RULES * 4,
            description="The share that somebody lowered a rule to, in percent, by rule, while the run is paused: nobody else raises it "
            "again.",
        ),
    ] = {}
    accepted: Annotated[bool, Field(description="Whether every parent accepts this generation.")] = False
    overridden: Annotated[int, Field(ge=0, description="Generation in which somebody last raised the share.")] = 0
    message: Annotated[Text, Field(description="What stands in the way, if anything.")] = ""
    pair: Annotated[
        Text, Field(description="The two backends that the run moves, as `namespace/service:port`: stable, canary.")
    ] = ""
    baseline: Annotated[
        dict[str, Annotated[str, Field(max_length=32)]],
        Field(max_length=MAX_RULES * 4, description="Weights before the run, stable/canary by rule: what is restored."),
    ] = {}
    rules: Annotated[
        dict[str, Annotated[str, Field(max_length=16)]],
        Field(max_length=MAX_RULES * 4, description="What identifies these rules when they are moved: digests."),
    ] = {}
    mirrors: Annotated[
        dict[str, Annotated[str, Field(max_length=32)]],
        Field(
            max_length=MAX_RULES * 4,
            description="Share of its requests, in percent, that a rule sends copies of to the canary, as this run wrote it; 0 "
            "where it does no more.",
        ),
    ] = {}
    added: Annotated[
        dict[str, Annotated[str, Field(max_length=256)]],
        Field(
            max_length=MAX_RULES * 2,
            description="Rules that this run added to it for requests that opt in, by their digests: + and the name that it was "
            "given, if any, or - once it was taken away.",
        ),
    ] = {}


MOST_FAILED = 8
"""Revisions that failed one after the other, and are remembered as such; of more the oldest are forgotten."""


class RevisionsStatus(ApiModel):
    """Revisions: ten hex digits over a pod spec."""

    stable: Annotated[str | None, Field(max_length=64, description="What the stable workload runs.")] = None
    canary: Annotated[str | None, Field(max_length=64, description="What the canary workload runs.")] = None
    settled: Annotated[
        str | None, Field(max_length=64, description="The canary revision that needs no run any more.")
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


MOST_FORMER = 8
"""Workloads that were a Rollout's canary one after the other, before anything of the first was given back."""


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
    drained_since: Annotated[
        Timestamp | None, Field(description="Since when the routes have sent nothing to the canary that it was.")
    ] = None


class RequestStatus(ApiModel):
    """The last request (annotation canary.dev/request) and what came of it."""

    id: Annotated[str, Field(max_length=128, description="Its id.")]
    verb: Annotated[str, Field(max_length=64, description="start promote promote-full pause resume abort retry.")]
    by: Annotated[Text, Field(description="Who asked.")] = ""
    reason: Annotated[Text, Field(description="Why.")] = ""
    at: Annotated[Timestamp, Field(description="When the controller did it.")]
    outcome: Annotated[RequestOutcome, Field(description="Done or Refused.")]
    message: Annotated[Text, Field(description="What was done, or why it was refused.")] = ""

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, document: Any) -> Any:
        """`done: …` and `refused: …` were one text before."""
        said = document.get("outcome") if isinstance(document, dict) else None
        if not isinstance(said, str) or isinstance(said, RequestOutcome):
            return document
        outcome, colon, message = said.partition(": ")
        return {**document, "outcome": outcome.capitalize(), **({"message": message} if colon else {})}

    @property
    def refused(self) -> bool:
        return self.outcome is RequestOutcome.REFUSED

    @property
    def words(self) -> str:
        """What people read: `done: step 1/3 is approved`."""
        return f"{self.outcome.lower()}: {self.message}"


class PauseStatus(ApiModel):
    """Why a run is paused."""

    reason: Annotated[str, Field(max_length=64, description="Why, as a constant.")]
    message: Annotated[Text, Field(description="Why, in words.")] = ""
    since: Annotated[Timestamp, Field(description="Since when.")]


MOST_TARGETS = 32
"""Targets of notifications that are told of one Rollout."""


class NotifiedStatus(ApiModel):
    """What a target of notifications was told of what holds now."""

    target: Annotated[
        str, Field(max_length=320, description="Kind and name of the target, such as NotificationTarget/oncall.")
    ]
    events: Annotated[
        tuple[Annotated[str, Field(max_length=160)], ...],
        Field(
            max_length=16,
            description="What it was told, such as RolledBack/7 of run 7. What holds no more is dropped.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = ()


class Condition(ApiModel):
    """A Kubernetes condition."""

    type: Annotated[str, Field(max_length=316, description="Type of the condition.")]
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", description="True, False or Unknown.")]
    observed_generation: Annotated[int, Field(ge=0, description="Generation of the spec it is about.")] = 0
    last_transition_time: Annotated[Timestamp, Field(description="When its status last changed.")]
    reason: Annotated[str, Field(max_length=1024, description="Why, as a constant.")]
    message: Annotated[str, Field(max_length=4096, description="Why, in words.")] = ""


class RolloutStatus(ApiModel):
    """What the controller found and did."""

    recorded_at: Annotated[
        Timestamp | None,
        Field(
            description="When this was written, by the clock that its times are of. Another controller reckons from it."
        ),
    ] = None
    observed_generation: Annotated[int, Field(ge=0, description="Generation of the spec this is about.")] = 0
    phase: Annotated[Phase | None, Field(description="Where the Rollout stands.")] = None
    message: Annotated[Text, Field(description="Where it stands, in words.")] = ""
    run: Annotated[RunStatus | None, Field(description="The current run, or the last one.")] = None
    step: Annotated[StepStatus | None, Field(description="The step of the current run.")] = None
    split: Annotated[SplitStatus, Field(description="The canary's share of the pair, in percent.")] = SplitStatus()
    traffic: Annotated[TrafficStatus, Field(description="What spec.traffic counted.")] = TrafficStatus()
    checks: Annotated[
        tuple[CheckStatus, ...],
        Field(
            max_length=MAX_CHECKS,
            description="What the checks say.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    checks_summary: Annotated[str, Field(max_length=64, description="The checks in short, e.g. `2/2 pass`.")] = ""
    routes: Annotated[
        tuple[RouteStatus, ...],
        Field(
            max_length=MAX_ROUTES * 2,
            description="The routes.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["kind", "name"]},
        ),
    ] = ()
    revisions: Annotated[RevisionsStatus, Field(description="Revisions of the workloads.")] = RevisionsStatus()
    workloads: Annotated[WorkloadsStatus, Field(description="What the workloads run.")] = WorkloadsStatus()
    scale: Annotated[
        ScaleStatus | None, Field(description="What is still to be done about the replicas of the canary workload.")
    ] = None
    former_canaries: Annotated[
        tuple[FormerCanaryStatus, ...],
        Field(
            max_length=MOST_FORMER,
            description="Workloads with replicas of ours that are the canary no more.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["kind", "name"]},
        ),
    ] = ()
    swapped: Annotated[
        bool, Field(description="After an odd number of Swap promotions: spec.canary is the stable side now.")
    ] = False
    paused: Annotated[PauseStatus | None, Field(description="Why the run is paused.")] = None
    overrides: Annotated[
        tuple[Timestamp, ...],
        Field(
            max_length=16,
            description="When somebody raised the canary's share against us, in the last ten minutes.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    last_request: Annotated[RequestStatus | None, Field(description="The last request and its outcome.")] = None
    notified: Annotated[
        tuple[NotifiedStatus, ...],
        Field(
            max_length=MOST_TARGETS,
            description="Who was told of what holds now, so that nobody is told twice.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["target"]},
        ),
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            description="Ready, Reconciling, Stalled (kstatus), RoutesAccepted, ChecksPassing.",
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()

    @classmethod
    def load(cls, document: Any) -> Self:
        """Read a status from the API server. Never raises.

        Fields of a later version are dropped, and so is every member that no version of ours would have written: it counts
        as absent, and the routes still say what a run left there.
        """
        return cls.read(document)[0]

    @classmethod
    def read(cls, document: Any) -> tuple[Self, tuple[str, ...]]:
        """The same, and the names of the members that were dropped because they make no sense: of routes only those that make none."""
        if not isinstance(document, dict):
            return cls(), () if document is None else ("status",)
        left: dict[str, Any] = dict(document)
        dropped: list[str] = []
        while True:
            try:
                return cls.model_validate(left, extra="ignore"), tuple(dict.fromkeys(dropped))
            except ValidationError as error:
                places = {found["loc"][:2] for found in error.errors() if found["loc"][:1] == ("routes",)}
                if places and all(len(place) == 2 for place in places):
                    # Of a kind that only a newer version knows, say: what is on record of the others is what they are put back by.
                    left["routes"] = [route for at, route in enumerate(left["routes"]) if ("routes", at) not in places]
                    dropped.append("routes")
                    continue
                senseless = {str(found["loc"][0]) for found in error.errors() if found["loc"]} & left.keys()
                if not senseless:
                    return cls(), ("status",)
                dropped += sorted(senseless)
                left = {name: value for name, value in left.items() if name not in senseless}

    def dump(self) -> dict[str, Any]:
        """Write the status as the JSON that goes to the API server: no nulls, no defaults but those of the split."""
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        document["split"] = self.split.model_dump(mode="json", by_alias=True, exclude_none=True)
        for said, check in zip(document.get("checks", []), self.checks, strict=True):
            said |= {"verdict": check.verdict.value, "reason": check.reason}  # Unknown is an answer, not an absence
        return document

    @property
    def active(self) -> bool:
        """Whether a run is under way."""
        return self.phase in ACTIVE

    def check(self, name: str) -> CheckStatus | None:
        return next((check for check in self.checks if check.name == name), None)

    def route(self, kind: RouteKind, name: str) -> RouteStatus | None:
        return next((route for route in self.routes if route.kind == kind and route.name == name), None)


def percent_text(value: float) -> str:
    """Write a share of the status for people: `50 %`, `0.5 %`."""
    return f"{decimal_text(Fraction(str(value)))} %"
