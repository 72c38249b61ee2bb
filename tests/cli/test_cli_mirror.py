"""What people read of a step that mirrors."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from cli_kit import NOW, ago, checks, rollout, status
from picture_kit import picture
from test_cli_explain import route

from canary.cli.preflight import surroundings
from canary.kube import SERVICES
from canary.model.rollout import RouteKind
from canary.model.route_status import SplitStatus
from canary.model.run_status import StepStatus
from canary.model.status import Phase, RolloutStatus
from canary.routes.key import RouteKey
from canary.view.explanation import explain
from canary.view.rollout import steps, view

Json = dict[str, Any]

SHOP = RouteKey(RouteKind.HTTP, "team-shop", "shop")
MIRROR: Json = {"mirror": {"percent": 20}, "hold": "5m"}


def mirroring(**over: Any) -> RolloutStatus:
    """A run at step 1 of 3, which mirrors two rules of its route and gives no weight."""
    (shop,) = status().routes
    said = {
        "message": "mirroring 20 % until 10:42:10; 2/2 checks pass (step 1/3)",
        "step": StepStatus(
            index=1, total=3, display="1/3", started_at=ago(180), reached_at=ago(172), hold_until=ago(1)
        ),
        "split": SplitStatus(),
        "routes": (shop.model_copy(update={"share": 0, "mirrors": {"#0": "20", "ask": "20", "old": "0"}}),),
    }
    return status(Phase.PROGRESSING, **{**said, **over})


def document(found: RolloutStatus | None = None, first: Json | None = None) -> Json:
    made = rollout(found if found is not None else mirroring())
    made["spec"]["steps"] = [first or MIRROR, {"weight": 10, "hold": "5m"}, {"weight": 100}]
    return made


def shop() -> Json:
    """A route with a rule that reads and one that may change something."""
    found = route(100, 0)
    rule = found["spec"]["rules"][0]
    pay = {**copy.deepcopy(rule), "name": "pay", "matches": [{"method": "GET"}, {"method": "POST"}]}
    found["spec"]["rules"] = [{**rule, "matches": [{"method": "GET"}]}, pay]
    return found


def told(made: Json, found: Json | None = None) -> str:
    sections = explain(view(made), {SHOP: found or shop()}, NOW)
    return "\n".join(line for section in sections for line in (section.title, *section.paragraphs))


def test_explain_says_who_gets_copies_and_who_is_served() -> None:
    """Of what share, of which rules, and that nobody gets the canary's answers."""
    text = told(document())
    assert "Step 1: of 20 % of the requests a copy goes to shop-canary, for as long as the step lasts." in text
    assert "What it answers to a copy reaches nobody." in text
    assert "HTTPRoute shop mirrors 20 % of #0 and ask now." in text
    assert "users get the answers of shop-stable alone" in text
    assert "The canary has no traffic in this step" not in text


def test_explain_names_the_rules_that_are_left_out_and_the_option() -> None:
    """With why; and none of them where the step mirrors all."""
    text = told(document())
    assert "Rule pay of HTTPRoute shop is not mirrored: it takes other methods than GET, HEAD and OPTIONS" in text
    assert "mirror.allowUnsafeMethods: true mirrors it all the same" in text
    assert "Rule #0" not in text
    assert "is not mirrored" not in told(document(first={"mirror": {"percent": 20, "allowUnsafeMethods": True}}))


def test_explain_says_why_no_call_is_mirrored() -> None:
    """Of a GRPCRoute it cannot be told which methods only read."""
    made = document()
    made["spec"]["routes"] = [{"kind": "GRPCRoute", "name": "shop"}]
    key = RouteKey(RouteKind.GRPC, "team-shop", "shop")
    sections = explain(view(made), {key: route(100, 0)}, NOW)
    text = "\n".join(line for section in sections for line in section.paragraphs)
    assert "Rule #0 of GRPCRoute shop is not mirrored: a gRPC method may do anything" in text


def test_explain_says_what_contour_does_to_copies() -> None:
    """Before the first step too, and not where nothing is mirrored."""
    assert "Contour adds `-shadow` to the Host of copies" in told(document())
    assert "Contour" in told(document(status(Phase.IDLE, run=None, step=None, routes=())))
    assert "Contour" not in told(document(first={"weight": 1}))


def test_explain_names_what_a_gateway_has_to_be_able_to_do() -> None:
    """By the names of the list that a GatewayClass publishes."""
    text = told(document())
    assert "if it publishes one: HTTPRouteRequestMirror and HTTPRouteRequestPercentageMirror." in text
    assert "one: HTTPRouteRequestMirror." in told(document(first={"mirror": {"percent": 100}}))


def test_explain_survives_a_mirror_of_a_later_version() -> None:
    """What this version cannot read is left out, and everything else is told."""
    text = told(document(first={"mirror": {"percent": 20, "headers": ["x"]}}))
    assert "Step 1: of" not in text
    assert "Where it is" in text


def test_status_shows_the_mirror_behind_its_route() -> None:
    """The weights stay weights: 0 %."""
    shown = " ".join(picture(document()).split())
    assert "mirror 20 %" in shown
    assert "mirrors 20 % of #0 and ask" in shown
    assert "mirroring 20 % until 10:42:10" in shown


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ({"percent": 20}, "mirror 20 %"),
        ({"fraction": {"numerator": 1, "denominator": 3}}, "mirror 1/3"),
        ({"fraction": {"numerator": 1}}, "mirror 1/100"),
    ],
)
def test_a_step_says_what_it_mirrors(mirror: Json, words: str) -> None:
    """As it is declared."""
    assert steps(view(document(first={"mirror": mirror})), NOW)[0].asks == words


def test_checks_hold_a_step_that_mirrors() -> None:
    """It gives no weight, and there is something to measure all the same."""
    late = mirroring(checks=checks(measured_at=ago(600)))
    assert "waiting for a measurement of error-rate" in steps(view(document(late)), NOW)[0].note


def test_explain_says_that_a_comparer_gets_the_copies() -> None:
    """To whom, and what that costs stable; a mirror of ours is found by the comparer's name."""
    step: Json = {"mirror": {"percent": 20, "comparer": {"service": "shop-comparer", "port": 8080}}, "hold": "5m"}
    words = told(document(first=step))
    assert (
        "Step 1: of 20 % of the requests a copy goes to comparer shop-comparer, for as long as the step lasts." in words
    )
    assert "The comparer sends each copy to shop-stable twice and to shop-canary once" in words


def test_whoever_looks_at_the_cluster_looks_for_the_comparer_too() -> None:
    """Its Service is in the Rollout's namespace, also where the two others are elsewhere."""
    elsewhere = {"service": "shop", "port": 80, "namespace": "other"}
    spec: Json = {"stable": elsewhere, "canary": elsewhere, "steps": [MIRROR]}
    assert (SERVICES, "team-shop") not in surroundings([("team-shop", spec)], [])
    spec["steps"] = [{"mirror": {"percent": 20, "comparer": {"service": "compare", "port": 80}}}]
    assert (SERVICES, "team-shop") in surroundings([("team-shop", spec)], [])
