"""How a comparer is set up."""

from __future__ import annotations

from dataclasses import dataclass

from canary.model.comparer_results import MAX_EXAMPLES, MAX_PATHS

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing, however often they are called (RFC 9110, section 9.2.1; TRACE is of no use here)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`stable` and `canary` are origins such as http://shop-stable:8080; addresses are HOST:PORT, port 0 takes a free one."""

    stable: str
    canary: str
    listen: str = "0.0.0.0:8080"
    admin_listen: str = "0.0.0.0:8081"
    headers: tuple[str, ...] = ("content-type", "location")
    ignore: tuple[str, ...] = ()
    methods: tuple[str, ...] = SAFE
    max_rps: float = 100.0
    concurrency: int = 64
    timeout: float = 5.0
    """Seconds."""
    max_body: int = 1024 * 1024
    """Bytes."""
    max_paths: int = MAX_PATHS
    examples: int = MAX_EXAMPLES
    ca_file: str | None = None
    """PEM certificates of the authorities that sign those of https backends, instead of the usual ones."""
    log_level: str = "INFO"
    log_format: str = "text"

    @property
    def unsafe_methods(self) -> tuple[str, ...]:
        return tuple(method for method in self.methods if method not in SAFE)
