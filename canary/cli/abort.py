from __future__ import annotations

from canary.cli import options as o
from canary.cli.request import verb

HELP = o.guide(
    "Send all traffic back to stable, now.",
    ("abort shop -n team-shop", "roll back; replaces any other request that waits"),
    ("abort shop --reason 'customers complain'", "the reason is kept with the run"),
)

abort = verb("abort")
