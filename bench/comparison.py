"""The same runs with a comparison as their check: start, hold; some fail, then all."""

from __future__ import annotations

import time
from contextlib import ExitStack

from bench import world
from bench.child import Child, Json
from bench.scenario import Scenario, asked, rolled_back, say, until
from canary.preflight.offers import SETTLE


class Comparisons(Scenario):
    """One size with `compare` checks. Its figures stand beside those of the scenario with limits, and change none of them."""

    def run(self) -> Json:
        """Run it from the start to the end."""
        size = self._size
        with ExitStack() as stack:
            server = stack.enter_context(Child("server", str(size.declared), "0", str(size.interval), "compare"))
            address = (server.hello["url"], server.hello["token"])
            say("comparisons: starting the controller")
            controller = stack.enter_context(Child("controller", *address))
            self._settle(controller)
            say(f"{size.active} runs start at once")
            server.ask(do="deploy", first=0, end=size.active)
            until(server, lambda seen: seen["steps"].get("1/3", 0) >= size.active)
            self._speak()
            until(server, lambda seen: seen["compared"] >= size.active)
            self._settle(controller, quiet=0.7)
            self._hold(server, controller)
            self._fail(server, controller)
        return self._figures

    def _speak(self) -> None:
        time.sleep(SETTLE.total_seconds() + world.LAG + self._size.interval * world.JITTER + self._size.moment)

    def _hold(self, server: Child, controller: Child) -> None:
        say(f"{self._size.active} comparisons; steady for {self._size.window:g} s")
        server.ask(do="count")
        cpu, report, at = controller.cpu(), controller.ask(do="report"), time.monotonic()
        time.sleep(self._size.window)
        took = time.monotonic() - at
        cores, after = (controller.cpu() - cpu) / took, controller.ask(do="report")
        looks = after["looks"] - report["looks"]
        self._figures |= {
            "active_cores": cores,
            "active_mib": controller.memory(),
            "looks_per_second": looks / took,
            "queries_per_second": (after["measurements"] - report["measurements"]) / took,
            "judging_ms": 1000 * (after["judging"] - report["judging"]) / max(looks, 1),
            "active_requests_per_minute": sum(asked(server)[0].values()) * 60 / took,
            "status_bytes": server.ask(do="evidence")["largest"],
        }
        say(f"{cores:.2f} core; judging takes {self._figures['judging_ms']:.2f} ms a look")

    def _fail(self, server: Child, controller: Child) -> None:
        size = self._size
        teams = self._chosen()
        say(f"{len(teams)} runs get worse than stable, one by one")
        latencies: list[float] = []
        half, before = len(teams) // 2, 0
        for batch in (teams[:half], teams[half:]):
            controller.ask(do="fail", teams=batch)
            before += len(batch)
            until(server, rolled_back(before))
            latencies += controller.ask(do="failures")["latencies"]
        self._figures["failures"] = self._sent(latencies)
        left = [team for team in map(world.team, range(size.active)) if team not in teams]
        say(f"now all {len(left)} that are left get worse")
        controller.ask(do="fail", teams=left)
        until(server, rolled_back(size.active))
        self._figures["mass_failure"] = self._sent(controller.ask(do="failures")["latencies"])
