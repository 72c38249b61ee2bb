"""What a step that mirrors needs of a gateway: by what it asks for, and by what the rules have already."""

from __future__ import annotations

from typing import Any

import pytest
from routes_kit import CANARY, STABLE, Json, ref, route, rule

from canary.model.rollout import RouteKind, RouteRef
from canary.model.steps import Step
from canary.routes.features import Feature, Offered, missing
from canary.routes.needs import needs
from canary.routes.pair import Pair
from canary.routes.reading import RouteReading

GET = [{"method": "GET"}]
AUDIT: Json = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "audit", "port": 80}}}
OURS: Json = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "c", "port": 80}, "percent": 20}}


def asked(
    step: Json, *rules: Json, kind: RouteKind = RouteKind.HTTP, names: tuple[str, ...] = ()
) -> tuple[Feature, ...]:
    reading = RouteReading(route(*rules))
    return needs(
        Step.model_validate(step), RouteRef(kind=kind, name="shop", rules=names), reading, Pair(STABLE, CANARY)
    )


def pair(**more: Any) -> Json:
    return rule(ref("s"), ref("c", 0), **more)


MIRROR, SHARE, SEVERAL = Feature.REQUEST_MIRROR, Feature.REQUEST_PERCENTAGE_MIRROR, Feature.REQUEST_MULTIPLE_MIRRORS


@pytest.mark.parametrize(
    ("what", "step", "rules", "found"),
    [
        ("a weight", {"weight": 10}, [pair(matches=GET)], ()),
        ("all requests", {"mirror": {"percent": 100}}, [pair(matches=GET)], (MIRROR,)),
        ("all of them, as a fraction", {"mirror": {"fraction": {"numerator": 100}}}, [pair(matches=GET)], (MIRROR,)),
        ("a fifth", {"mirror": {"percent": 20}}, [pair(matches=GET)], (MIRROR, SHARE)),
        (
            "beside the team's own",
            {"mirror": {"percent": 100}},
            [pair(matches=GET, filters=[AUDIT])],
            (MIRROR, SEVERAL),
        ),
        ("ours is there already", {"mirror": {"percent": 20}}, [pair(matches=GET, filters=[OURS])], (MIRROR, SHARE)),
        (
            "the team's own in a rule that is left out",
            {"mirror": {"percent": 100}},
            [pair(matches=GET), pair(filters=[AUDIT])],
            (MIRROR,),
        ),
        ("nothing that may be mirrored", {"mirror": {"percent": 20}}, [pair()], ()),
        ("whatever it does", {"mirror": {"percent": 20, "allowUnsafeMethods": True}}, [pair()], (MIRROR, SHARE)),
        ("no pair", {"mirror": {"percent": 20}}, [rule(ref("x"), matches=GET)], ()),
    ],
)
def test_what_is_needed(what: str, step: Json, rules: list[Json], found: tuple[Feature, ...]) -> None:
    """Each once, the plainest first."""
    assert asked(step, *rules) == found, what


def test_kinds_without_filters_need_nothing_and_grpc_needs_the_option() -> None:
    """Nothing is mirrored of TCP; a gRPC call may do anything."""
    step = {"mirror": {"percent": 100, "allowUnsafeMethods": True}}
    assert asked(step, pair(), kind=RouteKind.TCP) == ()
    assert asked(step, pair(), kind=RouteKind.GRPC) == (MIRROR,)
    assert asked({"mirror": {"percent": 100}}, pair(matches=GET), kind=RouteKind.GRPC) == ()


def test_what_a_gateway_lacks_is_what_is_needed_and_not_offered() -> None:
    """As Traefik, which lists no mirrors at all."""
    offered = Offered(frozenset({"HTTPRouteMethodMatching"}))
    assert missing(asked({"mirror": {"percent": 20}}, pair(matches=GET)), offered) == (MIRROR, SHARE)
