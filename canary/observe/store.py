"""What the watches have told us: objects by key, and which Rollouts care about each.

Fed by the handlers and by the answers to our own writes; read by `facts`. Idle Rollouts cost an entry here, nothing else:
the text of their document and of their route, and a view of their workloads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from canary.model.rollout import RouteKind
from canary.model.status import ACTIVE, RolloutStatus
from canary.model.workloads import DEPLOYMENT
from canary.observe.around import Around, Change
from canary.observe.autoscalers import Autoscalers
from canary.observe.backends import Backends
from canary.observe.configs import Configs, Reckoned
from canary.observe.kinds import Kinds, WorkloadKinds
from canary.observe.lists import Lists
from canary.observe.needs import (
    AUTOSCALERS,
    ConfigsOf,
    Need,
    configs_of,
    named_workloads,
    needs_of,
    routes_among,
    services_of,
)
from canary.observe.objects import FINALIZER, Key, Packed, Route, key_of, known, recorded_at, request_of, uid_of
from canary.observe.references import References
from canary.observe.rivals import Rivals
from canary.observe.roles import Roles
from canary.observe.rollout import Rollout
from canary.observe.senders import Senders
from canary.observe.workloads import Workload, WorkloadKey
from canary.preflight.objects import sources_of
from canary.preflight.offers import NOTHING_DECLARED, Platform
from canary.preflight.surroundings import POLICY
from canary.routes.key import RouteKey

Json = dict[str, Any]

RESTING = 256
"""Parsed Rollouts at rest that are kept (of active ones all); ten thousand would be a lot of memory for nothing."""

LATELY = timedelta(hours=1)
"""When the status of a Rollout at rest was written is known for so long, by what was written last of all."""


class Store:
    """Objects by key. `put_*` and `drop_*` of what Rollouts refer to return the Rollouts to wake.

    `references` knows who refers to what, `backends` who sends traffic to which Services, `rivals` which of the Rollouts that share
    a route has which rule of it, `around` what stands around the routes, `configs` what belongs to revisions besides workloads.
    `kinds` knows which kinds of route can be seen.

    `answer=True` says that a document is the answer to a write of ours: it may update what is kept, but it brings back
    nothing that a watch has reported as gone. `drop_*` with a `uid` leaves alone a newer object of the same name: events
    of two objects come in any order.
    """

    def __init__(self, place: str = "", platform: Platform = NOTHING_DECLARED) -> None:
        """`place` and `platform`: see `canary.preflight.surroundings`."""
        self.rollouts: dict[Key, Packed] = {}
        self.on_set_back: Callable[[], object] = lambda: None
        """Called when the API server turns out to have an older Rollout than was known before it was asked."""
        self.on_sent: Callable[[set[Key]], object] = lambda _: None
        """Called with Rollouts that have replicas to take away, when some route begins or ends to send users to a Service of theirs."""
        self.listed = False
        """Whether all Rollouts are known, so that one that is not known does not exist."""
        self.routes: dict[RouteKey, Route] = {}
        self.workloads: dict[WorkloadKey, Workload] = {}
        self.templates: dict[Need, Packed] = {}
        self._parsed: dict[Key, tuple[Packed, Rollout]] = {}
        self._resting: OrderedDict[Key, None] = OrderedDict()
        self.configs = Configs()
        self.references = References(self.configs)
        self.backends = Backends()
        self.senders = Senders()
        self._active: set[Key] = set()
        self._draining: set[Key] = set()
        self._recorded_at: dict[Key, datetime] = {}
        self._last_recorded = datetime.min.replace(tzinfo=UTC)
        self.around = Around(place, platform)
        self.roles = Roles()
        self.stamps: dict[Key, str] = {}
        """When this process has put the status of a Rollout on record last, as it is written there: by a clock that it knows."""
        self.rivals = Rivals(self.rollout, self.routes, self.references.sharing)
        self.kinds = Kinds()
        self.workload_kinds = WorkloadKinds()
        self.lists = Lists()
        self.autoscalers = Autoscalers()

    def recorded_at(self, key: Key) -> datetime | None:
        """When the status of a Rollout was written last, by the API server's clock (whole seconds); of one at rest only if that was lately."""
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

    def share(self, key: Key, status: RolloutStatus) -> None:
        """What is in mind of a Rollout that is kept parsed: its status on record shares what is the same, and takes half of the memory."""
        kept = self._parsed.get(key)
        if kept is not None:
            self._parsed[key] = kept[0], replace(kept[1], status=kept[1].status.sharing(status))

    def put_rollout(self, document: Json, *, answer: bool = False) -> bool:
        """Keep a Rollout; False when what we have is newer or the same."""
        key = key_of(document)
        if not _news(document, self.rollouts.get(key), answer=answer):
            return False
        self.rollouts[key] = Packed.of(document)
        active = _active(document)
        (self._active.add if active else self._active.discard)(key)
        (self._draining.add if _drains(document) else self._draining.discard)(key)
        at = recorded_at(document)
        self._last_recorded = max(self._last_recorded, at or self._last_recorded)
        if at is not None and (active or self._last_recorded - at < LATELY):
            self._recorded_at[key] = at
        else:
            self._recorded_at.pop(key, None)
        before = self.references.needs.get(key, frozenset())
        needs = self.references.put(key, needs_of(document), unreadable=self._unreadable(key))
        self.backends.put(key, services_of(document))
        self.rivals.left(key, routes_among(before - needs))
        self.rivals.rollout(key, routes_among(needs))
        return True

    def _unreadable(self, key: Key) -> bool:
        """Whether a run is under way whose spec cannot be read."""
        rollout = self.rollout(key) if key in self._active else None
        return rollout is not None and rollout.spec is None

    def drop_rollout(self, key: Key, uid: str = "") -> bool:
        """Forget a Rollout; False when what we have is another one, or none."""
        if key not in self.rollouts or _another(self.rollouts.get(key), uid):
            return False
        del self.rollouts[key]
        self._active.discard(key)
        self._draining.discard(key)
        self._recorded_at.pop(key, None)
        self.stamps.pop(key, None)
        self._parsed.pop(key, None)
        self._resting.pop(key, None)
        self.backends.drop(key)
        self.rivals.left(key, routes_among(self.references.drop(key)))
        return True

    def put_route(self, document: Json, *, answer: bool = False) -> set[Key]:
        key = RouteKey.read(document)
        if not _news(document, self.routes.get(key), answer=answer):
            return set()
        before, self.routes[key] = self.routes.get(key), (fresh := Route.of(document))
        self._attach(key, document)
        if self.rivals.shared(key):
            self.rivals.route(key, before.document if before is not None else None, fresh.document)
        return self.references.dependents(*key)

    def _attach(self, route: RouteKey, document: Json | None) -> None:
        self.around.attach(route, document)
        services = self.senders.put(route, document)
        if services and self._draining:
            concerned = {rollout for service in services for rollout in self.backends.senders(service)} & self._draining
            if concerned:
                self.on_sent(concerned)

    def misread_route(self, document: Json) -> set[Key]:
        """Keep that a route is there of which nothing can be made; until it is written again."""
        key = RouteKey.read(document)
        self.routes[key] = Route.misread(document)
        self._attach(key, None)
        self.rivals.route(key, None, None)
        return self.references.dependents(*key)

    def drop_route(self, key: RouteKey, uid: str = "") -> set[Key]:
        if _another(self.routes.get(key), uid):
            return set()
        self.routes.pop(key, None)
        self._attach(key, None)
        self.rivals.route(key, None, None)
        return self.references.dependents(*key)

    def put_workload(self, document: Json, kind: str = DEPLOYMENT, *, answer: bool = False) -> set[Key]:
        """Keep a workload; wakes nobody when nothing changed that a decision looks at. `kind`: as `kind_of` calls it."""
        key = WorkloadKey(kind, *key_of(document))
        kept = self.workloads.get(key)
        if not _news(document, kept, answer=answer) and not (kept is not None and kept.completed_by(document)):
            return set()
        self.workloads[key] = fresh = Workload.of(document, kind)
        if key in self.configs.wanted and self.configs.other(key, fresh.view.revision):
            self.configs.declare(key, document)
        if kept is not None and kept.same(fresh):
            return set()
        return self.references.dependents(*key)

    def misread(self, document: Json, kind: str) -> set[Key]:
        """Keep that a workload is there of which nothing can be made; until it is written again."""
        key = WorkloadKey(kind, *key_of(document))
        self.workloads[key] = Workload.misread(document, kind)
        return self.references.dependents(*key)

    def put_scale(self, key: WorkloadKey, scale: Json, *, ours: bool = False) -> set[Key]:
        """Keep what the scale subresource of a workload that is known has answered; `ours`: to a write of ours."""
        kept = self.workloads.get(key)
        if kept is None or not _news(scale, kept, answer=True):
            return set()
        self.workloads[key] = fresh = kept.resized(scale, ours=ours)
        return set() if kept.same(fresh) else self.references.dependents(*key)

    def put_configs(self, key: WorkloadKey, reckoned: Reckoned) -> set[Key]:
        """Keep what the configs of a workload make of its revision."""
        if key not in self.configs.wanted or not self.configs.put(key, reckoned):
            return set()
        return self.references.dependents(*configs_of(key))

    def awaits_configs(self, key: Key) -> bool:
        """Whether it is about to be known what revision some workload of a Rollout has."""
        if not self.configs.wanted:
            return False
        for need in self.references.needs.get(key, ()):
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
        places = self.references.places(AUTOSCALERS, place)
        return {key for each in places for key in self.references.dependents(AUTOSCALERS, each, "")}

    def _targeting(self, workloads: set[WorkloadKey]) -> set[Key]:
        return {key for workload in workloads for key in self.references.dependents(*workload)}

    def drop_workload(self, key: WorkloadKey, uid: str = "") -> set[Key]:
        if _another(self.workloads.get(key), uid):
            return set()
        self.workloads.pop(key, None)
        return self.references.dependents(*key)

    def awaits(self, key: Key) -> bool:
        """Whether it is about to be known what there is of some kind of workload or of route that a Rollout names, or of template."""
        if not self.workload_kinds.awaiting and not self.lists:
            return False
        needs = self.references.needs.get(key, ())
        named = (need for need in needs if isinstance(need, WorkloadKey))
        if any(self.workload_kinds.awaits(need.kind, need.namespace) for need in named):
            return True
        return any(self.lists.awaits(kind, namespace) for kind, namespace, _ in needs)

    def put_template(self, kind: str, document: Json) -> set[Key]:
        namespace, name = key_of(document)
        if not _news(document, self.templates.get((kind, namespace, name)), answer=False):
            return set()
        self.templates[kind, namespace, name] = Packed.of(document)
        return self.references.dependents(kind, namespace, name)

    def drop_template(self, kind: str, key: Key, uid: str = "") -> set[Key]:
        if _another(self.templates.get((kind, *key)), uid):
            return set()
        self.templates.pop((kind, *key), None)
        return self.references.dependents(kind, *key)

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
        return self._guarded(self.references.places(POLICY, place))

    def _guarded(self, namespaces: set[str]) -> set[Key]:
        return {key for namespace in namespaces for key in self.references.dependents(POLICY, namespace, "")}

    def _surrounded(self, change: Change | None) -> set[Key]:
        """The Rollouts at rest to which a change around routes matters: a run under way is not ended by it."""
        if change is None:
            return set()
        if change.kind == "ReferenceGrant":
            homes = sources_of(change.before, change.after)
            found = {rollout for home in homes for rollout in self.backends.crossing(change.namespace, home)}
        else:
            routes = self.around.concerned(change)
            found = {rollout for route in routes for rollout in self.references.sharing(route)}
        if change.kind == "Service":
            found |= {*self.backends.senders((change.namespace, change.name))}
        return found - self._active

    def resting(self, place: str | None) -> set[Key]:
        """The Rollouts at rest to which what stands in a namespace (None: anywhere) may matter."""
        if place is None:
            return self.rollouts.keys() - self._active
        near = {
            key for key in self.rollouts if key[0] == place or any(of == place for of, _ in self.backends.services[key])
        }
        attached = {key for route in self.around.attached_in(place) for key in self.references.sharing(route)}
        return (near | attached) - self._active

    def users_of(self, workload: WorkloadKey) -> set[Key]:
        """The Rollouts whose spec names a workload; others have something on record of it only."""
        return {
            key
            for key in self.references.dependents(*workload)
            if workload in set(named_workloads(self.rollouts[key].document))
        }

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
        return key in self.references.sharing(place) if key in self.rollouts else not self.listed


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


def _drains(document: Json) -> bool:
    """Whether replicas of a canary, or of a former one, are to go."""
    status = document.get("status")
    return isinstance(status, dict) and bool(status.get("scale") or status.get("formerCanaries"))


def _active(document: Json) -> bool:
    metadata, status = document.get("metadata", {}), document.get("status")
    return (
        (isinstance(status, dict) and str(status.get("phase")) in ACTIVE)
        or FINALIZER in (metadata.get("finalizers") or ())
        or "deletionTimestamp" in metadata
        or request_of(document) is not None
    )
