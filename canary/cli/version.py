from __future__ import annotations

import sys

from canary import __version__
from canary.cli import options as o

HELP = o.guide("Print the version.", ("version", "of this program"))


def version() -> None:
    sys.stdout.write(f"canary {__version__}\n")
