"""What the watches have told us: objects by key, and which Rollouts care about each.

Fed by the handlers and by the answers to our own writes; read by `facts`. Idle Rollouts cost an entry here, nothing else:
the text of their document and of their route, and a view of their workloads.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from canary.model.checks import TemplateKind
from canary.model.rollout import RevisionInput, RouteKind
from canary.model.status import ACTIVE
from canary.model.workloads import DEPLOYMENT, foreign, kind_of, traits
from canary.observe.around import Around, Change
from canary.observe.autoscalers import Autoscalers
from canary.observe.configs import Configs, Parts, Reckoned
from canary.observe.index import Index
from canary.observe.kinds import Kinds, WorkloadKinds
from canary.observe.objects import FINALIZER, Packed, Route, key_of, known, recorded_at, request_of, uid_of
from canary.observe.rivals import Rivals
from canary.observe.rollout import Rollout
from canary.observe.workloads import Workload, WorkloadKey
from canary.preflight.objects import sources_of
from canary.preflight.offers import NOTHING_DECLARED, Platform
from canary.preflight.surroundings import POLICY
from canary.routes.key import RouteKey

Json = dict[str, Any]

RESTING = 256
"""Parsed Rollouts at rest that are kept (of active ones all); ten thousand would be a lot of memory for nothing."""

Key = tuple[str, str]
"""(namespace, name)"""

AUTOSCALERS = "Autoscalers"
"""What a Rollout with `scale` refers to besides its Deployments: all autoscalers of its namespace."""


CONFIGS_OF = "configs of "


class ConfigsOf(NamedTuple):
    """The ConfigMaps and Secrets that a workload names: what a Rollout refers to that includes them in its revisions."""

    kind: str
    """CONFIGS_OF and the kind of the workload: a need of its own."""
    namespace: str
    name: str

    @property
    def key(self) -> WorkloadKey:
        """The workload."""
        return WorkloadKey(sys.intern(self.kind.removeprefix(CONFIGS_OF)), self.namespace, self.name)


def configs_of(key: WorkloadKey) -> ConfigsOf:
    """Those of a workload."""
    return ConfigsOf(sys.intern(CONFIGS_OF + key.kind), key.namespace, key.name)


Need = tuple[str, str, str]
"""(kind, namespace, name) of something that a Rollout refers to."""


class Store:
    """Objects by key. `put_*` and `drop_*` of what Rollouts refer to return the Rollouts to wake.

    `rivals` knows which of the Rollouts that share a route has which rule of it, `around` what stands around the routes.
    `kinds` knows which kinds of route can be seen.

    `answer=True` says that a document is the answer to a write of ours: it may update what is kept, but it brings back
    nothing that a watch has reported as gone. `drop_*` with a `uid` leaves alone a newer object of the same name: events
    of two objects come in any order.
    """

    def __init__(self, place: str = "", platform: Platform = NOTHING_DECLARED) -> None:
        """`place` and `platform`: see `canary.preflight.surroundings`."""
        self.rollouts: dict[Key, Packed] = {}
        self.listed = False
        """Whether all Rollouts are known, so that one that is not known does not exist."""
        self.routes: dict[RouteKey, Route] = {}
        self.workloads: dict[WorkloadKey, Workload] = {}
        self.templates: dict[Need, Packed] = {}
        self._parsed: dict[Key, tuple[Packed, Rollout]] = {}
        self._resting: OrderedDict[Key, None] = OrderedDict()
        self._wanted_by: defaultdict[Need, set[Key]] = defaultdict(set)
        self._needs: dict[Key, frozenset[Need]] = {}
        self._named: Counter[tuple[RouteKind, str | None]] = Counter()
        self._employed: Counter[tuple[str, str | None]] = Counter()
        """How many workloads of a kind are named in a namespace (None: in all), but for Deployments."""
        self.on_employed: Callable[[str, str], None] = _kept
        """Called with such a kind and a namespace when the first workload is named there, and when the last is not any more."""
        self._copying = 0
        self.on_copying: Callable[[], None] = _nobody
        """Called when the first Rollout of a namespace has a step that copies rules."""
        self.scaling = 0
        """In how many namespaces some Rollout declares `scale`, so that autoscalers matter."""
        self.on_scaling: Callable[[], None] = _nobody
        """Called when the first Rollout of a namespace declares `scale`."""
        self._active: set[Key] = set()
        self._recorded_at: dict[Key, datetime] = {}
        self._backends: dict[Key, tuple[Key, ...]] = {}
        self._backed: Index[Key, Key] = Index()
        self._crossing: Index[tuple[str, str], Key] = Index()
        """Rollouts by the namespace of a Service of theirs and their own, where the two are not the same."""
        self.around = Around(place, platform)
        self.rivals = Rivals(self.rollout, self.routes, self._sharing)
        self.kinds = Kinds()
        self.workload_kinds = WorkloadKinds()
        self.configs = Configs()
        self.including: set[WorkloadKey] = set()
        """The workloads whose configs are part of their revision for some Rollout."""
        self.on_configs: Callable[[WorkloadKey], None] = _ignored
        """Called when the configs of one of these are to be read."""
        self.autoscalers = Autoscalers()

    def recorded_at(self, key: Key) -> datetime | None:
        """When the status of an active Rollout was written last, by the API server's clock (whole seconds)."""
        return self._recorded_at.get(key)

    def active(self, key: Key) -> bool:
        """Whether a run is under way, or somebody waits for an answer or a deletion: told without parsing anything."""
        return key in self._active

    def rollout(self, key: Key) -> Rollout | None:
        """A Rollout, parsed. Active ones are kept parsed: they are looked at many times a version."""
        packed = self.rollouts.get(key)
        if packed is None:
            return None
        kept = self._parsed.get(key)
        if kept is not None and kept[0] is packed:
            return kept[1]
        rollout = Rollout.of(packed.document, kept[1] if kept is not None else None)
        self._parsed[key] = (packed, rollout)
        self._resting.pop(key, None)
        if not rollout.status.active:
            self._resting[key] = None
            if len(self._resting) > RESTING:
                del self._parsed[self._resting.popitem(last=False)[0]]
        return rollout

    def put_rollout(self, document: Json, *, answer: bool = False) -> bool:
        """Keep a Rollout; False when what we have is newer or the same."""
        key = key_of(document)
        if not _news(document, self.rollouts.get(key), answer=answer):
            return False
        self.rollouts[key] = Packed.of(document)
        active = _active(document)
        (self._active.add if active else self._active.discard)(key)
        at = recorded_at(document) if active else None
        if at is not None:
            self._recorded_at[key] = at
        else:
            self._recorded_at.pop(key, None)
        needs = frozenset(_needs(document))
        before = self._needs.get(key, frozenset())
        for need in before - needs:
            self._forget(need, key)
        for need in needs - before:
            self._want(need, key)
        self._needs[key] = needs
        self._back(key, _services(document))
        self.rivals.left(key, _places(before - needs))
        self.rivals.rollout(key, _places(needs))
        return True

    def drop_rollout(self, key: Key, uid: str = "") -> bool:
        """Forget a Rollout; False when what we have is another one, or none."""
        if key not in self.rollouts or _another(self.rollouts.get(key), uid):
            return False
        del self.rollouts[key]
        self._active.discard(key)
        self._recorded_at.pop(key, None)
        self._parsed.pop(key, None)
        self._resting.pop(key, None)
        needs = self._needs.pop(key, frozenset())
        for need in needs:
            self._forget(need, key)
        self._back(key, None)
        self.rivals.left(key, _places(needs))
        return True

    def put_route(self, document: Json, *, answer: bool = False) -> set[Key]:
        key = RouteKey.read(document)
        if not _news(document, self.routes.get(key), answer=answer):
            return set()
        before, self.routes[key] = self.routes.get(key), (fresh := Route.of(document))
        self.around.attach(key, document)
        if self.rivals.shared(key):
            self.rivals.route(key, before.document if before is not None else None, fresh.document)
        return self.dependents(*key)

    def misread_route(self, document: Json) -> set[Key]:
        """Keep that a route is there of which nothing can be made; until it is written again."""
        key = RouteKey.read(document)
        self.routes[key] = Route.misread(document)
        self.around.attach(key, None)
        self.rivals.route(key, None, None)
        return self.dependents(*key)

    def drop_route(self, key: RouteKey, uid: str = "") -> set[Key]:
        if _another(self.routes.get(key), uid):
            return set()
        self.routes.pop(key, None)
        self.around.attach(key, None)
        self.rivals.route(key, None, None)
        return self.dependents(*key)

    def put_workload(self, document: Json, kind: str = DEPLOYMENT, *, answer: bool = False) -> set[Key]:
        """Keep a workload; wakes nobody when nothing changed that a decision looks at. `kind`: as `kind_of` calls it."""
        key = WorkloadKey(kind, *key_of(document))
        kept = self.workloads.get(key)
        if not _news(document, kept, answer=answer) and not (kept is not None and kept.completed_by(document)):
            return set()
        self.workloads[key] = fresh = Workload.of(document, kind)
        if key in self.including and self.configs.other(key, fresh.view.revision):
            self.declare_configs(key, document)
        if kept is not None and kept.same(fresh):
            return set()
        return self.dependents(*key)

    def misread(self, document: Json, kind: str) -> set[Key]:
        """Keep that a workload is there of which nothing can be made; until it is written again."""
        key = WorkloadKey(kind, *key_of(document))
        self.workloads[key] = Workload.misread(document, kind)
        return self.dependents(*key)

    def put_scale(self, key: WorkloadKey, scale: Json, *, ours: bool = False) -> set[Key]:
        """Keep what the scale subresource of a workload that is known has answered; `ours`: to a write of ours."""
        kept = self.workloads.get(key)
        if kept is None or not _news(scale, kept, answer=True):
            return set()
        self.workloads[key] = fresh = kept.resized(scale, ours=ours)
        return set() if kept.same(fresh) else self.dependents(*key)

    def declare_configs(self, key: WorkloadKey, document: Json) -> None:
        """Know which configs a workload names; they are read when that is not how they were read last."""
        parts = self.configs.parts[key] = Parts.of(document, key.kind)
        if self.configs.pending(key, parts.bare):
            self.on_configs(key)

    def put_configs(self, key: WorkloadKey, reckoned: Reckoned) -> set[Key]:
        """Keep what the configs of a workload make of its revision."""
        if key not in self.including or not self.configs.put(key, reckoned):
            return set()
        return self.dependents(*configs_of(key))

    def awaits_configs(self, key: Key) -> bool:
        """Whether it is about to be known what revision some workload of a Rollout has."""
        if not self.including:
            return False
        for need in self._needs.get(key, ()):
            if isinstance(need, ConfigsOf):
                found = self.workloads.get(need.key)
                if found is None or found.problem:
                    continue
                if self.configs.pending(need.key, found.view.revision):
                    return True
        return False

    def put_autoscaler(self, kind: str, document: Json) -> set[Key]:
        return self._targeting(self.autoscalers.put(kind, document))

    def drop_autoscaler(self, kind: str, key: Key) -> set[Key]:
        return self._targeting(self.autoscalers.drop(kind, key))

    def know_autoscalers(self, kind: str, place: str | None, why: str) -> set[Key]:
        """All autoscalers of a kind are known in a namespace (None: everywhere), or cannot be, and why."""
        if not self.autoscalers.know(kind, place, why):
            return set()
        places = {need[1] for need in self._wanted_by if need[0] == AUTOSCALERS and place in {None, need[1]}}
        return {key for each in places for key in self.dependents(AUTOSCALERS, each, "")}

    def _targeting(self, workloads: set[WorkloadKey]) -> set[Key]:
        return {key for workload in workloads for key in self.dependents(*workload)}

    def drop_workload(self, key: WorkloadKey, uid: str = "") -> set[Key]:
        if _another(self.workloads.get(key), uid):
            return set()
        self.workloads.pop(key, None)
        return self.dependents(*key)

    def employed(self) -> set[tuple[str, str]]:
        """Kinds of workloads other than Deployments that are named, each with a namespace where that is so."""
        return {(kind, place) for (kind, place), count in self._employed.items() if place is not None and count > 0}

    def employs(self, kind: str, place: str | None) -> bool:
        """Whether some Rollout of a namespace (None: of any) names a workload of such a kind."""
        return self._employed[kind, place] > 0

    def employers(self, kind: str, place: str | None) -> set[Key]:
        """The Rollouts of a namespace (None: of all) that name some workload of a kind."""
        named = (need for need in self._wanted_by if isinstance(need, WorkloadKey) and need.kind == kind)
        return {key for need in named if place in {None, need.namespace} for key in self._wanted_by[need]}

    def awaits(self, key: Key) -> bool:
        """Whether it is about to be known which workloads there are of some kind that a Rollout names."""
        if not self.workload_kinds.awaiting:
            return False
        named = (need for need in self._needs.get(key, ()) if isinstance(need, WorkloadKey))
        return any(self.workload_kinds.awaits(need.kind, need.namespace) for need in named)

    def put_template(self, kind: str, document: Json) -> set[Key]:
        namespace, name = key_of(document)
        if not _news(document, self.templates.get((kind, namespace, name)), answer=False):
            return set()
        self.templates[kind, namespace, name] = Packed.of(document)
        return self.dependents(kind, namespace, name)

    def drop_template(self, kind: str, key: Key, uid: str = "") -> set[Key]:
        if _another(self.templates.get((kind, *key)), uid):
            return set()
        self.templates.pop((kind, *key), None)
        return self.dependents(kind, *key)

    def put_around(self, kind: str, document: Json) -> set[Key]:
        """Keep what stands around routes; wakes nobody when nothing changed that a preflight looks at."""
        return self._surrounded(self.around.put(kind, document))

    def drop_around(self, kind: str, key: Key) -> set[Key]:
        return self._surrounded(self.around.drop(kind, key))

    def put_policy(self, definition: str, document: Json) -> set[Key]:
        """Keep a policy of a definition; the Rollouts to which it matters, at rest or not: what it guards is not to be copied."""
        return self._guarded(self.around.put_policy(definition, document))

    def drop_policy(self, definition: str, key: Key) -> set[Key]:
        return self._guarded(self.around.drop_policy(definition, key))

    def drop_policies(self, definition: str, place: str | None) -> set[Key]:
        """Forget all policies of a definition in a namespace (None: everywhere)."""
        return self._guarded(self.around.drop_policies(definition, place))

    def know_policies(self, place: str | None, *, known: bool) -> set[Key]:
        """Whether all policies of a namespace (None: of all) are known; the Rollouts to which that matters, if it is news."""
        if not self.around.know(POLICY, place, known=known):
            return set()
        return self._guarded({need[1] for need in self._wanted_by if need[0] == POLICY and place in {None, need[1]}})

    def _guarded(self, namespaces: set[str]) -> set[Key]:
        return {key for namespace in namespaces for key in self.dependents(POLICY, namespace, "")}

    def _surrounded(self, change: Change | None) -> set[Key]:
        """The Rollouts at rest to which a change around routes matters: a run under way is not ended by it."""
        if change is None:
            return set()
        if change.kind == "ReferenceGrant":
            homes = sources_of(change.before, change.after)
            found = {rollout for home in homes for rollout in self._crossing.get((change.namespace, home))}
        else:
            routes = self.around.concerned(change)
            found = {rollout for route in routes for rollout in self._wanted_by.get(route, ())}
        if change.kind == "Service":
            found |= {*self._backed.get((change.namespace, change.name))}
        return found - self._active

    def _back(self, rollout: Key, services: tuple[Key, ...] | None) -> None:
        """A Rollout sends traffic to these Services from now on (None: to none)."""
        before = self._backends.get(rollout)
        if before == services:
            return
        for service in before or ():
            self._backed.discard(service, rollout)
            self._crossing.discard((service[0], rollout[0]), rollout)
        self._backends.pop(rollout, None)
        if services is None:
            return
        self._backends[rollout] = services
        for service in services:
            self._backed.add(service, rollout)
            if service[0] != rollout[0]:
                self._crossing.add((service[0], rollout[0]), rollout)

    def resting(self, place: str | None) -> set[Key]:
        """The Rollouts at rest to which what stands in a namespace (None: anywhere) may matter."""
        if place is None:
            return self.rollouts.keys() - self._active
        near = {key for key in self.rollouts if key[0] == place or any(of == place for of, _ in self._backends[key])}
        attached = {key for route in self.around.attached_in(place) for key in self._wanted_by.get(route, ())}
        return (near | attached) - self._active

    def dependents(self, kind: str, namespace: str, name: str) -> set[Key]:
        """The Rollouts that refer to an object."""
        return set(self._wanted_by.get((kind, namespace, name), ()))

    def users_of(self, workload: WorkloadKey) -> set[Key]:
        """The Rollouts whose spec names a workload; others have something on record of it only."""
        return {key for key in self.dependents(*workload) if workload in set(_named(self.rollouts[key].document))}

    def names(self, kind: RouteKind, place: str | None) -> bool:
        """Whether some Rollout of a namespace (None: of any) refers to a route of a kind."""
        return self._named[kind, place] > 0

    def users(self, kind: RouteKind, place: str | None) -> set[Key]:
        """The Rollouts of a namespace (None: of all) that refer to some route of a kind."""
        named = (need for need in self._wanted_by if isinstance(need, RouteKey) and need.kind is kind)
        return {key for need in named if place in {None, need.namespace} for key in self._wanted_by[need]}

    def reread(self, kind: RouteKind) -> None:
        """Routes of a kind are served in another version: whatever is read of them next is news, though nothing has changed."""
        for key, route in self.routes.items():
            if key.kind is kind:
                self.routes[key] = replace(route, version="")

    def may_run(self, place: RouteKey, name: str) -> bool:
        """Whether a Rollout that a route names may have a run there: it is not known yet, or it refers to the route.

        One that is gone, or has nothing to do with the route, tidies nothing up: what names it would bar the route for ever.
        """
        key = place.namespace, name
        return key in self._sharing(place) if key in self.rollouts else not self.listed

    def _sharing(self, place: RouteKey) -> AbstractSet[Key]:
        return self._wanted_by.get(place, frozenset())

    def _want(self, need: Need, key: Key) -> None:
        if need not in self._wanted_by:
            self._count(need, 1)
        self._wanted_by[need].add(key)

    def _forget(self, need: Need, key: Key) -> None:
        self._wanted_by[need].discard(key)
        if not self._wanted_by[need]:
            del self._wanted_by[need]
            self._count(need, -1)

    def _count(self, need: Need, change: int) -> None:
        if isinstance(need, RouteKey):
            for place in (need.namespace, None):
                self._named[need.kind, place] += change
        elif isinstance(need, WorkloadKey):
            if need.kind != DEPLOYMENT:
                self._employ(need, change)
        elif isinstance(need, ConfigsOf):
            self._include(need.key, change)
        elif need[0] == POLICY:
            self._copying += change
            if change > 0:
                self.on_copying()
        elif need[0] == AUTOSCALERS:
            self.scaling += change
            if change > 0:
                self.on_scaling()

    def _include(self, key: WorkloadKey, change: int) -> None:
        if change > 0:
            self.including.add(key)
            self.on_configs(key)
        else:
            self.including.discard(key)
            self.configs.drop(key)

    def _employ(self, need: WorkloadKey, change: int) -> None:
        for place in (need.namespace, None):
            self._employed[need.kind, place] += change
            if not self._employed[need.kind, place]:
                del self._employed[need.kind, place]
        if self._employed[need.kind, need.namespace] == max(change, 0):
            self.on_employed(need.kind, need.namespace)

    @property
    def copying(self) -> bool:
        """Whether any Rollout has a step that copies rules, so that policies matter."""
        return self._copying > 0


