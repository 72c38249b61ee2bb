"""Answers to mirrored requests, as a run lives through them: comparers are read, looks are posted, evidence is kept and judged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from controller_kit import World, route_document, rule, service_document
from test_controller_mirror import COMPARER, GET, endpoints

from canary.kube import ENDPOINTSLICES, SERVICES
from canary.metrics.port import Query
from canary.model.measurement import Replica, Replicas, Sample, Unreachable

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

ASKED = "results of comparer compare"
STEPS: list[Json] = [{"mirror": COMPARER, "hold": "20s"}, {"weight": 50, "hold": "2s"}]
CHECK: Json = {"name": "same", "interval": "2s", "mirrored": {}}
DOWN = Unreachable(None, "Unreachable", "nobody answers")  # type: ignore[arg-type]  # Scripted stamps it


def comparer(world: World, rate: int = 50, price: float = 0.0) -> Callable[[Query, datetime], Sample]:
    """It compares so many requests each second, of which the canary has a part with another price; times differ in all."""
    begun = world.clock.now()

    def answer(_: Query, now: datetime) -> Sample:
        seconds = (now - begun).total_seconds()
        compared, different = 7 + int(rate * seconds), int(rate * price * seconds)
        paths = {"$.now": (0, 0, compared), **({"$.price": (different, 0, 0)} if different else {})}
        return Sample(compared, now, replicas=Replicas((Replica("one", 1e6, compared, paths),)))

    return answer


async def run(world: World, hold: str = "20s", **check: Any) -> None:
    await world.create(SERVICES, service_document("compare"))
    await world.create(ENDPOINTSLICES, endpoints("compare", ready=True))
    await world.begin(
        route_document("shop", rule(matches=GET)),
        checks=[{**CHECK, **check}],
        steps=[{**STEPS[0], "hold": hold}, *STEPS[1:]],
    )
    await world.deploy(2)
    await world.until(lambda: "compare" in str(world.route()["spec"]))


def said(world: World) -> Json:
    found: Json = world.status()["checks"][0]
    return found


async def test_a_canary_with_another_price_never_serves_anybody(world: World) -> None:
    """Found by what the comparer says; the run ends with the field, and the route is what it was."""
    world.provider.answers[ASKED] = comparer(world, price=0.1)
    await run(world)
    await world.until(lambda: world.phase() == "RolledBack", within=20)
    found = re.search(
        r"`\$\.price` differs in (9\.\d|10) % of answers \(noise 0 %\), evidence", world.status()["run"]["message"]
    )
    assert found is not None
    assert said(world)["reason"] == "DiffersFromStable"
    assert len(json.dumps(said(world)["evidence"]["state"])) < 1024
    assert all("weight': 50" not in str(version["spec"]) for version in world.records.versions["httproutes"])
    assert "compare" not in str(world.route()["spec"])


async def test_a_canary_that_answers_alike_is_promoted(world: World) -> None:
    """Times that differ in every answer are noise; at the step with weight nobody is asked any more."""
    world.provider.answers[ASKED] = comparer(world)
    await run(world)
    await world.until(lambda: world.weights()[1] > 0)
    assert said(world)["reason"] == "NotApplicable"
    await world.settle()
    world.provider.calls.clear()
    await world.until(lambda: world.phase() == "Succeeded")
    assert [call for call in world.provider.calls if ASKED in call.query.text] == []


async def test_a_comparer_that_answers_nobody_holds_the_step(world: World) -> None:
    """Unknown is not bad and not good; when it answers again the run goes on."""
    world.provider.answers[ASKED] = DOWN
    await run(world)
    await world.pass_(40)
    assert (world.phase(), world.step(), said(world)["verdict"]) == ("Progressing", 1, "Unknown")
    assert "nobody answers" in said(world)["message"]
    world.provider.answers[ASKED] = comparer(world)
    await world.until(lambda: world.phase() == "Succeeded")


async def test_it_looks_early(world: World) -> None:
    """A field that differs in all answers does not get half a minute."""
    world.provider.answers[ASKED] = comparer(world, price=1)
    await run(world, interval="30s")
    begun = world.clock.now()
    await world.until(lambda: "compare" not in str(world.route()["spec"]), within=30)
    # 2 s for the gateways to settle, 5 s for what was asked before, looks after 1 and 2 s, and 100 requests that are needed.
    assert (world.clock.now() - begun).total_seconds() <= 13


async def test_a_controller_that_died_goes_on(world: World) -> None:
    """The first reading after a start is only kept: what was compared before it is in the status, or counts no more."""
    world.provider.answers[ASKED] = comparer(world)
    await run(world, hold="40s")
    await world.until(lambda: (said(world).get("evidence") or {}).get("looks", 0) >= 8)
    before = json.loads(said(world)["evidence"]["state"])["compared"]
    assert world.step() == 1
    await world.pass_(1)
    await world._instances[0].kill()
    began = world.clock.now()
    await world.start_controller()
    await world.until(lambda: world.phase() == "Succeeded")
    after = json.loads(said(world)["evidence"]["state"])["compared"]
    assert before < after <= before + 50 * ((world.clock.now() - began).total_seconds() + 2)
