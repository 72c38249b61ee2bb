"""Reads the Deployments that Rollouts name, for those who show what runs now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from canary.errors import ApiError
from canary.kube import DEPLOYMENTS, Kube
from canary.observe.objects import key_of, workload_view
from canary.view.rollout import RolloutView
from canary.view.workloads import ROLES, Live


async def read_live(kube: Kube, rollouts: Iterable[RolloutView]) -> Live:
    """The Deployments that Rollouts name; those that cannot be read, or are not there, are left out.

    A GET for each of one Rollout's two; for more than those, one list of the namespace, or of all.
    """
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
    try:
        return {(namespace, name): workload_view(await kube.get(DEPLOYMENTS, name, namespace))}
    except ApiError:
        return {}


async def _all(kube: Kube, namespace: str | None) -> Live:
    try:
        items = (await kube.list(DEPLOYMENTS, namespace))["items"]
    except ApiError:
        return {}
    return {key_of(item): workload_view(item) for item in items}
