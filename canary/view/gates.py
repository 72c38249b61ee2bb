"""Gates and replicas that a run waits for, as far as a document and a clock tell. Pure.

A CLI has its own clock, and of the API server's it knows nothing: what it says of a window is what people read, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from canary.decide.reasons import AWAITING_REPLICAS, CANNOT_SCALE
from canary.model.gates import Gate, OnTimeout, Window
from canary.model.run_status import GateAnswer, StepStatus
from canary.model.status import RolloutStatus
from canary.view.words import clean, clock, span

Json = dict[str, Any]


def gate_of(step: Json) -> Gate | None:
    """The gate of a declared step; None where it has none, or one that this version cannot read."""
    declared = step.get("gate")
    if not isinstance(declared, dict):
        return None
    try:
        return Gate.model_validate(declared)
    except ValidationError:
        return None


def gate_words(step: Json) -> str:
    """What the gate of a step is, in short: `window Mon-Fri 09:00-17:00 Europe/Berlin`, `gate deploys.example.com`."""
    gate = gate_of(step)
    if gate is None:
        return "gate"
    return clean(gate) if gate.window is not None else f"gate {clean(gate)}"


def open_when(gate: Gate) -> str:
    """What has to be so before a step with it is left."""
    return f"its window ({gate.window}) is open" if gate.window is not None else f"its gate ({clean(gate)}) says yes"


def waits_for(gate: Gate, step: StepStatus, now: datetime) -> str:
    """What a gate that keeps a step waits for, in a few words: `its window, which opens …`, `its gate, which says no: …`; empty: nothing."""
    if gate.window is not None:
        opens = opening(gate.window, now)
        return f"its window, which {opens}" if opens else ""
    said = step.gate
    if said is None:
        return ""
    if said.asked_at is None:
        return f"its gate, {clean(gate)}, which is being asked"
    match said.answer:
        case GateAnswer.YES:
            return ""
        case GateAnswer.NO:
            return f"its gate, {clean(gate)}, which says no: {clean(said.message)}"
        case GateAnswer.UNKNOWN:
            return f"its gate, {clean(gate)}, which could not be asked ({clean(said.reason)}: {clean(said.message)})"


def gate_lines(gate: Gate, step: StepStatus, now: datetime, skip: str) -> Iterator[str]:
    """The same in sentences. `skip`: what a person types to skip it."""
    if gate.window is not None:
        if opens := opening(gate.window, now):
            yield f"Its gate is a window ({gate.window}), which {opens}, by the API server's clock; {skip}."
        return
    words, said = waits_for(gate, step, now), step.gate
    if not words or said is None:
        return
    yield f"Waiting for {words.rstrip('.')}."
    asked = f" It was asked last at {clock(said.asked_at, now)} UTC." if said.asked_at is not None else ""
    limit = ""
    if gate.timeout is not None:
        then = "the run pauses" if gate.on_timeout is OnTimeout.PAUSE else "the run is rolled back"
        limit = f" If it says nothing else until {clock(said.since + gate.timeout.delta, now)} UTC, {then}."
    yield f"It is asked every {span(gate.pause)}.{asked}{limit} {skip[0].upper()}{skip[1:]}."


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
