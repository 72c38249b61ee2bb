"""Who is stable and who is the canary, where a status is taken in from the record: whether `status.swapped` can be true.

Anybody who may write a status can turn the roles in it, and with them what a rollback leads to. What a run has written says who was
who for it, and at rest the weights do: what contradicts them counts as they have it. Only what is taken in is looked at. Of what this
controller has found or made so itself it knows; whoever moves weights at rest turns no roles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace

from canary.model.evolution import settled
from canary.model.rollout import RolloutSpec
from canary.model.route_status import RouteStatus
from canary.observe.rollout import Rollout
from canary.routes.key import RouteKey
from canary.routes.pair import Backend, Pair, weight_of
from canary.routes.reading import RouteReading

Readings = Mapping[RouteKey, RouteReading]
"""The routes that can be read, as they are now."""

Revisions = tuple[str, str]
"""What the workloads of spec.stable and of spec.canary run; empty: nobody knows."""
UNKNOWN: Revisions = ("", "")


class Roles:
    """The Rollouts, by uid, of which this controller knows that their roles are changed."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def note(self, uid: str, *, swapped: bool) -> None:
        """What a decision here has left as the roles of a Rollout (True: changed)."""
        (self._known.add if swapped else self._known.discard)(uid)

    def forget(self, uid: str) -> None:
        """There is no such Rollout any more."""
        self._known.discard(uid)

    def credible(
        self,
        rollout: Rollout,
        spec: RolloutSpec,
        readings: Readings,
        revisions: Callable[[], Revisions] = lambda: UNKNOWN,
    ) -> Rollout:
        """A Rollout whose status on record is taken in: the same, or with roles that can be, and `swapped` among what makes no sense.

        `revisions`: asked where the status and the routes contradict each other.
        """
        status = rollout.status
        if not status.active and not status.swapped:
            return rollout  # ten thousand of these are looked at after a start
        said = set(_recorded(rollout, spec, readings)) if status.active else set[bool]()
        swapped = self._swapped(rollout, spec, readings, said, revisions)
        changes: dict[str, object] = {"swapped": swapped} if swapped != status.swapped else {}
        if len(said) > 1:  # whoever has turned the roles has turned a pair, too
            pair = Pair.of(spec, rollout.namespace, swapped=swapped)
            routes = tuple(_by_roles(record, pair) for record in status.routes)
            changes |= {"routes": routes} if routes != status.routes else {}
        if not changes:
            return rollout
        if not status.active:  # as on first sight: what the canary turns out to run now begins no run by itself
            changes["revisions"] = settled(status.revisions, None)
        status = status.model_copy(update=changes)
        return replace(rollout, status=status, senseless=(*rollout.senseless, "swapped"))

    def _swapped(
        self,
        rollout: Rollout,
        spec: RolloutSpec,
        readings: Readings,
        said: AbstractSet[bool],
        revisions: Callable[[], Revisions],
    ) -> bool:
        status = rollout.status
        if len(said) == 1:
            return next(iter(said))
        if said:
            return _exchanged(status.run.revision if status.run is not None else "", *revisions())
        if not status.swapped or rollout.uid in self._known:
            return status.swapped
        return not _all_on_stable(rollout, spec, readings)


def _exchanged(tested: str, stable: str, canary: str) -> bool:
    """Whether the roles are exchanged, where the status and the routes contradict each other.

    If the workload of spec.stable, and not that of spec.canary, runs the revision under test. Where that does not tell either, they are as declared.
    """
    return bool(tested) and tested == stable != canary


def _by_roles(record: RouteStatus, pair: Pair) -> RouteStatus:
    """A record of a route that has the pair the other way round, as the roles are."""
    try:
        both = _both(Pair.parse(record.pair))
    except ValueError:
        return record
    return record.model_copy(update={"pair": str(pair)}) if both == (pair.canary, pair.stable) else record


def _recorded(rollout: Rollout, spec: RolloutSpec, readings: Readings) -> Iterator[bool]:
    """For each record that a run of the spec as it is now has left, on a route or in the status, whether the roles were changed for it."""
    run = rollout.status.run
    if run is None or run.plan != spec.plan_hash():
        return  # who is who may have been edited since
    roles = {_both(Pair.of(spec, rollout.namespace, swapped=swapped)): swapped for swapped in (False, True)}
    for record in rollout.status.routes:
        if record.owned and record.pair:
            try:
                both = _both(Pair.parse(record.pair))
            except ValueError:
                continue
            if both in roles:
                yield roles[both]
    for reading in readings.values():
        intent, _ = reading.intent(rollout.name)
        ours = intent is not None and (intent.uid, intent.run) == (rollout.uid, run.number)
        if ours and intent is not None and intent.pair is not None and (both := _both(intent.pair)) in roles:
            yield roles[both]


def _both(pair: Pair) -> tuple[Backend, Backend]:
    return pair.stable, pair.canary


def _all_on_stable(rollout: Rollout, spec: RolloutSpec, readings: Readings) -> bool:
    """Whether every rule that can be read gives all of the pair's traffic to spec.stable."""
    pair = Pair.of(spec, rollout.namespace)
    found = [
        rule.weights
        for ref in spec.routes
        if (reading := readings.get(RouteKey.of(ref, rollout.namespace))) is not None
        for rule in reading.declared(pair, ref.rules)[1]
    ]
    return bool(found) and all(weight_of(each.canary) == 0 and weight_of(each.stable) > 0 for each in found)
