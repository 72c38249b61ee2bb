"""What a URL asks for."""

from __future__ import annotations

from dataclasses import dataclass

_BY_METHOD = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request in the words of the API. `verb` is a lower-case HTTP method when it is not about a resource."""

    verb: str
    path: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def is_resource(self) -> bool:
        return bool(self.resource)


def parse(method: str, path: str, *, watch: bool) -> Request:
    """Take a path apart. Paths that are not about resources come back with an empty `resource`."""
    plain = Request(method.lower(), path)
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["api", version, *rest] if rest:
            group = ""
        case ["apis", group, version, *rest] if rest:
            pass
        case _:
            return plain
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (len(rest) == 3 and rest[2] in {"status", "finalize"}):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        return plain
    resource, name, subresource = (*rest, "", "")[:3]
    verb = _verb(method, named=bool(name), watch=watch)
    if not verb:
        return plain
    return Request(verb, path, group, version, resource, subresource, namespace, name)


def _verb(method: str, *, named: bool, watch: bool) -> str:
    if method in {"GET", "HEAD"}:
        if named:
            return "get"
        return "watch" if watch else "list"
    if method == "DELETE":
        return "delete" if named else "deletecollection"
    return _BY_METHOD.get(method, "")
