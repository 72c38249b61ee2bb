"""What steps with a `match` do, in sentences: which requests reach the canary, by which rules, and what some gateways make of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from canary.model.route_status import RouteStatus
from canary.model.steps import Match, MatchType, Step
from canary.routes.added import Added
from canary.routes.added_refusals import Refused
from canary.routes.key import RouteKey
from canary.routes.needs import needs
from canary.routes.opt_in import additions
from canary.routes.reading import RouteReading
from canary.view.mirrors import declared_pair, declared_ref, declared_rules
from canary.view.rollout import RolloutView
from canary.view.words import clean, listing

Json = dict[str, Any]

ENVOY_GATEWAY = (
    "Envoy Gateway answers some of these requests with 503 for up to 15 ms when a rule is added. Where its EnvoyProxy sets "
    "preserveRouteOrder, the rule is never used and nobody says so: prepare a rule in front there, and give it a share under `rules`."
)
POLICIES = (
    "A policy that targets a rule by its name (sectionName) would not hold for a copy of it, so a rule that one targets is not "
    "copied, nor one with a name where nobody may look for policies."
)


def added_words(route: RouteStatus) -> str:
    """What a run has added to a route now: `has 2 rules of this run for requests that opt in`; empty when nothing."""
    there = [said for text in route.added.values() if (said := _read(text)) is not None and said.there]
    if not there:
        return ""
    rules = "a rule" if len(there) == 1 else f"{len(there)} rules"
    return f"has {rules} of this run for requests that opt in"


def declared_match(step: Json) -> Step | None:
    """A step with a `match`; None for one without, and for what this version cannot read."""
    try:
        return Step.model_validate(step) if "match" in step else None
    except ValidationError:
        return None


def match_lines(rollout: RolloutView, routes: Mapping[RouteKey, Json | None]) -> Iterator[str]:
    """Every step that lets requests opt in, the rules that it adds, and what of it there is now. `routes`: as they are."""
    declared = [(number, declared_match(step)) for number, step in enumerate(rollout.steps, start=1)]
    found = [(number, step) for number, step in declared if step is not None and step.match]
    if not found:
        return
    for number, step in found:
        opting = " or ".join(_carries(each) for each in step.match or ())
        yield (
            f"Step {number}: requests with {opting} go to {rollout.service('canary')}, for as long as the step lasts. Any other "
            "request goes where it went before."
        )
    for key, document in routes.items():
        copied = [clean(pair.key) for pair in declared_rules(rollout, key, document)]
        if copied:
            rule = "rule" if len(copied) == 1 else "each of rules"
            yield (
                f"For that a copy of {rule} {listing(copied)} is added behind all rules of {clean(key.label)}: it matches the "
                "same, for such requests only, and has the canary alone. It is gone when the step ends, whatever ends it."
            )
    for route in rollout.status.routes:
        if rollout.active and (words := added_words(route)):
            yield f"{route.kind.value} {clean(route.name)} {words} now."
    yield from _refused(rollout, [step for _, step in found], routes)
    yield from _needed(rollout, [step for _, step in found], routes)
    if any(pair.name for key, document in routes.items() for pair in declared_rules(rollout, key, document)):
        yield POLICIES
    yield ENVOY_GATEWAY


def _refused(rollout: RolloutView, steps: list[Step], routes: Mapping[RouteKey, Json | None]) -> Iterator[str]:
    """Why a rule may not be added, by what the routes are now."""
    pair, said = declared_pair(rollout), set()
    for key, document in routes.items():
        ref = declared_ref(rollout, key)
        if pair is None or ref is None or document is None:
            continue
        seen = rollout.status.route(key.kind, key.name)
        ours = {
            mark: added for mark, text in (seen.added if seen else {}).items() if (added := _read(text)) is not None
        }
        for step in steps:
            answer = additions(step, ref, RouteReading(document), pair, ours)
            if isinstance(answer, Refused) and answer.message not in said:
                said.add(answer.message)
                yield f"It may not be added: {clean(answer.message)}."


def _needed(rollout: RolloutView, steps: list[Step], routes: Mapping[RouteKey, Json | None]) -> Iterator[str]:
    """What a gateway has to be able to do, by the names under which a GatewayClass lists it."""
    pair = declared_pair(rollout)
    names = [
        feature.value
        for key, document in routes.items()
        for step in steps
        if pair is not None and document is not None and (ref := declared_ref(rollout, key)) is not None
        for feature in needs(Step(match=step.match), ref, RouteReading(document), pair)
    ]
    if names:
        yield f"A gateway that can do that has in the list of its GatewayClass, if it publishes one: {listing(list(dict.fromkeys(names)))}."


def _carries(match: Match) -> str:
    """What a request has to carry: `header x-canary: yes and query parameter beta=1`."""
    said = []
    for what, sign, fields in (("header", ": ", match.headers), ("query parameter", "=", match.query_params)):
        for field in fields or ():
            exact = field.type is MatchType.EXACT
            said.append(
                f"{what} {clean(field.name)}{sign}{clean(field.value)}"
                if exact
                else f"{what} {clean(field.name)} like {clean(field.value)}"
            )
    return " and ".join(said)


def _read(text: str) -> Added | None:
    try:
        return Added.parse(text)
    except ValueError:
        return None
