"""Follows what stands around routes, as far as that may be read: Gateways, their classes, Services, grants, Namespaces, policies.

No run moves by these, so nothing here ends a controller or keeps it from beginning: of a kind that may not be read, or that a
cluster does not serve, a preflight says nothing.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial

from canary.controller.lookout import Fading, Lookout
from canary.controller.manager import Manager
from canary.controller.policies import Policies
from canary.controller.route_informers import watch_name
from canary.errors import ApiError, NotFound, NotServed
from canary.kube import (
    GATEWAYCLASSES,
    GATEWAYS,
    LISTENERSETS,
    NAMESPACES,
    REFERENCEGRANTS,
    SERVICES,
    Kube,
    Resource,
)
from canary.preflight.surroundings import POLICY

log = logging.getLogger("canary.survey")

SURVEYED = (GATEWAYS, LISTENERSETS, GATEWAYCLASSES, SERVICES, REFERENCEGRANTS, NAMESPACES)

PATIENCE = 10.0
"""Seconds that a start waits for these lists at most, and they for the runs under way."""
AGAIN = 300.0
"""Seconds after which a kind that could not be read is asked for again: somebody may have granted the right."""


class Named:
    """Says of each namespace that was named when it is not there, once each time, and when it is.

    It is watched all the same: a watch of a namespace needs none, and brings what comes with it. A name that is written wrong
    looks like one that nobody has made yet.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._there: set[str] = set()
        self._absent: set[str] = set()
        self._complete = False

    def anew(self) -> None:
        """All are listed again."""
        self._there.clear()
        self._complete = False

    def heard(self, name: str, *, gone: bool) -> None:
        """One is there, or not any more."""
        (self._there.discard if gone else self._there.add)(name)
        if self._complete:
            self._tell()

    def listed(self) -> None:
        """That was all of them."""
        self._complete = True
        self._tell()

    def _tell(self) -> None:
        absent = {name for name in self._names if name not in self._there}
        for name in sorted(absent - self._absent):
            words = "namespace %s of --namespaces does not exist; it is watched, and served as soon as it does"
            log.warning(words, name)
        for name in sorted(self._absent - absent):
            log.info("namespace %s of --namespaces exists now", name)
        self._absent = absent


class Survey:
    """The watches of what stands around routes, for one controller."""

    def __init__(
        self,
        kube: Kube,
        manager: Manager,
        namespaces: tuple[str, ...],
        lookout: Lookout,
        *,
        again: float = AGAIN,
        patience: float = PATIENCE,
    ) -> None:
        self._kube = kube
        self._manager = manager
        self._lookout = lookout
        self._again = again
        self._patience = patience
        places: tuple[str | None, ...] = namespaces or (None,)
        self._watches = [
            (resource, place) for resource in SURVEYED for place in (places if resource.namespaced else (None,))
        ]
        self._waiting: set[tuple[Resource, str | None] | str] = {*self._watches, POLICY}
        self._listed = asyncio.Event()
        self._named = Named(namespaces)
        self._policies = Policies(kube, manager, places, lookout, again=again, seen=partial(self._arrived, POLICY))

    async def listed(self) -> None:
        """Return when everything is listed that may be, and in any case when patience is over."""
        try:
            await asyncio.wait_for(self._listed.wait(), self._patience)
        except TimeoutError:
            left = ("policies" if isinstance(watch, str) else watch_name(*watch) for watch in self._waiting)
            names = ", ".join(sorted(left))
            log.warning("no list of %s yet; runs are judged without", names)

    async def run(self) -> None:
        """Follow for ever."""
        async with asyncio.TaskGroup() as group:
            for resource, place in self._watches:
                group.create_task(self._one(resource, place), name=f"survey {watch_name(resource, place)}")
            group.create_task(self._policies.run(), name="survey policies")

    async def _one(self, resource: Resource, place: str | None) -> None:
        said = ""
        while True:
            try:
                await self._follow(resource, place)
            except ApiError as error:
                self._manager.know(resource.kind, place, known=False)
                self._manager.forget(resource.kind, place)
                if str(error) != said:
                    said = str(error)
                    self._say(resource, place, error)
            self._arrived((resource, place))
            await asyncio.sleep(self._again)

    async def _follow(self, resource: Resource, place: str | None) -> None:
        name = watch_name(resource, place)
        know = partial(self._manager.know, resource.kind, place)
        eyes = Fading(self._lookout.eyes(name, counts=False), partial(know, known=False), partial(know, known=True))
        named = self._named if resource is NAMESPACES else None
        if named is not None:
            named.anew()
        async for event in self._kube.list_and_watch(resource, place, pace=self._lookout.calm, eyes=eyes):
            if event.type == "SYNCED":
                know(known=True)
                self._arrived((resource, place))
                if named is not None:
                    named.listed()
            else:
                if named is not None:
                    named.heard(event.object["metadata"]["name"], gone=event.type == "DELETED")
                self._manager.around(resource.kind, event.type, event.object)

    def _arrived(self, watch: tuple[Resource, str | None] | str) -> None:
        self._waiting.discard(watch)
        if not self._waiting:
            self._listed.set()

    @staticmethod
    def _say(resource: Resource, place: str | None, error: ApiError) -> None:
        name = watch_name(resource, place)
        if isinstance(error, NotServed | NotFound):
            log.info("this cluster serves no %s of %s", resource.plural, resource.api_version)
        else:
            log.warning("%s cannot be read, so nothing is said about them before a run: %s", name, error)
