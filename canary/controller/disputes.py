"""Two controllers that do not read a spec alike, such as two versions without a Lease: the one that cannot read it gives way in its words.

Whoever can read it says what holds, each time. That it cannot be read is true here, too, and is said at once; but where somebody who can
has replaced that, it is said again ever more rarely. What is decided of a run (its outcome, its step, an answer) waits for none of this.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from canary.decide.reasons import INVALID
from canary.model.status import RolloutStatus

FIRST = timedelta(minutes=1)
LONGEST = timedelta(hours=1)
"""Pauses between two times that a status is replaced that somebody else has written who can read the spec."""


class Disputes:
    """How often this controller has said of a generation of a Rollout that it cannot be read, against somebody else's word."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, int, datetime]] = {}

    def until(self, uid: str, generation: int, now: datetime) -> datetime | None:
        """When it may be said again; None: now."""
        known, count, at = self._said.get(uid, (generation, 0, now))
        if known != generation or not count:
            return None
        over = at + min(FIRST * 2 ** min(count - 1, 16), LONGEST)
        return over if now < over else None

    def said(self, uid: str, generation: int, now: datetime) -> None:
        """It is said now."""
        known, count, _ = self._said.get(uid, (generation, 0, now))
        self._said[uid] = (generation, count + 1 if known == generation else 1, now)

    def forget(self, uid: str) -> None:
        """There is no such Rollout any more."""
        self._said.pop(uid, None)


def disputed(recorded: RolloutStatus, generation: int) -> bool:
    """Whether somebody has put on record of this very generation that it can be read."""
    stalled = next((said for said in recorded.conditions if said.type == "Stalled"), None)
    return (
        stalled is not None
        and (stalled.status, stalled.reason) != ("True", INVALID)
        and recorded.observed_generation == stalled.observed_generation == generation
    )


def words_only(recorded: RolloutStatus, status: RolloutStatus) -> bool:
    """Whether a status says nothing of a run that is not on record."""

    def decided(said: RolloutStatus) -> object:
        run, step, request = said.run, said.step, said.last_request
        return (
            (run.number, run.outcome) if run is not None else None,
            step.index if step is not None and said.active else None,
            request.which if request is not None else None,
            said.active and said.phase,
        )

    return decided(recorded) == decided(status)
