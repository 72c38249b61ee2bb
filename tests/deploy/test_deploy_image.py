"""The image, as far as it can be tried without a container engine: its inputs are there and its steps do what they say."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from deploy_kit import DEPLOY, ROOT

DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*", " ", DOCKERFILE).splitlines()
    if line.strip() and not line.startswith("#")
]


def pins(path: Path) -> set[str]:
    """The names that a constraints file gives one exact version, in the spelling that pip compares."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", name).lower() for name, _ in (line.split("==") for line in lines)}


def test_everything_it_copies_is_there_and_is_sent() -> None:
    """Each COPY from the repository names something that exists and that the ignore file lets through."""
    allowed = {
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line[0] == "!"
    }
    sources = [
        source
        for word, rest in INSTRUCTIONS
        if word == "COPY" and not rest.startswith("--from")
        for source in shlex.split(rest)[:-1]
    ]
    assert sources
    assert set(sources) == allowed
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_it_is_neither_root_nor_floating() -> None:
    """Two stages of one tagged base; the last runs as a number that is not 0, as the Deployment says."""
    bases = [rest.split()[0] for word, rest in INSTRUCTIONS if word == "FROM"]
    assert bases == ["python:${PYTHON}"] * 2
    (tag,) = [rest.partition("=")[2] for word, rest in INSTRUCTIONS if word == "ARG" and rest.startswith("PYTHON=")]
    assert re.fullmatch(r"3\.11(\.\d+)?-slim-[a-z]+", tag)
    assert [rest for word, rest in INSTRUCTIONS if word == "USER"] == ["65532:65532"]
    assert INSTRUCTIONS[-2:] == [["ENTRYPOINT", '["canary"]'], ["CMD", '["controller", "run"]']]


def test_every_dependency_is_pinned() -> None:
    """What the package and its build need is in the constraints that the image installs with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["build-system"]["requires"]
    needed = {re.split(r"[<>=\[]", one)[0].lower() for one in wanted}
    assert needed <= pins(ROOT / "constraints.txt"), needed


def test_the_same_source_gives_the_same_wheel(tmp_path: Path) -> None:
    """The builder's pip command, twice, with the source's time set: equal to the byte, with the package in it."""
    (command,) = [rest for word, rest in INSTRUCTIONS if word == "RUN" and rest.startswith("pip wheel")]
    words = shlex.split(command.replace("/wheels", "WHEELS"))
    digests = set()
    for name in ("first", "second"):
        folder = tmp_path / name
        replaced = [str(folder) if word == "WHEELS" else str(ROOT) if word == "." else word for word in words[1:]]
        subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", *replaced],
            check=True,
            capture_output=True,
            env={"SOURCE_DATE_EPOCH": "1700000000", "PATH": "/usr/bin:/bin"},
        )
        (wheel,) = folder.glob("*.whl")
        digests.add(hashlib.sha256(wheel.read_bytes()).hexdigest())
        with zipfile.ZipFile(wheel) as content:
            assert "canary/controller/run.py" in content.namelist()
    assert len(digests) == 1
