"""What a refused write leads to: read again, and see whether somebody else was there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from canary.errors import ApiError, NotFound
from canary.kube import ROLLOUTS, Kube
from canary.observe.objects import Key, request_of, slim, uid_of, version
from canary.observe.store import Store
from canary.routes.key import RouteKey

Json = dict[str, Any]


async def moved(
    error: ApiError,
    seen: Json,
    again: Callable[[], Awaitable[Json]],
    keep: Callable[[Json], object],
    gone: Callable[[], object] = lambda: None,
) -> bool:
    """Read again after a refusal. If nothing had moved, the refusal was about the content, and stands.

    Only who reads an object and finds none knows that it is `gone`: a policy may answer a write with any code, 404 among them.
    """
    try:
        fresh = await again()
    except NotFound:
        gone()
        return False
    if version(fresh) == version(seen):
        raise error
    keep(fresh)
    return False


async def still_so(kube: Kube, store: Store, key: Key, rollout: Json) -> bool:
    """Whether a Rollout is, this very moment, as a decision saw it; else what is there is kept, to decide anew.

    Asked before an object that does not name our turn is changed in favour of the canary. The object was read before, and
    its patch tests what was read: so whoever ended the run in between has either changed the object, or put the outcome on
    record before this question.
    """
    try:
        fresh = await latest(kube, key)
    except NotFound:
        return False
    if same_say(slim(fresh), rollout):
        return True
    store.put_rollout(fresh, answer=True)
    return False


async def latest(kube: Kube, key: Key) -> Json:
    """A Rollout as it is this moment. Raises ApiError: it is gone, or nobody can tell."""
    return await kube.get(ROLLOUTS, key[1], key[0])


FRESH = timedelta(seconds=10)
"""For so long the answer to our own write stands for that question: a thousand runs that begin at once take turns meanwhile. Whoever
ends a run changes the route, however long ago the answer is; this is for a Rollout that somebody made vanish by force."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The answer to a write of the status, which is refused if anybody has written the Rollout since it was read.

    So it is the answer to `still_so` as well, as of when it was sent, for routes that were read before: `versions` has them, and
    `version` is that of the Rollout in the answer.
    """

    sent: datetime
    version: str
    versions: Mapping[RouteKey, str]

    def holds(self, route: RouteKey, document: Json, rollout: Json, now: datetime) -> bool:
        """Whether the route and the Rollout are, as a decision saw them, those of this answer, which is fresh."""
        return (
            now - self.sent < FRESH
            and self.versions.get(route) == version(document)
            and self.version == version(rollout)
        )


def same_say(one: Json, other: Json) -> bool:
    """Whether two readings of a Rollout say the same of its run: nobody has decided anything in between."""
    return _say(one) == _say(other)


def _say(rollout: Json) -> tuple[object, ...]:
    metadata = rollout.get("metadata", {})
    return (
        uid_of(rollout),
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        request_of(rollout),
        rollout.get("status"),
    )