def _nobody() -> None:
    """Wants to know."""


def _kept(kind: str, namespace: str) -> None:
    """Nobody follows it."""


def _ignored(key: WorkloadKey) -> None:
    """Nobody reads it."""


def _news(document: Json, kept: Packed | Workload | None, *, answer: bool) -> bool:
    """Whether a document says something that is not known yet and may be taken in."""
    if kept is None:
        return not answer
    if answer and kept.uid != uid_of(document):
        return False
    return not known(document, kept.uid, kept.version)


def _another(kept: Packed | Workload | None, uid: str) -> bool:
    """Whether what is kept under a name is not the object with this uid (empty: any will do)."""
    return bool(uid) and kept is not None and kept.uid != uid


def _active(document: Json) -> bool:
    metadata, status = document.get("metadata", {}), document.get("status")
    return (
        (isinstance(status, dict) and str(status.get("phase")) in ACTIVE)
        or FINALIZER in (metadata.get("finalizers") or ())
        or "deletionTimestamp" in metadata
        or request_of(document) is not None
    )


def _needs(document: Json) -> Iterator[Need]:
    """Everything that a Rollout's spec and the routes of its run refer to. Lenient: the spec may be nonsense."""
    namespace, _ = key_of(document)
    spec = document.get("spec") or {}
    status = document.get("status") or {}
    for route in [*_list(spec.get("routes")), *_list(status.get("routes"))]:
        with suppress(ValueError):  # of a kind that nobody may name
            of = RouteKind(route.get("kind") or RouteKind.HTTP)
            yield RouteKey(of, namespace, sys.intern(str(route.get("name", ""))))
    including = RevisionInput.CONFIGS in _strings(_dict(spec.get("revision")).get("includes"))
    for key in _named(document):
        yield key
        if including:
            yield configs_of(key)
    yield from _scaled(namespace, status)
    if isinstance(spec.get("scale"), dict):
        yield AUTOSCALERS, namespace, ""
    if any(step.get("match") for step in _list(spec.get("steps"))):
        yield POLICY, namespace, ""
    for user in _list([*_list(spec.get("checks")), spec.get("traffic")]):
        template = user.get("template")
        if isinstance(template, dict):
            kind = str(template.get("kind") or TemplateKind.NAMESPACED)
            yield kind, "" if kind == TemplateKind.CLUSTER else namespace, str(template.get("name", ""))


