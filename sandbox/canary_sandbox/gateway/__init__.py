"""A small, honest implementation of the Gateway API on a real Envoy: the pure part is `translate`, the rest is I/O."""

from __future__ import annotations

from canary_sandbox.gateway.attach import CONTROLLER_NAME
from canary_sandbox.gateway.controller import EnvoyGateway, accept_all
from canary_sandbox.gateway.lies import LIES_ANNOTATION, Lie
from canary_sandbox.gateway.objects import Backend, Objects
from canary_sandbox.gateway.translate import FEATURES, EnvoyConfig, translate

__all__ = [
    "CONTROLLER_NAME",
    "FEATURES",
    "LIES_ANNOTATION",
    "Backend",
    "EnvoyConfig",
    "EnvoyGateway",
    "Lie",
    "Objects",
    "accept_all",
    "translate",
]
