"""Gathers the facts of one Rollout from the store. Reads only memory: a tick costs no request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from canary.decide import matching, mirroring
from canary.decide.facts import (
    UNSCALABLE,
    Facts,
    FormerView,
    Problem,
    Recorded,
    RouteView,
    RuleView,
    ScalingView,
    Unseen,
    Untidied,
    WorkloadView,
)
from canary.decide.former import anything_left
from canary.decide.reasons import CONFLICTING_ROLLOUT
from canary.errors import CanaryError, ShareError, refusal
from canary.model.measurement import Measured, Measurement, Reading
from canary.model.rollout import RolloutSpec, RouteRef
from canary.model.status import RolloutStatus
from canary.model.workloads import DEPLOYMENT, foreign, traits
from canary.observe.checks import Checks
from canary.observe.kinds import plain
from canary.observe.rivals import claimant, on_record
from canary.observe.rollout import Rollout
from canary.observe.routes import Viewer, Views, permitted, placed, routes_of, vouched_for
from canary.observe.store import Store
from canary.observe.workloads import WorkloadKey
from canary.preflight.backends import grants, unseen_grants
from canary.preflight.findings import Finding
from canary.preflight.look import findings, unsupported
from canary.preflight.parents import settle_time
from canary.routes.intent import run_annotation
from canary.routes.key import RouteKey
from canary.routes.pair import Backend, Pair
from canary.routes.weights import divide


@dataclass(frozen=True, slots=True)
class Received:
    """What has come in since the last decision."""

    measurements: tuple[tuple[str, Measured], ...] = ()
    traffic: Reading | None = None
    """What spec.traffic read last."""
    refusals: tuple[Problem, ...] = field(default=())
    """What the metrics provider refused of our queries."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a controller stands with a Rollout: what it knows that no object tells. See `Facts` for each."""

    turn: str = ""
    over: frozenset[str] = frozenset()
    fresh: bool = False
    since: datetime | None = None
    blind: bool = False
    blind_since: datetime | None = None
    unwritten: Mapping[RouteKey, str] = field(default_factory=dict)
    altered: Mapping[RouteKey, int] = field(default_factory=dict)
    uncopied: str = ""
    unrestored: Mapping[int, str] = field(default_factory=dict)
    untidied: Untidied | None = None
    unscaled: Mapping[tuple[str, str], CanaryError] = field(default_factory=dict)
    """By kind and name of a workload."""
    time_of_day: datetime | None = None
    gate: Measurement | None = None
    unstamped: str = ""
    vouched: bool | None = None
    good: Mapping[str, datetime] = field(default_factory=dict)


LOOKING_ON = Standing()
"""Of somebody who looks and does nothing."""


def gather(
    store: Store,
    rollout: Rollout,
    spec: RolloutSpec,
    status: RolloutStatus,
    checks: Checks,
    received: Received,
    now: datetime,
    standing: Standing = LOOKING_ON,
    *,
    views: Views | None = None,
) -> Facts:
    """Put together the facts of a Rollout.

    Args:
        store: what the watches have told.
        rollout: the Rollout as last read; its status is what the API server has.
        spec: its spec (apart, because a run goes on with the last good one when an edit cannot be read).
        status: the state that the last decision left.
        checks: the resolved checks of that spec.
        received: measurements and refusals since the last decision.
        now: the time.
        standing: what the controller knows of itself; without it, one that looks and does nothing.
        views: what the last look has seen, for those who look often.

    """
    stable, canary, unseen = _workloads(store, rollout, spec, swapped=status.swapped)
    unseen_stable, unseen_canary = (view if isinstance(view, Unseen) else None for view in (stable, canary))
    stable, canary = (None if isinstance(view, Unseen) else view for view in (stable, canary))
    viewer = Viewer(rollout.name, rollout.namespace, spec, status)
    routes = tuple(placed(route, store.around) for route in _routes(store, rollout, viewer, views or Views()))
    problems = [rollout.problem] if rollout.problem is not None else []
    if not problems:  # else the others would be about something that nobody has declared
        problems += checks.problems
        problems += unseen
        problems += received.refusals
        problems += _route_problems(store, rollout, spec, status, routes)
        if spec.scale is not None:
            problems += _scale_problems(store, rollout, spec)
        problems += mirroring.problems(spec, routes, active=status.active)
        problems += matching.problems(spec, routes, step=status.step.index if status.active and status.step else 0)
    routes = tuple(_unrivalled(store, rollout, status, route) for route in routes)
    undecided = status.active and (status.run is None or status.run.outcome is None)
    if undecided:
        routes = tuple(permitted(route, store.around) for route in routes)
    return Facts(
        now=now,
        name=rollout.name,
        uid=rollout.uid,
        generation=rollout.generation,
        unread=str(rollout.problem or ""),
        deleting=rollout.deleting,
        finalizer=rollout.finalizer,
        routes=routes,
        stable=stable,
        canary=canary,
        unseen_stable=unseen_stable,
        unseen_canary=unseen_canary,
        swapped=status.swapped,
        checks=checks.resolved,
        counters=checks.traffic,
        measurements=received.measurements,
        traffic=received.traffic,
        request=rollout.request,
        unstamped=standing.unstamped,
        vouched=standing.vouched,
        problems=tuple(problems),
        findings=tuple(_findings(store, rollout.namespace, spec, routes, undecided=undecided)),
        unseen_grants=_unseen_grants(store, rollout.namespace, spec),
        recorded=Recorded.of(rollout.status),
        senseless=(*rollout.senseless, *_strangers(store, rollout, viewer)),
        turn=standing.turn,
        over=standing.over,
        fresh=standing.fresh,
        since=standing.since,
        settle=_settle(store, routes) if status.active else timedelta(0),
        blind=standing.blind,
        blind_since=standing.blind_since,
        unwritten=standing.unwritten,
        altered=standing.altered,
        uncopied=standing.uncopied,
        unrestored=standing.unrestored,
        untidied=standing.untidied,
        copied_to=_copied_to(store, rollout, status, stable),
        scaling=_scaling(store, rollout, spec, canary, standing)
        if canary is not None and (spec.scale is not None or status.scale is not None or canary.scaled)
        else UNSCALABLE,
        former=_former(store, rollout, spec, status, standing),
        users=_users(store, rollout, spec, routes) if anything_left(status) else "",
        time_of_day=standing.time_of_day,
        gate=standing.gate,
        good=standing.good,
    )


