"""One rule of an HTTPRoute → Envoy routes: matches, backends with weights, filters, and who goes first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from canary_sandbox.gateway.objects import Backend, Json, Objects, Unresolved, resolve

SUPPORTED_RULE_FIELDS = frozenset({"name", "matches", "filters", "backendRefs", "timeouts"})
SUPPORTED_FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"})
SUPPORTED_BACKEND_FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier"})
UNRESOLVED_CLUSTER = "unresolved"
"""A cluster that is never defined: with `cluster_not_found_response_code` its share of requests gets a 500."""
MILLION = 1_000_000


class UnsupportedError(Exception):
    """A value that this gateway does not serve; becomes Accepted=False, reason UnsupportedValue."""


@dataclass(frozen=True, slots=True)
class EnvoyRoute:
    """One Envoy route. A smaller `precedence` is tried first; `place` (rule, match) breaks ties within one HTTPRoute."""

    precedence: tuple[int, ...]
    place: tuple[int, int]
    body: Json


@dataclass(slots=True)
class CompiledRule:
    """What became of a rule. `unsupported` set: its matches answer 500, because ignoring a filter would be a lie."""

    routes: list[EnvoyRoute] = field(default_factory=list)
    backends: set[Backend] = field(default_factory=set)
    unresolved: list[Unresolved] = field(default_factory=list)
    unsupported: str = ""


def compile_rule(objects: Objects, route: Json, index: int, features: frozenset[str]) -> CompiledRule:
    """Compile rule `index` of `route`; `features` are the names the GatewayClass promises."""
    rule: Json = route["spec"]["rules"][index]
    compiled = CompiledRule()
    try:
        _refuse_unknown_fields(rule, index)
        action = _action(objects, route, rule, compiled, features)
    except UnsupportedError as error:
        compiled.unsupported = str(error)
        action = answer(500)
    for match_index, match in enumerate(rule.get("matches") or [{}]):
        try:
            body = {"match": _match(match), **action}
            compiled.routes.append(EnvoyRoute(_precedence(match), (index, match_index), body))
        except UnsupportedError as error:
            compiled.unsupported = f"rules[{index}].matches[{match_index}]: {error}"
    return compiled


def answer(status: int) -> Json:
    """An Envoy action that answers with a status and no body."""
    return {"direct_response": {"status": status}}


def _refuse_unknown_fields(rule: Json, index: int) -> None:
    if unknown := sorted(set(rule) - SUPPORTED_RULE_FIELDS):
        raise UnsupportedError(f"rules[{index}]: {', '.join(unknown)} not supported by this gateway")
    if unknown := sorted(set(rule.get("timeouts") or {}) - {"request"}):
        raise UnsupportedError(f"rules[{index}].timeouts: {', '.join(unknown)} not supported by this gateway")


# --- matches ---------------------------------------------------------------------------------------------------------


def _match(match: Json) -> Json:
    path = match.get("path") or {}
    kind, value = path.get("type") or "PathPrefix", path.get("value") or "/"
    body: Json
    match kind:
        case "Exact":
            body = {"path": value}
        case "PathPrefix":
            # By path elements: /foo matches /foo and /foo/bar, never /foobar.
            trimmed = value.rstrip("/")
            body = {"path_separated_prefix": trimmed} if trimmed else {"prefix": "/"}
        case "RegularExpression":
            body = {"safe_regex": {"regex": value}}
        case _:
            raise UnsupportedError(f"path match type {kind} not supported")
    headers = [
        {"name": header["name"], "string_match": _string_match(header, "header")}
        for header in match.get("headers") or []
    ]
    if method := match.get("method"):
        headers.append({"name": ":method", "string_match": {"exact": method}})
    if headers:
        body["headers"] = headers
    if params := match.get("queryParams"):
        body["query_parameters"] = [
            {"name": param["name"], "string_match": _string_match(param, "query parameter")} for param in params
        ]
    return body


def _string_match(match: Json, what: str) -> Json:
    match match.get("type") or "Exact":
        case "Exact":
            return {"exact": match["value"]}
        case "RegularExpression":
            return {"safe_regex": {"regex": match["value"]}}
        case kind:
            raise UnsupportedError(f"{what} match type {kind} not supported")


def _precedence(match: Json) -> tuple[int, ...]:
    """The Gateway API's order: exact paths, (regular expressions), longest prefix, method, headers, query parameters."""
    path = match.get("path") or {}
    kind, value = path.get("type") or "PathPrefix", path.get("value") or "/"
    rank = {"Exact": 0, "RegularExpression": 1}.get(kind, 2)
    return (
        rank,
        -len(value) if rank else 0,
        0 if match.get("method") else 1,
        -len(match.get("headers") or []),
        -len(match.get("queryParams") or []),
    )


# --- actions ---------------------------------------------------------------------------------------------------------


