"""What stands around routes: while it would serve no run none begins, and Ready says why; what may not be read says nothing."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from controller_kit import (
    CONTROLLER,
    Clients,
    ControllerInstance,
    World,
    backend,
    check,
    gateway_document,
    grant_document,
    route_document,
    rule,
    service_document,
)

from canary.controller import workqueue
from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.controller.survey import Survey
from canary.kube import GATEWAYCLASSES, GATEWAYS, HTTPROUTES, NAMESPACES, REFERENCEGRANTS, SERVICES, Resource
from canary.metrics.port import Query
from canary.preflight.objects import Absence, Gateway
from canary.preflight.offers import Platform
from canary.routes.features import Feature
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]


@asynccontextmanager
async def surveyed(world: World, instance: ControllerInstance, *more: str, again: float = 300) -> AsyncIterator[Survey]:
    """The controller follows what stands around the routes of these namespaces, too, and has listed it."""
    namespaces = (world.namespace, *more)
    lookout = Lookout(instance.manager.deps.sights, world.clock, namespaces)
    survey = Survey(instance.kube, instance.manager, namespaces, lookout, again=again)
    task = asyncio.create_task(survey.run())
    try:
        await survey.listed()
        yield survey
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def ready(world: World, name: str = "shop") -> tuple[str, str]:
    condition = world.condition("Ready", name)
    return str(condition.get("status")), str(condition.get("reason"))


LISTENER: Json = {"name": "http", "port": 80, "protocol": "HTTP"}
BREAK: list[tuple[Resource, str, Json | None, Json | None, str, str]] = [
    (GATEWAYS, "gw", None, gateway_document(), "ParentMissing", "there is no Gateway gw"),
    (SERVICES, "canary", None, service_document("canary"), "BackendNotFound", "there is no Service canary"),
    (SERVICES, "stable", None, service_document("stable"), "BackendNotFound", "there is no Service stable"),
    (
        SERVICES,
        "canary",
        {"spec": {"ports": [{"port": 81}]}},
        {"spec": {"ports": [{"port": 80}]}},
        "WrongPort",
        "Service canary has no port 80; its ports: 81",
    ),
]


@pytest.mark.parametrize(
    ("resource", "name", "broken", "whole", "reason", "words"), BREAK, ids=lambda value: str(value)[:40]
)
async def test_no_run_begins_while_it_could_not_work(
    world: World, resource: Resource, name: str, broken: Json | None, whole: Json, reason: str, words: str
) -> None:
    """Ready turns False with the reason, a new revision and a request wait or are refused; once it is mended, the run begins."""
    instance = await world.begin()
    async with surveyed(world, instance):
        await world.until(lambda: ready(world)[0] == "True")
        if broken is None:
            await world.admin.delete(resource, name, world.namespace)
        else:
            await world.admin.merge_patch(resource, name, world.namespace, broken)
        await world.until(lambda: ready(world) == ("False", reason))
        assert words in world.condition("Ready")["message"]
        await world.deploy(2)
        await world.pass_(5)
        assert (world.phase(), world.run_number(), world.untouched()) == ("Idle", 0, True)
        assert words in world.message()
        await world.ask("start")
        await world.until(lambda: bool(world.request()))
        assert words in world.request()["words"]
        assert world.run_number() == 0
        if broken is None:
            await world.create(resource, whole)
        else:
            await world.admin.merge_patch(resource, name, world.namespace, whole)
        await world.until(lambda: world.phase() == "Succeeded")
        assert ready(world)[0] == "True"


async def test_no_run_begins_without_the_service_of_a_comparer(world: World) -> None:
    """Ready is False and names the field; it begins when the Service comes with that port."""
    mirror = {"percent": 20, "allowUnsafeMethods": True, "comparer": {"service": "compare", "port": 80}}
    instance = await world.begin(steps=[{"mirror": mirror, "hold": "2s"}, {"weight": 10}])
    async with surveyed(world, instance):
        await world.until(lambda: ready(world) == ("False", "BackendNotFound"))
        assert "correct spec.steps[0].mirror.comparer" in world.condition("Ready")["message"]
        await world.deploy(2)
        await world.pass_(5)
        assert (world.phase(), world.run_number()) == ("Idle", 0)
        await world.create(SERVICES, {**service_document("compare"), "spec": {"ports": [{"port": 81}]}})
        await world.until(lambda: ready(world) == ("False", "WrongPort"))
        ports = [{"op": "replace", "path": "/spec/ports/0/port", "value": 80}]
        await world.admin.json_patch(SERVICES, "compare", world.namespace, ports)
        await world.until(lambda: world.run_number() == 1)


async def test_a_grant_is_wanted_where_a_namespace_is_crossed(world: World, clients: Clients) -> None:
    """Without one the reason is RefNotPermitted, whatever the gateway says; a grant there lets the run begin, its end ends it."""
    async with World(clients) as other:
        await other.create(SERVICES, service_document("canary"))
        refs = backend("stable", 1), backend("canary", 0, namespace=other.namespace)
        canary = {"service": "canary", "port": 80, "namespace": other.namespace}
        await world.furnish(route_document("shop", rule(*refs)))
        await world.declare(canary=canary)
        instance = await world.start_controller()
        async with surveyed(world, instance, other.namespace):
            await world.until(lambda: ready(world) == ("False", "RefNotPermitted"))
            assert f"no ReferenceGrant of namespace {other.namespace} lets HTTPRoute" in world.message()
            await other.create(REFERENCEGRANTS, grant_document(world.namespace))
            await world.until(lambda: ready(world)[0] == "True")
            await other.admin.delete(REFERENCEGRANTS, "shop", other.namespace)
            await world.until(lambda: ready(world) == ("False", "RefNotPermitted"))


async def test_grants_of_a_namespace_that_is_not_followed_are_unknown(world: World, clients: Clients) -> None:
    """A controller with --namespaces cannot see them: that is no refusal. It is said, with what to do, and the gateways decide."""
    async with World(clients) as other:
        await other.create(SERVICES, service_document("canary"))
        refs = backend("stable", 1), backend("canary", 0, namespace=other.namespace)
        canary = {"service": "canary", "port": 80, "namespace": other.namespace}
        await world.furnish(route_document("shop", rule(*refs)))
        await world.declare(canary=canary)
        instance = await world.start_controller()
        async with surveyed(world, instance):
            await world.until(lambda: ready(world)[0] == "True")
            said = world.condition("ReferencesPermitted")
            assert (said["status"], said["reason"]) == ("Unknown", "ReferenceGrantsNotSeen")
            assert f"does not see the ReferenceGrants of namespace {other.namespace}" in said["message"]
            assert f"name {other.namespace} among the controller's namespaces (--namespaces)" in said["message"]
            before = len(world.writes())
            await world.pass_(30)
            assert len(world.writes()) == before
            await world.deploy(2)
            await world.until(lambda: world.phase() == "Succeeded")
            assert world.condition("ReferencesPermitted")["status"] == "Unknown"
        async with surveyed(world, instance, other.namespace):
            await world.until(lambda: ready(world) == ("False", "RefNotPermitted"))
            assert not world.condition("ReferencesPermitted")


async def test_a_namespace_wants_the_label_that_a_listener_chooses_by(world: World) -> None:
    """The sentence names it, and is another one as soon as the namespace has it."""
    chosen = {"from": "Selector", "selector": {"matchExpressions": [{"key": "public", "operator": "Exists"}]}}
    await world.gateway.wait("shop")
    await world.furnish()
    spec = {"listeners": [{**LISTENER, "allowedRoutes": {"namespaces": chosen}}]}
    await world.admin.merge_patch(GATEWAYS, "gw", world.namespace, {"spec": spec})
    await world.declare()
    instance = await world.start_controller()
    async with surveyed(world, instance):
        await world.until(lambda: ready(world) == ("False", "NotAllowedByListeners"))
        words = f"whoever may label namespaces has to set a label public on namespace {world.namespace}"
        assert words in world.condition("Ready")["message"]
        await world.admin.merge_patch(NAMESPACES, world.namespace, None, {"metadata": {"labels": {"public": ""}}})
        await world.until(lambda: ready(world) == ("False", "RouteNotAttached"))
        await world.admin.merge_patch(NAMESPACES, world.namespace, None, {"metadata": {"labels": {"public": None}}})
        await world.until(lambda: words in world.condition("Ready")["message"])


async def test_a_mirror_needs_a_gateway_that_can(world: World) -> None:
    """Where nobody says that the gateways can mirror, nothing is written; once the GatewayClass publishes it, the run begins."""
    name = world.namespace  # GatewayClasses have no namespace
    of = {"apiVersion": GATEWAYCLASSES.api_version, "kind": "GatewayClass", "metadata": {"name": name}}
    await world.create(GATEWAYCLASSES, {**of, "spec": {"controllerName": "example.com/gateway"}}, by=world.admin)
    await world.furnish(route_document("shop", rule(matches=[{"method": "GET"}])))
    await world.admin.merge_patch(GATEWAYS, "gw", world.namespace, {"spec": {"gatewayClassName": name}})
    await world.declare(steps=[{"mirror": {"percent": 20}, "hold": "2s"}, {"weight": 100, "hold": "2s"}])
    instance = await world.start_controller()
    instance.store.around.platform = Platform()
    async with surveyed(world, instance):
        said = f"nobody says that GatewayClass {name} can do HTTPRouteRequestMirror"  # once the class is known
        await world.until(lambda: ready(world) == ("False", "UnsupportedFeature") and said in world.message())
        await world.deploy(2)
        await world.pass_(5)
        assert (world.run_number(), world.untouched()) == (0, True)
        can = {"supportedFeatures": [{"name": f"HTTPRouteRequest{what}Mirror"} for what in ("", "Percentage")]}
        await world.admin.merge_patch(GATEWAYCLASSES, name, None, {"status": can}, subresource="status")
        await world.until(lambda: world.phase() == "Succeeded")


async def test_a_plan_that_is_edited_to_mirror_asks_first(world: World) -> None:
    """No preflight stands before a run that gives way to another: the step itself is not written, and says why."""
    instance = await world.begin(route_document("shop", rule(matches=[{"method": "GET"}])))
    instance.store.around.platform = Platform()
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and world.weights()[1] == 10)
    await world.edit(steps=[{"mirror": {"percent": 20}, "hold": "2s"}, {"weight": 100, "hold": "2s"}])
    await world.until(
        lambda: world.run_number() == 2 and world.step() == 1 and "needs HTTPRouteRequestMirror" in world.message()
    )
    await world.pass_(30)
    assert (world.phase(), world.weights()[1]) == ("Progressing", 0)
    assert "filters" not in world.route()["spec"]["rules"][0]
    instance.store.around.platform = Platform({"*": frozenset(Feature)})
    await world.edit(steps=[{"mirror": {"percent": 30}, "hold": "2s"}, {"weight": 100, "hold": "2s"}])
    await world.until(lambda: world.phase() == "Succeeded")


async def test_a_run_under_way_is_not_ended_by_it(world: World) -> None:
    """What was said of parents and Services is a matter of the next run; this one ends by what gateways accept and checks say."""
    instance = await world.begin()
    async with surveyed(world, instance):
        await world.deploy(2)
        await world.until(lambda: world.step() == 1 and world.weights()[1] == 10)
        await world.admin.delete(GATEWAYS, "gw", world.namespace)
        await world.admin.delete(SERVICES, "canary", world.namespace)
        await world.until(lambda: world.phase() == "Succeeded")
        assert ready(world) == ("False", "BackendNotFound")
        await world.settle()
        assert ready(world) == ("False", "BackendNotFound")


async def test_what_may_not_be_read_says_nothing(world: World, clients: Clients) -> None:
    """403 on all of it: the routes' own status decides, and runs begin; a right that is granted later is noticed."""
    for resource in ("gateways", "gatewayclasses", "services", "referencegrants", "namespaces"):
        clients.api.faults.add(Fault(verb="list", resource=resource, status=403, times=None, user=CONTROLLER))
    await world.furnish()
    await world.admin.delete(GATEWAYS, "gw", world.namespace)
    await world.declare()
    instance = await world.start_controller()
    async with surveyed(world, instance, again=0.05):
        await world.until(lambda: ready(world)[0] == "True")
        await world.gateway.refuse("shop", "not today")
        await world.until(lambda: ready(world) == ("False", "RoutesNotAccepted"))
        assert "Gateway gw says Accepted=False (UnsupportedValue: not today)" in world.message()
        await world.gateway.accept("shop")
        await world.deploy(2)
        await world.until(lambda: world.phase() == "Succeeded")
        clients.api.faults.clear()
        await world.until(lambda: ready(world) == ("False", "ParentMissing"))


