"""What the controller says about itself: one log line per tick, Prometheus series, and its health."""

from __future__ import annotations

from canary.telemetry.log import configure, tick_line
from canary.telemetry.metrics import Telemetry, waits_for
from canary.telemetry.server import TelemetryServer

__all__ = ["Telemetry", "TelemetryServer", "configure", "tick_line", "waits_for"]
