"""`canary demo`: a good release and two bad ones, on real traffic, in one process tree."""

from __future__ import annotations

import asyncio
import signal

from canary.errors import SandboxError
from canary_sandbox.demo.screen import make_screen
from canary_sandbox.demo.story import Story


def run_demo(*, plain: bool = False, color: bool = True, keep: bool = False) -> int:
    """Run the demo. Returns 0 if reality was as the story has it, 1 if not.

    Args:
        plain: append lines instead of redrawing a picture; also when there is no terminal.
        color: use colours.
        keep: leave the cluster running at the end, until Ctrl-C.

    """
    try:
        return asyncio.run(_play(plain=plain, color=color, keep=keep))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except SandboxError as error:
        make_screen(plain=True, color=color).fatal(str(error))
        return 1


async def _play(*, plain: bool, color: bool, keep: bool) -> int:
    running = asyncio.current_task()
    if running is not None:
        # A polite end must take the children and the temporary folders along, as Ctrl-C does.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    screen = make_screen(plain=plain, color=color)
    story = Story(screen)
    async with story:
        report = await story.run()
        screen.report(report)
        if keep:
            await story.linger()
    return 0 if report.true else 1
