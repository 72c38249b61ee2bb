"""When a record is written anew for its time alone: what has passed since it was written is lost with this process.

Whoever takes a run over credits and charges nothing since then (docs/decisions/0078). So a hold of a day ends although a controller is killed every
hour, and a deadline strikes although one is killed every other minute: what each has seen pass is on record, but for the last bit.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from canary.model.status import RolloutStatus

MOST = timedelta(minutes=10)
"""How old a record may become while something is under way. Steps that are shorter have the writes that they have anyway."""

FIRST = timedelta(minutes=1)
"""The same after a run was taken over: where that happened once it may happen again. From then on it is twice as long each time."""


class Aging:
    """Of one Rollout: since when what is on record has not been written, and how long it may go on so."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._patience = MOST

    def next_due(self, now: datetime) -> datetime | None:
        """When it will be old enough; None: nothing is under way, or it is already (who writes it knows when that is tried again)."""
        due = self._due
        return due if due is not None and due > now else None

    def is_due(self, now: datetime) -> bool:
        """Whether it is old enough."""
        return self._due is not None and now >= self._due

    @property
    def _due(self) -> datetime | None:
        return self._since + self._patience if self._since is not None else None

    def taken_over(self, now: datetime) -> None:
        """What another controller has put on record counts from now on."""
        self._since, self._patience = now, FIRST

    def goes_on(self, now: datetime, *, counts: bool) -> None:
        """Something is under way whose time counts, or not."""
        self._since = (self._since or now) if counts else None

    def written(self, now: datetime) -> bool:
        """It is on record; returns whether that was due."""
        due, self._since = self.is_due(now), now
        self._patience = min(2 * self._patience, MOST)
        return due


def counts(status: RolloutStatus) -> bool:
    """Whether something is under way that ends when a time has passed: a run, or a canary that keeps its replicas for a while."""
    drains = [each.drained_since for each in status.former_canaries]
    drains += [status.scale.drained_since] if status.scale is not None else []
    return status.active or any(drains)
