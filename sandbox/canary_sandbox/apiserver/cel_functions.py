"""Functions that Kubernetes adds to CEL and the evaluating library does not bring by itself."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from cel import stdlib


def _is_ip(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def _is_cidr(text: str) -> bool:
    try:
        return "/" in text and bool(ipaddress.ip_network(text, strict=False))
    except ValueError:
        return False


def _is_url(text: str) -> bool:
    """Absolute, or an absolute path, as Go's url.ParseRequestURI has it."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return not re.search(r"\s", text) and (text.startswith("/") or bool(parts.scheme and (parts.netloc or parts.path)))


_QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?\d+)?")


def _index_of(subject: Any, wanted: Any, *start: int) -> int:
    if isinstance(subject, str):
        return subject.find(wanted, *start)
    return subject.index(wanted) if wanted in subject else -1


def _last_index_of(subject: Any, wanted: Any) -> int:
    if isinstance(subject, str):
        return subject.rfind(wanted)
    return max((index for index, item in enumerate(subject) if item == wanted), default=-1)


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found.group() if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match.group() for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: stdlib.STDLIB_FUNCTIONS[name]
    for name in (
        "charAt",
        "substring",
        "replace",
        "split",
        "join",
        "lowerAscii",
        "upperAscii",
        "trim",
        "reverse",
        "sets.contains",
        "sets.equivalent",
        "sets.intersects",
    )
} | {
    "find": _find,
    "findAll": _find_all,
    "indexOf": _index_of,
    "isCIDR": _is_cidr,
    "isIP": _is_ip,
    "isQuantity": lambda text: bool(_QUANTITY.fullmatch(text)),
    "isSorted": lambda items: all(a <= b for a, b in itertools.pairwise(items)),
    "isURL": _is_url,
    "lastIndexOf": _last_index_of,
    "max": max,
    "min": min,
    "sum": sum,
}

NATIVE = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string", "bytes", "bool", "dyn"}
    | {"type", "timestamp", "duration", "has", "hasValue", "value", "orValue", "optional.of", "optional.none"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds", "getFullYear", "getMonth", "getDate"}
    | {"getDayOfMonth", "getDayOfWeek", "getDayOfYear"}
)
"""Functions that the library evaluates by itself."""

KUBERNETES_ONLY = frozenset(
    {"quantity", "ip", "cidr", "url", "format", "named", "validate", "semver", "isSemver", "ip.isCanonical"}
    | {"isGreaterThan", "isLessThan", "compareTo", "asApproximateFloat", "asInteger", "add", "sub", "sign", "family"}
    | {"getHost", "getHostname", "getScheme", "getPort", "getEscapedPath", "getQuery", "containsIP", "containsCIDR"}
    | {"isUnspecified", "isLoopback", "isGlobalUnicast", "isLinkLocalUnicast", "isLinkLocalMulticast", "masked"}
    | {"prefixLength", "strings.quote", "orValue", "optMap", "optFlatMap", "cel.bind", "bind"}
)
"""Functions of a real server that are not evaluated here: such a rule is a limitation, not an error."""
