"""What stands against the beginning of a run that somebody asks for: named rules whose order is the policy.

While the world objects (`canary.decide.preflight`), nothing begins by itself either; what is asked here on top is whether
the wish makes sense.
"""

from __future__ import annotations

from collections.abc import Callable

from canary.decide.actions import RestorePodSpec
from canary.decide.copying import given_up, tidied_copy
from canary.decide.facts import Facts
from canary.decide.preflight import objections
from canary.decide.scope import Scope, failed_revisions
from canary.model.requests import Verb
from canary.model.rollout import Trigger
from canary.model.run_status import Outcome

Rule = Callable[[Scope], str]
"""Why not, in words; empty: it does not object."""


def run_active(scope: Scope) -> str:
    """One run at a time."""
    number = scope.status.run.number if scope.status.run else 0
    return f"run {number} is active; abort it first, or wait" if scope.active else ""


def run_active_already(scope: Scope) -> str:
    """What is to be tried again is tried already."""
    number = scope.status.run.number if scope.status.run else 0
    return f"run {number} is active" if scope.active else ""


def nothing_rolled_back(scope: Scope) -> str:
    """There is nothing to try again."""
    run = scope.status.run
    lost = run is not None and run.outcome is Outcome.ROLLED_BACK
    return "" if lost else "no run was rolled back; `start` begins one"


def invalid(scope: Scope) -> str:
    """What is declared cannot work."""
    return said_invalid(scope.facts) if scope.facts.problems else ""


def said_invalid(facts: Facts) -> str:
    """The same in words, of facts with a problem."""
    return f"the Rollout is invalid: {facts.problems[0]}"


def paused_by_spec(scope: Scope) -> str:
    """The owner wants nothing to begin."""
    return "spec.paused is true" if scope.spec.paused else ""


def not_ready(scope: Scope) -> str:
    """The world is such that a run could not work."""
    objecting = objections(scope.facts)
    return objecting[0].message if objecting else ""


def revision_rolled_back(scope: Scope) -> str:
    """The very revision has failed; whoever knows better says so with another verb."""
    run, revision = scope.status.run, scope.facts.canary.revision if scope.facts.canary else ""
    if revision not in failed_revisions(scope.status):
        return ""
    when = f"({run.reason})" if run is not None and run.revision == revision else "before"
    return f"revision {revision} was rolled back {when}; `retry` tries it again"


def stable_has_it(scope: Scope) -> str:
    """There is nothing to release."""
    stable, revision = scope.facts.stable, scope.facts.canary.revision if scope.facts.canary else ""
    if stable is not None and stable.exists and revision == stable.revision:
        return f"stable runs revision {revision} already; there is nothing to roll out"
    return ""


def pending_abort(facts: Facts) -> str:
    """A plain abort was not taken away yet: of the run before, or of one that would begin now? Nobody could tell them apart. In words, or empty."""
    request = facts.request
    if request is None or request.id or request.known is not Verb.ABORT:
        return ""
    return f"the request {request.verb!r} is not answered yet, since its annotation cannot be changed"


def untried(scope: Scope) -> str:
    """The canary's revision, if a run of it would begin by itself, now or when what stands against that is gone; else empty."""
    canary, stable, run = scope.facts.canary, scope.facts.stable, scope.status.run
    if canary is None or not canary.known or scope.spec.trigger_mode is not Trigger.ON_REVISION:
        return ""
    if scope.active and run is not None and (run.swap or canary.revision == run.revision):
        return ""
    known = {
        stable.revision if stable is not None else None,
        scope.status.revisions.aside,
        *failed_revisions(scope.status),
    }
    known |= set() if scope.active else {scope.status.revisions.settled}
    return "" if canary.revision in known else canary.revision


def starts_no_more(revision: str) -> str:
    """What is said of one that an abort has met before it was tried."""
    return f"revision {revision} does not start by itself; `canary start` begins a run of it"


def copy_to_be_put_back(scope: Scope) -> str:
    """Stable still runs what a run that was lost has copied there: nobody can tell what another one would replace."""
    back = [action for action in tidied_copy(scope) if isinstance(action, RestorePodSpec)]
    if not back:
        return ""
    words = f"{back[0].target} still runs what a run copied that was rolled back"
    if not given_up(scope):
        return f"{words}; it is being put back, ask again"
    canary, run = scope.facts.canary, scope.status.run
    failed = {back[0].copied, run.revision if run is not None else ""}
    if canary is not None and canary.known and canary.revision not in failed:
        return ""  # what stable runs is no better than what a run of this may leave there
    return f"{words}; put what it ran before (revision {back[0].replaced}) back by hand, or deploy another revision"


POSSIBLE: tuple[Rule, ...] = (
    invalid,  # nobody knows what is wanted
    paused_by_spec,  # the owner said no
    not_ready,  # it could not work
    copy_to_be_put_back,  # or would begin with what another one left
)

START: tuple[Rule, ...] = (
    run_active,
    *POSSIBLE,
    revision_rolled_back,  # it failed
    stable_has_it,  # it is done
)

RETRY: tuple[Rule, ...] = (
    run_active_already,
    nothing_rolled_back,
    *POSSIBLE,
)


def refusal(scope: Scope, rules: tuple[Rule, ...]) -> str:
    """Ask the rules in order: why no run begins, in words; empty: one may."""
    return next((words for rule in rules if (words := rule(scope))), "")