async def test_a_list_that_never_comes_holds_up_no_start(world: World, clients: Clients, caplog: Any) -> None:
    """An API server that cannot list one kind for now (a broken conversion): a controller begins without, and says so."""
    fault = clients.api.faults.add(Fault(verb="list", resource="gateways", status=503, times=None, user=CONTROLLER))
    await world.furnish()
    await world.admin.delete(GATEWAYS, "gw", world.namespace)
    await world.declare()
    instance = await world.start_controller()
    lookout = Lookout(instance.manager.deps.sights, world.clock, (world.namespace,))
    survey = Survey(instance.kube, instance.manager, (world.namespace,), lookout, patience=0.2)
    task = asyncio.create_task(survey.run())
    try:
        await survey.listed()
        assert f"no list of gateways of {world.namespace} yet; runs are judged without" in caplog.text
        await world.until(lambda: ready(world)[0] == "True")
        clients.api.faults.remove(fault)
        await world.until(lambda: ready(world) == ("False", "ParentMissing"))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("slow", [0.0, 0.1], ids=["at once", "slow server"])
async def test_what_changes_nothing_that_is_looked_at_wakes_nobody(world: World, clients: Clients, slow: float) -> None:
    """A Gateway's status, a Service's labels, a Service of nobody: no request of ours and no look, however slowly watches open."""
    instance = await world.begin()
    clients.api.faults.add(Fault(verb="watch", latency=slow, times=None, user=CONTROLLER))
    async with surveyed(world, instance):
        await world.settle()
        before, looks = len(world.audited()), len(instance.manager.reconciling)
        status = {"addresses": [{"type": "IPAddress", "value": "192.0.2.1"}]}
        await world.admin.merge_patch(GATEWAYS, "gw", world.namespace, {"status": status}, subresource="status")
        await world.admin.merge_patch(SERVICES, "canary", world.namespace, {"metadata": {"labels": {"a": "b"}}})
        await world.create(SERVICES, service_document("third"))
        await world.create(GATEWAYS, gateway_document("another"))
        store = instance.manager.deps.store
        document = await world.admin.get(GATEWAYS, "gw", world.namespace)
        assert store.put_around("Gateway", document) == set()
        await world.pass_(10)
        assert (len(world.audited()), len(instance.manager.reconciling)) == (before, looks)


