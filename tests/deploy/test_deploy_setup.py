"""How the set-up installs: by uv, and by pip wherever uv may not do it or fails."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from deploy_kit import ROOT

PYTHON = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
    "-m pip config list") printf '%s\\n' "$PIP_SAYS" ;;
    *"$FAILS"*) echo "no such luck" >&2; exit 1 ;;
esac
"""
EDITABLE = "--editable .[dev] --editable ./sandbox"
BY_PIP = f"-m pip install --quiet --disable-pip-version-check --constraint constraints.txt {EDITABLE}"
GET_UV = "-m pip install --quiet --disable-pip-version-check --no-compile --only-binary :all: --constraint constraints.txt uv"
NOTHING = "what nobody calls"


def calls(folder: Path, *options: str, fails: str = NOTHING, pip_says: str = "") -> tuple[int, list[str]]:
    """The exit code of the set-up, and what it asked of Python."""
    python, log = folder / "python", folder / "calls"
    python.write_text(PYTHON)
    python.chmod(0o755)
    env = {**os.environ, "CALLS": str(log), "FAILS": fails, "PIP_SAYS": pip_says}
    done = subprocess.run(["sh", ROOT / "scripts" / "install.sh", python, *options], cwd=folder, env=env, check=False)
    return done.returncode, [line.replace(str(python), "PYTHON") for line in log.read_text().splitlines()]


@pytest.mark.parametrize(("options", "compiles"), [((), "--compile-bytecode "), (("--no-compile",), "")])
def test_uv_does_it(tmp_path: Path, options: tuple[str, ...], compiles: str) -> None:
    """From pins, into the virtual environment, and pip has nothing left to do."""
    code, said = calls(tmp_path, *options, pip_says=":env:.find-links='/wheels'")
    by_uv = f"-m uv pip install --quiet --python PYTHON {compiles}--constraint constraints.txt {EDITABLE}"
    assert (code, said) == (0, ["-m pip config list", GET_UV, by_uv])


@pytest.mark.parametrize(
    "line",
    [
        "global.index-url='https://pypi.example.org/simple'",
        ":env:.index-url='https://pypi.example.org/simple'",
        "install.extra-index-url='https://pypi.example.org/simple'",
        "global.no-index='1'",
        "user.proxy='http://proxy.example.org:3128'",
        "global.trusted-host='pypi.example.org'",
        "global.client-cert='/etc/me.pem'",
    ],
)
def test_where_pip_was_told_of_an_index_pip_does_it(tmp_path: Path, line: str) -> None:
    """uv would not read that, and ask an index that may not be reached, or not be wanted."""
    assert calls(tmp_path, pip_says=line) == (0, ["-m pip config list", BY_PIP])


@pytest.mark.parametrize("fails", [" uv", "-m uv"], ids=["it is not to be had", "it fails"])
def test_without_uv_pip_does_it(tmp_path: Path, fails: str) -> None:
    code, said = calls(tmp_path, fails=fails)
    assert (code, said[-1]) == (0, BY_PIP)


def test_what_pip_says_in_the_end_is_shown(tmp_path: Path) -> None:
    """Neither can do it: the set-up fails, and is made anew the next time."""
    code, said = calls(tmp_path, "--no-compile", fails="install")
    assert (code, said[-1]) == (1, BY_PIP.replace("--constraint", "--no-compile --constraint", 1))
