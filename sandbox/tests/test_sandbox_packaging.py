"""The controller of `canary sandbox` has the rights of an installation, from a checkout and from a wheel."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from deploy_kit import OVERLAYS, ROOT, grants, key, kustomized

import canary
import canary_sandbox
from canary_sandbox.instance import rights

SANDBOX = ROOT / "sandbox"


def test_the_rights_are_those_of_the_overlay() -> None:
    """What `canary sandbox up` applies is what kustomize renders, but for the pod and what is about the pod."""
    rendered = kustomized(OVERLAYS / "cluster-wide")
    about_the_pod = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    wanted = {key(one): one for one in rendered if one["kind"] not in about_the_pod}
    mine = rights.documents()
    assert {key(one) for one in mine} == set(wanted)
    assert grants(mine) == grants(rendered) != set()
    for one in mine:
        for part in ("rules", "roleRef", "subjects", "automountServiceAccountToken"):
            assert one.get(part) == wanted[key(one)].get(part), (key(one), part)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `python -m build` makes it: of what the source distribution holds, nothing of the checkout around it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run([*build, "--target", "sdist"], cwd=SANDBOX, check=True, capture_output=True)
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        archive.extractall(folder / "source")
    (unpacked,) = (folder / "source").iterdir()
    subprocess.run([*build, "--target", "wheel"], cwd=unpacked, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_a_wheel_holds_what_demo_and_sandbox_need(wheel: Path) -> None:
    """The files of deploy/ byte for byte, and the Gateway API's definitions; our own are printed from the models."""
    with zipfile.ZipFile(wheel) as archive:
        for name in rights.FILES:
            held = archive.read(f"canary_sandbox/instance/kustomize/{name}")
            assert held == (ROOT / "deploy/kustomize" / name).read_bytes()
        names = archive.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert b"[canary.verbs]" in archive.read(entry_points)
    assert len([name for name in names if name.startswith("canary_sandbox/gatewayapi/")]) >= 4
    assert len(names) == len(set(names))
    modules = {str(path.relative_to(SANDBOX)) for path in (SANDBOX / "canary_sandbox").rglob("*.py")}
    assert modules <= set(names)
    assert not [name for name in names if name.startswith(("canary/", "tests/", "bench/"))]


def test_it_is_of_one_release_with_canary() -> None:
    """The two have one version, and one licence."""
    assert canary_sandbox.__version__ == canary.__version__
    assert (SANDBOX / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
