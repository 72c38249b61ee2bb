"""The weights that a route really has, in sentences: the pair, the other backends, and what that means for all. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from canary.errors import SpecError
from canary.model.rollout import RouteKind
from canary.model.route_status import RouteStatus
from canary.routes.key import RouteKey
from canary.routes.kinds import FORMS, STICKY
from canary.routes.pair import Backend, Pair
from canary.routes.rules import RulePair, read_pairs
from canary.view.rollout import RolloutView
from canary.view.words import clean, plain

Json = dict[str, Any]

_CONNECTIONS = "a weight here means connections, not requests: each new one goes to one of the two, and what is open stays where it is"
BY_CONNECTION = {
    RouteKind.TLS: f"{_CONNECTIONS}.",
    RouteKind.TCP: f"{_CONNECTIONS}.",
    RouteKind.UDP: f"{_CONNECTIONS}; of UDP that is what the gateway takes for one, mostly all datagrams of one address and port.",
}

ROUNDING = 0.001
"""Percent; shares in a status are rounded to four decimals."""


def declared_route(declared: Json, namespace: str) -> RouteKey | None:
    """The route that an entry of `spec.routes` names; None for one of a kind that this CLI does not know."""
    try:
        return RouteKey(RouteKind(declared.get("kind") or RouteKind.HTTP), namespace, str(declared.get("name") or ""))
    except ValueError:
        return None


def declared_routes(rollout: Json) -> list[RouteKey]:
    """The routes that a Rollout names in its spec, as far as this CLI knows their kinds. Lenient: the spec may be nonsense."""
    spec, namespace = rollout.get("spec"), str((rollout.get("metadata") or {}).get("namespace") or "")
    entries = spec.get("routes") if isinstance(spec, dict) else None
    entries = entries if isinstance(entries, list) else []
    found = [declared_route(entry, namespace) for entry in entries if isinstance(entry, dict)]
    return [key for key in found if key is not None and key.name]


def route_lines(rollout: RolloutView, key: RouteKey, route: Json, declared: Json) -> Iterator[str]:
    """One sentence for each rule that is moved; or what stands in the way of reading it."""
    label = clean(key.label)
    rules = [str(rule) for rule in declared.get("rules") or ()]
    try:
        pairs = read_pairs(route, Pair(backend(rollout, "stable"), backend(rollout, "canary")), rules)
    except SpecError as error:
        yield f"{label}: {clean(error.message)}."
        return
    except (KeyError, TypeError, ValueError, AttributeError):
        yield f"{label}: its rules, or the pair in the spec, are not of a shape that this CLI knows."
        return
    if FORMS[key.kind].by_connection:
        yield f"{label}: {BY_CONNECTION[key.kind]}"
    seen = rollout.status.route(key.kind, key.name)
    for pair in pairs:
        written = seen.shares.get(pair.key) if seen is not None else None
        yield _rule(rollout, label, route, pair, rollout.status.split.written if written is None else written)
        if pair.sticky:
            yield f"{label}: rule {clean(pair.key)} {STICKY}."


def _rule(rollout: RolloutView, label: str, route: Json, pair: RulePair, written: float) -> str:
    refs = route["spec"]["rules"][pair.rule]["backendRefs"]
    stable, canary = _weight(refs[pair.stable]), _weight(refs[pair.canary])
    words = (
        f"{label}, rule {clean(pair.key)}: {rollout.service('stable')} {stable}, "
        f"{rollout.service('canary')} {canary}: the canary gets {share(canary, stable + canary)} of the pair"
    )
    if rollout.active and stable + canary and abs(100 * canary / (stable + canary) - written) > ROUNDING:
        words += (
            f" (not the {plain(written)} % that the controller saw last: somebody else changed it, or it is about to)"
        )
    others = [ref for index, ref in enumerate(refs) if index not in {pair.stable, pair.canary}]
    if not others:
        return f"{words}, and as the rule has no other backend that is its share of the whole rule."
    total = sum(_weight(ref) for ref in refs)
    rest = ", ".join(f"{clean(ref.get('name') or '?')} {_weight(ref)}" for ref in others)
    return (
        f"{words}. Other backends of the rule keep their weights ({rest}), so of the whole rule the pair gets "
        f"{share(stable + canary, total)} and the canary {share(canary, total)}."
    )


def backend(rollout: RolloutView, role: str) -> Backend:
    """Who plays `stable` or `canary` now. Raises KeyError, TypeError or ValueError for a spec of another shape."""
    if rollout.status.swapped:
        role = {"stable": "canary", "canary": "stable"}[role]
    target = rollout.spec[role]
    return Backend(str(target["service"]), str(target.get("namespace") or rollout.namespace), int(target["port"]))


def on_route(route: RouteStatus, written: float) -> float | None:
    """The share, in percent, that a route of an active run gives the canary in the rules that follow the step; None: unknown.

    `share` on record is what the run wrote; `lowered` has what somebody took back of it. `written` is the most that any route
    of the Rollout has.
    """
    if route.share is None or not route.owned:
        return route.share
    follow = route.baseline.keys() - route.shares.keys()
    taken = bool(follow) and follow <= route.lowered.keys()
    return min(max(route.lowered[key] for key in follow) if taken else route.share, written)


def _weight(ref: Json) -> int:
    weight = ref.get("weight")
    return 1 if weight is None else int(weight)


def share(part: int, whole: int) -> str:
    """A share in percent with at most two decimals: `10 %`, `3.33 %`; 0 of nothing is 0."""
    return f"{plain(round(100 * part / whole, 2)) if whole else '0'} %"
