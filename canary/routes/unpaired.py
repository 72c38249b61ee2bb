"""Why no rule of a route has our pair, in words that say what the rule lists instead."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from canary.routes.pair import Backend, Pair

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a rule has of one backend. `rank`: 2 it is listed, 1 something of its name is, 0 nothing is.

    `words` completes "the rule lists …", `advice` says what to do; both are empty for a backend that is listed.
    """

    backend: Backend
    role: str
    rank: int
    words: str = ""
    advice: str = ""


def rule_words(rules: list[Json], index: int) -> str:
    """A rule as people find it: by its name, else by its place."""
    name = rules[index].get("name")
    if name:
        return f"rule {name}"
    return "the only rule" if len(rules) == 1 else f"spec.rules[{index}]"


def backend_words(backend: Backend, namespace: str) -> str:
    """`service:port`, with its namespace where that is not the route's."""
    place = "" if backend.namespace == namespace else f"{backend.namespace}/"
    return f"{place}{backend.service}:{backend.port}"


def why_unpaired(route: Json, both: Pair, names: Collection[str] = ()) -> str:
    """Say what the rule that comes closest lists, and what to do. `names`: only rules with these names are meant."""
    metadata = route.get("metadata", {})
    namespace, label = metadata.get("namespace", ""), f"route {metadata.get('name', '')}"
    rules = route.get("spec", {}).get("rules") or []
    stable, canary = (backend_words(backend, namespace) for backend in (both.stable, both.canary))
    if not rules:
        return f"{label} has no rules; add one that lists {stable} and {canary}, the canary with weight 0"
    meant = [index for index, rule in enumerate(rules) if not names or rule.get("name") in names]
    found = {index: _of_rule(rules[index], both, namespace) for index in meant}
    best = max(meant, key=lambda index: sum(item.rank for item in found[index]))
    where = f"{rule_words(rules, best)} of {label}"
    if not any(item.rank for item in found[best]):
        advice = "add both as backendRefs, the canary with weight 0, or correct spec.stable and spec.canary"
        if len(meant) > 1:
            return f"no rule of {label} lists {stable} or {canary}; {advice}"
        listed = ", ".join(_ref_words(ref, namespace) for ref in rules[best].get("backendRefs") or ()) or "nothing"
        return f"{where} lists neither {stable} nor {canary}, but {listed}; {advice}"
    missing = [item for item in found[best] if item.rank < 2]
    other = next((item for item in found[best] if item.rank == 2), None)
    if other is not None and missing[0].rank == 0:
        elsewhere = next((index for index in meant if _lists(found[index], missing[0].backend)), None)
        listed = backend_words(other.backend, namespace)
        lacks = backend_words(missing[0].backend, namespace)
        if elsewhere is not None:
            return (
                f"{where} lists {listed} and {rule_words(rules, elsewhere)} lists {lacks}; one rule has to list both: "
                "add the canary as a backendRef with weight 0 beside stable"
            )
        return f"{where} lists {listed}, and not {lacks}; {missing[0].advice}"
    missing.sort(key=lambda item: -item.rank)
    return f"{where} lists {', and '.join(item.words for item in missing)}; {_advice(missing)}"


def _of_rule(rule: Json, both: Pair, namespace: str) -> tuple[_Found, _Found]:
    return _of(rule, both.stable, "stable", namespace), _of(rule, both.canary, "canary", namespace)


def _of(rule: Json, backend: Backend, role: str, namespace: str) -> _Found:
    named = [ref for ref in rule.get("backendRefs") or () if ref.get("name") == backend.service]
    if not named:
        add = "add the canary as a backendRef with weight 0" if role == "canary" else "add stable as a backendRef"
        return _Found(backend, role, 0, f"no {backend_words(backend, namespace)}", add)
    services = [ref for ref in named if (ref.get("kind") or "Service") == "Service" and not ref.get("group")]
    if not services:
        shown = " and ".join(f"{ref.get('kind')} {backend.service}" for ref in named)
        return _Found(backend, role, 1, f"{shown}, not Service {backend.service}", "name the Service there")
    here = [ref for ref in services if (ref.get("namespace") or namespace) == backend.namespace]
    if not here:
        places = " and ".join(f"{ref.get('namespace') or namespace}/{_port(ref)}" for ref in services)
        wanted = f"{backend.namespace}/{backend.service}:{backend.port}"
        advice = f"correct the namespace there, or spec.{role}.namespace"
        return _Found(backend, role, 1, f"{places}, not {wanted}", advice)
    if any(ref.get("port") == backend.port for ref in here):
        return _Found(backend, role, 2)
    shown = " and ".join(_port(ref) for ref in here)
    if any(ref.get("port") is None for ref in here):
        words = f"{shown}, not {backend.service}:{backend.port}"
        return _Found(backend, role, 1, words, "give it the port there")
    return _Found(backend, role, 1, f"{shown}, not :{backend.port}", f"correct the port there, or spec.{role}.port")


def _port(ref: Json) -> str:
    port = ref.get("port")
    return f"{ref.get('name')} without a port" if port is None else f"{ref.get('name')}:{port}"


def _ref_words(ref: Json, namespace: str) -> str:
    place = ref.get("namespace") or namespace
    return _port(ref) if place == namespace else f"{place}/{_port(ref)}"


def _lists(found: tuple[_Found, _Found], backend: Backend) -> bool:
    return any(item.rank == 2 and item.backend == backend for item in found)


def _advice(missing: list[_Found]) -> str:
    """What to do about one or two of them; two wrong ports are one thing to do."""
    if len(missing) == 2 and all(item.advice.startswith("correct the port") for item in missing):
        return "correct the ports there, or spec.stable.port and spec.canary.port"
    return ", and ".join(dict.fromkeys(item.advice for item in missing))
