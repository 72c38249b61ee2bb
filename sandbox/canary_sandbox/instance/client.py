"""Asking a supervisor that is up."""

from __future__ import annotations

from typing import Any

import httpx

from canary.errors import SandboxError
from canary_sandbox.instance.folder import Folder

Json = dict[str, Any]


class NotUpError(SandboxError):
    """No sandbox is up in that folder, or none that answers."""


def not_up(folder: Folder) -> NotUpError:
    """The sentence for it."""
    return NotUpError(f"no sandbox is up in {folder.path}; start one with `canary sandbox up{folder.flag}`")


def ask(folder: Folder, method: str, path: str, *, timeout: float = 15, **more: Any) -> Json:
    """What the supervisor answers. Raises NotUpError, and SandboxError with its words when it refuses."""
    owner = folder.owner()
    if owner is None:
        raise not_up(folder)
    said = folder.reported(owner.pid) or {}
    control = said.get("control")
    if not control:
        phase = "on its way down" if said.get("phase") == "stopping" else "still starting"
        raise NotUpError(f"the sandbox in {folder.path} is {phase}; try again in a moment")
    try:
        # No proxy of the environment: this is our own machine.
        with httpx.Client(base_url=control["url"], timeout=timeout, trust_env=False) as http:
            headers = {"Authorization": f"Bearer {control['token']}"}
            response = http.request(method, path, headers=headers, **more)
        answer: Json = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise NotUpError(
            f"the sandbox in {folder.path} (process {owner.pid}) does not answer: {type(error).__name__}; "
            f"`canary sandbox down{folder.flag}` ends it"
        ) from error
    if response.is_error:
        raise SandboxError(str(answer.get("error") or answer))
    return answer
