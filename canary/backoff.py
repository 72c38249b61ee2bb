"""How long to leave something alone that has just failed. Who tries again, how often, and what ends it, is the caller's.

tenacity (see `canary.kube.retry`) has no such wait: its random exponential one goes down to nothing, and the one with
jitter adds to the pause what we take off it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds: `first`, then `factor` times as long each time, `longest` at most; of each, up to `jitter` is off.

    `obeys`: of a Retry-After so many seconds are waited at most. Whoever answers says what they like, be it somebody's webhook, and
    what waits may be a rollback.

    `draw(low, high)` is where chance comes from: it spreads load, and guards nothing.
    """

    first: float
    longest: float
    factor: float = 2.0
    jitter: float = 0.5
    obeys: float = float("inf")
    draw: Callable[[float, float], float] = field(default=random.uniform, repr=False, compare=False)

    def pause(self, failures: int, error: BaseException | None = None) -> float:
        """Seconds to wait after so many failures in a row, the last of them included; at least its Retry-After, as far as that is obeyed."""
        most = min(self.longest, self.first * self.factor ** min(failures - 1, _MANY))
        asked = getattr(error, "retry_after", None) or 0.0
        return max(most * self.draw(1 - self.jitter, 1), min(asked, self.obeys))


_MANY = 64
"""Failures after which a pause grows no more, whatever its factor: what fails for days would overflow."""
