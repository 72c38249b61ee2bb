"""One rule of a route → what Envoy shall do: backends with weights and filters; for HTTP and gRPC its matches too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from canary_sandbox.gateway.lies import Lie
from canary_sandbox.gateway.matches import UnsupportedError, grpc_match, grpc_precedence, http_match, http_precedence
from canary_sandbox.gateway.objects import Backend, Json, Objects, Unresolved, resolve

SUPPORTED_RULE_FIELDS = {
    "HTTPRoute": frozenset({"name", "matches", "filters", "backendRefs", "timeouts"}),
    "GRPCRoute": frozenset({"name", "matches", "filters", "backendRefs"}),
    "TCPRoute": frozenset({"name", "backendRefs"}),
    "TLSRoute": frozenset({"name", "backendRefs"}),
    "UDPRoute": frozenset({"name", "backendRefs"}),
}
SUPPORTED_FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"})
SUPPORTED_BACKEND_FILTERS = frozenset({"RequestHeaderModifier", "ResponseHeaderModifier"})
UNRESOLVED_CLUSTER = "unresolved"
"""A cluster that is never defined: with `cluster_not_found_response_code` its share of requests gets a 500.

Its share of connections is closed at once, and that of datagrams is dropped.
"""
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Scope:
    """A route and all that its rules are compiled by. `features` are the names that the GatewayClass promises."""

    objects: Objects
    kind: str
    route: Json
    features: frozenset[str]
    lies: frozenset[Lie] = frozenset()

    @property
    def nowhere(self) -> tuple[int, str]:
        """What requests get that no backend can serve, as a status and its Envoy name: an error in HTTP, UNAVAILABLE in gRPC."""
        return (503, "SERVICE_UNAVAILABLE") if self.kind == "GRPCRoute" else (500, "INTERNAL_SERVER_ERROR")


@dataclass(frozen=True, slots=True)
class EnvoyRoute:
    """One Envoy route. A smaller `precedence` is tried first; `place` (rule, match) breaks ties within one route."""

    precedence: tuple[int, ...]
    place: tuple[int, int]
    body: Json


@dataclass(slots=True)
class CompiledRule:
    """What became of a rule. `unsupported` set: its matches answer 500, because ignoring a filter would be a lie.

    `routes` are for HTTP and gRPC, `shares` (cluster, weight above 0) for routes of connections.
    """

    routes: list[EnvoyRoute] = field(default_factory=list)
    shares: tuple[tuple[str, int], ...] = ()
    backends: set[Backend] = field(default_factory=set)
    unresolved: list[Unresolved] = field(default_factory=list)
    unsupported: str = ""


def compile_rule(scope: Scope, index: int) -> CompiledRule:
    """Compile rule `index` of an HTTPRoute or a GRPCRoute."""
    rule: Json = scope.route["spec"]["rules"][index]
    compiled = CompiledRule()
    try:
        _refuse_unknown_fields(scope.kind, rule, index)
        action = _action(scope, rule, compiled)
    except UnsupportedError as error:
        compiled.unsupported = str(error)
        action = answer(500)
    grpc = scope.kind == "GRPCRoute"
    for match_index, match in enumerate(rule.get("matches") or [{}]):
        try:
            body = {"match": grpc_match(match) if grpc else http_match(match), **action}
            precedence = grpc_precedence(match) if grpc else http_precedence(match)
            compiled.routes.append(EnvoyRoute(precedence, (index, match_index), body))
        except UnsupportedError as error:
            compiled.unsupported = f"rules[{index}].matches[{match_index}]: {error}"
    return compiled


def compile_shares(scope: Scope, index: int) -> CompiledRule:
    """Compile rule `index` of a TCPRoute, TLSRoute or UDPRoute: who gets which share of the connections."""
    rule: Json = scope.route["spec"]["rules"][index]
    compiled = CompiledRule()
    try:
        _refuse_unknown_fields(scope.kind, rule, index)
        clusters = list(_weighted(scope, rule, compiled))
    except UnsupportedError as error:
        compiled.unsupported, clusters = str(error), []
    compiled.shares = tuple((cluster["name"], cluster["weight"]) for cluster in clusters if cluster["weight"])
    return compiled


def answer(status: int) -> Json:
    """An Envoy action that answers with a status and no body."""
    return {"direct_response": {"status": status}}


def _refuse_unknown_fields(kind: str, rule: Json, index: int) -> None:
    if unknown := sorted(set(rule) - SUPPORTED_RULE_FIELDS[kind]):
        raise UnsupportedError(f"rules[{index}]: {', '.join(unknown)} not supported by this gateway")
    if unknown := sorted(set(rule.get("timeouts") or {}) - {"request"}):
        raise UnsupportedError(f"rules[{index}].timeouts: {', '.join(unknown)} not supported by this gateway")


# --- actions ---------------------------------------------------------------------------------------------------------


def _action(scope: Scope, rule: Json, compiled: CompiledRule) -> Json:
    outer: Json = {}
    mirrors: list[Json] = []
    filters: list[Json] = rule.get("filters") or []
    for item in filters:
        kind = item.get("type")
        if kind not in SUPPORTED_FILTERS:
            raise UnsupportedError(f"filter {kind} not supported by this gateway")
        if kind == "RequestMirror":
            mirrors += _mirror(scope, item["requestMirror"], compiled)
        else:
            _merge_headers(outer, item)
    wanted = sum(item["type"] == "RequestMirror" for item in filters)
    if wanted > 1 and "HTTPRouteRequestMultipleMirrors" not in scope.features:
        raise UnsupportedError("more than one RequestMirror not supported by this gateway")
    clusters = list(_weighted(scope, rule, compiled))
    if wanted and Lie.MIRROR_ANSWERS_500 in scope.lies:
        return answer(500)
    if len(mirrors) < wanted and Lie.MISSING_MIRROR_ANSWERS_500 in scope.lies:
        return answer(500)
    status, name = scope.nowhere
    if not sum(cluster["weight"] for cluster in clusters):
        return {**answer(status), **outer}
    action: Json = {
        "weighted_clusters": {"clusters": clusters},
        "cluster_not_found_response_code": name,
        "timeout": _seconds((rule.get("timeouts") or {}).get("request") or "0s"),
    }
    if mirrors:
        action["request_mirror_policies"] = mirrors
    return {"route": action, **outer}


def _weighted(scope: Scope, rule: Json, compiled: CompiledRule) -> Iterator[Json]:
    for ref in rule.get("backendRefs") or []:
        backend = resolve(scope.objects, scope.kind, scope.route, ref)
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


def _mirror(scope: Scope, mirror: Json, compiled: CompiledRule) -> Iterator[Json]:
    # The API has no name for mirrors of GRPCRoutes: here they are as much supported as those of HTTPRoutes.
    if "HTTPRouteRequestMirror" not in scope.features:
        raise UnsupportedError("filter RequestMirror not supported by this gateway")
    share = _share(mirror)
    if share is not None and "HTTPRouteRequestPercentageMirror" not in scope.features:
        raise UnsupportedError("RequestMirror with percent or fraction not supported by this gateway")
    backend = resolve(scope.objects, scope.kind, scope.route, mirror["backendRef"])
    if isinstance(backend, Unresolved):
        # The API: a mirror that leads nowhere is left out and reported; users' requests go on.
        compiled.unresolved.append(backend)
        return
    compiled.backends.add(backend)
    parts = MILLION if share is None or Lie.MIRROR_IGNORES_PERCENT in scope.lies else share
    yield {
        "cluster": backend.cluster,
        "runtime_fraction": {"default_value": {"numerator": parts, "denominator": "MILLION"}},
        # The canary must see the host that users asked for, not one with "-shadow" appended (as Contour does).
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
