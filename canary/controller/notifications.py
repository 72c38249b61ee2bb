"""Follows the targets of notifications, and sees to it that they are told.

Nothing of a run depends on any of this: where the kinds are not installed, or may not be read, that is said once, and
nobody is told.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.controller.route_informers import watch_name
from canary.errors import ApiError, NotFound, NotServed
from canary.kube import CLUSTERNOTIFICATIONTARGETS, NOTIFICATIONTARGETS, Kube, Resource, WatchEvent
from canary.later import Later
from canary.metrics.hosts import Hosts
from canary.metrics.secrets import Read, Secrets
from canary.notify.apprise import AppriseSender
from canary.notify.dispatcher import Dispatcher, Sender
from canary.notify.notices import Notices, Place, Ways
from canary.notify.secrets import TargetSecrets
from canary.notify.sender import AnySender, SendsHttp
from canary.notify.statuses import TargetStatuses
from canary.notify.targets import Target, key_of

log = logging.getLogger("canary.notify")

Json = dict[str, Any]

AGAIN = 300.0
"""Seconds after which what could not be read is asked for again: somebody may have granted the right, or installed the kinds."""

PATIENCE = 10.0
"""Seconds that the first look at what is on record waits for the lists of targets."""

LAST_RECORDS = 0.25
"""Seconds that an end waits for the last records. What rides along with the next write of a run is told again by who comes after us."""

STRETCH = 0.0005
"""Seconds of processor time after which somebody else has a turn, while Rollouts are looked through at the start."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What messages may use and where they may go: services of apprise, `hosts`, and the same as they are written."""

    services: tuple[str, ...]
    hosts: Hosts
    allowed: tuple[str, ...]


def sender(reach: Reach, read: Read, own: str, stack: AsyncExitStack) -> Sender:
    """The one for all ways. `read` reads Secrets; `own` is the namespace of the controller."""
    secrets, credentials = TargetSecrets(read, own), Secrets(read, own)
    http = Later(partial(_http, reach.hosts, credentials, secrets))
    found = AnySender(http, AppriseSender(secrets, reach.services, reach.allowed))
    stack.callback(credentials.close)
    stack.push_async_callback(found.close)
    return found


def _http(hosts: Hosts, credentials: Secrets, secrets: TargetSecrets) -> Callable[[], SendsHttp]:
    from canary.notify.http import HttpSender

    return partial(HttpSender, hosts, credentials, secrets)


