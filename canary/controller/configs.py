"""Reads the ConfigMaps and Secrets that workloads name, for Rollouts that include them in revisions.

Each is read by its name, when it is first wanted and from then on now and then: to list or to watch Secrets is the right to read all
of them. How many are read a second is bounded for all Rollouts together, so with many of them a change is seen later and costs no
more. Only digests are kept.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from canary.controller.clock import Alarm
from canary.controller.manager import Manager
from canary.errors import ApiError, Forbidden, NotFound, Unavailable
from canary.fair import RoundRobin
from canary.kube import CONFIGMAPS, SECRETS, WORKLOADS, Kube, Resource
from canary.model.workloads import foreign, group_of
from canary.observe.configs import ABSENT, CONFIG_MAP, MOST, MOST_NAMES, SECRET, Content, Named, Parts, Reckoned
from canary.observe.workloads import WorkloadKey

log = logging.getLogger("canary.configs")

RESOURCES: dict[str, Resource] = {CONFIG_MAP: CONFIGMAPS, SECRET: SECRETS}

INTERVAL = timedelta(seconds=30)
"""From one reading of a workload's configs to the next, where there are few enough of them."""
SELDOM = timedelta(seconds=300)
"""The same where all of them are immutable: such an object changes by being replaced."""
AGAIN = timedelta(seconds=5)
"""The same where one could not be read for now."""
GOOD_FOR = timedelta(seconds=60)
"""For so long what was read last holds while the API server does not answer."""

AT_ONCE = 4
PAUSE = 0.2
"""Seconds that each of so many readers rests after a request: at most twenty requests a second."""
REST = 80
"""Times as long as it took to parse and to digest an object a reader rests at least: a megabyte of somebody's holds up nobody."""
SHARED = timedelta(seconds=10)
"""For so long one reading does for all workloads that name an object."""


@dataclass(frozen=True, slots=True)
class _Read:
    at: datetime
    found: Content | ApiError | None


