"""From a decision and the facts it rests on to the status that people and tools read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from canary.decide import reasons
from canary.decide.actions import WriteRoute
from canary.decide.drift import lessened
from canary.decide.facts import Facts, Problem, RouteView, WorkloadView
from canary.decide.scope import Decision, Scope, seen_revision
from canary.decide.wrote import allowed, known, lowered_to, written
from canary.model.check_status import VerdictKind
from canary.model.evolution import concluded, on_terms, revisions_seen, route_seen, share_observed, split_seen
from canary.model.rollout import RolloutSpec
from canary.model.route_status import RouteStatus, TrafficStatus
from canary.model.status import Phase, RolloutStatus
from canary.model.steps import MAX_RULES
from canary.model.values import number
from canary.model.workload_status import WorkloadsStatus, WorkloadStatus
from canary.routes.added import Added, bounded
from canary.routes.intent import Mode
from canary.routes.pair import Pair
from canary.routes.plan import RoutePlan
from canary.status.conditions import ALWAYS, conditions

NOTHING_COUNTED = TrafficStatus()


MOST_KEPT = MAX_RULES * 4
"""Rules of a route that a status has on record, of each kind."""

OVER = ("0", "0 []")
"""What is on record of a rule from which nothing is copied any more."""


def project(spec: RolloutSpec, decision: Decision, facts: Facts) -> RolloutStatus:
    """Complete the status of a decision with what the facts show: split, routes, revisions, summary, conditions."""
    if facts.fresh:
        # What routes are ahead is believed by who takes the run over. It is put on record once the run is there, too.
        facts = replace(facts, fresh=False)
    scope = Scope(spec, decision.status, facts)
    coming = {action.key: action for action in decision.actions if isinstance(action, WriteRoute)}
    routes = tuple(_route(scope, route, coming.get(route.key)) for route in facts.routes)
    written = scope.found.weight
    accepted = number(written) if routes and all(route.accepted for route in routes) else scope.status.split.accepted
    active = scope.status.active
    split = split_seen(
        scope.status.split,
        desired=number(_desired(scope)) if active else 0,
        written=number(written),
        accepted=accepted,
    )
    run = scope.status.run
    if run is not None and run.terms is not spec.terms and run.outcome is None and active and not facts.unread:
        run = on_terms(run, spec.terms)
    before = scope.status.workloads
    if facts.swapped != scope.status.swapped:  # this very decision has changed the roles
        facts = replace(
            facts,
            stable=facts.canary,
            canary=facts.stable,
            unseen_stable=facts.unseen_canary,
            unseen_canary=facts.unseen_stable,
            swapped=scope.status.swapped,
        )
        before = WorkloadsStatus(stable=before.canary, canary=before.stable)
    revisions = revisions_seen(
        scope.status.revisions,
        canary=seen_revision(facts.canary, scope.status.revisions.canary, facts.unseen_canary),
        stable=seen_revision(facts.stable, scope.status.revisions.stable, facts.unseen_stable),
    )
    status = scope.status.model_copy(
        update={
            "observed_generation": facts.generation,
            "run": run,
            "split": split if active else share_observed(split, None),
            "traffic": scope.status.traffic if active else NOTHING_COUNTED,
            "routes": routes,
            "revisions": revisions,
            "workloads": _workloads(before, facts),
            "checks_summary": summary(scope.status),
        }
    )
    status = _won(scope, status)
    return status.model_copy(update={"conditions": conditions(status, decision, facts)})


def _desired(scope: Scope) -> Fraction:
    """The share of the rules that follow `weight`; where steps name all of them, the largest, as for what is written."""
    shares = scope.shares
    rules = [rule for route in scope.live_routes for rule in route.rules] if shares.rules else []
    if not rules or any(rule.key not in shares.rules for rule in rules):
        return shares.weight
    return max(shares.of(rule.key) for rule in rules)


def _won(scope: Scope, status: RolloutStatus) -> RolloutStatus:
    """After a success no step is under way, and who reads `Succeeded` next to a weight of 0 learns where traffic is."""
    if status.phase is not Phase.SUCCEEDED or scope.facts.problems:
        return status
    step = concluded(status.step) if status.step else None
    stable = (scope.spec.canary if status.swapped else scope.spec.stable).service
    message = status.message if scope.written else f"{status.message}; traffic is on {stable}"
    return status.model_copy(update={"step": step, "message": message[:1024]})


def _workloads(before: WorkloadsStatus, facts: Facts) -> WorkloadsStatus:
    """Of what cannot be seen that which was seen last."""
    seen = (
        _workload(before.stable, facts.stable) if facts.unseen_stable is None else before.stable,
        _workload(before.canary, facts.canary) if facts.unseen_canary is None else before.canary,
    )
    if seen[0] is before.stable and seen[1] is before.canary:
        return before
    return WorkloadsStatus(stable=seen[0], canary=seen[1])


def _workload(before: WorkloadStatus | None, view: WorkloadView | None) -> WorkloadStatus | None:
    if view is None or not view.exists:
        return None
    said = (view.images, view.ready, view.replicas)
    if before is not None and (before.images, before.ready, before.replicas) == said:
        return before
    return WorkloadStatus(images=view.images, ready=view.ready, replicas=view.replicas)


def unreadable(status: RolloutStatus, problem: Problem, generation: int, now: datetime) -> RolloutStatus:
    """The status of a Rollout whose spec cannot be read: nothing is decided, a run keeps its phase and its weights."""
    phase = status.phase if status.active else Phase.INVALID
    facts = Facts(now=now, name="", uid="", generation=generation, problems=(problem,))
    status = status.model_copy(
        update={"phase": phase, "observed_generation": generation, "message": str(problem)[:1024]}
    )
    said = conditions(status, Decision(status, reasons.INVALID, str(problem)), facts)
    kept = tuple(condition for condition in status.conditions if condition.type not in ALWAYS)
    return status.model_copy(
        update={"conditions": (*(condition for condition in said if condition.type in ALWAYS), *kept)}
    )


def summary(status: RolloutStatus) -> str:
    """The checks in short, for a column: `2/2 pass`, `1/2 fail`, `1/2 unknown`."""
    judging = [check for check in status.checks if not check.dry_run]
    counted = [check for check in judging if check.applicable]
    if not counted:
        return "none apply" if judging else ""
    for kind, word in ((VerdictKind.FAIL, "fail"), (VerdictKind.UNKNOWN, "unknown")):
        some = sum(check.verdict is kind for check in counted)
        if some:
            return f"{some}/{len(counted)} {word}"
    return f"{len(counted)}/{len(counted)} pass"


def _route(scope: Scope, route: RouteView, coming: WriteRoute | None) -> RouteStatus:
    """`coming`: what is being written to it, if anything is."""
    before = scope.remembered(route) or RouteStatus(kind=route.kind, name=route.name)
    active = scope.active
    share: Fraction | None = None
    shares = before.shares if active else {}
    baseline, mirrors, added = before.baseline, before.mirrors, before.added
    owned = before.owned and active
    if route.stale and route.intent is None and not route.share:  # put back: this run has nothing to do with it yet
        owned, baseline, mirrors, added = False, {}, {}, {}
    if active and scope.ours(route) and route.intent is not None:
        owned = True
        baseline = _baseline(scope, route, before)
        if route.intent.mirrors:
            mirrors = {**mirrors, **{key: str(said) for key, said in scope.noted_mirrors(route).items()}}
        added = {mark: str(said) for mark, said in bounded(scope.added(route), route.added.said).items()}
        if route.intent.mode is Mode.STEP:
            share, shares = _given(scope, written(scope, route))
    elif active and not owned and route.intent is None and not route.stale:
        baseline = {**baseline, **_before_any_write(route, baseline)}
    if owned and route.copied:
        baseline, mirrors = _with_strays(scope, route, baseline, mirrors)
    if len(baseline) > MOST_KEPT or len(mirrors) > MOST_KEPT:
        baseline, mirrors = _fitting(baseline, route), _fitting(mirrors, route)
    if not owned:
        share, shares = route.share, {}
    # One that no spec names is nobody's once its annotation is off; if that could not be written it goes on saying whose it is.
    released = active and not route.declared and coming is not None and coming.intent is None
    return route_seen(
        before,
        generation=route.generation,
        about=route.about,
        since=route.since,
        accepted=route.exists and route.acceptance.accepted,
        message=route.problem or ("" if route.acceptance.accepted else route.acceptance.message),
        share=number(share) if share is not None else before.share,
        shares=shares,
        lowered=_lowered(scope, route) if owned else {},
        resumed=_resumed(scope, route, coming.plan if coming is not None else None) if owned else {},
        altered=route.generation
        if owned and route.generation in {scope.facts.altered.get(route.key), before.altered}
        else 0,
        owned=owned and not released,
        pair=_pair(scope, route, owned=owned),
        baseline=baseline if active else {},
        rules=_marks(before, route, baseline) if active else {},
        mirrors=mirrors if active and owned else {},
        added=added if active and owned else {},
        places=_places(before, route, coming.plan.added if coming is not None else {}, added) if active else {},
    )


def _before_any_write(route: RouteView, baseline: Mapping[str, str]) -> dict[str, str]:
    """What rules on record give their pair now, as long as a run has written nothing: what their owner has made of it since is theirs.

    But for what gives the canary anything, which no run is to put back.
    """
    return {rule.key: str(rule.weights) for rule in route.rules if rule.key in baseline and not rule.weights.share}


def _with_strays(
    scope: Scope, route: RouteView, baseline: Mapping[str, str], mirrors: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The same records, and in them the rules that copy for the run, and that somebody has edited so that no record leads to them.

    As long as such a rule lists the pair it can be told; what becomes of it after that is found by this. One that it stands for is none to look for any more.
    """
    copied, before = scope.mirrors(route), scope.baseline(route)
    gone = [key for key, there in scope.edited_copies(route).items() if there in before]
    strays = [key for key in before if key not in baseline and key in route.copied and key in copied]
    found = {key: str(before[key]) for key in strays}, {key: str(copied[key]) for key in strays}
    left = {key: said for key, said in baseline.items() if key not in gone}
    ended = {key: str(copied[key]) for key in gone}
    return {**left, **found[0]}, {**mirrors, **found[1], **ended}


