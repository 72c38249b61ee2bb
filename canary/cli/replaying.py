"""Reads from a Prometheus what it has measured of stable, and has the checks replayed over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from canary.checks.judges import buckets
from canary.checks.judges.against import Against
from canary.checks.judges.buckets import NoBucket, Told
from canary.checks.judges.condition import Expression
from canary.checks.judges.counters import Snapshot, between, plain
from canary.checks.judges.slower import Slower
from canary.checks.judges.threshold import Bounds
from canary.checks.queries import check_query
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources import Source
from canary.checks.sources.buckets import Buckets
from canary.cli.exits import CliError, ExitCode
from canary.cli.progress import Progress
from canary.cli.rehearsal import Subject, spoken
from canary.errors import RenderError
from canary.metrics.history import History
from canary.metrics.port import Query
from canary.metrics.values import measurement
from canary.model.measurement import Measurement, NoData
from canary.rehearse import backtest
from canary.rehearse.backtest import Counted, Grid, Replayed
from canary.rehearse.measured import PODS
from canary.rehearse.thinning import kept
from canary.rehearse.timeline import Timeline, timeline

MOST_LOOKS = 500_000
"""Of one check: eight weeks at ten seconds."""

FEW_RUNS = 20


class Wanted(Protocol):
    """What is asked for: as `backtest.Asked`."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def worse(self) -> tuple[float, ...]: ...
    @property
    def share(self) -> float | None: ...
    @property
    def settle(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Backtest:
    """What came of it: each check with each canary, and what is doubtful, in sentences."""

    subject: Subject
    start: int
    end: int
    times: Timeline
    begins: tuple[float, ...]
    replays: tuple[Replayed, ...]
    warnings: tuple[str, ...] = field(default=())

    @property
    def alarms(self) -> float:
        """The part of the runs in which a canary that is stable would have been failed."""
        return backtest.together(self.replays, len(self.begins))


class _Silent(Exception):
    """Why a check cannot be replayed, in words."""


Histories = Callable[[ResolvedCheck], History | None]
"""Who is asked for a check; None: nobody was named."""


def replay(histories: Histories, subject: Subject, asked: Wanted, progress: Progress) -> Backtest:
    """All checks, one after the other.

    Raises:
        CliError: the time is too short or too long, or there is nothing that could be replayed.
        HistoryError: Prometheus does not tell.

    """
    times = timeline(subject.spec, subject.checks, asked.settle)
    if asked.share is not None:
        times = backtest.with_share(times, asked.share)
    begins = backtest.starts(times, asked.start, asked.end) if times.total >= 1 else ()
    if not begins:
        words = f"from --from to --to it is {spoken(asked.end - asked.start)}, and one run takes {spoken(times.total)}"
        raise CliError(f"{words}: choose a longer time", ExitCode.USAGE)
    replays: list[Replayed] = []
    warnings = [f"check {name}: {why}" for name, why in subject.unknown.items()]
    if len(begins) < FEW_RUNS:
        warnings.append(f"only {len(begins)} runs fit into this time, which says little: choose a longer one")
    for check in subject.checks:
        try:
            found, doubts = _replayed(histories(check), subject, check, times, begins, asked, progress)
        except (_Silent, RenderError) as why:
            warnings.append(f"check {check.name}: {why}")
            continue
        replays += found
        warnings += doubts
    if not replays:
        raise CliError(
            "; ".join(warnings) if subject.checks else "the Rollout has no checks, so there is nothing to replay"
        )
    return Backtest(subject, asked.start, asked.end, times, begins, tuple(replays), tuple(warnings))


def _replayed(
    history: History | None,
    subject: Subject,
    check: ResolvedCheck,
    times: Timeline,
    begins: tuple[float, ...],
    asked: Wanted,
    progress: Progress,
) -> tuple[list[Replayed], list[str]]:
    grid = Grid.of(check, asked.start, asked.end)
    if grid.count > MOST_LOOKS:
        raise CliError(
            f"check {check.name} looks every {grid.step} s, which is {grid.count:,} times, and at most {MOST_LOOKS:,} are replayed: choose "
            "a shorter time",
            ExitCode.USAGE,
        )
    if check.source.LANGUAGE != "PromQL":
        raise _Silent(f"it is asked of {check.source.PROVIDER}, which tells nothing of the past")
    if history is None:
        raise _Silent("it is asked of the controller's Prometheus: give --prometheus-url")
    reading = _Reading(history, grid, progress, check.name)
    match check.judge:
        case Against() as rule:
            if not any(step.process for step in times.steps):
                raise _Silent("nothing is compared at any step")
            sides, doubts = _compared(reading, subject, check)
            found = []
            for worse in (1.0, *asked.worse):
                what = f"{check.name}, {worse:g} times as bad" if worse > 1 else f"{check.name}, a healthy canary"

                def told(done: int, what: str = what) -> None:
                    progress.says(what, done, len(begins))

                found.append(backtest.comparison(check, rule, times, grid, sides, begins, worse, told))
            return found, doubts
        case Bounds() | Expression():
            measured, doubts = _measured(reading, subject, check)
            return [backtest.limits(check, times, grid, measured, begins)], doubts
        case _:
            raise _Silent("such a check cannot be replayed")


@dataclass(frozen=True, slots=True)
class _Reading:
    history: History
    grid: Grid
    progress: Progress
    name: str

    def vectors(self, source: Source) -> Iterator[Told]:
        """What a source says at each instant."""
        grid = self.grid
        for number, vector in enumerate(self.history.vectors(source.text, grid.start, grid.step, grid.count), 1):
            self.progress.says(f"{self.name}, reading", number, grid.count)
            yield vector


def _measured(reading: _Reading, subject: Subject, check: ResolvedCheck) -> tuple[list[Measurement], list[str]]:
    """What a check with a limit measures of stable, as if it were the canary."""
    spec = subject.spec.model_copy(update={"canary": subject.spec.stable})
    weight = next((float(step.weight.percent) for step in spec.steps if step.weight and step.weight.percent), 0.0)
    source = check_query(check, spec, subject.namespace, subject.name, weight=weight)
    query = Query(source, many=check.judge.many)
    found: list[Measurement] = []
    for index, vector in enumerate(reading.vectors(source)):
        at = datetime.fromtimestamp(reading.grid.start + index * reading.grid.step, UTC)
        found.append(measurement([(dict(labels), value) for labels, value in vector.items()], query, at))
    doubts = []
    if "weight" in check.source.names():
        doubts.append(f"check {check.name}: its query names {{{{ weight }}}}, which was {weight:g} all the time")
    return found, doubts + _gaps(check, source, sum(isinstance(one, NoData) for one in found), len(found))


def _compared(reading: _Reading, subject: Subject, check: ResolvedCheck) -> tuple[list[Counted | None], list[str]]:
    """What stable counted from each look to the next one."""
    source = check_query(check, subject.spec, subject.namespace, subject.name, weight=1, backend="stable")
    parts = [part for _, part in source.parts]
    sides: list[Counted | None] = []
    before: tuple[Told, ...] = ()
    silent = 0
    for now in zip(*(reading.vectors(part) for part in parts), strict=True):
        try:
            sides.append(_between(check, source, before, now) if before and before[0] and now[0] else None)
        except NoBucket as error:
            raise _Silent(f"{error} (asked for {_short(parts[0].text)})") from error
        except ValueError as error:
            raise _Silent(f"{error} (asked for {_short(parts[0].text)}): it is to be a counter") from error
        silent += not now[0]
        before = now
    if not any(side.requests for side in sides if side is not None):
        raise _Silent(_nothing(parts[0].text, "no requests of stable were counted"))
    return sides, _gaps(check, parts[0], silent, len(sides))


def _between(check: ResolvedCheck, source: Source, before: tuple[Told, ...], now: tuple[Told, ...]) -> Counted | None:
    """Raises ValueError: a counter that is none, or a histogram that lacks a bound."""
    if isinstance(source, Buckets) and isinstance(check.judge, Slower):
        return buckets.between(before[0], now[0], check.judge.bounds, source.unit, PODS)
    return kept(between(Snapshot(*map(plain, before)), Snapshot(*map(plain, now)), PODS))


def _gaps(check: ResolvedCheck, source: Source, silent: int, whole: int) -> list[str]:
    """Raises _Silent: there is nothing but gaps."""
    if silent == whole:
        raise _Silent(_nothing(source.text, "there is no data"))
    if silent * 20 <= whole:
        return []
    part = f"{100 * silent / whole:.0f} %"
    return [f"check {check.name}: {part} of the time there was no data, which is replayed as it was (onNoData)"]


def _nothing(query: str, what: str) -> str:
    return (
        f"{what} in this time by {_short(query)}: correct the query, or choose --from and --to when it was measured (Prometheus keeps 15 days "
        "by default)"
    )


def _short(query: str) -> str:
    return " ".join(query.split())[:300]
