"""Bearer tokens, and the reviews that say who one is and what one may do (everything, for now)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from canary.sandbox.apiserver.errors import Json, unauthorized

PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request."""

    name: str
    groups: tuple[str, ...] = ("system:authenticated",)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Tokens:
    """Which bearer token is whose."""

    def __init__(self, admin_token: str | None) -> None:
        self.admin = admin_token or secrets.token_urlsafe(24)
        self._users = {self.admin: User("admin", ("system:masters", "system:authenticated"))}

    def add(self, user: str) -> str:
        """A new token for `user`, such as `system:serviceaccount:canary:controller`."""
        token = secrets.token_urlsafe(24)
        groups: tuple[str, ...] = ("system:authenticated",)
        if user.startswith("system:serviceaccount:"):
            namespace = user.split(":")[2]
            groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", *groups)
        self._users[token] = User(user, groups)
        return token

    def user(self, authorization: str | None, path: str) -> User:
        """Raises StatusError 401 for a missing or unknown token."""
        scheme, _, token = (authorization or "").partition(" ")
        if not authorization and path in PUBLIC_PATHS:
            return ANONYMOUS
        if scheme.lower() == "bearer" and (user := self._users.get(token.strip())):
            return user
        raise unauthorized()


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


REVIEWS = {
    ("authentication.k8s.io", "v1", "selfsubjectreviews"): "SelfSubjectReview",
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
    ("authorization.k8s.io", "v1", "subjectaccessreviews"): "SubjectAccessReview",
    ("authorization.k8s.io", "v1", "selfsubjectrulesreviews"): "SelfSubjectRulesReview",
}


def review(kind: str, body: Json, user: User) -> Json:
    """The answer to a review: this server authenticates, and allows everything to whoever it knows."""
    if kind == "SelfSubjectReview":
        status: Json = {"userInfo": {"username": user.name, "groups": list(user.groups)}}
    elif kind == "SelfSubjectRulesReview":
        status = {
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
    else:
        status = {"allowed": True, "reason": "the sandbox allows everything to whoever has a token"}
    return {"metadata": {}, **body, "kind": kind, "status": status}
