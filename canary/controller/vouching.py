"""Whether an admission policy sees to it that requests are by whom they say: that is tried, and nothing is kept of it.

Who may read policies could look whether there is one, and would have to know that it is bound to this namespace, matches, and is in
force. That the API server refuses a lie about this very Rollout says all of that, and takes no right that we do not have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from canary.controller.clock import Clock
from canary.errors import ApiError, Forbidden, NotServed, Refused, Unprocessable
from canary.fair import FairLimit
from canary.json_patch import add, pointer
from canary.kube import ROLLOUTS, Kube
from canary.kube.who import ourselves
from canary.model.requests import APPROVES, APPROVING, AS_ANNOTATION, REQUEST_ANNOTATION, claim
from canary.observe.objects import Key
from canary.observe.rollout import Rollout

log = logging.getLogger("canary.reconciler")

AT_ONCE = 8
"""Rollouts of which it is tried at a time: few, since writes of routes share the connections, and admission may be slow (`canary.fair`)."""

TRY_AGAIN = 5.0
"""Seconds until it is tried again whether requests are checked, where the API server did not say."""

NOBODY = "canary.dev:nobody"
"""A user that is none."""
_LIE = f"{APPROVES}: a lie, to see whether it is refused"
_ANNOTATIONS = pointer("metadata", "annotations")


_TRUTH = f"{_LIE}, and this is none".ljust(len(_LIE) + len(NOBODY))
"""No shorter than the lie, nor is its claim, whoever we are: so no bound of annotations refuses the lie alone."""


async def vouched(kube: Kube, namespace: str, name: str) -> bool:
    """Whether a request is refused to us that claims to be by NOBODY, and neither one that claims nothing nor one that claims the truth.

    A policy that keeps us from saying who we are at all refuses the lie as well, and looks at nobody's word. Raises ApiError: nobody
    can tell.
    """
    await _tried(kube, namespace, name, {REQUEST_ANNOTATION: _LIE})
    try:
        us = await ourselves(kube)
    except NotServed:
        return False  # a server of before 1.28, and policies came with 1.30
    for user, raw, refused in ((us.user, _TRUTH, False), (NOBODY, _LIE, True)):
        try:
            await _tried(kube, namespace, name, {REQUEST_ANNOTATION: raw, AS_ANNOTATION: claim(user, (), raw)})
        except (Unprocessable, Forbidden, Refused):
            if not refused:
                return False
        else:
            if refused:
                return False
    return True


async def vouched_if_known(kube: Kube, limit: FairLimit, namespace: str, name: str) -> bool | None:
    """The same, when it is the Rollout's turn; None: nobody can tell now."""
    try:
        async with limit.held((namespace, name)):
            return await vouched(kube, namespace, name)
    except ApiError:
        return None


async def _tried(kube: Kube, namespace: str, name: str, annotations: dict[str, str]) -> None:
    """What would be kept of these annotations, in place of all that there are: nothing of it is."""
    await kube.json_patch(ROLLOUTS, name, namespace, [add(_ANNOTATIONS, annotations)], dry_run=True)


class Vouching:
    """Of the requests of one Rollout, one after the other. `wake` is called when it is known of the present one."""

    def __init__(self, key: Key, kube: Kube, limit: FairLimit, clock: Clock, wake: Callable[[], None]) -> None:
        self._key, self._kube, self._limit, self._clock, self._wake = key, kube, limit, clock, wake
        self._trying: tuple[str, asyncio.Task[None]] | None = None
        self.known: bool | None = None
        """Whether the word of the present request on who asks can be taken; None: that is not known yet."""

    def sync(self, rollout: Rollout) -> None:
        """Try, for each request that may approve something, whether its word on who asks can be taken."""
        raw = rollout.request.raw if rollout.request is not None and rollout.request.known in APPROVING else ""
        if raw == (self._trying[0] if self._trying is not None else ""):
            return
        if self._trying is not None:
            self._trying[1].cancel()
        self.known, self._trying = None, None
        if raw:
            self._trying = raw, asyncio.create_task(self._try(), name="try whether requests are checked")

    async def _try(self) -> None:
        while (found := await vouched_if_known(self._kube, self._limit, *self._key)) is None:
            log.warning("%s/%s: nobody can tell whether it is checked who asks, so an approval waits", *self._key)
            await self._clock.sleep(TRY_AGAIN)
        self.known = found
        self._wake()

    def stop(self) -> None:
        """Try nothing any more."""
        if self._trying is not None:
            self._trying[1].cancel()
