from __future__ import annotations

from canary.cli import options as o
from canary.cli.request import verb

HELP = o.guide(
    "Try a revision again that was rolled back.",
    ("retry shop --reason 'provider was down'", "start again at step one"),
)

retry = verb("retry")
