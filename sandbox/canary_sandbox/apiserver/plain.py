"""What is not about resources: health, version, discovery, OpenAPI."""

from __future__ import annotations

from aiohttp import web

from canary_sandbox.apiserver import discovery, errors, openapi
from canary_sandbox.apiserver.errors import Json
from canary_sandbox.apiserver.resources import Registry
from canary_sandbox.apiserver.responses import json_response

_PATHS = ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]


def plain(http: web.Request, path: str, registry: Registry) -> web.Response:
    """The answer to a request for `path`. Raises StatusError 404."""
    if http.method not in {"GET", "HEAD"}:
        raise errors.no_such_path()
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] in {"healthz", "readyz", "livez"}:
        return web.Response(text="ok")
    if parts in (["api"], ["apis"]) and (
        version := discovery.wants_aggregated(",".join(http.headers.getall("Accept", ())))
    ):
        media = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        found = discovery.aggregated(registry, core=parts == ["api"], version=version)
        return json_response(found, headers={"Content-Type": media, "Vary": "Accept"})
    document = _openapi(registry, parts[2:], http.path.removesuffix(path)) if parts[:2] == ["openapi", "v3"] else (
        _discovery(registry, parts, http.host)
    )  # fmt: skip
    return unknown_path() if document is None else json_response(document)


def unknown_path() -> web.Response:
    """What a server says that has never heard of a path: no Status, only text."""
    return web.Response(status=404, text="404 page not found\n")


def _discovery(registry: Registry, parts: list[str], host: str) -> Json | None:
    match parts:
        case []:
            return {"paths": _PATHS}
        case ["version"]:
            return discovery.VERSION
        case ["api"]:
            return discovery.core_versions(host)
        case ["api", version]:
            return discovery.resource_list(registry, "", version)
        case ["apis"]:
            return discovery.group_list(registry)
        case ["apis", group]:
            return discovery.group(registry, group)
        case ["apis", group, version]:
            return discovery.resource_list(registry, group, version)
    return None


def _openapi(registry: Registry, parts: list[str], prefix: str) -> Json | None:
    match parts:
        case []:
            return openapi.index(registry, prefix)
        case ["api", version]:
            return openapi.document(registry, "", version)
        case ["apis", group, version]:
            return openapi.document(registry, group, version)
    return None
