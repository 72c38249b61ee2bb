"""Where the ready pods of a Service tell their metrics."""

from __future__ import annotations

from canary.kube import Kube
from canary.kube.endpoints import Endpoint, ready_endpoints
from canary.metrics.scrape import Pod


async def scraped_pods(kube: Kube, service: str, namespace: str, port: str | int | None) -> tuple[Pod, ...]:
    """Every ready pod of a Service. Raises ApiError, and ValueError: the Service has no such port, or several to choose from."""
    found = await ready_endpoints(kube, service, namespace)
    return tuple(dict.fromkeys(Pod((each.address, _port(each, port, service)), each.pod) for each in found))


def _port(endpoint: Endpoint, port: str | int | None, service: str) -> int:
    if isinstance(port, int):
        return port
    named = dict(endpoint.ports)
    if port is None:
        if len(named) == 1:
            return next(iter(named.values()))
        listed = ", ".join(filter(None, named)) or "none of a name"
        raise ValueError(f"Service {service} has {len(named)} ports ({listed}): say by `port` which one tells metrics")
    if port not in named:
        listed = ", ".join(filter(None, named)) or "none of a name"
        raise ValueError(f"Service {service} has no port {port}: it has {listed}")
    return named[port]
