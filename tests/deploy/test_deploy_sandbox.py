"""The controller of `canary sandbox` has the rights of an installation, from a checkout and from a wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from deploy_kit import OVERLAYS, ROOT, grants, key, kustomized

from canary.sandbox.box import rights


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


def test_a_wheel_holds_what_demo_and_sandbox_need(tmp_path: Path) -> None:
    """The files of deploy/ byte for byte, and the Gateway API's definitions; our own are printed from the models."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(ROOT)], check=True, capture_output=True)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        for name in rights.FILES:
            assert wheel.read(f"canary/sandbox/box/kustomize/{name}") == (ROOT / "deploy/kustomize" / name).read_bytes()
        names = wheel.namelist()
    assert len([name for name in names if name.startswith("canary/sandbox/gatewayapi/")]) >= 4
    assert len(names) == len(set(names))
