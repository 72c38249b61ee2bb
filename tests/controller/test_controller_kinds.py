"""Which kinds of route a cluster serves is followed: kinds come, change versions and go, and no controller is restarted for it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from controller_kit import CONTROLLER, World, backend, clean, route_document
from definitions import concise, definition, install, remove
from test_controller_whole import served

from canary.kube import GRPCROUTES, UDPROUTES, Resource

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

OLD = Resource(UDPROUTES.group, "v1alpha2", UDPROUTES.plural, UDPROUTES.kind)
NAMED = [{"kind": "UDPRoute", "name": "dns"}]


def udp_route(resource: Resource, name: str = "dns") -> Json:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": "gw"}],
            "rules": [{"backendRefs": [backend("stable", 1), backend("canary", 0)]}],
        },
    }


async def restore(world: World) -> None:
    """The definition as the server of the session had it."""
    await remove(world.admin, "UDPRoute")
    await install(world.admin, concise("UDPRoute"))


async def test_a_kind_comes_changes_its_version_and_goes(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Named before it is served, it is the Rollout's problem alone; then it works as v1alpha2, goes on as v1, and is missed."""
    await remove(world.admin, "UDPRoute")
    await world.furnish()
    await world.declare()
    await world.declare("dns", routes=NAMED, steps=[{"weight": 10, "hold": "2s"}, {"approval": {}}, {"weight": 100}])
    try:
        async with served(world):
            await world.until(lambda: world.phase("dns") == "Invalid")
            assert world.phase() == "Idle"
            assert "spec.routes[0]: this cluster serves no UDPRoute; install the definition udproutes.gateway" in (
                world.message("dns")
            )
            warned = {record.name for record in caplog.records if record.levelno >= logging.WARNING}
            assert warned <= {"canary.tick"}, "but for the Rollout's own line"

            await install(world.admin, definition("UDPRoute", "v1alpha2"))
            await world.route_kind(OLD)
            await world.create(OLD, udp_route(OLD))
            await world.until(lambda: world.phase("dns") == "Idle")
            await world.deploy(2)
            await world.until(lambda: world.step("dns") == 2 and world.status("dns")["split"]["accepted"] == 10)
            assert world.weights("dns", OLD) == (90, 10)

            await install(world.admin, definition("UDPRoute", "v1", unserved=("v1alpha2",)))
            await world.route_kind(UDPROUTES)
            await world.ask("promote", name="dns")
            await world.until(lambda: world.phase("dns") == "Succeeded")
            assert world.run_number("dns") == 1, "a change of versions is no change of the route"
            kept = await world.admin.get(UDPROUTES, "dns", world.namespace)
            assert [ref["weight"] for ref in kept["spec"]["rules"][0]["backendRefs"]] == [1, 0]
            assert "annotations" not in kept["metadata"]

            await remove(world.admin, "UDPRoute")
            await world.until(lambda: "this cluster serves no UDPRoute" in world.message("dns"))
            assert world.phase("dns") == "Invalid"
            await world.until(lambda: world.phase() == "Succeeded")
            assert world.run_number() == 1, "who does not name the kind has not noticed"
    finally:
        await restore(world)


async def test_a_run_whose_kind_of_route_goes_ends_and_says_why(world: World) -> None:
    """Its other routes go back to stable at once."""
    await remove(world.admin, "UDPRoute")
    await install(world.admin, definition("UDPRoute", "v1alpha2"))
    try:
        await world.route_kind(OLD)
        await world.create(OLD, udp_route(OLD))
        await world.furnish()
        await world.declare(routes=[{"name": "shop"}, *NAMED], steps=[{"weight": 10, "hold": "1h"}])
        async with served(world):
            await world.until(lambda: world.phase() == "Idle")
            await world.deploy(2)
            await world.until(lambda: bool(world.status()["split"]["accepted"] == 10))
            await remove(world.admin, "UDPRoute")
            await world.until(lambda: bool((world.status().get("run") or {}).get("outcome")))
            assert world.weights() == (1, 0)
            assert world.status()["run"]["reason"] == "RouteMissing"
            await world.until(lambda: world.phase() not in {"Progressing", "RollingBack"})
    finally:
        await restore(world)


async def test_routes_of_one_name_and_two_kinds_move_as_one(world: World) -> None:
    """Both are written and accepted before the hold begins; a failed check puts both back, whatever the gateway of one says."""
    grpc = await world.route_kind(GRPCROUTES)
    await world.furnish(route_document())
    document = route_document() | {"apiVersion": GRPCROUTES.api_version, "kind": "GRPCRoute"}
    document["spec"]["rules"] = [{"backendRefs": [backend("stable", 20), backend("canary", 0)]}]
    await world.create(GRPCROUTES, document)
    await world.declare(routes=[{"name": "shop"}, {"kind": "GRPCRoute", "name": "shop"}])
    async with served(world):
        await world.until(lambda: world.phase() == "Idle")
        await grpc.wait("shop")
        await world.deploy(2)
        await world.until(lambda: world.weights("shop", GRPCROUTES) == (90, 10))
        await world.pass_(10)
        assert world.weights() == (90, 10)
        assert world.step() == 1
        said = world.status()["message"]
        assert "waiting for GRPCRoute shop" in said
        by_kind = {(route["kind"], route["name"]): route.get("accepted", False) for route in world.status()["routes"]}
        assert by_kind == {("HTTPRoute", "shop"): True, ("GRPCRoute", "shop"): False}
        await grpc.accept("shop")
        await world.until(lambda: world.step() == 2)
        await grpc.wait("shop")
        world.provider.answers["errors"] = 0.5
        await world.until(lambda: world.weights() == (1, 0) and world.weights("shop", GRPCROUTES) == (20, 0))
        assert world.intent("shop", GRPCROUTES) is not None, "nobody has accepted it there yet"
        await grpc.accept("shop")
        await world.until(lambda: world.phase() == "RolledBack")
        await world.settle()
        assert world.intent("shop", GRPCROUTES) is None
        assert list(clean(world)) == []
    patched = {entry.resource for entry in world.writes(CONTROLLER) if entry.name == "shop" and entry.verb == "patch"}
    assert {"httproutes", "grpcroutes"} <= patched
