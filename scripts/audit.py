"""What the image installs, by name and version: as a bill of materials, and whether something is known against any of it.

`audit.py list` prints it as requirements, from the pins and the metadata of what is installed here; `audit.py sbom FILE` writes it as
CycloneDX; neither asks anybody. `audit.py advisories` asks the advisory service of PyPI by pip-audit. Where that cannot be asked, or
knows one of them not, it fails and says so: nothing known is not nothing wrong.

What else is in an image, its base, is for a scanner of images.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

from canary import __version__

PROJECT = Path(__file__).resolve().parents[1]
TOOLS = PROJECT / ".sandbox" / "audit" / "bin"
OURS = "canary-gateway"
IMAGE = {
    "python_version": "3.11",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
}
"""What markers of dependencies are read for: the image, wherever this runs."""


def canonical(name: str) -> str:
    """As pip compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Versions of constraints.txt, by canonical name."""
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if line.strip())}


def installed(root: str = OURS) -> dict[str, str]:
    """Everything that comes with `root` on the image, by canonical name, with its pinned version; not itself. Raises SystemExit."""
    versions, found, waiting = pins(), dict[str, set[str]](), [Requirement(root)]
    while waiting:
        wanted = waiting.pop()
        name = canonical(wanted.name)
        extras = {"", *wanted.extras}
        if extras <= found.get(name, set()):
            continue
        found.setdefault(name, set()).update(extras)
        waiting += _required(name, frozenset(found[name]))
    missing = sorted(found.keys() - versions.keys() - {root})
    if missing:
        raise SystemExit(f"not pinned in constraints.txt: {', '.join(missing)}")
    return {name: versions[name] for name in sorted(found.keys() - {root})}


@cache
def _required(name: str, extras: frozenset[str]) -> tuple[Requirement, ...]:
    try:
        listed = requires(name) or []
    except PackageNotFoundError:
        raise SystemExit(
            f"{name} is not installed here, so nobody knows what it brings along: type make setup"
        ) from None
    found = map(Requirement, listed)
    return tuple(
        one
        for one in found
        if one.marker is None or any(one.marker.evaluate({**IMAGE, "extra": extra}) for extra in extras)
    )


def requirements() -> str:
    """A line for each, as pip reads them."""
    return "".join(f"{name}=={version}\n" for name, version in installed().items())


def sbom(file: Path, tool: Sequence[str | Path] = (TOOLS / "cyclonedx-py",)) -> int:
    """Write a bill of materials, of exactly what is listed. The same pins give the same bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    command = [*tool, "requirements", "-", "--pyproject", PROJECT / "pyproject.toml", "--mc-type", "application"]
    command += ["--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON", "--output-file", file]
    # It warns that the list, being one, says nothing of what needs what.
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    said = subprocess.run(command, input=requirements(), capture_output=True, text=True, check=False, env=env)  # noqa: S603 - our own arguments
    try:
        document = json.loads(file.read_text())
        named = {canonical(one["name"]): one["version"] for one in document["components"]}
    except (OSError, ValueError, KeyError, TypeError):
        named = {}
    if said.returncode or named != installed():
        file.unlink(missing_ok=True)
        return _fails(
            f"there is no bill of materials of what the image installs: {' '.join(said.stderr.split())[-300:]}"
        )
    document["metadata"]["component"]["version"] = __version__
    file.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    print(f"{file}: {len(named)} packages of {OURS} {__version__}")  # noqa: T201
    return 0


def advisories(tool: Sequence[str | Path] = (TOOLS / "pip-audit",)) -> int:
    """Say what is known against each of them; 0 only if all of them were asked about, and nothing is."""
    wanted = installed()
    with tempfile.TemporaryDirectory() as folder:
        listed, answer = Path(folder, "requirements.txt"), Path(folder, "answer.json")
        listed.write_text(requirements())
        command = [*tool, "--requirement", listed, "--no-deps", "--disable-pip", "--progress-spinner", "off"]
        command += ["--format", "json", "--output", answer]
        said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
        try:
            asked = {canonical(one["name"]): one for one in json.loads(answer.read_text())["dependencies"]}
        except (OSError, ValueError, KeyError, TypeError):
            words = " ".join(said.stderr.split())[-300:]
            return _fails(
                f"the advisory service could not be asked, so nothing is known of {len(wanted)} packages: {words}"
            )
    bad = [(name, one) for name, one in sorted(asked.items()) if one.get("vulns")]
    for name, one in bad:
        for flaw in one["vulns"]:
            fixed = ", ".join(flaw.get("fix_versions") or ()) or "no version yet"
            print(f"{name} {one.get('version')}: {flaw.get('id')}, fixed in {fixed}")  # noqa: T201
    unknown = [
        name for name in wanted if "vulns" not in asked.get(name, {}) or asked[name].get("version") != wanted[name]
    ]
    if unknown:
        names = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        return _fails(
            f"the advisory service knows nothing of {len(unknown)} of {len(wanted)} packages ({names}): nobody checked them"
        )
    if bad:
        return _fails(f"something is known against {len(bad)} of {len(wanted)} packages")
    print(f"nothing is known against {len(wanted)} packages")  # noqa: T201
    return 0


def _fails(words: str) -> int:
    print(words, file=sys.stderr)  # noqa: T201
    return 1


def main(*words: str) -> int:
    """What was asked for."""
    match words:
        case ("list",):
            print(requirements(), end="")  # noqa: T201
            return 0
        case ("sbom", file):
            return sbom(Path(file))
        case ("advisories",):
            return advisories()
        case _:
            return _fails("audit.py list | sbom FILE | advisories")


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
