"""An invalid Rollout says what is wrong and touches nothing; it recovers by itself when the cause is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from cluster_kit import own_namespace
from controller_kit import World, backend, check, counter_document, route_document, rule, template_document

from canary.kube import CHECKTEMPLATES, CLUSTERCHECKTEMPLATES, HTTPROUTES, ROLLOUTS
from canary.metrics.port import Refusal

pytestmark = pytest.mark.asyncio(loop_scope="module")

Step = Callable[[World], Awaitable[Any]]


async def _nothing(_world: World) -> None:
    pass


@dataclass(frozen=True)
class Case:
    """A cause, what the message must say, and the cure."""

    name: str
    words: tuple[str, ...]
    cure: Step
    cause: Step = _nothing
    spec: dict[str, Any] = field(default_factory=dict)


LATENCY = {"template": {"name": "latency"}}
COUNTED = {"template": {"name": "traffic"}, "args": {"route": "shop"}}
P99 = own_namespace("p99")
"""A ClusterCheckTemplate's name, and so for all users of a cluster."""


def checks(*documents: dict[str, Any]) -> dict[str, Any]:
    return {"checks": list(documents)}


async def _refuse(world: World) -> None:
    world.provider.refused["errors"] = "parse error: unexpected end of input"


async def _no_secret(world: World) -> None:
    world.provider.refused["errors"] = Refusal("there is no Secret prom", asked=False, field="auth.secretRef")


async def _refuse_counter(world: World) -> None:
    world.provider.refused["n shop "] = "parse error: nobody knows n"
    await world.create(CHECKTEMPLATES, counter_document())


async def _refuse_no_more(world: World) -> None:
    world.provider.refused.clear()


async def _rival(world: World) -> None:
    await world.declare("older", workloads=None, checks=[])
    await world.settle()


async def _no_pair(world: World) -> None:
    await world.set_rules(world.gitops, rule(backend("stable", 1)))


