"""An API server's Secrets, as far as `canary.metrics.secrets` can tell, and a clock."""

from __future__ import annotations

from collections.abc import Mapping

from canary.errors import NotFound
from canary.metrics.secrets import Content, Secrets

OWN = "canary-system"


class Vault:
    """Secrets by namespace and name. `trouble` is raised instead of an answer, by namespace and name."""

    def __init__(self) -> None:
        self.content: dict[tuple[str, str], Content] = {}
        self.trouble: dict[tuple[str, str], Exception] = {}
        self.reads: list[tuple[str, str]] = []
        self.now = 1000.0
        self.secrets = Secrets(self.read, OWN, clock=lambda: self.now)

    def put(self, namespace: str, name: str, hosts: str = "127.0.0.1", kind: str = "Opaque", **data: str) -> None:
        self.put_all(namespace, name, {key.replace("__", "."): value for key, value in data.items()}, hosts, kind)

    def put_all(
        self, namespace: str, name: str, data: Mapping[str, str], hosts: str = "127.0.0.1", kind: str = "Opaque"
    ) -> None:
        self.content[namespace, name] = Content(kind, hosts, {key: value.encode() for key, value in data.items()})

    async def read(self, name: str, namespace: str) -> Content:
        self.reads.append((namespace, name))
        if (namespace, name) in self.trouble:
            raise self.trouble[namespace, name]
        if (namespace, name) not in self.content:
            raise NotFound("secrets not found", status=404)
        return self.content[namespace, name]
