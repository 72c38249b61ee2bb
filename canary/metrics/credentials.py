"""What a server is shown, and whom we trust to be it; from files of the controller's, or from a Secret (`secrets`).

Each file is looked at before each request (`watched_file`), so that no restart is needed when one changes.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar
from urllib.parse import quote

import certifi

from canary.checks.headers import is_header, may_be_a_value, refused_header
from canary.errors import ConfigError
from canary.watched_file import WatchedFile

log = logging.getLogger("canary.credentials")

T = TypeVar("T")

_TOKEN = re.compile(r"[!-~]+")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----")
_TELLING = re.compile(r"authorization|cookie|key|token|secret|password|signature|credential", re.IGNORECASE)
_LONG = 20
"""Characters of a header's value from which on it is taken for a secret, whatever the header is called. A tenant is none: its name is in
every other answer, and in our own words."""

AUTHORIZATION = "authorization"


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """Keys that a request is signed with: which one, the secret one, and a token where they are temporary (else empty)."""

    identity: str
    secret: str
    token: str = ""

    def __repr__(self) -> str:
        return "<a pair of keys>"


@dataclass(frozen=True, slots=True, repr=False)
class Shown:
    """What is shown with a request. `name` says in words whose it is; `secrets` are the texts that nobody may read.

    `keys` sign a request instead of being sent.

    `trust` is the same object until what it is made of changes; None: the bundled authorities, and no certificate of ours.
    """

    name: str
    headers: Mapping[str, str] = field(default_factory=dict)
    trust: ssl.SSLContext | None = None
    secrets: tuple[str, ...] = ()
    keys: KeyPair | None = None

    def __repr__(self) -> str:
        return f"<credentials of {self.name}>"

    def is_told_in(self, text: str) -> bool:
        """Whether a text gives some of it away, spelt as it is or as JSON and URLs do."""
        return any(spelling in text for secret in self.secrets for spelling in _spellings(secret))


class Shows(Protocol):
    """Whoever knows what is to be shown with the next request. May block for as long as files take to be read."""

    def show(self) -> Shown: ...


WITHHELD = "(what it says is withheld: it repeats a credential)"


def withheld(text: str, shown: Shown | None) -> str:
    """A server's words, unless they repeat what it was shown."""
    return WITHHELD if shown is not None and shown.is_told_in(text) else text


