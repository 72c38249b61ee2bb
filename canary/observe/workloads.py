"""Workloads in the form we keep: what their controllers say of their pods, and what we have left on record there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from canary.decide.facts import CopyView, WorkloadView
from canary.model.rollout import digest
from canary.model.times import parse_time
from canary.model.workload_status import MAX_IMAGES
from canary.model.workloads import DEPLOYMENT, Traits, foreign, group_of, traits
from canary.observe.copies import copies
from canary.observe.objects import senseless, uid_of, version
from canary.routes.acceptance import last_writer
from canary.routes.intent import name_part
from canary.routes.ownership import MANAGER, replicas_given_back

Json = dict[str, Any]

MOST = 2**31 - 1
"""Of what a controller counts: more cannot be recorded."""


class WorkloadKey(NamedTuple):
    """A workload; its kind is spelt as `canary.model.workloads.kind_of` does."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as a view, and the version it was read at."""

    view: WorkloadView
    uid: str
    version: str
    copies: Mapping[str, CopyView]
    """What copies have left on record, by the name part of the annotation (empty: of a version that named none)."""
    partly: bool = False
    """Of this version its replicas are known, by its scale subresource, and the rest is taken to be as it was."""
    problem: str = ""
    """Why it is no workload at all, as far as anybody can tell."""

    @classmethod
    def of(cls, document: Json, kind: str = DEPLOYMENT) -> Workload:
        view, uid, read_at = workload_view(document, kind), uid_of(document), version(document)
        if foreign(kind):  # what is never written has no record of ours
            return cls(view, uid, read_at, {}, problem=unreadable(document, kind))
        return cls(view, uid, read_at, copies(document))

    @classmethod
    def misread(cls, document: Json, kind: str) -> Workload:
        """One of which we make nothing, for a reason of ours: that is the trouble of who names it, and of nobody else."""
        name, _ = group_of(kind)
        called = sys.intern(str(_dict(document.get("metadata")).get("name") or ""))
        view, problem = WorkloadView(called, exists=True, kind=kind), senseless(name, called)
        return cls(view, uid_of(document), version(document), {}, problem=problem)

    def seen_by(self, rollout: str) -> WorkloadView:
        """The workload as one Rollout sees it: with its own copy on record, and nobody else's."""
        record = self.copies.get(name_part(rollout)) or self.copies.get("")
        return replace(self.view, copied=record) if record is not None else self.view

    def resized(self, scale: Json, *, ours: bool) -> Workload:
        """The workload with as many replicas as its scale subresource says; `ours`: we have just written that."""
        replicas = (scale.get("spec") or {}).get("replicas", 0)
        if replicas == self.view.replicas and not ours:
            return replace(self, version=version(scale), partly=True)
        there = self.view.rolled_out and replicas == self.view.replicas
        view = replace(self.view, replicas=replicas, rolled_out=there, scaled=ours or self.view.scaled, emptied=None)
        return replace(self, view=view, version=version(scale), partly=True)

    def completed_by(self, document: Json) -> bool:
        """Whether a document is the whole of what is known in part."""
        return self.partly and self.uid == uid_of(document) and self.version == version(document)

    def same(self, other: Workload) -> bool:
        """Whether nothing that a decision looks at differs."""
        return self.view == other.view and self.copies == other.copies and self.problem == other.problem


def revision(document: Json) -> str:
    """The revision of a workload: ten hex digits over its pod spec.

    Labels and annotations of the template are left out: those of stable and canary differ by nature, and a copy of the
    pod spec must give the same revision.
    """
    return _digest(to_json(document.get("spec", {}).get("template", {}).get("spec", {})))


@lru_cache(256)
def _digest(pod_spec: bytes) -> str:
    """The digest of a pod spec as it was written. Stable and canary, which are listed one after the other, mostly say the same."""
    return digest(from_json(pod_spec))


def workload_view(document: Json, kind: str = DEPLOYMENT) -> WorkloadView:
    """Read a workload: revision, ready replicas, and whether its roll-out is complete.

    Of another controller's kind nothing is taken for granted: what makes no sense in it counts as absent.
    """
    if foreign(kind):
        document = sound(document)
    metadata, spec, status = document.get("metadata", {}), document.get("spec", {}), document.get("status") or {}
    reads = traits(kind)
    holder, field = reads.wanted
    replicas = _count((spec if holder == "spec" else status).get(field), reads.otherwise)
    current = _count(status.get("observedGeneration")) >= metadata.get("generation", 0)
    counts = [_count(status.get(name)) for name in reads.counts]
    scaler, at = last_scaler(document)
    complete = current and replicas > 0 and counts.count(replicas) == len(counts)
    return WorkloadView(
        name=sys.intern(metadata.get("name", "")),
        exists=True,
        kind=kind,
        revision=revision(document),
        ready=_count(status.get(reads.ready)),
        rolled_out=complete and _one_revision(spec, status, reads),
        stuck=_stuck(spec, status, reads) if counts[0] < replicas and kind != DEPLOYMENT else "",
        writer=last_writer(document, "f:template"),
        replicas=replicas,
        images=images(document),
        scaled=reads.scales and bool(replicas_given_back(document)),
        scaler=scaler,
        emptied=_time(at) if replicas == 0 else None,
    )


