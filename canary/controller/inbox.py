"""Where measurements of a run wait for its next tick."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from canary.checks.traffic import TRAFFIC
from canary.model.measurement import Answered, Compared, Counts, Measured, Reading, Sample, Timed


@dataclass(slots=True)
class Inbox:
    """What came in since the last tick. `failing_since` times the oldest measurement in it (time.monotonic)."""

    measurements: list[tuple[str, Measured]] = field(default_factory=list)
    traffic: Reading | None = None
    since: float | None = None

    def put(self, name: str, measurement: Measured | Reading) -> None:
        if name == TRAFFIC:
            self.traffic = None if isinstance(measurement, Sample | Compared | Timed | Answered) else measurement
        if name == TRAFFIC or isinstance(measurement, Counts):
            return
        self.measurements.append((name, measurement))
        if self.since is None:
            self.since = time.monotonic()

    def take(self) -> tuple[tuple[tuple[str, Measured], ...], Reading | None, float | None]:
        taken = tuple(self.measurements), self.traffic, self.since
        self.measurements, self.traffic, self.since = [], None, None
        return taken

    def put_back(
        self, measurements: tuple[tuple[str, Measured], ...], traffic: Reading | None, since: float | None
    ) -> None:
        """What was taken counts in the next tick, before what has come in meanwhile."""
        self.measurements[:0] = measurements
        self.traffic = self.traffic or traffic
        self.since = self.since if since is None else since
