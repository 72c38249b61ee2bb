"""Scales a workload by its scale subresource, and gives the ownership of its replicas back.

The subresource takes a right of its own, which is about replicas and nothing else. Giving back takes the right to patch the
workload: who wrote what is kept there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from canary.act.gate import Gate
from canary.act.reading import moved, still_so
from canary.decide.actions import ReleaseReplicas, ScaleWorkload
from canary.errors import Conflict, NotFound, Unprocessable, WriteAltered
from canary.json_patch import add, pointer, unmoved
from canary.kube import ROUTES, WORKLOADS, Kube, Resource
from canary.observe.objects import Key, version
from canary.observe.store import Store
from canary.observe.workloads import WorkloadKey
from canary.routes.key import RouteKey
from canary.routes.ownership import replicas_given_back

Json = dict[str, Any]

SCALE = "scale"
_REPLICAS = pointer("spec", "replicas")


class ReplicaWriter:
    """Writes the replicas of the canary workload of one Rollout."""

    def __init__(self, key: Key, kube: Kube, store: Store) -> None:
        self._key = key
        self._kube = kube
        self._store = store

    async def scale(self, action: ScaleWorkload, rollout: Json, gate: Gate) -> bool:
        """Give a workload so many replicas; False when the world is another one than the decision saw. Raises WriteAltered.

        The workload, and the routes that have to send it nothing, are read before the Rollout, and the patch tests that nobody has written the workload since: whoever has
        ended or begun a run in between is either seen in the Rollout, or has written the workload.
        """
        of = WORKLOADS[action.kind]
        seen = await self._get(of, action.target)
        if (seen.get("spec") or {}).get("replicas", 0) != action.found:
            self._keep(of, seen)
            return False
        for key in action.idle:
            if not await self._as_seen(key):
                return False
        if not await still_so(self._kube, self._store, self._key, rollout):
            return False
        gate(False)
        ops = [
            unmoved(seen),
            add(_REPLICAS, action.replicas),
        ]  # of none the subresource says nothing: it cannot be replaced
        try:
            answer = await self._kube.json_patch(of, action.target, self._key[0], ops, subresource=SCALE)
        except (Conflict, Unprocessable) as error:
            return await moved(error, seen, partial(self._get, of, action.target), partial(self._keep, of))
        self._keep(of, answer, ours=True)
        kept = (answer.get("spec") or {}).get("replicas", 0)
        if kept != action.replicas:
            raise WriteAltered(
                f"{of.kind} {action.target} was given {action.replicas} replicas, and the API server keeps {kept} replicas: an "
                "admission webhook or policy changes our write; let it leave the scale subresource alone"
            )
        return True

    async def _as_seen(self, key: RouteKey) -> bool:
        """Whether a route is, this very moment, as the store has it; else what is there is kept, to decide anew."""
        try:
            fresh = await self._kube.get(ROUTES[key.kind], key.name, key.namespace)
        except NotFound:
            return True  # it sends nothing
        kept = self._store.routes.get(key)
        if kept is not None and version(fresh) == kept.version:
            return True
        self._store.put_route(fresh, answer=True)
        return False

    async def release(self, action: ReleaseReplicas) -> bool | None:
        """Give the ownership back; None where nothing is ours."""
        of, namespace, name = WORKLOADS[action.kind], self._key[0], action.target
        again = partial(self._kube.get, of, name, namespace)
        keep = partial(self._store.put_workload, kind=of.kind, answer=True)
        document = await again()
        ops = replicas_given_back(document)
        if not ops:
            keep(document)
            return None
        try:
            answer = await self._kube.json_patch(of, name, namespace, [unmoved(document), *ops])
        except (Conflict, Unprocessable) as error:
            return await moved(error, document, again, keep)
        keep(answer)
        return True

    async def _get(self, of: Resource, name: str) -> Json:
        return await self._kube.get(of, name, self._key[0], subresource=SCALE)

    def _keep(self, of: Resource, scale: Json, *, ours: bool = False) -> None:
        self._store.put_scale(WorkloadKey(of.kind, self._key[0], scale["metadata"]["name"]), scale, ours=ours)
