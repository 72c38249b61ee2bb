"""Which rules a step with a `match` adds for requests that opt in, and why it may not: the same for rest and for a run.

Before anything is added a refusal keeps the run where it is. Where rules of ours stand already it ends the run instead: somebody
has changed what they were computed from, and may lose requests to the canary, or what guards a rule that they are copies of.
What another run adds for a step of its own makes no declaration wrong, and takes nothing away from this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from canary.decide.facts import Problem, RouteView
from canary.decide.mirroring import unsupported
from canary.decide.scope import Scope
from canary.model.rollout import RolloutSpec
from canary.model.status import Phase
from canary.preflight.findings import Reason
from canary.routes.added_refusals import Refused
from canary.routes.adding import AddRule, RemoveRule, removals


def rules(scope: Scope, route: RouteView) -> tuple[AddRule | RemoveRule, ...]:
    """Those that the run adds to a route now, behind the removal of all that it has added before; of a refusal see above."""
    record = scope.added(route)
    wanted = _additions(scope, route)
    if isinstance(wanted, Refused):
        return tuple(entry for entry in removals(record) if not record[entry.mark].there)
    marks = {entry.mark for entry in wanted}
    gone = (entry for entry in removals(record, besides=marks) if entry.mark not in marks)
    return (*gone, *(entry.among(record) for entry in wanted))


def added_at(scope: Scope, index: int) -> bool:
    """Whether this run has written the rules that a step adds, as far as anything tells."""
    for route in scope.live_routes:
        wanted = route.additions.get(index, ())
        if isinstance(wanted, Refused):
            continue  # then it may not be written, and nothing is raised by standing there
        ours = route.intent.added if route.intent is not None and scope.ours(route) else None
        for entry in wanted:
            there = ours[entry.mark].there if ours is not None and entry.mark in ours else False
            if not there and (ours is not None or not route.added.said.get(entry.mark)):
                return False
    return True


def refused(scope: Scope) -> str:
    """Why the step that the run is at may not add some rule, in words; empty when it may, or has added all of them."""
    missing = [route for route in scope.live_routes if route.declared and not _complete(scope, route)]
    if scope.match is None or not missing:
        return ""
    found = (_additions(scope, route) for route in missing)
    words = next((each.message for each in found if isinstance(each, Refused)), "")
    return words or unsupported(scope) or _found(scope, GUARDED)


def left_over(scope: Scope, route: RouteView) -> tuple[RemoveRule, ...]:
    """What takes away the rules that stand for a step before the one that the run is at."""
    if _complete(scope, route):
        return ()
    return tuple(entry for entry in removals(scope.added(route)) if entry.mark in route.added.said)


def widened(scope: Scope, route: RouteView) -> frozenset[str]:
    """The marks of the rules that are to be there, and that somebody has made rules for other requests than those that opt in, as far as can be told."""
    if not route.added.rematched:
        return frozenset()
    wanted = _additions(scope, route)
    ours = {entry.mark: entry for entry in wanted} if not isinstance(wanted, Refused) else {}
    return frozenset(
        mark
        for mark in route.added.rematched & route.added.edited.keys()
        if mark not in ours or not ours[mark].narrowed_to(route.kind.value, route.added.edited[mark])
    )


def as_written(scope: Scope, route: RouteView) -> tuple[AddRule | RemoveRule, ...]:
    """What takes from the rules that were added what others have given them: those that are over, and those that serve others than who opts in.

    A run that is paused gives nobody anything anew, so there the latter go as well.
    """
    record, wider = scope.added(route), widened(scope, route)
    over = {mark for mark, said in record.items() if mark in route.added.said and (not said.there or mark in wider)}
    wanted = _additions(scope, route)
    if scope.status.phase is Phase.PAUSED or isinstance(wanted, Refused):
        wanted = ()
    back = tuple(entry.among(record) for entry in wanted if entry.mark in over & wider)
    gone = over - {entry.mark for entry in back}
    return (*(entry for entry in removals(record) if entry.mark in gone), *back)


def overtaken(scope: Scope) -> str:
    """Why rules of ours that stand may not stay, in words; empty when they may, or there are none."""
    if scope.match is None or not _standing(scope):
        return ""
    refusals = (route.refusals.get(scope.step.index, "") for route in scope.live_routes if route.declared)
    return next(filter(None, refusals), "") or _found(scope, {Reason.POLICY_TARGETS_RULE})


def problems(spec: RolloutSpec, routes: Iterable[RouteView], *, step: int = 0) -> Iterator[Problem]:
    """The first thing that keeps some step from adding its rules. `step`: where a run stands (from 1); those before it are over."""
    for index, words in objections(spec, routes):
        if index + 1 >= step:
            yield Problem(f"spec.steps[{index}].match", words)
            return


def objections(spec: RolloutSpec, routes: Iterable[RouteView]) -> Iterator[tuple[int, str]]:
    """Why which step (from 0) could not add its rules."""
    declared = [route for route in routes if route.declared]
    for index in range(len(spec.steps)):
        yield from ((index, route.refusals[index + 1]) for route in declared if index + 1 in route.refusals)


def _additions(scope: Scope, route: RouteView) -> tuple[AddRule, ...] | Refused:
    if scope.match is None:
        return ()
    return route.additions.get(scope.step.index, ())


GUARDED = frozenset({Reason.POLICY_TARGETS_RULE, Reason.POLICIES_UNKNOWN})
"""Why a rule may not be copied that a policy may guard. Not knowing adds nothing; it takes nothing away either."""


def _found(scope: Scope, reasons: AbstractSet[Reason]) -> str:
    return next((found.text for found in scope.facts.findings if found.reason in reasons), "")


def _complete(scope: Scope, route: RouteView) -> bool:
    """Whether a route has all rules that the step adds. Where they cannot be told any more, those that it was given count."""
    wanted = _additions(scope, route)
    if isinstance(wanted, Refused):
        ours = route.intent if scope.ours(route) else None
        return ours is not None and ours.step == scope.step.index and any(map(route.added.said.get, ours.added))
    return all(route.added.said.get(entry.mark) for entry in wanted)


def _standing(scope: Scope) -> bool:
    """Whether some rule that is to be there now is."""
    return any(
        said.there and route.added.said.get(mark)
        for route in scope.facts.routes
        for mark, said in scope.added(route).items()
    )
