"""The roles that every cluster has, and the roles that are made of others."""

from __future__ import annotations

from canary_sandbox.apiserver.auth import AUTHENTICATED, MASTERS
from canary_sandbox.apiserver.builtin_rbac import CLUSTER_ROLES, GROUP
from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.selectors import label_selector
from canary_sandbox.apiserver.store import Event, Store

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_AGGREGATE = f"{GROUP}/aggregate-to-"
_HEALTH = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_WORKLOADS = ["deployments", "deployments/scale", "replicasets", "replicasets/scale"]


def _rule(groups: str, resources: str | list[str], verbs: list[str]) -> Json:
    names = resources.split() if isinstance(resources, str) else resources
    return {"apiGroups": [groups], "resources": names, "verbs": verbs}


def _role(name: str, rules: list[Json], **labels: str) -> Json:
    bootstrap = {"kubernetes.io/bootstrapping": "rbac-defaults", **labels}
    return {"metadata": {"name": name, "labels": bootstrap}, "rules": rules}


def _aggregate(name: str, target: str, **labels: str) -> Json:
    selectors = [{"matchLabels": {f"{_AGGREGATE}{target}": "true"}}]
    return {**_role(name, [], **labels), "aggregationRule": {"clusterRoleSelectors": selectors}}


def cluster_roles() -> list[Json]:
    """The default ClusterRoles, as far as their resources exist here."""
    return [
        _role("cluster-admin", [_rule("*", "*", ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}]),
        _aggregate("admin", "admin"),
        _aggregate("edit", "edit", **{f"{_AGGREGATE}admin": "true"}),
        _aggregate("view", "view", **{f"{_AGGREGATE}edit": "true"}),
        _role(
            "system:aggregate-to-admin",
            [
                _rule("authorization.k8s.io", "localsubjectaccessreviews", ["create"]),
                _rule(GROUP, "rolebindings roles", [*_WRITE, *_READ]),
            ],
            **{f"{_AGGREGATE}admin": "true"},
        ),
        _role(
            "system:aggregate-to-edit",
            [
                _rule("", "secrets", _READ),
                _rule("", "serviceaccounts", ["impersonate"]),
                _rule("", "pods", _WRITE),
                _rule("", "configmaps events secrets serviceaccounts", _WRITE),
                _rule("", "services endpoints", _WRITE),
                _rule("", "serviceaccounts/token", ["create"]),
                _rule("apps", _WORKLOADS, _WRITE),
                _rule("coordination.k8s.io", "leases", [*_WRITE, *_READ]),
                _rule("policy", "poddisruptionbudgets", _WRITE),
                _rule("networking.k8s.io", "networkpolicies", _WRITE),
            ],
            **{f"{_AGGREGATE}edit": "true"},
        ),
        _role(
            "system:aggregate-to-view",
            [
                _rule("", "configmaps endpoints pods serviceaccounts services services/status", _READ),
                _rule("", "events namespaces namespaces/status pods/status", _READ),
                _rule("discovery.k8s.io", "endpointslices", _READ),
                _rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", _READ),
                _rule("networking.k8s.io", "networkpolicies", _READ),
                _rule("apps", [*_WORKLOADS, "deployments/status", "replicasets/status"], _READ),
            ],
            **{f"{_AGGREGATE}view": "true"},
        ),
        _role(
            "system:basic-user",
            [
                _rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ["create"]),
                _rule("authentication.k8s.io", "selfsubjectreviews", ["create"]),
            ],
        ),
        _role(
            "system:discovery",
            [
                {
                    "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH],
                    "verbs": ["get"],
                }
            ],
        ),
        _role("system:public-info-viewer", [{"nonResourceURLs": _HEALTH, "verbs": ["get"]}]),
    ]


def cluster_role_bindings() -> list[Json]:
    """The default ClusterRoleBindings."""
    anyone = (AUTHENTICATED, "system:unauthenticated")
    bound = {
        "cluster-admin": (MASTERS,),
        "system:basic-user": (AUTHENTICATED,),
        "system:discovery": (AUTHENTICATED,),
        "system:public-info-viewer": anyone,
    }
    return [
        {
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "roleRef": {"kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "Group", "name": group} for group in groups],
        }
        for name, groups in bound.items()
    ]


class Aggregation:
    """Keeps the rules of aggregated ClusterRoles the union of those that their selectors choose."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.subscribe(CLUSTER_ROLES, self._on_change)

    def _on_change(self, event: Event) -> None:  # noqa: ARG002  whatever changed, the roles in store decide
        for stored in self._store.list(CLUSTER_ROLES):
            rule = stored.doc.get("aggregationRule")
            if rule is None:
                continue
            rules = self._union(rule, stored.metadata["name"])
            if rules != (stored.doc.get("rules") or []):
                # Each write brings us here again, until nothing changes.
                self._store.put(CLUSTER_ROLES, {**stored.doc, "rules": rules})
                return

    def _union(self, aggregation: Json, own_name: str) -> list[Json]:
        chosen = [label_selector(selector) for selector in aggregation["clusterRoleSelectors"]]
        rules: list[Json] = []
        for stored in self._store.list(CLUSTER_ROLES):
            if stored.metadata["name"] != own_name and any(matches(stored.doc) for matches in chosen):
                rules += [rule for rule in stored.doc.get("rules") or () if rule not in rules]
        return rules
