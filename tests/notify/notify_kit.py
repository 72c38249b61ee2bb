"""Rollouts, targets and what becomes of messages, without an API server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from canary.model.status import RolloutStatus
from canary.notify.notice import Notice
from canary.notify.notices import Notices, Ways
from canary.notify.occasions import current
from canary.notify.outcome import Delivered, Outcome
from canary.notify.targets import Target, TargetKey

Json = dict[str, Any]

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
AT = "2026-03-02T09:00:00.000Z"


def target_of(
    name: str = "hook", *, namespace: str = "team", cluster: bool = False, created: str = AT, **spec: Any
) -> Target:
    metadata = {"name": name, "uid": f"uid-{name}", "generation": 1, "creationTimestamp": created}
    return Target.of(
        {
            "kind": "ClusterNotificationTarget" if cluster else "NotificationTarget",
            "metadata": metadata if cluster else {**metadata, "namespace": namespace},
            "spec": {"http": {"url": "https://hooks.example.com/canary"}, **spec},
        }
    )


def status_of(phase: str = "Progressing", *, number: int = 7, step: int = 3, **more: Any) -> Json:
    """A status as it is on record."""
    run = {"number": number, "revision": "6c9f", "startedAt": AT, "trigger": {"by": "alice", "reason": "why not"}}
    return {
        "phase": phase,
        "message": "what is the matter",
        "observedGeneration": 4,
        "recordedAt": AT,
        "run": {**run, **more.pop("run", {})},
        "step": {"index": step, "total": 6, "startedAt": AT},
        "split": {"desired": 50, "written": 50, "accepted": 50},
        **more,
    }


def rollout_of(status: Json, name: str = "shop", namespace: str = "team", **labels: str) -> Json:
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels},
        "status": status,
    }


def notice_of(
    name: str = "shop", namespace: str = "team", status: Json | None = None, key: str = "RunStarted/7"
) -> Notice:
    found = RolloutStatus.load(status or status_of())
    return Notice.of(rollout_of({}, name, namespace)["metadata"], found, current(found)[key])


@dataclass
class Ledger:
    """Takes what a `Notices` gives out, and delivers it when it is told to."""

    queued: list[tuple[TargetKey, Notice]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    tests: list[tuple[str, str]] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    owing: list[tuple[str, str]] = field(default_factory=list)
    now: datetime = START

    def notices(self, *targets: Target) -> Notices:
        found = Notices()
        self.begin(found)
        for target in targets:
            found.target(target)
        return found

    def begin(self, notices: Notices) -> None:
        notices.begin(Ways(self, self, self, self, self.owing.append, lambda: self.now, lambda: self.now))

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for _, notice in self.queued]

    def put(self, target: TargetKey, notice: Notice) -> None:
        self.queued.append((target, notice))

    def event(self, _rollout: Json, action: Any, _now: datetime) -> None:
        self.events.append(action.message)

    def said(self, target: Target, outcome: Outcome) -> None:
        self.outcomes.append((target.label, outcome.reason))

    def tested(self, target: Target, id_: str, outcome: Outcome) -> None:
        self.tests.append((id_, outcome.reason))

    def counts_again(self, target: Target) -> None:
        self.outcomes.append((target.label, "NothingSent"))

    def notification(self, _target: TargetKey, result: str) -> None:
        self.counted.append(result)

    def deliver(self, notices: Notices) -> None:
        """All that is queued arrives."""
        for key, notice in self.queued:
            target = notices.targets.get(key)
            assert target is not None
            notices.attempted(target, notice, Delivered("it did"), final=True)
        self.queued.clear()
