"""Gates: a step that declares one is left only while something else says so. Nothing that takes traffic away asks for them.

A window is about the time of day, so it goes by the API server's clock, which all controllers share, and not by the one that
measures how long things take: a controller whose own clock is set, or wrong, opens no window.

Another system is asked off the tick, from when the step has held its time. Its yes is evidence, like that of a check: it counts where
we have heard it ourselves, at this very step, and for one interval. So it is kept nowhere, or whoever could write it could raise a
weight; what is on record of it is for people, and for the timeout.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from canary.decide import reasons
from canary.decide.early import proved_good
from canary.decide.scope import Scope
from canary.model.evolution import gate_heard, gate_waited_for
from canary.model.gates import Gate, HttpGate, OnTimeout, Window
from canary.model.measurement import Measurement, Sample
from canary.model.run_status import GateAnswer
from canary.model.status import Phase

LOOK_AGAIN = timedelta(minutes=5)
"""Until a closed window is looked at again at the latest: the time of day may be set meanwhile."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Why a gate is closed: a constant, and words for people."""

    reason: str
    words: str


def declared(scope: Scope) -> Gate | None:
    """The gate of the step; None: it has none, or somebody said to skip what is left."""
    step = scope.declared_step if scope.status.step else None
    return step.gate if step is not None and not scope.run.full else None


def closed(scope: Scope) -> Closed | None:
    """Why the gate of the step is closed; None: it is open, or there is none."""
    gate = declared(scope)
    if gate is None:
        return None
    return outside(scope, gate.window) if gate.window is not None else _without_a_yes(scope, gate)


def looks_again(scope: Scope) -> datetime | None:
    """When a closed gate is to be looked at again, by the clock that intervals go by, whatever anybody says until then."""
    gate = declared(scope)
    if gate is None:
        return None
    return _opens(scope, gate.window) if gate.window is not None else times_out(scope)


# -- hours of a week ------------------------------------------------------------------------------------------------


def outside(scope: Scope, window: Window) -> Closed | None:
    """Why it is none of its hours; None: it is."""
    now = scope.facts.time_of_day
    if now is None:
        words = f"waiting for the API server to say what time it is: the window is {window}"
        return Closed(reasons.GATE_CLOSED, words)
    if window.open_at(now):
        return None
    opens = window.opens_after(now)
    when = f"opens {window.spoken(opens)}" if opens is not None else "does not open within a fortnight"
    return Closed(reasons.GATE_CLOSED, f"outside of its window ({window}), which {when}")


def _opens(scope: Scope, window: Window) -> datetime | None:
    now = scope.facts.time_of_day
    if now is not None and window.open_at(now):
        return None
    opens = window.opens_after(now) if now is not None else None
    wait = opens - now if opens is not None and now is not None else LOOK_AGAIN
    return scope.now + min(max(wait, timedelta(milliseconds=1)), LOOK_AGAIN)


# -- another system -------------------------------------------------------------------------------------------------


def asked(scope: Scope) -> HttpGate | None:
    """Whom the run has to ask now whether it may go on; None: nobody, or not yet.

    It is asked once the step has held its time, since it says when the run may go on and not whether it will; and not while a
    person is waited for.
    """
    status = scope.status
    if status.phase is not Phase.PROGRESSING or status.run is None or status.step is None:
        return None
    gate, step = declared(scope), status.step
    if gate is None or gate.http is None or status.run.outcome is not None or status.run.unavailable_since is not None:
        return None
    if step.reached_at is None or step.unaccepted_since is not None:
        return None
    over = step.hold_until is None or scope.now >= step.hold_until or bool(proved_good(scope))
    return gate.http if over else None


def waited_for(scope: Scope) -> Scope:
    """Keeps the books of the gate: since when it is waited for, and what it says."""
    if asked(scope) is None:
        return scope
    if scope.step.gate is None:
        return scope.with_(step=gate_waited_for(scope.step, _since(scope)))
    found = _heard(scope)
    if found is None:
        return scope
    step = gate_heard(scope.step, answer_of(found), _reason(found), said(found), found.at)
    return scope.with_(step=step) if step is not scope.step else scope


def _since(scope: Scope) -> datetime:
    """Since when it is waited: the end of the hold, which is on record, or, where that says nothing of it, now."""
    over = scope.step.hold_until
    return scope.now if over is None or over > scope.now or scope.step.approved else over


def times_out(scope: Scope) -> datetime | None:
    """When it is too late for a yes; None: never, or nobody waits for one."""
    gate, waits = declared(scope), scope.status.step.gate if scope.status.step else None
    if gate is None or gate.timeout is None or waits is None or asked(scope) is None:
        return None
    return waits.since + gate.timeout.delta


@dataclass(frozen=True, slots=True)
class TimedOut:
    """A gate that did not open in time: what a person reads of that, and whether the run pauses or rolls back."""

    words: str
    pauses: bool


def timed_out(scope: Scope) -> TimedOut | None:
    """Whether the gate has not opened in time. Whoever has just taken over asks once more before that is said."""
    gate, at = declared(scope), times_out(scope)
    if gate is None or gate.http is None or at is None or scope.now < at or scope.facts.blind:
        return None
    last = _heard(scope)
    if last is None or answer_of(last) is GateAnswer.YES:
        return None
    words = f"the gate of {scope.step_text} did not open within {gate.timeout}: {_told(gate.http, last)}"
    return TimedOut(words, pauses=gate.on_timeout is OnTimeout.PAUSE)


def opened(scope: Scope) -> str:
    """Who said that the step may be left, and in which words; empty: nobody was asked."""
    whom, last = asked(scope), _heard(scope)
    return _told(whom, last) if whom is not None and last is not None else ""


def _heard(scope: Scope) -> Measurement | None:
    """What the gate said last, of what counts: asked since it is waited for, at this step, and by who has the run now."""
    found, waits = scope.facts.gate, scope.step.gate
    if found is None or waits is None or found.at < waits.since:
        return None
    if scope.facts.since is not None and found.at < scope.facts.since:
        return None
    return found


def answer_of(found: Measurement) -> GateAnswer:
    """What an answer means."""
    if not isinstance(found, Sample):
        return GateAnswer.UNKNOWN
    return GateAnswer.YES if found.value == 1 else GateAnswer.NO


def said(found: Measurement) -> str:
    """What a gate says in its own words; of what is no answer, why."""
    words = (found.said or found.note) if isinstance(found, Sample) else found.message
    return words.encode("utf-8", "replace").decode()  # they may hold halves of characters


def _reason(found: Measurement) -> str:
    return "" if isinstance(found, Sample) else found.reason


def _told(whom: HttpGate, found: Measurement) -> str:
    answer = answer_of(found)
    if answer is GateAnswer.UNKNOWN:
        return f"{whom.host} could not be asked ({_reason(found)}: {said(found)})"
    return f"{whom.host} says {answer.lower()}: {said(found)}"


def _without_a_yes(scope: Scope, gate: Gate) -> Closed | None:
    if gate.http is None:
        return None
    found = _heard(scope)
    if found is None:
        return Closed(reasons.HOLDING, f"asking its gate, {gate.http.host}")
    if answer_of(found) is not GateAnswer.YES:
        return Closed(reasons.GATE_CLOSED, f"waiting for its gate: {_told(gate.http, found)}")
    if scope.now - found.at > gate.pause:
        return Closed(reasons.HOLDING, f"asking its gate, {gate.http.host}, again")
    return None
