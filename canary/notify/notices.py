"""From what is recorded of Rollouts to messages, and from messages that arrived to what is recorded.

What happened is read off the status that the API server has, so nothing is told that is not on record. Who was told goes on
record in the same status, with the next write of it that is due anyway where a run moves on, and by a write of its own where it waits or rests. Between
the two is the moment in which a controller may end: then its successor tells it once more, with the same id.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from canary.decide.actions import EmitEvent
from canary.model.status import RolloutStatus
from canary.model.times import parse_time
from canary.notify.notice import Notice, id_of
from canary.notify.occasions import Occasion, current, over
from canary.notify.outcome import Delivered, Outcome, Undelivered
from canary.notify.record import was_told, with_told
from canary.notify.targets import MOST_COUNTED, TOO_MANY_TARGETS, Target, TargetKey, Targets
from canary.observe.objects import recorded_at

log = logging.getLogger("canary.notify")

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name of a Rollout."""

FRESH = timedelta(minutes=15)
"""What is on record for no longer, and as told to nobody, is told by a controller that finds it. What is older is no news."""

SLACK = timedelta(minutes=1)
"""Clocks differ, and an API server stamps whole seconds: a target may be told of what happened a minute before it was there."""

REMEMBERED = 20_000
"""Messages that are remembered as taken care of in this process."""

Place = tuple[str, str | None]
"""A kind of targets, and a namespace (None: all)."""

FAILED = "NotificationFailed"


class Queue(Protocol):
    """Takes messages to be delivered."""

    def put(self, target: TargetKey, notice: Notice) -> None: ...


class Events(Protocol):
    """Tells people by Events on a Rollout."""

    def event(self, rollout: Json, action: EmitEvent, now: datetime) -> None: ...


class Statuses(Protocol):
    """Says in the status of targets what came of messages."""

    def said(self, target: Target, outcome: Outcome) -> None: ...

    def tested(self, target: Target, id_: str, outcome: Outcome) -> None: ...

    def counts_again(self, target: Target) -> None: ...


