"""A Rollout as read from the API server: parsed at the door."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from canary.decide.facts import Problem
from canary.model.base import ApiModel
from canary.model.requests import AS_ANNOTATION, Request, parse_request
from canary.model.rollout import MAX_ROUTES, BackendTarget, RolloutSpec, RouteRef
from canary.model.status import RolloutStatus
from canary.observe.objects import FINALIZER, request_of
from canary.routes.pair import Backend, Pair

Json = dict[str, Any]

T = TypeVar("T", bound=ApiModel)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A Rollout, parsed. `spec` is None when it cannot be read; `problem` says why, and `rescued` is what can be read of it."""

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
    rescued: RolloutSpec | None = None
    """Of one with a problem: see `rescue`."""
    senseless: tuple[str, ...] = ()
    """Members of the status that no version of ours would have written; they count as absent."""

    @classmethod
    def of(cls, document: Json, earlier: Rollout | None = None) -> Rollout:
        """Parse a document; a spec that an `earlier` reading of the same generation could read is not parsed again.

        One that it could not read may be another one now without a new generation: definitions that were put back leave out what they do not know.
        """
        metadata = document.get("metadata", {})
        status, senseless = RolloutStatus.read(document.get("status"))
        raw = request_of(document)
        identity = (metadata.get("uid", ""), metadata.get("generation", 0))
        known = earlier is not None and earlier.spec is not None and (earlier.uid, earlier.generation) == identity
        if earlier is not None and known and identity[1]:
            spec, problem = earlier.spec, earlier.problem
        else:
            spec, problem = _spec(document.get("spec"))
        deleting = metadata.get("deletionTimestamp") is not None
        return cls(
            namespace=metadata.get("namespace", ""),
            name=metadata.get("name", ""),
            uid=metadata.get("uid", ""),
            generation=metadata.get("generation", 0),
            created=metadata.get("creationTimestamp", ""),
            deleting=deleting,
            finalizer=FINALIZER in (metadata.get("finalizers") or []),
            request=parse_request(raw, request_of(document, AS_ANNOTATION)) if raw is not None else None,
            spec=spec,
            problem=problem,
            status=status,
            rescued=rescue(document, status if deleting or status.active else None) if spec is None else None,
            senseless=senseless,
        )

    @property
    def readable(self) -> RolloutSpec | None:
        """What is declared, as far as it can be read; None: not even by what it is to be found."""
        return self.spec or self.rescued


def _spec(document: Any) -> tuple[RolloutSpec | None, Problem | None]:
    try:
        return RolloutSpec.model_validate(document), None
    except ValidationError as error:
        first = error.errors()[0]
        words = _UNKNOWN if first["type"] == _EXTRA else str(first["msg"]).removeprefix("Value error, ")
        return None, Problem(_path(first["loc"]), words)


_EXTRA = "extra_forbidden"
_UNKNOWN = "this version of the controller does not know it, the definitions are newer: upgrade the controller, or leave it out"

_NEEDED = ("routes", "stable", "canary")
_BOUND_TO = (*_NEEDED, "workloads", "steps", "checks")
"""What a run is bound to, and what it is judged by."""
_NO_STEPS: tuple[Json, ...] = ({"approval": {}},)
"""What stands for steps that cannot be read. No run began with them, so one that is under way gives way, as to any other plan."""
_STAND_INS: Json = {
    "routes": [{"name": "unknown"}],
    "stable": {"service": "stable", "port": 1},
    "canary": {"service": "canary", "port": 1},
}
"""What takes the place of what a spec needs while the rest of it is read."""
_NOBODY = BackendTarget.model_construct(service="", port=0)
"""A Service that cannot be read: no reference of a route means it."""

MOST_DROPPED = 32
"""Times that a spec is read again with less in it."""


