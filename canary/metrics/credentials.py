"""What a metrics provider is shown, and whom we trust to be it: a bearer token, headers and authorities, each from a file.

Files, since that is how Kubernetes gives a pod what changes while it runs: a Secret or a projected token is exchanged by
swapping a symlink. So nobody is told; we look before each request, and no restart is needed.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from canary.errors import ConfigError

log = logging.getLogger("canary.credentials")

T = TypeVar("T")

_LARGEST = 1024 * 1024  # bytes; a bundle of every public authority has a quarter of that
_TOKEN = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[ -~\t]*")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----")
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "accept-encoding"})


class Credentials:
    """Credentials for one provider. Both methods may block for as long as its files take to be read, and are thread-safe.

    A file that cannot be read or understood while we run keeps what it said before, and the log says so.

    Args:
        token_file: holds a bearer token and nothing else.
        ca_file: PEM certificates of the authorities that sign the provider's, instead of the bundled ones.
        header_file: lines `NAME: VALUE`; empty ones and those that begin with # say nothing.
        settings: how the three settings are called, for messages.

    Raises:
        ConfigError: a file cannot be read or understood at the start, or two of them say who we are.

    """

    def __init__(
        self,
        *,
        token_file: str | None = None,
        ca_file: str | None = None,
        header_file: str | None = None,
        settings: tuple[str, str, str] = ("the token file", "the CA file", "the header file"),
    ) -> None:
        self._token = _Watched(token_file, settings[0], _token) if token_file else None
        self._trust = _Watched(ca_file, settings[1], _trust) if ca_file else None
        self._headers = _Watched(header_file, settings[2], _headers) if header_file else None
        if self._token and self._headers and "authorization" in map(str.lower, self._headers.current()):
            raise ConfigError(
                f"{settings[0]} and an Authorization line in {settings[2]} exclude each other; take one out"
            )

    def headers(self) -> dict[str, str]:
        """Headers to send, as the files say now."""
        headers = dict(self._headers.current()) if self._headers else {}
        if self._token:
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
            headers["Authorization"] = f"Bearer {self._token.current()}"
        return headers

    def trust(self) -> ssl.SSLContext | None:
        """What verifies the provider's certificate: the same object until the file changes. None: the bundled authorities."""
        return self._trust.current() if self._trust else None


class _Watched(Generic[T]):
    """A file, and what it says. `parse` raises ValueError, in words that give away nothing of the file."""

    def __init__(self, path: str, setting: str, parse: Callable[[str], T]) -> None:
        self._path, self._setting, self._parse = path, setting, parse
        self._lock = threading.Lock()
        self._trouble = ""
        try:
            self._seen = self._identity()
            self._value = self._parse(self._read())
        except (OSError, ValueError) as error:
            advice = "mount it or correct the path, or leave the setting out"
            raise ConfigError(f"cannot use {path} ({setting}): {_words(error)}; {advice}") from error

    def current(self) -> T:
        """What the file says now, or said last."""
        with self._lock:
            trouble = ""
            try:
                now = self._identity()
                if now != self._seen or self._trouble:
                    self._value = self._parse(self._read())
                    self._seen = now
            except (OSError, ValueError) as error:
                trouble = _words(error)
            if trouble and trouble != self._trouble:
                log.warning("%s %s: %s; going on with what it said before", self._setting, self._path, trouble)
            elif self._trouble and not trouble:
                log.info("%s %s is readable again", self._setting, self._path)
            self._trouble = trouble
            return self._value

    def _identity(self) -> tuple[int, ...]:
        """Changes when the file is written, and when a symlink on the way to it is swapped."""
        found = Path(self._path).stat()
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> str:
        with Path(self._path).open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST} bytes")
        return content.decode(errors="replace")


def _token(text: str) -> str:
    token = text.strip()
    if not token:
        raise ValueError("it is empty")
    if not _TOKEN.fullmatch(token):
        raise ValueError("it must hold the token and nothing else, on one line")
    return token


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or not value:
            raise ValueError(f"line {number} is no `NAME: VALUE`")
        if name.lower() in _OURS:
            raise ValueError(f"line {number}: {name} belongs to the connection and cannot be set")
        if name.lower() in map(str.lower, headers):
            raise ValueError(f"line {number}: {name} is there twice")
        headers[name] = value
    return headers


def _trust(text: str) -> ssl.SSLContext:
    certificates = _CERTIFICATE.findall(text)
    if not certificates:
        raise ValueError("it holds no PEM certificate")
    try:
        return ssl.create_default_context(cadata="\n".join(certificates))
    except ssl.SSLError as error:
        raise ValueError(f"a certificate in it cannot be read ({error.reason or error})") from error


def _words(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
