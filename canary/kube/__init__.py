"""The API server: raw objects in, raw objects out, and errors as the tree of `canary.errors`.

Importing this package is cheap (no `kubernetes`, no `aiohttp`); `KubeClient.connect` brings them in.
"""

from __future__ import annotations

from canary.kube.client import KubeClient
from canary.kube.port import Kube
from canary.kube.reflector import WatchEvent
from canary.kube.resources import (
    CHECKTEMPLATES,
    CLUSTERCHECKTEMPLATES,
    CRDS,
    DEPLOYMENTS,
    ENDPOINTSLICES,
    EVENTS,
    GATEWAYCLASSES,
    GATEWAYS,
    GRPCROUTES,
    HPAS,
    HTTPROUTES,
    JOBS,
    LEASES,
    LISTENERSETS,
    NAMESPACES,
    PODS,
    REFERENCEGRANTS,
    ROLLOUTS,
    ROUTES,
    SCALEDOBJECTS,
    SECRETS,
    SELF,
    SELF_REVIEWS,
    SERVICEACCOUNTS,
    SERVICES,
    TCPROUTES,
    TLSROUTES,
    UDPROUTES,
    Resource,
)

__all__ = [
    "CHECKTEMPLATES",
    "CLUSTERCHECKTEMPLATES",
    "CRDS",
    "DEPLOYMENTS",
    "ENDPOINTSLICES",
    "EVENTS",
    "GATEWAYCLASSES",
    "GATEWAYS",
    "GRPCROUTES",
    "HPAS",
    "HTTPROUTES",
    "JOBS",
    "LEASES",
    "LISTENERSETS",
    "NAMESPACES",
    "PODS",
    "REFERENCEGRANTS",
    "ROLLOUTS",
    "ROUTES",
    "SCALEDOBJECTS",
    "SECRETS",
    "SELF",
    "SELF_REVIEWS",
    "SERVICEACCOUNTS",
    "SERVICES",
    "TCPROUTES",
    "TLSROUTES",
    "UDPROUTES",
    "Kube",
    "KubeClient",
    "Resource",
    "WatchEvent",
]
