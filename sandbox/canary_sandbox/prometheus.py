"""A real Prometheus that scrapes the sandbox."""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml

from canary.errors import SandboxError
from canary_sandbox.composite import Composite
from canary_sandbox.process import ManagedProcess, answers, free_or_any, free_port

_PROJECT_BINARY = Path(__file__).resolve().parents[2] / ".sandbox" / "bin" / "prometheus"
_HOW_TO_GET = (
    "prometheus is missing: type scripts/prometheus.sh in the project's folder, install your distribution's package, "
    "or set CANARY_PROMETHEUS to the binary"
)

NO_PROMETHEUS = "there is no Prometheus on this machine (scripts/prometheus.sh may get one)"

# Envoy names clusters "namespace/service/port"; queries ask for labels.
_BACKEND_LABELS = [
    {
        "source_labels": ["envoy_cluster_name"],
        "regex": r"([^/]+)/([^/]+)/([0-9]+)",
        "target_label": label,
        "replacement": group,
    }
    for label, group in (("namespace", "$1"), ("service", "$2"), ("port", "$3"))
]


def find_prometheus() -> Path | None:
    """CANARY_PROMETHEUS, then `prometheus` on PATH, then what scripts/prometheus.sh unpacked; None when there is none."""
    given = os.environ.get("CANARY_PROMETHEUS")
    candidates = [given, shutil.which("prometheus"), str(_PROJECT_BINARY)]
    return next((Path(path) for path in candidates if path and os.access(path, os.X_OK)), None)


def require_prometheus() -> Path:
    """The binary. Raises SandboxError with one line that says what to type when there is none."""
    found = find_prometheus()
    if found is None:
        raise SandboxError(_HOW_TO_GET)
    return found


@dataclass(frozen=True, slots=True)
class Guarded:
    """A Prometheus that asks who one is: `file` is what `--web.config.file` names; `tls` and `headers` are how the sandbox itself gets in."""

    file: Path
    tls: ssl.SSLContext | None = None
    headers: Mapping[str, str] | None = None


class Prometheus(Composite):
    """Scrapes `scrape_targets` (URLs) every `scrape_interval`, keeps its data in a temporary folder; `url` is its API.

    `port` is where it listens if that is free; `flags` are more of its command line. `guarded`: it is not open to everybody.

    Series of Envoy clusters get the labels `namespace`, `service` and `port`. Raises SandboxError when there is no
    binary, or when it does not become ready within 30 s.
    """

    def __init__(
        self,
        scrape_targets: Sequence[str],
        scrape_interval: str = "1s",
        binary: Path | str | None = None,
        *,
        port: int = 0,
        flags: Sequence[str] = (),
        guarded: Guarded | None = None,
    ) -> None:
        self._guarded = guarded
        self._flags = [*flags, *([] if guarded is None else [f"--web.config.file={guarded.file}"])]
        self._targets = list(scrape_targets)
        self._interval = scrape_interval
        self._binary = binary
        self._port = port
        self.url = ""

    async def _enter(self, stack: AsyncExitStack) -> None:
        binary = self._binary or require_prometheus()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-prometheus-")))
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(configuration(self._targets, self._interval)))
        port = free_or_any(self._port) or free_port()
        command: list[str | Path] = [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            *self._flags,
        ]
        self.process = await stack.enter_async_context(
            ManagedProcess(command, log=folder / "prometheus.log", name="prometheus")
        )
        guarded = self._guarded or Guarded(config)
        self.url = f"http{'s' if guarded.tls is not None else ''}://127.0.0.1:{port}"
        way_in = aiohttp.TCPConnector(ssl=guarded.tls or True)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5), connector=way_in, headers=guarded.headers)
        )
        await self.process.wait_until(lambda: answers(http, f"{self.url}/-/ready"), within=30)
        self._http = http

    async def scraping(self, within: float = 30) -> None:
        """Wait until every target has been scraped once; Prometheus takes about 5 s from its start to its first look.

        Raises SandboxError when a target is not up after `within` seconds.
        """

        async def all_up() -> bool:
            return len(await self.query("up == 1")) == len(self._targets)

        await self.process.wait_until(all_up, within=within, interval=0.1)

    async def query(self, promql: str) -> list[dict[str, Any]]:
        """The instant vector that a query gives now; a convenience for tests and the demo."""
        async with self._http.get(f"{self.url}/api/v1/query", params={"query": promql}) as response:
            answer: dict[str, Any] = await response.json()
        if answer.get("status") != "success":
            raise SandboxError(f"prometheus refused {promql!r}: {answer.get('error')}")
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result


def configuration(targets: Sequence[str], interval: str) -> dict[str, Any]:
    """Prometheus' configuration: one job per target URL."""
    jobs = []
    for number, target in enumerate(targets):
        parts = urlsplit(target)
        jobs.append(
            {
                "job_name": f"sandbox-{number}",
                "metrics_path": parts.path or "/metrics",
                "static_configs": [{"targets": [parts.netloc]}],
                "metric_relabel_configs": _BACKEND_LABELS,
            }
        )
    timing = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    return {"global": timing, "scrape_configs": jobs}
