"""What all reconcilers of a controller share."""

from __future__ import annotations

from dataclasses import dataclass, field

from canary.act.events import EventRecorder
from canary.act.executor import Traffic
from canary.controller.clock import Clock
from canary.controller.conditions import Conditions
from canary.controller.fence import Fence
from canary.controller.jobs import Jobs
from canary.controller.measure import Pace
from canary.controller.priority_queue import PriorityQueue
from canary.controller.sight import Sights
from canary.controller.vouching import AT_ONCE
from canary.fair import FairLimit, Limit
from canary.kube import Kube
from canary.metrics.port import Provider
from canary.notify.notices import Notices
from canary.observe.store import Store
from canary.telemetry import Telemetry

OTHER_WRITES = 32
"""Writes that move no traffic that may be under way at a time, of all runs together; namespaces take turns."""


@dataclass(frozen=True, slots=True)
class Deps:
    """What every reconciler shares.

    `limit` keeps the API server free for writes of routes, which have places of their own (`traffic`), `tries` does of dry runs; `queue` the event
    loop for measurements. `sights` know how long the cluster could not be seen.
    """

    kube: Kube
    store: Store
    recorder: EventRecorder
    provider: Provider
    telemetry: Telemetry
    clock: Clock
    limit: Limit = field(default_factory=lambda: Limit(OTHER_WRITES))
    traffic: Traffic = field(default_factory=Traffic)
    tries: FairLimit = field(default_factory=lambda: FairLimit(AT_ONCE))
    fence: Fence = field(default_factory=Fence)
    sights: Sights = field(default_factory=Sights)
    pace: Pace = field(default_factory=Pace)
    queue: PriorityQueue = field(default_factory=PriorityQueue)
    conditions: Conditions = field(default_factory=Conditions)
    notices: Notices = field(default_factory=Notices)
    jobs: Jobs | None = None

    async def close(self) -> None:
        """Lets go of workers, and of what is still to be done for runs that are over."""
        self.conditions.close()
        if self.jobs is not None:
            await self.jobs.close()