CASES = [
    Case(
        "unknown template",
        ("spec.checks[0].template", "there is no CheckTemplate latency", "create it"),
        spec=checks({**LATENCY, "args": {"limit": "1"}}),
        cure=lambda world: world.create(CHECKTEMPLATES, template_document()),
    ),
    Case(
        "unknown cluster template",
        ("spec.checks[0].template", f"there is no ClusterCheckTemplate {P99}"),
        spec=checks({"template": {"name": P99, "kind": "ClusterCheckTemplate"}, "args": {"limit": "1"}}),
        cure=lambda world: world.create(CLUSTERCHECKTEMPLATES, template_document(P99, "ClusterCheckTemplate")),
    ),
    Case(
        "missing argument",
        ("spec.checks[0].args.limit", "needs this argument"),
        cause=lambda world: world.create(CHECKTEMPLATES, template_document()),
        spec=checks(LATENCY),
        cure=lambda world: world.edit(checks=[{**LATENCY, "args": {"limit": "300ms"}}]),
    ),
    Case(
        "argument that the template does not take",
        ("spec.checks[0].args.limits", "takes no such argument", "limit"),
        cause=lambda world: world.create(CHECKTEMPLATES, template_document()),
        spec=checks({**LATENCY, "args": {"limits": "1"}}),
        cure=lambda world: world.edit(checks=[{**LATENCY, "args": {"limit": "300ms"}}]),
    ),
    Case(
        "unknown template of traffic",
        ("spec.traffic.template", "there is no CheckTemplate traffic", "create it"),
        spec={"traffic": COUNTED},
        cure=lambda world: world.create(CHECKTEMPLATES, counter_document()),
    ),
    Case(
        "traffic by a template of a check",
        ("spec.traffic.template", "CheckTemplate latency holds a check, and counts no traffic"),
        cause=lambda world: world.create(CHECKTEMPLATES, template_document()),
        spec={"traffic": {**LATENCY, "args": {"limit": "1"}}},
        cure=lambda world: world.edit(traffic=None),
    ),
    Case(
        "a counter that the provider refuses",
        ("spec.traffic.prometheus.query", "nobody knows n"),
        cause=_refuse_counter,
        spec={"traffic": COUNTED},
        cure=_refuse_no_more,
    ),
    Case(
        "unknown variable",
        ("spec.checks[0].prometheus.query", "canary.servise"),
        spec=checks(check(prometheus={"query": 'errors{s="{{ canary.servise }}"}'})),
        cure=lambda world: world.edit(checks=[check()]),
    ),
    Case(
        "condition that does not compile",
        ("spec.checks[0].condition",),
        spec=checks(check(threshold=None, condition="value < ")),
        cure=lambda world: world.edit(checks=[check()]),
    ),
    Case(
        "PromQL that the provider refuses",
        ("spec.checks[0].prometheus.query", "parse error: unexpected end of input"),
        cause=_refuse,
        cure=_refuse_no_more,
    ),
    Case(
        "a Secret that is missing",
        ("spec.checks[0].prometheus.auth.secretRef: there is no Secret prom",),
        cause=_no_secret,
        cure=_refuse_no_more,
    ),
    Case(
        "a route without our pair",
        ("spec.routes", "lists stable:80, and not canary:80", "add the canary as a backendRef with weight 0"),
        cause=_no_pair,
        cure=lambda world: world.set_rules(world.gitops, rule()),
    ),
    Case(
        "no route",
        ("spec.routes[0]", "there is no HTTPRoute shoppe"),
        spec={"routes": [{"name": "shoppe"}]},
        cure=lambda world: world.create(HTTPROUTES, route_document("shoppe")),
    ),
    Case(
        "a rule that the route does not have",
        ("spec.routes", "checkout"),
        spec={"routes": [{"name": "shop", "rules": ["checkout"]}]},
        cure=lambda world: world.set_rules(world.gitops, rule(name="checkout")),
    ),
    Case(
        "a step that names a rule which the route does not have",
        ("spec.steps[0].rules", "no route of this Rollout has a rule named 'beta' that lists both Services"),
        spec={"steps": [{"weight": 0, "rules": {"beta": 100}}, {"weight": 50}]},
        cure=lambda world: world.set_rules(world.gitops, rule(), rule(name="beta")),
    ),
    Case(
        "a step that names a rule which the Rollout leaves out",
        ("spec.steps[0].rules", "spec.routes[].rules leaves rule 'beta' out"),
        cause=lambda world: world.set_rules(world.gitops, rule(name="pay"), rule(name="beta")),
        spec={"routes": [{"name": "shop", "rules": ["pay"]}], "steps": [{"weight": 9, "rules": {"beta": 100}}]},
        cure=lambda world: world.edit(routes=[{"name": "shop"}]),
    ),
    Case(
        "a second Rollout on the same rule",
        ("spec.routes[0]", "Rollout older drives rule"),
        cause=_rival,
        cure=lambda world: world.gitops.delete(ROLLOUTS, "older", world.namespace),
    ),
    Case(
        "a second Rollout that goes over to another route",
        ("spec.routes[0]", "Rollout older drives rule"),
        cause=_rival,
        cure=lambda world: world.gitops.merge_patch(
            ROLLOUTS, "older", world.namespace, {"spec": {"routes": [{"name": "elsewhere"}]}}
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_invalid_and_back(world: World, case: Case) -> None:
    """Phase Invalid, Stalled, the field and what to do; no route is touched; gone when its cause is gone."""
    await world.furnish()
    await case.cause(world)
    await world.declare(**case.spec)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Invalid")
    for words in case.words:
        assert words in world.message()
        assert words in world.condition("Stalled")["message"]
    assert world.condition("Stalled")["status"] == "True"
    assert world.condition("Ready")["status"] == "False"
    await world.deploy(2)
    await world.pass_(30)
    assert world.phase() == "Invalid"
    assert world.run_number() == 0
    assert world.untouched()
    assert world.finalizers() == []
    assert (await world.reasons()).count("Invalid") == 1
    await case.cure(world)
    world.provider.answers.update({"latency": 0.1})
    await world.until(lambda: world.phase() != "Invalid", within=120)
    assert world.condition("Stalled")["status"] == "False"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_invalid_across_a_restart(world: World, case: Case) -> None:
    """A controller that starts anew finds an invalid Rollout as it was, writes nothing, and still sees the cure."""
    await world.furnish()
    await case.cause(world)
    await world.declare(**case.spec)
    instance = await world.start_controller()
    await world.until(lambda: world.phase() == "Invalid")
    await world.settle()
    await instance.kill()
    before = len(world.writes())
    await world.start_controller()
    await world.pass_(10)
    assert len(world.writes()) == before
    await case.cure(world)
    await world.until(lambda: world.phase() == "Idle", within=120)


async def test_a_start_is_refused_while_invalid(world: World) -> None:
    """`start` of an invalid Rollout is refused with the reason."""
    await world.furnish()
    await world.declare(**checks({**LATENCY}))
    await world.start_controller()
    await world.until(lambda: world.phase() == "Invalid")
    await world.ask("start")
    await world.until(lambda: world.pending_request() is None and bool(world.request()))
    assert "the Rollout is invalid: spec.checks[0].template" in world.request()["message"]


async def test_a_template_edited_while_idle(world: World) -> None:
    """A template that becomes wrong while nothing runs makes the Rollout Invalid, and mended, Idle again."""
    await world.furnish()
    await world.create(CHECKTEMPLATES, template_document())
    await world.declare(**checks({**LATENCY, "args": {"limit": "1"}}))
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    wrong = {"spec": {"prometheus": {"query": "latency{{{ args.gone }}}"}}}
    await world.gitops.merge_patch(CHECKTEMPLATES, "latency", world.namespace, wrong)
    await world.until(lambda: world.phase() == "Invalid")
    assert "args.gone" in world.message()
    right = {"spec": {"prometheus": {"query": 'latency{s="{{ canary.service }}"}'}}}
    await world.gitops.merge_patch(CHECKTEMPLATES, "latency", world.namespace, right)
    await world.until(lambda: world.phase() == "Idle")
    await world.gitops.delete(CHECKTEMPLATES, "latency", world.namespace)
    await world.until(lambda: world.phase() == "Invalid")


async def test_a_template_that_vanishes_during_a_run(world: World) -> None:
    """A run whose template is gone is held where it is, and goes on when it is back."""
    await world.furnish()
    await world.create(CHECKTEMPLATES, template_document())
    world.provider.answers["latency"] = 0.1
    await world.declare(**checks({**LATENCY, "args": {"limit": "1"}}))
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.gitops.delete(CHECKTEMPLATES, "latency", world.namespace)
    await world.pass_(120, pace=10)
    assert world.weights() == (90, 10)
    assert "there is no CheckTemplate latency" in world.message()
    await world.create(CHECKTEMPLATES, template_document())
    await world.until(lambda: world.phase() == "Succeeded")


async def test_two_rollouts_on_different_rules(world: World) -> None:
    """Two Rollouts may share a route if each names its own rule; both run, and neither touches the other's rule."""
    one = rule(name="one", matches=[{"path": {"type": "PathPrefix", "value": "/one"}}])
    two = rule(backend("stable", 7), backend("canary", 0), name="two")
    await world.furnish(route_document("shop", one, two))
    for name in ("one", "two"):
        await world.declare(
            name, routes=[{"name": "shop", "rules": [name]}], workloads=None, trigger="Manual", promotion="Swap"
        )
    await world.start_controller()
    await world.until(lambda: world.phase("one") == "Idle" and world.phase("two") == "Idle")
    await world.ask("start", name="one")
    await world.until(lambda: world.phase("one") == "Succeeded")
    refs = [[ref["weight"] for ref in item["backendRefs"]] for item in world.route()["spec"]["rules"]]
    assert refs == [[0, 1], [7, 0]]


async def test_the_rival_that_runs_keeps_the_rule(world: World) -> None:
    """A Rollout that appears while another runs on its rule waits; the run ends undisturbed."""
    await world.begin()
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.declare("younger", workloads=None, checks=[])
    await world.until(lambda: world.phase("younger") == "Invalid")
    await world.until(lambda: world.phase() == "Succeeded")
    await world.pass_(30)
    assert (world.phase(), world.phase("younger")) == ("Succeeded", "Invalid")


async def test_the_elder_has_the_rule_when_the_run_ends(world: World) -> None:
    """An older Rollout that comes to the rule while another runs there waits too, and then the rule is its own."""
    await world.furnish()
    await world.declare("older", workloads=None, checks=[], routes=[{"name": "elsewhere"}])
    await world.settle()
    await world.declare()
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights() == (90, 10))
    await world.gitops.merge_patch(ROLLOUTS, "older", world.namespace, {"spec": {"routes": [{"name": "shop"}]}})
    await world.until(lambda: "Rollout shop drives rule" in world.message("older"))
    assert world.phase("older") == "Invalid"
    await world.until(lambda: world.phase("older") == "Idle")
    assert world.status()["run"]["outcome"] == "Succeeded"
    await world.until(lambda: world.phase() == "Invalid")
    assert "Rollout older drives rule" in world.message()
