"""Credentials from Secrets: read when they are needed, kept for a second, and shown only to the hosts that they are for.

A Secret says itself where it may be sent, by an annotation. Whoever may write a Rollout need not be allowed to read the Secrets of
the namespace, and could else have any of them sent to a host of his own.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from canary.checks.headers import refused_header
from canary.checks.sources.auth import Auth
from canary.errors import ApiError, Forbidden, NotFound
from canary.fair import FairLimit, LimitClosed, Tenant
from canary.metrics.credentials import (
    AUTHORIZATION,
    KeyPair,
    Shown,
    authorities_of,
    basic,
    context_of,
    key_of,
    password_of,
    pem_of,
    token_of,
    username_of,
    value_of,
)
from canary.metrics.hosts import Hosts, place

HOSTS = "canary.dev/hosts"
"""The annotation of a Secret that names the hosts which it may be shown, separated by commas or spaces."""

MISSING = "NoSecret"
"""Reason of a Secret that is not there."""

KEPT = 1.0
"""Seconds for which what was read is used: no longer than the shortest pause between two measurements of a check."""

MOST = 256
"""Secrets that are kept; of more the one that was used longest ago is read again."""

AT_ONCE = 8
LARGEST = 1024 * 1024
"""Bytes of a Secret, as API servers have it."""

ACCOUNT = "kubernetes.io/service-account-token"
"""The type of a Secret that is shown to nobody."""


@dataclass(frozen=True, slots=True, repr=False)
class Content:
    """What an API server says of a Secret: its type, its annotation HOSTS (empty: it has none) and its data."""

    kind: str
    hosts: str
    data: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"<Secret of {len(self.data)} keys>"


Read = Callable[[str, str], Awaitable[Content]]
"""A Secret by name and namespace. Raises ApiError."""


class Unshown(Exception):
    """Nothing can be shown, and why. `unreachable`: waiting may help; otherwise somebody has to do something."""

    def __init__(self, reason: str, message: str, *, unreachable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.unreachable = unreachable


@dataclass(slots=True)
class _Kept:
    content: Content
    shown: Shown
    at: float


class Secrets:
    """The Secrets of checks. `own` is the namespace of the controller, for those of the platform team. For one event loop."""

    def __init__(self, read: Read, own: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._own, self._clock = read, own, clock
        self._kept: OrderedDict[tuple[str, Auth], _Kept] = OrderedDict()
        self._limit = FairLimit(AT_ONCE, clock=clock)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    async def shown(self, auth: Auth, address: str, tenant: Tenant) -> Shown:
        """What is shown to a normalised address. Raises Unshown, and nothing else of what can go wrong."""
        namespace = self._own if auth.platform else auth.namespace
        kept = await self._current(namespace, auth, tenant)
        refuse_others(kept.content, auth.secret, namespace, address)
        return kept.shown

    def forget(self, auth: Auth) -> None:
        """Read it again before it is shown again: somebody did not accept it."""
        self._kept.pop((self._own if auth.platform else auth.namespace, auth), None)

    def close(self) -> None:
        self._limit.close()
        self._kept.clear()

    async def _current(self, namespace: str, auth: Auth, tenant: Tenant) -> _Kept:
        key = (namespace, auth)
        kept = self._fresh(key)
        if kept is not None:
            return kept
        try:
            async with self._limit.held(tenant, hash(key)):
                kept = self._fresh(key)  # somebody else may have read it meanwhile
                if kept is not None:
                    return kept
                at = self._clock()
                content = await self._content(namespace, auth)
                return self._keep(key, content, at)
        except LimitClosed as error:
            raise Unshown("SecretUnreadable", "the controller ends", unreachable=True) from error

    def _fresh(self, key: tuple[str, Auth]) -> _Kept | None:
        kept = self._kept.get(key)
        if kept is None or self._clock() - kept.at >= KEPT:
            return None
        self._kept.move_to_end(key)
        return kept

    async def _content(self, namespace: str, auth: Auth) -> Content:
        try:
            return await content_of(self._read, auth.secret, namespace, platform=auth.platform)
        except Unshown as why:
            if why.reason == MISSING:
                self._kept.pop((namespace, auth), None)
            raise

    def _keep(self, key: tuple[str, Auth], content: Content, at: float) -> _Kept:
        before = self._kept.pop(key, None)
        # What has not changed stays the same object, and connections that rest on it stay open.
        if before is not None and before.content == content:
            kept = _Kept(before.content, before.shown, at)
        else:
            kept = _Kept(content, _shown(content, *key), at)
        self._kept[key] = kept
        while len(self._kept) > MOST:
            self._kept.popitem(last=False)
        return kept


async def content_of(read: Read, name: str, namespace: str, *, platform: bool) -> Content:
    """What is in a Secret now. `platform`: it lies in the controller's own namespace. Raises Unshown."""
    try:
        return await read(name, namespace)
    except Forbidden as error:
        if error.status == 401:
            raise Unshown(
                "SecretUnreadable",
                f"Secret {name} cannot be read: the API server does not know the controller",
                unreachable=True,
            ) from error
        raise Unshown("SecretForbidden", _right(name, namespace, platform=platform)) from error
    except NotFound as error:
        raise Unshown(
            MISSING, f"there is no Secret {name} in namespace {namespace}; create it, or correct the name"
        ) from error
    except ApiError as error:
        # Its words may be those of whoever stands between us and the API server.
        message = f"Secret {name} in namespace {namespace} cannot be read now ({type(error).__name__})"
        raise Unshown("SecretUnreadable", message, unreachable=True) from error


