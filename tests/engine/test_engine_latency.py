"""How often the canary is slow, against stable: the same looks, the same evidence, and words of how slow it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_engine_mirror import getting
from world import World, begun, route, spec_of

from canary.checks.judges.words import TIMES
from canary.decide import reasons
from canary.model.check_status import CheckStatus, EvidenceStatus, VerdictKind
from canary.model.measurement import Compared, Malformed, Timed
from canary.model.status import Phase

Json = dict[str, Any]

STEPS: list[Json] = [{"weight": 10, "hold": "2m"}, {"weight": 50, "hold": "2m"}]


def check(settings: Json | None = None, **compare: Any) -> Json:
    declared = {
        "prometheus": {"buckets": "t{service='{{ backend.service }}'}"},
        "slowerThan": ["300ms"],
        "tolerance": 1.2,
        "lag": "5s",
        **compare,
    }
    return {"name": "latency", "interval": "10s", "initialDelay": "1s", "compare": declared, **(settings or {})}


def timing(*checks: Json, **changes: Any) -> World:
    spec = spec_of(checks=list(checks or (check(),)), promotion="Await", **{"steps": STEPS, **changes})
    world = begun(spec=spec, routes={"shop": route("shop", getting())})
    world.wait(5)
    return world


def look(
    world: World, slow: int, stable_slow: int, *, canary: int = 100, stable: int = 900, bound: float = 0.3
) -> None:
    """Ten seconds, in which so many took longer."""
    since = world.now
    world.wait(10)
    found = Timed(world.now, since, canary, stable, {bound: canary - slow}, {bound: stable - stable_slow})
    world.news.append(("latency", found))
    world.run()


def state(world: World) -> CheckStatus:
    assert world.memory is not None
    found = world.memory.check("latency")
    assert found is not None
    return found


def evidence(world: World) -> EvidenceStatus:
    found = state(world).evidence
    assert found is not None
    return found


def test_a_canary_that_is_slow_far_more_often_is_rolled_back() -> None:
    """In a look; and it says beyond what, from what to what, and on what evidence."""
    world = timing()
    look(world, 40, 19)
    assert (world.share(), world.phase) == (0, Phase.ROLLED_BACK)
    assert world.memory is not None
    assert world.memory.run is not None
    assert world.memory.run.reason == reasons.CHECK_FAILED
    said = state(world)
    assert (said.verdict, said.reason) == (VerdictKind.FAIL, "SlowerThanStable")
    assert said.message.startswith("slower than 300 ms: 2.1 % → 40 %, evidence ")
    assert said.message.endswith(" of 20 needed")
    assert said.limit == f"odds to be slower than 300 ms at most 1.2{TIMES} stable's (alpha 5 %)"
    assert said.value == pytest.approx(0.4 / (19 / 900))


def test_a_canary_like_stable_goes_through() -> None:
    """Both are slow as often, in a bad hour too."""
    world = timing()
    for number in range(13):
        look(world, 40 if number > 5 else 2, 360 if number > 5 else 19)
    assert world.share() == 50
    assert (state(world).verdict, state(world).reason) == (VerdictKind.PASS, "NotProved")


def test_evidence_adds_up_across_weights_and_is_small() -> None:
    """What one look cannot prove several do."""
    world = timing(
        check(slowerThan=["100ms", "300ms", "1s"]), steps=[{"weight": 10, "hold": "20s"}, {"weight": 20, "hold": "20m"}]
    )
    looks = 0
    while world.share() and looks < 30:
        looks += 1
        since = world.now
        world.wait(10)
        canary, stable = (
            {0.1: requests - 3 * slow, 0.3: requests - 2 * slow, 1.0: requests - slow}
            for requests, slow in ((100, 2), (900, 6))
        )
        world.news.append(("latency", Timed(world.now, since, 100, 900, canary, stable)))
        world.run()
    assert 2 < looks < 30
    assert len(evidence(world).state) <= 1024
    assert state(world).verdict is VerdictKind.FAIL


def test_a_restart_forgets_nothing_that_is_on_record() -> None:
    """The next controller goes on with it."""
    lost, kept = timing(steps=[{"weight": 10, "hold": "1h"}]), timing(steps=[{"weight": 10, "hold": "1h"}])
    for world in (lost, kept):
        for _ in range(8):
            look(world, 3, 19)
    lost.crash()
    for world in (lost, kept):
        look(world, 3, 19)
    assert json.loads(evidence(lost).state) == json.loads(evidence(kept).state)


@pytest.mark.parametrize(
    "forged",
    [
        {"requests": [5, 0]},
        {"effect": 3},
        {"buckets": []},
        {"buckets": [[0.3, [1, 9, 9, 9, 9, 9, 9], [1, 1], [0] * 14]]},
        None,
    ],
)
def test_evidence_that_cannot_be_ours_is_as_absent(forged: Json | None) -> None:
    """It fails nobody, stops no tick, and is told once."""
    world = timing()
    look(world, 2, 19)
    record = world.recorded["checks"][0]["evidence"]
    world.crash()
    record["state"] = "}" if forged is None else json.dumps({**json.loads(record["state"]), **forged})
    look(world, 2, 19)
    assert (world.share(), state(world).verdict) == (10, VerdictKind.PASS)
    assert json.loads(evidence(world).state)["requests"] == [100, 900]
    assert reasons.UNREADABLE_RECORD in world.reasons


def test_other_bounds_are_another_process() -> None:
    """What was known of 300 ms says nothing of one second."""
    world = timing(steps=[{"weight": 10, "hold": "1h"}])
    look(world, 5, 19)
    before = evidence(world).process
    world.declare(checks=[check(slowerThan=["1s"])])
    world.run()
    assert (evidence(world).process != before, evidence(world).looks) == (True, 0)
    world.wait(6)
    look(world, 2, 19, bound=1.0)
    assert json.loads(evidence(world).state)["requests"] == [100, 900]


def test_a_bucket_that_is_missing_holds_and_is_named() -> None:
    """Nobody knows, so nothing rises; the words say what could be asked for instead."""
    world = timing()
    words = "canary: the histogram has no bucket of 300 ms: the nearest are 250 ms and 500 ms"
    world.news.append(("latency", Malformed(world.now, "NoSuchBucket", words)))
    world.wait(150)
    said = state(world)
    assert (said.verdict, said.reason, said.message) == (VerdictKind.UNKNOWN, "NoSuchBucket", words)
    assert world.share() == 10


def test_few_requests_are_no_evidence() -> None:
    """Fewer than minRequests of the canary are not judged."""
    world = timing(check(minRequests=150))
    look(world, 40, 19)
    look(world, 0, 0, canary=0)
    assert (state(world).verdict, world.share()) == (VerdictKind.UNKNOWN, 10)
    look(world, 40, 19)
    assert world.share() == 0


def test_a_look_at_errors_is_none_at_latencies() -> None:
    """The check was edited while somebody counted."""
    world = timing()
    since = world.now
    world.wait(10)
    world.news.append(("latency", Compared(world.now, since, 100, 900, 90, 9, {})))
    world.run()
    assert (world.share(), state(world).reason) == (10, "NotMeasured")


def test_a_look_that_was_counted_elsewhere_says_so() -> None:
    """Whatever it came to: slower than what, people are to know."""
    world = timing()
    since = world.now
    world.wait(10)
    found = Timed(world.now, since, 100, 900, {0.3: 97}, {0.3: 881}, edges={0.3: 0.324209889})
    world.news.append(("latency", found))
    world.run()
    assert state(world).verdict is VerdictKind.PASS
    assert state(world).message.endswith("; 300 ms is counted at 324.21 ms")
    look(world, 40, 19)
    assert state(world).verdict is VerdictKind.FAIL
    assert state(world).message.endswith(" needed")
