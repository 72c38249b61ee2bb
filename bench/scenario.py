"""What is run at each size: at rest, runs start, step, hold; a crash, a clean stop; some fail, then all."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from bench import world
from bench.child import Child, Json
from bench.figures import distribution
from canary.preflight.offers import SETTLE

PATIENCE = 300.0
"""Seconds that anything may take before the benchmark gives up."""

LEASES = "patch leases"
SINGLE_FAILURES = 200
QUICK_RUNS = 50


@dataclass(frozen=True, slots=True)
class Size:
    """What is run: Rollouts declared and active, seconds between measurements, seconds of each steady while."""

    declared: int
    active: int
    interval: float = 10.0
    window: float = 30.0

    @property
    def moment(self) -> float:
        """Seconds between two looks at a controller that is to come to rest."""
        return min(0.5, self.interval / 5)

    @property
    def quick(self) -> int:
        """How many of the active runs walk through their steps; the others stay at the first."""
        return max(1, min(QUICK_RUNS, self.active // 4))

    @property
    def failures(self) -> int:
        """How many fail one by one."""
        return max(1, min(SINGLE_FAILURES, self.active // 4))


class Scenario:
    """One scenario at one size. `run()` gives the figures: seconds, MiB, cores; milliseconds where the name says so."""

    def __init__(self, size: Size) -> None:
        self._size = size
        self._figures: Json = {"declared": size.declared, "active": size.active}

    def run(self) -> Json:
        """Run it from the start to the end."""
        size = self._size
        with ExitStack() as stack:
            server = stack.enter_context(Child("server", str(size.declared), str(size.quick), str(size.interval)))
            address = (server.hello["url"], server.hello["token"])
            say(f"seeded in {server.hello['seeded_seconds']:.1f} s; starting the controller")

            def controller() -> Child:
                return stack.enter_context(Child("controller", *address))

            first = controller()
            self._at_rest(server, first)
            self._start(server, first)
            self._steps(server)
            self._hold(server, first)
            second = self._crash(first, controller())
            third = self._stop(second, controller())
            third.terminate()
            fourth = self._cold(controller())
            self._some_fail(server, fourth)
            self._all_fail(server, fourth)
        return self._figures

    def _at_rest(self, server: Child, controller: Child) -> None:
        self._settle(controller)
        say(f"idle for {self._size.window:g} s")
        server.ask(do="count")
        time.sleep(self._size.window)
        minutes = self._size.window / 60
        counted, leases = asked(server)
        self._figures["idle_requests_per_minute"] = sum(counted.values()) / minutes
        self._figures["lease_requests_per_minute"] = leases / minutes
        self._figures["idle_mib"] = controller.memory()

    def _start(self, server: Child, controller: Child) -> None:
        size = self._size
        runs = size.active - size.quick
        say(f"{controller.memory():.0f} MiB idle; {runs} runs start at once")
        began = time.monotonic()
        server.ask(do="deploy", first=size.quick, end=size.active)
        until(server, lambda seen: seen["steps"].get("1/3", 0) >= runs)
        self._figures["start_runs_seconds"] = time.monotonic() - began
        self._speak()
        counted, _ = asked(server)
        self._figures["requests_per_run_start"] = {name: count / runs for name, count in sorted(counted.items())}

    def _steps(self, server: Child) -> None:
        size = self._size
        say(f"{size.quick} more runs walk through their steps")
        server.ask(do="deploy", first=0, end=size.quick)
        until(server, lambda seen: seen["steps"].get("3/3", 0) >= size.quick)
        self._speak()
        counted = server.ask(do="steps")
        self._figures |= {"steps": counted["steps"], "requests_per_step": counted["requests"]}

    def _hold(self, server: Child, controller: Child) -> None:
        say(f"{self._size.active} active; steady for {self._size.window:g} s")
        server.ask(do="count")
        cpu, report, at = controller.cpu(), controller.ask(do="report"), time.monotonic()
        time.sleep(self._size.window)
        took = time.monotonic() - at
        after = controller.ask(do="report")
        self._figures |= {
            "active_cores": (controller.cpu() - cpu) / took,
            "active_mib": controller.memory(),
            "peak_mib": controller.peak(),
            "measurements_per_second": (after["measurements"] - report["measurements"]) / took,
            "ticks_per_second": (after["ticks"] - report["ticks"]) / took,
            "active_requests_per_minute": sum(asked(server)[0].values()) * 60 / took,
        }

    def _crash(self, controller: Child, standby: Child) -> Child:
        self._settle(standby)
        say(f"{self._figures['active_cores']:.2f} core, {controller.memory():.0f} MiB; killing the controller")
        self._figures["standby_mib"] = standby.memory()
        at = time.time()
        controller.kill()
        self._figures["killed_goes_on_seconds"] = self._decided(standby)[0] - at
        return standby

    def _stop(self, controller: Child, standby: Child) -> Child:
        self._settle(controller, quiet=0.7)
        self._settle(standby)
        say(f"a run went on after {self._figures['killed_goes_on_seconds']:.1f} s; now a clean stop")
        at = time.time()
        controller.terminate()
        self._figures["stop_seconds"] = time.time() - at
        self._figures["stopped_goes_on_seconds"] = self._decided(standby)[0] - at
        return standby

    def _cold(self, controller: Child) -> Child:
        """No controller was there when this one was started."""
        decided = self._decided(controller)
        self._figures |= {
            "start_ready_seconds": controller.hello["ready_at"] - controller.born,
            "start_first_decision_seconds": decided[0] - controller.born,
            "start_all_decisions_seconds": decided[-1] - controller.born,
        }
        seconds = self._figures["stopped_goes_on_seconds"]
        say(f"a run went on after {seconds:.1f} s; started anew, after {decided[0] - controller.born:.1f} s")
        return controller

    def _decided(self, controller: Child) -> list[float]:
        """When which active run was first decided upon, in order, once all of them were."""
        deadline = time.monotonic() + PATIENCE
        while len(decided := controller.ask(do="report")["decided"]) < self._size.active:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {len(decided)} of {self._size.active} runs were taken up in {PATIENCE:g} s")
            time.sleep(0.1)
        times: list[float] = decided
        return times

    def _some_fail(self, server: Child, controller: Child) -> None:
        """Each fails with its own next measurement, so they come one by one, at random, over two intervals."""
        size = self._size
        self._settle(controller, quiet=0.7)
        say(f"{size.failures} runs fail, one by one")
        teams = self._chosen()
        before = 0
        half = len(teams) // 2
        latencies: list[float] = []
        for batch in (teams[:half], teams[half:]):
            controller.ask(do="fail", teams=batch)
            before += len(batch)
            until(server, rolled_back(before))
            latencies += controller.ask(do="failures")["latencies"]
        self._figures["failures"] = self._latencies(server, controller, teams, latencies)
        p99 = self._figures["failures"]["sent_ms"]["99"]
        say(f"failing sample → patch sent: p99 {p99:.1f} ms")

    def _all_fail(self, server: Child, controller: Child) -> None:
        """All that are left fail within one interval."""
        size = self._size
        left = size.active - size.failures
        say(f"now all {left} that are left fail")
        written = server.ask(do="rolled back")
        teams = [team for team in map(world.team, range(size.active)) if team not in written]
        began = time.monotonic()
        controller.ask(do="fail", teams=teams)
        until(server, rolled_back(size.active))
        self._figures["mass_failure_seconds"] = time.monotonic() - began
        latencies = controller.ask(do="failures")["latencies"]
        self._figures["mass_failure"] = self._latencies(server, controller, teams, latencies)

    def _chosen(self) -> list[str]:
        """Those that fail one by one."""
        return random.Random(1).sample([world.team(number) for number in range(self._size.active)], self._size.failures)

    @staticmethod
    def _sent(latencies: list[float]) -> Json:
        """By the controller's own stop-watch."""
        return {"count": len(latencies), "sent_ms": distribution([1000 * seconds for seconds in latencies])}

    @staticmethod
    def _latencies(server: Child, controller: Child, teams: list[str], sent: list[float]) -> Json:
        """`sent`: by the controller's own stop-watch; `written`: when the API server had the rollback in the route."""
        failed_at, written_at = controller.ask(do="failures")["failed_at"], server.ask(do="rolled back")
        return {
            "count": len(teams),
            "sent_ms": distribution([1000 * seconds for seconds in sent]),
            "written_ms": distribution([1000 * (written_at[team] - failed_at[team]) for team in teams]),
        }

    def _speak(self) -> None:
        """Let every check speak once after its gateway has settled, and a moment more for the status that says so."""
        time.sleep(SETTLE.total_seconds() + self._size.interval * world.JITTER + self._size.moment)

    def _settle(self, controller: Child, quiet: float = 0.2) -> None:
        """Wait until the controller has caught up: four moments in which it took less than `quiet` of a core."""
        moment, deadline = self._size.moment, time.monotonic() + PATIENCE
        calm = 0
        while calm < 4:
            before = controller.cpu()
            time.sleep(moment)
            calm = calm + 1 if controller.cpu() - before < quiet * moment else 0
            if time.monotonic() > deadline:
                raise SystemExit("the controller does not come to rest")


def say(text: str) -> None:
    """What is being done, for who waits."""
    sys.stderr.write(f"  {text}\n")


def asked(server: Child) -> tuple[Json, int]:
    """Requests of the controllers by kind since they were last counted; those for the Lease apart."""
    counted = server.ask(do="count")
    return {name: count for name, count in counted.items() if name != LEASES}, counted.get(LEASES, 0)


def rolled_back(enough: int) -> Callable[[Json], bool]:
    """Whether so many Rollouts are."""
    return lambda seen: seen["phases"].get("RolledBack", 0) >= enough


def until(server: Child, condition: Callable[[Json], bool]) -> None:
    """Wait until it is so of the Rollouts; SystemExit when it never is."""
    deadline = time.monotonic() + PATIENCE
    while not condition(seen := server.ask(do="phases")):
        if time.monotonic() > deadline:
            raise SystemExit(f"the benchmark waited {PATIENCE:g} s in vain; the Rollouts are: {seen}")
        time.sleep(0.2)
