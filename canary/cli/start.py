from __future__ import annotations

from canary.cli import options as o
from canary.cli.request import verb

HELP = o.guide(
    "Start a run of the canary's current revision.",
    ("start shop -n team-shop", "start, and wait until the controller says so"),
    ("start shop --reason 'release 1.4'", "the reason is kept with the run"),
)

start = verb("start")
