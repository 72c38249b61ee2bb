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
    from canary_sandbox.instance.launch import stop

    instance = c.folder(folder)
    was_up = stop(instance)
    said = "The sandbox is down" if was_up else "No sandbox is up"
    if not delete:
        kept = (
            f"; its state is kept in {instance.path}, `canary sandbox up{instance.flag}` resumes it"
            if instance.has_state
            else ""
        )
        sys.stdout.write(f"{said}{kept}.\n")
        return
    if not instance.path.exists():
        sys.stdout.write(f"{said}, and there is no state in {instance.path}.\n")
        return
    with instance.locked() as ours:
        if not ours:
            raise CliError(f"somebody has started a sandbox in {instance.path} meanwhile; nothing is deleted")
        instance.delete()
    sys.stdout.write(f"{said}, and its state in {instance.path} is deleted.\n")
