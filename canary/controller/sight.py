"""What the controller can see."""

from __future__ import annotations

from datetime import timedelta


class Sight:
    """Sees all."""

    blind = False
    total = timedelta(0)