def _action(objects: Objects, route: Json, rule: Json, compiled: CompiledRule, features: frozenset[str]) -> Json:
    outer: Json = {}
    mirrors: list[Json] = []
    for item in rule.get("filters") or []:
        kind = item.get("type")
        if kind not in SUPPORTED_FILTERS:
            raise UnsupportedError(f"filter {kind} not supported by this gateway")
        if kind == "RequestMirror":
            mirrors += _mirror(objects, route, item["requestMirror"], compiled, features)
        else:
            _merge_headers(outer, item)
    clusters = list(_weighted(objects, route, rule, compiled))
    if not sum(cluster["weight"] for cluster in clusters):
        return {**answer(500), **outer}
    action: Json = {
        "weighted_clusters": {"clusters": clusters},
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
        "timeout": _seconds((rule.get("timeouts") or {}).get("request") or "0s"),
    }
    if mirrors:
        action["request_mirror_policies"] = mirrors
    return {"route": action, **outer}


def _weighted(objects: Objects, route: Json, rule: Json, compiled: CompiledRule) -> Iterator[Json]:
    for ref in rule.get("backendRefs") or []:
        backend = resolve(objects, route, ref)
        weight = 1 if ref.get("weight") is None else int(ref["weight"])
        entry: Json = {"name": UNRESOLVED_CLUSTER, "weight": weight}
        if isinstance(backend, Unresolved):
            compiled.unresolved.append(backend)
        else:
            compiled.backends.add(backend)
            entry["name"] = backend.cluster
        for item in ref.get("filters") or []:
            if item.get("type") not in SUPPORTED_BACKEND_FILTERS:
                raise UnsupportedError(f"filter {item.get('type')} on a backendRef not supported by this gateway")
            _merge_headers(entry, item)
        yield entry


def _mirror(
    objects: Objects, route: Json, mirror: Json, compiled: CompiledRule, features: frozenset[str]
) -> Iterator[Json]:
    if "HTTPRouteRequestMirror" not in features:
        raise UnsupportedError("filter RequestMirror not supported by this gateway")
    share = _share(mirror)
    if share is not None and "HTTPRouteRequestPercentageMirror" not in features:
        raise UnsupportedError("RequestMirror with percent or fraction not supported by this gateway")
    backend = resolve(objects, route, mirror["backendRef"])
    if isinstance(backend, Unresolved):
        # The API: a mirror that leads nowhere is left out and reported; users' requests go on.
        compiled.unresolved.append(backend)
        return
    compiled.backends.add(backend)
    parts = MILLION if share is None else share
    yield {
        "cluster": backend.cluster,
        "runtime_fraction": {"default_value": {"numerator": parts, "denominator": "MILLION"}},
        # The canary must see the host that users asked for, not one with "-shadow" appended.
        "disable_shadow_host_suffix_append": True,
    }


def _share(mirror: Json) -> int | None:
    """The mirrored share in millionths, None when the filter does not say (which means all)."""
    percent, fraction = mirror.get("percent"), mirror.get("fraction")
    if percent is not None and fraction is not None:
        raise UnsupportedError("RequestMirror with both percent and fraction")
    if percent is not None:
        return int(percent) * MILLION // 100
    if fraction is not None:
        numerator, denominator = int(fraction["numerator"]), int(fraction.get("denominator") or 100)
        if denominator <= 0 or not 0 <= numerator <= denominator:
            raise UnsupportedError(f"RequestMirror fraction {numerator}/{denominator} is not between 0 and 1")
        return round(numerator * MILLION / denominator)
    return None


def _merge_headers(target: Json, item: Json) -> None:
    """Add a header filter to an Envoy route or weighted cluster; both use the same field names."""
    side = "request" if item["type"] == "RequestHeaderModifier" else "response"
    modifier: Json = item.get(f"{side}HeaderModifier") or {}
    names = [header["name"] for verb in ("set", "add") for header in modifier.get(verb) or []]
    if any(name.lower() == "host" for name in (*names, *(modifier.get("remove") or []))):
        raise UnsupportedError("changing the Host header is not supported by this gateway")
    to_add = target.setdefault(f"{side}_headers_to_add", [])
    for verb, append in (("set", "OVERWRITE_IF_EXISTS_OR_ADD"), ("add", "APPEND_IF_EXISTS_OR_ADD")):
        to_add += [
            # Envoy expands %...% in header values; a literal percent sign is doubled.
            {"header": {"key": header["name"], "value": header["value"].replace("%", "%%")}, "append_action": append}
            for header in modifier.get(verb) or []
        ]
    if removed := modifier.get("remove"):
        target.setdefault(f"{side}_headers_to_remove", []).extend(removed)


def _seconds(duration: str) -> str:
    """A Gateway API duration (`1m30s`, `500ms`) in Envoy's form, seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    total, number, rest = 0.0, "", duration
    while rest:
        if rest[0].isdigit():
            number, rest = number + rest[0], rest[1:]
            continue
        unit = "ms" if rest.startswith("ms") else rest[0]
        if unit not in units or not number:
            raise UnsupportedError(f"duration {duration!r} cannot be read")
        total, number, rest = total + int(number) * units[unit], "", rest[len(unit) :]
    if number:
        raise UnsupportedError(f"duration {duration!r} has no unit")
    return f"{total:g}s"