class Notifications:
    """The targets of one controller, and the messages to them."""

    def __init__(
        self,
        kube: Kube,
        manager: Manager,
        namespaces: tuple[str, ...],
        send: Sender,
        lookout: Lookout | None = None,
        *,
        again: float = AGAIN,
        patience: float = PATIENCE,
    ) -> None:
        self._kube, self._manager, self._lookout = kube, manager, lookout
        self._again, self._patience = again, patience
        self._notices: Notices = manager.deps.notices
        deps = manager.deps
        places: tuple[str | None, ...] = namespaces or (None,)
        self._watches = [(NOTIFICATIONTARGETS, place) for place in places] + [(CLUSTERNOTIFICATIONTARGETS, None)]
        self._waiting = set(self._watches)
        self._listed = asyncio.Event()
        self._unlisted = set(self._watches)
        self._late: dict[Place, None] = {}
        self._more = asyncio.Event()
        self._statuses = TargetStatuses(kube, self._notices.targets, deps.clock.now)
        self._dispatcher = Dispatcher(send, self._notices.targets.counted, self._notices)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be delivered."""
        return not self._dispatcher.waiting

    async def run(self, begun: asyncio.Event) -> None:
        """Follow for ever; from `begun` on, when the work is ours, they are told. Cancelled, it delivers what it still can."""
        try:
            async with asyncio.TaskGroup() as group:
                for resource, place in self._watches:
                    group.create_task(self._follow(resource, place), name=f"follow {watch_name(resource, place)}")
                group.create_task(self._begin(begun), name="what is owed")
        except Exception:  # a bug of ours here is none of the runs' business, but somebody has to hear of it
            log.exception("nobody is notified any more, for a reason of ours; a restart of the controller helps")
        finally:
            await self._dispatcher.close()
            await self._recorded()
            self._notices.ways = None
            await self._statuses.close()

    async def _recorded(self) -> None:
        """Wait a moment for what was told last to be put on record: reconcilers are still at work."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_RECORDS):
                while self._notices.owing:  # noqa: ASYNC110 - at the end, for a moment, and nobody to set an event
                    await asyncio.sleep(0.01)

    async def _begin(self, begun: asyncio.Event) -> None:
        await begun.wait()
        try:
            await asyncio.wait_for(self._listed.wait(), self._patience)
        except TimeoutError:
            log.info("no list of targets of notifications yet")
        deps = self._manager.deps
        self._notices.begin(
            Ways(
                self._dispatcher,
                deps.recorder,
                self._statuses,
                deps.telemetry,
                self._manager.told,
                deps.clock.now,
                lambda: self._kube.server_time,
            )
        )
        self._late.clear()
        await self._look_at_all()
        await self._catch_up(None)
        while True:  # what is listed only now is owed as much
            await self._more.wait()
            self._more.clear()
            while self._late:
                place, _ = self._late.popitem()
                await self._catch_up(place)

    async def _look_at_all(self) -> None:
        """See to what targets asked for before the work was ours."""
        keys, since = self._notices.targets.keys(), time.thread_time()
        for key in keys:
            target = self._notices.targets.get(key)
            if target is not None:
                self._notices.look_at(target)
            if time.thread_time() - since > STRETCH:
                await asyncio.sleep(0)
                since = time.thread_time()

    async def _catch_up(self, place: Place | None) -> None:
        """Look through the Rollouts, for what a controller before us could not tell any more; of targets only those of a `place`, if any.

        Those that come from now on are looked at as they come (`Notices.seen`).
        """
        if not self._notices.targets:
            return
        deps, since = self._manager.deps, time.thread_time()
        namespace = place[1] if place is not None else None
        for key in [key for key in deps.store.rollouts if namespace in {None, key[0]}]:
            kept = deps.store.rollouts.get(key)
            if kept is not None:
                self._notices.catch_up(kept.document, place, at=deps.store.recorded_at(key))
            if time.thread_time() - since > STRETCH:
                await asyncio.sleep(0)
                since = time.thread_time()

    async def _follow(self, resource: Resource, place: str | None) -> None:
        said = ""
        while True:
            try:
                await self._watch(resource, place)
            except ApiError as error:
                if str(error) != said:
                    said = str(error)
                    self._say(resource, place, error)
            self._arrived(resource, place)
            await asyncio.sleep(self._again)

    async def _watch(self, resource: Resource, place: str | None) -> None:
        name = watch_name(resource, place)
        watched = partial(self._kube.list_and_watch, resource, place)
        if self._lookout is not None:
            watched = partial(watched, pace=self._lookout.calm, eyes=self._lookout.eyes(name, counts=False))
        async for event in watched():
            if event.type == "SYNCED":
                if (resource, place) in self._unlisted:
                    self._unlisted.discard((resource, place))
                    self._late[resource.kind, place] = None
                    self._more.set()
                self._arrived(resource, place)
            else:
                self._take_in(event)

    def _take_in(self, event: WatchEvent) -> None:
        key = key_of(event.object)
        try:
            if event.type == "DELETED":
                self._notices.gone(key)
                self._manager.deps.telemetry.forget_target(key)
            else:
                self._notices.target(Target.of(event.object))
        except Exception:  # a bug of ours with one target is none of the others' business
            log.exception("%s cannot be looked at", "/".join(key))

    def _arrived(self, resource: Resource, place: str | None) -> None:
        self._waiting.discard((resource, place))
        if not self._waiting:
            self._listed.set()

    @staticmethod
    def _say(resource: Resource, place: str | None, error: ApiError) -> None:
        name = watch_name(resource, place)
        if isinstance(error, NotServed | NotFound):
            log.info("this cluster serves no %s, so nobody is notified: `kubectl apply -f crds/`", resource.plural)
        else:
            log.warning("%s cannot be read, so nobody is notified by them: %s; grant list and watch", name, error)
