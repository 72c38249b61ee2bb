from __future__ import annotations

from canary.cli import options as o
from canary.cli.request import verb

HELP = o.guide(
    "Let a paused run go on.",
    ("resume shop -n team-shop", "go on from where it was paused"),
)

resume = verb("resume")
