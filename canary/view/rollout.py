"""A Rollout as the CLI reads it: tolerant of what a later version of the controller may have written. Pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from pydantic import ValidationError

from canary.decide.reasons import AWAITING_APPROVAL
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.gates import Gate
from canary.model.requests import REQUEST_ANNOTATION, Request, parse_request
from canary.model.rollout import RevisionInput
from canary.model.run_status import StepStatus
from canary.model.status import ACTIVE, RolloutStatus
from canary.model.times import parse_time
from canary.model.workloads import DEPLOYMENT, foreign, kind_of
from canary.view.gates import gate_of, gate_words, replica_words, waits_for
from canary.view.words import clean, left, listing, plain, span

Json = dict[str, Any]

_MOST_REPAIRS = 100

LATE = timedelta(seconds=30)
"""After the end of a hold that nothing on record prolongs: a controller that runs has gone on long before."""


class StepState(Enum):
    """Where a step stands within its run."""

    DONE = "done"
    SKIPPED = "skipped"
    CURRENT = "current"
    FAILED = "failed"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class StepView:
    """One step: what it asks for, how long it holds, where it stands, and what it waits for."""

    number: int
    asks: str
    hold: str
    state: StepState
    note: str = ""


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A Rollout; `unread` says in words what of its status this version does not understand."""

    name: str
    namespace: str
    generation: int
    created: datetime | None
    spec: Json
    status: RolloutStatus
    phase: str
    pending: Request | None
    unread: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        return self.phase in {phase.value for phase in ACTIVE}

    @property
    def full(self) -> bool:
        """Whether `promote --full` was asked for in its run: no hold, gate or approval is waited for."""
        return self.status.run is not None and self.status.run.full

    @property
    def ignores_unknown(self) -> bool:
        """Whether that was to go on without checks that are Unknown."""
        return self.full and self.status.run is not None and self.status.run.ignore_unknown

    @property
    def current(self) -> bool:
        """Whether the status is about the spec as it is now."""
        return self.status.observed_generation >= self.generation

    @property
    def steps(self) -> list[Json]:
        return [step for step in self.spec.get("steps") or () if isinstance(step, dict)]

    @property
    def promotion(self) -> str:
        copies = bool(self.spec.get("workloads")) and not self.includes_configs
        copies = copies and not any(foreign(self.workload_kind(role)) for role in ("stable", "canary"))
        return str(self.spec.get("promotion") or ("Copy" if copies else "Await"))

    @property
    def trigger(self) -> str:
        return str(self.spec.get("trigger") or ("OnRevision" if self.spec.get("workloads") else "Manual"))

    @property
    def on_failure(self) -> str:
        return str(self.spec.get("onFailure") or "Rollback")

    def service(self, role: str) -> str:
        """The Service that plays `stable` or `canary` now; after a Swap they have changed roles."""
        if self.status.swapped:
            role = {"stable": "canary", "canary": "stable"}[role]
        target = self.spec.get(role)
        return clean(target.get("service", "")) if isinstance(target, dict) else ""

    def workload(self, role: str) -> str:
        """The workload that plays `stable` or `canary` now; empty when the spec names none."""
        return clean(self._workload(role).get("name") or "")

    def workload_kind(self, role: str) -> str:
        """Its kind, as `canary.model.workloads.kind_of` calls it."""
        ref = self._workload(role)
        return kind_of(str(ref.get("apiVersion") or ""), str(ref.get("kind") or DEPLOYMENT))

    def _workload(self, role: str) -> Json:
        if self.status.swapped:
            role = {"stable": "canary", "canary": "stable"}[role]
        workloads = self.spec.get("workloads")
        ref = workloads.get(role) if isinstance(workloads, dict) else None
        return ref if isinstance(ref, dict) else {}

    @property
    def includes_configs(self) -> bool:
        """Whether a revision is more than a pod spec, so that it cannot be told by one."""
        revision = self.spec.get("revision")
        includes = revision.get("includes") if isinstance(revision, dict) else None
        return isinstance(includes, list) and RevisionInput.CONFIGS in includes


def view(document: Json) -> RolloutView:
    """Read any Rollout; never raises for what is in its spec or status."""
    metadata = document.get("metadata") or {}
    raw_status = document.get("status")
    status, unread = load_status(raw_status)
    raw_phase = raw_status.get("phase") if isinstance(raw_status, dict) else None
    spec = document.get("spec")
    annotations = metadata.get("annotations") or {}
    return RolloutView(
        name=clean(metadata.get("name", "")),
        namespace=clean(metadata.get("namespace", "")),
        generation=int(metadata.get("generation") or 0),
        created=_time(metadata.get("creationTimestamp")),
        spec=spec if isinstance(spec, dict) else {},
        status=status,
        phase=clean(raw_phase or ""),
        pending=parse_request(annotations.get(REQUEST_ANNOTATION)),
        unread=unread,
    )