def unreadable(document: Json, kind: str) -> str:
    """Why no revision can be read out of a foreign object, and what to do about it; empty: it can."""
    if sound(document)["spec"]["template"]["spec"]["containers"]:
        return ""
    name, group = group_of(kind)
    what = f"{name} {_dict(document.get('metadata')).get('name') or ''} of {group}"
    return f"{what} has no pod template with containers at spec.template, so it has no revision: name the workload that its pods come from"


def _one_revision(spec: Json, status: Json, reads: Traits) -> bool:
    """Whether a controller that replaces pods in turn says that it is through. One that waits for deletions never says so."""
    if reads.revisions is None or _strategy(spec, reads).get("type") == ON_DELETE:
        return True
    now, then = (status.get(name) for name in reads.revisions)
    return bool(now == then)


ON_DELETE = "OnDelete"


def _strategy(spec: Json, reads: Traits) -> Json:
    return _dict(spec.get(reads.replaces)) if reads.replaces else {}


def stuck(document: Json, kind: str) -> str:
    """Why the pods of a workload may never follow its template, as far as its manifest tells; empty: nothing says so."""
    return _stuck(_dict(document.get("spec")), _dict(document.get("status")), traits(kind))


def _stuck(spec: Json, status: Json, reads: Traits) -> str:
    """Why pods may never follow the template, whoever waits for that; empty: nothing says so."""
    strategy = _strategy(spec, reads)
    if strategy.get("type") == ON_DELETE:
        return f"its {reads.replaces} is OnDelete, so a pod runs it only once somebody has deleted the one before: delete them"
    partition = _dict(strategy.get("rollingUpdate")).get("partition") or strategy.get("partition")
    if partition:
        return f"the partition {str(partition)[:20]} of its {reads.replaces} keeps pods as they are: lower it to 0"
    if not reads.copies and status and reads.counts[0] not in status:
        return f"its status has no {reads.counts[0]}, so nobody can tell which of its pods run that"
    return ""


def _count(value: Any, otherwise: int = 0) -> int:
    """A number of pods, or a generation, which some controllers write as text."""
    if type(value) is int:
        return value if 0 <= value <= MOST else min(max(value, 0), MOST)
    if value is None:
        return otherwise
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    return 0


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def sound(document: Json) -> Json:
    """As much of a foreign object as has the form of a workload."""
    spec = _dict(document.get("spec"))
    template = _dict(spec.get("template"))
    pods = _dict(template.get("spec"))
    containers = pods.get("containers")
    kept = [each for each in containers if isinstance(each, dict)] if isinstance(containers, list) else []
    pods = {**pods, "containers": kept}
    return {
        **document,
        "spec": {**spec, "template": {**template, "spec": pods}},
        "status": _dict(document.get("status")),
    }


def _entries(document: Json) -> list[Json]:
    return document.get("metadata", {}).get("managedFields") or []


def _scales(entry: Json) -> bool:
    """Whether a manager has set the replicas, by the subresource or along with the rest."""
    return "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})


def last_scaler(document: Json) -> tuple[str, str]:
    """Name the field manager, other than us, that set the replicas of a workload last, and when; empty when nobody is recorded."""
    others = [
        (entry.get("time") or "", entry.get("manager") or "")
        for entry in _entries(document)
        if entry.get("manager") != MANAGER and _scales(entry)
    ]
    at, manager = max(others, default=("", ""))
    return sys.intern(str(manager)), str(at)


def _time(at: str) -> datetime | None:
    """A time as managedFields have it."""
    try:
        return parse_time(at)
    except ValueError:
        return None


def images(document: Json) -> str:
    """The images of a workload's containers, with commas in between as kubectl shows them; bounded.

    Interned: at rest the two workloads of a Rollout run the same.
    """
    containers = document.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or ()
    text = ",".join(str(container.get("image", "")) for container in containers)
    return sys.intern(text if len(text) <= MAX_IMAGES else f"{text[: MAX_IMAGES - 1]}…")
