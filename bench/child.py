"""A process of the benchmark: it answers one JSON line to one JSON line, and the kernel keeps its accounts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

Json = dict[str, Any]

_TICKS = os.sysconf("SC_CLK_TCK")

_BYTE_CODE = TemporaryDirectory(prefix="canary-bench-")
"""Of whatever a child imports: the first one compiles it, as the image does when it is built. Else a third of a start would be that."""


class Child:
    """A module of this package as a process of its own. `born` is when (time.time) it was started."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = f"bench.{module}"
        command = [sys.executable, "-m", self._module, *arguments]
        self.born = time.time()
        env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": _BYTE_CODE.name}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.hello: Json = {}

    def __enter__(self) -> Self:
        self.hello = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None and self.process.stdin is not None:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def ask(self, **command: Any) -> Json:
        """Send a command and wait for its answer."""
        if self.process.stdin is None:
            raise RuntimeError("the process has no standard input")
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._read()

    def kill(self) -> None:
        """As a crash would."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """As Kubernetes does: ask for a clean stop, and wait for it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def cpu(self) -> float:
        """Seconds of processor time so far, by the kernel's account."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> float:
        """Resident memory now, in MiB."""
        return self._status("VmRSS")

    def peak(self) -> float:
        """The most resident memory that the process ever had, in MiB."""
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"the kernel does not say {name} of {self._module}")

    def _read(self) -> Json:
        if self.process.stdout is None:
            raise RuntimeError("the process has no standard output")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with {self.process.wait()}")
        answer: Json = json.loads(line)
        return answer
