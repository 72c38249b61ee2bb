"""Rollouts on the sandbox's own gateway, of routes that divide connections; for the others see tests/e2e."""

from __future__ import annotations

import pytest
from cluster_kit import OUR_CRDS
from gateways_kit import OK, REQUESTS, Shop, Speech, world

from canary_sandbox.cluster import Sandbox
from canary_sandbox.gateway import CONTROLLER_NAME

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.sandbox_only("a real API server refuses the loopback addresses of the replicas"),
]


@pytest.mark.parametrize("speech", ["tcp", "udp"])
async def test_connections_and_clients_of_udp_are_divided_alike(speech: Speech) -> None:
    """TCPRoute and UDPRoute: half of them, then all, then back; none is without an answer."""
    async with Sandbox(crds=[OUR_CRDS]) as cluster:
        await cluster.apply(world(CONTROLLER_NAME, cluster.gateway.listener_port, speech))
        async with Shop(cluster, cluster.gateway, speech) as shop:
            before = (await shop.route())["spec"]
            await shop.begin([{"weight": 50}, {"approval": {}}, {"weight": 100}, {"approval": {}}])
            for number, weight in ((2, 50), (4, 100)):
                await shop.step(number)
                answers = await shop.ask()
                assert answers[OK, "v1"] + answers[OK, "v2"] == REQUESTS, answers
                assert 100 * answers[OK, "v2"] / REQUESTS == pytest.approx(weight, abs=6)
                if weight < 100:
                    await shop.request("promote")
            await shop.request("abort")
            await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
            assert await shop.ask() == {(OK, "v1"): REQUESTS}
            assert (await shop.route())["spec"] == before
