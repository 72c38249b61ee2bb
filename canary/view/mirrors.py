"""What steps mirror, in sentences: to whom, of which rules, and what an application may notice. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from canary.errors import SpecError
from canary.model.rollout import RouteRef
from canary.model.route_status import RouteStatus
from canary.model.steps import Mirror, Step
from canary.model.values import decimal_text
from canary.routes.filters import Copied, only_reads
from canary.routes.key import RouteKey
from canary.routes.kinds import FORMS
from canary.routes.needs import needs
from canary.routes.pair import Backend, Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair, read_pairs
from canary.view.rollout import RolloutView
from canary.view.weights import backend, declared_route
from canary.view.words import clean, listing

Json = dict[str, Any]

CONTOUR = (
    "Contour adds `-shadow` to the Host of copies: an application that looks at its Host refuses them, and so a canary that is "
    "well would fail its checks."
)
TWICE = (
    "it takes other methods than GET, HEAD and OPTIONS, and a request that is mirrored happens twice; "
    "mirror.allowUnsafeMethods: true mirrors it all the same"
)

ANY_CALL = "a gRPC method may do anything, and a call that is mirrored happens twice; mirror.allowUnsafeMethods: true mirrors it all the same"


def copied_words(route: RouteStatus) -> str:
    """What a run mirrors of a route now: `mirrors 20 % of #0 and pay`; empty when nothing."""
    by_share: dict[str, list[str]] = {}
    for key, text in route.mirrors.items():
        try:
            said = Copied.parse(text)
        except ValueError:
            continue
        if said.share:
            by_share.setdefault(decimal_text(said.share), []).append(clean(key))
    words = [f"{share} % of {listing(keys)}" for share, keys in by_share.items()]
    return f"mirrors {listing(words)}" if words else ""


def declared_mirror(step: Json) -> Mirror | None:
    """What a step mirrors; None for one that does not, and for what this version cannot read."""
    try:
        return Mirror.model_validate(step["mirror"])
    except (KeyError, ValidationError):
        return None


def mirror_lines(rollout: RolloutView, routes: Mapping[RouteKey, Json | None]) -> Iterator[str]:
    """Every step that mirrors, what of it there is now, and what it leaves out. `routes`: as they are."""
    declared = [(number, declared_mirror(step)) for number, step in enumerate(rollout.steps, start=1)]
    found = [(number, mirror) for number, mirror in declared if mirror is not None]
    if not found:
        return
    canary, stable = rollout.service("canary"), rollout.service("stable")
    for number, mirror in found:
        target = canary if mirror.comparer is None else f"comparer {clean(mirror.comparer.service)}"
        yield (
            f"Step {number}: of {decimal_text(mirror.share)} % of the requests a copy goes to {target}, for as long as the "
            f"step lasts. What {'it' if mirror.comparer is None else canary} answers to a copy reaches nobody."
        )
    if any(mirror.comparer is not None for _, mirror in found):
        yield (
            f"The comparer sends each copy to {stable} twice and to {canary} once, as far as its limits allow: {stable} gets two "
            "more requests for each that is compared."
        )
    now = [(route, words) for route in rollout.status.routes if rollout.active and (words := copied_words(route))]
    for route, words in now:
        yield f"{route.kind.value} {clean(route.name)} {words} now."
    if now and not rollout.status.split.written:
        yield f"The canary has no weight meanwhile: users get the answers of {stable} alone."
    if not all(mirror.allow_unsafe_methods for _, mirror in found):
        yield from _left_out(rollout, routes)
    yield from _needed(rollout, [mirror for _, mirror in found], routes)
    yield CONTOUR


def _needed(rollout: RolloutView, found: list[Mirror], routes: Mapping[RouteKey, Json | None]) -> Iterator[str]:
    """What a gateway has to be able to do, by the names under which a GatewayClass lists it."""
    pair = declared_pair(rollout)
    names = [
        feature.value
        for key, document in routes.items()
        for mirror in found
        if pair is not None and document is not None and (ref := declared_ref(rollout, key)) is not None
        for feature in needs(Step(mirror=mirror), ref, RouteReading(document), pair)
    ]
    if names:
        yield f"A gateway that can do that has in the list of its GatewayClass, if it publishes one: {listing(list(dict.fromkeys(names)))}."


def _left_out(rollout: RolloutView, routes: Mapping[RouteKey, Json | None]) -> Iterator[str]:
    for key, document in routes.items():
        form = FORMS[key.kind]
        for pair in declared_rules(rollout, key, document) if form.filters else ():
            if not (form.methods and only_reads(pair.document)):
                yield f"Rule {clean(pair.key)} of {clean(key.label)} is not mirrored: {TWICE if form.methods else ANY_CALL}."


def declared_pair(rollout: RolloutView) -> Pair | None:
    """The pair by its present role; None where this version cannot read it."""
    try:
        pair = Pair(backend(rollout, "stable"), backend(rollout, "canary"))
        found = next(filter(None, (declared_mirror(step) for step in rollout.steps)), None)
        named = found.comparer if found is not None else None
        return replace(pair, comparer=Backend(named.service, rollout.namespace, named.port)) if named else pair
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def declared_ref(rollout: RolloutView, key: RouteKey) -> RouteRef | None:
    """What the Rollout declares of a route; None where this version cannot read it."""
    refs: list[Json] = rollout.spec.get("routes") or []
    try:
        return next((RouteRef.model_validate(ref) for ref in refs if declared_route(ref, key.namespace) == key), None)
    except (ValidationError, AttributeError):
        return None


def declared_rules(rollout: RolloutView, key: RouteKey, document: Json | None) -> tuple[RulePair, ...]:
    """The rules of a route that the Rollout moves; none where they cannot be read."""
    pair, ref = declared_pair(rollout), declared_ref(rollout, key)
    if pair is None or ref is None:
        return ()
    try:
        return read_pairs(document or {}, pair, ref.rules)
    except (SpecError, KeyError, TypeError, ValueError, AttributeError):
        return ()
