"""The recipes of docs/sources.md: nobody ran them here, so at least their form is right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from lint_kit import dump, rollout

from canary.lint.run import lint
from canary.lint.source import read

PAGE = Path(__file__).parents[2] / "docs" / "sources.md"
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEXT = PAGE.read_text()
RECIPES = re.split(r"^### ", TEXT.partition("\n## Recipes\n")[2], flags=re.MULTILINE)[1:]


def checked(block: dict[str, Any]) -> list[str]:
    """What lint says of checks in a Rollout, or of a template as it stands there."""
    text = yaml.safe_dump(block) if "kind" in block else dump(rollout(checks=block["checks"]))
    documents, problems = read(text, "m.yaml")
    assert not problems
    assert set(block) in ({"checks"}, {"apiVersion", "kind", "metadata", "spec"}), "fits nowhere as it stands"
    return [finding.text for finding in lint(documents).findings if finding.severity.value == "error"]


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.partition("\n")[0] for recipe in RECIPES])
def test_a_recipe_is_a_check_and_says_that_nobody_ran_it(recipe: str) -> None:
    """Schema, rules, JSON, JSONPath and variables, each as the controller has them."""
    assert recipe.partition("\n")[2].strip().startswith("Not run here.")
    (block,) = BLOCK.findall(recipe)
    assert checked(yaml.safe_load(block)) == []


def test_there_is_one_for_each_vendor() -> None:
    """Those that people ask for."""
    assert [recipe.partition("\n")[0] for recipe in RECIPES] == [
        "New Relic",
        "Dynatrace",
        "Google Cloud Monitoring",
        "Elasticsearch",
        "Splunk",
    ]


def test_what_the_page_shows_besides_is_right_too() -> None:
    """Every check, and the template of the platform."""
    blocks = [yaml.safe_load(block) for block in BLOCK.findall(TEXT.partition("\n## Recipes\n")[0])]
    checks = [block for block in blocks if "checks" in block]
    assert len(checks) >= 5
    assert [checked(block) for block in checks] == [[]] * len(checks)
    (template,) = [block for block in blocks if block.get("kind") == "ClusterCheckTemplate"]
    assert checked(template) == []
