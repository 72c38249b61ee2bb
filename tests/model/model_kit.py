"""A Rollout that is valid, and what can be changed about it."""

from __future__ import annotations

from typing import Any

SPEC: dict[str, Any] = {
    "routes": [{"name": "shop"}],
    "stable": {"service": "s", "port": 80},
    "canary": {"service": "c", "port": 80},
    "workloads": {"stable": {"name": "s"}, "canary": {"name": "c"}},
    "steps": [{"weight": 10, "hold": "5m"}, {"weight": "0.5%"}, {"approval": {}}],
    "checks": [
        {"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}},
        {"template": {"name": "latency"}, "args": {"limit": "300ms"}},
    ],
}


def changed(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The document with some fields replaced; None drops one."""
    return {key: value for key, value in {**document, **changes}.items() if value is not None}
