from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from canary.cli import options as o
from canary.cli import rehearsal

HELP = o.guide(
    "Replay the checks of a Rollout over what Prometheus has measured of stable: how often they would have failed a canary that is as good as "
    "stable, and how soon they would have found a worse one. Nothing but Prometheus is asked (and the cluster for Secrets, with --secrets), and nothing is changed.",
    ("backtest rollout.yaml --from 168h --prometheus-url http://prom:9090", "the last seven days"),
    (
        "backtest deploy/ --rollout shop --from 2026-11-02 --to 2026-11-09",
        "a file among others, and two moments",
    ),
    ("backtest rollout.yaml --from 24h --times 2,5 --share 5% -o json", "other canaries than those of the plan"),
)


@o.grouped()
def backtest(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="The Rollout and its templates: files and folders.",
            show_default=False,
            callback=o.each_named,
        ),
    ],
    *,
    since: Annotated[
        str, typer.Option("--from", metavar="TIME", help="2026-11-02, 2026-11-02T10:00:00Z, or how long ago: 168h.")
    ],
    until: Annotated[
        str, typer.Option("--to", metavar="TIME", help="The same; default: now.", show_default=False)
    ] = "0s",
    times: Annotated[
        str, typer.Option("--times", metavar="N,...", help="How much worse the canaries are that are to be found.")
    ] = "2,3,10",
    share: Annotated[
        str | None,
        typer.Option(
            "--share", metavar="PERCENT", help="The canary's share, instead of that of each step.", show_default=False
        ),
    ] = None,
    settle: Annotated[
        str, typer.Option("--settle", metavar="DURATION", help="What data planes take to follow their gateway.")
    ] = "2s",
    rollout: rehearsal.RolloutName = None,
    output: o.OutputObject = o.ObjectFormat.TEXT,
    prometheus: rehearsal.Prometheus,
    local: o.Common,
) -> None:
    from datetime import UTC, datetime

    from canary.cli.session import run_here

    if not prometheus.prometheus_url and not prometheus.secrets:
        raise typer.BadParameter(
            "is needed: what was measured is asked of it", param_hint="--prometheus-url (or CANARY_PROMETHEUS_URL)"
        )
    now = int(datetime.now(UTC).timestamp())
    start, end = _moment(since, now, "--from"), _moment(until, now, "--to")
    if start >= end:
        raise typer.BadParameter("is not before --to", param_hint="--from")
    asked = Asked(start, min(end, now), _worse(times), _share(share), o.seconds(settle, "--settle"))
    raise typer.Exit(run_here(lambda: _backtest(local, prometheus, files, rollout, asked, output)))


@dataclass(frozen=True, slots=True)
class Asked:
    """Two moments in Unix time, how much worse canaries are, their share (a part of 1), and seconds that data planes take."""

    start: int
    end: int
    worse: tuple[float, ...]
    share: float | None
    settle: float


def _moment(text: str, now: int, option: str) -> int:
    from datetime import UTC, datetime

    from canary.model.values import Duration

    try:
        return now - int(Duration.parse(text).seconds)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        words = f"{text!r} is no time; write 2026-11-02, 2026-11-02T10:00:00Z, or 168h for so long ago"
        raise typer.BadParameter(words, param_hint=option) from error
    return int((found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp())


def _worse(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or len(found) > 10 or not all(1 < one <= 1000 for one in found):
        raise typer.BadParameter("is up to ten numbers above 1, with commas between them: 2,3,10", param_hint="--times")
    return tuple(sorted(set(found)))


def _share(text: str | None) -> float | None:
    from canary.model.values import Share

    if text is None:
        return None
    try:
        found = float(Share.parse(text).percent) / 100
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--share") from error
    if not 0 < found < 1:
        raise typer.BadParameter("is more than 0 % and less than 100 %: both have traffic", param_hint="--share")
    return found


def _backtest(
    common: o.Common,
    prometheus: rehearsal.Prometheus,
    files: list[str],
    rollout: str | None,
    asked: Asked,
    output: o.ObjectFormat,
) -> int:
    import asyncio
    from contextlib import ExitStack

    from canary.cli.exits import CliError, ExitCode
    from canary.cli.lending import lend
    from canary.cli.output import dump, make_console, show, symbols_for
    from canary.cli.progress import Progress
    from canary.cli.render_backtest import document, render_backtest
    from canary.cli.replaying import replay
    from canary.metrics.history import History

    subject = rehearsal.of_files(files, common.namespace or "default", rollout)
    lent, refused = asyncio.run(lend(common, prometheus, subject, subject.checks)) if prometheus.secrets else ({}, {})
    left = tuple(check for check in subject.checks if check.name not in refused)
    subject = replace(subject, checks=left, unknown={**subject.unknown, **refused})
    with ExitStack() as stack:
        try:
            url = prometheus.prometheus_url
            own = stack.enter_context(History(url, prometheus.credentials())) if url else None
            others = {name: stack.enter_context(History(by.address, by)) for name, by in lent.items()}
        except ValueError as error:
            raise CliError(f"{error}; write for example http://localhost:9090", ExitCode.USAGE) from error
        progress = stack.enter_context(Progress(sys.stderr))
        found = replay(lambda check: others.get(check.name, own), subject, asked, progress)
    if output is not o.ObjectFormat.TEXT:
        sys.stdout.write(dump(document(found), output.value) + "\n")
        return ExitCode.OK
    console = make_console(no_color=common.no_color)
    show(console, render_backtest(found, symbols=symbols_for(console)))
    return ExitCode.OK
