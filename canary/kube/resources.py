"""The resources that canary reads or writes, and the paths under which the API server serves them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of one version. `group` is empty for the core group; `plural` is the word in paths."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def definition(self) -> str:
        """The name of the CustomResourceDefinition that defines it, if one does."""
        return f"{self.plural}.{self.group}"

    @property
    def api_version(self) -> str:
        """What objects of this resource carry in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path. Without `namespace`, a namespaced resource gives its all-namespaces collection.

        Raises ValueError when one object of a namespaced resource is asked for without its namespace: falling back
        to some default here would one day write into the wrong one.
        """
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced:
            if namespace:
                parts += ["namespaces", namespace]
            elif name is not None:
                raise ValueError(f"{self.plural} are namespaced: say in which namespace {name!r} is")
        parts.append(self.plural)
        if name is not None:
            if not name:
                raise ValueError(f"an empty name is no name of {self.plural}")
            parts.append(name)
            if subresource:
                parts.append(subresource)
        return "/" + "/".join(quote(part, safe="") for part in parts)


_GATEWAY_API = "gateway.networking.k8s.io"

ROLLOUTS = Resource("canary.dev", "v1alpha1", "rollouts", "Rollout")
CHECKTEMPLATES = Resource("canary.dev", "v1alpha1", "checktemplates", "CheckTemplate")
CLUSTERCHECKTEMPLATES = Resource(
    "canary.dev", "v1alpha1", "clusterchecktemplates", "ClusterCheckTemplate", namespaced=False
)
NOTIFICATIONTARGETS = Resource("canary.dev", "v1alpha1", "notificationtargets", "NotificationTarget")
CLUSTERNOTIFICATIONTARGETS = Resource(
    "canary.dev", "v1alpha1", "clusternotificationtargets", "ClusterNotificationTarget", namespaced=False
)

HTTPROUTES = Resource(_GATEWAY_API, "v1", "httproutes", "HTTPRoute")
GRPCROUTES = Resource(_GATEWAY_API, "v1", "grpcroutes", "GRPCRoute")
TLSROUTES = Resource(_GATEWAY_API, "v1", "tlsroutes", "TLSRoute")
TCPROUTES = Resource(_GATEWAY_API, "v1", "tcproutes", "TCPRoute")
UDPROUTES = Resource(_GATEWAY_API, "v1", "udproutes", "UDPRoute")
ROUTES: dict[str, Resource] = {route.kind: route for route in (HTTPROUTES, GRPCROUTES, TLSROUTES, TCPROUTES, UDPROUTES)}
"""Every kind of route that a Rollout may name, by kind, in the version of the newest release. Older clusters serve others:
`Kube.discover` finds which."""
GATEWAYS = Resource(_GATEWAY_API, "v1", "gateways", "Gateway")
LISTENERSETS = Resource(_GATEWAY_API, "v1", "listenersets", "ListenerSet")
GATEWAYCLASSES = Resource(_GATEWAY_API, "v1", "gatewayclasses", "GatewayClass", namespaced=False)
REFERENCEGRANTS = Resource(_GATEWAY_API, "v1beta1", "referencegrants", "ReferenceGrant")

SERVICES = Resource("", "v1", "services", "Service")
SECRETS = Resource("", "v1", "secrets", "Secret")
PODS = Resource("", "v1", "pods", "Pod")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
EVENTS = Resource("", "v1", "events", "Event")
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
JOBS = Resource("batch", "v1", "jobs", "Job")
SELF_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
SELF = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
STATEFULSETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
DAEMONSETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
WORKLOADS: dict[str, Resource] = {workload.kind: workload for workload in (DEPLOYMENTS, STATEFULSETS, DAEMONSETS)}
"""Every kind of workload that can be written, by kind."""
REPLICASETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
CONTROLLERREVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
HISTORIES: dict[str, Resource] = {
    DEPLOYMENTS.kind: REPLICASETS,
    STATEFULSETS.kind: CONTROLLERREVISIONS,
    DAEMONSETS.kind: CONTROLLERREVISIONS,
}
"""What keeps the pod templates that a workload had before, by its kind."""
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
SCALEDOBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects", "ScaledObject")
ENDPOINTSLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