def rescue(document: Json, record: RolloutStatus | None) -> RolloutSpec | None:
    """As much of an unreadable spec as a run that is under way can be judged, aborted and put back by; None: not even routes and pair.

    Left out are members that this version does not know, single checks and routes, and whatever else cannot be read. What is left out is
    not known: it is not taken to be the default, so nothing rises, is promoted or completed by what is left (`Facts.unread`).

    `record`: a run is under way, or the Rollout is being deleted, and this is its status. Then there is always something: routes and pair that
    cannot be read are those on record, and where none are on record the run has written nothing.
    """
    spec = document.get("spec")
    kept: Json = from_json(to_json(spec)) if isinstance(spec, dict) else {}  # a copy
    needed = _needed(kept)
    unknown = {name: value for name, value in needed.items() if not value}
    if unknown and record is None:
        return None
    if unknown and record is not None:
        recorded = _recorded(record)
        unknown = {name: recorded[name] for name in unknown}
        needed |= unknown
    if "routes" not in unknown and len(needed["routes"]) < len(kept["routes"]):
        unknown["routes"] = needed["routes"]
    kept |= {name: _STAND_INS[name] for name in unknown}
    if not needed["routes"] or _NOBODY in needed.values():
        # Nobody knows what would be asked about.
        kept = {name: value for name, value in kept.items() if name not in {"checks", "traffic"}} | {"steps": _NO_STEPS}
    for _ in range(MOST_DROPPED):
        try:
            found = RolloutSpec.model_validate(kept | _terms(spec, kept, record))
            return found.model_copy(update=unknown)
        except ValidationError as error:
            if not _without(kept, error.errors()):
                break
    return RolloutSpec.model_validate({**_STAND_INS, "steps": _NO_STEPS}).model_copy(update=needed)


def _terms(spec: Any, kept: Json, record: RolloutStatus | None) -> Json:
    """What the run has on record of what is declared and cannot be read."""
    if record is None or record.run is None or not isinstance(spec, dict):
        return {}
    known = record.run.terms.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in known.items() if name in spec and name not in kept}


def _needed(spec: Json) -> Json:
    """What can be read of routes and pair, one by one; nothing where that is nothing."""
    routes = spec.get("routes")
    refs = [_read(RouteRef, ref) for ref in routes] if isinstance(routes, list) else []
    pair = {role: _read(BackendTarget, spec.get(role)) for role in ("stable", "canary")}
    return {"routes": tuple(ref for ref in refs if ref is not None)[:MAX_ROUTES], **pair}


def _recorded(status: RolloutStatus) -> Json:
    """Routes and pair as a run has them on record. Of a route no more than the rules that it has written."""
    refs = (
        RouteRef.model_construct(kind=route.kind, name=route.name, rules=tuple(route.baseline))
        for route in status.routes
        if route.baseline
    )
    return {"routes": tuple(refs)[:MAX_ROUTES], **_recorded_pair(status)}


def _recorded_pair(status: RolloutStatus) -> dict[str, BackendTarget]:
    for route in status.routes:
        with suppress(ValueError):
            both = Pair.parse(route.pair)
            stable, canary = (both.canary, both.stable) if status.swapped else (both.stable, both.canary)
            return {"stable": _target(stable), "canary": _target(canary)}
    return {"stable": _NOBODY, "canary": _NOBODY}


def _target(backend: Backend) -> BackendTarget:
    return BackendTarget.model_construct(service=backend.service, port=backend.port, namespace=backend.namespace)


def _read(model: type[T], document: Any) -> T | None:
    """Without what this version does not know."""
    try:
        return model.model_validate(document, extra="ignore")
    except ValidationError:
        return None


def _without(spec: Json, errors: list[ErrorDetails]) -> bool:
    """Take out what is wrong; whether there was something that can be taken out."""
    unknown = [error["loc"] for error in errors if error["type"] == _EXTRA]
    # First only these: what else is wrong may be so because of them.
    found = [_pop(spec, place) for place in unknown]
    if any(found):
        return True
    places = [error["loc"] for error in errors]
    if any(not place for place in places):  # two members contradict each other
        others = [name for name in spec if name not in _BOUND_TO]
        for name in others:
            del spec[name]
        return bool(others)
    if not places or any(place[0] in _NEEDED for place in places):
        return False  # what they need was read one by one: they are wrong together
    for number in sorted({place[1] for place in places if _is_check(place)}, reverse=True):
        _pop(spec, ("checks", number))
    for name in {str(place[0]) for place in places if not _is_check(place)}:
        if name == "steps":
            spec["steps"] = _NO_STEPS
        else:
            spec.pop(name, None)
    return True


def _is_check(place: tuple[int | str, ...]) -> bool:
    return len(place) > 1 and place[0] == "checks" and isinstance(place[1], int)


def _pop(document: Any, place: tuple[int | str, ...]) -> bool:
    """Take a member of an object or of a list out; False: there is none at that place, which may be spelt with names of kinds in it."""
    *path, last = place
    holder: Any = document
    for part in path:
        if not _has(holder, part):
            return False
        holder = holder[part]
    if not _has(holder, last):
        return False
    del holder[last]
    return True


def _has(holder: Any, part: int | str) -> bool:
    if isinstance(holder, list):
        return isinstance(part, int) and part < len(holder)
    return isinstance(holder, dict) and part in holder


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
