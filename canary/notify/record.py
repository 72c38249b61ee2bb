"""What is on record as told: a part of the status of the Rollout itself, written with it. Pure.

Only what the status says now is kept, so the record does not grow: a run that is on record no more takes its entries along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from canary.model.status import MOST_TARGETS, NotifiedStatus, RolloutStatus
from canary.notify.occasions import current

Told = Mapping[str, Iterable[str]]
"""By target (NotificationTarget/NAME), the keys of what it was told."""


def was_told(status: RolloutStatus, target: str) -> frozenset[str]:
    """What a target was told, as far as that still holds."""
    return frozenset(event for said in status.notified if said.target == target for event in said.events)


def with_told(status: RolloutStatus, told: Told, there: Callable[[str], bool] = lambda _: True) -> RolloutStatus:
    """The status with this on record besides what is, and without what holds no more. The same object where nothing changes.

    Where there is no room for all, targets that are not `there` any more make room first.
    """
    now = current(status)
    targets = dict.fromkeys([*(said.target for said in status.notified), *told])
    entries = []
    for target in targets:
        events = dict.fromkeys([*(key for key in was_told(status, target) if key in now), *told.get(target, ())])
        kept = tuple(sorted(key for key in events if key in now))
        if kept:
            entries.append(NotifiedStatus(target=target, events=kept))
    if len(entries) > MOST_TARGETS:
        entries.sort(key=lambda entry: (entry.target not in told and not there(entry.target), entry.target))
    found = tuple(sorted(entries[:MOST_TARGETS], key=lambda entry: entry.target))
    return status if found == status.notified else status.model_copy(update={"notified": found})
