"""Rollouts on Traefik: calls, and several rules; for one rule of HTTP see tests/e2e. It comes with the set-up: nobody has to name it."""

from __future__ import annotations

import pytest
import scenarios
from cluster_kit import OUR_CRDS
from gateways_kit import OK, REQUESTS, Shop, Speech, world

from canary_sandbox.cluster import Sandbox
from canary_sandbox.traefik import CONTROLLER_NAME

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.sandbox_only("a real API server refuses the loopback addresses that a foreign gateway has to call"),
]


async def test_calls_are_divided() -> None:
    """GRPCRoute: half of them, then all, then back."""
    async with Sandbox(gateway="traefik", crds=[OUR_CRDS]) as cluster:
        await cluster.apply(world(CONTROLLER_NAME, cluster.gateway.listener_port, "grpc"))
        async with Shop(cluster, cluster.gateway, "grpc") as shop:
            await shop.begin([{"weight": 50}, {"approval": {}}, {"weight": 100}, {"approval": {}}])
            await shop.step(2)
            await shop.served_by("v1", "v2")
            answers = await shop.ask()
            assert answers[OK, "v1"] + answers[OK, "v2"] == REQUESTS, answers
            assert 100 * answers[OK, "v2"] / REQUESTS == pytest.approx(50, abs=5)
            await shop.request("promote")
            await shop.step(4)
            await shop.served_by("v2")
            assert await shop.ask() == {(OK, "v2"): REQUESTS}
            await shop.request("abort")
            await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
            await shop.served_by("v1")
            assert await shop.ask() == {(OK, "v1"): REQUESTS}


@pytest.mark.parametrize("speech", ["http", "grpc"])
async def test_several_rules_are_copied_and_moved_as_one(speech: Speech) -> None:
    """A copy for each rule that lists the pair; also under load."""
    async with Sandbox(gateway="traefik", crds=[OUR_CRDS]) as cluster:
        await cluster.apply(world(CONTROLLER_NAME, cluster.gateway.listener_port, speech))
        async with Shop(cluster, cluster.gateway, speech) as shop:
            await scenarios.several_rules(shop)
