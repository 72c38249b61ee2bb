"""Promise 4: unknown is not bad, and not good. Policies, limits and delays, as a run lives through them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from controller_kit import ControllerInstance, World, check, counter_document, template_document

from canary.kube import CHECKTEMPLATES
from canary.metrics.port import Query
from canary.model.measurement import Malformed, Unreachable

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = None
DOWN = Unreachable(NOW, "Unreachable", "connection refused")  # type: ignore[arg-type]  # Scripted stamps it
BAD = Malformed(NOW, "BadQuery", "parse error")  # type: ignore[arg-type]


async def run(world: World, answer: Any, **of_check: Any) -> None:
    """A run whose only check answers this, at its first step."""
    await world.begin(checks=[check(**of_check)])
    world.provider.answers["errors"] = answer
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))


UNKNOWN = pytest.mark.parametrize(
    ("answer", "reason", "policy"),
    [
        (None, "NoData", "onNoData"),
        (math.nan, "NotANumber", "onError"),
        ((0.1, 0.2), "SeveralSeries", "onError"),
        (DOWN, "Unreachable", "onError"),
        (BAD, "BadQuery", "onError"),
    ],
    ids=["no data", "NaN", "several series", "unreachable", "bad query"],
)


@UNKNOWN
async def test_unknown_holds(world: World, answer: Any, reason: str, policy: str) -> None:
    """What is unknown holds the weight where it is, under its own name, and goes on once it is known."""
    await run(world, answer)
    await world.pass_(60)
    assert (world.phase(), world.weights()) == ("Progressing", (90, 10))
    assert world.status()["checks"][0].get("verdict", "Unknown") == "Unknown"
    assert world.status()["checks"][0]["reason"] == reason
    assert world.condition("ChecksPassing")["status"] == "Unknown"
    assert reason in world.message()
    world.provider.answers["errors"] = 0.0
    await world.until(lambda: world.phase() == "Succeeded")


@UNKNOWN
async def test_unknown_may_count_as_a_pass(world: World, answer: Any, reason: str, policy: str) -> None:
    """With the policy Pass the run goes on, and the check says why it counts."""
    await run(world, answer, **{policy: "Pass"})
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.status()["checks"][0]["reason"] == reason


@UNKNOWN
async def test_unknown_may_count_as_a_failure(world: World, answer: Any, reason: str, policy: str) -> None:
    """With the policy Fail the first such answer rolls back."""
    await run(world, answer, **{policy: "Fail"})
    await world.until(lambda: world.phase() == "RolledBack", within=10)
    assert "counted as a failure" in world.status()["run"]["message"]


async def test_one_policy_is_not_the_other(world: World) -> None:
    """onError says nothing about an answer without data."""
    await run(world, None, onError="Fail")
    await world.pass_(30)
    assert world.phase() == "Progressing"


async def test_hold_limit(world: World) -> None:
    """Unknown for longer than holdLimit applies onFailure; the clock starts anew after a known answer."""
    await run(world, DOWN, holdLimit="1m")
    await world.pass_(50)
    world.provider.answers["errors"] = [0.0, DOWN]
    await world.pass_(50)
    assert world.phase() == "Progressing"
    await world.until(lambda: world.phase() == "RolledBack", within=20)
    assert world.status()["run"]["reason"] == "HoldLimitExceeded"


async def test_failure_limit(world: World) -> None:
    """Consecutive failures up to failureLimit are tolerated, and hold; one more rolls back."""
    await run(world, [0.5, 0.5, 0.0, 0.5, 0.5, 0.0], failureLimit=2)
    await world.until(lambda: world.phase() == "Succeeded")


async def test_one_failure_too_many(world: World) -> None:
    """With failureLimit 2 the third failure in a row is the last."""
    await run(world, 0.5, failureLimit=2)
    await world.until(lambda: world.phase() == "RolledBack", within=30)
    assert "3 in a row" in world.status()["run"]["message"]
    assert len(world.provider.calls) == 3


async def test_initial_delay(world: World) -> None:
    """Nothing is measured before initialDelay after the canary's first traffic."""
    await run(world, 0.0, initialDelay="30s")
    since = world.clock.now()
    await world.until(lambda: bool(world.provider.calls), within=60)
    assert 29 <= (world.provider.calls[0].now - since).total_seconds() <= 33
    await world.until(lambda: world.phase() == "Succeeded")


