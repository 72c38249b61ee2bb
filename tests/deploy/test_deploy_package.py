"""What is published as canary: nothing of the sandbox and the bench in it, and a program that works without them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from deploy_kit import ROOT

FOREIGN = ("sandbox", "bench", "jsonpatch", "envoy", "traefik")
"""Of neither name may there be anything: the sandbox itself, and what only the sandbox needs."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The names in the source distribution and in the wheel, as `python -m build` makes them: the second of the first."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run([*build, "--target", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (source,) = folder.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.2 has none
        archive.extractall(folder / "source")
        names = [name.partition("/")[2] for name in archive.getnames()]
    (unpacked,) = (folder / "source").iterdir()
    subprocess.run([*build, "--target", "wheel"], cwd=unpacked, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {"source": names, "wheel": archive.namelist(), "path": [str(wheel)]}


@pytest.mark.parametrize("kind", ["source", "wheel"])
def test_it_holds_the_program_and_nothing_of_the_sandbox(built: dict[str, list[str]], kind: str) -> None:
    """Every module of `canary`, and no file with a word of the sandbox or the bench in its name."""
    names = built[kind]
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "canary").rglob("*.py")}
    assert modules <= set(names)
    assert [name for name in names if any(word in name for word in FOREIGN)] == []


def test_it_requires_nothing_that_only_the_sandbox_needs() -> None:
    """Neither always nor as an extra; the sandbox requires canary, and in the version that it is made for."""
    ours, theirs = (tomllib.loads((ROOT / name).read_text()) for name in ("pyproject.toml", "sandbox/pyproject.toml"))
    extras = ours["project"].get("optional-dependencies", {})
    assert set(extras) == {"dev"}
    required = [*ours["project"]["dependencies"], *extras["dev"]]
    assert [one for one in required if any(word in one for word in FOREIGN)] == []
    from canary import __version__

    assert f"canary-gateway=={__version__}" in theirs["project"]["dependencies"]


@pytest.fixture(scope="module")
def alone(built: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of modules: canary from its wheel, and what is installed here but for the sandbox and what it needs."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(built["path"][0]) as wheel:
        wheel.extractall(folder)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "canary" not in entry.name and not entry.name.startswith(FOREIGN) and entry.suffix != ".pth":
            (folder / entry.name).symlink_to(entry)
    return folder


def run(alone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`canary …` with these modules only: `-S` leaves out what is installed."""
    return subprocess.run(
        [sys.executable, "-S", "-P", "-m", "canary", *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(alone), "HOME": str(alone)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [("demo",), ("demo", "--plain"), ("demo", "--help"), ("sandbox",), ("sandbox", "up", "--folder", "sandbox")],
)
def test_without_the_sandbox_its_verbs_say_what_to_install(alone: Path, words: tuple[str, ...]) -> None:
    """One sentence, whatever they are asked."""
    ran = run(alone, *words)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        f"Error: `canary {words[0]}` is not part of this installation; install canary-sandbox beside it "
        "(in a checkout of canary: pip install ./sandbox)\n"
    )


def test_without_the_sandbox_help_lists_what_there_is(alone: Path) -> None:
    """The other verbs, and they work."""
    shown = run(alone, "--help")
    assert shown.returncode == 0, shown.stderr
    listed = {line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert {"list", "lint", "controller", "version"} <= listed
    assert not {"sandbox", "demo"} & listed
    linted = run(alone, "lint", str(ROOT / "examples" / "shop"))
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_verbs_of_others_are_found_and_a_broken_one_disturbs_no_other(alone: Path, tmp_path: Path) -> None:
    """Any distribution may bring verbs; one that cannot be loaded says so when it is called."""
    (tmp_path / "acme.py").write_text(
        "def add(app):\n    @app.command('greet', help='Say hello.')\n    def greet(): print('hello')\n"
    )
    info = tmp_path / "acme_verbs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-verbs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[canary.verbs]\ngreet = acme:add\nbroken = acme.missing:add\n")
    for entry in alone.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    assert run(tmp_path, "greet").stdout == "hello\n"
    assert "greet" in run(tmp_path, "--help").stdout
    broken = run(tmp_path, "broken", "--all")
    assert broken.returncode == 1
    assert broken.stderr.startswith("Error: `canary broken` cannot be loaded (No module named 'acme.missing'")
    assert "install acme-verbs in the version of this program" in broken.stderr