class Counts(Protocol):
    """Counts messages by target and result."""

    def notification(self, target: TargetKey, result: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Ways:
    """Where everything goes. `told` is called when a status owes a record of what was told.

    `now` gives the time of day, `server_now` the API server's, where that is known.
    """

    queue: Queue
    events: Events
    statuses: Statuses
    counts: Counts
    told: Callable[[Key], None]
    now: Callable[[], datetime]
    server_now: Callable[[], datetime | None] = lambda: None


@dataclass(slots=True)
class _Owed:
    uid: str
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    """By target, the ids of what arrived, by key: the same step may be paused again by the time that a message arrives."""


class Notices:
    """One for a controller. Without `ways` nothing is told, and nothing costs anything."""

    def __init__(self) -> None:
        self.targets = Targets()
        self.ways: Ways | None = None
        self._began: datetime | None = None
        self._began_there: datetime | None = None
        self._owed: dict[Key, _Owed] = {}
        self._taken: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def begin(self, ways: Ways) -> None:
        """From now on people are told. What is on record by now, and was told to nobody, is found by `catch_up` and `seen`."""
        self.ways, self._began, self._began_there = ways, ways.now(), ways.server_now()

    # -- what happened ------------------------------------------------------------------------------------------

    def recorded(self, before: Json, document: Json) -> None:
        """We have written the status of a Rollout: `document` is the answer, `before` the status that it replaced."""
        try:
            if (
                self.ways is not None and self.targets
            ):  # without ways nobody can be told yet: what is on record is found later
                self._tell(before, document)
        except Exception:  # a bug of ours here is none of the run's business
            log.exception("nobody could be told of %s", (document.get("metadata") or {}).get("name"))

    def _tell(self, before: Json, document: Json) -> None:
        targets = self.targets.of(document)
        if not targets:
            return
        status = RolloutStatus.load(document.get("status"))
        known = current(RolloutStatus.load(before))
        for key, occasion in current(status).items():
            if key not in known:
                self._offer(document, status, occasion, targets)

    def seen(self, document: Json, *, first: bool) -> None:
        """A watch has told what is news to us of a Rollout, for the `first` time or not: it may owe what a controller before us recorded.

        Whenever that comes: Rollouts may be listed after targets, and listed again. Who is still at work beside us tells it himself.
        """
        if self._began is None or self.ways is None or not self.targets:
            return
        recorded, at = _recorded(document), recorded_at(document)
        if recorded is None:
            return
        before = (
            at <= self._began_there if at is not None and self._began_there is not None else recorded <= self._began
        )
        if first or before:
            self.catch_up(document, at=at)

    def catch_up(
        self,
        document: Json,
        place: Place | None = None,
        *,
        at: datetime | None = None,
    ) -> None:
        """Tell of a Rollout what is fresh, and on record as told to nobody; of targets only those of a `place`, if any.

        `at` is when its status was written last by the API server's clock, where that is known.
        """
        if self.ways is None:
            return
        written = _recorded(document)
        if written is None:
            return
        server = self.ways.server_now()
        # Each age is by one clock: whoever wrote the status may have had another one than ours.
        age = abs(self.ways.now() - written) if at is None or server is None else max(server - at, timedelta(0))
        if age > FRESH:
            return  # whatever happens is recorded: nothing happened lately
        try:
            self._tell_what_is_owed(document, written, age, place)
        except Exception:  # a bug of ours with one of them is none of the others' business
            log.exception("nobody could be told of %s", (document.get("metadata") or {}).get("name"))

    def _tell_what_is_owed(self, document: Json, written: datetime, age: timedelta, place: Place | None) -> None:
        targets = [target for target in self.targets.of(document) if place is None or target.within(*place)]
        if not targets:
            return
        status = RolloutStatus.load(document.get("status"))
        for key, occasion in current(status).items():
            ago = age + max(written - occasion.at, timedelta(0))
            if ago <= FRESH:
                owing = [
                    target
                    for target in targets
                    if self._was_there(target, ago)
                    and key not in was_told(status, target.label)
                    and not self._delivered(document, target, occasion)
                ]
                self._offer(document, status, occasion, owing)

    def _delivered(self, document: Json, target: Target, occasion: Occasion) -> bool:
        """Whether a target was told of something that is about to go on record."""
        metadata = document.get("metadata") or {}
        owed = self._owed.get((str(metadata.get("namespace") or ""), str(metadata.get("name") or "")))
        if owed is None or owed.uid != metadata.get("uid"):
            return False
        return owed.told.get(target.label, {}).get(occasion.key) == id_of(owed.uid, occasion)

    def _was_there(self, target: Target, ago: timedelta) -> bool:
        """Whether a target existed so long ago. Each age is by one clock: when it was created by the API server's."""
        server = self.ways.server_now() if self.ways is not None else None
        return target.created is None or server is None or server - target.created + SLACK >= ago

    def _offer(self, document: Json, status: RolloutStatus, occasion: Occasion, targets: Iterable[Target]) -> None:
        if self.ways is None:
            return
        notice: Notice | None = None
        for target in targets:
            if target.spec is None or occasion.kind not in target.spec.wanted:
                continue
            if notice is None:
                past = occasion.run is not None and occasion.run is status.previous_run
                about = over(occasion.run) if past and occasion.run is not None else status
                notice = Notice.of(document.get("metadata") or {}, about, occasion)
            if self._take(notice.id, target):
                self.ways.queue.put(target.key, notice)

    def _take(self, id_: str, target: Target) -> bool:
        """Whether a message is not taken care of yet."""
        taken = (id_, target.label, target.uid)
        if taken in self._taken:
            return False
        self._taken[taken] = None
        if len(self._taken) > REMEMBERED:
            self._taken.popitem(last=False)
        return True

    # -- targets ------------------------------------------------------------------------------------------------

    def target(self, target: Target) -> None:
        """A target appeared, or changed."""
        pushed_out = self.targets.put(target)
        self.look_at(target)
        if pushed_out is not None:
            self.look_at(pushed_out)

    def gone(self, key: TargetKey) -> None:
        """A target is no more; another one may count instead."""
        let_in = self.targets.drop(key)
        if let_in is not None:
            self.look_at(let_in)

    def look_at(self, target: Target) -> None:
        """See to what a target itself asks for: a test, or that somebody says what is wrong with it."""
        if self.ways is None:
            return
        useless = self._useless(target)
        if useless is not None:
            self.ways.statuses.said(target, useless)
        elif target.delivered is not None and target.delivered.reason == TOO_MANY_TARGETS:
            self.ways.statuses.counts_again(target)
        if target.test and self._take(f"test-{target.test}", target):
            if useless is not None:
                self.ways.statuses.tested(target, target.test, useless)
                return
            notice = Notice.test(target.label, target.namespace, target.uid, target.test, self.ways.now())
            self.ways.queue.put(target.key, notice)

    def _useless(self, target: Target) -> Undelivered | None:
        """Why a target is told nothing at all; None: it is."""
        if not self.targets.counts(target.key):
            where = "in the cluster" if target.platform else "in this namespace"
            return Undelivered(
                TOO_MANY_TARGETS,
                f"only the first {MOST_COUNTED} of its kind {where}, by name, are told; delete some, or choose by selector in fewer",
            )
        return Undelivered("InvalidSpec", target.problem) if target.spec is None else None

    # -- what came of it ----------------------------------------------------------------------------------------

    def attempted(self, target: Target, notice: Notice, outcome: Outcome, *, final: bool) -> None:
        """An attempt is over; `final`: there will be no other."""
        ways = self.ways
        if ways is None:
            return
        if self.targets.counts(target.key):
            ways.statuses.said(target, outcome)
        if not final:
            return
        delivered = isinstance(outcome, Delivered)
        ways.counts.notification(target.key, "delivered" if delivered else "failed")
        if not notice.key:
            ways.statuses.tested(target, notice.id, outcome)
        elif delivered:
            self._owe(target, notice)
        else:
            self._complain(target.label, target.platform, notice, outcome)

    def dropped(self, target: TargetKey, notice: Notice) -> None:
        """There was no room for a message any more."""
        if self.ways is None:
            return
        self.ways.counts.notification(target, "dropped")
        known = self.targets.get(target)
        if known is not None and notice.key:
            why = Undelivered("TooMany", "too many messages wait for it")
            self._complain(known.label, known.platform, notice, why)

    def _complain(self, label: str, platform: bool, notice: Notice, outcome: Outcome) -> None:
        # Where the platform's messages go is none of a team's business.
        why = outcome.reason if platform else outcome.message
        words = f"{label} was not told of {notice.kind}: {why}"
        rollout = {"metadata": {"name": notice.name, "namespace": notice.namespace, "uid": notice.uid}}
        if self.ways is not None:
            self.ways.events.event(rollout, EmitEvent("Warning", FAILED, words[:1024]), self.ways.now())

    def _owe(self, target: Target, notice: Notice) -> None:
        key = (notice.namespace, notice.name)
        owed = self._owed.get(key)
        if owed is None or owed.uid != notice.uid:
            owed = self._owed[key] = _Owed(notice.uid)
        owed.told.setdefault(target.label, {})[notice.key] = notice.id
        if self.ways is not None:
            self.ways.told(key)

    # -- what goes on record ------------------------------------------------------------------------------------

    @property
    def owing(self) -> bool:
        """Whether some status lacks something that was told."""
        return bool(self._owed)

    def owes(self, key: Key) -> bool:
        """Whether the status of a Rollout lacks something that was told."""
        return key in self._owed

    def acknowledged(self, key: Key, uid: str, status: RolloutStatus, recorded: RolloutStatus) -> RolloutStatus:
        """A status in mind with what was told; `recorded` is what is on record: what is there is owed no more."""
        owed = self._owed.get(key)
        if owed is None:
            return with_told(status, {}, self._there) if status.notified else status
        if owed.uid != uid:
            self.forget(key)
            return status
        now = current(status)
        left = {
            label: {
                event: id_
                for event, id_ in events.items()
                if event in now and id_ == id_of(uid, now[event]) and event not in was_told(recorded, label)
            }
            for label, events in owed.told.items()
        }
        owed.told = {label: events for label, events in left.items() if events}
        if not owed.told:
            self.forget(key)
        return with_told(status, owed.told, self._there)

    def _there(self, label: str) -> bool:
        """Whether there is a target of this kind and name, in whatever namespace."""
        return label in self.targets.labels

    def forget(self, key: Key) -> None:
        """A Rollout is gone, or owes nothing any more."""
        self._owed.pop(key, None)


def _recorded(document: Json) -> datetime | None:
    """When the status of a Rollout was written last, by the clock of who wrote it; None: never, or nobody can tell."""
    try:
        return parse_time((document.get("status") or {}).get("recordedAt"))
    except (AttributeError, TypeError, ValueError):
        return None
