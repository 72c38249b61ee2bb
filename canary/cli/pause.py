from __future__ import annotations

from canary.cli import options as o
from canary.cli.request import verb

HELP = o.guide(
    "Keep a run where it is until it is resumed.",
    ("pause shop --reason 'looking into latency'", "stay at the current weight"),
)

pause = verb("pause")
