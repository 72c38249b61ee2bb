"""What a Prometheus measured before, instant after instant: for a person at a terminal, who waits for it.

It blocks, in the thread that asks, so that Ctrl-C ends it at once. A range is asked in pieces that Prometheus answers and that fit
into memory; a piece that is too much for it, or for us, is asked again in halves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Self

import requests

from canary.errors import HistoryError
from canary.metrics.address import normalise
from canary.metrics.credentials import Shown, Shows, withheld
from canary.metrics.native import NoHistogram, native
from canary.metrics.parsing import AnswerTooLarge
from canary.metrics.prometheus import PROMETHEUS_READ, PrometheusApiClientException, PrometheusConnect, root_cause
from canary.metrics.prometheus_session import BoundedSession
from canary.model.measurement import Labels
from canary.model.native import NativeHistogram

MOST_POINTS = 2000
"""Instants in a piece at first; Prometheus answers at most 11,000 of each series."""

FEWEST_POINTS = 10
"""A piece that is too large even so is no matter of its length."""

MAX_BYTES = 32 * 1024 * 1024
MAX_PARTS = 3_000_000
"""Of an answer; a million numbers, each with its time."""

TIMEOUT = 30.0
"""Seconds for a piece."""

Vector = Mapping[Labels, float | NativeHistogram]
"""All series of an instant, by their labels."""


class History:
    """Asks one address, and shows it `credentials`. Raises ValueError: it is no address."""

    def __init__(
        self,
        address: str,
        credentials: Shows | None = None,
        *,
        max_bytes: int = MAX_BYTES,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = normalise(address)
        self._timeout, self._clock = timeout, clock
        self._session = BoundedSession(pool_size=1, max_bytes=max_bytes, max_parts=MAX_PARTS, clock=clock)
        self._credentials = credentials
        self._shown: Shown | None = None if credentials is None else credentials.show()
        if self._shown is not None:
            self._session.trust(self._shown.trust)
        self._connect = PrometheusConnect(self.address, session=self._session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def vectors(self, query: str, start: int, step: int, count: int) -> Iterator[Vector]:
        """What the query says at `count` instants, `step` seconds apart, the first at `start`: whole seconds of Unix time, in order.

        Nothing is asked before it is wanted. Raises HistoryError: it cannot be told, and why.
        """
        done, points = 0, min(MOST_POINTS, count)
        while done < count:
            piece = min(points, count - done)
            try:
                found = self._piece(query, start + done * step, step, piece)
            except _TooMuch as error:
                if piece <= FEWEST_POINTS:
                    raise HistoryError(f"{error} (asked for {_short(query)})") from error
                points = max(FEWEST_POINTS, piece // error.by)
                continue
            yield from found
            done += piece

    def _piece(self, query: str, start: int, step: int, count: int) -> list[dict[Labels, float | NativeHistogram]]:
        self._session.set_deadline(self._clock() + self._timeout)
        if self._credentials is not None:
            self._shown = self._credentials.show()
            self._connect.headers = dict(self._shown.headers)
        begin, end = (datetime.fromtimestamp(start + index * step, UTC) for index in (0, count - 1))
        params = {"timeout": f"{self._timeout:g}s"}
        try:
            result = PROMETHEUS_READ(self._connect.custom_query_range, query, begin, end, str(step), params=params)
        except AnswerTooLarge as error:
            raise _TooMuch(f"the answer {error}: aggregate it, or ask for fewer series") from error
        except requests.Timeout as error:
            raise _TooMuch(f"{self.address} did not answer within {self._timeout:g} s", by=10) from error
        except PrometheusApiClientException as error:
            raise self._refused(query) from error
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            if self._session.answered() is None:
                raise HistoryError(f"{self.address} cannot be reached: {root_cause(error)}") from error
            raise HistoryError(f"{self.address} answered something that is no Prometheus result") from error
        try:
            return _by_instant(result, start, step, count)
        except NoHistogram as error:
            raise HistoryError(
                f"the query returned a native histogram that {error} (asked for {_short(query)})"
            ) from error
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            words = "the query returned series without plain numbers"
            raise HistoryError(f"{words} (asked for {_short(query)})") from error

    def _refused(self, query: str) -> Exception:
        code, body = self._session.answered() or (0, {})
        words = " ".join(withheld(str(body.get("error") or ""), self._shown).split())[:500] or f"it answered {code}"
        if code == 422 and "too many samples" in words:
            return _TooMuch(f"{self.address}: {words}")
        if code == 503 and body.get("errorType") == "timeout":
            return _TooMuch(f"{self.address}: {words}")
        return HistoryError(f"{self.address}: {words} (asked for {_short(query)})")


class _TooMuch(Exception):
    """A part of it may be possible: one of so many."""

    def __init__(self, message: str, by: int = 2) -> None:
        super().__init__(message)
        self.by = by


def _by_instant(result: Any, start: int, step: int, count: int) -> list[dict[Labels, float | NativeHistogram]]:
    found: list[dict[Labels, float | NativeHistogram]] = [{} for _ in range(count)]
    for series in result:
        labels: Labels = frozenset(series["metric"].items())
        natives = series.get("histograms", ())
        for at, value in series.get("values", ()) if natives else series["values"]:
            found[_index(at, start, step)][labels] = float(value)
        for at, told in natives:
            found[_index(at, start, step)][labels] = native(told)
    return found


def _index(at: Any, start: int, step: int) -> int:
    index = round((float(at) - start) / step)
    if index < 0:
        raise ValueError("an instant is before the first one")
    return index


def _short(query: str) -> str:
    text = " ".join(query.split())
    return text if len(text) <= 300 else f"{text[:300]}…"