async def test_dry_run(world: World) -> None:
    """A dry-run check is measured and shown; it neither holds nor fails the run."""
    await run(world, 0.5, dryRun=True)
    await world.until(lambda: world.phase() == "Succeeded")
    assert world.provider.calls
    assert world.status()["checks"][0]["verdict"] == "Fail"
    assert world.status()["checks"][0]["dryRun"] is True


async def test_condition(world: World) -> None:
    """A CEL condition judges all series of the answer."""
    condition = "values.all(v, v < 0.2) && value >= 0.0"
    await world.begin(checks=[check(threshold=None, condition=condition)])
    world.provider.answers["errors"] = (0.1, 0.15)
    await world.deploy(2)
    await world.until(lambda: world.step() == 2)
    world.provider.answers["errors"] = (0.1, 0.3)
    await world.until(lambda: world.phase() == "RolledBack", within=30)
    assert condition in world.status()["run"]["message"]


async def test_a_check_counts_in_every_step_anew(world: World) -> None:
    """A verdict of an earlier step does not carry a step: no weight rises without an answer from that very step."""
    await world.begin(checks=[check(interval="20s")])
    await world.deploy(2)
    raised: dict[int, Any] = {}
    await world.until(
        lambda: raised.setdefault(world.step(), world.clock.now()) is None or world.phase() == "Succeeded"
    )
    asked = [call.now for call in world.provider.calls]
    for step in (2, 3):
        assert any(raised[step - 1] <= at <= raised[step] for at in asked), f"nothing was measured in step {step - 1}"


async def test_the_query_knows_the_weight(world: World) -> None:
    """Queries are rendered with the names, and with the weight of the moment."""
    await run(world, 0.0)
    await world.until(lambda: world.phase() == "Succeeded")
    texts = {call.query.text for call in world.provider.calls}
    assert {f'errors{{service="canary",weight="{weight}"}}' for weight in (10, 50, 100)} <= texts


async def test_several_checks_each_on_its_own(world: World) -> None:
    """A check that hangs delays no other: the one that fails rolls back."""
    hanging = asyncio.Event()

    async def hang(_query: Query, _now: object) -> float:
        await hanging.wait()
        return 0.0

    await world.begin(checks=[check(name="slow", prometheus={"query": "slow"}), check()])
    world.provider.answers["slow"] = hang
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    world.provider.answers["errors"] = 0.5
    await world.until(lambda: world.phase() == "RolledBack", within=20)
    hanging.set()


async def test_two_rollouts_do_not_wait_for_each_other(world: World) -> None:
    """While the query of one Rollout hangs, another one runs to its end."""
    hanging = asyncio.Event()

    async def hang(_query: Query, _now: object) -> float:
        await hanging.wait()
        return 0.0

    from controller_kit import backend, deployment_document, route_document, rule, service_document

    from canary.kube import DEPLOYMENTS, HTTPROUTES, SERVICES

    await world.furnish()
    for name in ("s2", "c2"):
        await world.create(SERVICES, service_document(name))
        await world.create(DEPLOYMENTS, deployment_document(name))
    await world.create(HTTPROUTES, route_document("two", rule(backend("s2", 1), backend("c2", 0))))
    await world.declare("shop", checks=[check(prometheus={"query": "slow"})])
    await world.declare(
        "two",
        routes=[{"name": "two"}],
        stable={"service": "s2", "port": 80},
        canary={"service": "c2", "port": 80},
        workloads={"stable": {"name": "s2"}, "canary": {"name": "c2"}},
    )
    world.provider.answers["slow"] = hang
    await world.start_controller()
    await world.until(lambda: world.phase("shop") == "Idle" and world.phase("two") == "Idle")
    await world.deploy(2)
    await world.deploy(2, "c2")
    await world.until(lambda: world.phase("two") == "Succeeded")
    assert (world.phase("shop"), world.weights()) == ("Progressing", (90, 10))
    hanging.set()
    await world.until(lambda: world.phase("shop") == "Succeeded")


