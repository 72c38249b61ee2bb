"""Connections that lead where they may: a name is resolved, and what it resolves to is looked at before anything is sent there.

What was looked at is what is connected to, so a name that resolves otherwise a moment later changes nothing. What makes connections so
for requests is here, and for httpx in `guarded.py`.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.retry import Retry

from canary.metrics.hosts import Hosts

MOST_ADDRESSES = 8
"""Of one name that are tried."""


class PeerRefused(Exception):
    """The address is not one to which anything may be sent; the message says why."""


Found = Any
"""An entry of what `getaddrinfo` gives: family, kind, protocol, name, and where to connect to."""


def checked(hosts: Hosts, host: str, port: int, found: Iterable[Found]) -> list[Found]:
    """Of what a name resolves to, what may be connected to. Raises PeerRefused: there is nothing of that kind."""
    good, refusal = [], ""
    for one in list(found)[:MOST_ADDRESSES]:
        refused = hosts.refusal(host, port, one[4][0])
        refusal = refusal or refused
        if not refused:
            good.append(one)
    if not good:
        raise PeerRefused(refusal or f"{host} leads nowhere")
    return good


def dial(hosts: Hosts, host: str, port: int, timeout: float | None, options: Any = ()) -> socket.socket:
    """A connection, made by blocking. Raises OSError, and PeerRefused before anything is sent."""
    until = None if timeout is None else time.monotonic() + timeout
    error: OSError | None = None
    for family, kind, protocol, _, address in checked(hosts, host, port, resolved(host, port)):
        sock = socket.socket(family, kind, protocol)
        try:
            for option in options or ():
                sock.setsockopt(*option)
            sock.settimeout(None if until is None else max(until - time.monotonic(), 0.001))
            sock.connect(address)
            confirm(hosts, host, port, sock.getpeername()[0])
        except OSError as why:
            sock.close()
            error = why
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise error or OSError("no address")


def resolved(host: str, port: int) -> list[Found]:
    """What a name resolves to, by blocking. Raises OSError."""
    return socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)


def confirm(hosts: Hosts, host: str, port: int, peer: str) -> None:
    """That a connection has led to where it may. Raises PeerRefused."""
    refused = hosts.refusal(host, port, peer)
    if refused:
        raise PeerRefused(refused)


class GuardedAdapter(HTTPAdapter):
    """No retries of its own, a connection for every worker, authorities that can be exchanged, and only `hosts` (None: any)."""

    def __init__(self, pool_size: int, hosts: Hosts | None = None) -> None:
        self._context: ssl.SSLContext | None = None
        self._classes = None if hosts is None else _pool_classes(hosts)
        super().__init__(pool_connections=1, pool_maxsize=pool_size, max_retries=Retry(0))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        if self._classes is not None:
            self.poolmanager.pool_classes_by_scheme = self._classes

    def trust(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        # A new manager, rather than a changed one: a connection of the old one would go on being trusted.
        before = self.poolmanager
        self.init_poolmanager(self._pool_connections, self._pool_maxsize, ssl_context=context)
        before.clear()

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """As the base class, which would add the bundled authorities to ours."""
        if self._context is None:
            super().cert_verify(conn, url, verify, cert)
        else:
            conn.cert_reqs, conn.ca_certs = "CERT_REQUIRED", None


def _pool_classes(hosts: Hosts) -> dict[str, type[HTTPConnectionPool]]:
    def connect(connection: HTTPConnection) -> socket.socket:
        timeout = connection.timeout
        try:
            return dial(
                hosts,
                connection.host,
                connection.port or connection.default_port,
                timeout if isinstance(timeout, int | float) else None,
                connection.socket_options,
            )
        except socket.gaierror as error:
            raise NameResolutionError(connection.host, connection, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(connection, f"no connection to {connection.host} in time") from error
        except OSError as error:
            raise NewConnectionError(connection, f"no connection: {error}") from error

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}
