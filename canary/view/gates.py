"""Gates and replicas that a run waits for, as far as a document and a clock tell. Pure.

A CLI has its own clock, and of the API server's it knows nothing: what it says of a window is what people read, and decides nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ValidationError

from canary.decide.reasons import AWAITING_REPLICAS, CANNOT_SCALE
from canary.model.gates import Window
from canary.model.status import RolloutStatus

Json = dict[str, Any]


def window_of(step: Json) -> Window | None:
    """The window of a declared step; None where it has none, or one that this version cannot read."""
    gate = step.get("gate")
    declared = gate.get("window") if isinstance(gate, dict) else None
    if not isinstance(declared, dict):
        return None
    try:
        return Window.model_validate(declared)
    except ValidationError:
        return None


def gate_words(step: Json) -> str:
    """What the gate of a step is, in short: `window Mon-Fri 09:00-17:00 Europe/Berlin`."""
    window = window_of(step)
    return f"window {window}" if window is not None else "gate"


def opening(window: Window, now: datetime) -> str:
    """When a window that is closed opens: `opens Mon 2026-03-02 09:00 CET`; empty while it is open."""
    if window.open_at(now):
        return ""
    opens = window.opens_after(now)
    return f"opens {window.spoken(opens)}" if opens is not None else "does not open within a fortnight"


def replica_words(status: RolloutStatus) -> str:
    """What the next share waits for, where that is replicas; empty: something else, or nothing."""
    waiting = any(condition.reason in {AWAITING_REPLICAS, CANNOT_SCALE} for condition in status.conditions)
    if not waiting or status.scale is None or not status.scale.needed:
        return ""
    return f"waiting for {status.scale.needed} ready replicas of the canary, which its next share needs"