async def test_observed_share(world: World) -> None:
    """spec.traffic is read for both backends and shown during a run, and gone afterwards."""
    begun = world.clock.now()
    for name, rate in (("canary", 10), ("stable", 90)):
        world.provider.answers[f"count {name}"] = lambda _query, now, rate=rate: rate * (now - begun).total_seconds()
    steps = [{"weight": 10, "hold": "60s"}]
    counters = {"prometheus": {"query": "count {{ backend.service }}"}, "interval": "1s", "lag": "2s"}
    world.provider.answers["errors"] = 0.0
    await world.begin(traffic=counters, steps=steps)
    await world.deploy(2)
    await world.until(lambda: world.status().get("split", {}).get("observed") == 10)
    await world.until(lambda: world.phase() == "Succeeded")
    assert "observed" not in world.status()["split"]
    assert "traffic" not in world.status()


async def test_a_share_that_is_another_one_holds_the_step(world: World) -> None:
    """A gateway that halves where a tenth is asked for is found out; the reason is on record, and no weight moves."""
    begun = world.clock.now()
    world.provider.answers["count"] = lambda _query, now: 50 * (now - begun).total_seconds()
    counters = {"prometheus": {"query": "count {{ backend.service }}"}, "interval": "1s", "lag": "2s"}
    world.provider.answers["errors"] = 0.0
    await world.begin(traffic=counters, steps=[{"weight": 10, "hold": "20s"}, {"weight": 100}])
    await world.deploy(2)
    await world.until(lambda: "and it got 50 % of" in world.message())
    await world.pass_(120)
    assert (world.phase(), world.weights()) == ("Progressing", (90, 10))


async def test_a_template_of_traffic_fills_the_column(world: World) -> None:
    """One line with its name does what a query of one's own does."""
    begun = world.clock.now()
    for name, rate in (("canary", 10), ("stable", 90)):
        world.provider.answers[f"n shop {name}"] = lambda _query, now, rate=rate: rate * (now - begun).total_seconds()
    world.provider.answers["errors"] = 0.0
    await world.furnish()
    await world.create(CHECKTEMPLATES, counter_document())
    await world.declare(
        traffic={"template": {"name": "traffic"}, "args": {"route": "shop"}}, steps=[{"weight": 10, "hold": "60s"}]
    )
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.status().get("split", {}).get("observed") == 10)
    await world.until(lambda: world.phase() == "Succeeded")


async def test_a_template_of_traffic_is_edited_during_a_run(world: World) -> None:
    """What another counter says is not held against what the former one said: counting begins anew, and nothing is proven."""
    begun = world.clock.now()

    def served(rate: float, already: float = 0) -> Callable[[Any, datetime], float]:
        return lambda _query, now: already + rate * (now - begun).total_seconds()

    world.provider.answers.update(
        {
            "errors": 0.0,
            "n shop canary": served(10),
            "n shop stable": served(90),
            "all shop canary": served(10, already=1e6),
            "all shop stable": served(90),
        }
    )
    await world.furnish()
    await world.create(CHECKTEMPLATES, counter_document())
    steps = [{"weight": 10, "hold": "5m"}]
    await world.declare(traffic={"template": {"name": "traffic"}, "args": {"route": "shop"}}, steps=steps)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.status().get("split", {}).get("observed") == 10)
    edited = {"spec": {"traffic": {"prometheus": {"query": "all {{ args.route }} {{ backend.service }}"}}}}
    await world.gitops.merge_patch(CHECKTEMPLATES, "traffic", world.namespace, edited)
    await world.pass_(60)
    assert any(call.query.text == "all shop canary" for call in world.provider.calls)
    assert "holding 10 %" in world.message()
    await world.until(lambda: world.phase() == "Succeeded")


async def test_a_template_of_traffic_that_vanishes_during_a_run(world: World) -> None:
    """The run is held where it is, as where the template of a check is gone, and goes on when it is back."""
    world.provider.answers.update({"errors": 0.0, "n shop": 0.0})
    await world.furnish()
    await world.create(CHECKTEMPLATES, counter_document())
    steps = [{"weight": 10, "hold": "30s"}]
    await world.declare(traffic={"template": {"name": "traffic"}, "args": {"route": "shop"}}, steps=steps)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.gitops.delete(CHECKTEMPLATES, "traffic", world.namespace)
    await world.pass_(120, pace=10)
    assert world.weights() == (90, 10)
    assert "spec.traffic.template: there is no CheckTemplate traffic" in world.message()
    await world.create(CHECKTEMPLATES, counter_document())
    await world.until(lambda: world.phase() == "Succeeded")