class ConfigReader:
    """The reader of configs of one controller."""

    def __init__(self, kube: Kube, manager: Manager) -> None:
        self._kube = kube
        self._manager = manager
        self._store = manager.deps.store
        self._clock = manager.deps.clock
        self._first: RoundRobin[WorkloadKey] = RoundRobin()
        """Of these nothing is known: a Rollout waits."""
        self._next: RoundRobin[WorkloadKey] = RoundRobin()
        """These are read again."""
        self._queued: set[WorkloadKey] = set()
        self._due: list[tuple[datetime, WorkloadKey]] = []
        self._at: dict[WorkloadKey, datetime] = {}
        self._good: dict[WorkloadKey, datetime] = {}
        self._shared: OrderedDict[tuple[str, str, str], _Read] = OrderedDict()
        self._turn = False
        self._wake = asyncio.Event()
        self._store.configs.on_wanted = self._wanted
        for key in self._store.configs.wanted:
            self._wanted(key)

    async def run(self) -> None:
        """Read for ever what is wanted."""
        alarm, places = Alarm(self._clock, self._wake), asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await places.acquire()
                    while (key := self._pick()) is None:
                        self._wake.clear()
                        alarm.set(self._due[0][0] if self._due else None)
                        await self._wake.wait()
                    group.create_task(self._one(key, places), name=f"read configs of {key.namespace}/{key.name}")
        finally:
            alarm.cancel()

    def _wanted(self, key: WorkloadKey) -> None:
        if key not in self._queued:
            self._queued.add(key)
            self._first.put(key.namespace, key)
            self._wake.set()

    def _pick(self) -> WorkloadKey | None:
        """Whose configs are read now: the new and the old take turns, and so do namespaces."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            at, key = heapq.heappop(self._due)
            if self._at.get(key) == at and key not in self._queued:
                self._queued.add(key)
                self._next.put(key.namespace, key)
        self._turn = not self._turn
        for queue in (self._first, self._next) if self._turn else (self._next, self._first):
            while queue:
                key = queue.pop()
                self._queued.discard(key)
                if key in self._store.configs.wanted:
                    return key
                self._at.pop(key, None)
                self._good.pop(key, None)
        return None

    async def _one(self, key: WorkloadKey, places: asyncio.Semaphore) -> None:
        pause = AGAIN
        try:
            pause = await self._read(key)
        except ApiError as error:
            log.debug("configs of %s/%s: %s", key.namespace, key.name, error)
        except Exception:  # a bug of ours in one of them is none of the others' business
            log.exception("reading the configs of %s/%s failed", key.namespace, key.name)
        finally:
            at = self._at[key] = self._clock.now() + pause
            heapq.heappush(self._due, (at, key))
            self._wake.set()
            places.release()

    async def _read(self, key: WorkloadKey) -> timedelta:
        """Read everything that a workload names; after which time to do so again. Raises ApiError."""
        if key not in self._store.workloads:
            return INTERVAL  # when it comes, that is told
        parts = self._store.configs.parts.get(key) or await self._look_up(key)
        if parts is None:
            return INTERVAL
        if len(parts.named) > MOST:
            words = f"its pod spec names {len(parts.named)} ConfigMaps and Secrets, of which {MOST} can be included"
            self._manager.configs(key, Reckoned(parts.bare, unknown=words))
            return SELDOM
        contents: list[str] = []
        immutable = True
        for named in parts.named:
            found = await self._content(key.namespace, named)
            if isinstance(found, Content):
                contents.append(found.digest(named.keys))
                immutable = immutable and found.immutable
            elif isinstance(found, NotFound) and named.optional:
                contents.append(ABSENT)
                immutable = False
            else:
                return self._unknown(key, parts, named, found)
        self._good[key] = self._clock.now()
        self._manager.configs(key, Reckoned(parts.bare, parts.revision(contents)))
        return SELDOM if immutable else INTERVAL

    async def _look_up(self, key: WorkloadKey) -> Parts | None:
        """What a workload names that was there before anybody wanted to know: from a list, for which there is the right."""
        resource = WORKLOADS[key.kind] if not foreign(key.kind) else await self._resource(key.kind)
        if resource is None:
            return None
        items = (await self._kube.list(resource, key.namespace, field_selector=f"metadata.name={key.name}"))["items"]
        await self._clock.sleep(PAUSE)
        if not items or key not in self._store.configs.wanted:
            return None
        return self._store.configs.parts.setdefault(
            key, Parts.of(items[0], key.kind)
        )  # a watch may have told more meanwhile

    async def _resource(self, kind: str) -> Resource | None:
        name, group = group_of(kind)
        return await self._kube.resolve(group, name)

    async def _content(self, namespace: str, named: Named) -> Content | ApiError | None:
        """What is in an object, or why that cannot be said; None: it is too much."""
        place, now = (named.kind, namespace, named.name), self._clock.now()
        known = self._shared.get(place)
        if known is not None and now - known.at < SHARED:
            return known.found
        found: Content | ApiError | None
        spent = 0.0
        try:
            text = await self._kube.text(RESOURCES[named.kind], named.name, namespace)
            began = time.thread_time()
            found = Content.read(named.kind, text)
            spent = time.thread_time() - began
        except ApiError as error:
            found = error
        except ValueError:
            found = Unavailable(f"{named.kind} {named.name}: the API server answered something that is no JSON")
        self._shared.pop(place, None)
        self._shared[place] = _Read(now, found)
        while now - next(iter(self._shared.values())).at > SHARED:
            self._shared.popitem(last=False)
        await self._clock.sleep(max(PAUSE, REST * spent))
        return found

    def _unknown(self, key: WorkloadKey, parts: Parts, named: Named, error: ApiError | None) -> timedelta:
        """A config could not be read: nothing is concluded from that, and what was read last holds for a moment where it may."""
        what = f"{named.kind} {named.name}"
        if error is None:
            words = f"{what} has more than {MOST_NAMES} keys, with those that its managedFields repeat, and so much is not read"
        elif isinstance(error, NotFound):
            words = f"there is no {what}, without which its pods do not start; create it"
        elif isinstance(error, Forbidden):
            words = _right(named, key.namespace)
        else:
            before, good = self._store.configs.known(key), self._good.get(key)
            current = before is not None and before.bare == parts.bare
            if current and good is not None and self._clock.now() - good < GOOD_FOR:
                return AGAIN
            # Its words may be those of whoever stands between us and the API server.
            words = f"{what} cannot be read now ({type(error).__name__})"
        self._manager.configs(key, Reckoned(parts.bare, unknown=words))
        return INTERVAL if error is None or isinstance(error, Forbidden) else AGAIN


def _right(named: Named, namespace: str) -> str:
    plural = RESOURCES[named.kind].plural
    component, value = ("configs", "rbac.configs") if named.kind == CONFIG_MAP else ("secrets", "rbac.secrets")
    return (
        f"the controller may not read {named.kind} {named.name}: it lacks the right to `get` {plural} in namespace {namespace}; a "
        f"platform team gives it by the component {component} (Helm: {value}.namespaces), see docs/workloads.md"
    )