class Credentials:
    """Credentials for one provider, in files. Its methods may block for as long as these take to be read, and are thread-safe.

    A file that cannot be read or understood while we run keeps what it said before, and the log says so.

    Args:
        token_file: holds a bearer token and nothing else.
        ca_file: PEM certificates of the authorities that sign the provider's, instead of the bundled ones.
        header_file: lines `NAME: VALUE`; empty ones and those that begin with # say nothing.
        username_file, password_file: for basic authentication; both or neither.
        certificate_file, key_file: a client certificate with its chain, and its key, in PEM; both or neither.
        settings: how these are called, for messages; by argument.

    Raises:
        ConfigError: a file cannot be read or understood at the start, one of two is missing, or two of them say who we are.

    """

    def __init__(
        self,
        *,
        token_file: str | None = None,
        ca_file: str | None = None,
        header_file: str | None = None,
        username_file: str | None = None,
        password_file: str | None = None,
        certificate_file: str | None = None,
        key_file: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        names = _SETTINGS | dict(settings or {})
        given = {
            "token_file": token_file,
            "ca_file": ca_file,
            "header_file": header_file,
            "username_file": username_file,
            "password_file": password_file,
            "certificate_file": certificate_file,
            "key_file": key_file,
        }
        for one, other in (("username_file", "password_file"), ("certificate_file", "key_file")):
            if bool(given[one]) != bool(given[other]):
                there, missing = (one, other) if given[one] else (other, one)
                raise ConfigError(f"{names[there]} needs {names[missing]} too; give both, or neither")

        def watched(argument: str, parse: Callable[[str], T]) -> WatchedFile[T] | None:
            path = given[argument]
            return WatchedFile(path, names[argument], parse) if path else None

        self._token = watched("token_file", token_of)
        self._username = watched("username_file", username_of)
        self._password = watched("password_file", password_of)
        self._headers = watched("header_file", _headers)
        self._trust = _Trust(
            watched("ca_file", authorities_of), watched("certificate_file", pem_of), watched("key_file", pem_of)
        )
        self.name = "the files of " + ", ".join(names[argument] for argument, path in given.items() if path)
        ways = [
            names[argument]
            for argument, file in (("token_file", self._token), ("username_file", self._username))
            if file is not None
        ]
        if self._headers and AUTHORIZATION in map(str.lower, self._headers.current()):
            ways.append(f"an Authorization line in {names['header_file']}")
        if len(ways) > 1:
            raise ConfigError(f"{' and '.join(ways)} exclude each other; take one out")

    def headers(self) -> dict[str, str]:
        """Headers to send, as the files say now."""
        return dict(self.show().headers)

    def trust(self) -> ssl.SSLContext | None:
        """What verifies the provider's certificate: the same object until a file changes. None: the bundled authorities."""
        return self._trust.current()

    def show(self) -> Shown:
        """What the files say now."""
        trust = self._trust.current()
        headers = dict(self._headers.current()) if self._headers else {}
        secrets = list(secrets_of(headers))
        own = ""
        if self._token:
            token = self._token.current()
            secrets.append(token)
            own = f"Bearer {token}"
        elif self._username and self._password:
            own, more = basic(self._username.current(), self._password.current())
            secrets += more
        if own:
            headers = {name: value for name, value in headers.items() if name.lower() != AUTHORIZATION}
            headers["Authorization"] = own
        return Shown(self.name, headers, trust, tuple(secrets))


_SETTINGS = {
    "token_file": "the token file",
    "ca_file": "the CA file",
    "header_file": "the header file",
    "username_file": "the user name file",
    "password_file": "the password file",
    "certificate_file": "the client certificate file",
    "key_file": "the client key file",
}


class _Trust:
    """Authorities, and a certificate with its key; each may be missing. What does not fit together keeps what was before."""

    def __init__(
        self, authorities: WatchedFile[str] | None, certificate: WatchedFile[str] | None, key: WatchedFile[str] | None
    ) -> None:
        self._files = (authorities, certificate, key)
        self._lock = threading.Lock()
        self._trouble = ""
        self._made_of = self._now()
        try:
            self._context = context_of(*self._made_of)
        except ValueError as error:
            settings = " and ".join(file.setting for file in (certificate, key) if file)
            raise ConfigError(
                f"cannot use {settings}: {error}; give a certificate and the key that belongs to it"
            ) from error

    def current(self) -> ssl.SSLContext | None:
        with self._lock:
            now = self._now()
            if now != self._made_of:
                try:
                    self._context = context_of(*now)
                    self._made_of, self._trouble = now, ""
                except ValueError as error:  # one of the two is exchanged already, say
                    if str(error) != self._trouble:
                        log.warning("the client certificate: %s; going on with the one before", error)
                    self._trouble = str(error)
            return self._context

    def _now(self) -> tuple[str, str, str]:
        authorities, certificate, key = ("" if file is None else file.current() for file in self._files)
        return authorities, certificate, key


# -- what files and Secrets hold ------------------------------------------------------------------------------------
# Each raises ValueError, in words that give away nothing of the text.


def token_of(text: str) -> str:
    """A bearer token."""
    token = text.strip()
    if not token:
        raise ValueError("it is empty")
    if not _TOKEN.fullmatch(token):
        raise ValueError("it must hold the token and nothing else, on one line")
    return token


def key_of(text: str) -> str:
    """A key that requests are signed with, or what goes with it."""
    key = text.strip()
    if not _TOKEN.fullmatch(key):
        raise ValueError("it must hold the key and nothing else, on one line")
    return key


def username_of(text: str) -> str:
    """A user name for basic authentication."""
    name = text.strip("\r\n")
    if not name or ":" in name or not name.isprintable():
        raise ValueError("it must hold a user name and nothing else, without a colon")
    return name


def password_of(text: str) -> str:
    """A password for basic authentication."""
    password = text.strip("\r\n")
    if not password or not password.isprintable():
        raise ValueError("it must hold a password and nothing else, on one line")
    return password


def value_of(text: str) -> str:
    """The value of a header."""
    value = text.strip()
    if not value or not may_be_a_value(value):
        raise ValueError("it must hold the value of a header and nothing else: ASCII, on one line")
    return value


def pem_of(text: str) -> str:
    """Something in PEM."""
    if "-----BEGIN " not in text:
        raise ValueError("it holds nothing in PEM")
    return text


def authorities_of(text: str) -> str:
    """Certificates of authorities."""
    certificates = _CERTIFICATE.findall(text)
    if not certificates:
        raise ValueError("it holds no PEM certificate")
    found = "\n".join(certificates)
    context_of(found)
    return found


def basic(username: str, password: str) -> tuple[str, tuple[str, ...]]:
    """The value of Authorization, and what of it nobody may read."""
    joined = base64.b64encode(f"{username}:{password}".encode()).decode()
    return f"Basic {joined}", (password, joined)


def secrets_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Which values of headers are taken for secrets, in a file in which some may be none."""
    return tuple(value for name, value in headers.items() if len(value) >= _LONG or _TELLING.search(name))


def context_of(authorities: str, certificate: str = "", key: str = "") -> ssl.SSLContext | None:
    """What trusts `authorities` (empty: the bundled ones) and shows a certificate; None: nothing is special."""
    if not authorities and not certificate:
        return None
    try:
        context = (
            ssl.create_default_context(cadata=authorities)
            if authorities
            else ssl.create_default_context(cafile=certifi.where())
        )
    except ssl.SSLError as error:
        raise ValueError(f"a certificate in it cannot be read ({error.reason or 'it is broken'})") from error
    if certificate:
        try:
            with _as_file(f"{certificate.strip()}\n{key.strip()}\n") as path:
                # Without an answer OpenSSL would ask the terminal for the password of a key.
                context.load_cert_chain(path, password=lambda: "")
        except ssl.SSLError as error:
            raise ValueError(f"certificate and key cannot be used ({error.reason or 'they are broken'})") from error
    return context


@contextmanager
def _as_file(text: str) -> Iterator[str]:
    """A path at which OpenSSL finds a text, which is written to no disk."""
    if sys.platform != "linux":
        raise ValueError("certificates of clients are only possible on Linux")
    handle = os.memfd_create("canary")
    try:
        content = text.encode()
        while content:
            content = content[os.write(handle, content) :]
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _headers(text: str) -> dict[str, str]:
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, value = (part.strip() for part in line.partition(":"))
        if not colon or not value or not is_header(name) or not may_be_a_value(value):
            raise ValueError(f"line {number} is no `NAME: VALUE`")
        refused = refused_header(name)
        if refused:
            raise ValueError(f"line {number}: {refused}")
        if name.lower() in map(str.lower, headers):
            raise ValueError(f"line {number}: {name} is there twice")
        headers[name] = value
    return headers


def _spellings(secret: str) -> set[str]:
    return {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret), repr(secret)[1:-1]}
