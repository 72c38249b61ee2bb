"""From which generation of a route on a gateway's answer counts: the first in which it said of the run's rules what it says now."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from canary.model.evolution import at_step
from canary.model.rollout import RolloutSpec, RouteKind
from canary.model.route_status import RouteStatus
from canary.model.run_status import RunStatus
from canary.model.status import Phase, RolloutStatus
from canary.observe.routes import Viewer, view
from canary.routes.reading import RouteReading

Json = dict[str, Any]
SPEC = RolloutSpec.model_validate(
    {
        "routes": [{"name": "shop", "rules": ["mine"]}],
        "stable": {"service": "s", "port": 80},
        "canary": {"service": "c", "port": 80},
        "steps": [{"weight": 10}],
    }
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def document(generation: int, weight: int, timeout: int, theirs: int, parents: int) -> Json:
    refs = [{"name": "s", "port": 80, "weight": 100 - weight}, {"name": "c", "port": 80, "weight": weight}]
    mine: Json = {"name": "mine", "backendRefs": refs, "timeouts": {"request": f"{timeout}s"}}
    other: Json = {"name": "other", "backendRefs": [{"name": "s", "port": 80, "weight": theirs}, refs[1]]}
    return {
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "team", "generation": generation},
        "spec": {"parentRefs": [{"name": f"gw-{number}"} for number in range(parents)], "rules": [other, mine]},
    }


def answered(route: Json, generations: list[int]) -> Json:
    """The same, each of its parents having looked at a generation and said yes."""
    reports = [
        {
            "parentRef": parent,
            "controllerName": "a",
            "conditions": [
                {"type": kind, "status": "True", "observedGeneration": generation}
                for kind in ("Accepted", "ResolvedRefs")
            ],
        }
        for parent, generation in zip(route["spec"]["parentRefs"], generations, strict=False)
    ]
    return {**copy.deepcopy(route), "status": {"parents": reports}}


def status_of(record: RouteStatus) -> RolloutStatus:
    run = RunStatus(number=1, started_at=NOW, plan=SPEC.plan_hash())
    return RolloutStatus(phase=Phase.PROGRESSING, run=run, step=at_step(1, 1, NOW), routes=(record,))


EDITS = st.sampled_from(["weight", "timeout", "theirs", "theirs", "theirs", "parents", "record lost"])


@given(edits=st.lists(EDITS, max_size=12), behind=st.integers(0, 12))
def test_a_route_is_accepted_once_its_gateways_serve_what_it_says_of_our_rules(edits: list[str], behind: int) -> None:
    """Whatever others edit meanwhile, and however far the gateways are behind: neither before, nor later than that.

    What a gateway that answers truthfully serves of our rules is what the generation says at which it has looked last.
    """
    said = {"weight": 0, "timeout": 1, "theirs": 1, "parents": 1}
    versions = [document(1, **said)]
    record = RouteStatus(kind=RouteKind.HTTP, name="shop")
    lost = 1
    for edit in ["nothing", *edits]:
        if edit == "record lost":
            record, lost = RouteStatus(kind=RouteKind.HTTP, name="shop"), len(versions)
        elif edit != "nothing":
            said[edit] += 1
            versions.append(document(len(versions) + 1, **said))
        seen = view(Viewer("shop", "team", SPEC, status_of(record)), SPEC.routes[0], RouteReading(versions[-1]))
        record = record.model_copy(update={"about": seen.about, "about_since": seen.since})

    def ours(version: Json) -> Json:
        return {**version["spec"], "rules": version["spec"]["rules"][1]}

    looked = max(1, len(versions) - behind)
    now = versions[-1]
    served = all(ours(version) == ours(now) for version in versions[looked - 1 :])
    final = answered(now, [looked] * len(now["spec"]["parentRefs"]))
    seen = view(Viewer("shop", "team", SPEC, status_of(record)), SPEC.routes[0], RouteReading(final))
    assert seen.acceptance.accepted is (served and looked >= lost), (looked, record)
    assert seen.acceptance.refused is False


def test_a_parent_that_is_added_is_asked_and_so_are_all_others() -> None:
    """An edit of the parents is one of all rules: nobody who has not looked at it is known to serve them there."""
    record = RouteStatus(kind=RouteKind.HTTP, name="shop")
    before = document(2, 10, 1, 1, 1)
    seen = view(Viewer("shop", "team", SPEC, status_of(record)), SPEC.routes[0], RouteReading(answered(before, [2])))
    assert seen.acceptance.accepted
    record = record.model_copy(update={"about": seen.about, "about_since": seen.since})
    after = document(3, 10, 1, 1, 2)
    for generations, accepted in (([2], False), ([2, 3], False), ([3, 3], True)):
        reading = RouteReading(answered(after, generations))
        seen = view(Viewer("shop", "team", SPEC, status_of(record)), SPEC.routes[0], reading)
        assert seen.acceptance.accepted is accepted, generations


def test_what_the_record_says_of_a_route_that_was_made_anew_counts_no_more() -> None:
    """Its generations begin at one again: a later one on record would be waited for in vain."""
    first = view(
        Viewer("shop", "team", SPEC, status_of(RouteStatus(kind=RouteKind.HTTP, name="shop"))),
        SPEC.routes[0],
        RouteReading(document(9, 10, 1, 1, 1)),
    )
    record = RouteStatus(kind=RouteKind.HTTP, name="shop", about=first.about, about_since=first.since)
    assert record.about_since == 9
    again = RouteReading(answered(document(1, 10, 1, 1, 1), [1]))
    seen = view(Viewer("shop", "team", SPEC, status_of(record)), SPEC.routes[0], again)
    assert (seen.since, seen.acceptance.accepted) == (1, True)
