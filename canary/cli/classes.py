"""GatewayClasses as `doctor` judges them: who accepts them, what they can do, and whether anybody serves them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from canary.cli.health import Diagnosis, Level
from canary.view.words import counted, listing

Json = dict[str, Any]

MIRRORS = ("HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror")


def gateway_classes(classes: Sequence[Json], serving: Mapping[str, int] | None = None) -> Iterator[Diagnosis]:
    """Each GatewayClass: accepted, and which of the features that steps may need it lists.

    `serving`: routes that are accepted on a Gateway of a class, by its name; None when nobody could look. Some
    implementations never accept their class (Contour, when it is told which Gateway is its own), and serve it all the same.
    """
    if not classes:
        words = "there is none, so no controller serves any Gateway"
        yield Diagnosis("GatewayClass", Level.BROKEN, words, "install an implementation of the Gateway API")
    for item in classes:
        name = f"GatewayClass {item['metadata']['name']}"
        status = item.get("status") or {}
        if not accepted(item):
            routes = (serving or {}).get(item["metadata"]["name"], 0)
            yield _not_accepted(name, item["spec"].get("controllerName"), _acceptance(item), routes)
            continue
        features = [_feature(found) for found in status.get("supportedFeatures") or ()]
        if not features:
            words = "accepted; it lists no supportedFeatures, so whether it can mirror is unknown"
            yield Diagnosis(name, Level.DOUBT, words, "see the documentation of the implementation")
            continue
        mirror = [feature for feature in features if feature in MIRRORS]
        able = f"{counted(len(features), 'feature')}, of the mirrors {listing(mirror) if mirror else 'none'}"
        yield Diagnosis(name, Level.OK, f"accepted; {able}")


def accepted(gateway_class: Json) -> bool:
    """Whether its controller has accepted a GatewayClass."""
    return bool(_acceptance(gateway_class).get("status") == "True")


def _acceptance(gateway_class: Json) -> Json:
    conditions = (gateway_class.get("status") or {}).get("conditions") or ()
    return next((found for found in conditions if found.get("type") == "Accepted"), {})


def _not_accepted(name: str, controller: Any, said: Json, routes: int) -> Diagnosis:
    if routes:
        words = (
            f"nobody accepts the class itself, but {counted(routes, 'route is', 'routes are')} accepted on its Gateways"
        )
        return Diagnosis(name, Level.OK, f"{words}: it is served")
    words = f"{said.get('reason', '')}: {said.get('message', '')}".strip(": ") or "nobody has answered"
    return Diagnosis(name, Level.DOUBT, f"not accepted ({words})", f"is the controller {controller} running?")


def accepted_on(routes: Sequence[Json]) -> dict[tuple[str, str], int]:
    """How many routes each Gateway (namespace, name) accepts at their current generation."""
    found: dict[tuple[str, str], int] = {}
    for route in routes:
        metadata = route.get("metadata") or {}
        gateways = set()
        for parent in (route.get("status") or {}).get("parents") or ():
            ref = parent.get("parentRef") or {}
            conditions = {item.get("type"): item for item in parent.get("conditions") or ()}
            said = conditions.get("Accepted") or {}
            current = int(said.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0)
            if (ref.get("kind") or "Gateway") == "Gateway" and said.get("status") == "True" and current:
                gateways.add((str(ref.get("namespace") or metadata.get("namespace") or ""), str(ref.get("name") or "")))
        for gateway in gateways:
            found[gateway] = found.get(gateway, 0) + 1
    return found


def _feature(found: Any) -> str:
    """A feature's name: an object since v1.1 of the Gateway API, text before."""
    return str(found.get("name", "")) if isinstance(found, dict) else str(found)
