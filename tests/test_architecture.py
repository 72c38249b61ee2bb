"""The import contracts of .importlinter hold, and they bite."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts against the packages that lie in a folder as they lie in the repository."""
    program = (
        "import sys; sys.path[:0] = sys.argv[1:];"
        "from importlinter.cli import lint_imports; sys.exit(lint_imports('.importlinter', no_cache=True))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(folder), str(folder / "sandbox")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_contracts_hold() -> None:
    """Data flows one way, the pure rooms import no I/O, and each library has its one door."""
    checked = lint(ROOT)
    assert checked.returncode == 0, checked.stdout[-3000:] + checked.stderr[-1000:]
    assert "0 broken" in checked.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("canary/decide/guards.py", "import asyncio", "The pure rooms"),
        ("canary/checks/condition.py", "import threading", "The pure rooms"),
        ("canary/checks/compiler.py", "from canary.routes.pair import Backend", "Data flows one way"),
        ("canary/routes/edit.py", "from canary.decide.facts import Facts", "Data flows one way"),
        ("canary/controller/manager.py", "import kopf", "Only canary.controller.handlers knows kopf"),
        ("canary/controller/evidence.py", "import canary.controller.reconciler", "A reconciler is put together"),
        ("canary/controller/observation.py", "import canary.controller.run_state", "A reconciler is put together"),
        ("canary/observe/references.py", "import canary.observe.store", "The store is put together"),
        ("canary/model/times.py", "import canary.model.status", "A status is put together"),
        ("canary/act/executor.py", "import kubernetes", "Only canary.kube knows kubernetes"),
        ("canary/controller/measure.py", "import prometheus_api_client", "Only canary.metrics.prometheus"),
        ("canary/notify/apprise.py", "import apprise", "Only the process that sends by apprise"),
        ("canary/comparer/run.py", "import canary.kube.client", "The comparer knows no cluster"),
        ("canary/comparer/run.py", "import canary.controller.run", "Data flows one way"),
        ("canary/comparer/comparison.py", "import aiohttp", "The pure rooms"),
        ("canary/lint/report.py", "import canary.cli.main", "Nothing but the program itself"),
        ("sandbox/canary_sandbox/app.py", "import canary.cli.main", "Nothing but the program itself"),
        ("sandbox/canary_sandbox/app.py", "import kubernetes", "Only canary.kube knows kubernetes"),
        ("canary/controller/run.py", "import canary_sandbox.load", "Nothing in canary imports the sandbox"),
        ("canary/cli/plugins.py", "import canary_sandbox.verbs", "Nothing in canary imports the sandbox"),
        ("canary/act/executor.py", "import bench.figures", "Nothing in canary imports the sandbox"),
    ],
)
def test_contracts_bite(tmp_path: Path, module: str, line: str, contract: str) -> None:
    """One import in the wrong place breaks the contract that forbids it."""
    for package in ("canary", "bench", "sandbox/canary_sandbox"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "kustomize"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    offender = tmp_path / module
    offender.write_text(f"{offender.read_text()}\n{line}\n")
    checked = lint(tmp_path)
    assert checked.returncode != 0
    broken = [found for found in checked.stdout.splitlines() if " BROKEN" in found]
    assert any(contract in found for found in broken), checked.stdout[-3000:]
