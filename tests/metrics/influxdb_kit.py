"""A real InfluxDB, as the distribution ships it, in a temporary folder."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from canary_sandbox.process import ManagedProcess, free_port

PROJECT = Path(__file__).parents[2]
NAME, PASSWORD = "admin", "of-the-database"
_ADMIN = {"Authorization": f"Basic {base64.b64encode(f'{NAME}:{PASSWORD}'.encode()).decode()}"}


def influxd() -> Path:
    """The binary."""
    candidates = (os.environ.get("CANARY_INFLUXD"), shutil.which("influxd"), str(PROJECT / ".sandbox/bin/influxd"))
    found = next((Path(path) for path in candidates if path and os.access(path, os.X_OK)), None)
    assert found is not None, "influxd is missing: type scripts/influxdb.sh"
    return found


class Influx:
    """Its address, and what an administrator does there."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url, self._http = url, http

    async def run(self, statement: str) -> str:
        async with self._http.post(f"{self.url}/query", data={"q": statement}, headers=_ADMIN) as answer:
            return await answer.text()

    async def write(self, database: str, *lines: str, policy: str = "autogen") -> None:
        params = {"db": database, "rp": policy, "precision": "s"}
        async with self._http.post(f"{self.url}/write", params=params, data="\n".join(lines), headers=_ADMIN) as answer:
            assert answer.status == 204, await answer.text()


@asynccontextmanager
async def influxdb() -> AsyncIterator[Influx]:
    """One that lets nobody in without a password; NAME has one."""
    with tempfile.TemporaryDirectory(prefix="canary-influxdb-") as name:
        folder = Path(name)
        port = free_port()
        env = {
            "INFLUXDB_REPORTING_DISABLED": "true",
            "INFLUXDB_BIND_ADDRESS": f"127.0.0.1:{free_port()}",
            "INFLUXDB_META_DIR": str(folder / "meta"),
            "INFLUXDB_DATA_DIR": str(folder / "data"),
            "INFLUXDB_DATA_WAL_DIR": str(folder / "wal"),
            "INFLUXDB_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
            "INFLUXDB_HTTP_AUTH_ENABLED": "true",
            "INFLUXDB_HTTP_MAX_ROW_LIMIT": "5000",
            "INFLUXDB_MONITOR_STORE_ENABLED": "false",
        }
        process = ManagedProcess([influxd(), "run"], log=folder / "log", name="influxd", env={**os.environ, **env})
        async with process, aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{port}"
            await process.wait_until(lambda: _up(http, url), within=60)
            made = Influx(url, http)
            await made.run(f"CREATE USER {NAME} WITH PASSWORD '{PASSWORD}' WITH ALL PRIVILEGES")
            yield made


async def _up(http: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with http.get(f"{url}/ping") as answer:
            return answer.status == 204
    except aiohttp.ClientError:
        return False
