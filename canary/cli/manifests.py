"""The manifests that `lint` is given: files, folders and standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from canary.cli.exits import CliError, ExitCode
from canary.lint.findings import Finding, Rule, Severity
from canary.lint.source import Document, read

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"


def read_files(arguments: Sequence[str], namespace: str) -> tuple[list[Document], list[Finding], int]:
    """Every object of every file; what cannot be read of them; and the number of files."""
    documents: list[Document] = []
    findings: list[Finding] = []
    files = _files(arguments)
    for name in files:
        try:
            raw = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
            found, wrong = read(raw.decode("utf-8-sig"), "<stdin>" if name == STDIN else name, namespace)
        except UnicodeDecodeError as error:
            wrong = [Finding(Severity.ERROR, Rule.YAML, f"the file is no UTF-8: {error.reason}", name)]
            found = []
        except OSError as error:
            wrong = [Finding(Severity.ERROR, Rule.YAML, f"the file cannot be read: {error.strerror or error}", name)]
            found = []
        documents += found
        findings += wrong
    return documents, findings, len(files)


def _files(arguments: Sequence[str]) -> list[str]:
    """The files named, and those of the folders named; hidden folders are left out. Each once, in order."""
    names: list[str] = []
    for argument in arguments:
        if not argument.strip():
            raise CliError("the name of a file or folder is empty", ExitCode.USAGE)
        path = Path(argument)
        if argument == STDIN or path.is_file():
            names.append(argument)
        elif path.is_dir():
            held = sorted(
                str(file)
                for file in path.rglob("*")
                if file.suffix in SUFFIXES
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
            if not held:
                words = (
                    f"the folder {argument} has no file that ends in {', '.join(SUFFIXES)} (hidden ones do not count)"
                )
                raise CliError(words, ExitCode.USAGE)
            names += held
        elif path.exists():  # a pipe, such as <(helm template …)
            names.append(argument)
        else:
            raise CliError(f"there is no file or folder {argument}", ExitCode.USAGE)
    return list(dict.fromkeys(names))
