"""One look at a Rollout, without any effect: what is believed of its record, the facts, and the decision."""

from __future__ import annotations

from dataclasses import dataclass

from canary.act.executor import World
from canary.controller.deps import Deps
from canary.decide.engine import decide
from canary.decide.facts import Facts
from canary.decide.once import once
from canary.decide.scope import Decision
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus
from canary.observe.checks import Resolver, resolve_checks
from canary.observe.facts import LOOKING_ON, Received, Standing, gather, revisions
from canary.observe.objects import Key
from canary.observe.rollout import Rollout
from canary.observe.routes import Views
from canary.observe.store import Store
from canary.routes.key import RouteKey
from canary.status.project import project


@dataclass(frozen=True)
class Observation:
    """One look at a Rollout: what it declares, the facts, and the decision."""

    rollout: Rollout
    spec: RolloutSpec
    facts: Facts
    decision: Decision
    world: World

    @once
    def status(self) -> RolloutStatus:
        """What people and tools are to read. Run, pause and phase are those of the decision; nothing is sent later for the rest."""
        return project(self.spec, self.decision, self.facts)


def observe(
    deps: Deps,
    key: Key,
    rollout: Rollout,
    spec: RolloutSpec,
    status: RolloutStatus,
    received: Received,
    resolver: Resolver | None = None,
    standing: Standing = LOOKING_ON,
    *,
    views: Views | None = None,
) -> Observation:
    """Observe and decide, without any effect. `resolver` and `views` are for those who look often."""
    checks = (resolver or resolve_checks)(deps.store, rollout.namespace, rollout.name, spec)
    # What the decision sees and what a write is guarded by must be one and the same document.
    named = {RouteKey.of(route, key[0]) for route in spec.routes}
    named |= {RouteKey.of(route, key[0]) for route in status.routes}
    routes = {name: deps.store.routes[name] for name in named if name in deps.store.routes}
    kept = deps.store.rollouts[key]
    facts = gather(deps.store, rollout, spec, status, checks, received, deps.clock.now(), standing, views=views)
    decision = decide(spec, status, facts)
    return Observation(rollout, spec, facts, decision, World(kept, routes))


def taken_in(store: Store, rollout: Rollout, spec: RolloutSpec) -> Rollout:
    """A Rollout with what can be believed of its status on record, before anything is observed by it."""
    if not rollout.status.active and not rollout.status.swapped:
        return rollout  # no route has to be opened for that
    named = {RouteKey.of(route, rollout.namespace) for route in spec.routes}
    named |= {RouteKey.of(route, rollout.namespace) for route in rollout.status.routes}
    found = {name: route for name in named if (route := store.routes.get(name)) is not None}
    readings = {name: route.reading for name, route in found.items() if not route.problem}
    return store.roles.credible(rollout, spec, readings, lambda: revisions(store, rollout, spec))
