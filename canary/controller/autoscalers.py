"""Follows autoscalers, from the first Rollout on that declares `scale`: a workload that one targets is not scaled by us.

Without such a Rollout nothing is asked, and no right is needed.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.controller.route_informers import watch_name
from canary.errors import ApiError, NotFound, NotServed
from canary.kube import HPAS, SCALEDOBJECTS, Kube, Resource

log = logging.getLogger("canary.autoscalers")

FOLLOWED = (HPAS, SCALEDOBJECTS)

AGAIN = 300.0
"""Seconds after which what could not be read is asked for again: somebody may have granted the right, or installed KEDA."""


class AutoscalerInformers:
    """The watches of autoscalers, for one controller."""

    def __init__(
        self,
        kube: Kube,
        manager: Manager,
        namespaces: tuple[str, ...],
        lookout: Lookout | None = None,
        *,
        again: float = AGAIN,
    ) -> None:
        self._kube = kube
        self._manager = manager
        self._places: tuple[str | None, ...] = namespaces or (None,)
        self._lookout = lookout
        self._again = again

    async def run(self) -> None:
        """Follow for ever, as soon as somebody wants to know."""
        store, wanted = self._manager.deps.store, asyncio.Event()
        store.references.on_scaling = wanted.set
        if not store.references.scaling:
            await wanted.wait()
        store.autoscalers.kinds = frozenset(resource.kind for resource in FOLLOWED)
        async with asyncio.TaskGroup() as group:
            for resource in FOLLOWED:
                for place in self._places:
                    group.create_task(self._follow(resource, place), name=f"follow {watch_name(resource, place)}")

    async def _follow(self, resource: Resource, place: str | None) -> None:
        know = partial(self._manager.know_autoscalers, resource.kind, place)
        said = ""
        while True:
            try:
                if await self._served(resource):
                    await self._watch(resource, place)
                know("")  # where there are none of a kind, none targets anything
            except ApiError as error:
                words = f"{watch_name(resource, place)} cannot be listed, so nobody can tell whether one targets the canary ({error}); grant list and watch"
                know(words)
                if str(error) != said:
                    said = str(error)
                    log.warning("%s", words)
            await asyncio.sleep(self._again)

    async def _served(self, resource: Resource) -> bool:
        """Whether the cluster knows the kind at all."""
        try:
            return resource.kind in await self._kube.discover(resource.group)
        except (NotFound, NotServed):
            return False

    async def _watch(self, resource: Resource, place: str | None) -> None:
        """Until the kind is gone. Raises ApiError."""
        name = watch_name(resource, place)
        pace = self._lookout.calm if self._lookout is not None else None
        eyes = self._lookout.eyes(name, counts=False) if self._lookout is not None else None
        try:
            async for event in self._kube.list_and_watch(resource, place, pace=pace, eyes=eyes):
                if event.type == "SYNCED":
                    self._manager.know_autoscalers(resource.kind, place, "")
                else:
                    self._manager.autoscaler(resource.kind, event.type, event.object)
        except (NotFound, NotServed):
            self._manager.forget_autoscalers(resource.kind, place)
