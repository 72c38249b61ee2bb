"""`promoteEarly`: a canary that is proved good need not be held for as long as it was declared; and nothing else shortens a hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from test_engine_compare import COUNTERS, look
from test_engine_mirror import MIRROR, getting
from world import World, begun, route, spec_of

from canary.decide import reasons
from canary.model.status import Phase

Json = dict[str, Any]

STEPS: list[Json] = [{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}, {"weight": 100, "hold": "1m"}]
THRESHOLD: Json = {"name": "limit", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "interval": "10s"}


def check(name: str = "errors", settings: Json | None = None, **compare: Any) -> Json:
    declared = {"prometheus": COUNTERS, "lag": "5s", "promoteEarly": True, **compare}
    return {"name": name, "interval": "10s", "compare": declared, **(settings or {})}


def held(*checks: Json, steps: list[Json] = STEPS, settle: timedelta = timedelta(seconds=2), **changes: Any) -> World:
    """At the first step, with its counters settled seven seconds ago."""
    spec = spec_of(steps=steps, checks=list(checks or (check(),)), promotion="Await", **changes)
    world = begun(spec=spec, routes={"shop": route("shop", getting())}, settle=settle)
    world.wait(7)
    return world


def proved(world: World, name: str = "errors", *, after: float = 0) -> None:
    """A look as good as any, after which the controller says that it has seen enough since so many seconds from now."""
    since = world.now + timedelta(seconds=after)
    look(world, 100, 1, name=name, run=False)
    world.good[name] = since
    world.run()


def test_a_hold_ends_when_the_canary_is_proved_good() -> None:
    """In the decision that hears of it, and it is told why."""
    world = held()
    look(world, 100, 1)
    assert world.share() == 10
    proved(world)
    assert world.share() == 50
    assert reasons.HOLD_ENDED_EARLY in world.reasons


def test_what_was_proved_at_one_weight_is_not_at_another() -> None:
    """A version that is good at 10 % may not bear 50 %: it is proved anew, by what was counted there."""
    world = held()
    proved(world)
    assert world.share() == 50
    world.wait(7)
    look(world, 500, 5)
    look(world, 500, 5)
    assert world.share() == 50
    proved(world)
    assert world.share() == 100


def test_it_takes_an_interval_and_what_was_counted_before_the_counters_were_settled_is_no_proof() -> None:
    """However good it looks: data planes follow their status, and counters are scraped."""
    world = held()
    proved(world, after=-0.5)
    assert world.share() == 10
    proved(world, after=5)
    assert world.share() == 10
    world.wait(5)
    assert world.share() == 50


def test_nothing_on_record_proves_it() -> None:
    """Whatever somebody writes into the status; and a controller that begins has seen nothing (promise 9)."""
    world = held()
    proved(world, after=5)
    world.crash()
    said = world.recorded["checks"][0]
    said |= {"reason": "AsGoodAsStable", "verdict": "Pass", "message": "errors: less than 2 times is proved"}
    said["good"] = True
    said["evidence"]["good"] = True
    world.run()
    for _ in range(30):
        look(world, 100, 1)
    assert world.share() == 10


def test_after_a_restart_it_is_proved_anew() -> None:
    """By what this life has counted from when the data planes surely do what the routes say."""
    world = held()
    look(world, 100, 1)
    world.crash()
    world.run()
    proved(world)
    assert world.share() == 10
    proved(world)
    assert world.share() == 50


@pytest.mark.parametrize("value", [1.0, "NoData"])
def test_every_other_check_has_to_pass(value: float | str) -> None:
    """What is proved of errors is no excuse for anything else."""
    world = held(check(), {**THRESHOLD, "failureLimit": 5})
    world.measure(value, "limit")
    proved(world)
    assert world.share() == 10
    world.wait(1)
    world.measure(0.0, "limit")
    world.run()
    assert world.share() == 50


def test_all_who_ask_for_it_have_to_prove_it() -> None:
    """One of two is not enough; one that only shows is not asked."""
    world = held(check("a"), check("b"), check("c", {"dryRun": True}))
    proved(world, "a")
    assert world.share() == 10
    proved(world, "b")
    look(world, 100, 1, name="a")
    assert world.share() == 50


def test_without_asking_for_it_nothing_ends_early() -> None:
    """A hold is what was declared."""
    world = held(check(promoteEarly=False))
    for _ in range(5):
        proved(world)
    assert world.share() == 10


def test_a_person_is_asked_all_the_same() -> None:
    """An approval is no hold."""
    world = held(steps=[{"weight": 10, "hold": "1h", "approval": {}}, {"weight": 50, "hold": "1h"}])
    proved(world)
    assert world.share() == 10
    assert world.decision is not None
    assert world.decision.reason == reasons.AWAITING_APPROVAL


def test_copies_prove_nothing_of_users_requests() -> None:
    """A step that mirrors is held for as long as was declared."""
    world = held(steps=[{**MIRROR, "hold": "1h"}, {"weight": 10, "hold": "1h"}])
    for _ in range(3):
        proved(world)
    assert world.share() == 0


def test_who_resumes_a_run_gets_the_whole_hold() -> None:
    """Somebody wanted to look, and what was counted before says nothing of why."""
    world = held()
    look(world, 100, 1)
    world.ask("pause")
    world.run()
    proved(world)
    assert (world.phase, world.share()) == (Phase.PAUSED, 10)
    world.ask("resume")
    world.run()
    for _ in range(3):
        look(world, 100, 1)
    assert (world.phase, world.share()) == (Phase.PROGRESSING, 10)


def test_an_edit_of_the_route_begins_it_anew() -> None:
    """Nobody knows what the gateway did in between."""
    world = held()
    since = world.now
    world.wait(10)
    world.edit_route("shop", lambda document: document["spec"].update({"x-note": 1}))
    world.good["errors"] = since
    world.run()
    world.wait(7)
    look(world, 100, 1)
    assert world.share() == 10