async def test_what_waits_for_its_turn_is_neither_lost_nor_older_than_what_is_known(world: World) -> None:
    """A watch that breaks, is whole again or lists anew in between: what is kept is what was said last."""
    instance = await world.begin()
    async with surveyed(world, instance):
        manager, around, place = instance.manager, instance.store.around, world.namespace

        def port() -> int | None:
            found = around.gateway("Gateway", place, "gw")
            return found.listeners[0].port if isinstance(found, Gateway) else None

        manager.around("Gateway", "MODIFIED", there(place, 1))
        assert port() == 80, "it waits"
        await world.until(lambda: port() == 81)
        manager.around("Gateway", "MODIFIED", there(place, 2))
        manager.know("Gateway", place, known=False)
        assert port() is None
        manager.know("Gateway", place, known=True)
        assert port() == 80, "nobody is told by a kind that is known of what it is not any more"
        manager.around("Gateway", "DELETED", there(place, 3))
        manager.know("Gateway", place, known=False)
        manager.around("Gateway", "ADDED", there(place, 3))
        manager.know("Gateway", place, known=True)
        await world.pass_(2)
        assert port() == 81, "what waited was older"
        manager.around("Gateway", "MODIFIED", there(place, 4))
        manager.forget("Gateway", place)
        await world.pass_(2)
        assert around.gateway("Gateway", place, "gw") is Absence.MISSING


