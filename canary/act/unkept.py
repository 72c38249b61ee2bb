"""What the API server takes of a status and does not keep: its definitions are of another version, or a policy takes it out.

Whoever decides still has it in mind, and would write it for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from canary.act.backoff import Backoffs
from canary.errors import WriteAltered
from canary.kube.retry import UNKEPT, UNKEPT_IN_RUN
from canary.model.status import RolloutStatus
from canary.status.write import merge_patch

Json = dict[str, Any]
Path = tuple[str, ...]

_FIELDS = "fields"
_NOT_MEANT = frozenset({("recordedAt",)})
"""What is different each time."""


class Unkept:
    """The fields of a status that were other ones in the answer than in what was written, and when they may be tried again."""

    def __init__(self) -> None:
        self._paths: frozenset[Path] = frozenset()
        self._told: frozenset[str] = frozenset()
        self._rests = Backoffs(UNKEPT)
        self._rests_in_run = Backoffs(UNKEPT_IN_RUN)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._paths)

    def compare(self, meant: Json, kept: Json, now: datetime, *, active: bool) -> str:
        """Take note of an answer; returns what to tell people, once for each field of the status itself, empty where there is nothing new.

        `active`: the status is of a run, for which there is more to do once it is kept.
        """
        self._paths = frozenset(_leaves(merge_patch(kept, meant))) - _NOT_MEANT
        rests, other = (self._rests_in_run, self._rests) if active else (self._rests, self._rests_in_run)
        other.succeeded(_FIELDS)
        if not self._paths:
            rests.succeeded(_FIELDS)
            self._told = frozenset()
            return ""
        names = ", ".join(sorted(f"status.{'.'.join(path)}" for path in self._paths))
        error = WriteAltered(f"the API server does not keep {names} as written")
        rests.failed(_FIELDS, now, error)
        tops = frozenset(path[0] for path in self._paths)
        new, self._told = tops - self._told, self._told | tops
        return (
            f"{error}: its definitions are of another version (`kubectl apply -f crds/`), or a policy changes the status"
            if new
            else ""
        )

    def granted(self, recorded: RolloutStatus, meant: RolloutStatus, now: datetime) -> RolloutStatus:
        """What is on record, as if what is not kept were, while it is too early to try that again.

        What differs from this is worth a write. What merely moves with time is in every status, and makes none worth it.
        """
        if not self._paths or not self._resting(now):
            return recorded
        document, wanted = recorded.dump(), meant.dump()
        for path in self._paths:
            _copy(wanted, document, path)
        return RolloutStatus.load(document)

    def again(self, recorded: RolloutStatus, meant: RolloutStatus, now: datetime) -> bool:
        """Whether what is not kept is to be tried again by now, be it nothing that is worth a write by itself."""
        if not self._paths or self._resting(now):
            return False
        self._paths &= frozenset(_leaves(merge_patch(recorded.dump(), meant.dump())))
        return bool(self._paths)

    def _resting(self, now: datetime) -> bool:
        return any(rests.resting(_FIELDS, now) for rests in (self._rests, self._rests_in_run))

    def next_try(self, now: datetime) -> datetime | None:
        """When it may be tried again."""
        times = (rests.next_try(now) for rests in (self._rests, self._rests_in_run))
        return min((at for at in times if at is not None), default=None) if self._paths else None


def _copy(source: Json, target: Json, path: Path) -> None:
    """Make one document say what the other one says at a place, be it nothing."""
    *above, last = path
    for name in above:
        source, target = (_object(holder, name) for holder in (source, target))
    if last in source:
        target[last] = source[last]
    else:
        target.pop(last, None)


def _object(holder: Json, name: str) -> Json:
    found = holder.get(name)
    if not isinstance(found, dict):
        found = holder[name] = {}
    return found


def _leaves(patch: Json, above: Path = ()) -> Iterator[Path]:
    for name, value in patch.items():
        path = (*above, name)
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path