def _fitting(record: Mapping[str, str], route: RouteView) -> dict[str, str]:
    """No more of a record than may be kept: what is there first, then what is not over. A route has fewer rules; one that was forged may name any."""
    there = {rule.key for rule in route.rules} | route.copied.keys()
    least_first = sorted(record, key=lambda key: (key in there, record[key] not in OVER, key))
    kept = frozenset(least_first[-MOST_KEPT:])
    return {key: said for key, said in record.items() if key in kept}


def _pair(scope: Scope, route: RouteView, *, owned: bool) -> str:
    """Which pair the run has written to a route. Before it has, that which it is about to: then a write whose status was lost is told by it."""
    if owned:
        return str(route.pair)
    return str(Pair.of(scope.spec, route.key.namespace, swapped=scope.status.swapped)) if scope.active else ""


def _baseline(scope: Scope, route: RouteView, before: RouteStatus) -> dict[str, str]:
    """What is to be put back in the rules that this run has written, by the route's own word as far as it is believed, and never less than is on record."""
    told = scope.told_baseline(route)
    wrote = route.intent.baseline if route.intent is not None else {}
    found = {rule.key: str(told.get(rule.key, rule.weights)) for rule in route.rules if rule.key in wrote}
    return {**found, **before.baseline} if before.owned else {**before.baseline, **found}


