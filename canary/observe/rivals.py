"""Keeps the claims on shared routes true to the documents.

What a Rollout drives of a route takes a parse and a look into the route to find out. It is found out once for each version
of the two that matters: a change only marks who has to be read again, and that is done when somebody asks, or in passing
(`settle_one`), one Rollout at a time. A route that one Rollout alone refers to costs nothing: it has no rivals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from canary.decide.facts import RouteView
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.observe.claims import Claim, Claimant, Claims, Standing
from canary.observe.objects import Key, Route
from canary.observe.rollout import Rollout
from canary.observe.routes import Viewer, routes_of, view
from canary.routes.intent import names_run, parse_intent, run_annotation
from canary.routes.key import RouteKey
from canary.routes.reading import RouteReading

Json = dict[str, Any]


OnMoved = Callable[[set[Key], set[Key]], None]
"""Told of Rollouts a rule of whose has another owner: those whose own it is now, at once; the others, when it is settled."""


class Rivals:
    """The claims of those who share routes.

    `read` and `routes` are where Rollouts and routes are found; `sharing` says who refers to a route. `on_moved` is for
    whoever wants to be told.
    """

    def __init__(
        self,
        read: Callable[[Key], Rollout | None],
        routes: Mapping[RouteKey, Route],
        sharing: Callable[[RouteKey], AbstractSet[Key]],
    ) -> None:
        self._read = read
        self._routes = routes
        self._sharing = sharing
        self.on_moved: OnMoved = lambda _owners, _others: None
        self._claims = Claims()
        self._shared: set[RouteKey] = set()
        self._stale: dict[RouteKey, dict[Key, None]] = {}
        self._moved: dict[RouteKey, set[str]] = {}
        self._waiting: dict[str, dict[RouteKey, None]] = {}

    def shared(self, place: RouteKey) -> bool:
        """Whether several Rollouts refer to a route."""
        return place in self._shared

    # -- what has changed

    def rollout(self, key: Key, places: AbstractSet[RouteKey]) -> None:
        """A Rollout has another version; these are the routes that it refers to now."""
        for place in places:
            if place in self._shared:
                self._mark(place, key)
            elif len(self._sharing(place)) > 1:
                self._shared.add(place)
                self._mark(place, *self._sharing(place))

    def left(self, key: Key, places: AbstractSet[RouteKey]) -> None:
        """A Rollout is gone, or refers to these routes no more."""
        for place in places:
            if self._marked(place, key[1]):
                # A run of which only the route says something bars nobody any more.
                self.on_moved(set(), set(self._sharing(place)))
        for place in places & self._shared:
            stale = self._stale.get(place, {})
            stale.pop(key, None)
            if not stale:
                self._stale.pop(place, None)
            self._note(place, self._claims.drop(place, key[1]))
            if len(self._sharing(place)) < 2:
                self._shared.discard(place)
                self._claims.forget(place)
                self._stale.pop(place, None)
                self._moved.pop(place, None)
                self._done(place)

    def route(self, place: RouteKey, before: Json | None, after: Json | None) -> None:
        """A route has another version (None: it is not there)."""
        if place not in self._shared:
            return
        if before is None or after is None or _shape(before) != _shape(after):
            # Whoever has read the route anew after a write of his own may have told us, and nobody will tell the others.
            self._mark(place, *self._sharing(place))
            self.on_moved(set(), set(self._sharing(place)))
            return
        # Weights are moved often, and by them alone nobody drives another rule; a run's record is about its own Rollout.
        for name in _rerecorded(before, after):
            if (place.namespace, name) in self._sharing(place):
                self._mark(place, (place.namespace, name))
        if _runs(before) - _runs(after):
            self.on_moved(set(), set(self._sharing(place)))  # a run that has let go of the route bars nobody any more

    # -- what follows

    def owner(self, place: RouteKey, rule: str) -> Claimant | None:
        """Whose rule this is, among those who share the route; None where nobody shares it."""
        if place not in self._shared:
            return None
        while place in self._stale:
            self._settle(place)
        return self._claims.owner(place, rule)

    def unsettled(self) -> AbstractSet[str]:
        """Namespaces in which somebody has to be read again, or to be told."""
        return self._waiting.keys()

    def settle_one(self, namespace: str) -> bool:
        """Read one Rollout of a namespace again, or tell those who wait for one rule; False when nothing is left to do."""
        waiting = self._waiting.get(namespace)
        if not waiting:
            return False
        place = next(iter(waiting))
        if place in self._stale:
            self._settle(place)
        elif place in self._moved:
            self._tell(place)
        if place not in self._stale and place not in self._moved:
            self._done(place)
        return True

    def _mark(self, place: RouteKey, *keys: Key) -> None:
        self._stale.setdefault(place, {}).update(dict.fromkeys(keys))
        self._waiting.setdefault(place.namespace, {})[place] = None

    def _done(self, place: RouteKey) -> None:
        waiting = self._waiting.get(place.namespace, {})
        waiting.pop(place, None)
        if not waiting:
            self._waiting.pop(place.namespace, None)

    def _settle(self, place: RouteKey) -> None:
        """Find out anew what one of those who are marked drives of a route."""
        stale = self._stale[place]
        key, _ = stale.popitem()
        if not stale:
            del self._stale[place]
        rollout = self._read(key)
        spec = rollout.readable if rollout is not None else None
        if rollout is None or spec is None:
            self._note(place, self._claims.drop(place, key[1]))
        else:
            self._note(place, self._claims.put(place, key[1], self._driven(place, rollout, spec)))

    def _note(self, place: RouteKey, rules: set[str]) -> None:
        """Rules have another owner. Those who wait for them are told later: once, however many go one after the other."""
        if not rules:
            return
        self._moved.setdefault(place, set()).update(rules)
        self._waiting.setdefault(place.namespace, {})[place] = None
        owners = {owner.name for rule in rules if (owner := self._claims.owner(place, rule)) is not None}
        self.on_moved({(place.namespace, name) for name in owners}, set())

    def _tell(self, place: RouteKey) -> None:
        rules = self._moved[place]
        _, *others = self._claims.line(place, rules.pop()) or ("",)
        if not rules:
            del self._moved[place]
        self.on_moved(set(), {(place.namespace, name) for name in others})

    def _marked(self, place: RouteKey, name: str) -> bool:
        """Whether a route has the annotation of a Rollout."""
        found = self._routes.get(place)
        if found is None or found.ours is None:
            return False
        return run_annotation(name) in (found.document.get("metadata", {}).get("annotations") or {})

    def _driven(self, place: RouteKey, rollout: Rollout, spec: RolloutSpec) -> Claim:
        found = self._routes.get(place)
        return driven(rollout, spec, place, found.reading, self._routes) if found is not None else {}


def driven(
    rollout: Rollout, spec: RolloutSpec, place: RouteKey, reading: RouteReading, routes: Mapping[RouteKey, Route]
) -> Claim:
    """The rules of a route that a Rollout drives, or has written in a run: by its spec, and by what is on record of the run.

    The record counts where the spec names something else meanwhile, or cannot be read: the run is on that route all the same.
    """
    viewer = Viewer(rollout.name, rollout.namespace, spec, rollout.status)
    claim: dict[str, Claimant] = {}
    for ref, declared in routes_of(viewer, routes):
        if RouteKey.of(ref, rollout.namespace) == place:
            seen = view(viewer, ref, reading, declared=declared)
            recorded = on_record(rollout.status, seen)
            keys = (rule.key for rule in seen.rules if declared or rule.key in recorded)
            claim |= {key: claimant(rollout, recorded=key in recorded) for key in keys}
    return claim


def on_record(status: RolloutStatus, seen: RouteView) -> set[str]:
    """The rules of a route that a run has in hand, by the keys that they have now."""
    remembered = status.route(seen.kind, seen.name)
    keys = {seen.moved.get(key, key) for key in remembered.baseline} if remembered is not None else set()
    return keys | set(seen.intent.baseline) if seen.intent is not None else keys


def claimant(rollout: Rollout, *, recorded: bool) -> Claimant:
    """How a Rollout stands in line for a rule; `recorded`: it is one that its run has in hand, if there is one."""
    running = Standing.ON_RECORD if recorded else Standing.DECLARED
    return Claimant(running if rollout.status.active else Standing.AT_REST, rollout.created, rollout.name)


def _shape(document: Json) -> list[Any]:
    """What of a route decides who drives which rule, besides the records of runs: its rules but for the weights."""
    return [
        (rule.get("name"), [{**ref, "weight": None} for ref in _objects(rule.get("backendRefs"))])
        for rule in _objects((document.get("spec") or {}).get("rules"))
    ]


def _objects(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _rerecorded(before: Json, after: Json) -> set[str]:
    """The Rollouts of whose runs a route says something else than before."""
    changed = _annotations(before) ^ _annotations(after)
    return {intent.rollout for _, value in changed if (intent := parse_intent(value)) is not None}


def _runs(document: Json) -> set[str]:
    """The annotations of runs, by name."""
    return {name for name in document.get("metadata", {}).get("annotations") or {} if names_run(name)}


def _annotations(document: Json) -> set[tuple[str, str]]:
    annotations = document.get("metadata", {}).get("annotations") or {}
    return {(name, value) for name, value in annotations.items() if isinstance(value, str)}
