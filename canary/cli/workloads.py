"""What the two workloads run and how much of it is ready: read now where that is allowed, else what the status has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from canary.cli.view import RolloutView
from canary.cli.words import clean

if TYPE_CHECKING:
    from canary.decide.facts import WorkloadView
    from canary.kube import Kube

Json = dict[str, Any]

Live = Mapping[tuple[str, str], "WorkloadView"]
"""Deployments as they are now, by namespace and name."""

ROLES = ("stable", "canary")


async def read_live(kube: Kube, rollouts: Iterable[RolloutView]) -> Live:
    """The Deployments that Rollouts name; those that cannot be read, or are not there, are left out.

    A GET for each of one Rollout's two; for more than those, one list of the namespace, or of all.
    """
    import asyncio

    wanted: dict[str, set[str]] = {}
    for rollout in rollouts:
        names = {name for role in ROLES if (name := rollout.workload(role))}
        if names:
            wanted.setdefault(rollout.namespace, set()).update(names)
    if sum(len(names) for names in wanted.values()) <= len(ROLES):
        found = await asyncio.gather(*(_one(kube, place, name) for place, names in wanted.items() for name in names))
    else:
        found = [await _all(kube, next(iter(wanted)) if len(wanted) == 1 else None)]
    return {key: view for views in found for key, view in views.items() if key[1] in wanted.get(key[0], ())}


async def _one(kube: Kube, namespace: str, name: str) -> Live:
    from canary.errors import ApiError
    from canary.kube import DEPLOYMENTS
    from canary.observe.objects import workload_view

    try:
        return {(namespace, name): workload_view(await kube.get(DEPLOYMENTS, name, namespace))}
    except ApiError:
        return {}


async def _all(kube: Kube, namespace: str | None) -> Live:
    from canary.errors import ApiError
    from canary.kube import DEPLOYMENTS
    from canary.observe.objects import key_of, workload_view

    try:
        items = (await kube.list(DEPLOYMENTS, namespace))["items"]
    except ApiError:
        return {}
    return {key_of(item): workload_view(item) for item in items}


def running(rollout: RolloutView, role: str, live: Live | None) -> tuple[str, str, str]:
    """Revision, images and ready replicas (`3/4`) of a role; empty where nobody knows."""
    status = rollout.status
    known = {"stable": status.revisions.stable, "canary": status.revisions.canary}[role]
    view = (live or {}).get((rollout.namespace, rollout.workload(role)))
    if view is not None:
        return view.revision, clean(view.images), f"{view.ready}/{view.replicas}"
    said = {"stable": status.workloads.stable, "canary": status.workloads.canary}[role]
    ready = f"{said.ready or 0}/{said.replicas}" if said is not None and said.replicas is not None else ""
    return clean(known or ""), clean(said.images) if said is not None else "", ready


def workload_words(rollout: RolloutView, role: str, live: Live | None, *, counts: bool = True) -> Iterator[str]:
    """What a workload runs, in parts: revision, images, replicas, and whether the controller knows of it.

    Without `counts` no replicas: what is on record of them grows old while somebody watches.
    """
    revision, images, ready = running(rollout, role, live)
    now = (rollout.namespace, rollout.workload(role)) in (live or {})
    seen = {"stable": rollout.status.revisions.stable, "canary": rollout.status.revisions.canary}[role]
    if revision:
        yield revision
    if images:
        yield images
    if ready and counts:
        yield f"{ready} ready" if now else f"{ready} ready when last recorded"
    if now and rollout.phase and revision != seen:
        yield f"the controller has seen {clean(seen)} only" if seen else "the controller has not seen it yet"
