"""A replica that speaks HTTP/2 without TLS, for gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from canary_sandbox.app_endpoints import Take, Who, finish, is_copy

GRPC_INTERNAL = 13
"""The gRPC status of a call that fails as it was told to."""


class GrpcEndpoint:
    """HTTP/2 with prior knowledge. Every gRPC call of whatever service is answered alike; other requests get JSON."""

    def __init__(self, who: Who, take: Take) -> None:
        self._who = who
        self._take = take
        self._connections: set[_Http2] = set()

    async def start(self, port: int) -> int:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Http2(self._who, self._take, self._connections), "127.0.0.1", port
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self, grace: float) -> None:
        self._server.close()
        await finish((task for connection in self._connections for task in connection.tasks), grace)
        for connection in tuple(self._connections):
            connection.leave()

    def crash(self) -> None:
        self._server.close()
        for connection in tuple(self._connections):
            connection.transport.abort()


class _Http2(asyncio.Protocol):
    """One connection. A request is answered once it is complete, so calls with one answer are all it knows."""

    transport: asyncio.Transport

    def __init__(self, who: Who, take: Take, connections: set[_Http2]) -> None:
        self._who = who
        self._take = take
        self._connections = connections
        self._http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._requests: dict[int, dict[str, str]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._connections.add(self)
        self._http.initiate_connection()
        self._flush()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._connections.discard(self)
        for task in self.tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._http.receive_data(data)
        except ProtocolError:
            self._flush()  # says why
            self.transport.close()
            return
        for event in events:
            match event:
                case RequestReceived(stream_id=int(stream)):
                    # Without `header_encoding` they would be bytes.
                    self._requests[stream] = {str(name): str(value) for name, value in event.headers or ()}
                case DataReceived(stream_id=int(stream)):
                    self._http.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                case StreamEnded(stream_id=int(stream)) if stream in self._requests:
                    self._begin(stream, self._requests.pop(stream))
                case StreamReset(stream_id=int(stream)):
                    self._requests.pop(stream, None)
                case ConnectionTerminated():
                    self.transport.close()
        self._flush()

    def _begin(self, stream: int, request: Mapping[str, str]) -> None:
        task = asyncio.create_task(self._answer(stream, request))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, stream: int, request: Mapping[str, str]) -> None:
        fine = await self._take(is_copy(request, request.get(":authority", "")))
        try:
            if request.get("content-type", "").startswith("application/grpc"):
                self._answer_call(stream, fine=fine)
            else:
                self._http.send_headers(stream, self._head("200" if fine else "500", "application/json"))
                self._http.send_data(stream, self._who.body if fine else b'{"error": "injected"}', end_stream=True)
        except ProtocolError:  # the client gave the stream up, or lets nothing through
            return
        self._flush()

    def _answer_call(self, stream: int, *, fine: bool) -> None:
        head = self._head("200", "application/grpc")
        if not fine:
            told = [("grpc-status", str(GRPC_INTERNAL)), ("grpc-message", "injected")]
            self._http.send_headers(stream, [*head, *told], end_stream=True)
            return
        self._http.send_headers(stream, head)
        self._http.send_data(stream, self._who.message)
        self._http.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    def _head(self, status: str, content: str) -> list[tuple[str, str]]:
        return [(":status", status), ("content-type", content), *self._who.headers.items()]

    def leave(self) -> None:
        """Say goodbye and close."""
        self._http.close_connection()
        self._flush()
        self.transport.close()

    def _flush(self) -> None:
        self.transport.write(self._http.data_to_send())
