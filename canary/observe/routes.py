"""One route as a Rollout sees it: what it declares to drive there, and what its run has written there.

The two are the same until somebody edits `stable`, `canary` or `routes` in the middle of a run, or the route itself. What was written
is then found by what the run has left on record (the annotation on the route, else the status), so that it can be put back
(docs/decisions/0071).
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from canary.decide.facts import RouteView, RuleView
from canary.decide.former import anything_left
from canary.model.rollout import RolloutSpec, RouteKind, RouteRef
from canary.model.status import RolloutStatus
from canary.observe.belief import bound, proven, remembered, told
from canary.observe.objects import Route, senseless
from canary.preflight.backends import grants, unserved
from canary.preflight.surroundings import Surroundings
from canary.routes.added import Added, recorded
from canary.routes.added_refusals import Refused
from canary.routes.adding import standing
from canary.routes.damaged import damage_words, doubt_words
from canary.routes.identity import since_known
from canary.routes.intent import Intent
from canary.routes.key import RouteKey
from canary.routes.kinds import FORMS
from canary.routes.opt_in import Additions, additions
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair
from canary.routes.unpaired import rule_words

log = logging.getLogger("canary.observe")


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks: a Rollout of a namespace, by name, with the spec that holds and the state that the last decision left."""

    name: str
    namespace: str
    spec: RolloutSpec
    status: RolloutStatus

    @property
    def pair(self) -> Pair:
        """What is declared, by its present role."""
        return Pair.of(self.spec, self.namespace, swapped=self.status.swapped)

    @property
    def started(self) -> bool:
        """Whether a run of the plan as it is now has begun to write: then what does not fit is the route's doing."""
        status = self.status
        return (
            status.active
            and status.run is not None
            and status.step is not None
            and status.step.index > 0
            and status.run.plan == self.spec.plan_hash()
        )


def routes_of(viewer: Viewer, routes: Mapping[RouteKey, Route]) -> Iterator[tuple[RouteRef, bool]]:
    """The routes that a Rollout has to do with, and whether its spec names each.

    Those of the spec, and those that the run has written and that the spec names no more, or not so that it could be read: by the
    status, or by what the route itself says where the status lost a write.
    """
    for ref in viewer.spec.routes:
        yield ref, True
    if not viewer.status.active:
        return
    declared = {(ref.kind, ref.name) for ref in viewer.spec.routes}
    for record in viewer.status.routes:
        if (record.kind, record.name) in declared:
            continue
        ref = RouteRef(kind=record.kind, name=record.name)
        found = routes.get(RouteKey.of(ref, viewer.namespace))
        marked = found is not None and not found.problem and found.reading.intent(viewer.name)[0] is not None
        if record.owned or marked:
            yield ref, False


def vouched_for(viewer: Viewer, uid: str, ref: RouteRef, routes: Mapping[RouteKey, Route]) -> bool:
    """Whether a route that no spec names says itself that a run of this Rollout (by uid) has written it; or cannot be seen, so that nothing can be done to it.

    A status is what a controller goes on from, and may have been edited while none was there. So a route by its word alone is
    somebody else's (docs/decisions/0079). What a run wrote names it in the annotation; where somebody took that away, managedFields tell.
    """
    found = routes.get(RouteKey.of(ref, viewer.namespace))
    if found is None or found.problem or found.written:
        return True
    intent, _ = found.reading.intent(viewer.name)
    return intent is not None and intent.uid == uid


class Views:
    """What a Rollout sees of its routes, kept: a route that says the same looks the same, and is looked at a hundred times.

    Nothing of an earlier spec is kept, so whoever names other routes for ever takes no memory.
    """

    def __init__(self) -> None:
        self._spec: RolloutSpec | None = None
        self._kept: dict[tuple[RouteKind, str], tuple[tuple[object, ...], RouteView]] = {}

    @property
    def size(self) -> int:
        """How many views are kept."""
        return len(self._kept)

    def __call__(
        self,
        viewer: Viewer,
        ref: RouteRef,
        found: Route | None,
        *,
        declared: bool = True,
        missing: str = "",
    ) -> RouteView:
        """The same as `view`, of what the store has (None: nothing)."""
        if viewer.spec is not self._spec:
            self._spec = viewer.spec
            self._kept.clear()
        status = viewer.status
        record = status.route(ref.kind, ref.name)
        basis = (found, record, _asks_besides(status), viewer.started, status.active, status.swapped, declared)
        kept = self._kept.get((ref.kind, ref.name))
        if found is not None and kept is not None and all(map(operator.is_, kept[0], basis)):
            return kept[1]
        seen = self._look(viewer, ref, found, declared=declared, missing=missing)
        self._kept[ref.kind, ref.name] = basis, seen
        return seen

    @staticmethod
    def _look(viewer: Viewer, ref: RouteRef, found: Route | None, *, declared: bool, missing: str) -> RouteView:
        """The same, anew. A route of which nothing can be made is one that cannot be seen, whatever it says."""
        reading, writer = (None, "") if found is None or found.problem else (found.reading, found.writer)
        missing = found.problem if found is not None else missing
        try:
            seen = view(viewer, ref, reading, writer=writer, declared=declared, missing=missing)
            other = reading.other_run(viewer.name, {rule.key for rule in seen.rules}) if reading is not None else ""
            return replace(seen, writer=f"the controller, for Rollout {other} (by its annotation),") if other else seen
        except Exception:  # a bug of ours about one route takes no run's other routes out of our hands
            log.exception("%s %s/%s cannot be read", ref.kind, viewer.namespace, ref.name)
            missing = senseless(ref.kind, ref.name)
            return view(viewer, ref, None, declared=declared, missing=missing)


