"""Puts a comparer together and runs it."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import signal
import ssl
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime

from aiohttp import web

from canary.comparer.admin import admin
from canary.comparer.backend import MAX_HEADER
from canary.comparer.mirror import Mirror
from canary.comparer.settings import Settings
from canary.comparer.tally import Tally
from canary.errors import ConfigError
from canary.telemetry.log import configure
from canary.watched_file import WatchedFile, authorities

log = logging.getLogger("canary.comparer")

_unheard = logging.getLogger("canary.comparer.http")
"""aiohttp logs a request that is no HTTP with the line that is wrong: there may be a password in it."""
_unheard.disabled = True

GRACE = 5.0
"""Seconds that comparisons under way have to end, once the comparer is told to."""
MOST_CONNECTIONS = 4096
"""Connections that may be open, of those who mirror and of those who ask for results, each."""
REREAD = 5.0
"""Seconds after which a file of authorities is looked at again."""
KEEP_ALIVE = 3630.0
"""Seconds that a connection may rest: a little longer than Envoy lets it, so that no mirrored request meets a closed one."""


def run(settings: Settings) -> None:
    """Run a comparer until SIGTERM or SIGINT.

    Raises:
        ConfigError: an address cannot be listened at, or the file of authorities cannot be used.

    """
    configure(settings.log_level, "json" if settings.log_format == "json" else "text")
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    with suppress(NotImplementedError):  # not on every system
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    *,
    grace: float = GRACE,
    connections: int = MOST_CONNECTIONS,
    draw: Callable[[], float] = random.random,
    on_ready: Callable[[str, str], None] = lambda _mirror, _admin: None,
) -> None:
    """Run a comparer inside this event loop until `stop` is set. `on_ready` gets the two addresses as URLs, `draw` is as of `Mirror`.

    Raises:
        ConfigError: an address cannot be listened at, or the file of authorities cannot be used.

    """
    trust = Rereading(settings.ca_file) if settings.ca_file else (lambda: None)
    tally = Tally(secrets.token_hex(8), datetime.now(UTC), max_paths=settings.max_paths, examples=settings.examples)
    async with AsyncExitStack() as stack:
        mirror = await stack.enter_async_context(Mirror(settings, tally, trust=trust, draw=draw))
        pages = web.AppRunner(admin(tally, mirror), access_log=None, shutdown_timeout=1.0)
        admin_url = await _listen(pages, settings.admin_listen, "--admin-listen", stack, connections)
        # A handler, and no application: any path and any method may be mirrored.
        server = web.Server(
            mirror.handle,
            access_log=None,
            logger=_unheard,
            auto_decompress=False,
            keepalive_timeout=KEEP_ALIVE,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )
        runner = web.ServerRunner(server, shutdown_timeout=1.0)
        url = await _listen(runner, settings.listen, "--listen", stack, connections)
        log.info(
            "mirrored requests at %s are compared: stable %s, canary %s; results, metrics and health at %s",
            *(url, settings.stable, settings.canary, admin_url),
        )
        if settings.unsafe_methods:
            log.warning(
                "%s: each such request HAPPENS THREE TIMES MORE than the user meant it to, twice on stable and once on the canary, "
                "with all that it writes, sends or books",
                ", ".join(settings.unsafe_methods),
            )
        on_ready(url, admin_url)
        await stop.wait()
        log.info("stopping: %d comparisons under way have %.0f s to end", mirror.under_way, grace)
        await mirror.drain(grace)
    log.info("stopped; what was counted is gone, and the next one counts from 0")


class Rereading:
    """The authorities that a file names: read again when it has changed, which is looked for once in a while."""

    def __init__(self, path: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = WatchedFile(path, "--ca-file", authorities)
        self._clock, self._context, self._stale_at = clock, self._file.current(), clock() + REREAD

    def __call__(self) -> ssl.SSLContext:
        if self._clock() >= self._stale_at:
            self._context, self._stale_at = self._file.current(), self._clock() + REREAD
        return self._context


async def _listen(runner: web.BaseRunner, address: str, option: str, stack: AsyncExitStack, connections: int) -> str:
    """Serve at HOST:PORT; the URL of it. One connection more than `connections`, and it is refused."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    server = runner.server
    if server is None:
        raise RuntimeError("a runner that is set up has a server")

    def connection() -> asyncio.Protocol:
        return server() if len(server.connections) < connections else _Refusal()

    try:
        listener = await asyncio.get_running_loop().create_server(connection, host, int(port))
    except OSError as error:
        raise ConfigError(
            f"{option}: cannot listen on {address}: {error.strerror or error}; is another program there?"
        ) from error
    stack.callback(listener.close)  # before the runner ends, which lets those that are open come to their end
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.sockets[0].getsockname()[1]}"


class _Refusal(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            transport.abort()
