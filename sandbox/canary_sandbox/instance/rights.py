"""The controller's rights: those that deploy/ declares, bound to the service account that it declares."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from canary.errors import SandboxError

Json = dict[str, Any]

NAMESPACE = "canary-system"
ACCOUNT = "canary-controller"
FILES = (
    "base/namespace.yaml",
    "base/serviceaccount.yaml",
    "base/lease.yaml",
    "base/team-roles.yaml",
    "overlays/cluster-wide/roles.yaml",
    "overlays/cluster-wide/bindings.yaml",
)
"""Of deploy/kustomize: everything but the controller's pod, which the supervisor stands in for."""

_FOLDER = Path(__file__).resolve().parent / "kustomize"
"""A link to that folder in a checkout; the files in a wheel."""


def documents() -> list[Json]:
    """What an administrator would apply, namespaces set as kustomize sets them. Raises SandboxError: not shipped."""
    try:
        return list(_read(_FOLDER))
    except FileNotFoundError as error:
        raise SandboxError(f"this installation lacks {error.filename}; install canary-sandbox again") from error


def _read(folder: Path) -> Iterator[Json]:
    for name in FILES:
        for document in yaml.safe_load_all((folder / name).read_text()):
            if document["kind"] in {"ServiceAccount", "Role", "RoleBinding"}:
                document["metadata"]["namespace"] = NAMESPACE
            yield json.loads(json.dumps(document))
