"""Bodies of requests: JSON, YAML or protobuf in, documents out."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import yaml
from aiohttp import web

from canary_sandbox.apiserver import errors, protobuf
from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.patch import APPLY_PATCH

_BODY_MEDIA = ("application/json", "application/yaml", protobuf.MEDIA)
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc]  # which of the two it is depends on the machine
    """YAML as JSON has it: what looks like a date stays a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
}


class _Doubled(dict[str, Any]):
    """An object of which JSON names members twice; the last one counts."""

    names: tuple[str, ...] = ()


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    doubled = _Doubled(members)
    counts = Counter(name for name, _ in pairs)
    doubled.names = tuple(name for name, count in counts.items() if count > 1)
    return doubled


def duplicates(document: Any, at: str = "") -> list[str]:
    """The paths of members that a decoded JSON document names more than once."""
    if isinstance(document, list):
        return [path for index, item in enumerate(document) for path in duplicates(item, f"{at}[{index}]")]
    if not isinstance(document, dict):
        return []
    below = {name: f"{at}.{name}" if at else name for name in document}
    found = [below[name] for name in document.names] if isinstance(document, _Doubled) else []
    return found + [path for name, value in document.items() for path in duplicates(value, below[name])]


def decoded(raw: bytes, media: str) -> Any:
    """A document in JSON or YAML. Raises StatusError 400."""
    try:
        if media in {"application/yaml", APPLY_PATCH} and not raw.lstrip().startswith(b"{"):
            return yaml.load(raw, _Loader)  # noqa: S506  it derives from the safe one
        return json.loads(raw, object_pairs_hook=_members)
    except (ValueError, yaml.YAMLError) as error:
        raise errors.bad_request(
            f"the object provided is unrecognized: couldn't get version/kind; json parse error: {error}"
        ) from error


async def body(http: web.Request, *, optional: bool = False) -> Json:
    """The object in the body of a request; `optional`: none is an empty one. Raises StatusError 400, 415, 501."""
    raw = await http.read()
    if not raw.strip():
        if optional:
            return {}
        raise errors.bad_request("the object provided is unrecognized: the request has no body")
    media = http.headers.get("Content-Type", "application/json").partition(";")[0].strip()
    if media == protobuf.MEDIA:
        return protobuf.decode(raw)
    if media not in _BODY_MEDIA:
        raise errors.unsupported_media_type(_BODY_MEDIA)
    document = decoded(raw, media)
    if not isinstance(document, dict):
        raise errors.bad_request("the object provided is unrecognized: it is not an object")
    return document
