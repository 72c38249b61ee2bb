"""What is served is asked, and believed with care: by the twin of the API server, whose discovery says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from controller_kit import START, backend, rollout_document
from scripted_kube import ScriptedKube

from canary.act.events import EventRecorder
from canary.controller.clock import ManualClock
from canary.controller.deps import Deps
from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.controller.route_informers import POLL, RouteInformers
from canary.controller.sight import Sights
from canary.errors import ConfigError, Forbidden, Unavailable
from canary.kube import CRDS, HTTPROUTES, TCPROUTES, Resource
from canary.metrics.scripted import Scripted
from canary.model.rollout import RolloutSpec, RouteKind
from canary.model.status import RolloutStatus
from canary.observe.checks import resolve_checks
from canary.observe.facts import Received, gather
from canary.observe.objects import Key
from canary.observe.store import Store
from canary.routes.key import RouteKey
from canary.telemetry import Telemetry

Json = dict[str, Any]
TEAM = "team"
TCP = RouteKey(RouteKind.TCP, TEAM, "mqtt")
OLD = replace(TCPROUTES, version="v1alpha2")
NOBODY = Forbidden("you may not", status=403)


def tcp_route(resource: Resource = TCPROUTES) -> Json:
    return {
        "apiVersion": resource.api_version,
        "kind": "TCPRoute",
        "metadata": {"name": "mqtt", "namespace": TEAM},
        "spec": {"rules": [{"backendRefs": [backend("stable", 1), backend("canary", 0)]}]},
    }


@dataclass
class Place:
    """The informers of one controller, with everything that they tell."""

    kube: ScriptedKube
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    store: Store = field(default_factory=Store)
    woken: set[Key] = field(default_factory=set)
    deleted: list[str] = field(default_factory=list)
    settled: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.sights = Sights(self.clock)
        self.lookout = Lookout(self.sights, self.clock, ())
        parts: Any = (self.kube, self.store, EventRecorder(self.kube), Scripted({}), Telemetry(), self.clock)
        self.manager = Manager(Deps(*parts), held=True)
        manager: Any = SimpleNamespace(
            deps=SimpleNamespace(store=self.store, clock=self.clock),
            route=self.route,
            wake=self.woken.update,
            awaits=self.manager.awaits,
            arrived=self.manager.arrived,
        )
        self.informers = RouteInformers(self.kube, manager, (), self.lookout, self.clock, self.on_synced)
        self.store.put_rollout(rollout_document() | {"metadata": {"name": "shop", "namespace": TEAM}})
        named = rollout_document("mqtt", routes=[{"kind": "TCPRoute", "name": "mqtt"}])
        self.store.put_rollout(named | {"metadata": {"name": "mqtt", "namespace": TEAM}})

    def route(self, kind: str, document: Json) -> None:
        if kind == "DELETED":
            self.deleted.append(RouteKey.read(document).label)
        self.manager.route(kind, document)

    def on_synced(self) -> None:
        if not self.informers.waiting_for:
            self.settled.set()

    async def rest(self) -> None:
        """Until everybody has said what they have to say at this moment."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def pass_(self, seconds: float) -> None:
        """Let time pass in pieces of a tenth of a second."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            await self.rest()

    @property
    def why(self) -> str:
        return self.store.kinds.missing(TCP)

    def looks(self) -> int:
        return sum(asked.verb == "discover" for asked in self.kube.asked)


@asynccontextmanager
async def following(*served: Resource, place: Place | None = None, **script: Any) -> AsyncIterator[Place]:
    """Informers under way, everything that is served listed. `script`: for the opening of watches, by plural."""
    place = place or Place(ScriptedKube(served=list(served)))
    for plural, error in script.items():
        place.kube.script("list_and_watch", plural, error=error, times=None)
    if TCPROUTES in served or OLD in served:
        place.kube.put(TCPROUTES, tcp_route(OLD if OLD in served else TCPROUTES))

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            await place.informers.run(group)

    task = asyncio.create_task(run())
    try:
        async with asyncio.timeout(10):
            waiting = asyncio.ensure_future(place.settled.wait())
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if task.done():
            task.result()
        await place.rest()
        yield place
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


SENSELESS: dict[str, Json] = {
    "parents that are none": {"spec": {"parentRefs": ["gw"]}},
    "a spec that is text": {"spec": "none"},
    "annotations that are a list": {"metadata": {"annotations": ["a"]}},
    "managers that are numbers": {"metadata": {"managedFields": [7]}},
    "rules that are text": {"spec": {"rules": ["none"]}},
}


def senseless(what: str) -> Json:
    document, more = tcp_route(), SENSELESS[what]
    metadata = {**document["metadata"], **more.get("metadata", {})}
    return {**document, **more, "metadata": {**metadata, "name": "other", "uid": "u"}}


def problems(place: Place, route: str) -> list[str]:
    """What a Rollout that names a route is told of it."""
    store, key = place.store, (TEAM, route)
    named = rollout_document(
        route, routes=[{"kind": "TCPRoute", "name": route}], workloads=None, trigger="Manual", checks=[]
    )
    store.put_rollout(named | {"metadata": {"name": route, "namespace": TEAM, "uid": route, "resourceVersion": "9"}})
    rollout = store.rollout(key)
    assert rollout is not None
    assert isinstance(rollout.spec, RolloutSpec)
    checks = resolve_checks(store, TEAM, route, rollout.spec)
    facts = gather(store, rollout, rollout.spec, RolloutStatus(), checks, Received(), place.clock.now())
    return [problem.message for problem in facts.problems]


@pytest.mark.parametrize("listed", [True, False], ids=["when it is listed", "when it is written"])
@pytest.mark.parametrize("what", SENSELESS)
async def test_one_route_that_makes_no_sense_blinds_nobody(what: str, listed: bool) -> None:
    """It is the trouble of the Rollouts that name it; all others of its kind are seen as before, and it is when it is mended."""
    place = Place(ScriptedKube(served=[HTTPROUTES, TCPROUTES]))
    if listed:
        place.kube.put(TCPROUTES, senseless(what))
    async with following(HTTPROUTES, TCPROUTES, place=place):
        if not listed:
            place.kube.put(TCPROUTES, senseless(what))
            await place.rest()
        (words,) = problems(place, "other")
        assert words == "TCPRoute other is such that the controller cannot read it; its log says why"
        changed = tcp_route()
        changed["spec"]["rules"][0]["backendRefs"].reverse()
        place.kube.put(TCPROUTES, changed)
        await place.rest()
        assert place.store.routes[TCP].document["spec"] == changed["spec"], "the watch goes on"
        assert problems(place, "mqtt") == []
        mended = tcp_route() | {"metadata": {"name": "other", "namespace": TEAM, "uid": "u"}}
        place.kube.put(TCPROUTES, mended)
        await place.rest()
        assert problems(place, "other") == []
        place.kube.put(TCPROUTES, senseless(what))
        await place.rest()
        await place.kube.delete(TCPROUTES, "other", TEAM)
        await place.rest()
        assert "there is no TCPRoute other" in problems(place, "other")[0]


async def test_what_is_missing_for_a_moment_is_not_gone() -> None:
    """An API server that starts may not know all its definitions yet: once is not enough, and neither is a server in trouble."""
    async with following(HTTPROUTES, TCPROUTES) as place:
        assert TCP in place.store.routes
        for trouble in ({"answer": {"HTTPRoute": HTTPROUTES}}, {"error": Unavailable("not now", status=503)}):
            place.kube.script("discover", times=1, **trouble)
            place.informers.disturbed(anew=True)
            await place.pass_(20)
        assert TCP in place.store.routes
        assert (place.deleted, place.why, place.sights.of("team").blind) == ([], "", False)


async def test_an_api_server_that_knows_no_definitions_for_a_while_has_lost_nothing() -> None:
    """Nobody has deleted the definition: routes stay, time does not count meanwhile, and after a minute it counts as gone."""
    async with following(HTTPROUTES, TCPROUTES) as place:
        for seconds in (50, 50):
            place.kube.served = [HTTPROUTES]
            place.informers.disturbed(anew=True)
            await place.pass_(seconds)
            assert (place.deleted, place.why, place.sights.of("team").blind) == ([], "", True)
            place.kube.served = [HTTPROUTES, TCPROUTES]
            await place.pass_(3)
            assert (place.deleted, place.why, place.sights.of("team").blind) == ([], "", False)
        place.kube.served = [HTTPROUTES]
        place.informers.disturbed(anew=True)
        await place.pass_(63)
        assert (place.deleted, place.sights.of("team").blind) == (["TCPRoute mqtt"], False)


async def test_what_is_missing_for_a_while_is_gone_and_comes_back() -> None:
    """Its definition is deleted: routes are dropped, who names it is woken and told what to install; then all is as it was."""
    async with following(HTTPROUTES, TCPROUTES) as place:
        place.kube.put(CRDS, {"metadata": {"name": TCPROUTES.definition}})
        await place.pass_(1)
        place.kube.served = [HTTPROUTES]
        await place.kube.delete(CRDS, TCPROUTES.definition)
        await place.pass_(1)
        assert TCP in place.store.routes
        await place.pass_(4)
        assert place.deleted == ["TCPRoute mqtt"]
        assert place.why.startswith(
            "this cluster serves no TCPRoute; install the definition tcproutes.gateway.networking.k8s.io"
        )
        assert place.woken == {(TEAM, "mqtt")}
        place.woken.clear()
        place.kube.served = [HTTPROUTES, TCPROUTES]
        place.informers.disturbed(anew=True)
        await place.pass_(1)
        assert TCP in place.store.routes
        assert (place.why, place.woken) == ("", {(TEAM, "mqtt")})


async def test_a_change_of_versions_is_no_deletion() -> None:
    """The documents are read anew in the new version, and what went meanwhile is missed; nobody is blind afterwards."""
    async with following(HTTPROUTES, OLD) as place:
        assert place.store.kinds.resource(RouteKind.TCP) == OLD
        gone = tcp_route() | {"metadata": {"name": "gone", "namespace": TEAM, "uid": "g", "resourceVersion": "3"}}
        place.store.put_route(gone)
        place.kube._objects[TCPROUTES.plural, TEAM, "mqtt"]["apiVersion"] = (
            TCPROUTES.api_version
        )  # its version is the same
        place.kube.served = [HTTPROUTES, TCPROUTES]
        place.informers.disturbed(anew=True)
        await place.pass_(1)
        assert place.store.kinds.resource(RouteKind.TCP) == TCPROUTES
        assert place.store.routes[TCP].document["apiVersion"] == TCPROUTES.api_version
        assert place.deleted == ["TCPRoute gone"]


async def test_who_may_see_definitions_asks_only_when_one_changes() -> None:
    """At rest nothing is asked; a definition that is written leads to a few looks, and then it is quiet again."""
    async with following(HTTPROUTES) as place:
        await place.pass_(40)
        before = place.looks()
        await place.pass_(100)
        assert place.looks() == before
        place.kube.put(CRDS, {"metadata": {"name": TCPROUTES.definition}})
        place.kube.served = [HTTPROUTES, TCPROUTES]
        await place.pass_(1)
        assert place.why == ""
        await place.pass_(60)
        assert before < place.looks() < before + 10
        before = place.looks()
        await place.pass_(100)
        assert place.looks() == before


async def test_who_may_not_see_definitions_asks_from_time_to_time() -> None:
    """A kind that comes is found within that time."""
    async with following(HTTPROUTES, customresourcedefinitions=NOBODY) as place:
        await place.pass_(5)
        place.kube.served = [HTTPROUTES, TCPROUTES]
        before = place.looks()
        await place.pass_(POLL * 2)
        assert before < place.looks() <= before + 3
        assert place.why == ""


async def test_a_kind_that_may_not_be_listed_is_tried_again() -> None:
    """It is told to who names it, with the right that is missing; once that is given, it is followed."""
    async with following(HTTPROUTES, TCPROUTES, tcproutes=NOBODY) as place:
        assert (
            "the controller may not see any TCPRoute here: you may not; allow it to get, list, watch and patch"
            in place.why
        )
        place.kube._turns.clear()
        await place.pass_(POLL + 1)
        assert (place.why, TCP in place.store.routes) == ("", True)


async def test_a_start_that_may_not_list_http_routes_fails() -> None:
    """That is no matter of a Rollout: the installation is broken."""
    with pytest.raises(ExceptionGroup) as caught:
        async with following(HTTPROUTES, httproutes=NOBODY):
            pass
    (error,) = caught.value.exceptions
    assert isinstance(error, ConfigError)
    assert str(error) == "cannot watch httproutes: you may not"
