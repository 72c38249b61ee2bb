"""Which autoscaler targets which workload: of each only its name and its target are kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from canary.model.workloads import DEPLOYMENT, kind_of
from canary.observe.index import Index
from canary.observe.objects import Key
from canary.observe.workloads import WorkloadKey

Json = dict[str, Any]


class Autoscalers:
    """HorizontalPodAutoscalers and ScaledObjects, as far as they may be read.

    `known` says for a namespace whether all of them are; `unread` why they cannot be.
    """

    def __init__(self) -> None:
        self._targets: dict[tuple[str, str, str], WorkloadKey] = {}
        """By kind, namespace and name."""
        self._of: Index[WorkloadKey, tuple[str, str]] = Index()
        self._known: dict[tuple[str, str | None], str] = {}
        """Kinds of which all are known in a namespace (None: everywhere), or why they cannot be."""
        self.kinds: frozenset[str] = frozenset()
        """Those that the cluster serves; none is known before somebody has asked."""

    def put(self, kind: str, document: Json) -> set[WorkloadKey]:
        """Keep an autoscaler; the workloads for which that is news."""
        metadata = document.get("metadata") or {}
        key = kind, sys.intern(str(metadata.get("namespace") or "")), str(metadata.get("name") or "")
        target = _target(document, key[1])
        before = self._targets.get(key)
        if before == target:
            return set()
        found = self.drop(kind, (key[1], key[2]))
        if target is not None:
            self._targets[key] = target
            self._of.add(target, (kind, key[2]))
            found.add(target)
        return found

    def drop(self, kind: str, key: Key) -> set[WorkloadKey]:
        """Forget an autoscaler; the workloads for which that is news."""
        target = self._targets.pop((kind, *key), None)
        if target is None:
            return set()
        self._of.discard(target, (kind, key[1]))
        return {target}

    def forget(self, kind: str, place: str | None) -> None:
        """Of a kind nothing is known any more in a namespace (None: everywhere)."""
        for found in [each for each in self._targets if each[0] == kind and place in {None, each[1]}]:
            self.drop(kind, found[1:])

    def know(self, kind: str, place: str | None, why: str = "") -> bool:
        """All of a kind are known in a namespace (None: everywhere), or cannot be, and why; whether that is news."""
        news = self._known.get((kind, place)) != why
        self._known[kind, place] = why
        return news

    def of(self, workload: WorkloadKey) -> str:
        """Kind and name of one that targets a workload; empty: none does, as far as is known."""
        found = min(self._of.get(workload), default=None)
        return " ".join(found) if found is not None else ""

    def unread(self, namespace: str) -> str | None:
        """Why some cannot be read in a namespace; empty: all of them are known; None: they are not listed yet."""
        if not self.kinds:
            return None
        states = [self._state(kind, namespace) for kind in sorted(self.kinds)]
        return next((state for state in states if state), None if None in states else "")

    def _state(self, kind: str, namespace: str) -> str | None:
        states: Mapping[tuple[str, str | None], str] = self._known
        return states.get((kind, namespace), states.get((kind, None)))


def _target(document: Json, namespace: str) -> WorkloadKey | None:
    """The workload that an autoscaler targets; None: nothing that can be read. A ScaledObject that names no kind means a Deployment."""
    spec = document.get("spec")
    ref = spec.get("scaleTargetRef") if isinstance(spec, dict) else None
    if not isinstance(ref, dict) or not ref.get("name"):
        return None
    kind = kind_of(str(ref.get("apiVersion") or "apps/v1"), str(ref.get("kind") or DEPLOYMENT))
    return WorkloadKey(kind, namespace, sys.intern(str(ref["name"])))
