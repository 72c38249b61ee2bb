"""Where the ready pods of a Service tell their metrics, as its EndpointSlices have it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from canary.controller.scraping import scraped_pods
from canary.metrics.scrape import Pod

Json = dict[str, Any]


class Slices:
    """An API server with these EndpointSlices."""

    def __init__(self, *items: Json) -> None:
        self.items = list(items)
        self.asked: list[tuple[str | None, str]] = []

    async def pages(
        self, _resource: Any, namespace: str | None = None, *, label_selector: str = "", **_: Any
    ) -> AsyncGenerator[Json]:
        self.asked.append((namespace, label_selector))
        yield {"items": self.items}


def slice_of(*pods: tuple[str, str], ports: dict[str, int], **conditions: bool) -> Json:
    endpoints = [
        {"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "name": name}}
        for name, address in pods
    ]
    return {"endpoints": endpoints, "ports": [{"name": name, "port": port} for name, port in ports.items()]}


TWO = slice_of(("a", "10.0.0.1"), ("b", "10.0.0.2"), ports={"http": 8080, "metrics": 9090})
GONE = slice_of(("c", "10.0.0.3"), ports={"http": 8080}, ready=False)


async def found(kube: Any, port: str | int | None) -> tuple[Pod, ...]:
    pods = await scraped_pods(kube, "shop", "team", port)
    assert kube.asked == [("team", "kubernetes.io/service-name=shop")]
    return pods


async def test_ready_pods_at_a_port_by_name_or_number() -> None:
    """The name is the Service's; a number is the pods' own."""
    named = (Pod(("10.0.0.1", 9090), "a"), Pod(("10.0.0.2", 9090), "b"))
    assert await found(Slices(TWO, GONE), "metrics") == named
    assert await found(Slices(TWO, GONE), 7000) == (Pod(("10.0.0.1", 7000), "a"), Pod(("10.0.0.2", 7000), "b"))
    assert await found(Slices(), "metrics") == ()


async def test_a_pod_of_two_families_is_one_pod() -> None:
    """Its Service has slices of IPv4 and of IPv6. Asked at both, it would count everything twice."""
    four, six = (slice_of(("a", address), ports={"": 8080}) for address in ("10.0.0.1", "fd00::1"))
    only_six = slice_of(("b", "fd00::2"), ports={"": 8080})
    assert await found(Slices(six, four, only_six), None) == (
        Pod(("10.0.0.1", 8080), "a"),
        Pod(("fd00::2", 8080), "b"),
    )


async def test_the_only_port_needs_no_name() -> None:
    """Of several one has to be said, and of a name that is wrong it is said which there are."""
    assert await found(Slices(slice_of(("a", "10.0.0.1"), ports={"": 8080})), None) == (Pod(("10.0.0.1", 8080), "a"),)
    with pytest.raises(ValueError, match=r"has 2 ports \(http, metrics\): say by `port` which one tells metrics"):
        await found(Slices(TWO), None)
    with pytest.raises(ValueError, match="has no port prometheus: it has http, metrics"):
        await found(Slices(TWO), "prometheus")


@pytest.mark.parametrize("target", [None, 3, {"kind": "Node", "name": "x"}, {"kind": "Pod", "name": "x" * 300}])
async def test_a_slice_that_names_no_pod(target: Any) -> None:
    """Whoever may write slices writes anything: a pod without a name is told from others by its address."""
    odd = slice_of(("a", "10.0.0.1"), ports={"http": 8080})
    odd["endpoints"][0]["targetRef"] = target
    assert await found(Slices(odd), "http") == (Pod(("10.0.0.1", 8080), ""),)