def view(
    viewer: Viewer,
    ref: RouteRef,
    reading: RouteReading | None,
    *,
    writer: str = "",
    declared: bool = True,
    missing: str = "",
) -> RouteView:
    """Look at a route (None: it does not exist, or it is `missing`: it cannot be seen).

    `declared` False: only a run's record names it, the spec does not.
    """
    key, pair = RouteKey.of(ref, viewer.namespace), viewer.pair
    if reading is None:
        return RouteView(key=key, pair=pair, exists=False, missing=missing, declared=declared)
    intent, unreadable = reading.intent(viewer.name)
    problem, found = reading.declared(pair, ref.rules)
    stale, occupied = False, tuple[str, ...]()
    kept: tuple[RulePair, ...] = ()
    memory = remembered(viewer.status, ref, pair)
    if intent is not None:
        believed = told(reading, intent, pair, memory)
        unreadable, intent = (
            unreadable or believed is None,
            None if believed is None else replace(intent, pair=believed),
        )
    written = bound(reading, ref, pair, intent, memory)
    if intent is not None and written is not None:
        if memory is not None and memory.owned and memory.pair == written.pair:
            # An annotation goes on saying what a rule was called when it was written, also where nothing is left that tells which it was.
            intent = intent.moved(since_known(intent.recorded, memory.rules))
        intent = intent.moved(reading.moved(written.pair, intent.recorded))
        intent = proven(viewer.spec, ref, reading, written.pair, intent, memory)
    if written is not None:
        kept = written.rules
        missed = {rule.key for rule in kept} - {rule.key for rule in found}
        broken = next((rule for rule in kept if rule.damaged and rule.key in missed), None)
        if viewer.started and missed and not problem and written.pair == pair:
            doubtful = [rule for rule in kept if rule.key in missed]
            problem = (
                damage_words(reading.document, broken, pair)
                if broken is not None
                else doubt_words(reading.document, doubtful)
            )
        if written.pair != pair or (kept and problem and not viewer.status.active) or (not problem and missed):
            stale = True
        if stale:
            occupied = tuple(_occupied(pair, found, written.pair, {rule.key for rule in kept}))
            pair, found, problem = written.pair, kept, ""
    if problem:
        # Before its first step a run has written what one before it had: to put it back, and nothing else.
        found = _left(reading, pair, ref, kept) if viewer.started else kept
    record = _added(viewer, ref, intent)
    there = standing(reading, pair, record)
    # A rule that the run has added is none that it moves, whatever somebody lists in it.
    found = tuple(rule for rule in found if rule.rule not in there.places)
    about, since = _stood(viewer, ref, reading, {*(rule.rule for rule in found), *there.places})
    reading = reading.since(since)
    adding = () if problem or stale or not declared else tuple(_additions(viewer.spec, ref, reading, pair, record))
    return RouteView(
        key=key,
        pair=pair,
        generation=reading.generation,
        about=about,
        since=since,
        named=reading.named_by(pair),
        rules=tuple(
            RuleView(
                rule.key,
                rule.weights,
                rule.others,
                rule.digest,
                sticky=rule.sticky,
                reads=rule.reads and FORMS[ref.kind].methods,
                filters=rule.filters,
                replaced=rule.replaced,
                instead=rule.instead,
            )
            for rule in found
        ),
        copied=reading.copied(pair),
        added=there,
        additions={step: now for step, now, _ in adding},
        refusals={step: rest.message for step, _, rest in adding if isinstance(rest, Refused)},
        intent=intent,
        acceptance=reading.acceptance,
        answers=reading.answers,
        writer=writer,
        problem=problem,
        besides=tuple(_besides(reading, pair, found)) if _asks_besides(viewer.status) else (),
        declared=declared,
        stale=stale,
        occupied=occupied,
        moved=reading.moved(memory.pair, memory.rules) if memory is not None else {},
        unreadable=unreadable,
    )


