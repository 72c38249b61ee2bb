"""Whether it is checked who asks is tried by turns, few at a time, on connections that writes of routes need."""

from __future__ import annotations

import asyncio

from slow_kit import CONNECTIONS, slow_server, until

from canary.controller.vouching import AT_ONCE, vouched_if_known
from canary.fair import FairLimit
from canary.kube import HTTPROUTES, LEASES


async def test_a_slow_webhook_of_one_team_holds_up_no_route_no_lease_and_no_other_teams_approval() -> None:
    """However many of its Rollouts wait for approvals."""
    limit = FairLimit(AT_ONCE)
    async with slow_server() as (slow, kube):
        tries = [
            asyncio.create_task(vouched_if_known(kube, limit, "noisy", f"shop{number}"))
            for number in range(CONNECTIONS)
        ]
        await until(lambda: slow.waiting > 0)
        for _ in range(20):
            await asyncio.sleep(0.001)
        await kube.json_patch(HTTPROUTES, "shop", "quiet", [])
        await kube.json_patch(LEASES, "canary", "canary-system", [])
        assert await vouched_if_known(kube, limit, "quiet", "shop") is False, "nobody refuses the lie here"
        assert slow.waiting
        assert slow.most <= AT_ONCE // 2
        assert not [one for one in tries if one.done()]
        for one in tries:
            one.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
        assert not limit.busy
