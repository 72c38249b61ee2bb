"""docs/cli.md, "In CI": what it tells people to put into their pipelines is run, on sound manifests and on broken ones."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from cli_kit import Run, canary
from cluster_kit import api_server, install_all

from canary.kube import HTTPROUTES, NAMESPACES, KubeClient

Json = dict[str, Any]

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECTION = PAGE.split("### In CI\n")[1].split("\n### ")[0]
WORKFLOW, GITLAB = (
    yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
)
STEPS = WORKFLOW["jobs"]["lint"]["steps"]

ROLLOUT = {
    "apiVersion": "canary.dev/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "shop", "namespace": "team-shop"},
    "spec": {
        "routes": [{"name": "shop"}],
        "stable": {"service": "shop-stable", "port": 8080},
        "canary": {"service": "shop-canary", "port": 8080},
        "steps": [{"weight": 10, "hold": "5m"}],
        "checks": [
            {
                "name": "errors",
                "prometheus": {"query": "rate(e{s='{{ canary.service }}'}[1m])"},
                "threshold": {"max": 1},
            }
        ],
    },
}


def route(*weights: int) -> Json:
    refs = [
        {"name": f"shop-{role}", "port": 8080, "weight": weight}
        for role, weight in zip(("stable", "canary"), weights, strict=True)
    ]
    return {
        "apiVersion": HTTPROUTES.api_version,
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "team-shop"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": refs}]},
    }


class Job:
    """A folder with manifests, and a shell that finds `canary` on its PATH."""

    def __init__(self, folder: Path, *manifests: Json) -> None:
        self.folder = folder
        (folder / "deploy").mkdir()
        (folder / "deploy" / "all.yaml").write_text(yaml.safe_dump_all(manifests))
        programs = folder / "bin"
        programs.mkdir()
        for name, line in (("canary", f'exec {shlex.quote(sys.executable)} -m canary "$@"'), ("promtool", "exit 0")):
            (programs / name).write_text(f"#!/bin/sh\n{line}\n")
            (programs / name).chmod(0o755)
        self.path = f"{programs}:/usr/bin:/bin"

    async def run(self, line: str, **env: str) -> Run:
        """A line of a pipeline, in the folder."""
        script = f"cd {shlex.quote(str(self.folder))} && {line}"
        return await canary("-e", "-c", script, command=("bash",), PATH=self.path, **{"KUBECONFIG": "/nowhere", **env})


@pytest.mark.parametrize(("weights", "code"), [((100, 0), 0), ((0, 0), 1)])
async def test_the_workflow_of_github(tmp_path: Path, weights: tuple[int, int], code: int) -> None:
    """Sound manifests pass; broken ones fail both steps, with annotations, and with the very file that is uploaded."""
    job = Job(tmp_path, ROLLOUT, route(*weights))
    annotate, scan, upload = STEPS[1:]
    assert WORKFLOW["permissions"]["security-events"] == "write", "what upload-sarif needs"
    assert scan["if"] == upload["if"] == "${{ !cancelled() }}", "also after the step before has found something"
    annotated = await job.run(annotate["run"])
    assert annotated.code == code, annotated.out + annotated.err
    assert annotated.out.startswith("::error file=deploy/all.yaml,line=") == bool(code)
    assert (await job.run(scan["run"])).code == code
    (run,) = json.loads((tmp_path / upload["with"]["sarif_file"]).read_text())["runs"]
    places = [result["locations"][0]["physicalLocation"] for result in run["results"]]
    assert [place["artifactLocation"]["uri"] for place in places] == ["deploy/all.yaml"] * code


@pytest.mark.parametrize(("weights", "code"), [((100, 0), 0), ((0, 0), 1)])
async def test_the_pipeline_of_gitlab(tmp_path: Path, weights: tuple[int, int], code: int) -> None:
    """Each script leaves the reports that its job names, also when it fails."""
    job = Job(tmp_path, ROLLOUT, route(*weights))
    ran = [await job.run(line) for line in GITLAB["manifests"]["script"]]
    assert [item.code for item in ran] == [code, code]
    assert GITLAB["manifests"]["artifacts"]["when"] == "always"
    for name in GITLAB["manifests"]["artifacts"]["reports"]["junit"]:
        assert ET.parse(tmp_path / name).getroot().get("failures") == str(code)


@pytest.mark.sandbox_only("the page names the namespace, and on another server that may be somebody's")
async def test_the_pipeline_of_gitlab_looks_at_the_cluster(tmp_path: Path) -> None:
    """After the manifests are applied: a route that no gateway has answered for is no success."""
    job = Job(tmp_path)
    (line,) = GITLAB["routes"]["script"]
    async with api_server() as api:
        await install_all(api)
        config = api.kubeconfig(tmp_path / "config")
        async with await KubeClient.connect(kubeconfig=str(config)) as kube:
            await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-shop"}})
            await kube.create(HTTPROUTES, route(100, 0))
            ran = await job.run(line, KUBECONFIG=str(config))
    assert ran.code == 1, ran.err
    root = ET.parse(tmp_path / GITLAB["routes"]["artifacts"]["reports"]["junit"]).getroot()
    assert [case.get("name") for case in root.iter("testcase")] == ["HTTPRoute team-shop/shop"]
    (failure,) = root.iter("failure")
    assert {"[BackendNotFound]", "[ParentMissing]"} == set(re.findall(r"\[[A-Z]\w+\]", failure.text or ""))
