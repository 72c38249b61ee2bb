"""Which rules a mirror step copies requests of, which it leaves out, and why it may not: the same for rest and for a run.

A request that is mirrored happens twice. So only rules whose matches are all limited to safe methods are mirrored, unless the
step says otherwise; where matches do not tell (a gRPC method may do anything), no rule is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from canary.decide.facts import Problem, RouteView, RuleView
from canary.decide.scope import Scope
from canary.decide.wrote import joined
from canary.model.rollout import RolloutSpec
from canary.model.steps import Mirror
from canary.model.values import decimal_text
from canary.preflight.findings import Reason
from canary.routes.filters import MOST_FILTERS, Copied
from canary.routes.kinds import FORMS

OPTION = "mirror.allowUnsafeMethods"


def copies(scope: Scope, route: RouteView) -> dict[str, Copied]:
    """What the run is after in each rule that it mirrors, or has mirrored (then a share of 0), by rule key."""
    record = scope.mirrors(route)
    ended = {key: said.ended for key, said in record.items()}
    mirror = scope.mirror
    if mirror is None:
        return ended
    met = joined(scope, route)
    chosen = {
        rule.key: Copied(mirror.share, record[rule.key].bare if rule.key in record else rule.filters == 0)
        for rule in _chosen(mirror, route)
        if rule.key in met and not _objection(route, rule, record)
    }
    return {**ended, **chosen}


def copied_at(scope: Scope, index: int) -> bool:
    """Whether this run has written the copies that a step asks for, as far as anything tells."""
    mirror = scope.mirror_at(index)
    if mirror is None:
        return True
    for route in scope.live_routes:
        ours = route.intent if scope.ours(route) else None
        for rule in _chosen(mirror, route) if route.declared else ():
            if ours is None:
                share = route.copied.get(rule.key, 0)
            elif rule.key not in ours.weights and rule.key not in ours.mirrors:
                continue  # nobody had it then
            else:
                share = ours.mirrors[rule.key].share if rule.key in ours.mirrors else 0
            if share != mirror.share:
                return False
    return True


def refused(scope: Scope) -> str:
    """Why the step that the run is at cannot mirror some rule, in words; empty when it can."""
    mirror = scope.mirror
    if mirror is None:
        return ""
    lacking = denied(scope) or unsupported(scope)
    if lacking and (denied(scope) or not copied_at(scope, scope.step.index)):
        return lacking
    declared = [route for route in scope.live_routes if route.declared]
    found = (words for route in declared for words in _objections(mirror, route, scope.mirrors(route)))
    return next(found, "") or ("" if any(_chosen(mirror, route) for route in declared) else _nothing(declared))


def denied(scope: Scope) -> str:
    """What a gateway says itself that it cannot do, of what the run has come to ask: then it is asked no more.

    That nobody says anything takes nothing away: a class may be out of sight for a moment.
    """
    fields = {f"spec.steps[{index}]" for index in range(scope.step.index)}
    found = (each for each in scope.facts.findings if each.reason is Reason.UNSUPPORTED_FEATURE)
    return next((each.text for each in found if each.sure and each.field in fields), "")


def unsupported(scope: Scope) -> str:
    """What a gateway may not be asked for: the plan was edited in the middle of a run, so no preflight has said so."""
    found = (found.text for found in scope.facts.findings if found.reason is Reason.UNSUPPORTED_FEATURE)
    return next(found, "")


def left_out(scope: Scope) -> str:
    """Which rules the step does not mirror, and why, in words; empty when it mirrors all of them, or none at all."""
    mirror = scope.mirror
    if mirror is None:
        return ""
    out: dict[str, list[str]] = {}
    for route in scope.live_routes:
        why = f"{OPTION} is false" if FORMS[route.kind].filters else f"a {route.kind} has no filters"
        left = [rule for rule in route.rules if rule not in _chosen(mirror, route)] if route.declared else []
        out.setdefault(why, []).extend(f"rule {rule.key} of {route.label}" for rule in left)
    words = [f"{', '.join(rules)} ({why})" for why, rules in out.items() if rules]
    return f"not mirrored: {', '.join(words)}" if words else ""


def problems(spec: RolloutSpec, routes: Iterable[RouteView], *, active: bool) -> Iterator[Problem]:
    """The first thing that keeps some step from mirroring, by what the routes are now."""
    for index, words in objections(spec, routes, active=active):
        yield Problem(f"spec.steps[{index}].mirror", words)
        return


def objections(spec: RolloutSpec, routes: Iterable[RouteView], *, active: bool) -> Iterator[tuple[int, str]]:
    """Why which step (from 0) could not mirror. `active`: a run is under way, and may have mirrored the rules already."""
    declared = [route for route in routes if route.declared]
    if any(not route.exists or route.problem for route in declared):
        return  # that is a problem of its own
    for index, step in enumerate(spec.steps):
        if step.mirror is None:
            continue
        if not any(_chosen(step.mirror, route) for route in declared):
            yield index, _nothing(declared)
        for route in declared if not active else ():
            ours = route.intent.mirrors if route.intent is not None else ()
            for words in _objections(step.mirror, route, ours):
                yield index, words


def _chosen(mirror: Mirror, route: RouteView) -> tuple[RuleView, ...]:
    if not FORMS[route.kind].filters:
        return ()
    return tuple(rule for rule in route.rules if rule.reads or mirror.allow_unsafe_methods)


def _objections(mirror: Mirror, route: RouteView, ours: Collection[str]) -> Iterator[str]:
    for rule in _chosen(mirror, route):
        words = _objection(route, rule, ours)
        if words:
            yield words


def _objection(route: RouteView, rule: RuleView, ours: Collection[str]) -> str:
    """Why a rule may not be mirrored. `ours`: the keys of those that the run has mirrored."""
    if rule.key in ours:
        return ""
    if rule.key in route.copied:
        return (
            f"rule {rule.key} of {route.label} mirrors {decimal_text(route.copied[rule.key])} % of its requests to "
            f"{route.pair.copied_to_words} already; take that filter away, or the mirror out of the step"
        )
    if (rule.filters or 0) >= MOST_FILTERS:
        return (
            f"rule {rule.key} of {route.label} has {rule.filters} filters, and {MOST_FILTERS} are all that it may have"
        )
    return ""


def _nothing(routes: Collection[RouteView]) -> str:
    """Every rule is left out."""
    if not any(FORMS[route.kind].filters for route in routes):
        kinds = " and no ".join(sorted({route.kind for route in routes}))
        return f"no {kinds} has filters, so nothing can be mirrored; take the mirror out of the step"
    names = ", ".join(route.label for route in routes)
    return (
        f"no rule of {names} is limited to the methods GET, HEAD and OPTIONS, so the step would mirror nothing: a request that "
        f"is mirrored happens twice; set {OPTION} to true where that does no harm, or limit the matches"
    )
