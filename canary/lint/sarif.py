"""Findings as SARIF 2.1.0, which code scanning shows at the lines of a change.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html; numbers in comments are of its sections.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from canary import __version__
from canary.lint.catalogue import SENTENCES
from canary.lint.escape import as_json, printable
from canary.lint.findings import Finding
from canary.lint.report import Report

Json = dict[str, Any]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
STDIN = "<stdin>"
FINGERPRINT = "canaryFinding/v1"
"""Changes its number when what it is made of changes: readers compare those of two runs."""


def sarif(report: Report) -> str:
    """One run, with a rule for each id that was found, and a result for each finding."""
    ids = sorted({finding.id for finding in report.findings})
    seen: Counter[str] = Counter()
    results = [_result(finding, ids.index(finding.id), seen) for finding in report.findings]
    driver = {"name": "canary", "semanticVersion": __version__, "rules": [_rule(name) for name in ids]}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return as_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(name: str) -> Json:
    return {"id": name, "shortDescription": {"text": SENTENCES[name]}}


def _result(finding: Finding, index: int, seen: Counter[str]) -> Json:
    words = printable(finding.text, keep="\n\t")
    result: Json = {
        "ruleId": finding.id,
        "ruleIndex": index,
        # 3.27.10: note, warning and error are the words for it there, too.
        "level": finding.severity.value,
        "message": {"text": f"{finding.field}: {words}" if finding.field else words},
        "locations": [location] if (location := _location(finding)) else [],
        "partialFingerprints": {FINGERPRINT: _fingerprint(finding, seen)},
    }
    return result


def _location(finding: Finding) -> Json:
    location: Json = {}
    if finding.file and finding.file != STDIN:
        physical: Json = {"artifactLocation": {"uri": uri(finding.file)}}
        if finding.line:
            physical["region"] = {"startLine": finding.line, "startColumn": max(finding.column, 1)}
        location["physicalLocation"] = physical
    if finding.subject:
        name = "/".join(filter(None, (finding.subject, finding.field)))
        location["logicalLocations"] = [{"fullyQualifiedName": printable(name), "kind": "object"}]
    return location


def uri(file: str) -> str:
    """A file name as a URI reference; one that is relative stays so, and means the folder that lint was run in."""
    path = PurePath(file)
    written = quote(path.as_posix(), safe="/~+@=,", errors="surrogateescape")  # as Python reads names that are no UTF-8
    return f"file://{written}" if path.is_absolute() else written


def _fingerprint(finding: Finding, seen: Counter[str]) -> str:
    """The same wherever in its file a finding moves to, and another for each finding of a run (3.27.17)."""
    parts = (finding.id, finding.file, finding.subject, finding.field, finding.message)
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:32]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"
