"""The run in sentences, for `canary explain`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from canary.model.run_status import RunStatus
from canary.view.rollout import RolloutView, skipped
from canary.view.words import clean, clock, listing, outages, since


def about_run(rollout: RolloutView, run: RunStatus, now: datetime) -> Iterator[str]:
    """What it tests and who started it, how it ends, when it had no replicas, and what was skipped."""
    yield _began(run, now)
    yield from _outcome(rollout, run)
    yield from _outages(rollout, run, now)
    if run.full:
        yield _full(rollout, run)


def _began(run: RunStatus, now: datetime) -> str:
    words = f"Run {run.number}" + (f" tests revision {clean(run.revision)}" if run.revision else "")
    words += f"; started at {clock(run.started_at, now)} UTC ({since(run.started_at, now)})"
    if run.trigger.by == "revision" and run.revision and run.revision in run.trigger.reason:
        return f"{words} by that revision."
    words += f" by {clean(run.trigger.by)}" if run.trigger.by else ""
    words += f", because: {clean(run.trigger.reason)}" if run.trigger.reason else ""
    return words.rstrip(".") + "."


def _outcome(rollout: RolloutView, run: RunStatus) -> Iterator[str]:
    """How the run ends, with what has not been said before."""
    if run.outcome is None:
        return
    reason = f" ({clean(run.reason)})" if run.reason not in {"", run.outcome.value} else ""
    message = "" if clean(run.message) in clean(rollout.status.message) else f": {clean(run.message).rstrip('.')}"
    if rollout.active:
        yield f"It is bound to end as {run.outcome.value}{reason}{message}."
    elif reason or message or run.outcome.value != rollout.phase:
        yield f"It ended as {run.outcome.value}{reason}{message}."


def _outages(rollout: RolloutView, run: RunStatus, now: datetime) -> Iterator[str]:
    if rollout.active and run.unavailable_since is not None:
        yield (
            f"No replica of the canary is ready since {clock(run.unavailable_since, now)} UTC "
            f"({since(run.unavailable_since, now)}), so its weight is 0: its users would get errors. Once one is ready "
            "the step is entered again; if that takes too long, the run fails."
        )
    if run.outages:
        words = outages(run.outages)
        yield f"{words[0].upper()}{words[1:]}."


def _full(rollout: RolloutView, run: RunStatus) -> str:
    where = f" from step {run.full_at} on" if run.full_at else ""
    passed = [number for number in range(1, len(rollout.steps) + 1) if skipped(rollout, number)]
    over = f"; {_numbered(passed)} skipped" if passed else ""
    unknown = " Checks that are Unknown were to be ignored; one that fails still objects." if run.ignore_unknown else ""
    what = "holds, gates and approvals" if any("gate" in step for step in rollout.steps) else "holds and approvals"
    return f"Somebody asked for `promote --full`: {what} were cut short{where}{over}.{unknown}"


def _numbered(numbers: Sequence[int]) -> str:
    words = listing([str(number) for number in numbers])
    return f"step {words} is" if len(numbers) == 1 else f"steps {words} are"
