"""Reads the workloads that Rollouts name, for those who show what runs now."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from canary.errors import ApiError
from canary.kube import WORKLOADS, Kube
from canary.model.workloads import foreign
from canary.observe.objects import key_of
from canary.observe.workloads import workload_view
from canary.view.rollout import RolloutView
from canary.view.workloads import ROLES, Live, place


async def read_live(kube: Kube, rollouts: Iterable[RolloutView]) -> Live:
    """The workloads that Rollouts name; those that cannot be read, or are not there, and those of other groups are left out.

    A GET for each of one Rollout's two; for more than those, for each kind one list of the namespace, or of all.
    """
    wanted: set[tuple[str, str, str]] = set()
    for rollout in rollouts:
        for role in ROLES:
            if rollout.workload(role) and not foreign(rollout.workload_kind(role)):
                wanted.add(place(rollout, role))
    if len(wanted) <= len(ROLES):
        found = await asyncio.gather(*(_one(kube, *key) for key in wanted))
    else:
        places = {namespace for _, namespace, _ in wanted}
        where = next(iter(places)) if len(places) == 1 else None
        found = await asyncio.gather(*(_all(kube, kind, where) for kind in {kind for kind, _, _ in wanted}))
    return {key: view for views in found for key, view in views.items() if key in wanted}


async def _one(kube: Kube, kind: str, namespace: str, name: str) -> Live:
    try:
        return {(kind, namespace, name): workload_view(await kube.get(WORKLOADS[kind], name, namespace), kind)}
    except ApiError:
        return {}


async def _all(kube: Kube, kind: str, namespace: str | None) -> Live:
    try:
        items = (await kube.list(WORKLOADS[kind], namespace))["items"]
    except ApiError:
        return {}
    return {(kind, *key_of(item)): workload_view(item, kind) for item in items}
