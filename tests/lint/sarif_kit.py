"""What SARIF 2.1.0 wants of a log: the constraints of its specification that the log of a linter can break."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]

URI = re.compile(r"[A-Za-z0-9\-._~/%+@=,:]+")
LEVELS = {"none", "note", "warning", "error"}


def results(log: Json) -> list[Json]:
    """The results of a log of one run, which is held against the specification first."""
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("/sarif-schema-2.1.0.json")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"]
    rules = driver["rules"]
    ids = [rule["id"] for rule in rules]
    assert len(set(ids)) == len(ids)
    assert all(rule["shortDescription"]["text"].endswith(".") for rule in rules)
    fingerprints = [tuple(sorted(result["partialFingerprints"].items())) for result in run["results"]]
    assert len(set(fingerprints)) == len(fingerprints), "two results of one run would pass for one"
    for result in run["results"]:
        _result(result, ids)
    found: list[Json] = run["results"]
    return found


def _result(result: Json, ids: list[str]) -> None:
    assert ids[result["ruleIndex"]] == result["ruleId"]
    assert result["level"] in LEVELS
    assert result["message"]["text"]
    assert all(isinstance(value, str) and value for value in result["partialFingerprints"].values())
    for location in result["locations"]:
        assert location, "a location that says nothing"
        for name in location.get("logicalLocations", ()):
            assert name["fullyQualifiedName"]
        physical = location.get("physicalLocation")
        if physical is None:
            continue
        uri = physical["artifactLocation"]["uri"]
        assert URI.fullmatch(uri), uri
        assert uri.startswith("file:///") or not re.match(r"/|[^/]*:", uri), "neither absolute nor relative"
        region = physical.get("region")
        if region is not None:
            assert region["startLine"] >= 1
            assert region["startColumn"] >= 1


def place(result: Json) -> tuple[str, int]:
    """File name and line of a result."""
    physical = result["locations"][0]["physicalLocation"]
    return unquote(physical["artifactLocation"]["uri"]), physical["region"]["startLine"]