def _named(document: Json) -> Iterator[WorkloadKey]:
    """The workloads that a Rollout's spec names. Lenient: it may be nonsense."""
    namespace, _ = key_of(document)
    workloads = _dict(document.get("spec")).get("workloads")
    for ref in workloads.values() if isinstance(workloads, dict) else ():
        if isinstance(ref, dict):
            kind = kind_of(str(ref.get("apiVersion") or ""), str(ref.get("kind") or DEPLOYMENT))
            yield WorkloadKey(kind, namespace, sys.intern(str(ref.get("name", ""))))


def _scaled(namespace: str, status: Json) -> Iterator[WorkloadKey]:
    """The workloads on record as scaled, of kinds that may be."""
    scale = status.get("scale")
    books = _list(status.get("formerCanaries"))
    books += [{"kind": scale.get("kind"), "name": scale.get("workload")}] if isinstance(scale, dict) else []
    for book in books:
        kind = str(book.get("kind") or DEPLOYMENT)
        if not foreign(kind) and traits(kind).scales:
            yield WorkloadKey(sys.intern(kind), namespace, sys.intern(str(book.get("name") or "")))


def _services(document: Json) -> tuple[Key, ...]:
    """The two Services of a Rollout, and those of comparers. Lenient: the spec may be nonsense."""
    namespace, _ = key_of(document)
    spec = document.get("spec") or {}
    mirrors = (step.get("mirror") for step in _list(spec.get("steps")))
    comparers = (mirror["comparer"] for mirror in mirrors if isinstance(mirror, dict) and "comparer" in mirror)
    targets = (spec.get("stable"), spec.get("canary"), *comparers)
    return tuple(dict.fromkeys(_service(target, namespace) for target in targets))


def _service(target: Any, namespace: str) -> Key:
    fields = target if isinstance(target, dict) else {}
    place, name = fields.get("namespace") or namespace, fields.get("service") or ""
    return sys.intern(str(place)), sys.intern(str(name))


def _places(needs: AbstractSet[Need]) -> set[RouteKey]:
    """The routes among what is referred to."""
    return {need for need in needs if isinstance(need, RouteKey)}


def _list(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
