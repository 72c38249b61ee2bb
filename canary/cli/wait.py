from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canary.cli import options as o

if TYPE_CHECKING:
    from canary.cli.live import Lines
    from canary.kube import Kube
    from canary.view.goal import Goal, Judgement
    from canary.view.rollout import RolloutView

Json = dict[str, Any]

HELP = o.guide(
    "Wait until a Rollout is where it should be. Ends with 0 reached, 3 ended otherwise, 4 not in time, 5 no such Rollout, "
    "7 the API server was never reached.",
    ("wait shop --for healthy -n team-shop", "no run active, Ready, nothing left to be seen"),
    ("wait shop --for succeeded --timeout 1h", "for a pipeline: the release is out, or it is not"),
    ("wait shop --for approval && canary promote shop", "once it waits for somebody's approval"),
    ("wait shop --for step=3 --quiet", "without a line for each change"),
)


@o.grouped()
def wait(
    name: o.Name,
    *,
    aim: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="WHAT",
            show_default=False,
            help="healthy, succeeded, rolledback, paused, approval, step=N or idle.",
        ),
    ],
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="DURATION", help="Leave with 4 after that time.")
    ] = "10m",
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No line for each change; errors are still told.")
    ] = False,
    common: o.Common,
) -> None:
    from canary.cli.session import run
    from canary.view.goal import Goal

    try:
        goal = Goal.parse(aim)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error
    patience = o.seconds(timeout, "--timeout")
    raise typer.Exit(run(_wait(common, name, goal, patience=patience, quiet=quiet)))


async def _wait(common: o.Common, name: str, goal: Goal, *, patience: float, quiet: bool) -> int:
    import asyncio

    from canary.cli.exits import CliError, ExitCode
    from canary.cli.follow import First, follow
    from canary.cli.live import Lines
    from canary.cli.output import make_console
    from canary.cli.session import connected

    async with connected(common) as (kube, namespace):
        screen = Until(kube, goal, None if quiet else Lines(make_console(no_color=common.no_color, wide=True)))
        first = First()
        try:
            async with asyncio.timeout(patience):
                await follow(kube, name, namespace, screen, leave=False, first=first)
        except _Over:
            return _end(f"{namespace}/{name}", goal, screen.last, quiet=quiet)
        except TimeoutError as error:
            if not first.heard:
                raise first.silence(kube.server, patience) from error
            last = f"; last: {screen.last.words}" if screen.last is not None else ""
            verb = goal.infinitive
            missed = f"was not {verb.removeprefix('be ')}" if verb.startswith("be ") else f"did not {verb}"
            words = f"{namespace}/{name} {missed} within {patience:g} s{last}"
            raise CliError(words, ExitCode.TIMEOUT) from error
    raise AssertionError("unreachable: following ends with a judgement or an error")


def _end(subject: str, goal: Goal, last: Judgement | None, *, quiet: bool) -> int:
    from canary.cli.exits import ExitCode
    from canary.view.goal import Reached

    words = last.words if last is not None else ""
    if isinstance(last, Reached):
        if not quiet:
            sys.stdout.write(f"{subject} {goal.reached}: {words}\n")
        return ExitCode.OK
    sys.stderr.write(f"Error: {subject} will not {goal.infinitive}: {words}\n")
    return ExitCode.REFUSED


class _Over(Exception):
    """The Rollout is where it should be, or never will be."""


class Until:
    """A screen that ends the following with `_Over` once there is a judgement, and shows changes on `lines`."""

    def __init__(self, kube: Kube, goal: Goal, lines: Lines | None) -> None:
        self._kube = kube
        self._goal = goal
        self._lines = lines
        self._told = False
        self.last: Judgement | None = None

    async def change(self, document: Json) -> None:
        from canary.view.goal import Waiting, judge
        from canary.view.rollout import view

        rollout = view(document)
        if self._lines is not None:
            await self._lines.change(document)
        self.last = judge(self._goal, rollout)
        if not isinstance(self.last, Waiting):
            unseen = await self._unseen(rollout)
            if not unseen:
                raise _Over
            self.last = Waiting(unseen)

    def trouble(self, words: str) -> None:
        if self._lines is not None:
            self._lines.trouble(words)

    async def _unseen(self, rollout: RolloutView) -> str:
        """Whether the workload has moved on since the status was written: then a run may be about to start, or again.

        A new image changes nothing in the Rollout, so its generation cannot tell; the revision of the Deployment can.
        """
        from canary.errors import ApiError, NotFound, NotServed
        from canary.kube import WORKLOADS
        from canary.kube.retry import READ
        from canary.model.workloads import group_of
        from canary.observe.workloads import revision

        name, kind = rollout.workload("canary"), rollout.workload_kind("canary")
        if not name or rollout.includes_configs:
            return ""  # what a revision includes besides is for the controller to read

        async def read() -> Json:
            resource = WORKLOADS.get(kind) or await self._kube.resolve(*reversed(group_of(kind)))
            if resource is None:
                raise NotFound(f"the cluster serves no {kind}")
            return await self._kube.get(resource, name, rollout.namespace)

        try:
            now = revision(await READ.call(read))
        except (NotFound, NotServed):
            return ""
        except ApiError as error:
            if not self._told:
                self._told = True
                words = f"cannot read {group_of(kind)[0]} {name} ({error}), so a revision that the controller has not seen would be missed"
                sys.stderr.write(f"Warning: {words}\n")
            return ""
        seen = rollout.status.revisions.canary
        return "" if seen == now else f"the controller has not seen revision {now} of {group_of(kind)[0]} {name} yet"
