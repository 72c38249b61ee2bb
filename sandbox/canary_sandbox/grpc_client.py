"""A gRPC client that counts: it calls a method, whatever it is, and says which version answered, with which status."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

CALL_TIMEOUT = 10.0
"""Seconds that a call may take."""
UNKNOWN = 2
"""The gRPC status of an answer that carries none."""


@dataclass(slots=True)
class Called:
    """One call: the gRPC status (0: OK), the headers of the answer, and its message as it was sent."""

    status: int = UNKNOWN
    headers: dict[str, str] = field(default_factory=dict)
    message: bytes = b""

    @property
    def version(self) -> str:
        """Who answered; "" for the gateway's own answers."""
        return self.headers.get("x-version", "")


class GrpcClient(asyncio.Protocol):
    """One HTTP/2 connection without TLS to `host`:`port`; calls go side by side. `authority` is the host asked for."""

    def __init__(self, host: str, port: int, authority: str) -> None:
        self._address = (host, port)
        self._authority = authority
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._answers: dict[int, tuple[Called, asyncio.Future[Called]]] = {}
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().create_connection(lambda: self, *self._address)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()
        await self._closed.wait()

    async def call(self, method: str, headers: Mapping[str, str] | None = None, message: bytes = b"") -> Called:
        """Call `/package.Service/Method`. Raises ConnectionError, and TimeoutError after CALL_TIMEOUT."""
        if self._closed.is_set():
            raise ConnectionResetError("the connection is closed")
        stream = self._http.get_next_available_stream_id()
        answer: asyncio.Future[Called] = asyncio.get_running_loop().create_future()
        self._answers[stream] = (Called(), answer)
        head = {
            ":method": "POST",
            ":scheme": "http",
            ":authority": self._authority,
            ":path": method,
            "content-type": "application/grpc",
            "te": "trailers",
            **(headers or {}),
        }
        self._http.send_headers(stream, list(head.items()))
        self._http.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        self._flush()
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                return await answer
        finally:
            self._answers.pop(stream, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._http.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()
        for _, answer in self._answers.values():
            if not answer.done():
                answer.set_exception(exc or ConnectionResetError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        try:
            events = self._http.receive_data(data)
        except ProtocolError:
            self._transport.abort()
            return
        for event in events:
            match event:
                case ResponseReceived(stream_id=int(stream)) | TrailersReceived(stream_id=int(stream)):
                    if stream in self._answers:
                        called, _ = self._answers[stream]
                        called.headers |= {str(name): str(value) for name, value in event.headers or ()}
                case DataReceived(stream_id=int(stream)):
                    self._http.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                    if stream in self._answers:
                        self._answers[stream][0].message += event.data or b""
                case StreamEnded(stream_id=int(stream)):
                    self._finish(stream)
                case StreamReset(stream_id=int(stream)):
                    self._finish(stream, ConnectionResetError(f"the call was cut off: {event.error_code}"))
                case ConnectionTerminated():
                    self._transport.close()
        self._flush()

    def _finish(self, stream: int, error: Exception | None = None) -> None:
        called, answer = self._answers.get(stream, (None, None))
        if called is None or answer is None or answer.done():
            return
        if error is not None:
            answer.set_exception(error)
            return
        called.status = int(called.headers.get("grpc-status", UNKNOWN))
        answer.set_result(called)

    def _flush(self) -> None:
        self._transport.write(self._http.data_to_send())
