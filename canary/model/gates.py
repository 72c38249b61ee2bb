"""What a run waits for, besides people and checks, before it leaves a step: the hours of a week, or another system's yes.

A window is about the time of day at a place, so it is reckoned by that place's clock: what the clock on the wall says decides
whether it is open. Where clocks are put forward, what is skipped was never in a window; where they are put back, what comes
twice is in it twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from canary.model.base import ApiModel
from canary.model.checks import SHORTEST_INTERVAL
from canary.model.values import Duration
from canary.model.web import Expect, JsonPathText, WebRequest

FROM_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
TO_PATTERN = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*){0,3}$"

_NO_LENGTH = "a window begins and ends at two different times; for whole days leave `from` and `to` out"

_LONGEST = timedelta(days=15)
"""Further than this nobody looks: a window on one day of the week opens within eight days, or, where its time is skipped on that
day, a week later."""


class Weekday(StrEnum):
    """A day of the week, in English, in short."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


WEEK = tuple(Weekday)


class Window(ApiModel):
    """Hours of a week at a place. `ends` before `begins`: the window lasts over midnight, and belongs to the day it opens on."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "self.from != self.to",
                    "message": _NO_LENGTH,
                }
            ]
        }
    }

    days: Annotated[
        Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] | None,
        Field(
            description="Days of the week on which it opens. Default: every day.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    begins: Annotated[
        str,
        Field(
            alias="from",
            pattern=FROM_PATTERN,
            max_length=5,
            description='When it opens, as the clock there shows it: "09:00".',
        ),
    ] = "00:00"
    ends: Annotated[
        str,
        Field(
            alias="to",
            pattern=TO_PATTERN,
            max_length=5,
            description='When it closes: "17:00". Earlier than `from`: on the day after.',
        ),
    ] = "24:00"
    timezone: Annotated[
        str,
        Field(
            pattern=ZONE_PATTERN,
            max_length=64,
            description="Time zone by its name in the IANA database, such as Europe/Berlin.",
        ),
    ] = "UTC"

    @model_validator(mode="after")
    def _can_open(self) -> Self:
        if self.begins == self.ends:
            raise ValueError(_NO_LENGTH)
        try:
            ZoneInfo(self.timezone)
        except (KeyError, OSError, ValueError) as error:
            words = f"{self.timezone!r} is no time zone; write the name of a place in the IANA database, such as Europe/Berlin"
            raise ValueError(words) from error
        return self

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @cached_property
    def _days(self) -> frozenset[int]:
        return frozenset(WEEK.index(day) for day in self.days or WEEK)

    @cached_property
    def _times(self) -> tuple[time, time | None]:
        """When it opens and closes; None: at midnight."""
        return time.fromisoformat(self.begins), None if self.ends == "24:00" else time.fromisoformat(self.ends)

    def open_at(self, now: datetime) -> bool:
        """Whether it is open at a moment (aware)."""
        there = now.astimezone(self._zone)
        return self._shows(there.weekday(), there.time())

    def _shows(self, today: int, clock: time) -> bool:
        """Whether a clock there shows a time of the window on a day of the week (0: Monday)."""
        begins, ends = self._times
        if ends is None or begins < ends:
            return today in self._days and begins <= clock and (ends is None or clock < ends)
        return (today in self._days and clock >= begins) or ((today - 1) % 7 in self._days and clock < ends)

    def opens_after(self, now: datetime) -> datetime | None:
        """The first moment after `now` (aware) at which it is open; in UTC, to the second. `now` itself where it is open then.

        None: it does not open in the next fortnight, since its time is skipped on its only day whenever clocks are put forward.
        """
        if self.open_at(now):
            return now.astimezone(UTC)
        candidates = (at for at in self._candidates(now.astimezone(UTC)) if now < at <= now + _LONGEST)
        return next((at for at in sorted(candidates) if self.open_at(at)), None)

    def _candidates(self, now: datetime) -> Iterator[datetime]:
        """The moments from the day before on at which it can come to be open: at its time, once or twice, and when clocks are set."""
        first = now.astimezone(self._zone).date() - timedelta(days=1)
        for number in range(_LONGEST.days + 3):
            at = datetime.combine(first + timedelta(days=number), self._times[0], self._zone)
            yield from {at.replace(fold=fold).astimezone(UTC) for fold in (0, 1)}
        sample = now
        while sample < now + _LONGEST:
            after = sample + timedelta(hours=12)
            if self._offset(sample) != self._offset(after):
                yield self._set_between(sample, after)
            sample = after

    def _offset(self, at: datetime) -> timedelta | None:
        return at.astimezone(self._zone).utcoffset()

    def _set_between(self, before: datetime, after: datetime) -> datetime:
        """When clocks are set, between two moments; to the second."""
        start, (low, high) = before.replace(microsecond=0), (0, math.ceil((after - before).total_seconds()) + 1)
        offset = self._offset(before)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(start + timedelta(seconds=middle)) == offset:
                low = middle
            else:
                high = middle
        return start + timedelta(seconds=high)

    @property
    def longest_closed(self) -> timedelta:
        """The longest that it is closed in one piece, in a week in which nobody sets a clock."""
        minutes = [self._shows(day, time(minute // 60, minute % 60)) for day in range(7) for minute in range(1440)]
        longest = closed = 0
        for open_ in minutes * 2:  # the night from Sunday to Monday is in one piece
            closed = 0 if open_ else closed + 1
            longest = max(longest, closed)
        return timedelta(minutes=longest)

    def __str__(self) -> str:
        """For people: `Mon-Fri 09:00-17:00 Europe/Berlin`."""
        hours = "" if (self.begins, self.ends) == ("00:00", "24:00") else f" {self.begins}-{self.ends}"
        return f"{self._day_words()}{hours} {self.timezone}"

    def _day_words(self) -> str:
        """Days in the order of the week, rows of three and more as one: `Mon-Wed, Fri`."""
        rows: list[list[int]] = []
        for day in sorted(self._days):
            if rows and rows[-1][-1] == day - 1:
                rows[-1].append(day)
            else:
                rows.append([day])
        parts = []
        for row in rows:
            parts += [f"{WEEK[row[0]]}-{WEEK[row[-1]]}"] if len(row) > 2 else [str(WEEK[day]) for day in row]
        return "every day" if len(self._days) == 7 else ", ".join(parts)

    def spoken(self, at: datetime) -> str:
        """A moment as people there say it: `Mon 2026-03-02 09:00 CET`."""
        return at.astimezone(self._zone).strftime("%a %Y-%m-%d %H:%M %Z")


class OnTimeout(StrEnum):
    """What becomes of a run whose gate has not opened in time."""

    ROLLBACK = "Rollback"
    PAUSE = "Pause"


DEFAULT_INTERVAL = Duration.parse("30s")

_EITHER = "a gate has exactly one of window and http; for both give a step of its own to one of them"
_OF_HTTP = "interval, timeout and onTimeout are about a gate with http: a window opens when its time comes"
_NO_TIMEOUT = "onTimeout says what a timeout does; give one, or drop it"


class HttpGate(WebRequest):
    """Another system that is asked over HTTP or HTTPS, and says yes by an answer that is as expected."""

    expect: Annotated[
        Expect | None,
        Field(description="What the answer has to be to mean yes. Default: status 200."),
    ] = None
    message: Annotated[
        JsonPathText | None,
        Field(
            description="JSONPath (RFC 9535) of the text in the answer that people are shown, such as $.reason. Default: the answer itself."
        ),
    ] = None

    @property
    def host(self) -> str:
        """Whom it asks: host and port, as they are written."""
        return re.split(r"[/?]", self.url.partition("://")[2], maxsplit=1)[0]


class Gate(ApiModel):
    """Keeps a run from leaving a step until something else says that it may."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {"rule": "has(self.window) != has(self.http)", "message": _EITHER},
                {
                    "rule": "has(self.http) || !(has(self.interval) || has(self.timeout) || has(self.onTimeout))",
                    "message": _OF_HTTP,
                },
                {"rule": "!has(self.onTimeout) || has(self.timeout)", "message": _NO_TIMEOUT},
            ]
        }
    }

    window: Annotated[Window | None, Field(description="Only within these hours.")] = None
    http: Annotated[
        HttpGate | None,
        Field(
            description="Ask another system, once the step has held its time, until it says yes. A yes counts for one interval."
        ),
    ] = None
    interval: Annotated[Duration | None, Field(description="Time between two requests, at least 1s. Default: 30s.")] = (
        None
    )
    timeout: Annotated[
        Duration | None,
        Field(
            description="How long it may take until it says yes; the time of the step is not part of it. Default: as long as the "
            "run may take."
        ),
    ] = None
    on_timeout: Annotated[
        OnTimeout | None,
        Field(
            description="What a timeout does. Rollback: all traffic back to stable. Pause: stay and wait for a person. Default: Rollback."
        ),
    ] = None

    @model_validator(mode="after")
    def _fields_belong_together(self) -> Self:
        if (self.window is None) == (self.http is None):
            raise ValueError(_EITHER)
        if self.http is None and (self.interval or self.timeout or self.on_timeout) is not None:
            raise ValueError(_OF_HTTP)
        if self.on_timeout is not None and self.timeout is None:
            raise ValueError(_NO_TIMEOUT)
        return self

    @property
    def pause(self) -> timedelta:
        """Between two requests; and for how long a yes counts."""
        return max((self.interval or DEFAULT_INTERVAL).delta, timedelta(seconds=SHORTEST_INTERVAL))

    def __str__(self) -> str:
        """For people: `window Mon-Fri 09:00-17:00 Europe/Berlin`, or `deploys.example.com`."""
        return f"window {self.window}" if self.window is not None else f"{self.http.host if self.http else ''}"
