from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from canary.cli import options as o
from canary.cli import rehearsal

if TYPE_CHECKING:
    from canary.rehearse.drawing import Traffic

HELP = o.guide(
    "Rehearse a Rollout on paper: when each step begins and ends, how soon its checks find a bad canary, and what is doubtful about it. "
    "Nothing is changed, and nothing refused: doubts are warnings.",
    (
        "plan shop -n team-shop --prometheus-url http://localhost:9090",
        "a Rollout of the cluster, by its traffic of the last hour",
    ),
    ("plan rollout.yaml --requests-per-second 100 --error-rate 1%", "a file, by traffic that you say; asks nobody"),
    ("plan shop -n team-shop --secrets", "by the Prometheus that each check names, with the Secret that it names"),
    ("plan rollout.yaml checks/ --times 3 -o json", "with the templates of a folder; for programs"),
)


MOST_REQUESTS = 1_000_000_000
"""A second."""


@o.grouped()
def plan(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILE...",
            help="A Rollout of the cluster, or files (.yaml, .yml, .json, -) and folders (shop/).",
            show_default=False,
            callback=o.each_named,
        ),
    ],
    *,
    times: Annotated[
        float, typer.Option("--times", metavar="N", help="How much worse the canary is that is to be found.")
    ] = 2.0,
    requests: Annotated[
        float | None,
        typer.Option(
            "--requests-per-second",
            metavar="N",
            help="What both Services get together; with --error-rate no Prometheus is asked.",
            show_default=False,
        ),
    ] = None,
    error_rate: Annotated[
        str | None,
        typer.Option("--error-rate", metavar="PART", help="What fails of it now: 1% or 0.01.", show_default=False),
    ] = None,
    over: Annotated[
        str, typer.Option("--over", metavar="DURATION", help="How far back current traffic is counted.")
    ] = "1h",
    settle: Annotated[
        str, typer.Option("--settle", metavar="DURATION", help="What data planes take to follow their gateway.")
    ] = "2s",
    rollout: rehearsal.RolloutName = None,
    output: o.OutputObject = o.ObjectFormat.TEXT,
    prometheus: rehearsal.Prometheus,
    common: o.Common,
) -> None:
    from canary.cli.session import run

    traffic = given(requests, error_rate)
    back = o.seconds(over, "--over")
    if not 1.0 <= times <= 1000:
        raise typer.BadParameter("is from 1 to 1000", param_hint="--times")
    if back < 60:
        raise typer.BadParameter("is a minute or more", param_hint="--over")
    asked = Asked(traffic, times, back, o.seconds(settle, "--settle"))
    raise typer.Exit(run(_plan(common, prometheus, what, rollout, asked, output)))


@dataclass(frozen=True, slots=True)
class Asked:
    """The traffic that was said (None: count that of the last `back` seconds), how much worse, and seconds that data planes take."""

    said: Traffic | None
    times: float
    back: float
    settle: float


def given(requests: float | None, error_rate: str | None) -> Traffic | None:
    """The traffic that was said; None: none was. Raises typer.BadParameter."""
    if requests is None and error_rate is None:
        return None
    if requests is None or error_rate is None:
        raise typer.BadParameter(
            "are given together, or not at all", param_hint="--requests-per-second and --error-rate"
        )
    if not 0 <= requests <= MOST_REQUESTS:
        raise typer.BadParameter(f"is from 0 to {MOST_REQUESTS:,}", param_hint="--requests-per-second")
    from canary.model.values import Limit
    from canary.rehearse.drawing import Traffic

    try:
        part = Limit.parse(error_rate).number
    except ValueError:
        part = None
    if part is None or not 0 <= part < 1:
        raise typer.BadParameter("is a part of the requests, and not all: 1% or 0.01", param_hint="--error-rate")
    return Traffic(requests, float(part))


async def _plan(
    common: o.Common,
    prometheus: rehearsal.Prometheus,
    what: list[str],
    rollout: str | None,
    asked: Asked,
    output: o.ObjectFormat,
) -> int:
    from canary.checks.judges.against import Against
    from canary.checks.judges.slower import Slower
    from canary.cli.current import current
    from canary.cli.exits import CliError, ExitCode, describe
    from canary.cli.lending import lend
    from canary.cli.output import dump, make_console, show, symbols_for
    from canary.cli.progress import Progress
    from canary.cli.render_plan import render_plan
    from canary.cli.session import connected
    from canary.errors import CanaryError
    from canary.rehearse.doubts import warnings
    from canary.rehearse.plan import document
    from canary.rehearse.plan import plan as rehearse

    if len(what) > 1 or rehearsal.is_file(what[0]):
        subject = rehearsal.of_files(what, common.namespace or "default", rollout)
    elif rollout is None:
        try:
            async with connected(common) as (kube, namespace):
                subject = await rehearsal.of_cluster(kube, namespace, what[0])
        except CanaryError as error:
            words, exit_code = describe(error)
            raise CliError(words + rehearsal.meant(what[0]), exit_code) from error
    else:
        words = "--rollout chooses among files and folders, and what is given is the name of a Rollout of the cluster"
        raise CliError(words + rehearsal.meant(what[0]), ExitCode.USAGE)
    compared = [check for check in subject.checks if isinstance(check.judge, Against)]
    unknown = dict(subject.unknown)
    if asked.said is not None:
        traffic = {check.name: asked.said for check in compared if not isinstance(check.judge, Slower)}
    elif prometheus.prometheus_url or prometheus.secrets:
        lent, refused = await lend(common, prometheus, subject, compared) if prometheus.secrets else ({}, {})
        unknown |= refused
        left = [check for check in compared if check.name not in refused]
        traffic, silent = await current(prometheus, subject, left, asked.back, lent)
        unknown |= silent
    else:
        traffic = {}
    with Progress(sys.stderr) as progress:
        found = rehearse(subject.spec, subject.checks, traffic, asked.times, asked.settle, unknown, progress.says)
    if output is not o.ObjectFormat.TEXT:
        told = {
            "rollout": subject.name,
            "namespace": subject.namespace,
            **document(found),
            "warnings": [*warnings(found)],
        }
        sys.stdout.write(dump(told, output.value) + "\n")
        return ExitCode.OK
    console = make_console(no_color=common.no_color)
    where = "as you say" if asked.said is not None else f"over the last {rehearsal.spoken(asked.back)}"
    show(console, render_plan(subject.name, found, where, symbols=symbols_for(console)))
    return ExitCode.OK
