"""Follows the policies of a cluster, whatever their kinds are: the objects of all definitions that are labelled as policies (GEP-713).

Only what they target by the name of a part is kept. Known is that of a namespace when the definitions could be listed, and the objects of
each of them; what may not be read leaves it unknown, and then no rule with a name is copied (`canary.preflight.policies`).

Which definitions there are is asked at the start, and then only while some Rollout has a step that copies rules: at once when the first one
of a namespace comes, and from time to time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from canary.controller.clock import Alarm
from canary.controller.lookout import Fading, Lookout
from canary.controller.manager import Manager
from canary.controller.route_informers import watch_name
from canary.errors import ApiError
from canary.kube import CRDS, Kube, Resource
from canary.kube.definitions import policies_among
from canary.preflight.surroundings import POLICY_LABEL

log = logging.getLogger("canary.survey")

Json = dict[str, Any]
Watch = tuple[Resource, str | None]


class Policies:
    """The watches of policies, for one controller. `places`: namespaces, or None for all together.

    `again`: seconds between two looks at the definitions, and until what could not be read is tried again. `seen` is called once everything is
    listed that may be, or could not be.
    """

    def __init__(
        self,
        kube: Kube,
        manager: Manager,
        places: tuple[str | None, ...],
        lookout: Lookout,
        *,
        again: float,
        seen: Callable[[], None],
    ) -> None:
        self._kube = kube
        self._manager = manager
        self._places = places
        self._lookout = lookout
        self._again = again
        self._seen = seen
        self._listed = False
        self._watches: dict[Watch, asyncio.Task[None]] = {}
        self._synced: set[Watch] = set()
        self._failed: set[Watch] = set()

    async def run(self) -> None:
        """Follow for ever."""
        store, clock, wanted = self._manager.deps.store, self._manager.deps.clock, asyncio.Event()
        store.references.on_copying = wanted.set
        alarm = Alarm(clock, wanted)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    wanted.clear()
                    await self._look(group)
                    alarm.set(clock.now() + timedelta(seconds=self._again))
                    await wanted.wait()
                    while not store.references.copying:
                        wanted.clear()
                        await wanted.wait()
        finally:
            alarm.cancel()

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """Which definitions there are; those that are new are followed, those that are gone no more."""
        try:
            found = (await self._kube.list(CRDS, label_selector=POLICY_LABEL))["items"]
        except ApiError as error:
            self._listed = False
            log.info("definitions of policies cannot be listed, so no rule with a name is copied: %s", error)
            self._tell()
            self._seen()
            return
        self._listed = True
        resources = policies_among(found)
        wanted = {
            (resource, place) for resource in resources for place in (self._places if resource.namespaced else (None,))
        }
        for watch in self._watches.keys() - wanted:
            self._watches.pop(watch).cancel()
            self._synced.discard(watch)
            self._failed.discard(watch)
            self._manager.policies_gone(watch[0].definition, watch[1])
        for watch in wanted - self._watches.keys():
            self._watches[watch] = group.create_task(self._follow(*watch), name=f"policies {watch_name(*watch)}")
        self._tell()

    async def _follow(self, resource: Resource, place: str | None) -> None:
        watch, said = (resource, place), ""
        while True:
            try:
                await self._watch(resource, place)
            except ApiError as error:
                self._synced.discard(watch)
                self._failed.add(watch)
                self._manager.policies_gone(resource.definition, place)
                if str(error) != said:
                    said = str(error)
                    log.info("%s cannot be read, so no rule with a name is copied: %s", watch_name(*watch), error)
            self._tell()
            await asyncio.sleep(self._again)

    async def _watch(self, resource: Resource, place: str | None) -> None:
        watch = resource, place
        eyes = Fading(
            self._lookout.eyes(watch_name(*watch), counts=False),
            partial(self._out_of_sight, watch),
            partial(self._sighted, watch),
        )
        async for event in self._kube.list_and_watch(resource, place, pace=self._lookout.calm, eyes=eyes):
            if event.type == "SYNCED":
                self._sighted(watch)
            else:
                self._manager.policy(resource.definition, event.type, {**event.object, "kind": resource.kind})

    def _sighted(self, watch: Watch) -> None:
        """All objects of a watch are known."""
        self._failed.discard(watch)
        self._synced.add(watch)
        self._tell()

    def _out_of_sight(self, watch: Watch) -> None:
        """They are not any more."""
        self._synced.discard(watch)
        self._tell()

    def _tell(self) -> None:
        for place in self._places:
            mine = [watch for watch in self._watches if watch[1] in {None, place}]
            self._manager.policies_known(place, known=self._listed and all(watch in self._synced for watch in mine))
        if self._watches.keys() <= self._synced | self._failed:
            self._seen()
