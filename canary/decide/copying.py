"""A copy of the canary's pod spec on the stable workload, what is on record of it, and what that is good for.

It is on record twice. The status says that the run copies, and over which revision, before the workload is written; and, once that
is seen, which revision the workload has since (`status.run.copied`). The annotation on the workload, set by the patch that copies,
has the pod spec that was replaced. Whoever may write the workload may write the annotation, so it counts only where it says
what the status does. It is put back only where the workload still runs exactly what was copied: what somebody else has put there
since stays.
"""

from __future__ import annotations

from datetime import datetime

from canary.decide import reasons
from canary.decide.actions import Action, EmitEvent, ForgetPodSpec, RestorePodSpec
from canary.decide.facts import CopyView, WorkloadView
from canary.decide.scope import Scope
from canary.model.evolution import copy_kept, copy_lost, copy_over, copying
from canary.model.run_status import CopyStatus, Outcome, RunStatus
from canary.routes.intent import name_part

PREFIX = "copy.canary.dev/"


def copy_annotation(rollout: str) -> str:
    """The annotation of a Rollout on its stable workload, which has what was replaced."""
    return PREFIX + name_part(rollout)


def booked(scope: Scope) -> CopyStatus | None:
    """What the status says of this run's copy over the stable workload of now; None: it has copied nothing to that."""
    stable, run = scope.facts.stable, scope.status.run
    book = run.copied if run is not None else None
    return book if book is not None and stable is not None and book.is_over(stable.kind, stable.name) else None


def target(scope: Scope) -> WorkloadView | None:
    """The workload that a copy of this run stands on: that of its record, also when it is declared no more; else the stable one."""
    book = scope.status.run.copied if scope.status.run is not None else None
    return scope.facts.stable if book is None or booked(scope) is not None else scope.facts.copied_to


def agreed(scope: Scope) -> bool:
    """Whether the workload has the record of this run's copy, as the status has it."""
    book, record = _book(scope), _annotated(scope)
    return book is not None and record is not None and (record.replaced, record.copied) == (book.replaced, book.kept)


def seen(scope: Scope) -> Scope:
    """Keep the status up to date about the copy: whether it is there, or there no more; and say what is on no record."""
    stable, run = target(scope), scope.status.run
    if run is None or stable is None or not stable.known or run.outcome is Outcome.SUCCEEDED:
        return scope
    book, record = _book(scope), _annotated(scope)
    if book is None:
        if record is not None and _of_an_earlier_version(scope, run, stable, record):
            was, now = record.replaced, record.copied
            return scope.with_(run=copying(run, stable.kind, stable.name, was, kept=now))
        return _on_no_record(scope, run, stable, record)
    if not book.kept:
        there = _there(scope, run, stable, book, record)
        return scope.with_(run=copy_kept(run, stable.revision)) if there else _on_no_record(scope, run, stable, record)
    if run.outcome is not None and stable.revision != book.kept:  # put back, or somebody has put something else there
        # Of a workload that is declared no more nothing else tells that the annotation is still to be taken off.
        elsewhere = booked(scope) is None and stable.copied is not None
        return scope if elsewhere else scope.with_(run=copy_over(run))
    why = scope.facts.unrestored.get(run.number, "")
    if why and not book.lost:
        words = f"{stable.name} still runs revision {book.kept}, which was copied there: {why}"
        return scope.with_(EmitEvent("Warning", reasons.STABLE_NOT_RESTORED, words), run=copy_lost(run))
    return _on_no_record(scope, run, stable, record)


def _annotated(scope: Scope) -> CopyView | None:
    """What the workload says that this run has copied."""
    stable, run = target(scope), scope.status.run
    if stable is None or stable.copied is None or run is None:
        return None
    record = stable.copied
    if not record.uid:  # of a version that kept nothing but the pod spec: it ran one copy at a time
        return CopyView(scope.facts.uid, run.number, run.revision, record.replaced)
    return record if (record.uid, record.run) == (scope.facts.uid, run.number) else None


def _there(scope: Scope, run: RunStatus, stable: WorkloadView, book: CopyStatus, record: CopyView | None) -> bool:
    """Whether what was to be copied is what the workload runs: by the record, which comes with it, or where that was taken away since by itself."""
    if stable.revision == book.replaced:
        return False
    if record is not None and (record.replaced, record.copied) == (book.replaced, stable.revision):
        return True
    on_record = scope.facts.recorded.copying and scope.facts.recorded.run == run.number
    return scope.active and on_record and stable.revision == run.revision


def _of_an_earlier_version(scope: Scope, run: RunStatus, stable: WorkloadView, record: CopyView) -> bool:
    """Whether a version that kept nothing of it in the status may have copied, in the promotion of this run, what the workload runs.

    Even so it has to replace what the run was to replace. Where nothing else tells how far the run has come, what was copied is
    what the run was about.
    """
    step = scope.status.step
    passed = step is not None and step.index >= step.total
    said = record.replaced != record.copied == stable.revision
    known = record.replaced == run.replaces or (not run.replaces and record.copied == run.revision)
    return said and known and (passed or (step is None and record.copied == run.revision))


