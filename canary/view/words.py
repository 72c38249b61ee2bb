"""Numbers, times and text in the words of a person at a terminal. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def clean(text: object) -> str:
    """Text from the cluster without control characters: nobody's message may steer a terminal."""
    return _CONTROL.sub("", str(text)).strip()


def span(delta: timedelta) -> str:
    """A length of time in at most two units: `42s`, `4m05s`, `1h12m`, `3d4h`. Negative counts as zero."""
    seconds = max(0, math.floor(delta.total_seconds() + 0.0005))
    if seconds < 60:
        return f"{seconds}s"
    for (unit, size), (below, part) in pairwise(_UNITS):
        if seconds >= size:
            rest = seconds % size // part
            padded = f"{rest:02d}" if unit in {"h", "m"} else str(rest)
            return f"{seconds // size}{unit}{padded}{below}" if rest else f"{seconds // size}{unit}"
    return f"{seconds}s"


def left(until: datetime, now: datetime) -> str:
    """Time that is left, rounded up: a hold with half a second to go has `1s` left."""
    return span(timedelta(seconds=math.ceil(max(0.0, (until - now).total_seconds()))))


def age(delta: timedelta) -> str:
    """An age as kubectl prints it: `12s`, `4m5s`, `12m`, `3h`, `5d`."""
    seconds = max(0, int(delta.total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 730:
        return f"{days}d"
    return f"{days // 365}y"


def clock(at: datetime, now: datetime) -> str:
    """A time of day in UTC, with the date only when it is not today's: `10:42:10`, `2024-05-01 10:42:10`."""
    at = at.astimezone(UTC)
    return at.strftime("%H:%M:%S" if at.date() == now.astimezone(UTC).date() else "%Y-%m-%d %H:%M:%S")


def since(at: datetime, now: datetime) -> str:
    """`4m05s ago`, or `just now`."""
    passed = now - at
    return "just now" if passed < timedelta(seconds=1) else f"{span(passed)} ago"


def percent(value: float | None) -> str:
    """A share in percent with at most four decimals: `50 %`, `0.5 %`; empty when there is none."""
    return "" if value is None else f"{plain(value)} %"


def plain(value: float) -> str:
    """A number without needless zeros: `50`, `48.7`."""
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def measured(value: float | None) -> str:
    """A measured value, four significant digits; `-` when there is none."""
    return "-" if value is None else f"{value:.4g}"


def recorded(at: datetime, now: datetime) -> str:
    """`recorded 28s ago`: when a measurement came into the status.

    A value that moves within its limits is not written (decision 0002), so nothing follows about when it was measured last.
    """
    return f"recorded {since(at, now)}"


def every(interval: float | None) -> str:
    """`measured every 10s`, as declared (seconds); empty without an interval."""
    return f"measured every {_seconds(interval)}" if interval and interval > 0 else ""


def _seconds(seconds: float) -> str:
    return f"{plain(seconds)}s" if seconds < 60 else span(timedelta(seconds=seconds))


def counted(number: int, one: str, many: str = "") -> str:
    """`1 measurement`, `2 measurements`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def tolerance(failures: int, limit: int, window: int = 0) -> str:
    """How often a check failed, and how often it may: `failed once, tolerates none`; empty while it does not fail.

    In a row, or of the last `window` measurements: `failed 1 of the last 5, 2 are too many`.
    """
    if window:
        return f"failed {failures} of the last {window}, {limit + 1} are too many" if failures else ""
    times = {0: "", 1: "once", 2: "twice in a row"}.get(failures, f"{failures} times in a row")
    return f"failed {times}, tolerates {limit or 'none'}" if times else ""


def outages(number: int) -> str:
    """How often a run had to take the weight back because nobody was there to answer."""
    times = {1: "once", 2: "twice"}.get(number, f"{number} times")
    return f"the canary lost its weight {times} in this run, as none of its replicas was ready"


def listing(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def named_shares(shares: Mapping[str, float]) -> str:
    """Shares of rules that a step names, in percent: `beta 100 % and internal 50 %`."""
    return listing([f"{clean(name)} {percent(share)}" for name, share in shares.items()])


def event_time(event: Mapping[str, Any]) -> str:
    """When an event happened last, as RFC 3339: of whole seconds these sort as text."""
    series = event.get("series") or {}
    created = (event.get("metadata") or {}).get("creationTimestamp")
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or created or "")