def revisions(store: Store, rollout: Rollout, spec: RolloutSpec) -> tuple[str, str]:
    """What the workloads of spec.stable and of spec.canary run; empty where nobody knows."""
    stable, canary, _ = _workloads(store, rollout, spec, swapped=False)
    return _revision(stable), _revision(canary)


def _revision(seen: Look) -> str:
    return seen.revision if isinstance(seen, WorkloadView) and seen.known else ""


Look = WorkloadView | Unseen | None


def _workloads(store: Store, rollout: Rollout, spec: RolloutSpec, *, swapped: bool) -> tuple[Look, Look, list[Problem]]:
    """Both by their present role, and why one cannot be seen: that it is not there is not said of it then."""
    if spec.workloads is None:
        return None, None, []
    views: list[Look] = []
    problems: list[Problem] = []
    for role, ref in (("stable", spec.workloads.stable), ("canary", spec.workloads.canary)):
        key = WorkloadKey(ref.called, rollout.namespace, ref.name)
        found = store.workloads.get(key)
        missing = store.workload_kinds.missing(key.kind, key.namespace) or (found.problem if found is not None else "")
        if found is None and not missing and not store.references.follows(key):
            missing = f"{plain(key.kind)}s of this namespace are not watched for now, so nobody can tell whether {ref.name} is there"
        if missing:
            problems.append(Problem(f"spec.workloads.{role}", missing))
            views.append(Unseen(ref.name, key.kind, missing))
        elif found is None:
            views.append(WorkloadView(ref.name, exists=False, kind=key.kind))
        else:
            view = found.seen_by(rollout.name)
            views.append(store.configs.included(key, view) if spec.includes_configs else view)
    stable, canary = views
    return (canary, stable, problems) if swapped else (stable, canary, problems)


def _scaling(
    store: Store,
    rollout: Rollout,
    spec: RolloutSpec,
    canary: WorkloadView,
    standing: Standing,
) -> ScalingView:
    """Who else scales the canary, and how our own writes go."""
    unread = store.autoscalers.unread(rollout.namespace) if spec.scale is not None else None
    error = standing.unscaled.get((canary.kind, canary.name))
    return ScalingView(
        known=unread == "",
        unread=unread or "",
        autoscaler=store.autoscalers.of(WorkloadKey(canary.kind, rollout.namespace, canary.name)),
        failed=str(error) if error is not None else "",
        denied=error is not None and refusal(error),
    )


