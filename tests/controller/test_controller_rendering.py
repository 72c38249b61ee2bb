"""What checks ask is rendered when it may have changed, and kept for no longer."""

from __future__ import annotations

from typing import Any

from canary.checks.resolve import ResolvedCheck, resolve
from canary.controller.rendering import Rendering
from canary.model.checks import Check
from canary.model.rollout import RolloutSpec
from canary.model.status import RolloutStatus

QUERY = "up{service='{{ canary.service }}', weight='{{ weight }}', kind='{{ step.kind }}', port='{{ canary.port }}'}"
STATUS = RolloutStatus.load({"phase": "Progressing", "split": {"desired": 10}})


def check(name: str = "up", query: str = QUERY) -> ResolvedCheck:
    declared = {"name": name, "prometheus": {"query": query}, "threshold": {"min": 1}}
    return resolve(Check.model_validate(declared), None, "")


def spec(port: int = 80) -> RolloutSpec:
    document: dict[str, Any] = {
        "routes": [{"name": "shop"}],
        "stable": {"service": "old", "port": 80},
        "canary": {"service": "new", "port": port},
        "steps": [{"weight": 10}],
    }
    return RolloutSpec.model_validate(document)


def test_what_says_the_same_is_rendered_once() -> None:
    """And again as soon as anything that it may name is another: the query, the weight, the roles, the spec."""
    rendering, declared = Rendering(("team", "shop")), spec()
    first = rendering(check(), None, declared, STATUS)
    assert first.text == "up{service='new', weight='10', kind='weight', port='80'}"
    assert rendering(check(), None, declared, STATUS) is first
    assert rendering(check(query="down"), None, declared, STATUS).text == "down"
    heavier = STATUS.model_copy(update={"split": STATUS.split.model_copy(update={"desired": 50})})
    assert "weight='50'" in rendering(check(), None, declared, heavier).text
    swapped = STATUS.model_copy(update={"swapped": True})
    assert "service='old'" in rendering(check(), None, declared, swapped).text
    assert "port='81'" in rendering(check(), None, spec(81), STATUS).text


def test_checks_that_are_declared_no_more_are_not_kept() -> None:
    """Whoever renames a check every second for as long as a run lasts takes no memory."""
    rendering = Rendering(("team", "shop"))
    for number in range(20):
        rendering(check(f"check-{number}"), None, spec(), STATUS)
    assert rendering.size == 1
