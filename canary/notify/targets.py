"""Targets of notifications as the watches tell of them, and which of them are told of a Rollout.

A target of a namespace is told of the Rollouts of that namespace and of no other: nobody chooses those of somebody else. Of the
targets of a namespace the first MOST_COUNTED by name count, so that a look at them has a bound; the others are told so.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, insort
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from pydantic import ValidationError

from canary.model.notifications import TEST_ANNOTATION, NotificationTargetSpec
from canary.model.status import MOST_TARGETS, Condition
from canary.model.times import parse_time
from canary.preflight import selectors
from canary.preflight.selectors import Selector

log = logging.getLogger("canary.notify")

Json = dict[str, Any]

CLUSTER = "ClusterNotificationTarget"
NAMESPACED = "NotificationTarget"

TargetKey = tuple[str, str, str]
"""Kind, namespace (empty for one of the cluster) and name."""

MOST_COUNTED = 100
"""Targets of a namespace that count, and of the cluster as many."""

TOO_MANY_TARGETS = "TooManyTargets"

Marks = frozenset[str | tuple[str, str]]
"""Labels: the name of each, and each with its value."""

DELIVERED = "Delivered"
"""The condition that says whether the last message arrived. Not Ready, by which GitOps tools would wait for a receiver."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A selector, in a form for which a look costs a microsecond: every target of a namespace is asked at every status write."""

    needed: Marks
    refused: Marks
    several: tuple[tuple[str, frozenset[str]], ...]
    """Labels that have to have one of several values."""

    @classmethod
    def of(cls, selector: Selector) -> Self:
        needed, refused, several = set[str | tuple[str, str]](), set[str | tuple[str, str]](), []
        for one in selector:
            match one.operator:
                case "In" if len(one.values) == 1:
                    needed.add((one.label, one.values[0]))
                case "In":
                    several.append((one.label, frozenset(one.values)))
                case "NotIn":
                    refused.update((one.label, value) for value in one.values)
                case "Exists":
                    needed.add(one.label)
                case _:
                    refused.add(one.label)
        return cls(frozenset(needed), frozenset(refused), tuple(several))

    def met(self, labels: dict[str, str], marks: Marks) -> bool:
        """Whether labels, of which these are the marks, are as it asks."""
        if not (self.needed <= marks and self.refused.isdisjoint(marks)):
            return False
        for label, values in self.several:  # noqa: SIM110 - a generator takes twice the time
            if labels.get(label) not in values:
                return False
        return True


def marks_of(labels: dict[str, str]) -> Marks:
    """The marks of some labels."""
    return frozenset((*labels, *labels.items()))


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
    choice: Choice
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
            choice=Choice.of(selector or ()),
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

    def within(self, kind: str, namespace: str | None) -> bool:
        """Whether it is of a kind, and in a namespace (None: any)."""
        return self.kind == kind and namespace in {None, self.namespace}


class Targets:
    """All that are known, by key."""

    def __init__(self) -> None:
        self._known: dict[TargetKey, Target] = {}
        self._keys: dict[str, list[TargetKey]] = {}
        """By namespace, in order."""
        self._counting: dict[str, tuple[Target, ...]] = {}
        """By namespace, those that count, as far as somebody has asked for them since they changed."""
        self._crowded: set[str] = set()

    def __len__(self) -> int:
        return len(self._known)

    def keys(self) -> list[TargetKey]:
        """Of all that are known at this moment."""
        return list(self._known)

    @property
    def labels(self) -> frozenset[str]:
        """Of all that are known at this moment, as they go on record: kind and name."""
        return frozenset(f"{kind}/{name}" for kind, _, name in self._known)

    def get(self, key: TargetKey) -> Target | None:
        return self._known.get(key)

    def counts(self, key: TargetKey) -> bool:
        """Whether a target is among those of its namespace that are told of anything."""
        return key in self._known and bisect_left(self._keys[key[1]], key) < MOST_COUNTED

    def counted(self, key: TargetKey) -> Target | None:
        """A target that counts; None: it is gone, or is told nothing."""
        return self._known[key] if self.counts(key) else None

    def put(self, target: Target) -> Target | None:
        """Keep a target; returns the one that counts no more because of that."""
        keys = self._keys.setdefault(target.namespace, [])
        new = target.key not in self._known
        if new:
            insort(keys, target.key)
        self._known[target.key] = target
        self._counting.pop(target.namespace, None)
        if new and len(keys) > MOST_COUNTED and self.counts(target.key):
            return self._known[keys[MOST_COUNTED]]
        return None

    def seen(self, key: TargetKey, said: Condition | None) -> None:
        """What was written of its last message; None: nobody knows."""
        known = self._known.get(key)
        if known is not None:
            self.put(replace(known, delivered=said))

    def drop(self, key: TargetKey) -> Target | None:
        """Forget a target; returns the one that counts because of that."""
        counted = self.counts(key)
        if self._known.pop(key, None) is None:
            return None
        keys = self._keys[key[1]]
        del keys[bisect_left(keys, key)]
        if not keys:
            del self._keys[key[1]]
        self._counting.pop(key[1], None)
        return self._known[keys[MOST_COUNTED - 1]] if counted and len(keys) >= MOST_COUNTED else None

    def of(self, rollout: Json) -> list[Target]:
        """Those that are told of a Rollout (a document): at most MOST_TARGETS, those of the cluster first."""
        metadata = rollout.get("metadata") or {}
        namespace, labels = str(metadata.get("namespace") or ""), metadata.get("labels") or {}
        marks = marks_of(labels)
        found = [
            target
            for place in ("", namespace)
            for target in self._counted(place)
            if target.spec is not None and target.choice.met(labels, marks)
        ]
        if len(found) > MOST_TARGETS and namespace not in self._crowded:
            self._crowded.add(namespace)
            log.warning(
                "%d targets want to be told of %s/%s; the first %d by kind and name are",
                *(len(found), namespace, metadata.get("name"), MOST_TARGETS),
            )
        return found[:MOST_TARGETS]

    def _counted(self, namespace: str) -> tuple[Target, ...]:
        """Those of a namespace that count, in order."""
        found = self._counting.get(namespace)
        if found is None and namespace in self._keys:
            keys = self._keys[namespace][:MOST_COUNTED]
            found = self._counting[namespace] = tuple(self._known[key] for key in keys)
        return found or ()


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
