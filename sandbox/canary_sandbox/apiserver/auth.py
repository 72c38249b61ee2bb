"""Who sends a request: bearer tokens, the tokens of service accounts, and acting as somebody else."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from canary_sandbox.apiserver.errors import Json, unauthorized

PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})
MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
AUDIENCE = "https://kubernetes.default.svc.cluster.local"
"""Issuer of the tokens of service accounts, and the audience of those that are meant for this server."""


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request."""

    name: str
    groups: tuple[str, ...] = (AUTHENTICATED,)
    uid: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))

LookUp = Callable[[str, str], str | None]
"""The uid of a service account, by namespace and name; None when there is none."""


def groups_of(user: str) -> tuple[str, ...]:
    """The groups that a name alone brings: those of a service account."""
    match user.split(":"):
        case ["system", "serviceaccount", namespace, _]:
            return ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return ()


class Tokens:
    """Which bearer token is whose. `account` looks service accounts up, `clock` says when a token has expired."""

    def __init__(
        self, admin_token: str | None, clock: Callable[[], datetime], account: LookUp, saved: Json | None = None
    ) -> None:
        saved = saved or {}
        self.admin = admin_token or saved.get("admin") or secrets.token_urlsafe(24)
        self._users = {item["token"]: User(item["user"], tuple(item["groups"])) for item in saved.get("users") or ()}
        self._users[self.admin] = User("admin", (MASTERS, AUTHENTICATED))
        self._key = bytes.fromhex(saved["key"]) if saved else secrets.token_bytes(32)
        self.clock = clock
        self._account = account

    def save(self) -> Json:
        """What makes every token of now good for another `Tokens`; a secret."""
        users = [
            {"token": token, "user": user.name, "groups": list(user.groups)}
            for token, user in self._users.items()
            if token != self.admin
        ]
        return {"admin": self.admin, "key": self._key.hex(), "users": users}

    def add(self, user: str, groups: Sequence[str] = ()) -> str:
        """A new token for `user`, such as `system:serviceaccount:canary:controller`; it never expires."""
        token = secrets.token_urlsafe(24)
        self._users[token] = User(user, tuple(dict.fromkeys((*groups, *groups_of(user), AUTHENTICATED))))
        return token

    def issue(self, namespace: str, name: str, uid: str, audiences: Sequence[str], seconds: int) -> str:
        """A signed token of a service account, a JWT: clients may read `sub` and `exp` in it."""
        now = int(self.clock().timestamp())
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": AUDIENCE,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        signed = f"{_packed({'alg': 'HS256', 'typ': 'JWT'})}.{_packed(claims)}"
        return f"{signed}.{_text(self._signature(signed))}"

    def _signature(self, signed: str) -> bytes:
        return hmac.digest(self._key, signed.encode(), hashlib.sha256)

    def owner(self, token: str, audiences: Sequence[str] = (AUDIENCE,)) -> tuple[User, list[str]] | None:
        """Whose token it is and for which of `audiences` it is good; None when it is good for nothing."""
        if user := self._users.get(token):
            return user, [AUDIENCE] if AUDIENCE in audiences else []
        signed, _, signature = token.rpartition(".")
        if not signed or not hmac.compare_digest(_text(self._signature(signed)).encode(), signature.encode()):
            return None
        try:
            claims = json.loads(_bytes(signed.partition(".")[2]))
        except (ValueError, binascii.Error):
            return None
        account = claims["kubernetes.io"]
        shared = [audience for audience in audiences if audience in claims["aud"]]
        uid = account["serviceaccount"]["uid"]
        gone = self._account(account["namespace"], account["serviceaccount"]["name"]) != uid
        if gone or not shared or claims["exp"] <= self.clock().timestamp():
            return None
        return User(claims["sub"], (*groups_of(claims["sub"]), AUTHENTICATED), uid), shared

    def user(self, authorization: str | None, path: str, *, anonymous: bool = False) -> User:
        """Raises StatusError 401 for an unknown token, and for a missing one unless `anonymous` users are let in."""
        scheme, _, token = (authorization or "").partition(" ")
        if not authorization and (anonymous or path in PUBLIC_PATHS):
            return ANONYMOUS
        if scheme.lower() == "bearer" and (found := self.owner(token.strip())):
            return found[0]
        raise unauthorized()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _packed(document: Json) -> str:
    return _text(json.dumps(document, separators=(",", ":")).encode())


_PATH_PREFIX = "/as/"


def path_prefix(token: str) -> str:
    """A prefix of paths that authenticates like the header `Authorization: Bearer TOKEN`."""
    return _PATH_PREFIX + token


def split_path(path: str) -> tuple[str, str]:
    """The authorization that a path carries (empty: none), and the path without it."""
    if not path.startswith(_PATH_PREFIX):
        return "", path
    token, _, rest = path.removeprefix(_PATH_PREFIX).partition("/")
    return f"Bearer {token}", f"/{rest}"
