"""The referee: starts both processes, plays the scenarios, reads the kernel's accounting, writes JSON and a table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

Json = dict[str, Any]
_TICKS = os.sysconf("SC_CLK_TCK")


class Child:
    """A process that answers one JSON line to one JSON line."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        command = [sys.executable, "-m", module, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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

    def cpu(self) -> float:
        """Seconds of processor time so far, by the kernel's account."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self, name: str = "VmRSS") -> float:
        """MiB, now (VmRSS) or at most (VmHWM)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def _read(self) -> Json:
        if self.process.stdout is None:
            raise RuntimeError("the process has no standard output")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._module} ended with {self.process.wait()}")
        answer: Json = json.loads(line)
        return answer


@dataclass
class Result:
    """The figures of one size. Seconds, MiB, cores, milliseconds as named."""

    declared: int
    active: int
    seeded_seconds: float = 0.0
    ready_seconds: float = 0.0
    idle_requests_per_minute: float = 0.0
    idle_mib: float = 0.0
    start_runs_seconds: float = 0.0
    requests_per_run_start: dict[str, float] = field(default_factory=dict)
    active_cores: float = 0.0
    active_mib: float = 0.0
    active_peak_mib: float = 0.0
    measurements_per_second: float = 0.0
    active_requests_per_minute: float = 0.0
    restart_first_decision_seconds: float = 0.0
    rollback_p50_ms: float = 0.0
    rollback_p99_ms: float = 0.0
    rollback_max_ms: float = 0.0
    rollbacks: int = 0
    rolled_back_seconds: float = 0.0


def play(declared: int, active: int, window: float) -> Result:
    """One scenario: at rest, runs start, a steady while, a crash and a restart, and everything fails."""
    result = Result(declared, active)
    with ExitStack() as stack:
        server = stack.enter_context(Child("canary.sandbox.bench.server", str(declared)))
        result.seeded_seconds = server.hello["seeded_seconds"]
        _say(f"seeded in {result.seeded_seconds:.1f} s; starting the controller")
        address = (server.hello["url"], server.hello["token"])
        controller = stack.enter_context(Child("canary.sandbox.bench.controller", *address))
        result.ready_seconds = controller.hello["ready_seconds"]
        _settle(controller)
        _say(f"ready after {result.ready_seconds:.1f} s; idle for {window:g} s")
        server.ask(do="count")
        time.sleep(window)
        result.idle_requests_per_minute = sum(server.ask(do="count").values()) * 60 / window
        result.idle_mib = controller.memory()

        _say(f"{result.idle_mib:.0f} MiB idle; {active} runs start")
        began = time.monotonic()
        server.ask(do="deploy", count=active, version="v2", generation=2)
        _until(server, lambda seen: seen["steps"].get("1/3", 0) >= active, 300)
        result.start_runs_seconds = time.monotonic() - began
        _say(f"all at step one after {result.start_runs_seconds:.1f} s; steady for {window:g} s")
        time.sleep(12)  # every check has spoken once
        counted = server.ask(do="count")
        result.requests_per_run_start = {name: number / active for name, number in sorted(counted.items())}

        cpu, asked, at = controller.cpu(), controller.ask(do="report")["measurements"], time.monotonic()
        time.sleep(window)
        took = time.monotonic() - at
        result.active_cores = (controller.cpu() - cpu) / took
        result.measurements_per_second = (controller.ask(do="report")["measurements"] - asked) / took
        result.active_mib, result.active_peak_mib = controller.memory(), controller.memory("VmHWM")
        result.active_requests_per_minute = sum(server.ask(do="count").values()) * 60 / took

        _say(f"{result.active_cores:.2f} cores, {result.active_mib:.0f} MiB; killing the controller")
        controller.kill()
        second = stack.enter_context(Child("canary.sandbox.bench.controller", *address))
        deadline = time.monotonic() + 120
        while (first := second.ask(do="report")["first_decision_seconds"]) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        result.restart_first_decision_seconds = first if first is not None else float("nan")
        _settle(second)
        _say(f"first decision {result.restart_first_decision_seconds:.1f} s after the start; now everything fails")
        time.sleep(12)

        began = time.monotonic()
        second.ask(do="fail")
        _until(server, lambda seen: seen["phases"].get("RolledBack", 0) >= active, 300)
        result.rolled_back_seconds = time.monotonic() - began
        latencies = sorted(1000 * seconds for seconds in second.ask(do="report")["latencies"])
        result.rollbacks = len(latencies)
        result.rollback_p50_ms = statistics.median(latencies)
        result.rollback_p99_ms = latencies[min(len(latencies) - 1, int(0.99 * len(latencies)))]
        result.rollback_max_ms = latencies[-1]
    return result


def _say(text: str) -> None:
    sys.stderr.write(f"  {text}\n")


def _settle(controller: Child) -> None:
    """Wait until the controller has caught up: two quiet seconds."""
    quiet = 0
    while quiet < 4:
        before = controller.cpu()
        time.sleep(0.5)
        quiet = quiet + 1 if controller.cpu() - before < 0.1 else 0


def _until(server: Child, condition: Any, within: float) -> None:
    deadline = time.monotonic() + within
    while not condition(seen := server.ask(do="phases")):
        if time.monotonic() > deadline:
            raise SystemExit(f"the benchmark waited {within:g} s in vain; the Rollouts are: {seen}")
        time.sleep(0.2)


def main() -> None:
    """Play the sizes asked for and write the figures."""
    parser = argparse.ArgumentParser(prog="make bench", description="What the controller costs.")
    parser.add_argument("sizes", nargs="*", default=["1000:100", "10000:1000"], help="declared:active, e.g. 1000:100")
    parser.add_argument("--window", type=float, default=30, help="seconds of each steady measurement (default: 30)")
    parser.add_argument("--output", type=Path, help="write the figures as JSON to this file")
    options = parser.parse_args()
    results = []
    for size in options.sizes:
        declared, active = (int(part) for part in size.split(":"))
        sys.stderr.write(f"{declared} Rollouts, {active} of them active …\n")
        results.append(play(declared, active, options.window))
    document = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "results": [asdict(result) for result in results],
    }
    text = json.dumps(document, indent=2)
    if options.output:
        options.output.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
