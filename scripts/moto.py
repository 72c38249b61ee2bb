"""Make moto, which answers as Amazon's services do, available to the tests, in a virtual environment of its own: .sandbox/moto.

Its own, because it rests on botocore, which takes no python-dateutil as new as ours. Safe to run again; says nothing when all is well.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
WANTED = PROJECT / "scripts" / "moto.txt"
HOME = PROJECT / ".sandbox" / "moto"
READY = HOME / "installed.txt"


def main() -> int:
    """Return 0 when it is there, 1 when it could not be had."""
    wanted = WANTED.read_text()
    if READY.is_file() and READY.read_text() == wanted:
        return 0
    shutil.rmtree(HOME, ignore_errors=True)
    venv.create(HOME, with_pip=True)
    command = [HOME / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    if subprocess.run([*command, "--requirement", WANTED], check=False).returncode:  # noqa: S603 - our own arguments
        print("moto is missing: the tests of CloudWatch need it", file=sys.stderr)  # noqa: T201
        return 1
    READY.write_text(wanted)  # last, so that what is cut short is begun again
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
