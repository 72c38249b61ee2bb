"""A real graphite-web, as the distribution ships it, over files of whisper in a temporary folder. Nothing is drawn, and there is no carbon."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from canary_sandbox.process import ManagedProcess, answers, free_port

SERVER = Path(__file__).with_name("graphite_server.py")
HOME = Path(__file__).parents[2] / ".sandbox/graphite"
SETTINGS = """
SECRET_KEY = "of-the-tests"
URL_PREFIX = "/graphite"
STORAGE_DIR = LOG_DIR = CONF_DIR = {folder!r}
WHISPER_DIR = {folder!r} + "/whisper"
LOG_FILE_INFO = LOG_FILE_EXCEPTION = LOG_FILE_CACHE = LOG_FILE_RENDERING = "-"
CARBONLINK_HOSTS = ["127.0.0.1:1"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
"""
"""Where nobody listens it asks for points that are not in a file yet."""


def _python() -> tuple[str, dict[str, str]]:
    """A Python that has graphite-web and whisper, and what it needs in its environment."""
    if (named := os.environ.get("CANARY_GRAPHITE")) and os.access(named, os.X_OK):
        return named, {}
    assert HOME.is_dir(), "graphite-web is missing: type scripts/graphite.sh"
    unpacked = HOME / "usr/bin/python3"
    libraries = [str(path) for parent in ("usr/lib", "lib") for path in (HOME / parent).glob("*-linux-gnu*")]
    env = {"PYTHONPATH": str(HOME / "usr/lib/python3/dist-packages"), "LD_LIBRARY_PATH": ":".join(libraries)}
    return str(unpacked) if unpacked.exists() else "/usr/bin/python3", env


@asynccontextmanager
async def graphite(series: Mapping[str, Sequence[float | None]]) -> AsyncIterator[str]:
    """Its base URL. Series have a number, or none, for each minute, the last one for the minute in which it starts."""
    python, env = _python()
    minute = int(time.time()) // 60 * 60
    points = {
        name: [(minute - 60 * ago, value) for ago, value in enumerate(reversed(values)) if value is not None]
        for name, values in series.items()
    }
    with tempfile.TemporaryDirectory(prefix="canary-graphite-") as name:
        folder, port = Path(name), free_port()
        (folder / "whisper").mkdir()
        (folder / "series.json").write_text(json.dumps(points))
        (folder / "canary_settings.py").write_text(SETTINGS.format(folder=name))
        env["PYTHONPATH"] = ":".join(filter(None, (name, env.get("PYTHONPATH"))))
        env |= {"DJANGO_SETTINGS_MODULE": "graphite.settings", "GRAPHITE_SETTINGS_MODULE": "canary_settings"}
        command = [python, SERVER, name, str(port)]
        process = ManagedProcess(command, log=folder / "log", name="graphite-web", env=env)
        async with process, aiohttp.ClientSession() as http:
            url = f"http://127.0.0.1:{port}/graphite"
            await process.wait_until(lambda: answers(http, f"{url}/version"), within=60)
            yield url