def load_status(raw: Any) -> tuple[RolloutStatus, tuple[str, ...]]:
    """Read a status; whatever this version cannot read is left out and named, instead of refused with all the rest."""
    document = copy.deepcopy(raw) if isinstance(raw, dict) else {}
    unread: list[str] = []
    for _ in range(_MOST_REPAIRS):
        try:
            return RolloutStatus.model_validate(document, extra="ignore"), tuple(unread)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            place = _remove(document, found["loc"])
            if not place:
                break
            if found["type"] != "missing":
                unread.append(place)
    return RolloutStatus(), ("status",)


def _remove(document: Json, location: Sequence[str | int]) -> str:
    """Remove the deepest thing that exists on the way to `location`; answers its path, or nothing at the root."""
    node: Any = document
    container: Any = None
    last: str | int = ""
    path = "status"
    for key in location:
        inside = key in node if isinstance(node, dict) else isinstance(node, list) and isinstance(key, int)
        if not inside:
            break
        container, last, node = node, key, node[key]
        path += f"[{key}]" if isinstance(key, int) else f".{key}"
    if container is None:
        return ""
    shown = f" {clean(node)!r}" if isinstance(node, str | int | float) else ""
    del container[last]
    return f"{path}{shown}"


def _time(raw: Any) -> datetime | None:
    try:
        return parse_time(raw) if raw else None
    except ValueError:
        return None


def _percent(share: object) -> str:
    return f"{clean(share).removesuffix('%').strip()} %"


def asks(step: Json) -> str:
    """What a step asks for, in words: `10 %`, `approval`, `mirror 20 %`; words of later versions by their name."""
    words = []
    for key, value in step.items():
        match key, value:
            case ("hold" | "allowRegexPaths", _):
                continue
            case ("weight", _):
                words.append(_percent(value))
            case ("rules", dict()):
                words += [f"rule {clean(name)} {_percent(share)}" for name, share in value.items()]
            case ("mirror", {"percent": share}):
                words.append(f"mirror {clean(share)} %")
            case ("mirror", {"fraction": {"numerator": part, **more}}):
                words.append(f"mirror {clean(part)}/{clean(more.get('denominator', 100))}")
            case ("gate", dict()):
                words.append(gate_words(step))
            case ("approval", {"by": dict(named)}):
                words.append(f"approval by {approvers(named)}")
            case ("match", list()):
                words.append(f"match {_opting(value)}")
            case _:
                words.append(clean(key))
    return " + ".join(words)


def approvers(named: Json) -> str:
    """Who may approve, as a step declares it: `alice, or group release-managers`."""
    users, groups = ([*map(clean, named.get(kind) or ())] for kind in ("users", "groups"))
    return ", or ".join([*users, *(f"group {group}" for group in groups)])


def _opting(match: list[Any]) -> str:
    """What requests opt in by: `x-canary or beta`, by the names of headers and query parameters."""
    said = []
    for each in match:
        fields = [
            field.get("name")
            for member in ("headers", "queryParams")
            for field in (each.get(member) if isinstance(each, dict) else None) or ()
            if isinstance(field, dict)
        ]
        said.append(" and ".join(map(clean, fields)) or "?")
    return " or ".join(dict.fromkeys(said))


def steps(rollout: RolloutView, now: datetime, program: str = "canary") -> list[StepView]:
    """Every step with its state, then the promotion as the last row."""
    views = []
    index = rollout.status.step.index if rollout.status.step else 0
    for number, step in enumerate(rollout.steps, start=1):
        state = _state(rollout, number, index)
        hold = clean(step.get("hold") or "")
        note = waiting_for(rollout, now, program) if state is StepState.CURRENT else _hurried(rollout, number, state)
        views.append(StepView(number, asks(step), f"hold {hold}" if hold else "", state, note))
    match rollout.phase:
        case "Promoting":
            state = StepState.CURRENT
        case "Succeeded":
            state = StepState.DONE
        case _:
            state = StepState.NEXT
    return [*views, StepView(len(views) + 1, "promotion", rollout.promotion, state)]


def _state(rollout: RolloutView, number: int, index: int) -> StepState:
    if rollout.phase in {"Idle", "Invalid", ""}:
        return StepState.NEXT
    over = rollout.phase in {"Promoting", "Succeeded"}
    if (over or number < index) and skipped(rollout, number):
        return StepState.SKIPPED
    if over or number < index:
        return StepState.DONE
    if number > index:
        return StepState.NEXT
    return StepState.FAILED if rollout.phase in {"RollingBack", "RolledBack"} else StepState.CURRENT


def skipped(rollout: RolloutView, number: int) -> bool:
    """Whether promote-full jumps over a step (from 1): those after the one where it was asked for, but not the last."""
    run = rollout.status.run
    return run is not None and run.full and run.full_at is not None and run.full_at < number < len(rollout.steps)


def _hurried(rollout: RolloutView, number: int, state: StepState) -> str:
    """What promote-full did to a step that is over."""
    run = rollout.status.run
    if run is None or not run.full:
        return ""
    if state is StepState.SKIPPED:
        return "skipped by promote --full"
    if state is not StepState.DONE or run.full_at is None or number < run.full_at:
        return ""
    if number == run.full_at:
        return "promote --full was asked for here"
    declared = rollout.steps[number - 1]
    waits: list[str] = [word for word in ("hold", "gate", "approval") if word in declared]
    return f"its {listing(waits)} {'was' if len(waits) == 1 else 'were'} skipped by promote --full" if waits else ""