def _former(
    store: Store, rollout: Rollout, spec: RolloutSpec, status: RolloutStatus, standing: Standing
) -> dict[tuple[str, str], FormerView]:
    """What is on record as scaled and is not the canary, or will be found not to be."""
    on_record = [(each.kind, each.name) for each in status.former_canaries]
    if status.scale is not None:
        on_record.append((status.scale.kind or DEPLOYMENT, status.scale.workload))
    found = {}
    for kind, name in on_record:
        if foreign(kind) or not traits(kind).scales:
            continue  # nobody of us has written that
        key = WorkloadKey(kind, rollout.namespace, name)
        kept = store.workloads.get(key)
        view = kept.seen_by(rollout.name) if kept is not None else WorkloadView(name, exists=False, kind=kind)
        unseen = bool(store.workload_kinds.missing(kind, rollout.namespace) or (kept is not None and kept.problem))
        scaling = _scaling(store, rollout, spec, view, standing)
        unseen = unseen or store.workload_kinds.awaits(kind, rollout.namespace)
        found[kind, name] = FormerView(view, scaling, unseen, bool(store.users_of(key)))
    return found


def _users(store: Store, rollout: Rollout, spec: RolloutSpec, routes: tuple[RouteView, ...]) -> str:
    """Who sends users to the canary besides the rules that this Rollout drives; those who may not (no ReferenceGrant) do not."""
    own = {route.key for route in routes}
    beside = next((f"{rule} of {route.label}" for route in routes for rule in route.besides), "")
    canary, asked = Backend.of(spec.canary, rollout.namespace), set[tuple[str, str]]()
    for key in () if beside else store.senders.of(canary):
        home = key.kind.value, key.namespace
        if key in own or home in asked:
            continue
        asked.add(home)
        if next(grants(canary, {key.kind.value}, key.namespace, "", store.around), None) is None:
            return key.label if key.namespace == rollout.namespace else f"{key.label} of namespace {key.namespace}"
    return beside


def _copied_to(
    store: Store, rollout: Rollout, status: RolloutStatus, stable: WorkloadView | None
) -> WorkloadView | None:
    """The workload that the run on record has copied to, if it is declared as stable no more."""
    book = status.run.copied if status.run is not None else None
    if book is None or foreign(book.kind) or (stable is not None and book.is_over(stable.kind, stable.name)):
        return None
    found = store.workloads.get(WorkloadKey(book.kind, rollout.namespace, book.workload))
    return found.seen_by(rollout.name) if found is not None and not found.problem else None


def _scale_problems(store: Store, rollout: Rollout, spec: RolloutSpec) -> Iterator[Problem]:
    """A workload that is scaled for one Rollout has no other: what one takes away would be missing at the other."""
    if spec.scale is None or spec.workloads is None:
        return
    ref = spec.workloads.canary
    name = ref.name
    others = store.users_of(WorkloadKey(ref.called, rollout.namespace, name)) - {(rollout.namespace, rollout.name)}
    if others:
        names = " and ".join(sorted(other for _, other in others)[:3])
        words = f"Rollout {names} names workload {name} too; one that is scaled has one Rollout: give each its own, or drop scale"
        yield Problem("spec.scale", words, CONFLICTING_ROLLOUT)


def _routes(store: Store, rollout: Rollout, viewer: Viewer, view: Views) -> Iterator[RouteView]:
    """The routes of the spec, and those that the run has written and that the spec names no more."""
    for ref, declared in routes_of(viewer, store.routes):
        if declared or vouched_for(viewer, rollout.uid, ref, store.routes):
            yield _route(store, viewer, view, ref, declared=declared)


def _strangers(store: Store, rollout: Rollout, viewer: Viewer) -> Iterator[str]:
    """What of the status is about routes that neither the spec nor they themselves say anything of, as a path."""
    for ref, declared in routes_of(viewer, store.routes):
        if not declared and not vouched_for(viewer, rollout.uid, ref, store.routes):
            yield f"routes[{ref.name}]"


def _route(store: Store, viewer: Viewer, view: Views, ref: RouteRef, *, declared: bool = True) -> RouteView:
    key = RouteKey.of(ref, viewer.namespace)
    found = store.routes.get(key)
    return view(viewer, ref, found, declared=declared, missing=store.kinds.missing(key) if found is None else "")