THOUSAND = 1000


SOON = 0.1
"""Seconds of this thread's work from a failing sample to its rollback patch, while it never rests. How busy the machine is with
others does not count."""


@pytest.mark.cpu_time("how long a rollback takes")
@pytest.mark.timeout(900)
async def test_a_gateway_of_a_thousand_flaps_and_delays_no_rollback(
    world: World, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Gateway that a thousand Rollouts depend on comes and goes; another team's failing sample leads to its patch at once, and
    in the end each of the thousand says what is the case."""
    crowd = World(clients)
    crowd.clock, crowd.traffic = world.clock, world.traffic
    async with crowd:
        await crowd.furnish()
        names = [f"r{number}" for number in range(THOUSAND)]
        for some in range(0, THOUSAND, 50):
            batch = names[some : some + 50]
            await asyncio.gather(*(crowd.create(HTTPROUTES, route_document(name)) for name in batch))
            await asyncio.gather(
                *(crowd.declare(name, routes=[{"name": name}], workloads=None, checks=[]) for name in batch)
            )
        sent: list[float] = []

        def leaves(_index: int, request: Any) -> str:
            if request.resource == "httproutes":
                sent.append(time.thread_time())
            return ""

        steps = [{"weight": 10, "hold": "1h"}]
        instance = await world.begin(cut=leaves, steps=steps, checks=[check(interval="1s")])
        store = instance.store
        await instance.look_after(crowd.namespace)
        async with surveyed(world, instance, crowd.namespace):
            await eventually(lambda: all(crowd.phase(name) == "Idle" for name in names))
            await world.deploy(2)
            await world.until(lambda: world.weights() == (90, 10))
            for _ in range(10):
                await crowd.admin.delete(GATEWAYS, "gw", crowd.namespace)
                await crowd.admin.create(GATEWAYS, gateway_document(), crowd.namespace)
            await crowd.admin.delete(GATEWAYS, "gw", crowd.namespace)
            await eventually(lambda: bool(store.around.gateway("Gateway", crowd.namespace, "gw") is Absence.MISSING))
            flood = asyncio.create_task(flap(instance.manager, crowd.namespace))
            try:
                await world.pass_(5)
                failed: list[float] = []

                def fails(_query: Query, _now: datetime) -> float:
                    failed.append(time.thread_time())
                    return 0.5

                sent.clear()
                world.provider.answers["errors"] = fails
                await world.until(lambda: world.weights()[1] == 0)
            finally:
                flood.cancel()
            assert next(at for at in sent if at >= failed[0]) - failed[0] < SOON
            instance.manager.around("Gateway", "DELETED", there(crowd.namespace, 0))
            monkeypatch.setattr(workqueue, "SHARE", 1.0)  # nobody else is there any more who would have to wait
            await eventually(lambda: all(ready(crowd, name) == ("False", "ParentMissing") for name in names))


def there(namespace: str, number: int) -> Json:
    """The Gateway of a namespace as a watch brings it, each time with another listener than the time before."""
    document = gateway_document("gw", {**LISTENER, "port": 80 + number % 2})
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}


async def flap(manager: Manager, namespace: str) -> None:
    """What its watch would bring in bursts of five hundred, as it may after a moment of silence."""
    for number in itertools.count():
        manager.around("Gateway", "MODIFIED", there(namespace, number))
        if number % 500 == 0:
            await asyncio.sleep(0.001)


async def eventually(condition: Callable[[], bool]) -> None:
    """The looks at a crowd are paced by the processor's time, not by the world's clock."""
    until = time.monotonic() + 300
    while not condition():
        await asyncio.sleep(0.05)
        assert time.monotonic() < until


COPIES = {"percent": 20, "allowUnsafeMethods": True}
MIRROR = {"steps": [{"weight": 10, "hold": "10s"}, {"mirror": COPIES, "hold": "10s"}, {"weight": 50}]}


async def restarted(world: World, **spec: Any) -> ControllerInstance:
    """A run is under way at 10 %, and the controller that drove it has given way to one that is held."""
    first = await world.begin(**spec)
    await world.deploy(2)
    await world.until(lambda: world.step() == 1 and bool(world.status()["step"].get("reachedAt")))
    await world.settle()
    await first.stop()
    return await world.start_controller(held=True)


async def test_a_run_does_not_wait_for_what_stands_around_its_routes(world: World) -> None:
    """After a restart it is judged as soon as all is known that it moves by; what comes after it waits for the rest."""
    instance = await restarted(world)
    world.provider.answers["errors"] = 0.5
    await world.settle()
    assert world.weights() == (90, 10)
    await instance.manager.go_on()
    await world.until(lambda: world.phase() == "RolledBack")
    assert world.weights() == (1, 0)
    world.provider.answers["errors"] = 0.0
    await world.deploy(3)
    await world.ask("start")
    await world.pass_(30)
    assert (world.run_number(), world.phase()) == (1, "RolledBack"), "begun without a look around"
    assert world.pending_request() is not None
    await instance.manager.begin()
    await world.until(lambda: world.run_number() == 2 and world.step() == 1)


async def test_the_run_after_one_that_gave_way_waits_for_what_stands_around_its_routes(world: World) -> None:
    """A new revision makes a run give way to the next one, and that is decided when it is known what this would find."""
    instance = await restarted(world)
    await instance.manager.go_on()
    await world.deploy(3)
    await world.pass_(30)
    assert (world.run_number(), world.weights()) == (1, (90, 10))
    await instance.manager.begin()
    await world.until(lambda: world.run_number() == 2 and world.step() == 1)


async def test_a_run_that_asks_more_of_gateways_waits_for_what_is_known_of_them(world: World) -> None:
    """Requests are mirrored only where the gateway is known to be able to: a run with such a step goes on when that is listed."""
    instance = await restarted(world, **MIRROR)
    await instance.manager.go_on()
    await world.settle()
    assert not instance.manager.reconciling
    await instance.manager.begin()
    await world.until(lambda: world.phase() == "Succeeded")
