"""The JSON Schemas for editors: printed, valid, and of one mind with the examples."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from canary.model import jsonschema as editor

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "crds" / "schema"
MODELINE = re.compile(r"^# yaml-language-server: \$schema=(\S+)$", re.MULTILINE)


def test_what_is_printed_is_what_the_models_say(tmp_path: Path) -> None:
    """`make crds` was run after the last change of the models, for the CRDs and for the JSON Schemas."""
    subprocess.run([sys.executable, "-m", "canary.model", str(tmp_path)], check=True, cwd=ROOT)
    printed = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(ROOT / "crds"): path.read_text() for path in (ROOT / "crds").rglob("*") if path.is_file()}
    assert printed == kept
    assert len([path for path in printed if path.suffix == ".json"]) == 5


def words(node: Any) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(words, node))
    if not isinstance(node, dict):
        return set()
    return set(node).union(*map(words, node.values()))


@pytest.mark.parametrize("kind", sorted(editor.schemas()))
def test_each_is_a_json_schema_for_one_kind(kind: str) -> None:
    """Valid by its meta-schema, bound to its kind and version, and free of the words of Kubernetes."""
    schema = json.loads((FOLDER / editor.file_name(kind)).read_text())
    Draft7Validator.check_schema(schema)
    assert schema["properties"]["kind"]["const"] == kind
    assert schema["properties"]["apiVersion"]["const"] == "canary.dev/v1alpha1"
    assert not [word for word in words(schema) if word.startswith("x-")]
    assert schema["properties"]["spec"]["additionalProperties"] is False


def test_a_word_without_translation_is_refused() -> None:
    """A model that grows a new word must not lose it on the way to editors."""
    with pytest.raises(TypeError, match="no translation of oneOf"):
        editor.to_json_schema({"type": "object", "oneOf": []})


def test_an_editor_completes_and_explains() -> None:
    """Descriptions, enums, defaults and patterns are there."""
    spec = editor.schemas()["Rollout"]["properties"]["spec"]["properties"]
    assert spec["onFailure"]["enum"] == ["Rollback", "Pause"]
    assert spec["acceptTimeout"]["default"] == "60s"
    assert spec["steps"]["items"]["properties"]["weight"]["type"] == ["number", "string"]
    assert "description" in spec["steps"]["items"]["properties"]["hold"]


def test_examples_name_their_schema_and_keep_it() -> None:
    """Each object of ours in examples/ has a modeline to the schema of its kind, and is valid by it."""
    seen = 0
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        for text in re.split(r"^---$", path.read_text(), flags=re.MULTILINE):
            document = yaml.safe_load(text)
            if not document or not str(document.get("apiVersion", "")).startswith("canary.dev/"):
                continue
            seen += 1
            (modeline,) = MODELINE.findall(text)
            target = (path.parent / modeline).resolve()
            assert target == FOLDER / editor.file_name(document["kind"])
            Draft7Validator(json.loads(target.read_text())).validate(document)
    assert seen >= 2
