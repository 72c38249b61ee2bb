"""`make audit`: what the image installs is what is listed, and what nobody could ask about is no pass."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from deploy_kit import DEPLOY, ROOT

_SPEC = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
assert _SPEC is not None
assert _SPEC.loader is not None
audit = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(audit)

WANTED = audit.installed()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def bare(requirement: str) -> str:
    return str(audit.canonical(re.split(r"[<>=!~;\[ ]", requirement)[0]))


def test_what_is_listed_is_what_comes_with_the_wheel() -> None:
    """All that it names, and all that this brings along, and nothing else: of tools, tests and the sandbox nothing."""
    assert "/wheels/*.whl" in (DEPLOY / "Dockerfile").read_text(), "without extras"
    direct = {bare(one) for one in PROJECT["dependencies"]}
    assert direct <= set(WANTED)
    brought = {name: {bare(one.name) for one in audit._required(name, frozenset({""}))} for name in WANTED}
    assert set().union(*brought.values()) <= set(WANTED)
    for name in WANTED.keys() - direct:
        assert any(name in those for those in brought.values()), name
    others = {bare(one) for one in PROJECT["optional-dependencies"]["dev"]} - direct
    assert others
    # jq, say, is brought along by nothing that the image needs.
    assert not (others & set(WANTED)), others & set(WANTED)
    assert {name: audit.pins()[name] for name in WANTED} == WANTED


def test_what_is_not_pinned_is_not_audited_as_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = audit.pins()
    del pins["httpx"]
    monkeypatch.setattr(audit, "pins", lambda: pins)
    with pytest.raises(SystemExit, match=r"not pinned in constraints.txt: httpx"):
        audit.installed()


def tool(folder: Path, text: str) -> tuple[str, str]:
    """A program that is called as pip-audit or cyclonedx-py; `answer` is where it is to write."""
    program = folder / "tool.py"
    head = "import json, sys\nanswer = sys.argv[sys.argv.index('--output' if '--output' in sys.argv else '--output-file') + 1]\n"
    program.write_text(head + text)
    return sys.executable, str(program)


def answers(found: list[dict[str, Any]], code: int = 0) -> str:
    return f"open(answer, 'w').write({json.dumps({'dependencies': found, 'fixes': []})!r})\nsys.exit({code})\n"


CLEAN: list[dict[str, Any]] = [{"name": name, "version": version, "vulns": []} for name, version in WANTED.items()]
FLAW = {"id": "PYSEC-2026-1", "fix_versions": ["9.9"], "aliases": ["CVE-2026-1"], "description": "bad"}
SKIPPED = {"name": "httpx", "skip_reason": "Dependency not found on PyPI and could not be audited: httpx (0.28.1)"}
UNREACHED = "sys.exit('Max retries exceeded with url: /pypi/aiohttp/3.14.5/json')\n"


def but(**change: Any) -> list[dict[str, Any]]:
    return [{**one, **change} if one["name"] == "httpx" else one for one in CLEAN]


@pytest.mark.parametrize(
    ("program", "code", "words"),
    [
        (answers(CLEAN), 0, f"nothing is known against {len(WANTED)} packages"),
        (answers(but(vulns=[FLAW]), 1), 1, f"httpx {WANTED['httpx']}: PYSEC-2026-1, fixed in 9.9"),
        (answers(but(vulns=[FLAW])), 1, f"something is known against 1 of {len(WANTED)} packages"),
        (answers([one for one in CLEAN if one["name"] != "httpx"] + [SKIPPED]), 1, "(httpx): nobody checked them"),
        (answers([one for one in CLEAN if one["name"] != "httpx"]), 1, "knows nothing of 1 of"),
        (answers(but(version="0.1")), 1, "(httpx): nobody checked them"),
        (answers([]), 1, f"knows nothing of {len(WANTED)} of {len(WANTED)} packages"),
        (UNREACHED, 1, "the advisory service could not be asked, so nothing is known"),
        ("open(answer, 'w').write('[]')\n", 1, "the advisory service could not be asked"),
        ("open(answer, 'w').write('<html>')\n", 1, "the advisory service could not be asked"),
    ],
)
def test_only_what_was_asked_about_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], program: str, code: int, words: str
) -> None:
    """pip-audit itself exits with 0 where the service knew none of the packages."""
    assert audit.advisories(tool(tmp_path, program)) == code
    said = capsys.readouterr()
    assert words in said.out + said.err


BILL = """
lines = [one.strip().split("==") for one in sys.stdin]
made = [{"name": name, "version": version} for name, version in lines]
json.dump({"components": made%s, "metadata": {"component": {}}}, open(answer, "w"))
"""


def test_a_bill_of_materials_names_what_the_image_installs_or_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One package less, or a tool that fails: the file is gone, and the command says so."""
    file = tmp_path / "dist" / "bill.json"
    assert audit.sbom(file, tool(tmp_path, BILL % "")) == 0
    document = json.loads(file.read_text())
    assert {one["name"]: one["version"] for one in document["components"]} == WANTED
    assert document["metadata"]["component"]["version"] == audit.__version__
    for program in (BILL % "[1:]", f"{BILL % ''}\nsys.exit('no')", "sys.exit(0)"):
        assert audit.sbom(file, tool(tmp_path, program)) == 1
        assert not file.exists()
        assert "there is no bill of materials" in capsys.readouterr().err
