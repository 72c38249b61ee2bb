"""The page on installing says of rights, alerts and series what is there, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from deploy_kit import told_everything

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text()
KUSTOMIZE = ROOT / "deploy" / "kustomize"
PREFIX = "canary-controller-"

IN_WORDS = {"policies", "foreign-workloads"}
"""Roles whose resources the page tells by what they have in common."""


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def words(cell: str) -> list[str]:
    """The names of a cell; what is in parentheses is about them."""
    return [word.strip() for word in re.sub(r"\([^)]*\)", "", cell).split(",")]


def declared() -> dict[str, set[tuple[str, str]]]:
    """Resource and verb of each rule of each role of the controller, by what comes after the common prefix."""
    found: dict[str, set[tuple[str, str]]] = {}
    for file in sorted(KUSTOMIZE.rglob("*.yaml")):
        documents: list[dict[str, Any]] = list(yaml.safe_load_all(file.read_text()))
        for one in documents:
            name = one["metadata"]["name"] if "metadata" in one else ""
            if one.get("kind") not in {"Role", "ClusterRole"} or not name.startswith(PREFIX):
                continue
            mine = found.setdefault(name.removeprefix(PREFIX), set())
            mine |= {(r, verb) for rule in one["rules"] for r in rule["resources"] for verb in rule["verbs"]}
    return found


def test_the_page_names_every_right_of_the_controller() -> None:
    """Each role, each of its resources with its verbs; none that it has not."""
    said: dict[str, set[tuple[str, str]]] = {}
    role = ""
    for first, resources, verbs, why in rows("What it may do, and why"):
        role = first.partition("`")[2].partition("`")[0] or role
        assert why
        said.setdefault(role, set()).update((r, verb) for r in words(resources) for verb in words(verbs))
    there = declared()
    assert set(said) == set(there)
    for name, rights in there.items():
        if name in IN_WORDS:
            assert {verb for _, verb in said[name]} == {verb for _, verb in rights}
        else:
            assert said[name] == rights, name


def test_the_page_names_every_alert() -> None:
    """In the order in which they are declared or another, but each once."""
    rule = yaml.safe_load((KUSTOMIZE / "components" / "monitoring" / "prometheusrule.yaml").read_text())
    there = [one["alert"] for group in rule["spec"]["groups"] for one in group["rules"]]
    assert sorted(row[0].strip("`") for row in rows("Alerts")) == sorted(there)


def test_the_page_names_every_series() -> None:
    """Each with its labels and whether it is a histogram; those of a Rollout have its own besides."""
    telemetry = told_everything()
    there = {}
    for family in telemetry.registry.collect():
        if not family.name.startswith("canary_"):
            continue
        histogram = family.type == "histogram"
        sample = next(one for one in family.samples if not one.name.endswith("_created"))
        labels = set(sample.labels) - {"le"} - ({"namespace", "rollout"} if "rollout" in sample.labels else set())
        there[family.name if histogram else sample.name] = (histogram, labels)
    said = {
        name.partition("`")[2].partition("`")[0]: ("(histogram)" in name, set(re.findall(r"`([a-z]+)`", labels)))
        for name, labels, _ in rows("Metrics")
    }
    assert said == there
