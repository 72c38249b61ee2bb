"""Where a database is, as a source has it: written out, with nothing filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from canary.errors import RenderError
from canary.model.values import Duration


def base(address: str, field: str) -> str:
    """A base URL without the slash at its end. Raises RenderError: it takes variables, which choose whom the controller asks."""
    if "{" in address or "}" in address:
        words = "scheme, host, port and path may not contain variables: whom the controller asks is written out"
        raise RenderError(f"address: {words}", field=field)
    return address.rstrip("/")


def window_of(variables: Mapping[str, Any]) -> float:
    """The window of a check in seconds, a second at least."""
    return max(1.0, Duration.parse(str(variables["window"])).seconds)
