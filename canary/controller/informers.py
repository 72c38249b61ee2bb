"""Follows what Rollouts refer to: routes, workloads, check templates. Everything is listed before the first is judged.

These are watched directly rather than through kopf: kopf keeps a worker and a memory for every object, and holding back
its handlers until everything is listed (`kopf.index`) takes time that grows with the square of their number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.errors import ApiError, ConfigError
from canary.kube import CHECKTEMPLATES, CLUSTERCHECKTEMPLATES, DEPLOYMENTS, ROUTES, Kube, Resource
from canary.model.rollout import RouteKind

Json = dict[str, Any]
Pass = Callable[[str | None, Json], None]


class Informers:
    """The watches of a controller. `waiting_for` names the resources that are not listed yet."""

    def __init__(self, kube: Kube, manager: Manager, namespaces: tuple[str, ...], lookout: Lookout) -> None:
        self._kube = kube
        self._lookout = lookout
        places: tuple[str | None, ...] = namespaces or (None,)
        watched: list[tuple[Resource, Pass]] = [
            *((ROUTES[kind], manager.route) for kind in RouteKind),
            (DEPLOYMENTS, manager.workload),
            (CHECKTEMPLATES, partial(manager.template, CHECKTEMPLATES.kind)),
        ]
        self._watches: list[tuple[Resource, str | None, Pass]] = [
            (resource, place, pass_on) for resource, pass_on in watched for place in places
        ]
        self._watches.append((CLUSTERCHECKTEMPLATES, None, partial(manager.template, CLUSTERCHECKTEMPLATES.kind)))
        self.waiting_for = {watch_name(resource, place) for resource, place, _ in self._watches}
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow for ever.

        Raises:
            ConfigError: a resource is not installed, or the credentials do not allow to list it.

        """
        async with asyncio.TaskGroup() as group:
            for resource, place, pass_on in self._watches:
                group.create_task(self._one(resource, place, pass_on), name=f"follow {watch_name(resource, place)}")

    async def _one(self, resource: Resource, place: str | None, pass_on: Pass) -> None:
        try:
            # What a run moves by has to be seen at once; templates may come a little late.
            moving = resource is DEPLOYMENTS or resource.kind in ROUTES
            pace = self._lookout.pace(place) if moving else self._lookout.calm
            eyes = self._lookout.eyes(watch_name(resource, place), counts=moving)
            async for event in self._kube.list_and_watch(resource, place, pace=pace, eyes=eyes):
                if event.type == "SYNCED":
                    self.waiting_for.discard(watch_name(resource, place))
                    if not self.waiting_for:
                        self.synced.set()
                else:
                    pass_on(event.type, event.object)
        except ApiError as error:
            raise ConfigError(f"cannot watch {watch_name(resource, place)}: {error}") from error


def watch_name(resource: Resource, place: str | None) -> str:
    """What people know a watch as."""
    return f"{resource.plural} of {place}" if place else resource.plural
