"""Follows what all Rollouts may refer to: routes, Deployments, check templates. HTTPRoutes and Deployments are listed before the first is judged.

For what else there is, which most Rollouts do not name, only those wait that do (`canary.observe.lists`): a list may be slow in coming.
What kinds of routes there are is a question of its own (`route_informers`). These are watched directly rather than through kopf: kopf keeps a worker and a memory for every object, and holding back
its handlers until everything is listed (`kopf.index`) takes time that grows with the square of their number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.controller.route_informers import POLL, RouteInformers, watch_name
from canary.errors import ApiError, ConfigError, Forbidden
from canary.kube import CHECKTEMPLATES, CLUSTERCHECKTEMPLATES, DEPLOYMENTS, Kube, Resource

Json = dict[str, Any]
Pass = Callable[[str | None, Json], None]


class Informers:
    """The watches of a controller. `waiting_for` names the resources that are not listed yet; `synced` is set when all wait for none of them."""

    def __init__(self, kube: Kube, manager: Manager, namespaces: tuple[str, ...], lookout: Lookout) -> None:
        self._kube = kube
        self._manager = manager
        self._lookout = lookout
        places: tuple[str | None, ...] = namespaces or (None,)
        watched: list[tuple[Resource, Pass]] = [
            (DEPLOYMENTS, manager.workload),
            (CHECKTEMPLATES, partial(manager.template, CHECKTEMPLATES.kind)),
        ]
        self._watches: list[tuple[Resource, str | None, Pass]] = [
            (resource, place, pass_on) for resource, pass_on in watched for place in places
        ]
        self._watches.append((CLUSTERCHECKTEMPLATES, None, partial(manager.template, CLUSTERCHECKTEMPLATES.kind)))
        self._waiting_for = {watch_name(resource, place) for resource, place, _ in self._watches}
        self._needed = {watch_name(DEPLOYMENTS, place) for place in places}
        self._shut: set[str | None] = set()
        self._places = places
        for resource, place, _ in self._watches:
            if resource is not DEPLOYMENTS:
                manager.awaits(resource.kind, place)
        self.synced = asyncio.Event()
        self._routes = RouteInformers(kube, manager, namespaces, lookout, manager.deps.clock, self._settled)

    @property
    def waiting_for(self) -> set[str]:
        """What is not listed yet."""
        return self._waiting_for | self._routes.waiting_for

    async def run(self) -> None:
        """Follow for ever.

        Raises:
            ConfigError: a resource is not installed, or the credentials do not allow to list it.

        """
        async with asyncio.TaskGroup() as group:
            for resource, place, pass_on in self._watches:
                group.create_task(self._one(resource, place, pass_on), name=f"follow {watch_name(resource, place)}")
            group.create_task(self._routes.run(group), name="follow which routes are served")

    def _settled(self) -> None:
        if not self._waiting_for & self._needed and not self._routes.needed:
            self.synced.set()

    async def _one(self, resource: Resource, place: str | None, pass_on: Pass) -> None:
        """A namespace that may not be listed is one team's trouble: it is said, left out, and tried again. If none may be, nobody is served."""
        while True:
            try:
                await self._follow(resource, place, pass_on)
            except Forbidden as error:
                self._shut.add(place)
                if place is None or self._shut.issuperset(self._places):
                    raise ConfigError(f"cannot watch {watch_name(resource, place)}: {error}") from error
                self._lookout.lost(watch_name(resource, place), place, 0, f"{error}; namespace {place} waits")
                self._arrived(resource, place)
                await self._manager.deps.clock.sleep(POLL)

    def _arrived(self, resource: Resource, place: str | None) -> None:
        self._waiting_for.discard(watch_name(resource, place))
        self._manager.arrived(resource.kind, place)
        self._settled()

    async def _follow(self, resource: Resource, place: str | None, pass_on: Pass) -> None:
        """Raises Forbidden; ConfigError: it is not installed, say."""
        try:
            # What a run moves by has to be seen at once; templates may come a little late.
            moving = resource is DEPLOYMENTS
            pace = self._lookout.pace(place) if moving else self._lookout.calm
            eyes = self._lookout.eyes(watch_name(resource, place), place, counts=moving)
            async for event in self._kube.list_and_watch(resource, place, pace=pace, eyes=eyes):
                if event.type == "SYNCED":
                    self._shut.discard(place)
                    self._arrived(resource, place)
                else:
                    pass_on(event.type, event.object)
        except Forbidden:
            raise
        except ApiError as error:
            raise ConfigError(f"cannot watch {watch_name(resource, place)}: {error}") from error
