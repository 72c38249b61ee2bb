"""Follows routes of every kind that the cluster serves, and which kinds that are: definitions come, go and change versions.

What is served is asked by discovery, which every client may do: at the start, after a definition has changed, when a watch
breaks, and from time to time where definitions may not be watched. A kind that is not served is nobody's trouble until a
Rollout names it, and then that Rollout's (`Kinds`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from canary.controller.clock import Alarm, Clock
from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.errors import ApiError, ConfigError, NotFound, NotServed
from canary.kube import CRDS, HTTPROUTES, ROUTES, Kube, Resource
from canary.model.rollout import RouteKind
from canary.observe.kinds import not_served
from canary.routes.key import RouteKey

log = logging.getLogger("canary.watching")

POLL = 30.0
"""Seconds between two looks at what is served where nobody tells us of changes, and until what may not be listed is tried again."""
SOON, LATE = 0.5, 10.0
"""Seconds until it is looked again after something has changed, doubled each time up to the second: discovery follows a
definition by a moment, and a kind counts as gone only when it is said for a while."""
GONE = timedelta(seconds=2)
"""For so long a kind has to be missing from what is served when its definition is said to be deleted."""
UNSAID = timedelta(seconds=60)
"""The same where nobody says so. An API server that starts may not know its definitions for a while: then nothing is gone, and
what cannot be seen meanwhile counts against no run."""


class RouteInformers:
    """The watches of routes. `waiting_for` names what is not listed yet; `on_synced` is called when something less is.

    `namespaces` empty: all of them are watched together.
    """

    def __init__(
        self,
        kube: Kube,
        manager: Manager,
        namespaces: tuple[str, ...],
        lookout: Lookout,
        clock: Clock,
        on_synced: Callable[[], None],
    ) -> None:
        self._kube = kube
        self._manager = manager
        self._store = manager.deps.store
        self._places: tuple[str | None, ...] = namespaces or (None,)
        self._lookout = lookout
        self._clock = clock
        self._on_synced = on_synced
        self.waiting_for = {"routes"}
        self._all = {"routes", *(watch_name(HTTPROUTES, place) for place in self._places)}
        self._followed: dict[RouteKind, Resource] = {}
        self._watches: dict[RouteKind, list[asyncio.Task[None]]] = {}
        self._missing: dict[RouteKind, datetime] = {}
        self._deleted: set[RouteKind] = set()
        self._told: set[RouteKind] = set()
        self._look = asyncio.Event()
        self._pause: float | None = None

    @property
    def needed(self) -> set[str]:
        """What of `waiting_for` everybody waits for: for kinds other than HTTPRoute only those do who name one."""
        return self.waiting_for & self._all

    async def run(self, group: asyncio.TaskGroup) -> None:
        """Follow for ever, with a task of the group for each watch.

        Raises:
            ConfigError: the credentials do not allow to list HTTPRoutes.

        """
        alarm = Alarm(self._clock, self._look)
        try:
            for kind in RouteKind:
                group.create_task(self._definition(kind), name=f"follow the definition of {kind}")
            while True:
                self._look.clear()
                await self._see(group)
                alarm.set(self._next())
                await self._look.wait()
        finally:
            alarm.cancel()

    def disturbed(self, *, anew: bool = False) -> None:
        """Something may be served otherwise: look now, and again for a while. `anew`: though it is looked already."""
        if self._pause is None or anew:
            self._pause = SOON
            self._look.set()

    def _next(self) -> datetime | None:
        """When to look again: soon after a disturbance, else only where nobody would tell us."""
        if self._pause is not None:
            pause, self._pause = self._pause, self._pause * 2 if self._pause < LATE else None
            return self._clock.now() + timedelta(seconds=pause)
        return None if len(self._told) == len(RouteKind) else self._clock.now() + timedelta(seconds=POLL)

    # -- which kinds are served

    async def _definition(self, kind: RouteKind) -> None:
        """Be told when a definition comes, goes or changes, where that may be known."""
        name = ROUTES[kind].definition
        eyes = self._lookout.eyes(f"the definition {name}", counts=False)
        try:
            async for event in self._kube.list_and_watch(CRDS, name=name, pace=self._lookout.calm, eyes=eyes):
                if event.type == "SYNCED":
                    self._told.add(kind)
                    self._look.set()  # what has changed before is not told
                    continue
                (self._deleted.add if event.type == "DELETED" else self._deleted.discard)(kind)
                if kind in self._told:
                    self.disturbed(anew=True)
        except ApiError as error:
            log.debug("definitions cannot be watched, so what is served is asked every %d s: %s", POLL, error)

    async def _see(self, group: asyncio.TaskGroup) -> None:
        """Ask what is served, and follow that."""
        try:
            found = await self._kube.discover(HTTPROUTES.group)
        except ApiError as error:
            log.debug("cannot ask what is served: %s", error)
            self._pause = self._pause or SOON
            return
        for kind in RouteKind:
            resource = found.get(kind)
            if resource is not None:
                if self._missing.pop(kind, None) is not None:
                    self._sighted(kind)
                if resource != self._followed.get(kind):
                    self._follow(kind, resource, group)
            elif kind in self._followed:
                since = self._missing.setdefault(kind, self._clock.now())
                if self._clock.now() - since >= (GONE if kind in self._deleted else UNSAID):
                    self._stop(kind)
                else:
                    self._pause = min(self._pause or SOON, GONE.total_seconds())
                    self._out_of_sight(kind)
            else:
                self._unseen(kind, None, not_served(kind))
        self._arrived("routes")

    def _follow(self, kind: RouteKind, resource: Resource, group: asyncio.TaskGroup) -> None:
        """Watch a kind from now on, in this version."""
        before = self._followed.get(kind)
        self._followed[kind] = resource
        self._store.kinds.served(resource)
        for watch in self._watches.get(kind, ()):
            watch.cancel()
        if before is not None:
            log.info("%s is served as %s now (it was %s)", kind, resource.version, before.version)
            self._store.reread(kind)
            for place in self._places:
                if self._store.references.names(kind, place):
                    self._lookout.sights.lost(
                        watch_name(resource, place), place
                    )  # until it is listed in its new version
        elif "routes" in self.waiting_for:
            self.waiting_for |= {watch_name(resource, place) for place in self._places}
            for place in self._places:
                self._manager.awaits(kind, place)
        else:
            log.info("%s is served now, as %s", kind, resource.version)
            for place in self._places:
                self._store.kinds.unseen(kind, place, not_served(kind))  # until it is listed there
            if None not in self._places:
                self._store.kinds.seen(kind, None)
        self._watches[kind] = [
            group.create_task(self._watch(kind, resource, place), name=f"follow {watch_name(resource, place)}")
            for place in self._places
        ]

    def _out_of_sight(self, kind: RouteKind) -> None:
        for place in self._places:
            if self._store.references.names(kind, place):
                self._lookout.lost(watch_name(self._followed[kind], place), place, 0, f"it serves no {kind} for now")

    def _sighted(self, kind: RouteKind) -> None:
        if kind in self._followed:
            for place in self._places:
                self._lookout.found(watch_name(self._followed[kind], place))

    def _stop(self, kind: RouteKind) -> None:
        """A kind is served no more, so nobody has routes of it."""
        resource = self._followed.pop(kind)
        del self._missing[kind]
        for watch in self._watches.pop(kind):
            watch.cancel()
        log.info("%s is not served any more", kind)
        self._unseen(kind, None, not_served(kind))
        for place in self._places:
            self._vanished(kind, place, set())
            self._lookout.found(watch_name(resource, place))
            self._arrived(watch_name(resource, place), kind, place)

    # -- the routes of one kind

    async def _watch(self, kind: RouteKind, resource: Resource, place: str | None) -> None:
        """Follow the routes of a kind in a namespace (None: in all) until the kind is followed otherwise."""
        while True:
            pause = POLL
            try:
                await self._pass_on(kind, resource, place)
            except (NotFound, NotServed):
                pause = SOON
                self.disturbed()  # not served any more since we asked
            except ApiError as error:
                if kind is RouteKind.HTTP and self.waiting_for and len(self._places) == 1:
                    raise ConfigError(f"cannot watch {watch_name(resource, place)}: {error}") from error
                rights = f"allow it to get, list, watch and patch {resource.definition}"
                self._unseen(kind, place, f"the controller may not see any {kind} here: {error}; {rights}")
                self._lookout.found(watch_name(resource, place))
                self._arrived(watch_name(resource, place), kind, place)
            await self._clock.sleep(pause)

    async def _pass_on(self, kind: RouteKind, resource: Resource, place: str | None) -> None:
        listed: set[RouteKey] = set()
        synced = False
        name, needed = watch_name(resource, place), partial(self._store.references.names, kind, place)
        eyes = _Eyes(self._lookout, name, place, needed, self.disturbed)
        pace = self._lookout.pace_of(name, place, needed)
        async for event in self._kube.list_and_watch(resource, place, pace=pace, eyes=eyes):
            if event.type != "SYNCED":
                try:
                    if not synced:
                        listed.add(RouteKey.read(event.object))
                    self._manager.route(event.type, event.object)
                except Exception:  # of one object not even the name can be read: the others are none of its business
                    log.exception("one of the %s cannot be taken in", name)
                continue
            synced = True
            self._vanished(kind, place, listed)
            listed.clear()
            self._seen(kind, place)
            self._arrived(watch_name(resource, place), kind, place)

    def _vanished(self, kind: RouteKind, place: str | None, listed: set[RouteKey]) -> None:
        """What is known of a kind and is not in a whole list of it is gone: an earlier watch has not told us."""
        known = [key for key in self._store.routes if key.kind is kind and place in {None, key.namespace}]
        for key in known:
            if key not in listed:
                metadata = {"namespace": key.namespace, "name": key.name, "uid": self._store.routes[key].uid}
                self._manager.route("DELETED", {"kind": kind.value, "metadata": metadata})

    def _seen(self, kind: RouteKind, place: str | None) -> None:
        if self._store.kinds.seen(kind, place):
            self._manager.wake(self._store.references.users(kind, place))

    def _unseen(self, kind: RouteKind, place: str | None, why: str) -> None:
        if self._store.kinds.unseen(kind, place, why):
            self._manager.wake(self._store.references.users(kind, place))

    def _arrived(self, name: str, kind: RouteKind | None = None, place: str | None = None) -> None:
        self.waiting_for.discard(name)
        if kind is not None:
            self._manager.arrived(kind, place)
        self._on_synced()


class _Eyes:
    """Says what one watch of routes sees to the lookout, as far as some Rollout names routes of its kind."""

    def __init__(
        self, lookout: Lookout, name: str, place: str | None, needed: Callable[[], bool], on_lost: Callable[[], None]
    ) -> None:
        self._lookout = lookout
        self._name = name
        self._place = place
        self._needed = needed
        self._on_lost = on_lost

    def lost(self, seconds: float, why: str) -> None:
        if self._needed():
            self._lookout.lost(self._name, self._place, seconds, why)
        self._on_lost()

    def suspect(self) -> None:
        self._lookout.suspect()

    def found(self) -> None:
        self._lookout.found(self._name)


def watch_name(resource: Resource, place: str | None) -> str:
    """What people know a watch as."""
    return f"{resource.plural} of {place}" if place else resource.plural
