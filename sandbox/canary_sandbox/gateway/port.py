"""What the sandbox needs of an implementation of the Gateway API."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol


class GatewayImplementation(AbstractAsyncContextManager[Any], Protocol):
    """Entered, it serves the Gateways whose class names `controller_name`; left, it is gone."""

    @property
    def controller_name(self) -> str:
        """What a GatewayClass says to be served by it."""

    @property
    def listener_port(self) -> int:
        """A port that an HTTP listener of a Gateway may name here."""

    @property
    def pid(self) -> int:
        """The id of the process that carries the traffic."""

    @property
    def stats_url(self) -> str:
        """Where Prometheus scrapes it."""

    async def address(
        self, namespace: str, name: str, listener: str | None = None, wait: float = 10
    ) -> tuple[str, int]:
        """Host and port of a Gateway's listener (default: its first), once it serves. Raises SandboxError if it never does."""
