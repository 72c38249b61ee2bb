"""Who somebody is to the API server, in its own words."""

from __future__ import annotations

from dataclasses import dataclass

from canary.kube.port import Kube
from canary.kube.resources import SELF


@dataclass(frozen=True, slots=True)
class Who:
    """Somebody as the API server knows them."""

    user: str = ""
    groups: frozenset[str] = frozenset()


async def ourselves(kube: Kube) -> Who:
    """Whose requests those of this connection are. Raises ApiError; NotServed before Kubernetes 1.28."""
    answer = await kube.create(SELF, {"apiVersion": SELF.api_version, "kind": SELF.kind})
    info = (answer.get("status") or {}).get("userInfo") or {}
    return Who(str(info.get("username") or ""), frozenset(map(str, info.get("groups") or ())))
