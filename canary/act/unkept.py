"""What the API server takes of a status and does not keep: its definitions are of another version, or a policy takes it out.

Whoever decides still has it in mind, and would write it for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from canary.act.backoff import Backoffs
from canary.errors import WriteAltered
from canary.kube.retry import UNKEPT
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

    def compare(self, meant: Json, kept: Json, now: datetime) -> str:
        """Take note of an answer; returns what to tell people, once for each field of the status itself, empty where there is nothing new."""
        self._paths = frozenset(_leaves(merge_patch(kept, meant))) - _NOT_MEANT
        if not self._paths:
            self._rests.succeeded(_FIELDS)
            self._told = frozenset()
            return ""
        names = ", ".join(sorted(f"status.{'.'.join(path)}" for path in self._paths))
        error = WriteAltered(f"the API server does not keep {names} as written")
        self._rests.failed(_FIELDS, now, error)
        tops = frozenset(path[0] for path in self._paths)
        new, self._told = tops - self._told, self._told | tops
        return (
            f"{error}: its definitions are of another version (`kubectl apply -f crds/`), or a policy changes the status"
            if new
            else ""
        )

    def vain(self, recorded: Json, meant: RolloutStatus, now: datetime) -> bool:
        """Whether a write would change only what was not kept before, and it is too early to try that again."""
        if not self._paths or not self._rests.resting(_FIELDS, now):
            return False
        return frozenset(_leaves(merge_patch(recorded, meant.dump()))) <= self._paths | _NOT_MEANT

    def next_try(self, now: datetime) -> datetime | None:
        """When it may be tried again."""
        return self._rests.next_try(now) if self._paths else None


def _leaves(patch: Json, above: Path = ()) -> Iterator[Path]:
    for name, value in patch.items():
        path = (*above, name)
        if isinstance(value, dict) and value:
            yield from _leaves(value, path)
        else:
            yield path
