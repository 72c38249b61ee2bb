"""Gates: a step that declares one is left only while something else says so. Nothing that takes traffic away asks for them.

A window is about the time of day, so it goes by the API server's clock, which all controllers share, and not by the one that
measures how long things take: a controller whose own clock is set, or wrong, opens no window.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from canary.decide.scope import Scope
from canary.model.gates import Window

LOOK_AGAIN = timedelta(minutes=5)
"""Until a closed window is looked at again at the latest: the time of day may be set meanwhile."""


def window(scope: Scope) -> Window | None:
    """The window that the step may be left in; None: it declares none, or somebody said to skip what is left."""
    step = scope.declared_step if scope.status.step else None
    return step.gate.window if step is not None and step.gate is not None and not scope.run.full else None


def closed(scope: Scope) -> str:
    """Why the gate of the step is closed, in words; empty: it is open, or there is none."""
    declared, now = window(scope), scope.facts.time_of_day
    if declared is None:
        return ""
    if now is None:
        return f"waiting for the API server to say what time it is: the window is {declared}"
    if declared.open_at(now):
        return ""
    opens = declared.opens_after(now)
    when = f"opens {declared.spoken(opens)}" if opens is not None else "does not open within a fortnight"
    return f"outside of its window ({declared}), which {when}"


def looks_again(scope: Scope) -> datetime | None:
    """When a closed gate is to be looked at again, by the clock that intervals go by."""
    declared, now = window(scope), scope.facts.time_of_day
    if declared is None or (now is not None and declared.open_at(now)):
        return None
    opens = declared.opens_after(now) if now is not None else None
    wait = opens - now if opens is not None and now is not None else LOOK_AGAIN
    return scope.now + min(max(wait, timedelta(milliseconds=1)), LOOK_AGAIN)
