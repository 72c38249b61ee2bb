"""Which endpoints of a Service are ready, as its EndpointSlices have it: asked for when somebody needs to know, and not followed."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from canary.kube.port import Kube
from canary.kube.resources import ENDPOINTSLICES

Json = dict[str, Any]

SERVICE_LABEL = "kubernetes.io/service-name"
LARGEST_PORT = 65535
LONGEST_NAME = 253
MOST_SLICES = 16
"""A slice has room for a hundred endpoints and more. Tenants may write any number, of a megabyte each."""
AT_A_TIME = 4
"""Slices of one answer, which is decoded as a whole."""
MOST_ENDPOINTS = 2000
"""Nobody asks nearly as many pods itself."""
BETWEEN_TURNS = 100
"""Endpoints that are looked at before anybody else has a turn."""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An IP address that answers for a Service, and the ports of the Service there, by name (empty where it has none)."""

    address: str
    ports: tuple[tuple[str, int], ...]
    pod: str = ""
    """Its name, where the slice says that it is a pod."""

    def port(self, name: str) -> int | None:
        """A port by its name in the Service."""
        return dict(self.ports).get(name)


async def ready_endpoints(kube: Kube, service: str, namespace: str) -> tuple[Endpoint, ...]:
    """Every endpoint of a Service that is ready, each once, in the order of the addresses. Raises ApiError.

    Of MOST_SLICES slices, and MOST_ENDPOINTS at most. A Service of two families has slices of both: a pod is there by its IPv4
    address, if it has one.
    """
    selector = f"{SERVICE_LABEL}={service}"
    found: set[Endpoint] = set()
    looked = slices = 0
    async with aclosing(kube.pages(ENDPOINTSLICES, namespace, label_selector=selector, limit=AT_A_TIME)) as pages:
        async for page in pages:
            for item in page.get("items") or ():
                for each in _ready(item):
                    looked += 1
                    if each is not None:
                        found.add(each)
                    if looked % BETWEEN_TURNS == 0:
                        await asyncio.sleep(0)
            slices += AT_A_TIME
            if slices >= MOST_SLICES or len(found) >= MOST_ENDPOINTS:
                break
    old_family = {each.pod for each in found if each.pod and ":" not in each.address}
    some = [each for each in found if ":" not in each.address or each.pod not in old_family]
    return tuple(sorted(some)[:MOST_ENDPOINTS])


def _ready(item: Json) -> Iterator[Endpoint | None]:
    """Each endpoint of a slice, or None where it is not ready.

    Slices may be written by whoever may do that in the namespace: what makes no sense in one is passed over.
    """
    ports = tuple(
        sorted(
            (str(port.get("name") or ""), port["port"])
            for port in _dicts(item.get("ports"))
            if isinstance(port.get("port"), int) and 0 < port["port"] <= LARGEST_PORT
        )
    )
    for endpoint in _dicts(item.get("endpoints")):
        conditions = endpoint.get("conditions")
        # Absent means ready, by the API; who is about to end is not.
        if isinstance(conditions, dict) and conditions.get("ready") is False:
            yield None
            continue
        # "The consumer may use the first": all of them lead to the same.
        address = next(filter(_is_pods, endpoint.get("addresses") or ()), None)
        yield None if address is None else Endpoint(address, ports, _pod(endpoint.get("targetRef")))


def _pod(target: Any) -> str:
    name = target.get("name") if isinstance(target, dict) and target.get("kind") == "Pod" else None
    return name if isinstance(name, str) and len(name) <= LONGEST_NAME else ""


def _is_pods(address: Any) -> bool:
    """Whether that may be the address of a pod. With a zone it could spell another place in a URL."""
    if not isinstance(address, str) or "%" in address:
        return False
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return not (found.is_unspecified or found.is_link_local or found.is_multicast)


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