def waiting_for(rollout: RolloutView, now: datetime, program: str = "canary") -> str:
    """What the current step waits for, in a few words; only what the status knows."""
    status = rollout.status
    step = status.step
    if step is None:
        return ""
    if awaits_approval(rollout):
        return f"waits for approval: `{program} promote {rollout.name} -n {rollout.namespace}`"
    if status.paused is not None or rollout.phase == "Paused":
        reason = status.paused.reason if status.paused else ""
        return f"paused: {clean(reason)}" if reason else "paused"
    if step.index == 0:
        return "preflight, before the first step"
    if status.run is not None and status.run.unavailable_since is not None:
        return f"waiting {span(now - status.run.unavailable_since)} for a ready replica of the canary"
    if step.reached_at is None or step.unaccepted_since is not None:
        begun = step.unaccepted_since or step.started_at
        return f"waiting {span(now - begun)} for the gateway to accept the route"
    needs = []
    if approval_wanted(rollout):
        needs.append("approval")
    gate = gate_wanted(rollout)
    if gate is not None and (words := waits_for(gate, step, now)):
        needs.append(words)
    if step.hold_until is not None and step.hold_until > now and not rollout.full:
        needs.append(f"its hold, {left(step.hold_until, now)} left")
    settled, measured = step.evidence_since, status.checks and (status.split.desired or extras(rollout))
    if measured and settled is not None and settled > now:
        needs.append(f"its gateways to settle, {left(settled, now)} left")
    return f"waiting for {listing(needs)}" if needs else _held(rollout, now)


def _held(rollout: RolloutView, now: datetime) -> str:
    """What keeps a run at a step whose hold is over, as far as that is on record."""
    status = rollout.status
    if (status.split.desired or extras(rollout)) and not rollout.ignores_unknown:
        due = unmeasured(status)
        if due:
            return f"waiting for a measurement of {listing([clean(check.name) for check in due])}: none on record"
        objecting = [clean(check.name) for check in objections(status.checks)]
        if objecting:
            return f"held by {listing(objecting)}"
    if words := replica_words(status):
        return words
    if any(condition.reason == "AwaitingCanary" for condition in status.conditions):
        return "waiting for a ready replica of the canary"
    if any(condition.reason == "RevisionUnknown" for condition in status.conditions):
        return "the revision of the canary is not known"
    step = status.step
    if step is not None and step.hold_until is not None and now - step.hold_until > LATE:
        return "nothing on record holds it any more; is the controller running?"
    return "about to move on"


def extras(rollout: RolloutView) -> bool:
    """Whether the current step mirrors requests or lets them opt in, so that there is something to measure without a weight."""
    step = rollout.status.step
    if step is None or not 1 <= step.index <= len(rollout.steps):
        return False
    return not {"mirror", "match"}.isdisjoint(rollout.steps[step.index - 1])


def approval_wanted(rollout: RolloutView) -> bool:
    """Whether the current step asks for an approval that nobody has given."""
    step: StepStatus | None = rollout.status.step
    if step is None or step.approved or not 1 <= step.index <= len(rollout.steps):
        return False
    if rollout.full:
        return False
    return "approval" in rollout.steps[step.index - 1]


def gate_wanted(rollout: RolloutView) -> Gate | None:
    """What has to say that the current step may be left; None: nothing, or promote-full skips it."""
    step = rollout.status.step
    if step is None or not 1 <= step.index <= len(rollout.steps) or rollout.full:
        return None
    return gate_of(rollout.steps[step.index - 1])


def awaits_approval(rollout: RolloutView) -> bool:
    """Whether a run stands still until somebody approves its step: nothing else is missing, and `promote` ends it."""
    paused = rollout.status.paused
    return rollout.phase == "Paused" and paused is not None and paused.reason == AWAITING_APPROVAL


def objections(checks: Sequence[CheckStatus]) -> list[CheckStatus]:
    """Checks that keep the run from going on: not Pass, and not dry."""
    return [check for check in checks if check.verdict is not VerdictKind.PASS and not check.dry_run]


def unmeasured(status: RolloutStatus) -> list[CheckStatus]:
    """Checks that count and have no measurement of the current step yet."""
    reached = status.step.evidence_since if status.step else None
    return [
        check
        for check in status.checks
        if not check.dry_run
        and check.applicable
        and (check.measured_at is None or (reached is not None and check.measured_at < reached))
    ]


def short_status(rollout: RolloutView) -> list[str]:
    """Step, weight, observed and checks as the columns of kubectl have them; empty where there is nothing."""
    status = rollout.status
    wrote = status.phase is not None or rollout.phase != ""
    step = status.step if rollout.phase != "Succeeded" else None  # then it is over, and its share is not the weight
    return [
        clean(step.display or f"{step.index}/{step.total}") if step else "",
        plain(status.split.written) if wrote else "",
        "" if status.split.observed is None else plain(status.split.observed),
        clean(status.checks_summary),
    ]
