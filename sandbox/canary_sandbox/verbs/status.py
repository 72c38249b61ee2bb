from __future__ import annotations

import json
import sys

from canary.cli import options as o
from canary_sandbox.verbs import common as c
from canary_sandbox.verbs.up import story

HELP = o.guide(
    "Say whether the sandbox is up, where everything is, and what runs. Ends with 7 if it is not up.",
    ("sandbox status", "for people"),
    ("sandbox status -o json", "for programs"),
)


@o.grouped()
def status(
    *,
    folder: c.Folder = None,
    output: c.Output = c.Format.TEXT,
    _: o.Local,
) -> None:
    from canary_sandbox.instance.client import ask

    instance = c.folder(folder)
    with c.talking():
        info = ask(instance, "GET", "/status")
    if output is c.Format.JSON:
        sys.stdout.write(json.dumps(info, indent=2) + "\n")
        return
    from canary_sandbox.verbs.fault import lines

    sys.stdout.write(
        "\n".join([*story(info, instance, before=False), "", *lines(info["faults"], info["versions"])]) + "\n"
    )
