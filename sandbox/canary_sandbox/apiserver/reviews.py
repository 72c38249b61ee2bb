"""Reviews: who one is, what one may do. They are created, answered and never stored."""

from __future__ import annotations

from datetime import timedelta

from canary_sandbox.apiserver import errors
from canary_sandbox.apiserver.auth import AUDIENCE, Tokens, User
from canary_sandbox.apiserver.errors import INVALID, FieldError, Json
from canary_sandbox.apiserver.rbac import Attributes, Authorizer
from canary_sandbox.apiserver.rest import timestamp

_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"
REVIEWS = {
    (_AUTHENTICATION, "v1", "selfsubjectreviews"): "SelfSubjectReview",
    (_AUTHENTICATION, "v1", "tokenreviews"): "TokenReview",
    (_AUTHORIZATION, "v1", "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
    (_AUTHORIZATION, "v1", "selfsubjectrulesreviews"): "SelfSubjectRulesReview",
}
_ABOUT_WHO = frozenset({"SelfSubjectReview", "TokenReview"})
_HOUR = 3600


class Reviewer:
    """Answers reviews."""

    def __init__(self, authorizer: Authorizer, tokens: Tokens) -> None:
        self._authorizer = authorizer
        self._tokens = tokens

    def answer(self, kind: str, body: Json, user: User) -> Json:
        """The review with its status filled in. Raises StatusError 400, 422."""
        spec = body.get("spec") or {}
        match kind:
            case "SelfSubjectReview":
                status: Json = {"userInfo": _info(user)}
            case "TokenReview":
                status = self._token(spec)
            case "SelfSubjectRulesReview":
                status = self._rules(spec, user)
            case _:
                status = self._access(kind, body, user)
        version = f"{_AUTHENTICATION if kind in _ABOUT_WHO else _AUTHORIZATION}/v1"
        return {"metadata": {}, **body, "apiVersion": version, "kind": kind, "status": status}

    def token(self, account: Json, body: Json) -> Json:
        """The answer to a TokenRequest for a service account. Raises StatusError 422, 501."""
        spec = body.get("spec") or {}
        if spec.get("boundObjectRef"):
            raise errors.not_implemented("tokens bound to an object")
        seconds = spec.get("expirationSeconds") or _HOUR
        meta = account["metadata"]
        audiences = spec.get("audiences") or [AUDIENCE]
        token = self._tokens.issue(meta["namespace"], meta["name"], meta["uid"], audiences, seconds)
        expires = timestamp(self._tokens.clock() + timedelta(seconds=seconds))
        return {
            "kind": "TokenRequest",
            "apiVersion": f"{_AUTHENTICATION}/v1",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "creationTimestamp": None},
            "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": None},
            "status": {"token": token, "expirationTimestamp": expires},
        }

    def _token(self, spec: Json) -> Json:
        if not spec.get("token"):
            raise errors.bad_request("token is required for TokenReview in authentication")
        found = self._tokens.owner(spec["token"], tuple(spec.get("audiences") or (AUDIENCE,)))
        if found is None or not found[1]:
            return {"authenticated": False, "user": {}, "error": "the token is not known, or no longer good"}
        return {"authenticated": True, "user": _info(found[0]), "audiences": found[1]}

    def _rules(self, spec: Json, user: User) -> Json:
        if not spec.get("namespace"):
            raise errors.bad_request("no namespace on request")
        rules = self._authorizer.rules(user, spec["namespace"])
        return {
            "resourceRules": [rule for rule in rules if rule.get("resources")],
            "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
            "incomplete": False,
        }

    def _access(self, kind: str, body: Json, user: User) -> Json:
        spec = body.get("spec") or {}
        about, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if bool(about) == bool(path):
            detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            objection = FieldError("spec.resourceAttributes", INVALID, detail, about)
            raise errors.invalid(kind, _AUTHORIZATION, "", [objection])
        verdict = self._authorizer.verdict(_attributes(user, about, path))
        return {"allowed": verdict.allowed, **({"reason": verdict.reason} if verdict.reason else {})}


def _attributes(user: User, about: Json | None, path: Json | None) -> Attributes:
    if about is None:
        asked = path or {}
        return Attributes(user, asked.get("verb", ""), path=asked.get("path", ""))
    if about.get("fieldSelector") or about.get("labelSelector"):
        raise errors.not_implemented("authorization by selectors")
    members = ("group", "resource", "subresource", "namespace", "name")
    # Nothing asked for is everything asked for, as kubectl does not send a resource for `can-i '*' '*'` either way.
    asked = {name: about.get(name) or "" for name in members}
    return Attributes(user, about.get("verb") or "*", **{**asked, "resource": asked["resource"] or "*"})


def _info(user: User) -> Json:
    return {"username": user.name, "groups": list(user.groups), **({"uid": user.uid} if user.uid else {})}
