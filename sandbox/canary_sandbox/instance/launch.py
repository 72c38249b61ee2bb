"""Starting a supervisor in the background and following it until it is ready; ending it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import canary
import canary_sandbox
from canary.errors import SandboxError
from canary_sandbox.instance.client import NotUpError, ask
from canary_sandbox.instance.folder import Folder, LockOwner, turn

Json = dict[str, Any]

TAKEN = 75
"""Exit code of a supervisor that finds another one in its folder (EX_TEMPFAIL of sysexits.h)."""
START_WITHIN = 180.0
"""Seconds; a start takes about ten."""
STOP_WITHIN = 30.0
"""Seconds from the request to stop until it is insisted on."""
_LOOK = 0.05
"""Seconds between two looks at another process."""

Say = Callable[[str], None]


def start(folder: Folder, options: Json, say: Say) -> tuple[Json, bool]:
    """Bring a sandbox up unless it is; returns where everything is, and whether it was up before.

    `say` gets each step as it begins. Ctrl-C takes back what was started. Raises SandboxError when it does not start.
    """
    owner = folder.owner()
    phase = (folder.reported(owner.pid) or {}).get("phase") if owner else None
    if phase == "ready":
        return ask(folder, "GET", "/status"), True
    if owner is not None and phase == "stopping":
        _gone(folder, owner, STOP_WITHIN)
    child = None if folder.held else _spawn(folder, options)
    try:
        return _follow(folder, child, say), False
    except BaseException:
        if child is not None:
            _end(child)
        raise


def _spawn(folder: Folder, options: Json) -> subprocess.Popen[bytes]:
    folder.make()
    turn(folder.log)
    command = [sys.executable, "-m", "canary_sandbox.instance", str(folder.path), json.dumps(options)]
    with os.fdopen(os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        # A session of its own: neither Ctrl-C nor the end of this terminal reaches it.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder.path,
            env={**os.environ, **same_program()},
            start_new_session=True,
        )


def same_program() -> dict[str, str]:
    """Environment in which `python -m canary` is the package that runs now, whatever lies in the working directory."""
    roots = {Path(package.__path__[0]).resolve().parent for package in (canary, canary_sandbox)}
    # What is installed is found anyway, and never to come before the library.
    ours = sorted(str(root) for root in roots if root.name not in {"site-packages", "dist-packages"})
    given = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]  # noqa: PTH100  as text
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join([*ours, *given])}


def _follow(folder: Folder, child: subprocess.Popen[bytes] | None, say: Say) -> Json:
    """Wait until the supervisor (`child`, or whoever holds the lock) says that it is ready."""
    deadline, told = time.monotonic() + START_WITHIN, 0
    while time.monotonic() < deadline:
        if child is not None and child.poll() == TAKEN:
            child = None  # two of us at once: follow the other
        pid = child.pid if child is not None else _pid(folder)
        ended = child.returncode is not None if child is not None else not folder.held
        said = (folder.reported(pid) if pid else None) or {}
        for step in (said.get("steps") or [])[told:]:
            say(step)
            told += 1
        match said.get("phase"):
            case "ready":
                info: Json = said["info"]
                return info
            case "failed":
                if child is not None:
                    child.wait()
                raise SandboxError(f"the sandbox did not start: {said['error']} (log: {folder.log})")
        if ended:
            raise SandboxError(
                f"the sandbox ended before it was up; its log, {folder.log}, ends with:\n{_tail(folder)}"
            )
        time.sleep(_LOOK)
    raise SandboxError(
        f"the sandbox was not up after {START_WITHIN:g} s; its log, {folder.log}, ends with:\n{_tail(folder)}"
    )


def _pid(folder: Folder) -> int | None:
    owner = folder.owner()
    return owner.pid if owner else None


def _tail(folder: Folder, lines: int = 8) -> str:
    with suppress(OSError):
        return "\n".join(folder.log.read_text(errors="replace").splitlines()[-lines:])
    return ""


def _end(child: subprocess.Popen[bytes]) -> None:
    """Take back what we started ourselves; its own children die with it."""
    with suppress(ProcessLookupError):
        child.terminate()
    try:
        child.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def stop(folder: Folder) -> bool:
    """End the supervisor, and wait until it is gone; False when none was there.

    Asks first, then sends SIGTERM, then SIGKILL, only ever to the process that took the lock. Raises SandboxError when
    it is not gone then, or could not save its state.
    """
    owner = folder.owner()
    if owner is None:
        if folder.held:
            raise SandboxError(f"somebody holds {folder.path} without saying who; try again in a moment")
        tidy(folder)
        return False
    try:
        ask(folder, "POST", "/stop", timeout=5)
    except NotUpError:
        _signal(owner, signal.SIGTERM)
    if not _gone(folder, owner, STOP_WITHIN):
        _signal(owner, signal.SIGKILL)
        if not _gone(folder, owner, 10):
            raise SandboxError(f"process {owner.pid} of the sandbox in {folder.path} cannot be ended")
    said = folder.reported(owner.pid) or {}
    if said.get("phase") == "failed":
        folder.forget_report()
        raise SandboxError(f"the sandbox has ended, but: {said['error']} (log: {folder.log})")
    tidy(folder)
    return True


def tidy(folder: Folder) -> None:
    """Remove what a supervisor leaves behind that could not end by itself; not the state, and not its logs."""
    if folder.path.exists():
        with folder.locked() as ours:
            if ours:
                folder.clear_run()
                folder.forget_report()


def _signal(owner: LockOwner, signum: signal.Signals) -> None:
    if owner.alive:
        with suppress(ProcessLookupError):
            os.kill(owner.pid, signum)


def _gone(folder: Folder, owner: LockOwner, within: float) -> bool:
    deadline = time.monotonic() + within
    # It lets go of the lock a moment before it is gone.
    while owner.alive or (folder.held and folder.owner() in {owner, None}):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return True
