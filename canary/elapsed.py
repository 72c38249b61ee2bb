"""What has passed, by a clock that is no time of day."""

from __future__ import annotations

import time


def elapsed() -> float:
    """Seconds by a clock that nobody sets, and that goes on while the machine or the process sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