def _on_no_record(scope: Scope, run: RunStatus, stable: WorkloadView, record: CopyView | None) -> Scope:
    """Say once that the workload's word of a copy of this run is nobody's of us, or that it is gone."""
    book, name = _book(scope), copy_annotation(scope.facts.name)
    if run.outcome is not None:
        return scope
    if record is not None and (
        book is None or record.replaced != book.replaced or book.kept not in {"", record.copied}
    ):
        words = f"the annotation {name} of {stable.name} says of run {run.number} what is not on record; it counts as absent"
        return scope.with_(EmitEvent("Warning", reasons.UNREADABLE_RECORD, words, once=True))
    if record is None and book is not None and book.kept == stable.revision:
        words = (
            f"the annotation {name} of {stable.name}, which has the pod spec that was replaced, is gone; if the run fails, "
            f"revision {book.replaced} is looked for in the history of {stable.name}"
        )
        return scope.with_(EmitEvent("Warning", reasons.UNREADABLE_RECORD, words, once=True))
    return scope


def tidied_copy(scope: Scope) -> tuple[Action, ...]:
    """What is left to do about a copy when a run ends or has ended: put back, forgotten, or nothing."""
    stable, run, book = target(scope), scope.status.run, _book(scope)
    if stable is None:
        return ()
    won = run is not None and run.outcome is Outcome.SUCCEEDED
    if run is not None and not won and book is not None and not book.lost and _runs(stable, book):
        if booked(scope) is None and not agreed(scope):
            return ()  # the status alone moves no workload that the spec does not name
        return (RestorePodSpec(stable.name, stable.kind, run.number, book.kept, book.replaced),)
    return (ForgetPodSpec(stable.name, stable.kind),) if stable.copied is not None else ()


def given_up(scope: Scope) -> bool:
    """Whether nobody waits any more for a copy to be put in order: that has failed for as long as a gateway may take. It is tried on."""
    failing = scope.facts.untidied
    if failing is None or scope.facts.blind:
        return False
    return scope.now >= failing.since + scope.spec.accept_timeout.delta


def waits_until(scope: Scope) -> datetime | None:
    """When the time is up for a copy to be put in order; None: it has not failed yet, or it is up."""
    failing = scope.facts.untidied
    limit = failing.since + scope.spec.accept_timeout.delta if failing is not None else None
    return limit if limit is not None and scope.now < limit else None


def untidied(scope: Scope, *, ended: bool = True) -> str:
    """What of a copy is not in order though nobody waits for it, in words behind a semicolon; empty: nothing, or it is waited for.

    `ended`: the run has ended, so that whatever is left was left by then.
    """
    tidying = tidied_copy(scope)
    if not tidying or not (given_up(scope) or (ended and scope.facts.untidied is not None)):
        return ""
    why = f": {scope.facts.untidied.why}" if scope.facts.untidied is not None else ""
    back = next((action for action in tidying if isinstance(action, RestorePodSpec)), None)
    if back is not None:
        still = f"{back.target} still runs revision {back.copied}, which was copied there"
        by_hand = f"put what it ran before (revision {back.replaced}) back by hand, or edit what is in the way"
        return f"; {still}; {by_hand}: it is tried on{why}"
    name, there = copy_annotation(scope.facts.name), target(scope)
    of = there.name if there is not None else "stable"
    return f"; the annotation {name} of {of} cannot be taken off, which has no use any more: it is tried on{why}"


def copy_stays(scope: Scope) -> bool:
    """Whether a workload runs what a run that was not won has copied there, and that is still to be put back."""
    return any(isinstance(action, RestorePodSpec) for action in tidied_copy(scope))


def left_behind(scope: Scope) -> EmitEvent | None:
    """What people are told when a run or a Rollout ends and a copy stays where it is."""
    if not copy_stays(scope):
        return None
    return EmitEvent("Warning", reasons.STABLE_NOT_RESTORED, untidied(scope).removeprefix("; "), once=True)


def _book(scope: Scope) -> CopyStatus | None:
    """What the status says of this run's copy, over whatever workload."""
    return scope.status.run.copied if scope.status.run is not None else None


def _runs(stable: WorkloadView, book: CopyStatus) -> bool:
    """Whether the workload runs exactly what was copied to it."""
    return bool(book.kept) and stable.known and stable.revision == book.kept


def left_there(scope: Scope) -> str:
    """What stable runs after a run that was lost, where that is what failed; in words behind a semicolon, or empty."""
    stable, run = target(scope), scope.status.run
    if run is None or run.outcome is not Outcome.ROLLED_BACK or copy_stays(scope):
        return ""
    if stable is None or not stable.known:
        book = run.copied
        where = book is not None and book.kept
        return f"; what was copied to {book.workload} is put back when that can be seen" if where and book else ""
    text = f"; {stable.name} itself runs revision {stable.revision}"
    if run.copied is not None and run.copied.lost:
        return f"{text}: put what it ran before (revision {run.copied.replaced}) back there by hand"
    return f"{text}, of which nothing is on record that could be put back" if stable.revision == run.revision else ""
