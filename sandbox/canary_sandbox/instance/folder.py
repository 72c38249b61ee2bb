"""A sandbox's folder: who is up (a lock), how far a start is (the report), and what a next start resumes.

The lock is the truth about being up: the kernel takes it from a process that dies, on whatever line, so no file that a dead
supervisor left behind can pass for a living one. Files are replaced by rename: a reader sees the old or the new one whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canary.errors import SandboxError

Json = dict[str, Any]

_SETTINGS_FORMAT = "canary-sandbox"
_SETTINGS_VERSION = 1
_ATTEMPTS = 20


def default_folder() -> Path:
    """`canary/sandbox` in the user's state folder: $XDG_STATE_HOME, else ~/.local/state."""
    given = Path(os.environ.get("XDG_STATE_HOME") or "")
    base = given if given.is_absolute() else Path.home() / ".local" / "state"
    return base / "canary" / "sandbox"


@dataclass(frozen=True, slots=True)
class LockOwner:
    """The process that holds the lock; `birth` tells it from a later one of the same id."""

    pid: int
    birth: str

    @property
    def alive(self) -> bool:
        return birth_of(self.pid) == self.birth != ""


def birth_of(pid: int) -> str:
    """When a process began, in the system's own words; empty when there is none, or only its exit code is left."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            # The name, in parentheses, may hold anything; state and start are fields 3 and 22 of all (proc(5)).
            fields = stat.read_text().rpartition(")")[2].split()
            return "" if fields[0] in {"Z", "X"} else fields[19]
        except (OSError, IndexError):
            return ""
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, start = shown.stdout.strip().partition(" ")
    return "" if state.startswith("Z") else start.strip()


class Folder:
    """The files of one sandbox. Nothing is made before the lock is taken."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.kubeconfig = self.path / "kubeconfig"
        self.controller_kubeconfig = self.path / "controller.kubeconfig"
        self.log = self.path / "sandbox.log"
        self.controller_log = self.path / "controller.log"
        self.cluster = self.path / "cluster.json"
        """Objects and tokens of the API server."""
        self.settings = self.path / "sandbox.json"
        """What else is resumed: ports, faults, what was asked for."""
        self.run = self.path / "run"
        """Temporary files of what runs; emptied at each start and end."""
        self._lock = self.path / "lock"
        self._report = self.path / "report.json"

    # --- who is up ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock for the length of the block; False when somebody else does."""
        self.make()
        attempts = 0
        while True:
            handle = self._lock.open("a+")
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.close()
                attempts += 1
                if attempts < _ATTEMPTS:  # `held` takes it for an instant, to look
                    time.sleep(0.01)
                    continue
                yield False
                return
            with contextlib.suppress(FileNotFoundError):
                if os.fstat(handle.fileno()).st_ino == self._lock.stat().st_ino:
                    break
            handle.close()  # somebody deleted the folder meanwhile: this lock guards nothing
            self.make()
        with handle:
            handle.truncate(0)
            handle.write(json.dumps({"pid": os.getpid(), "birth": birth_of(os.getpid())}))
            handle.flush()
            yield True

    @property
    def held(self) -> bool:
        """Whether a supervisor is there: starting, up or on its way down."""
        try:
            handle = self._lock.open("r")
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise SandboxError(f"{self.path} is not ours to look into: {error}; choose another --folder") from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def owner(self) -> LockOwner | None:
        """Who holds the lock; None when nobody does, or has not yet said so."""
        if not self.held:
            return None
        try:
            said = json.loads(self._lock.read_text())
            return LockOwner(int(said["pid"]), str(said["birth"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    # --- how far it is -----------------------------------------------------------------------------------------------

    def report(self, document: Mapping[str, Any]) -> None:
        """Say how far we are; our process id goes with it. Holds the control token, so nobody else may read it."""
        self.write_report(report_of(document))

    def write_report(self, report: bytes) -> None:
        """The same for what `report_of` made: a thread may do this, since nobody changes bytes."""
        write(self._report, report)

    def reported(self, pid: int) -> Json | None:
        """What that process said last; None: nothing yet."""
        try:
            said: Json = json.loads(self._report.read_text())
        except (OSError, ValueError):
            return None
        return said if said.get("pid") == pid else None

    # --- what is resumed ---------------------------------------------------------------------------------------------

    @property
    def has_state(self) -> bool:
        return self.cluster.exists() or self.settings.exists()

    def load_settings(self) -> Json:
        """What `save_settings` wrote, empty when there is nothing. Raises SandboxError when it is something else."""
        try:
            said = json.loads(self.settings.read_text())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise self.broken(self.settings, f"it is no JSON, or not all of it: {error}") from error
        if not isinstance(said, dict) or said.get("format") != _SETTINGS_FORMAT:
            raise self.broken(self.settings, f"it is not of the format {_SETTINGS_FORMAT}")
        if said.get("version") != _SETTINGS_VERSION:
            reason = f"it is of version {said.get('version')}, and this program reads version {_SETTINGS_VERSION}"
            raise self.broken(self.settings, reason)
        return said

    def save_settings(self, settings: bytes) -> None:
        """Write what `settings_of` made; a thread may do this."""
        write(self.settings, settings)

    def broken(self, path: Path, reason: str) -> SandboxError:
        """The refusal to go on from a file that is not what we wrote."""
        return SandboxError(
            f"{path} cannot be resumed: {reason}; put the right one in its place, "
            f"or begin anew with `canary sandbox down --delete{self.flag}`"
        )

    # --- coming and going --------------------------------------------------------------------------------------------

    @property
    def flag(self) -> str:
        """What has to be added to a command line to mean this folder; begins with a space unless empty."""
        return "" if self.path == default_folder().absolute() else f" --folder {self.path}"

    def make(self) -> None:
        """Make the folder, for this user only. Raises SandboxError when that cannot be."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SandboxError(
                f"no folder can be made at {self.path}: {error}; choose another with --folder"
            ) from error

    def clear_run(self) -> None:
        """Throw temporary files away, those of an instance that ended in the middle too."""
        shutil.rmtree(self.run, ignore_errors=True)

    def forget_report(self) -> None:
        self._report.unlink(missing_ok=True)

    def delete(self) -> None:
        """Delete our files, and the folder if nothing else is in it. Hold the lock meanwhile."""
        self.clear_run()
        for path in (
            self.kubeconfig,
            self.controller_kubeconfig,
            *older(self.log),
            *older(self.controller_log),
            self.cluster,
            self.settings,
            self._report,
            self._lock,
        ):
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something in it is not ours, or it is gone already
            self.path.rmdir()


def report_of(document: Mapping[str, Any]) -> bytes:
    """A report as it is written. On the event loop, which is where the document changes."""
    return json.dumps({"pid": os.getpid(), **document}, indent=1).encode()


def settings_of(document: Mapping[str, Any]) -> bytes:
    """Settings as they are written and `load_settings` reads them. On the event loop, as above."""
    return json.dumps({"format": _SETTINGS_FORMAT, "version": _SETTINGS_VERSION, **document}, indent=1).encode()


def write(path: Path, content: bytes) -> None:
    """Replace a file by one of mode 0600, at once and for good: whoever dies when, it is the old one or the new one."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def older(log: Path) -> tuple[Path, Path]:
    """A log, and the one of the instance before."""
    return log, log.with_name(f"{log.name}.1")


def turn(log: Path) -> None:
    """Begin a new log; the one before is kept."""
    now, before = older(log)
    with contextlib.suppress(FileNotFoundError):
        now.replace(before)
