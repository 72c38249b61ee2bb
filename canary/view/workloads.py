"""What the two workloads run and how much of it is ready: read now where that is allowed, else what the status has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from canary.decide.facts import WorkloadView
from canary.view.rollout import RolloutView
from canary.view.words import clean

Live = Mapping[tuple[str, str, str], WorkloadView]
"""Workloads as they are now, by kind, namespace and name."""

ROLES = ("stable", "canary")


def place(rollout: RolloutView, role: str) -> tuple[str, str, str]:
    """Where the workload of a role is found among those that are live."""
    return rollout.workload_kind(role), rollout.namespace, rollout.workload(role)


def running(rollout: RolloutView, role: str, live: Live | None) -> tuple[str, str, str]:
    """Revision, images and ready replicas (`3/4`) of a role; empty where nobody knows."""
    status = rollout.status
    known = {"stable": status.revisions.stable, "canary": status.revisions.canary}[role]
    view = (live or {}).get(place(rollout, role))
    if view is not None:
        revision = clean(known or "") if rollout.includes_configs else view.revision
        return revision, clean(view.images), f"{view.ready}/{view.replicas}"
    said = {"stable": status.workloads.stable, "canary": status.workloads.canary}[role]
    ready = f"{said.ready or 0}/{said.replicas}" if said is not None and said.replicas is not None else ""
    return clean(known or ""), clean(said.images) if said is not None else "", ready


def workload_words(rollout: RolloutView, role: str, live: Live | None, *, counts: bool = True) -> Iterator[str]:
    """What a workload runs, in parts: revision, images, replicas, and whether the controller knows of it.

    Without `counts` no replicas: what is on record of them grows old while somebody watches.
    """
    revision, images, ready = running(rollout, role, live)
    now = place(rollout, role) in (live or {})
    seen = {"stable": rollout.status.revisions.stable, "canary": rollout.status.revisions.canary}[role]
    if revision:
        yield revision
    if images:
        yield images
    if ready and counts:
        yield f"{ready} ready" if now else f"{ready} ready when last recorded"
    if now and rollout.phase and revision != seen:
        yield f"the controller has seen {clean(seen)} only" if seen else "the controller has not seen it yet"
