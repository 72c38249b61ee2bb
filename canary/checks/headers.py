"""Which headers of a request are anybody's to set. Pure."""

from __future__ import annotations

import re

from canary.model.auth import HEADER_PATTERN

_NAME = re.compile(HEADER_PATTERN)
_VALUE = re.compile(r"[ -~\t]*")
_OURS = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "accept-encoding"})
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})


def is_header(name: str) -> bool:
    """Whether a header may be called so."""
    return _NAME.fullmatch(name) is not None


def refused_header(name: str) -> str:
    """Why nobody may set a header; empty: one may."""
    if not is_header(name):
        return f"{name!r} is no name of a header"
    return f"{name} belongs to the connection and cannot be set" if name.lower() in _OURS else ""


def belongs_in_a_secret(name: str) -> bool:
    """Whether the value of a header is nothing that everybody may read who may read a Rollout."""
    return name.lower() in _SECRET


def may_be_a_value(text: str) -> bool:
    """Whether a header may have such a value: ASCII on one line."""
    return _VALUE.fullmatch(text) is not None
