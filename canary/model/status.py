"""The status of a Rollout: everything that a restart needs, and everything that a person wants to read.

All state of a run is in here and in the run annotation on the routes; the controller keeps none of its own.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from canary.model.base import ApiModel
from canary.model.bounded import Text
from canary.model.check_status import CheckStatus
from canary.model.checks import MAX_CHECKS
from canary.model.rollout import MAX_ROUTES, RouteKind
from canary.model.route_status import RouteStatus, SplitStatus, TrafficStatus
from canary.model.run_status import PauseStatus, RunStatus, StepStatus
from canary.model.times import Timestamp
from canary.model.workload_status import MOST_FORMER, FormerCanaryStatus, RevisionsStatus, ScaleStatus, WorkloadsStatus


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


class RequestOutcome(StrEnum):
    """What came of a request."""

    DONE = "Done"
    REFUSED = "Refused"


class RequestStatus(ApiModel):
    """The last request (annotation canary.dev/request) and what came of it."""

    id: Annotated[str, Field(max_length=128, description="Its id.")]
    verb: Annotated[str, Field(max_length=64, description="start promote promote-full pause resume abort retry.")]
    by: Annotated[Text, Field(description="Who asked.")] = ""
    reason: Annotated[Text, Field(description="Why.")] = ""
    at: Annotated[Timestamp, Field(description="When the controller did it.")]
    outcome: Annotated[RequestOutcome, Field(description="Done or Refused.")]
    message: Annotated[Text, Field(description="What was done, or why it was refused.")] = ""
    removed: Annotated[
        bool, Field(description="Its annotation has been gone since: one with the same id is another request.")
    ] = False

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
    def which(self) -> tuple[str, str]:
        """What tells it from others: somebody may have one id for all that they ask for."""
        return self.id, self.verb

    @property
    def refused(self) -> bool:
        return self.outcome is RequestOutcome.REFUSED

    @property
    def words(self) -> str:
        """What people read: `done: step 1/3 is approved`."""
        return f"{self.outcome.lower()}: {self.message}"


MOST_TARGETS = 32
"""Targets of notifications that are told of one Rollout."""


class NotifiedStatus(ApiModel):
    """What a target of notifications was told of the runs on record, and of what holds now."""

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
    previous_run: Annotated[
        RunStatus | None,
        Field(
            description="The run before it, and how that ended: some of those who want to know may still have to be told."
        ),
    ] = None
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
    roles_known: Annotated[
        bool,
        Field(
            description="Of a Rollout that swaps: before its first run its routes were read, which say which side is stable."
        ),
    ] = False
    paused: Annotated[PauseStatus | None, Field(description="Why the run is paused.")] = None
    overrides: Annotated[
        tuple[Timestamp, ...],
        Field(
            max_length=16,
            description="When somebody raised the canary's share against us, or at rest what a run had left was put back; of the last ten minutes.",
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
            description="Ready, Reconciling, Stalled (kstatus), RoutesAccepted, ChecksPassing, ReferencesPermitted.",
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

    def sharing(self, other: RolloutStatus) -> RolloutStatus:
        """The same, made of the parts of another status where those say the same: what is on record and what is in mind mostly do."""
        if self == other:
            return other
        ours, theirs = self.__dict__, other.__dict__
        return self.model_copy(update={name: _shared(ours[name], theirs[name]) for name in ours})

    @property
    def active(self) -> bool:
        """Whether a run is under way."""
        return self.phase in ACTIVE

    def check(self, name: str) -> CheckStatus | None:
        return next((check for check in self.checks if check.name == name), None)

    def route(self, kind: RouteKind, name: str) -> RouteStatus | None:
        return next((route for route in self.routes if route.kind == kind and route.name == name), None)


def _shared(value: Any, known: Any) -> Any:
    """The known value where it equals this one; of a tuple, its items."""
    if value == known:
        return known
    if isinstance(value, tuple) and isinstance(known, tuple):
        return tuple(next((one for one in known if one == item), item) for item in value)
    return value
