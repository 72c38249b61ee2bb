"""Whether a Rollout is, this moment, as a decision saw it. That is asked beside the ticks: no verdict waits for the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from canary.act.executor import World
from canary.act.reading import latest, same_say
from canary.errors import CanaryError
from canary.kube import Kube
from canary.observe.objects import Key, Route, slim
from canary.observe.store import Store
from canary.routes.key import RouteKey

Json = dict[str, Any]

PATIENCE = 5.0
"""Seconds until nobody can tell. Many ask at once where a process has slept; what ends a run for what was measured waits for none of that."""


class Rereading:
    """Of one Rollout. `wake` is called when there is an answer."""

    def __init__(self, key: Key, kube: Kube, store: Store, wake: Callable[[], None]) -> None:
        self._key, self._kube, self._store, self._wake = key, kube, store, wake
        self._task: asyncio.Task[Json | None] | None = None
        self._about: Mapping[RouteKey, Route] = {}
        self._since = 0.0

    def confirmed(self, seen: World) -> bool | None:
        """Whether the Rollout says what a decision saw; else what was read is kept, to decide anew. None: there is no answer yet.

        It is read after the routes were, of which that decision says something. True as well where nobody can tell, or what was read is no news.
        """
        task = self._task
        if task is None:
            self._since = time.monotonic()
            self._ask(seen)
            return None
        if self._about != seen.routes:
            task.cancel()
            self._ask(seen)
            return None
        if not task.done():
            return None
        self._task = None
        found = task.result()
        if found is None or same_say(slim(found), seen.rollout):
            return True
        before = self._store.rollouts.get(self._key)
        self._store.put_rollout(found, answer=True)
        return self._store.rollouts.get(self._key) is before

    def forget(self) -> None:
        """Nothing is in doubt any more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _ask(self, seen: World) -> None:
        self._about = dict(seen.routes)
        self._task = asyncio.create_task(self._read(), name=f"read {self._key[0]}/{self._key[1]} once more")
        self._task.add_done_callback(lambda task: None if task.cancelled() else self._wake())

    async def _read(self) -> Json | None:
        """The Rollout; None: nobody can tell."""
        try:
            async with asyncio.timeout(self._since + PATIENCE - time.monotonic()):
                return await latest(self._kube, self._key)
        except (CanaryError, TimeoutError):
            return None
