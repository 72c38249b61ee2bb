"""The roles that the server itself needs: for its admin, and for whoever asks what there is and what they may do."""

from __future__ import annotations

from canary_sandbox.apiserver.auth import AUTHENTICATED, MASTERS
from canary_sandbox.apiserver.errors import Json

_HEALTH = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_ANYONE = (AUTHENTICATED, "system:unauthenticated")
_SELF = {"verbs": ["create"], "apiGroups": ["authorization.k8s.io", "authentication.k8s.io"]}
_REVIEWS = ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"]
_PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]
_ALL = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
_ROLES = {
    "cluster-admin": ((MASTERS,), [_ALL, {"verbs": ["*"], "nonResourceURLs": ["*"]}]),
    "system:basic-user": ((AUTHENTICATED,), [{**_SELF, "resources": _REVIEWS}]),
    "system:discovery": ((AUTHENTICATED,), [{"verbs": ["get"], "nonResourceURLs": [*_PATHS, *_HEALTH]}]),
    "system:public-info-viewer": (_ANYONE, [{"verbs": ["get"], "nonResourceURLs": _HEALTH}]),
}
"""By name: the groups that have it, and its rules."""


def _metadata(name: str) -> Json:
    return {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}


def cluster_roles() -> list[Json]:
    """The default ClusterRoles. There are no `admin`, `edit` and `view`: nobody aggregates roles here."""
    return [{"metadata": _metadata(name), "rules": rules} for name, (_, rules) in _ROLES.items()]


def cluster_role_bindings() -> list[Json]:
    """The default ClusterRoleBindings."""
    return [
        {
            "metadata": _metadata(name),
            "roleRef": {"kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "Group", "name": group} for group in groups],
        }
        for name, (groups, _) in _ROLES.items()
    ]
