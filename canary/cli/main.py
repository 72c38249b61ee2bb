"""The way into the program: builds the commands, runs one, and turns what went wrong into one sentence.

Nothing heavy is imported here: `canary --help` has to answer at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from canary.cli import (
    abort,
    backtest,
    comparer,
    controller,
    doctor,
    explain,
    lint,
    notify,
    pause,
    plan,
    promote,
    resume,
    retry,
    start,
    status,
    version,
    wait,
    watch,
)
from canary.cli import list as list_verb
from canary.cli import options as o
from canary.cli.exits import MEANING, ExitCode, describe
from canary.cli.groups import CHECK, LOOK, RUN, STEER, Program, group


def _help() -> str:
    codes = "\n".join(f"  {code.value:<4} {meaning}" for code, meaning in MEANING.items())
    return (
        "Progressive delivery for the Kubernetes Gateway API: weights move on evidence, and come back by themselves."
        f"\n\n\b\nExit codes:\n{codes}"
    )


def _tell_version(wanted: bool) -> None:
    if wanted:
        version.version()
        raise typer.Exit


def build() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        cls=Program,
        help=_help(),
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    @o.grouped()
    def root(
        ctx: typer.Context,
        *,
        common: o.Common,
        _version: Annotated[
            bool, typer.Option("--version", help="Print the version and leave.", callback=_tell_version, is_eager=True)
        ] = False,
    ) -> None:
        ctx.obj = common

    app.command("list", help=list_verb.HELP, rich_help_panel=LOOK)(list_verb.list_)
    app.command("status", help=status.HELP, rich_help_panel=LOOK)(status.status)
    app.command("watch", help=watch.HELP, rich_help_panel=LOOK)(watch.watch)
    app.command("explain", help=explain.HELP, rich_help_panel=LOOK)(explain.explain)
    app.command("wait", help=wait.HELP, rich_help_panel=LOOK)(wait.wait)
    app.command("start", help=start.HELP, rich_help_panel=STEER)(start.start)
    app.command("promote", help=promote.HELP, rich_help_panel=STEER)(promote.promote)
    app.command("pause", help=pause.HELP, rich_help_panel=STEER)(pause.pause)
    app.command("resume", help=resume.HELP, rich_help_panel=STEER)(resume.resume)
    app.command("abort", help=abort.HELP, rich_help_panel=STEER)(abort.abort)
    app.command("retry", help=retry.HELP, rich_help_panel=STEER)(retry.retry)
    app.command("lint", help=lint.HELP, rich_help_panel=CHECK)(lint.lint)
    app.command("plan", help=plan.HELP, rich_help_panel=CHECK)(plan.plan)
    app.command("backtest", help=backtest.HELP, rich_help_panel=CHECK)(backtest.backtest)
    app.command("doctor", help=doctor.HELP, rich_help_panel=CHECK)(doctor.doctor)
    telling = group()
    telling.command("test", help=notify.TEST_HELP)(notify.send_test)
    app.add_typer(telling, name="notify", help=notify.HELP, rich_help_panel=CHECK)
    server = group()
    server.command("run", help=controller.RUN_HELP)(controller.run)
    app.add_typer(server, name="controller", help=controller.HELP, rich_help_panel=RUN)
    comparing = group()
    comparing.command("run", help=comparer.RUN_HELP)(comparer.run)
    app.add_typer(comparing, name="comparer", help=comparer.HELP, rich_help_panel=RUN)
    app.command("version", help=version.HELP, rich_help_panel=RUN)(version.version)
    return app


def main() -> None:
    """Run the command line and exit with a documented code."""
    from canary.cli.output import tolerate_encoding

    tolerate_encoding()
    try:
        build()(prog_name=o.program())
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        if o.debugging():
            raise
        message, code = describe(error)
        sys.stderr.write(f"Error: {message}\n")
        sys.exit(code)