def examine(content: Content, auth: Auth, namespace: str, address: str | None) -> None:
    """Raises Unshown: why what a Secret holds cannot be shown at all, or not to a normalised address. None: nobody knows whom."""
    _shown(content, namespace, auth)
    if address is not None:
        refuse_others(content, auth.secret, namespace, address)
    elif not content.hosts.strip():
        raise Unshown("SecretForOthers", unnamed(auth.secret, namespace))
    else:
        meant_for(content, auth.secret)


def unnamed(name: str, namespace: str) -> str:
    """What is wrong with a Secret that names no host."""
    return (
        f"Secret {name} in namespace {namespace} is for nobody: its annotation {HOSTS} is missing; whoever owns it says whom it may "
        f"be shown by `kubectl -n {namespace} annotate secret {name} {HOSTS}=HOST`"
    )


def meant_for(content: Content, name: str) -> Hosts:
    """The hosts that a Secret says it is for. Raises Unshown: that cannot be read."""
    try:
        return Hosts.read(content.hosts.replace(",", " ").split())
    except ValueError as error:
        raise Unshown("BadSecret", f"the annotation {HOSTS} of Secret {name} cannot be read: {error}") from error


def refuse_others(content: Content, name: str, namespace: str, address: str) -> None:
    """Raises Unshown: a Secret does not name the host of a normalised address."""
    meant = meant_for(content, name)
    if not meant.any_name and meant.names_it(address):
        return
    host, port = place(address)
    says = f"names {' '.join(content.hosts.split())[:200]}" if content.hosts.strip() else "is missing"
    raise Unshown(
        "SecretForOthers",
        f"Secret {name} in namespace {namespace} is not for {host}:{port}: its annotation {HOSTS} {says}; whoever owns it can "
        f"allow that by `kubectl -n {namespace} annotate secret {name} {HOSTS}={host}`",
    )


def _right(name: str, namespace: str, *, platform: bool) -> str:
    component, value = ("own-secrets", "rbac.secrets.own") if platform else ("secrets", "rbac.secrets.namespaces")
    return (
        f"the controller may not read Secret {name} in namespace {namespace}: it lacks the right to `get` secrets there; a platform "
        f"team gives it by the component {component} (Helm: {value}), see docs/sources.md"
    )


