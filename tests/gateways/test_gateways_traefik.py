"""Rollouts on Traefik, in languages other than HTTP; for HTTP see tests/e2e. It comes with the set-up: nobody has to name it."""

from __future__ import annotations

import pytest
from cluster_kit import OUR_CRDS
from gateways_kit import OK, REQUESTS, Shop, world

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
