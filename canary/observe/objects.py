"""Objects of the API server in the form we keep: what is needed for decisions, and nothing that costs memory for free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from canary.decide.facts import WorkloadView
from canary.gateway.acceptance import last_writer
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.rollout import digest

Json = dict[str, Any]

FINALIZER = "canary.dev/restore-routes"
POD_SPEC_ANNOTATION = "canary.dev/replaced-pod-spec"
"""On the stable workload during a Copy promotion: the pod spec that the copy replaced, as JSON."""


def slim(document: Json) -> Json:
    """Drop what nobody reads: managedFields make up half of an object."""
    metadata = {key: value for key, value in document.get("metadata", {}).items() if key != "managedFields"}
    return {**document, "metadata": metadata}


def version(document: Json) -> str:
    """The resourceVersion of an object; empty without one."""
    return str(document.get("metadata", {}).get("resourceVersion", ""))


def known(document: Json, kept: Json) -> bool:
    """Whether a watch event says nothing new: it is what we have, or older, because our own write's answer overtook it.

    resourceVersions of one resource are ordered numbers (KEP-5504); where one is not a number, the newcomer wins. A
    resource of another uid is another object, however it is numbered.
    """
    if document.get("metadata", {}).get("uid") != kept.get("metadata", {}).get("uid"):
        return False
    new, old = version(document), version(kept)
    return new.isdecimal() and old.isdecimal() and int(new) <= int(old)


@dataclass(frozen=True, slots=True)
class Route:
    """A route without its managedFields, and who wrote its rules last besides us."""

    document: Json
    writer: str

    @classmethod
    def of(cls, document: Json) -> Route:
        return cls(slim(document), last_writer(document))


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as a view, and the version it was read at."""

    view: WorkloadView
    metadata: Json

    @classmethod
    def of(cls, document: Json) -> Workload:
        metadata = document.get("metadata", {})
        kept = {key: metadata.get(key) for key in ("uid", "resourceVersion")}
        return cls(workload_view(document), {"metadata": kept})


def revision(document: Json) -> str:
    """The revision of a workload: ten hex digits over its pod spec.

    Labels and annotations of the template are left out: those of stable and canary differ by nature, and a copy of the
    pod spec must give the same revision.
    """
    return digest(document.get("spec", {}).get("template", {}).get("spec", {}))


def workload_view(document: Json) -> WorkloadView:
    """Read a Deployment: revision, ready replicas, and whether its roll-out is complete."""
    metadata, spec, status = document.get("metadata", {}), document.get("spec", {}), document.get("status") or {}
    replicas = spec.get("replicas", 1)
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    counts = [status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "replicas")]
    return WorkloadView(
        name=metadata.get("name", ""),
        exists=True,
        revision=revision(document),
        ready=status.get("readyReplicas", 0),
        rolled_out=current and replicas > 0 and all(count == replicas for count in counts),
        copied=POD_SPEC_ANNOTATION in (metadata.get("annotations") or {}),
    )


def request_of(document: Json) -> str | None:
    """The request annotation of a Rollout, raw."""
    value = (document.get("metadata", {}).get("annotations") or {}).get(REQUEST_ANNOTATION)
    return value if isinstance(value, str) else None
