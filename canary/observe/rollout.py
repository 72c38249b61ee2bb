"""A Rollout as read from the API server: parsed at the door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from canary.decide.facts import Problem
from canary.model.requests import Request, parse_request
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.observe.objects import FINALIZER, request_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rollout:
    """A Rollout, parsed. `spec` is None when it cannot be read; `problem` says why."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    deleting: bool
    finalizer: bool
    request: Request | None
    spec: RolloutSpec | None
    problem: Problem | None
    status: RolloutStatus

    @classmethod
    def of(cls, document: Json, earlier: Rollout | None = None) -> Rollout:
        """Parse a document; the spec of an `earlier` reading of the same generation is not parsed again."""
        metadata = document.get("metadata", {})
        identity = (metadata.get("uid", ""), metadata.get("generation", 0))
        if earlier is not None and identity[1] and identity == (earlier.uid, earlier.generation):
            spec, problem = earlier.spec, earlier.problem
        else:
            spec, problem = _spec(document.get("spec"))
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata.get("name", ""),
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            created=metadata.get("creationTimestamp", ""),
            deleting=metadata.get("deletionTimestamp") is not None,
            finalizer=FINALIZER in (metadata.get("finalizers") or []),
            request=parse_request(request_of(document)),
            spec=spec,
            problem=problem,
            status=_status(document.get("status")),
        )


def _spec(document: Any) -> tuple[RolloutSpec | None, Problem | None]:
    try:
        return RolloutSpec.model_validate(document), None
    except ValidationError as error:
        first = error.errors()[0]
        return None, Problem(_path(first["loc"]), str(first["msg"]).removeprefix("Value error, "))


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _status(document: Any) -> RolloutStatus:
    try:
        return RolloutStatus.load(document)
    except ValidationError:
        # Nobody but us writes it; if somebody did, the routes still say what a run left there.
        return RolloutStatus()
