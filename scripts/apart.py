"""Make programs available that cannot live beside ours, each in a virtual environment of its own: `apart.py NAME`.

What NAME.txt beside this file lists, with exact versions, is installed into .sandbox/NAME: `moto`, which answers the tests as Amazon's
services do, rests on botocore, which takes no python-dateutil as new as ours; `audit` is what `make audit` asks, and nobody else needs.
Safe to run again; says nothing when all is well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]


def main(name: str) -> int:
    """Return 0 when it is there, 1 when it could not be had."""
    listed = PROJECT / "scripts" / f"{name}.txt"
    home = PROJECT / ".sandbox" / name
    ready, wanted = home / "installed.txt", listed.read_text()
    if ready.is_file() and ready.read_text() == wanted:
        return 0
    shutil.rmtree(home, ignore_errors=True)
    venv.create(home, with_pip="pip_api" in wanted)  # who asks pip for something there; to install, ours does
    command = [sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install", "--no-deps"]
    command += ["--quiet", "--disable-pip-version-check", "--no-compile"]  # of thousands of modules a few are used
    if subprocess.run([*command, "--requirement", listed], check=False).returncode:  # noqa: S603 - our own arguments
        print(f"{name} is missing: what scripts/{name}.txt lists could not be installed", file=sys.stderr)  # noqa: T201
        return 1
    ready.write_text(wanted)  # last, so that what is cut short is begun again
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
