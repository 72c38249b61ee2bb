"""Targets of notifications as the watches tell of them, and which of them are told of a Rollout.

A target of a namespace is told of the Rollouts of that namespace and of no other: nobody chooses those of somebody else.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from pydantic import ValidationError

from canary.model.notifications import TEST_ANNOTATION, NotificationTargetSpec
from canary.model.status import MOST_TARGETS, Condition, parse_time
from canary.preflight import selectors
from canary.preflight.selectors import Selector

log = logging.getLogger("canary.notify")

Json = dict[str, Any]

CLUSTER = "ClusterNotificationTarget"
NAMESPACED = "NotificationTarget"

TargetKey = tuple[str, str, str]
"""Kind, namespace (empty for one of the cluster) and name."""

DELIVERED = "Delivered"
"""The condition that says whether the last message arrived. Not Ready, by which GitOps tools would wait for a receiver."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target. `spec` is None when it cannot be read; `problem` says why."""

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int
    spec: NotificationTargetSpec | None
    problem: str
    selector: Selector
    created: datetime | None
    test: str
    """The id of the test that was asked for last; empty: of none that is not done."""
    delivered: Condition | None
    """What is on record of its last message."""

    @classmethod
    def of(cls, document: Json) -> Self:
        """Read a document. Never raises."""
        metadata, status = document.get("metadata") or {}, document.get("status") or {}
        spec, problem = _spec(document.get("spec"))
        raw = document.get("spec") if isinstance(document.get("spec"), dict) else {}
        selector = selectors.read((raw or {}).get("selector") or {})
        if spec is not None and selector is None:
            spec, problem = None, "spec.selector: it is no selector"
        asked = str((metadata.get("annotations") or {}).get(TEST_ANNOTATION) or "")[:128]
        done = (status.get("lastTest") or {}).get("id") if isinstance(status.get("lastTest"), dict) else None
        return cls(
            kind=str(document.get("kind") or ""),
            namespace=str(metadata.get("namespace") or ""),
            name=str(metadata.get("name") or ""),
            uid=str(metadata.get("uid") or ""),
            generation=int(metadata.get("generation") or 0),
            spec=spec,
            problem=problem,
            selector=selector or (),
            created=_time(metadata.get("creationTimestamp")),
            test="" if asked == done else asked,
            delivered=_delivered(status.get("conditions")),
        )

    @property
    def key(self) -> TargetKey:
        return self.kind, self.namespace, self.name

    @property
    def label(self) -> str:
        """How it goes on record, among those that are told of one Rollout: `NotificationTarget/oncall`."""
        return f"{self.kind}/{self.name}"

    @property
    def platform(self) -> bool:
        """Whether it is the platform team's, and its Secrets lie in the namespace of the controller."""
        return self.kind == CLUSTER

    def wants(self, labels: dict[str, str]) -> bool:
        """Whether it is told of Rollouts with these labels."""
        return self.spec is not None and not selectors.unmet(self.selector, labels)


class Targets:
    """All that are known, by key."""

    def __init__(self) -> None:
        self._known: dict[TargetKey, Target] = {}
        self._places: defaultdict[str, dict[TargetKey, Target]] = defaultdict(dict)
        self._crowded: set[str] = set()

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> list[Target]:
        return list(self._known.values())

    def get(self, key: TargetKey) -> Target | None:
        return self._known.get(key)

    def put(self, target: Target) -> Target | None:
        """Keep a target; returns what was known of it before."""
        before = self._known.get(target.key)
        self._known[target.key] = self._places[target.namespace][target.key] = target
        return before

    def seen(self, key: TargetKey, said: Condition) -> None:
        """What was written of its last message."""
        known = self._known.get(key)
        if known is not None:
            self.put(replace(known, delivered=said))

    def drop(self, key: TargetKey) -> None:
        self._known.pop(key, None)
        self._places[key[1]].pop(key, None)
        if not self._places[key[1]]:
            del self._places[key[1]]

    def of(self, rollout: Json) -> list[Target]:
        """Those that are told of a Rollout (a document): at most MOST_TARGETS, those of the cluster first."""
        metadata = rollout.get("metadata") or {}
        namespace, labels = str(metadata.get("namespace") or ""), metadata.get("labels") or {}
        mine = [target for place in ("", namespace) for target in self._places.get(place, {}).values()]
        found = sorted((target for target in mine if target.wants(labels)), key=lambda one: one.key)
        if len(found) > MOST_TARGETS and namespace not in self._crowded:
            self._crowded.add(namespace)
            log.warning(
                "%d targets want to be told of %s/%s; the first %d by kind and name are",
                *(len(found), namespace, metadata.get("name"), MOST_TARGETS),
            )
        return found[:MOST_TARGETS]


def key_of(document: Json) -> TargetKey:
    """The key of a document."""
    metadata = document.get("metadata") or {}
    return str(document.get("kind") or ""), str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def _spec(document: Any) -> tuple[NotificationTargetSpec | None, str]:
    try:
        return NotificationTargetSpec.model_validate(document), ""
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f".{part}" for part in first["loc"])
        return None, f"spec{place}: {str(first['msg']).removeprefix('Value error, ')}"


def _time(value: Any) -> datetime | None:
    try:
        return parse_time(value)
    except ValueError:
        return None


def _delivered(conditions: Any) -> Condition | None:
    """What is on record; None where there is nothing, or nothing that makes sense."""
    for found in conditions if isinstance(conditions, list) else ():
        if isinstance(found, dict) and found.get("type") == DELIVERED:
            try:
                return Condition.model_validate(found, extra="ignore")
            except ValidationError:
                return None
    return None
