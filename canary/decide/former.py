"""Workloads that this Rollout has scaled and that are its canary no more, since somebody has edited `spec.workloads`.

What was added to one of them goes as after a run: traffic first, then `drain`, then the replicas, then the ownership. Only what is
ours is taken away, and nothing that somebody else has a use for by now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from canary.decide import reasons
from canary.decide.actions import EmitEvent, ReleaseReplicas, ScaleWorkload
from canary.decide.facts import DENIED_FOR, FormerView
from canary.decide.scope import Scope
from canary.model import evolution
from canary.model.scaling import AfterRun
from canary.model.status import RolloutStatus
from canary.model.workload_status import FormerCanaryStatus
from canary.model.workloads import foreign, traits
from canary.routes.key import RouteKey


def anything_left(status: RolloutStatus) -> bool:
    """Whether something is still to be done about replicas, so that the Rollout has to stay."""
    return status.scale is not None or bool(status.former_canaries)


def parted(scope: Scope) -> Scope:
    """What is on record follows the workloads: of one that is the canary no more, what is to be given back; of one that is it again, nothing."""
    book, former = scope.status.scale, scope.status.former_canaries
    if book is None and not former:
        return scope
    canary = scope.facts.canary or scope.facts.unseen_canary
    now = (canary.kind, canary.name) if canary is not None else None
    again = next((each for each in former if (each.kind, each.name) == now and _may_be(each.kind)), None)
    former = tuple(each for each in former if (each.kind, each.name) != now and _may_be(each.kind))
    if book is not None and canary is not None and book.is_of(canary.kind, canary.name):
        return scope if former == scope.status.former_canaries else scope.with_(former_canaries=former)
    if book is not None and _may_be(book.kind):
        former = evolution.parted(former, book)
    # What it was given before it was another's turn is still ours, and goes as what it is given from now on does.
    book = evolution.scale_resumed(again) if again is not None else None
    if (former, book) == (scope.status.former_canaries, scope.status.scale):
        return scope
    return scope.with_(former_canaries=former, scale=book)


def _may_be(kind: str) -> bool:
    """Whether a record of a workload of this kind may be ours."""
    return not kind or (not foreign(kind) and traits(kind).scales)


def given_back(scope: Scope, *, leaving: bool = False) -> tuple[Scope, datetime | None]:
    """Do what is to be done about each, and until when that waits. `leaving`: the Rollout is being deleted, and waits for nobody but drains."""
    wakes: list[datetime] = []
    kept: list[FormerCanaryStatus] = []
    for each in scope.status.former_canaries:
        scope, still = _given_back(scope, each, wakes, leaving=leaving)
        kept += still
    if tuple(kept) != scope.status.former_canaries:
        scope = scope.with_(former_canaries=tuple(kept))
    return scope, min(wakes, default=None)


def in_use(scope: Scope) -> bool:
    """Whether the canary has traffic now, be it by rules that this Rollout does not drive."""
    return scope.has_traffic or bool(scope.facts.users)


def looked_at(scope: Scope) -> tuple[RouteKey, ...]:
    """The routes by which is told that a canary has no traffic."""
    return tuple(route.key for route in scope.live_routes)


def unknown(scope: Scope) -> bool:
    """Whether some route cannot be read, or some gateway may not go by it yet, so that nobody knows what is sent where."""
    return len(scope.live_routes) < len(scope.facts.routes) or scope.unaccepted is not None


def due(scope: Scope) -> Iterator[datetime]:
    """When which of them have had their time, or may be written again after a refusal."""
    if scope.spec.scale is None:
        return
    for each in scope.status.former_canaries:
        if each.drained_since is not None:
            yield each.drained_since + scope.spec.scale.drain.delta
        seen = scope.facts.former.get((each.kind, each.name))
        if seen is not None and seen.scaling.denied:
            yield scope.now + DENIED_FOR


def _given_back(
    scope: Scope, each: FormerCanaryStatus, wakes: list[datetime], *, leaving: bool
) -> tuple[Scope, list[FormerCanaryStatus]]:
    seen = scope.facts.former.get((each.kind, each.name))
    if (
        seen is None or seen.unseen
    ):  # not looked at yet, or its kind is out of sight: what is left to do is left until it is not
        return scope, [] if leaving else [each]
    canary, view = seen.view, seen.scaling
    if not canary.exists:
        return scope, []
    if not _goes(scope, each, seen):
        if not canary.scaled or view.denied or (leaving and view.failed):
            return scope, []  # nothing there is ours any more, or can be given back
        return scope.with_(ReleaseReplicas(canary.name, canary.kind)), [each]
    each = _drained(scope, each)
    if each.drained_since is None or scope.spec.scale is None:
        return scope, [each]
    over = each.drained_since + scope.spec.scale.drain.delta
    limit = over + scope.spec.accept_timeout.delta
    if scope.now < over:
        wakes.append(over)
        return scope, [each]
    if leaving and (scope.now >= limit or view.denied or view.unread):
        return scope, []
    wakes += [limit] if leaving else []
    if view.denied:
        wakes.append(scope.now + DENIED_FOR)
        return scope, [each]
    if not view.known:
        return scope, [each]
    what = f"{canary.name} is the canary no more, and has had no traffic for {scope.spec.scale.drain}: scaling it to 0"
    tell = EmitEvent("Normal", reasons.CANARY_SCALED, what, once=True)
    return scope.with_(ScaleWorkload(canary.name, canary.replicas, 0, canary.kind, looked_at(scope)), tell), [each]


def _goes(scope: Scope, each: FormerCanaryStatus, seen: FormerView) -> bool:
    """Whether it has replicas that are to go, are ours, and are nobody else's by now.

    An API server keeps no record of who writes the scale subresource once that has been written to none, so of a canary that began
    there managedFields do not tell. Then it has to have just as many as it was given, and nobody may be on record for them: whatever was
    not written to none by that subresource has somebody, if only who created it, and the number alone could be anybody's.
    """
    scale = scope.spec.scale
    if scale is None or scale.after is not AfterRun.ZERO or scope.facts.swapped:
        return False
    ours = seen.view.replicas in {each.given, each.giving} and not seen.view.scaler
    mine = seen.view.scaled or ours
    return seen.view.replicas > 0 and mine and not seen.used and not seen.scaling.autoscaler


def _drained(scope: Scope, each: FormerCanaryStatus) -> FormerCanaryStatus:
    """Since when it has had no traffic. In a run that is said once: what the routes send to the canary then is for the workload that it is about."""
    idle = not (in_use(scope) or scope.facts.blind or unknown(scope))
    if idle and each.drained_since is None:
        return evolution.former_drained(each, scope.now)
    if not idle and not scope.active and each.drained_since is not None:
        return evolution.former_drained(each, None)
    return each
