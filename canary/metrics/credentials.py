"""What a metrics provider is shown, and whom we trust to be it: a bearer token, headers and authorities, each from a file.

Each file is looked at before each request (`watched_file`), so that no restart is needed when one changes.
"""

from __future__ import annotations

import re
import ssl

from canary.errors import ConfigError
from canary.watched_file import WatchedFile, authorities

_TOKEN = re.compile(r"[!-~]+")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[ -~\t]*")
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
        self._token = WatchedFile(token_file, settings[0], _token) if token_file else None
        self._trust = WatchedFile(ca_file, settings[1], authorities) if ca_file else None
        self._headers = WatchedFile(header_file, settings[2], _headers) if header_file else None
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
