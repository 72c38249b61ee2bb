"""The pages: links that lead somewhere, and figures that are the same wherever they stand."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from canary.cli.main import build
from canary.model.comparisons import CheckSources
from canary.model.notifications import NotificationTargetSpec
from canary.model.rollout import RolloutSpec
from canary.model.steps import Mirror, Step

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        ROOT / "sandbox" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text()), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)).lower() for heading in headings]
    return {word.replace(" ", "-") for word in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files exist, and pages have the headings that are pointed at."""
    for link in LINK.findall(without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


SAME = {
    "7 ms": "5.5 / 6.9 / 8.0 ms",
    "56 ms": "45 / 56 / 81 ms",
    "8 ms": "5.9 / 8.0 / 15.6 ms",
    "5.6 s": "4.3 / 5.6 / 6.9 s",
    "18 to 25": "15 / 18 / 18",
    "40 a second, its plugin 5": "40 requests a second, bursts of 80; the plugin 5 a second",
    "145 MiB": "145 MiB",
    "192 to 199 MiB": "192 to 199 MiB",
    "117 MiB": "117 MiB",
    "yes, at the current generation": "Flagger waits, as canary does, until the route is Accepted at its current generation",
}
"""What README's table says of the other controllers, and where docs/comparison.md has it from."""


def test_readme_says_of_others_what_was_measured() -> None:
    """Whoever changes a figure in one place is told of the other; versions and date stand in both."""
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/comparison.md"))
    table = readme[readme.index("## Next to Argo Rollouts and Flagger") : readme.index("## What is not there yet")]
    for short, whole in SAME.items():
        assert f" {short}" in table, short
        assert whole in " ".join(page.split()), whole
    for fact in ("25 November 2026", "1.10.0-rc1 and 70 commits", "0.15.0", "1.44.0"):
        assert fact in " ".join(table.split()), fact
        assert fact in page, fact


SENDING = frozenset(
    {
        *("aiohttp", "apprise", "h11", "httpcore", "httpx", "kubernetes", "prometheus_api_client", "requests"),
        *("smtplib", "socket", "ssl", "urllib3", "urllib.request", "http.client"),
    }
)
"""Libraries by which something can leave a process."""


def imported(module: Path) -> set[str]:
    """What a module imports, wherever it does, by the names that it says."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for each in found for name in (each, each.partition(".")[0])}


def test_every_way_out_is_on_the_security_page() -> None:
    """Each module that can send something is named in its first table, and so is each source that a check may have."""
    text = (ROOT / "docs" / "security.md").read_text()
    table = text[text.index("| way out |") : text.index("## Requests of checks")]
    places = set(re.findall(r"`(canary/[\w/.]+)`", table))
    assert [place for place in places if not (ROOT / place).exists()] == []
    modules = [path for path in (ROOT / "canary").rglob("*.py") if imported(path) & SENDING]
    assert len(modules) > len(places) / 2
    unnamed = [
        str(path.relative_to(ROOT))
        for path in modules
        if not any(str(path.relative_to(ROOT)).startswith(place) for place in places)
    ]
    assert unnamed == []
    named = set(re.findall(r"`([a-z]+)`", table))
    targets = NotificationTargetSpec.model_fields.keys() - {"events", "selector"}
    assert (CheckSources.model_fields.keys() | targets) - named == set()


def test_a_way_out_has_tests_of_its_own() -> None:
    """Each section that its table leads to has rows, and all of them name tests (see below)."""
    text = (ROOT / "docs" / "security.md").read_text()
    table = text[text.index("| way out |") : text.index("## Requests of checks")]
    sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    by_anchor = {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-"): body for title, body in sections.items()}
    led_to = set(re.findall(r"\]\(#([\w-]+)\)", table))
    assert {anchor: len(NAMED.findall(by_anchor[anchor])) > 0 for anchor in led_to} == dict.fromkeys(led_to, True)


NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_is_named_is_there() -> None:
    """The security page says of each way out which test tries it."""
    text = (ROOT / "docs" / "security.md").read_text()
    named = NAMED.findall(text)
    rows = [
        line
        for line in text[text.index("## Requests of checks") :].splitlines()
        if line.startswith("| ") and not line.startswith("| somebody could want")
    ]
    assert rows
    assert all(NAMED.search(row) for row in rows)
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert missing == []


def options(command: Any) -> set[str]:
    """Every long option of a command and of those below it."""
    found = {name for one in command.params for name in one.opts if name.startswith("--")}
    return found.union(*map(options, getattr(command, "commands", {}).values()))


def test_every_option_is_named_on_some_page() -> None:
    """By its whole name: `--help` is not where people look for what they do not know of."""
    text = "\n".join(
        page.read_text() for page in PAGES if "decisions" not in page.parts and page.name != "CHANGELOG.md"
    )
    named = set(re.findall(r"--[a-z][a-z-]*", text))
    there = options(typer.main.get_command(build()))
    assert len(there) > 50
    assert there - named - SHELL == set()


SHELL = {"--show-completion"}
"""What the library adds for those who set up their shell by hand."""


def test_the_readme_has_every_field_of_a_rollout() -> None:
    """Of its spec, of a step and of what is mirrored, as "A Rollout, line by line" promises."""
    lines = (ROOT / "README.md").read_text().partition("## A Rollout, line by line")[2].partition("\n## ")[0]
    words = set(re.findall(r"[A-Za-z]+", lines))
    for kind in (RolloutSpec, Step, Mirror):
        for name, field in kind.model_fields.items():
            assert (field.alias or name) in words, f"{kind.__name__}.{field.alias or name}"
