"""Routes to read and to edit."""

from __future__ import annotations

from typing import Any

from canary.routes.pair import Backend

Json = dict[str, Any]

STABLE = Backend("s", "team", 80)
CANARY = Backend("c", "team", 80)


def ref(name: str, weight: int | None = None, port: int = 80, **more: Any) -> Json:
    """A backendRef; without a weight the field is absent."""
    document = {"name": name, "port": port, **more}
    return document if weight is None else {**document, "weight": weight}


def rule(*refs: Json, name: str | None = None, **more: Any) -> Json:
    return {**({"name": name} if name else {}), "backendRefs": list(refs), **more}


def route(*rules: Json, **metadata: Any) -> Json:
    return {
        "metadata": {"name": "shop", "namespace": "team", "generation": 3, "resourceVersion": "41", **metadata},
        "spec": {"parentRefs": [{"name": "gw"}], "rules": list(rules)},
    }
