"""Replicas of the canary: enough of them before its share rises, and what is left of them after the run.

Replicas have other writers: autoscalers, GitOps tools, people. An autoscaler is never written against. Of everybody else it is
seen what they do: replicas are only ever added, each number once in a run, so whoever takes some away has the last word, and the
run waits and says so. Taking traffic away waits for none of this.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

from canary.decide import former, reasons
from canary.decide.actions import EmitEvent, ReleaseReplicas, RemoveFinalizer, ScaleWorkload, WriteRoute
from canary.decide.facts import DENIED_FOR, WorkloadView
from canary.decide.holds import EVERYWHERE, OFF_RECORD, Hold, first_hold
from canary.decide.scope import Scope
from canary.model import evolution
from canary.model.scaling import AfterRun, Scale
from canary.model.workload_status import ScaleStatus


def wanted(scope: Scope, scale: Scale, book: ScaleStatus, index: int) -> int:
    """How many replicas the canary needs at a one-based step: for the largest share of a rule, or of the requests that are copied."""
    shares, mirror = scope.shares_at(index), scope.mirror_at(index)
    share = max([shares.weight, *shares.rules.values(), mirror.share if mirror is not None else Fraction(0)])
    return scale.replicas(share, book.stable)


def prepared(scope: Scope, index: int) -> tuple[Scope, Hold | None]:
    """What is done so that the canary is large enough for a step, and why that is waited for; None: it is."""
    scale, canary = scope.spec.scale, scope.facts.canary
    if scale is None or canary is None or not canary.exists:
        return scope, None
    book = _seen(scope, canary)
    need = wanted(scope, scale, book, index)
    if canary.ready >= need:
        return scope.with_(scale=evolution.large_enough(book)), None
    scope = scope.with_(scale=evolution.too_small(book, need, scope.now))
    may_write = _may_write(scope, book, need)
    if may_write and not _on_record(scope, canary, need):
        # Whoever takes over after a crash has to know what may be ours: an API server does not always say so.
        book = evolution.replicas_meant(evolution.too_small(book, need, scope.now), need)
        scope = scope.with_(scale=book)
    elif may_write:
        what = f"scaling {canary.name} from {canary.replicas} to {need} replicas for step {index}/{scope.step.total}"
        tell = EmitEvent(
            "Normal", reasons.CANARY_SCALED, f"run {scope.run.number}, {scope.step_text}: {what}", once=True
        )
        book = evolution.replicas_given(evolution.too_small(book, need, scope.now), need)
        scope = scope.with_(ScaleWorkload(canary.name, canary.replicas, need, canary.kind), tell, scale=book)
    reason, why = _why(scope, canary, book, need)
    return scope, Hold(reason, f"{why} ({_where(scope)})")


def _where(scope: Scope) -> str:
    return scope.step_text if scope.step.index else "preflight"


def _seen(scope: Scope, canary: WorkloadView) -> ScaleStatus:
    """The books of the run, up to date: begun here where `scale` was declared in the middle of it."""
    stable = scope.facts.stable
    replicas = stable.replicas if stable is not None and stable.exists else 0
    book = scope.status.scale
    if book is None or not book.is_of(canary.kind, canary.name):
        book = evolution.scale_began(canary.kind, canary.name, replicas)
    return evolution.replicas_seen(book, stable=replicas, canary=canary.replicas)


def _may_write(scope: Scope, book: ScaleStatus, need: int) -> bool:
    """Whether it is for us to give the canary so many, and never was before in this run."""
    view = scope.facts.scaling
    free = view.known and not view.autoscaler
    return free and book.reached < need and first_hold(scope, (*EVERYWHERE, *OFF_RECORD)) is None


def _on_record(scope: Scope, canary: WorkloadView, need: int) -> bool:
    """Whether it is on record that the canary was given so many, or is about to be."""
    book = scope.facts.recorded.scale
    return book is not None and book.is_of(canary.kind, canary.name) and need in {book.given, book.giving}


def _why(scope: Scope, canary: WorkloadView, book: ScaleStatus, need: int) -> tuple[str, str]:
    """What the next share waits for, and who could do something about it."""
    view = scope.facts.scaling
    short = f"{canary.name} has {canary.ready} ready of the {need} replicas that it needs"
    if view.autoscaler:
        advice = "raise its minimum, or wait" if canary.replicas else "it does not scale from zero: give it one replica"
        words = f"{short}; {view.autoscaler} scales it, so we do not: {advice}"
    elif view.unread:
        words = f"{short}; {view.unread}"
    elif not view.known:
        return reasons.AWAITING_REPLICAS, f"{short}; it is not known yet whether an autoscaler targets it"
    elif view.failed:
        words = f"{short}, and cannot be scaled: {view.failed}"
    elif canary.replicas < need <= book.reached:
        who = canary.scaler or "somebody unknown"
        when = f" at {canary.emptied:%H:%M:%S} UTC" if canary.emptied is not None else ""
        words = f"{short}; {who} gave it {canary.replicas} again{when}, which is not fought: scale it, or leave replicas out of its manifest"
    else:
        return reasons.AWAITING_REPLICAS, f"{short}; waiting for them"
    return reasons.CANNOT_SCALE, words


def waits_no_more(scope: Scope) -> Scope:
    """Something else is waited for first: that time does not count against the replicas."""
    book = scope.status.scale
    return scope if book is None or book.short_since is None else scope.with_(scale=evolution.large_enough(book))


def forgiven(scope: Scope) -> Scope:
    """Somebody said to go on: what was taken away may be given once more."""
    book = scope.status.scale
    return scope if book is None else scope.with_(scale=evolution.replicas_forgiven(book))


def too_small_to_rise(scope: Scope) -> tuple[Scope, Hold | None]:
    """Why what the step wants may not be written yet: it gives the canary more than its routes say, and it is too small for that."""
    if scope.step.index == 0:
        return scope, None
    copies = scope.mirror is not None and scope.copied == 0
    opting = scope.match is not None and not scope.opted_in
    if not (copies or opting or scope.found.rises_to(scope.shares)):
        return scope, None
    return prepared(scope, scope.step.index)


def begun(scope: Scope) -> ScaleStatus | None:
    """The books of a run that begins. One that another gave way to has seen how large stable was before it was relieved."""
    canary, stable, before = scope.facts.canary, scope.facts.stable, scope.status.scale
    if _unread(scope):
        return before
    if scope.spec.scale is None or canary is None:
        return None
    replicas = stable.replicas if stable is not None and stable.exists else 0
    if before is None or not before.is_of(canary.kind, canary.name):
        return evolution.scale_began(canary.kind, canary.name, replicas)
    most = max(replicas, before.stable) if scope.active else replicas
    return evolution.replicas_of_before(evolution.scale_began(canary.kind, canary.name, most), before)


# -- after a run ----------------------------------------------------------------------------------------------------


def over(scope: Scope) -> ScaleStatus | None:
    """The books at the end of a run: the canary has had no traffic since now; None: nothing is to be done about it."""
    canary = scope.facts.canary
    if _unread(scope):
        return scope.status.scale
    if canary is None or not _goes(scope, canary):
        return None
    book = scope.status.scale or evolution.scale_began(canary.kind, canary.name, 0)
    return evolution.drained(book, scope.now)


def _unread(scope: Scope) -> bool:
    """Whether there are books by a `scale` of which nobody can tell now whether, and how, it still is declared."""
    return bool(scope.facts.unread) and scope.spec.scale is None and scope.status.scale is not None


def _goes(scope: Scope, canary: WorkloadView) -> bool:
    """Whether a canary has replicas that are to go after a run, as soon as they may."""
    scale = scope.spec.scale
    if scale is None or scale.after is not AfterRun.ZERO or scope.status.swapped:
        return False
    return canary.exists and canary.replicas > 0 and not scope.facts.scaling.autoscaler


def left(scope: Scope, *, leaving: bool = False) -> tuple[Scope, datetime | None]:
    """Without a run: take the replicas away once streams had their time, give the ownership back; and until when that waits.

    `leaving`: the Rollout is being deleted, and waits for nobody but that.
    """
    book, canary = scope.status.scale, scope.facts.canary
    if book is not None and not leaving and (scope.facts.unseen_canary is not None or _unread(scope)):
        return scope, None  # its kind is out of sight, or what is declared: what is left to do is left until it is not
    if book is not None and (canary is None or not _goes(scope, canary)):
        scope, book = scope.with_(scale=None), None
    scale = scope.spec.scale
    if book is None or canary is None or scale is None:
        return _released(scope, leaving=leaving), None
    if former.in_use(scope) or scope.facts.blind or scope.facts.problems or (not leaving and former.unknown(scope)):
        # Somebody gives it traffic, or uses it otherwise, or nobody can tell: it is theirs, and drains when that is over.
        if leaving:
            return _released(scope.with_(scale=None), leaving=True), None
        if scope.facts.users and book.drained_since is not None:
            words = f"{canary.name} keeps its replicas for as long as {scope.facts.users} sends users to it"
            scope = scope.with_(EmitEvent("Normal", reasons.CANARY_IN_USE, words, once=True))
        return scope.with_(scale=evolution.drained(book, None)), None
    if book.drained_since is None:
        book = evolution.drained(book, scope.now)
    due = (book.drained_since or scope.now) + scale.drain.delta
    scope = scope.with_(scale=book)
    if scope.now < due:
        return scope, due
    view = scope.facts.scaling
    if leaving and (view.denied or view.unread):
        return _released(scope.with_(scale=None), leaving=True), None  # nor for a right, or for somebody who may list
    if leaving and scope.now >= due + scope.spec.accept_timeout.delta:
        return scope.with_(scale=None), None  # it cannot be written; a deletion does not wait for that
    if view.denied:
        return scope, scope.now + DENIED_FOR
    if not view.known:
        return scope, due + scope.spec.accept_timeout.delta if leaving else None
    number = scope.status.run.number if scope.status.run is not None else 0
    what = f"run {number} is over, and {canary.name} has had no traffic for {scale.drain}: scaling it to 0"
    tell = EmitEvent("Normal", reasons.CANARY_SCALED, what, once=True)
    wait = due + scope.spec.accept_timeout.delta if leaving else None
    return scope.with_(ScaleWorkload(canary.name, canary.replicas, 0, canary.kind, former.looked_at(scope)), tell), wait


def _released(scope: Scope, *, leaving: bool = False) -> Scope:
    """Nothing is to be done about replicas any more: what was ours of them is given back. A deletion tries that once."""
    canary, view = scope.facts.canary, scope.facts.scaling
    if canary is not None and canary.scaled and not view.denied and not (leaving and view.failed):
        scope = scope.with_(ReleaseReplicas(canary.name, canary.kind))
    return scope


def settled(scope: Scope) -> tuple[Scope, datetime | None]:
    """At rest: what is left to do about replicas, and until when that waits. The Rollout is held for no longer than that takes."""
    waited = former.anything_left(scope.status)
    scope, soon = former.given_back(scope)
    scope, later = (_released(scope), None) if scope.status.scale is None else left(scope)
    tidying = any(isinstance(action, WriteRoute) for action in scope.actions)
    if waited and not former.anything_left(scope.status) and scope.facts.finalizer and not tidying:
        scope = scope.with_(RemoveFinalizer())
    return scope, min((at for at in (soon, later) if at is not None), default=None)
