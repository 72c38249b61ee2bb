"""Findings in the forms that people and machines read."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

from canary.lint.findings import Finding, Rule, Severity
from canary.lint.report import Report, as_json, github, junit, text

ERROR = Finding(
    Severity.ERROR,
    Rule.CEL,
    "100% wrong\nhere",
    "a,b:c.yaml",
    7,
    3,
    "Rollout team-shop/shop",
    "spec.steps[0]",
    "mend it",
)
WARNING = Finding(Severity.WARNING, Rule.PLAN, "looks <odd> & bad\x07", "d.yaml", 1, 1, "Rollout pay", "spec")
NOTE = Finding(Severity.NOTE, Rule.PROMQL, "not parsed")
OBJECTS = (("a,b:c.yaml", 2, "Rollout team-shop/shop"), ("d.yaml", 1, "Rollout pay"), ("d.yaml", 9, "CheckTemplate t"))


def report(*findings: Finding, strict: bool = False) -> Report:
    return Report(findings, OBJECTS, files=2, strict=strict)


def test_warnings_fail_only_when_strict_and_notes_never() -> None:
    """What decides the exit code."""
    assert report(ERROR).failed
    assert not report(WARNING, NOTE).failed
    assert report(WARNING, strict=True).failed
    assert not report(NOTE, strict=True).failed


def test_for_people_the_place_comes_first() -> None:
    """file:line:column is what terminals and editors make links of; the last line sums up."""
    lines = text(report(ERROR, NOTE)).splitlines()
    assert lines[0] == "a,b:c.yaml:7:3: error: Rollout team-shop/shop: spec.steps[0]: 100% wrong"
    assert lines[2] == "    mend it"
    assert lines[3] == "note: not parsed [promql]"
    assert lines[-1] == "1 error in 3 objects of 2 files"
    assert text(report()).splitlines() == ["no problems in 3 objects of 2 files"]


COMMAND = re.compile(r"^::(error|warning|notice) ((?:[a-z]+=[^,:]*,?)+)::(.*)$")


def test_github_commands_are_escaped() -> None:
    """One line each: newlines, percent signs, and in properties commas and colons must not break the command."""
    *lines, summary = github(report(ERROR, WARNING, NOTE)).splitlines()
    found = [COMMAND.match(line) for line in lines]
    assert all(found)
    levels = [match[1] for match in found if match]
    assert levels == ["error", "warning", "notice"]
    assert "file=a%2Cb%3Ac.yaml,line=7,col=3," in lines[0]
    assert lines[0].endswith("::spec.steps[0]: 100%25 wrong%0Ahere; mend it")
    assert not summary.startswith("::")


def test_junit_is_xml_that_counts() -> None:
    """A suite for each file, a case for each object, failures only for what fails; characters that XML lacks are gone."""
    root = ET.fromstring(junit(report(ERROR, WARNING, NOTE)))
    assert root.tag == "testsuites"
    assert (root.get("tests"), root.get("failures")) == ("4", "1")
    suites = {suite.get("name"): suite for suite in root}
    assert {name: (suite.get("tests"), suite.get("failures")) for name, suite in suites.items()} == {
        "a,b:c.yaml": ("1", "1"),
        "d.yaml": ("2", "0"),
        "canary lint": ("1", "0"),
    }
    (failed,) = root.iter("failure")
    assert "100% wrong" in (failed.text or "")
    assert "looks <odd> & bad" in "".join(element.text or "" for element in suites["d.yaml"].iter("system-out"))
    case = suites["d.yaml"].find("testcase[@name='CheckTemplate t']")
    assert case is not None
    assert (case.get("line"), list(case)) == ("9", [])
    strict = ET.fromstring(junit(report(ERROR, WARNING, strict=True)))
    assert strict.get("failures") == "2"
    assert ET.fromstring(junit(Report((), (), 0))).get("tests") == "1"


def test_json_has_every_part_on_its_own() -> None:
    """Programs need not take sentences apart."""
    document = json.loads(as_json(report(ERROR, WARNING, NOTE)))
    assert (document["errors"], document["warnings"], document["notes"], document["failed"]) == (1, 1, 1, True)
    first = document["findings"][0]
    assert first["line"] == 7
    assert (first["object"], first["field"], first["rule"]) == ("Rollout team-shop/shop", "spec.steps[0]", "cel")
    assert document["findings"][2]["line"] is None