def placed(route: RouteView, around: Surroundings) -> RouteView:
    """The same: what is in stable's place counts for it only where stable's Service, or its port, is known not to be there, and this one's is not."""
    if not any(rule.instead for rule in route.rules):
        return route
    gone = unserved(route.pair.stable, around) is not None
    return replace(
        route,
        rules=tuple(
            rule
            if rule.instead is None or (gone and unserved(rule.instead, around) is None)
            else replace(rule, instead=None)
            for rule in route.rules
        ),
    )


def _stood(viewer: Viewer, ref: RouteRef, reading: RouteReading, places: Collection[int]) -> tuple[str, int]:
    """What a gateway has to have looked at (a digest), and since which generation the route says so.

    The first in which that was seen is on record, be it the answer to our own write; where something else is, it is the present one. So it
    is for a route that has not come to the generation on record: it was made anew.
    """
    if not places:
        return "", reading.generation
    about, remembered = reading.about(places), viewer.status.route(ref.kind, ref.name)
    if remembered is not None and remembered.about == about and 0 < remembered.about_since < reading.generation:
        return about, remembered.about_since
    return about, reading.generation


def permitted(route: RouteView, around: Surroundings) -> RouteView:
    """The same, not accepted where no ReferenceGrant lets it name one of its pair: a gateway may go on saying yes for long after one was withdrawn."""
    if not route.exists or route.acceptance.refused:
        return route
    for backend in (route.pair.canary, route.pair.stable):
        for finding in grants(backend, {route.kind.value}, route.key.namespace, "", around):
            return replace(
                route, acceptance=replace(route.acceptance, accepted=False, refused=True, message=finding.text)
            )
    return route


def _left(reading: RouteReading, pair: Pair, ref: RouteRef, kept: Iterable[RulePair]) -> tuple[RulePair, ...]:
    """What is left of the pair in a route that does not list it as the spec says: rule by rule, each by itself.

    Those that a run has written (`kept`) by whatever name they go now; and those of which the spec says that they are the run's.
    """
    named = (rule for rule in reading.given(pair).values() if not ref.rules or rule.name in ref.rules)
    declared = (rule for rule in named if ref.rules or not (rule.lacking or rule.elsewhere))
    found = {rule.key: rule for rule in (*declared, *kept)}
    return tuple(sorted(found.values(), key=lambda rule: rule.rule))


def _asks_besides(status: RolloutStatus) -> bool:
    """Whether it matters who else gives the canary traffic: in a run, and while it has replicas to take away."""
    return status.active or anything_left(status)


def _besides(reading: RouteReading, pair: Pair, found: tuple[RulePair, ...]) -> Iterator[str]:
    """The rules that give the canary traffic and are none of those that were found."""
    ours = {rule.key for rule in found}
    for rule in reading.given(pair).values():
        if rule.key not in ours and rule.weights.share > 0:
            yield rule_words(reading.rules, rule.rule)


def _occupied(pair: Pair, rules: Iterable[RulePair], before: Pair, moved: Collection[str]) -> Iterator[str]:
    """The rules of a pair, by key, that give its canary traffic once a run of the pair `before` has put back those it moved."""
    for rule in rules:
        if rule.key in moved and pair.canary in {before.stable, before.canary}:
            some = pair.canary == before.stable
        else:
            some = rule.weights.share > 0
        if some:
            yield rule.key


def _additions(
    spec: RolloutSpec, ref: RouteRef, reading: RouteReading, pair: Pair, ours: Mapping[str, Added]
) -> Iterator[tuple[int, Additions, Additions]]:
    """For each step with a `match`: what it adds now, and what it could add whatever other runs have added for now."""
    for number, step in enumerate(spec.steps, start=1):
        if step.match is not None:
            now, at_rest = (additions(step, ref, reading, pair, ours, at_rest=rest) for rest in (False, True))
            yield number, now, at_rest


def _added(viewer: Viewer, ref: RouteRef, intent: Intent | None) -> dict[str, Added]:
    """What is on record of rules that were added: the same as `Scope.added` has."""
    record, noted = viewer.status.route(ref.kind, ref.name), intent.added if intent is not None else {}
    if record is None or not viewer.status.active:
        return {**noted}
    return recorded(record.added if record.owned else {}, noted, record.places)
