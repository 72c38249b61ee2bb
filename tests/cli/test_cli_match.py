"""What people read of a step that lets requests opt in."""

from __future__ import annotations

import copy
from typing import Any

from cli_kit import EVENTS, NOW, ago, rollout, status
from picture_kit import picture
from test_cli_explain import route

from canary.cli.render_watch import render_watch
from canary.model.rollout import RouteKind
from canary.model.route_status import SplitStatus
from canary.model.run_status import StepStatus
from canary.model.status import Phase, RolloutStatus
from canary.routes.key import RouteKey
from canary.view.explanation import explain
from canary.view.rollout import steps, view

Json = dict[str, Any]

SHOP = RouteKey(RouteKind.HTTP, "team-shop", "shop")
HEADERS = [{"name": "x-beta", "value": "yes"}, {"name": "x-user", "value": "[0-9]+", "type": "RegularExpression"}]
MATCH: Json = {
    "match": [{"headers": HEADERS}, {"queryParams": [{"name": "beta", "value": "1"}]}],
    "allowRegexPaths": True,
    "hold": "5m",
}


def matching(**over: Any) -> RolloutStatus:
    """A run at step 1 of 3, which has added a rule to its route, after one that is gone."""
    (shop,) = status().routes
    said = {
        "message": "holding opted-in requests until 10:42:10; 2/2 checks pass (step 1/3)",
        "step": StepStatus(
            index=1, total=3, display="1/3", started_at=ago(180), reached_at=ago(172), hold_until=ago(1)
        ),
        "split": SplitStatus(),
        "routes": (shop.model_copy(update={"share": 0, "added": {"0123456789": "+", "9876543210": "-pay", "x": "?"}}),),
    }
    return status(Phase.PROGRESSING, **{**said, **over})


def document(first: Json | None = None) -> Json:
    made = rollout(matching())
    made["spec"]["steps"] = [first or MATCH, {"weight": 10, "hold": "5m"}, {"weight": 100}]
    return made


def shop(*more: Json, name: str | None = None) -> Json:
    found = route(100, 0)
    rule = {**found["spec"]["rules"][0], "matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}
    found["spec"]["rules"] = [rule if name is None else {**rule, "name": name}, *more]
    return found


def told(made: Json, found: Json | None = None) -> str:
    sections = explain(view(made), {SHOP: found or shop()}, NOW)
    return "\n".join(line for section in sections for line in (section.title, *section.paragraphs))


def test_explain_says_which_requests_go_where_and_what_gateways_make_of_it() -> None:
    """By what they carry, by which rule, for how long; and what is known of Envoy Gateway."""
    text = told(document())
    words = "requests with header x-beta: yes and header x-user like [0-9]+ or query parameter beta=1 go to shop-canary"
    assert f"Step 1: {words}, for as long as the step lasts. Any other request goes where it went before." in text
    assert "a copy of rule #0 is added behind all rules of HTTPRoute shop" in text
    assert "HTTPRoute shop has a rule of this run for requests that opt in now." in text
    assert "if it publishes one: HTTPRouteQueryParamMatching" in text
    assert "503 for up to 15 ms" in text
    assert "preserveRouteOrder" in text
    assert "The canary has no traffic in this step" not in text
    assert "sectionName" not in text


def test_explain_says_why_a_rule_may_not_be_added() -> None:
    """The very sentence that the controller has; and what a name means."""
    taken = copy.deepcopy(shop(name="pay"))
    taken["spec"]["rules"][0]["matches"][0]["headers"] = [{"name": "X-Beta", "value": "no"}]
    text = told(document(), taken)
    assert "It may not be added: rule pay of route shop would match header x-beta twice" in text
    assert "A policy that targets a rule by its name (sectionName) would not hold for a copy of it" in text


def test_explain_says_nothing_of_requests_that_opt_in_without_such_a_step() -> None:
    """Nor for a step that this version cannot read."""
    for step in ({"weight": 5}, {"match": "everything"}):
        assert "opt in" not in told(document(step)).replace("has a rule of this run for requests that opt in", "")


def test_status_and_watch_show_the_rule() -> None:
    """Behind the route, and in the line of the canary; a step by what requests opt in by."""
    watched = "\n".join(line.plain for line in render_watch(document(), EVENTS, NOW, (160, 40)))
    for shown in (picture(document()), watched):
        assert "has a rule of this run for requests that opt in" in " ".join(shown.split())
    (first, *_) = steps(view(document()), NOW)
    assert first.asks == "match x-beta and x-user or beta"
