"""What was found, in the forms that people and machines read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from canary.lint.escape import as_json as dumped
from canary.lint.escape import printable
from canary.lint.findings import Finding, Severity


@dataclass(frozen=True, slots=True)
class Report:
    """`objects` are (file, line, subject) of what was looked at; `strict` makes warnings fail.

    `where`: the cluster, or the part of it, that was looked at instead of files.
    """

    findings: tuple[Finding, ...]
    objects: tuple[tuple[str, int, str], ...]
    files: int
    strict: bool = False
    where: str = ""

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def fails(self, finding: Finding) -> bool:
        """Whether this finding makes lint fail."""
        return finding.severity is Severity.ERROR or (self.strict and finding.severity is Severity.WARNING)

    @property
    def failed(self) -> bool:
        return any(self.fails(finding) for finding in self.findings)

    @property
    def summary(self) -> str:
        """`2 errors and 1 warning in 3 objects of 2 files`."""
        found = [
            _counted(self.count(severity), severity.value)
            for severity in (Severity.ERROR, Severity.WARNING)
            if self.count(severity)
        ]
        place = f"{_counted(len(self.objects), 'object')} of {self.where or _counted(self.files, 'file')}"
        return f"{' and '.join(found) if found else 'no problems'} in {place}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def place(finding: Finding) -> str:
    """`file:line:column`, as far as it is known; terminals and editors make links of it."""
    file = printable(finding.file)
    if file.startswith(":"):
        file = f"./{file}"  # a line that begins with two of them is a command to GitHub's runner
    return f"{file}:{finding.line}:{finding.column}" if finding.line else file


def text(report: Report) -> str:
    """For people: a line for the place, the field and what is wrong, one for what to do."""
    lines = []
    for finding in report.findings:
        where = place(finding)
        words = _lines(f"{_named(finding)}{finding.message} [{finding.id}]")
        lines.append(f"{where + ': ' if where else ''}{finding.severity.value}: {words}")
        if finding.advice:
            lines.append(f"    {_lines(finding.advice)}")
    return "\n".join([*lines, report.summary]) + "\n"


def _named(finding: Finding) -> str:
    names = ": ".join(name for name in (finding.subject, finding.field) if name)
    return f"{names}: " if names else ""


def _lines(words: str) -> str:
    """Where a message has several lines, none of the others looks like one of ours, or like a command to a CI."""
    return printable(words, keep="\n").replace("\n", "\n    | ")


_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def github(report: Report) -> str:
    """Workflow commands that GitHub turns into annotations of a pull request."""
    lines = []
    for finding in report.findings:
        properties = {"file": printable(finding.file)}
        if finding.line:
            properties |= {"line": str(finding.line), "col": str(finding.column)}
        properties["title"] = ": ".join(name for name in ("canary lint", finding.subject, finding.reason) if name)
        listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
        words = f"{finding.field}: {finding.text}" if finding.field else finding.text
        lines.append(f"::{_COMMANDS[finding.severity]} {listed}::{_data(words)}")
    return "".join(f"{line}\n" for line in [*lines, report.summary])


def _data(value: str) -> str:
    return printable(value, keep="\n").replace("%", "%25").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def junit(report: Report) -> str:
    """JUnit XML: a suite for each file, a case for each object, and a case for what belongs to no object."""
    root = Element("testsuites", name="canary lint")
    cases: dict[tuple[str, str], list[Finding]] = {(file, subject): [] for file, _, subject in report.objects}
    for finding in report.findings:
        cases.setdefault((finding.file, finding.subject), []).append(finding)
    if not cases:
        cases["", ""] = []
    lines = {(file, subject): line for file, line, subject in report.objects}
    total = 0
    for file in dict.fromkeys(file for file, _ in cases):
        suite = SubElement(root, "testsuite", name=_xml(file or "canary lint"))
        mine = {subject: found for (where, subject), found in cases.items() if where == file}
        failed = 0
        for subject, found in mine.items():
            case = SubElement(suite, "testcase", classname="canary.lint", name=_xml(subject or "file"), time="0")
            if file:
                case.set("file", _xml(file))
            if lines.get((file, subject)):
                case.set("line", str(lines[file, subject]))
            failed += _case(case, found, report)
        _numbers(suite, len(mine), failed)
        total += failed
    _numbers(root, len(cases), total)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _case(case: Element, found: Sequence[Finding], report: Report) -> bool:
    """One `failure` for all that fails, because readers show only the first; the rest goes to the output."""
    failing = [finding for finding in found if report.fails(finding)]
    other = [finding for finding in found if not report.fails(finding)]
    if failing:
        failure = SubElement(case, "failure", type=failing[0].id, message=_xml(_short(failing)))
        failure.text = _xml("\n".join(_line(finding) for finding in failing))
    if other:
        SubElement(case, "system-out").text = _xml("\n".join(_line(finding) for finding in other))
    return bool(failing)


def _short(failing: Sequence[Finding]) -> str:
    more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
    return f"{failing[0].field + ': ' if failing[0].field else ''}{failing[0].message}{more}"


def _line(finding: Finding) -> str:
    where = place(finding)
    name = f"{finding.field}: " if finding.field else ""
    return f"{where + ': ' if where else ''}{finding.severity.value}: {_lines(f'{name}{finding.text} [{finding.id}]')}"


def _numbers(element: Element, tests: int, failures: int) -> None:
    for name, value in (("tests", tests), ("failures", failures), ("errors", 0), ("skipped", 0)):
        element.set(name, str(value))


def _xml(value: str) -> str:
    """Text without the characters that XML 1.0 cannot hold, nor any other that is not to be printed."""
    return printable(value, keep="\n\t")


def as_json(report: Report) -> str:
    """For programs."""
    document: dict[str, Any] = {
        "findings": [
            {
                "severity": finding.severity.value,
                "rule": finding.rule.value,
                "reason": finding.reason,
                "file": finding.file,
                "line": finding.line or None,
                "column": finding.column or None,
                "object": finding.subject,
                "field": finding.field,
                "message": finding.message,
                "advice": finding.advice,
            }
            for finding in report.findings
        ],
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "notes": report.count(Severity.NOTE),
        "objects": len(report.objects),
        "files": report.files,
        "failed": report.failed,
    }
    return dumped(document)
