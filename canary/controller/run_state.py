"""What a reconciler has in mind of a run, and goes on from: its own last decision, or what another controller has put on record."""

from __future__ import annotations

import logging
from datetime import datetime

from canary.act.status import StatusWriter
from canary.controller.deps import Deps
from canary.controller.observation import taken_in
from canary.decide.recovery import adopt, still_counted
from canary.decide.timing import delayed, rebased
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.model.times import format_time
from canary.observe.objects import Key
from canary.observe.rollout import Rollout
from canary.observe.store import Store
from canary.routes.intent import parse_intent, run_annotation
from canary.routes.key import RouteKey

log = logging.getLogger("canary.reconciler")


class RunState:
    """Of one Rollout. `record` knows what is on record of it."""

    def __init__(self, key: Key, deps: Deps, record: StatusWriter) -> None:
        self._key = key
        self._deps = deps
        self._record = record
        self._epoch = deps.fence.epoch
        self._unseen = deps.sights.of(key[0]).total
        self.uid = ""
        """Of the Rollout that all of this is about."""
        self.status: RolloutStatus | None = None
        """None before the first tick."""
        self.spec: RolloutSpec | None = None
        """The last one that could be read."""
        self.fresh = True
        """Whether the status was taken over, and some route has named another turn ever since."""
        self.unread = False
        """Whether the process has slept since the Rollout was read: nothing is written before that was tried, once."""
        self.since: datetime | None = None
        """When it was taken over, or the process had slept; None: neither."""
        self.taken_over: RolloutStatus | None = None
        """The status that was taken over, until Jobs that nobody wants any more are removed by it."""

    def believed(self, rollout: Rollout) -> Rollout:
        """A Rollout with what can be believed of its status, where that is about to be taken in."""
        store, spec = self._deps.store, rollout.spec or self.spec
        if spec is None or (self.status is not None and store.rollouts[self._key].version == self._record.version):
            return rollout
        return taken_in(store, rollout, spec)

    def go_on(self, rollout: Rollout) -> RolloutStatus:
        """The state to go on from: what we have in mind, or what another has put on record meanwhile.

        What was recorded is by the clock of who recorded it. Time in which nothing could be seen counts against nobody.
        """
        deps, status = self._deps, self.status
        on_record = self._record.run == run_number(status)
        kept = deps.store.rollouts[self._key]
        another = kept.version != self._record.version and self._record.read(kept.document)
        now = deps.clock.now()
        if deps.fence.epoch != self._epoch:  # we slept: another may have been at work, and what was measured is old
            self._epoch, self.fresh, self.unread, self.since = deps.fence.epoch, True, True, now
        if status is None or another:
            taken = (
                rollout.status
                if status is None
                else adopt(status, rollout.status, another=self._another(rollout.status), on_record=on_record)
            )
            if taken is not status:
                if status is not None and taken.active:
                    log.info("%s/%s: going on from what another controller has put on record", *self._key)
                if not self._by_our_clock(taken):
                    taken = rebased(taken, now)
                if status is not None:
                    taken = still_counted(status, taken)
                self.fresh, self.since = True, now
                self.taken_over = taken
                self._record.start_over(active=taken.active)
            status = taken
        unseen = deps.sights.of(self._key[0]).total
        status, self._unseen = delayed(status, unseen - self._unseen), unseen
        self.status = status
        return status

    def _by_our_clock(self, taken: RolloutStatus) -> bool:
        """Whether this process has put a status on record, as of a Rollout that has rested since: what has passed is known."""
        at = taken.recorded_at
        return at is not None and self._deps.store.stamps.get(self._key) == format_time(at)

    def _another(self, recorded: RolloutStatus) -> bool:
        """Whether some route of the run names the turn of another controller."""
        turns = (_turn(self._deps.store, self._key, RouteKey.of(route, self._key[0])) for route in recorded.routes)
        return any(turn not in {"", self._deps.fence.turn, *self._deps.fence.over} for turn in turns)


def run_number(status: RolloutStatus | None) -> int:
    """Which run a status is about; 0: none."""
    return status.run.number if status is not None and status.run is not None else 0


def _turn(store: Store, key: Key, route: RouteKey) -> str:
    """Whose turn a route names for a Rollout; empty when it names none."""
    kept = store.routes.get(route)
    annotations = (kept.document.get("metadata", {}).get("annotations") or {}) if kept is not None else {}
    intent = parse_intent(annotations.get(run_annotation(key[1])))
    return intent.turn if intent is not None else ""
