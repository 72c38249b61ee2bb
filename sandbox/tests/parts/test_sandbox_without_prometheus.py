"""A machine without Prometheus: the demo and the sandbox go on without it, and say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from canary.lint.run import lint
from canary.lint.source import read
from canary.model.status import Phase
from canary_sandbox.demo import manifests
from canary_sandbox.demo.screen import make_screen
from canary_sandbox.demo.story import Story
from canary_sandbox.instance import world
from canary_sandbox.instance.folder import Folder
from canary_sandbox.verbs.up import story

ROLLOUTS = {
    "the demo's": [manifests.compared(scraped=True)],
    "the sandbox's": world.documents("envoy", 80, scraped=True),
    "the sandbox's on Traefik": world.documents("traefik", 80, scraped=True),
}


@pytest.mark.parametrize("documents", ROLLOUTS.values(), ids=ROLLOUTS)
def test_its_rollout_asks_no_prometheus(documents: list[dict[str, Any]]) -> None:
    """And is one that lint has nothing against."""
    rollout = documents[-1]
    assert "prometheus" not in json.dumps(rollout["spec"])
    found, problems = read(json.dumps(rollout), "rollout.yaml")
    assert not problems
    assert [finding.text for finding in lint(found).findings if finding.severity.value != "note"] == []


@pytest.mark.e2e
@pytest.mark.sandbox_only("the demo starts a sandbox of its own")
async def test_the_demo_begins_without_it(monkeypatch: Any, tmp_path: Path, capsys: Any) -> None:
    """With the controller as a process, which has no address to ask, and a Rollout that is valid all the same."""
    monkeypatch.setenv("CANARY_PROMETHEUS", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("canary_sandbox.prometheus._PROJECT_BINARY", tmp_path / "prometheus")
    monkeypatch.setattr("canary_sandbox.prometheus.shutil.which", lambda _: None)
    async with Story(make_screen(plain=True, color=False)) as demo:
        await demo.declare()
        assert demo._notes.status.phase is Phase.IDLE
    assert "there is no Prometheus on this machine" in capsys.readouterr().out


def test_where_everything_is(tmp_path: Path) -> None:
    """No address is shown that is none."""
    info: dict[str, Any] = {
        "folder": str(tmp_path),
        "kubeconfig": "k",
        "apiServer": "a",
        "gateway": {"kind": "envoy", "url": None, "listeners": {}, "host": None},
        "prometheus": None,
        "controller": None,
        "controllerKubeconfig": "c",
        "example": False,
        "troubles": [],
    }
    text = "\n".join(story(info, Folder(tmp_path), before=False))
    assert "Prometheus  none; checks of `scrape` ask the pods themselves" in text
    assert "canary controller run --kubeconfig c --allow-hosts 127.0.0.0/8" in text
    assert "None" not in text