def _places(
    before: RouteStatus, route: RouteView, coming: Mapping[str, Added], added: Mapping[str, str]
) -> dict[str, str]:
    """Where the rules without a name are that the run has added, or comes to add: as long as nobody has edited them, by what the route says."""
    edited = route.added.edited.keys() | route.added.rematched
    planned = {mark: str(said.spot) for mark, said in coming.items() if said.there and not said.name and said.spot}
    seen = {mark: str(spot) for mark, spot in route.added.spots.items() if mark not in edited}
    unnamed = {mark for mark, said in added.items() if said == "+"} | planned.keys()
    return {mark: spot for mark, spot in {**planned, **before.places, **seen}.items() if mark in unnamed}


def _given(scope: Scope, given: Mapping[str, Fraction]) -> tuple[Fraction, dict[str, float]]:
    """The largest share that a run wrote to the rules of a route that follow `weight`, and those of the rules that a step names."""
    apart = {key: share for key, share in given.items() if key in scope.spec.named_rules}
    following = [share for key, share in given.items() if key not in apart] or [*apart.values()]
    return max(following, default=Fraction(0)), {key: number(share) for key, share in apart.items()}


def _lowered(scope: Scope, route: RouteView) -> dict[str, float]:
    """The rules of which a hand has left less than the run wrote, with the least that it was, for as long as the run is paused."""
    if scope.status.phase is not Phase.PAUSED or route.problem:
        return {key: number(share) for key, share in lowered_to(scope, route).items()}
    low, most = lowered_to(scope, route), allowed(scope, route)
    found = {rule.key: rule.weights.share for rule in route.rules}
    return {
        key: number(min(low.get(key, share), share))
        for key, share in {
            **low,
            **{key: found[key] for key in found if found[key] < most.get(key, Fraction(0))},
        }.items()
    }


def _resumed(scope: Scope, route: RouteView, coming: RoutePlan | None) -> dict[str, float]:
    """What the run was resumed over, as long as that waits: once a rule is given more, whoever takes that again is a hand like any other."""
    left = known(scope, route)
    if not left or scope.run.outcome is not None:
        return {}
    there, given = lessened(scope, route), coming.weights if coming is not None else {}
    raised = {key for key in there if key in given and given[key].share > there[key]}
    waits = left.keys() if route.problem else there.keys() - raised
    return {key: number(share) for key, share in left.items() if key in waits}


def _marks(before: RouteStatus, route: RouteView, baseline: Mapping[str, str]) -> dict[str, str]:
    """What identifies each rule that is remembered: as it is now, and of one that is gone as it was."""
    now = {rule.key: rule.digest for rule in route.rules if rule.digest}
    return {key: mark for key, mark in {**before.rules, **now}.items() if key in baseline}