STEPS: list[dict[str, Any]] = [{"weight": 10, "hold": "1h"}, {"weight": 50, "hold": "1h"}]


async def judged_by_a_template(world: World, **more: Any) -> ControllerInstance:
    """A run at its first step whose only check is a template's."""
    await world.furnish()
    await world.create(CHECKTEMPLATES, template_document())
    world.provider.answers["latency"] = 0.1
    await world.declare(checks=[{"template": {"name": "latency"}, "args": {"limit": "300ms"}, **more}], steps=STEPS)
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.weights() == (90, 10) and "holding" in world.message())
    await world.until(lambda: world.condition("ChecksPassing").get("status") == "True")
    return instance


def said(world: World) -> tuple[str, str]:
    (found,) = world.status()["checks"]
    return found["verdict"], found["reason"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_template_that_vanishes_leaves_no_canary_unjudged(world: World, restarted: bool) -> None:
    """Its check is Unknown with a reason of its own, and holdLimit resolves it, also for who has never seen the template."""
    first = await judged_by_a_template(world, holdLimit="1m")
    await world.gitops.delete(CHECKTEMPLATES, "latency", world.namespace)
    if restarted:
        await first.kill()
        await world.start_controller()
    await world.until(lambda: world.condition("ChecksPassing").get("status") == "Unknown", within=10)
    assert said(world) == ("Unknown", "TemplateNotFound")
    assert world.condition("ChecksPassing")["reason"] == "TemplateNotFound"
    assert world.weights() == (90, 10)
    await world.until(lambda: world.weights()[1] == 0, within=70)
    await world.until(lambda: world.status()["run"].get("outcome") == "RolledBack")
    assert world.status()["run"]["reason"] == "HoldLimitExceeded"
    assert "there is no CheckTemplate latency" in world.status()["run"]["message"]


async def test_a_template_that_is_back_in_time_goes_on(world: World) -> None:
    """What it measures then counts, and an abort is served meanwhile too."""
    await judged_by_a_template(world)
    await world.gitops.merge_patch(CHECKTEMPLATES, "latency", world.namespace, {"spec": {"args": [{"name": "limits"}]}})
    await world.until(lambda: said(world) == ("Unknown", "TemplateUnreadable"), within=10)
    await world.gitops.merge_patch(CHECKTEMPLATES, "latency", world.namespace, {"spec": {"args": [{"name": "limit"}]}})
    await world.until(lambda: said(world)[0] == "Pass", within=10)
    assert (world.weights(), world.run_number()) == ((90, 10), 1)
    await world.gitops.delete(CHECKTEMPLATES, "latency", world.namespace)
    await world.until(lambda: said(world) == ("Unknown", "TemplateNotFound"), within=10)
    await world.ask("abort")
    await world.until(lambda: world.weights()[1] == 0, within=5)


async def test_failures_are_counted_on_after_a_template_was_away(world: World) -> None:
    """Whoever deletes it and applies it again makes no bad canary good."""
    await judged_by_a_template(world, failureLimit=5)
    world.provider.answers["latency"] = 5.0
    await world.until(lambda: world.status()["checks"][0].get("failures", 0) >= 4, within=30)
    await world.gitops.delete(CHECKTEMPLATES, "latency", world.namespace)
    await world.until(lambda: said(world)[0] == "Unknown", within=10)
    assert world.status()["checks"][0]["failures"] >= 4
    await world.create(CHECKTEMPLATES, template_document())
    await world.until(lambda: world.weights()[1] == 0, within=5)
    await world.until(lambda: world.status()["run"].get("outcome") == "RolledBack")
    assert world.status()["run"]["reason"] == "CheckFailed"


async def test_a_template_is_edited_during_a_run(world: World) -> None:
    """A limit that is tightened in the template while a run is under way counts at once."""
    await world.furnish()
    await world.create(CHECKTEMPLATES, template_document())
    world.provider.answers["latency"] = 0.25
    steps = [{"weight": 10, "hold": "10m"}]
    await world.declare(checks=[{"template": {"name": "latency"}, "args": {"limit": "300ms"}}], steps=steps)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.pass_(10)
    tighter = {"spec": {"threshold": {"max": "100ms"}}}
    await world.gitops.merge_patch(CHECKTEMPLATES, "latency", world.namespace, tighter)
    await world.until(lambda: world.phase() == "RolledBack", within=20)