def _shown(content: Content, namespace: str, auth: Auth) -> Shown:
    """Raises Unshown: it holds nothing that could be shown."""
    name = f"Secret {auth.secret}"
    if content.kind == ACCOUNT:
        raise Unshown(
            "BadSecret", f"{name} is the token of a service account, which is for the API server and nobody else"
        )
    if sum(map(len, content.data.values())) > LARGEST:
        raise Unshown("BadSecret", f"{name} is larger than {LARGEST} bytes")
    data = _Data(content.data, f"{name} in namespace {namespace}")
    if auth.signs:
        return _signing(name, data)
    token, username, password = (
        data.get(key, parse)
        for key, parse in (("token", token_of), ("username", username_of), ("password", password_of))
    )
    authorities = data.get("ca.crt", authorities_of)
    certificate, key = data.get("tls.crt", pem_of), data.get("tls.key", pem_of)
    headers: dict[str, str] = {}
    for header, where in auth.headers:
        refused = refused_header(header)
        if refused or header.lower() in map(str.lower, headers):
            raise Unshown("BadSecret", f"auth.headers: {refused or f'{header} is there twice'}")
        value = data.get(where, value_of)
        if value is None:
            raise Unshown("BadSecret", f"{data.name} has no key {where}, which auth.headers names for {header}")
        headers[header] = value
    secrets = list(headers.values())
    if (username is None) != (password is None) or (certificate is None) != (key is None):
        raise Unshown(
            "BadSecret", f"{data.name} has one of username and password, or of tls.crt and tls.key, without the other"
        )
    if (token is not None) + (username is not None) + (AUTHORIZATION in map(str.lower, headers)) > 1:
        words = "more than one way to say who we are: token, username with password, or a header Authorization"
        raise Unshown("BadSecret", f"{data.name} has {words}")
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
        secrets.append(token)
    elif username is not None and password is not None:
        headers["Authorization"], more = basic(username, password)
        secrets += more
    if not headers and authorities is None and certificate is None:
        keys = "token, username and password, ca.crt, tls.crt and tls.key"
        raise Unshown("BadSecret", f"{data.name} has none of the keys that count: {keys}, and what auth.headers names")
    try:
        trust = context_of(authorities or "", certificate or "", key or "")
    except ValueError as error:
        raise Unshown("BadSecret", f"{data.name}: {error}") from error
    return Shown(name, headers, trust, tuple(secrets))


IDENTITY, SECRET_KEY, SESSION = "access-key-id", "secret-access-key", "session-token"
"""Keys of a Secret that holds what requests to Amazon's services are signed with."""


def _signing(name: str, data: _Data) -> Shown:
    identity, secret, token = (data.get(key, key_of) for key in (IDENTITY, SECRET_KEY, SESSION))
    if identity is None or secret is None:
        missing = IDENTITY if identity is None else SECRET_KEY
        raise Unshown(
            "BadSecret",
            f"{data.name} has no key {missing}; it needs {IDENTITY} and {SECRET_KEY}, and may have {SESSION}",
        )
    pair = KeyPair(identity, secret, token or "")
    return Shown(name, secrets=tuple(filter(None, (identity, secret, token))), keys=pair)


class _Data:
    def __init__(self, data: Mapping[str, bytes], name: str) -> None:
        self._data, self.name = data, name

    def get(self, key: str, parse: Callable[[str], str]) -> str | None:
        """Raises Unshown, in words that give away nothing of it."""
        found = self._data.get(key)
        if found is None:
            return None
        try:
            return parse(found.decode())
        except UnicodeDecodeError:
            words = "it is no text"
        except ValueError as error:
            words = str(error)
        # Without the cause, which may hold what was to be decoded.
        raise Unshown("BadSecret", f"key {key} of {self.name}: {words}") from None


async def timely(work: Awaitable[Shown], seconds: float, name: str) -> Shown:
    """Within so many seconds. Raises Unshown."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise Unshown(
            "SecretUnreadable", f"Secret {name} could not be read within {seconds:g} s", unreachable=True
        ) from error
