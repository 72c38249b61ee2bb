"""A Python that has imported the command line already, and forks for each time that it is run.

Half a second of each run is imports, and that is not what most tests are about. What runs is a process of its own in
everything else: its streams, environment, signals, exit code and end are those of `python -m canary`.

As a program it is the one that forks. It has one argument: a socket whose messages of one byte carry three descriptors, those of
standard output and error of a run, and of a socket on which it is told what to run (JSON, to its end) and tells the exit code.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

NEVER_NEEDED = ("canary.controller", "canary.act")
"""What only a controller imports."""


class WarmPython:
    """Runs `python -m canary` with given words in an environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` is what there is while things are imported; no run has it."""
        self._socket, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=dict(environment))
        atexit.register(self.close)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()

    async def run(self, words: Sequence[str], environment: Mapping[str, str], seconds: float) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a run without standard input.

        Raises:
            TimeoutError: it did not end in so many seconds; it is killed.

        """
        ours, theirs = socket.socketpair()
        with ours, theirs, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            socket.send_fds(self._socket, [b"."], [out.fileno(), err.fileno(), theirs.fileno()])
            theirs.close()
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            asked = {"words": list(words), "environment": dict(environment), "folder": str(Path.cwd())}
            await loop.sock_sendall(ours, json.dumps(asked).encode())
            ours.shutdown(socket.SHUT_WR)
            pid = int(await loop.sock_recv(ours, 16))
            try:
                code = int(await asyncio.wait_for(loop.sock_recv(ours, 16), seconds))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            for stream in (out, err):
                stream.seek(0)
            return code, out.read().decode(), err.read().decode()


def _import_all() -> None:
    import canary

    for module in pkgutil.walk_packages(canary.__path__, "canary."):
        if not module.name.startswith(NEVER_NEEDED) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()


def _serve(asked: socket.socket) -> None:
    """Fork for each message. Returns in the process that is to run something, with everything there as it was asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a Ctrl-C at the terminal whoever asks makes an end
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, streams, _, _ = socket.recv_fds(asked, 1, 3)
        if not message:
            sys.exit()
        if os.fork() == 0:
            asked.close()
            return _keep(streams)
        for stream in streams:
            os.close(stream)


def _keep(streams: Sequence[int]) -> None:
    """Fork once more: one waits for the end and tells of it, the other one returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, err, told = streams
    with socket.socket(fileno=told) as teller:
        asked = json.loads(b"".join(iter(lambda: teller.recv(65536), b"")))
        if pid := os.fork():
            teller.send(str(pid).encode())
            _, ended = os.waitpid(pid, 0)
            with contextlib.suppress(BrokenPipeError):
                teller.send(str(os.waitstatus_to_exitcode(ended)).encode())
            os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[0] = asked["folder"]
    sys.argv[1:] = asked["words"]
    # As Python makes them when it starts, for files and pipes.
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w")), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


if __name__ == "__main__":
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("canary", run_name="__main__", alter_sys=True)
