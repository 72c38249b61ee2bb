"""What `canary wait` waits for, and when that is so. Pure: a Rollout goes in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from canary.model.run_status import Outcome
from canary.view.rollout import RolloutView, awaits_approval
from canary.view.words import clean


class Aim(StrEnum):
    """The words that `--for` takes; `step` takes a number."""

    HEALTHY = "healthy"
    PAUSED = "paused"
    APPROVAL = "approval"
    ROLLEDBACK = "rolledback"
    SUCCEEDED = "succeeded"
    IDLE = "idle"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class Goal:
    """An aim; `step` is its number from 1, and 0 for all others."""

    aim: Aim
    step: int = 0

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Read `healthy` or `step=3`.

        Raises:
            ValueError: neither.

        """
        name, equals, number = text.partition("=")
        if name == Aim.STEP and equals and number.isdecimal() and int(number) >= 1:
            return cls(Aim.STEP, int(number))
        if not equals and name in set(Aim) - {Aim.STEP}:
            return cls(Aim(name))
        words = ", ".join(aim.value if aim is not Aim.STEP else "step=N" for aim in Aim)
        raise ValueError(f"{text!r} is nothing to wait for; write one of {words}")

    @property
    def reached(self) -> str:
        """What a Rollout does once it is so: `is healthy`."""
        match self.aim:
            case Aim.APPROVAL:
                return "waits for an approval"
            case Aim.STEP:
                return f"has reached step {self.step}"
            case Aim.SUCCEEDED:
                return "has succeeded"
            case Aim.ROLLEDBACK:
                return "was rolled back"
            case _:
                return f"is {self.aim.value}"

    @property
    def infinitive(self) -> str:
        """The same after `will not` or `did not`: `be healthy`."""
        match self.aim:
            case Aim.APPROVAL:
                return "wait for an approval"
            case Aim.STEP:
                return f"reach step {self.step}"
            case Aim.SUCCEEDED:
                return "succeed"
            case Aim.ROLLEDBACK:
                return "be rolled back"
            case _:
                return f"be {self.aim.value}"


@dataclass(frozen=True, slots=True)
class Reached:
    """It is so."""

    words: str


@dataclass(frozen=True, slots=True)
class Missed:
    """It ended otherwise: without somebody doing something it will not become so."""

    words: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet, and why."""

    words: str


Judgement = Reached | Missed | Waiting


def judge(goal: Goal, rollout: RolloutView) -> Judgement:
    """Hold a Rollout against the goal.

    A status that is behind the spec, or one with a request that waits for its answer, says nothing about what will be:
    with it nothing is reached and nothing is missed.
    """
    behind = _behind(rollout)
    if behind:
        return Waiting(behind)
    words = " ".join(clean(rollout.status.message).split()) or rollout.phase
    match goal.aim:
        case Aim.HEALTHY:
            return _healthy(rollout, words)
        case Aim.IDLE:
            return Waiting(words) if rollout.active else Reached(f"no run is active: {words}")
        case Aim.PAUSED:
            return Reached(words) if rollout.phase == "Paused" else _otherwise(rollout, words)
        case Aim.APPROVAL:
            return _approval(rollout, words)
        case Aim.SUCCEEDED:
            return _ended(rollout, Outcome.SUCCEEDED, words)
        case Aim.ROLLEDBACK:
            return _ended(rollout, Outcome.ROLLED_BACK, words)
        case Aim.STEP:
            return _step(rollout, goal.step, words)


def _behind(rollout: RolloutView) -> str:
    status = rollout.status
    if rollout.phase == "":
        return "the controller has not seen it yet"
    if not rollout.current:
        return f"the status is about generation {status.observed_generation}, and the spec is at {rollout.generation}"
    pending = rollout.pending
    if pending is not None and (status.last_request is None or (pending.id, pending.verb) != status.last_request.which):
        return f"the request {clean(pending.verb)!r} waits for the controller's answer"
    return ""


def _healthy(rollout: RolloutView, words: str) -> Judgement:
    """By the conditions, as kstatus reads them, and so Argo CD and Flux as docs/gitops.md has it: Ready, stalled, or neither yet."""
    said = {condition.type: condition for condition in rollout.status.conditions}
    ready, stalled = said.get("Ready"), said.get("Stalled")
    if ready is None or ready.observed_generation < rollout.generation:
        return Waiting("the condition Ready says nothing about this spec yet")
    if stalled is not None and stalled.status == "True":
        return Missed(words)
    if ready.status == "True":
        return Reached(words)
    if rollout.phase in {"RolledBack", "Invalid"}:  # somebody aborted it: nothing is stuck, and nothing goes on
        return Missed(words)
    return Waiting(words if rollout.active else f"Ready is {ready.status} ({clean(ready.reason)}): {words}")


def _ended(rollout: RolloutView, wanted: Outcome, words: str) -> Judgement:
    run = rollout.status.run
    if rollout.phase == "Invalid":
        return Missed(words)
    if run is None or run.outcome is None:
        return Waiting(words)
    if run.outcome is not wanted:  # decided, though traffic may still be on its way back
        return Missed(words)
    return Waiting(words) if rollout.active else Reached(words)


def _otherwise(rollout: RolloutView, words: str) -> Judgement:
    """Missed once the run's outcome is decided; before that, and before any run, there is something to wait for."""
    run = rollout.status.run
    if rollout.phase == "Invalid" or (run is not None and run.outcome is not None):
        return Missed(words)
    return Waiting(words)


def _approval(rollout: RolloutView, words: str) -> Judgement:
    """A run that stands still until somebody approves its step; missed when no step is left that asks for it."""
    if awaits_approval(rollout):
        return Reached(words)
    asking = [number for number, step in enumerate(rollout.steps, start=1) if "approval" in step]
    if not asking:
        return Missed("no step of it asks for an approval")
    run, step = rollout.status.run, rollout.status.step
    if rollout.active and run is not None and run.outcome is None:
        if run.full:
            return Missed(f"approvals are skipped, as `promote --full` was asked for: {words}")
        index = step.index if step is not None else 0
        left = [number for number in asking if number > index or (number == index and not (step and step.approved))]
        if not left or rollout.phase == "Promoting":
            return Missed(f"the run is past the last step that asks for one: {words}")
    return _otherwise(rollout, words)


def _step(rollout: RolloutView, number: int, words: str) -> Judgement:
    """A step is reached when every gateway has accepted its weight; one that is passed was reached."""
    total = len(rollout.steps)
    if number > total:
        return Missed(f"there are only {total} steps")
    run, step = rollout.status.run, rollout.status.step
    if rollout.phase == "Promoting" or (run is not None and run.outcome is Outcome.SUCCEEDED):
        return Reached(words)
    failing = run is not None and run.outcome is not None
    if rollout.active and not failing and step is not None:
        if step.index > number or (step.index == number and step.reached_at is not None):
            return Reached(words)
        return Waiting(words)
    return _otherwise(rollout, words)