def _route_problems(
    store: Store,
    rollout: Rollout,
    spec: RolloutSpec,
    status: RolloutStatus,
    routes: tuple[RouteView, ...],
) -> Iterator[Problem]:
    by_key = {route.key: route for route in routes}
    for index, ref in enumerate(spec.routes):
        field_ = f"spec.routes[{index}]"
        route = by_key[RouteKey.of(ref, rollout.namespace)]
        if not route.exists:
            absent = f"there is no {route.label} in namespace {rollout.namespace}; create it, or correct the name"
            yield Problem(field_, route.missing or absent)
            continue
        if route.problem:
            yield Problem(field_, route.problem)
            continue
        if not status.active:
            yield from _unwritable(spec, route, field_)
        rival = next(filter(None, (_rival(store, rollout, route, rule.key) for rule in _in_order(route))), "")
        if rival:
            yield Problem(field_, rival, CONFLICTING_ROLLOUT)
    if spec.named_rules and all(route.exists and not route.problem for route in routes):
        found = frozenset(rule.key for route in routes if route.declared for rule in route.rules)
        for index, _, words in spec.misnamed(found):
            yield Problem(f"spec.steps[{index}].rules", words)


def asks_gateways(spec: RolloutSpec) -> bool:
    """Whether a run asks more of gateways than to divide requests, which all can."""
    return any(step.mirror is not None or step.match is not None for step in spec.steps)


def _findings(
    store: Store, namespace: str, spec: RolloutSpec, routes: tuple[RouteView, ...], *, undecided: bool
) -> Iterator[Finding]:
    """What a preflight finds, of the routes that there are; what is wrong with the others is a problem.

    An undecided run is not ended by what stands around its routes, and looked at much more often than what rests: of that only
    what must not be written counts. One that is decided may rest after this look, and is then Ready or not.
    """
    if undecided and not asks_gateways(spec):
        return iter(())
    sound = {
        route.key: store.routes[route.key].reading.since(route.since)
        for route in routes
        if route.declared and route.exists and not route.problem
    }
    return (unsupported if undecided else findings)(spec, namespace, sound, store.around)


def _unseen_grants(store: Store, namespace: str, spec: RolloutSpec) -> str | None:
    """That nobody can tell whether a ReferenceGrant lets the routes name their Services; None: before everything is listed."""
    if spec.stable.namespace in {None, namespace} and spec.canary.namespace in {None, namespace}:
        return ""
    if not store.around.complete:
        return None
    return unseen_grants(Pair.of(spec, namespace), {ref.kind.value for ref in spec.routes}, namespace, store.around)


def _settle(store: Store, routes: tuple[RouteView, ...]) -> timedelta:
    """The longest of all parents of the routes that the run has in hand; while they are not listed, the longest there is."""
    if not store.around.complete:
        return store.around.platform.longest_settle
    return settle_time((answer for route in routes for answer in route.answers), store.around)


def _unwritable(spec: RolloutSpec, route: RouteView, field_: str) -> Iterator[Problem]:
    """Shares that the weights as they stand cannot express."""
    shares = [spec.shares_at(index + 1) for index in range(len(spec.steps))]
    for rule in route.rules:
        for share in sorted({each.of(rule.key) for each in shares}):
            try:
                divide(rule.weights, share, rule.others)
            except ShareError as error:
                yield Problem(field_, f"rule {rule.key} of {route.label}: {error}")
                return


def _in_order(route: RouteView) -> list[RuleView]:
    return sorted(route.rules, key=lambda rule: rule.key)


def _rival(store: Store, rollout: Rollout, route: RouteView, rule: str) -> str:
    """Another Rollout that drives a rule and comes before us: it runs, by its status or by the route, or it was there first."""
    key = route.key
    owner = store.rivals.owner(key, rule)
    if owner is not None and owner.name != rollout.name:
        mine = claimant(rollout, recorded=rule in on_record(rollout.status, route))
        if owner < mine:
            return (
                f"Rollout {owner.name} drives rule {rule} of {key.label} already; a rule has one Rollout: "
                "name other rules, or delete one of the two"
            )
    for name in sorted(store.routes[key].reading.runs(besides=rollout.name).get(rule, ())):
        if store.may_run(key, name):
            return (
                f"a run of Rollout {name} is on rule {rule} of {key.label}, by the annotation {run_annotation(name)}; "
                "a rule has one Rollout: wait for the end of that run"
            )
    return ""


def _unrivalled(store: Store, rollout: Rollout, status: RolloutStatus, route: RouteView) -> RouteView:
    """The same without the rules that another Rollout drives, as long as a run of ours has never had them in hand.

    An edit of the spec may name them in the middle of our run, and theirs: then they are nothing to put on stable.
    """
    if not (status.active and route.exists and route.declared):
        return route
    ours = on_record(status, route)
    taken = {rule.key for rule in route.rules if rule.key not in ours and _rival(store, rollout, route, rule.key)}
    if not taken:
        return route
    return replace(
        route,
        rules=tuple(rule for rule in route.rules if rule.key not in taken),
        copied={key: copies for key, copies in route.copied.items() if key not in taken},
    )
