"""Sources and judges as declared: what a check sets, what lies under it, and what its parts say of themselves."""

from __future__ import annotations

from typing import Any

import pytest

from canary.checks.judges import JUDGES as JUDGES_KNOWN
from canary.checks.judges import arguments_of
from canary.checks.resolve import overlay, resolve
from canary.checks.sources import SOURCES as SOURCES_KNOWN
from canary.checks.sources import source_of
from canary.model.checks import CHECK_SOURCES, JUDGES, OVERRIDES, Check, Settings
from canary.model.templates import CheckTemplateSpec
from canary.model.values import Duration

QUERY = {"query": "rate({{ canary.service }})", "address": "http://metrics.example:9090"}


def test_what_is_declared_is_what_is_known() -> None:
    """Every source and every judge of the API has its class, and no class is without a field."""
    assert set(SOURCES_KNOWN) == set(CHECK_SOURCES)
    assert set(JUDGES_KNOWN) == {*JUDGES, "compare", "mirrored", "web", "job"}  # which are sources, too
    assert set(OVERRIDES) | set(JUDGES) == set(Settings.model_fields)


OWN: dict[str, Any] = {
    "window": Duration.parse("7m"),
    "interval": Duration.parse("7s"),
    "failure_limit": 7,
    "failures": "7 of 70",
    "initial_delay": Duration.parse("7h"),
    "on_no_data": "Fail",
    "on_error": "Pass",
    "hold_limit": Duration.parse("70h"),
    "dry_run": True,
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_each_setting_of_a_check_lies_over_the_same_of_its_template(name: str) -> None:
    """One that is set replaces one, and all others are the template's."""
    template = CheckTemplateSpec.model_validate({"prometheus": QUERY, "threshold": {"max": 1}})
    check = Check.model_validate({"template": {"name": "errors"}, name: OWN[name]})
    found = overlay(check, template)
    assert getattr(found, name) == OWN[name] != getattr(template, name)
    assert all(getattr(found, other) == getattr(template, other) for other in OVERRIDES if other != name)


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_check_without_a_template_has_the_defaults_of_one(name: str) -> None:
    """What is not said means the same in both places."""
    check = Check.model_validate({"name": "errors", "prometheus": QUERY, "threshold": {"max": 1}})
    assert getattr(resolve(check, None, "").settings, name) == getattr(Settings(), name)


def test_a_source_keeps_its_address_when_it_is_rendered() -> None:
    """Only the query is a template; two that ask the same are equal and hash alike."""
    source = source_of(Check.model_validate({"name": "errors", "prometheus": QUERY, "threshold": {"max": 1}}))
    assert source is not None
    assert source.names() == {"canary.service"}
    one, other = (source.rendered({"canary": {"service": "shop"}}) for _ in range(2))
    assert (one.text, one.address) == ("rate(shop)", "http://metrics.example:9090")
    assert len({one, other, source}) == 2


@pytest.mark.parametrize(
    ("judged", "used"),
    [
        ({"threshold": {"max": "{{ args.high }}", "min": "{{args.low}}"}}, {"high", "low"}),
        ({"threshold": {"max": 1}}, set()),
        ({"condition": "value < 1.0"}, set()),
    ],
)
def test_a_judge_says_which_arguments_it_uses(judged: dict[str, Any], used: set[str]) -> None:
    """So that one which nobody uses can be told to the template's author."""
    assert arguments_of(CheckTemplateSpec.model_validate({"prometheus": QUERY, **judged})) == used
