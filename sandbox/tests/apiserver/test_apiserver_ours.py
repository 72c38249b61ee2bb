"""What we ship for a cluster: any server takes our definitions and our examples as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiserver_kit import CRDS, OWN, Client
from cluster_kit import OUR_CRDS, install_all

from canary_sandbox.apiserver.generic import GenericApiServer

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FOREIGN = {"argoproj.io", "kustomize.toolkit.fluxcd.io"}
"""Groups whose definitions somebody else brings."""


def documents(folder: str) -> Iterator[dict[str, Any]]:
    for path in sorted((EXAMPLES / folder).glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document and document["apiVersion"].partition("/")[0] not in FOREIGN:
                yield document


async def create(client: Client, document: dict[str, Any]) -> tuple[int, Any]:
    """The answer to a strict creation of which nothing stays, in the namespace of the test."""
    api_version = document["apiVersion"]
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    found = [entry for entry in (await client("GET", root)).body["resources"] if entry["kind"] == document["kind"]]
    resource = next(entry for entry in found if "/" not in entry["name"])
    metadata = dict(document["metadata"])
    if resource["namespaced"]:
        root += f"/namespaces/{OWN}"
        metadata["namespace"] = OWN
    answer = await client(
        "POST", f"{root}/{resource['name']}?dryRun=All&fieldValidation=Strict", {**document, "metadata": metadata}
    )
    return answer.code, answer.body


DEFINITIONS = {path.stem: path.read_text() for path in sorted(OUR_CRDS.glob("*.yaml"))}


@pytest.mark.parametrize("name", DEFINITIONS)
async def test_our_definitions_are_taken(client: Client, name: str) -> None:
    """Structural, without a member that a server does not know, and with rules that cost less than the budget."""
    (document,) = yaml.safe_load_all(DEFINITIONS[name])
    query = "fieldManager=test&force=true&dryRun=All&fieldValidation=Strict"
    answer = await client(
        "PATCH", f"{CRDS}/{document['metadata']['name']}?{query}", DEFINITIONS[name],
        Content_Type="application/apply-patch+yaml",
    )  # fmt: skip
    assert answer.code in {200, 201}, answer.body


@pytest.mark.parametrize("folder", sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()))
async def test_our_examples_are_taken(api: GenericApiServer, client: Client, folder: str) -> None:
    """Each document passes schema and rules, and has no field that is not known."""
    await install_all(api)
    for document in documents(folder):
        code, said = await create(client, document)
        assert code == 201 or said["reason"] == "AlreadyExists", said


@pytest.mark.parametrize("hold", ["5m\n", "5 m", "", "m5"])
async def test_a_duration_is_whole(api: GenericApiServer, client: Client, hold: str) -> None:
    """A time that only begins or ends like a duration is refused; a line break after it, too."""
    await install_all(api)
    (rollout,) = [document for document in documents("routing-only") if document["kind"] == "Rollout"]
    rollout["spec"]["steps"] = [{"weight": 10, "hold": hold}]
    code, said = await create(client, rollout)
    assert (code, said["reason"]) == (422, "Invalid")
    assert said["details"]["causes"][0]["field"].startswith("spec.steps[0].hold")
