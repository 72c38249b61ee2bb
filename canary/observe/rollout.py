"""A Rollout as read from the API server: parsed at the door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from canary.decide.facts import Problem
from canary.model.requests import AS_ANNOTATION, Request, parse_request
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
    senseless: tuple[str, ...] = ()
    """Members of the status that no version of ours would have written; they count as absent."""

    @classmethod
    def of(cls, document: Json, earlier: Rollout | None = None) -> Rollout:
        """Parse a document; the spec of an `earlier` reading of the same generation is not parsed again."""
        metadata = document.get("metadata", {})
        status, senseless = RolloutStatus.read(document.get("status"))
        raw = request_of(document)
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
            request=parse_request(raw, request_of(document, AS_ANNOTATION)) if raw is not None else None,
            spec=spec,
            problem=problem,
            status=status,
            senseless=senseless,
        )


def _spec(document: Any) -> tuple[RolloutSpec | None, Problem | None]:
    try:
        return RolloutSpec.model_validate(document), None
    except ValidationError as error:
        first = error.errors()[0]
        return None, Problem(_path(first["loc"]), str(first["msg"]).removeprefix("Value error, "))


def rescue(document: Json) -> RolloutSpec | None:
    """As much of an unreadable spec as putting its routes back takes: routes and pair. None when even that is not there."""
    spec = document.get("spec")
    if not isinstance(spec, dict):
        return None
    kept = {name: spec.get(name) for name in ("routes", "stable", "canary")}
    return _spec({**kept, "steps": [{"approval": {}}]})[0]


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
