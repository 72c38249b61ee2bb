"""Percent-encoding of values that are put into a URL or a form (RFC 3986). Pure."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable

_UNRESERVED = frozenset(f"{string.ascii_letters}{string.digits}-._~".encode())
_DOTS = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)


def encoded(text: str) -> str:
    """The text as a part of one segment or of one parameter: all that could mean something else is encoded."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))


def form(fields: Iterable[tuple[str, str]]) -> str:
    """Fields as application/x-www-form-urlencoded."""
    return "&".join(f"{encoded(name)}={encoded(value)}" for name, value in fields)


def leads_elsewhere(path: str) -> bool:
    """Whether a segment of a path is `.` or `..`, in any spelling."""
    return any(_DOTS.fullmatch(segment) for segment in path.split("/"))
