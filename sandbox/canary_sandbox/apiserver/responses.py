"""Answers in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from canary_sandbox.apiserver.store import encode


def json_response(document: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A document as an answer."""
    return raw_response(encode(document), code, headers)


def raw_response(body: bytes, code: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """JSON that is serialised already, as an answer."""
    return web.Response(body=body, status=code, headers={"Content-Type": "application/json", **(headers or {})})


def warning(text: str) -> str:
    """The value of a `Warning` header."""
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'
