"""The annotation `copy.canary.dev/NAME` on a stable workload: what a Copy of Rollout NAME put there, and what it replaced.

It is set by the very patch that copies. It names the Rollout's uid, the run, and the revision that the workload got (as
the API server keeps it), so that nothing is put back which is not exactly that copy any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from canary.decide.copying import PREFIX, copy_annotation
from canary.decide.facts import CopyView
from canary.model.bounded import MAX_RUNS
from canary.model.rollout import digest

Json = dict[str, Any]

LEGACY_ANNOTATION = "canary.dev/replaced-pod-spec"
"""What an earlier version set: the replaced pod spec and nothing else."""

UNREADABLE = CopyView(uid="unreadable", run=0, copied="", replaced="")
"""A record that nobody of us has written: it belongs to no Rollout, so it is forgotten and never put back."""


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """A copy on record. `pod_spec` is what it replaced; `copied` the revision that it gave the workload."""

    uid: str
    run: int
    copied: str
    pod_spec: Json

    def dump(self) -> str:
        """Write the annotation's value: compact JSON."""
        document = {"uid": self.uid, "run": self.run, "copied": self.copied, "replaced": self.pod_spec}
        return json.dumps(document, separators=(",", ":"))

    @property
    def view(self) -> CopyView:
        return CopyView(self.uid, self.run, self.copied, digest(self.pod_spec))


def read_copy(document: Json, rollout: str) -> CopyRecord | None:
    """The copy of a Rollout on record on a workload; None without one, or when it says nothing that one of us wrote."""
    annotations = document.get("metadata", {}).get("annotations") or {}
    if copy_annotation(rollout) in annotations:
        return _parse(annotations[copy_annotation(rollout)])
    pod_spec = _object(annotations.get(LEGACY_ANNOTATION))
    return CopyRecord("", 0, "", pod_spec) if pod_spec is not None else None


def copies(document: Json) -> dict[str, CopyView]:
    """Every copy on record on a workload, by the name part of its annotation; what an earlier version wrote has none."""
    annotations = document.get("metadata", {}).get("annotations") or {}
    found = {}
    for name in annotations:
        if name.startswith(PREFIX) or name == LEGACY_ANNOTATION:
            rollout = name.removeprefix(PREFIX) if name != LEGACY_ANNOTATION else ""
            record = read_copy(document, rollout)
            found[rollout] = record.view if record is not None else UNREADABLE
    return found


def _parse(raw: Any) -> CopyRecord | None:
    document = _object(raw)
    if document is None:
        return None
    uid, run, copied, replaced = (document.get(key) for key in ("uid", "run", "copied", "replaced"))
    good = (
        isinstance(uid, str)
        and isinstance(run, int)
        and 0 < run <= MAX_RUNS
        and isinstance(copied, str)
        and isinstance(replaced, dict)
        and bool(uid)
    )
    return CopyRecord(uid, run, copied, replaced) if good else None  # type: ignore[arg-type]  # as `good` says


def _object(raw: Any) -> Json | None:
    try:
        document = json.loads(raw)
    except (ValueError, TypeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
