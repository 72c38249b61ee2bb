from __future__ import annotations

import sys
from typing import Annotated

import typer

from canary.cli import options as o
from canary_sandbox.verbs import common as c

HELP = o.guide(
    "End the sandbox: every process that it started. Its state is kept unless you say otherwise.",
    ("sandbox down", "`canary sandbox up` resumes it: same objects, same KUBECONFIG"),
    ("sandbox down --delete", "and delete its state: the next one begins anew"),
)


@o.grouped()
def down(
    *,
    folder: c.Folder = None,
    delete: Annotated[
        bool, typer.Option("--delete/--keep-state", help="Delete the state, or keep it to be resumed.")
    ] = False,
    _: o.Local,
) -> None:
    from canary.cli.exits import CliError
    from canary_sandbox.box.launch import stop

    box = c.folder(folder)
    was_up = stop(box)
    said = "The sandbox is down" if was_up else "No sandbox is up"
    if not delete:
        kept = f"; its state is kept in {box.path}, `canary sandbox up{box.flag}` resumes it" if box.has_state else ""
        sys.stdout.write(f"{said}{kept}.\n")
        return
    if not box.path.exists():
        sys.stdout.write(f"{said}, and there is no state in {box.path}.\n")
        return
    with box.locked() as ours:
        if not ours:
            raise CliError(f"somebody has started a sandbox in {box.path} meanwhile; nothing is deleted")
        box.delete()
    sys.stdout.write(f"{said}, and its state in {box.path} is deleted.\n")
