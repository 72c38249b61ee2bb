"""The pages: links that lead somewhere, and figures that are the same wherever they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

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


NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_test_that_is_named_is_there() -> None:
    """The security page says of each way out which test tries it."""
    text = (ROOT / "docs" / "security.md").read_text()
    named = NAMED.findall(text)
    rows = [
        line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| somebody could want")
    ]
    assert rows
    assert all(NAMED.search(row) for row in rows)
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert missing == []
