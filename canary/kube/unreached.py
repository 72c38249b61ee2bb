"""Why there is no answer, in words that people know: without those of the libraries in between. Pure."""

from __future__ import annotations

import os
import re
import socket
import ssl
from urllib.parse import urlsplit

_ERRNO = re.compile(r"\[Errno (\d+)\]")


def address(server: str) -> str:
    """A server's address without anything that might be a secret: `https://10.0.0.1:6443`."""
    parts = urlsplit(server)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.scheme}://{host}{port}"


def why(error: BaseException) -> str:
    """What an error of a connection comes down to, e.g. `connection refused`."""
    # What aiohttp raises for a certificate is by its class an error of ssl as well, and has none of its words.
    inner = [
        getattr(error, "certificate_error", None),
        error,
        *(getattr(error, name, None) for name in ("os_error", "__cause__")),
    ]
    for found in inner:
        match found:
            case ssl.SSLCertVerificationError():
                return f"its certificate is not to be trusted: {found.verify_message or found.reason}"
            case ssl.SSLError():
                return f"TLS failed: {(found.reason or str(found)).replace('_', ' ').lower()}"
            case socket.gaierror():
                return "there is no such host name"
    for found in inner:
        if isinstance(found, OSError) and found.errno:
            return os.strerror(found.errno).lower()
    numbers = _ERRNO.findall(str(error))  # of several addresses, each with an error of its own
    if numbers:
        return os.strerror(int(numbers[0])).lower()
    if "disconnect" in type(error).__name__.lower():
        return "it closed the connection without an answer"
    return str(error) or type(error).__name__
