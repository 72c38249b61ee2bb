"""Statuses of targets: written by turns, few at a time, on connections that writes of routes need."""

from __future__ import annotations

import asyncio

from notify_kit import START, target_of
from slow_kit import CONNECTIONS, slow_server, until

from canary.kube import HTTPROUTES, KubeClient
from canary.notify.outcome import Delivered, Undelivered
from canary.notify.statuses import AT_ONCE, TargetStatuses
from canary.notify.targets import Target, Targets


def statuses_of(kube: KubeClient, *targets: Target) -> TargetStatuses:
    known = Targets()
    for target in targets:
        known.put(target)
    return TargetStatuses(kube, known, lambda: START, sleep=lambda _: asyncio.sleep(0))


async def test_a_slow_webhook_of_one_team_holds_up_nobody_else() -> None:
    """Neither a write of a route nor the status of another team's target, however many targets of that team have something to say."""
    noisy = [target_of(f"t{number}", namespace="noisy") for number in range(CONNECTIONS)]
    quiet = target_of(namespace="quiet")
    async with slow_server() as (slow, kube):
        statuses = statuses_of(kube, quiet, *noisy)
        for target in noisy:
            statuses.said(target, Undelivered("Refused", "no"))
        await until(lambda: slow.waiting)
        for _ in range(20):
            await asyncio.sleep(0.001)
        await kube.json_patch(HTTPROUTES, "shop", "quiet", [])
        statuses.said(quiet, Delivered("yes"))
        await until(lambda: len(slow.written) == 2)
        assert slow.waiting
        assert slow.most <= AT_ONCE // 2
        slow.go_on.set()
        await until(lambda: len(slow.written) == 2 + CONNECTIONS)
        await statuses.close()


async def test_what_comes_to_be_known_while_it_waits_for_its_turn_is_written_once() -> None:
    """As it is then, and not as it was when the write was asked for."""
    noisy = [target_of(f"t{number}", namespace="noisy") for number in range(AT_ONCE + 1)]
    async with slow_server() as (slow, kube):
        statuses = statuses_of(kube, *noisy)
        for target in noisy:
            statuses.said(target, Undelivered("Refused", "no"))
        await until(lambda: slow.waiting)
        statuses.said(noisy[-1], Delivered("yes"))
        slow.go_on.set()
        await until(lambda: len(slow.written) == len(noisy))
        said = [
            body["status"]["conditions"][0]["reason"] for path, body in slow.written if f"/{noisy[-1].name}/" in path
        ]
        assert said == ["Delivered"]
        await statuses.close()


async def test_what_could_not_be_written_is_said_again_with_the_next_outcome() -> None:
    """Also if that is the same as before."""
    target = target_of()
    async with slow_server() as (slow, kube):
        statuses = statuses_of(kube, target)
        slow.refuse = 1
        statuses.said(target, Delivered("yes"))
        await until(lambda: not slow.refuse and not statuses.busy)
        assert slow.written == []
        for _ in range(2):
            statuses.said(target, Delivered("yes"))
        await until(lambda: not statuses.busy)
        assert len(slow.written) == 1
        await statuses.close()
