"""The gate in front of every request: acting as somebody else, and whether one may do what the request asks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from canary_sandbox.apiserver import errors
from canary_sandbox.apiserver.auth import ANONYMOUS, AUTHENTICATED, User, groups_of
from canary_sandbox.apiserver.rbac import Attributes, Authorizer
from canary_sandbox.apiserver.requests import Request

_ONE_NAME = re.compile(r"(?:^|,)metadata\.name==?([^,=!]+)(?:,|$)")


def attributes(request: Request, user: User, query: Mapping[str, str]) -> Attributes:
    """What a request asks for, in the words of an authorizer."""
    if not request.is_resource:
        return Attributes(user, request.verb, path=request.path)
    namespace, name = request.namespace, request.name
    if request.resource == "namespaces" and request.group == "" and name:
        namespace = name  # so that a binding inside a namespace can grant the namespace itself
    if not name and request.verb in {"list", "watch", "deletecollection"}:
        found = _ONE_NAME.search(query.get("fieldSelector", ""))
        name = found.group(1) if found else ""
    return Attributes(
        user, request.verb, request.group, request.resource, request.subresource, namespace, name
    )  # fmt: skip


def impersonated(user: User, headers: Mapping[str, str], groups: list[str], authorizer: Authorizer) -> User:
    """Whom `user` acts as by the headers `Impersonate-*`; `user` without them. Raises StatusError 400, 403, 501."""
    name = headers.get("Impersonate-User", "")
    extra = [header for header in headers if header.lower().startswith("impersonate-extra-")]
    if not name:
        if groups or extra or headers.get("Impersonate-Uid"):
            raise errors.bad_request("requested impersonation without a user to impersonate")
        return user
    if extra or headers.get("Impersonate-Uid"):
        raise errors.not_implemented("impersonation of extra fields and uids")
    match name.split(":"):
        case ["system", "serviceaccount", namespace, account]:
            authorizer.check(Attributes(user, "impersonate", "", "serviceaccounts", "", namespace, account))
        case _:
            authorizer.check(Attributes(user, "impersonate", "", "users", "", "", name))
    for group in groups:
        authorizer.check(Attributes(user, "impersonate", "", "groups", "", "", group))
    everybody = () if name == ANONYMOUS.name else (AUTHENTICATED,)
    if name == ANONYMOUS.name and not groups:
        return ANONYMOUS
    return User(name, tuple(dict.fromkeys((*(groups or groups_of(name)), *everybody))))
