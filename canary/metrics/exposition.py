"""What pods tell at /metrics, in Prometheus' text format: of all lines those of a few metrics, parsed by the library.

A page may have ten thousand lines, of which a check wants ten. The library takes time by the character, so it is given only lines that begin
with the name of a wanted metric, and not more of these than are worth it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from prometheus_client.parser import text_string_to_metric_families

from canary.checks.sources.scrape import Selector
from canary.metrics.parsing import in_turn
from canary.model.measurement import MAX_SERIES, Labels

LARGEST = 256 * 1024
"""Bytes of the lines of one page that are parsed."""
LONGEST_LINE = 4096
PART = 16 * 1024
"""Bytes of a page that are looked through before anybody else has a turn."""
AT_A_TIME = 64
"""Lines that are parsed before anybody else has a turn."""
SMALL = 2 * 1024
"""Bytes of lines that are parsed where they are, if they are few; more are in a thread, where they wait for their turn."""

_TARGET = ("job", "instance", "pod")
"""Labels that say whose a series is. A pod's own ones of these names are exported_…, as in Prometheus."""

Series = dict[Labels, float]


class Unparsed(ValueError):
    """A page of which nothing can be made; in words that follow the pod's address."""


def wanted_lines(page: bytes, selectors: Sequence[Selector]) -> list[bytes]:
    """The lines of the wanted metrics. Raises Unparsed: too many."""
    starts = tuple(selector.metric.encode() for selector in selectors)
    found, size = [], 0
    for part in _parts(page):
        with in_turn(len(page) > PART):
            for line in part.split(b"\n"):
                stripped = line.strip()
                if not stripped.startswith(starts) or not _names_one(stripped, starts):
                    continue
                size += len(stripped)
                if len(stripped) > LONGEST_LINE or size > LARGEST:
                    raise Unparsed(f"tells more than {LARGEST // 1024} KiB of them: let it count by fewer labels")
                found.append(stripped)
    return found


def parsed(lines: Sequence[bytes], selectors: Sequence[Selector], target: Labels) -> list[Series]:
    """The series of each selector, with the labels of `target`, which say whose they are. Raises Unparsed."""
    found: list[Series] = [{} for _ in selectors]
    rest = iter(lines)
    while batch := list(islice(rest, AT_A_TIME)):
        with in_turn(len(lines) > AT_A_TIME):
            for name, labels, value in _samples(batch):
                own = {f"exported_{key}" if key in _TARGET else key: text for key, text in labels.items()}
                key = frozenset(own.items()) | target
                for selector, series in zip(selectors, found, strict=True):
                    if selector.metric != name or not selector.selects(labels):
                        continue
                    if key in series:
                        raise Unparsed("tells one series twice")
                    series[key] = value
                    if len(series) > MAX_SERIES:
                        raise Unparsed(f"tells more than {MAX_SERIES} series of {name}: select fewer of them by labels")
    return found


def _parts(page: bytes) -> Iterator[bytes]:
    """A page in parts that end with a line each. Looking through one takes a moment, in which nobody else has a turn."""
    begin = 0
    while begin < len(page):
        end = page.find(b"\n", begin + PART)
        end = len(page) if end < 0 else end + 1
        yield page[begin:end]
        begin = end


def _names_one(line: bytes, names: tuple[bytes, ...]) -> bool:
    """Whether it is about one of these metrics, and not about one whose name goes on."""
    return any(line.startswith(name) and line[len(name) : len(name) + 1] in (b"{", b" ", b"\t") for name in names)


def _samples(lines: Sequence[bytes]) -> Iterator[tuple[str, dict[str, str], float]]:
    try:
        text = b"\n".join(lines).decode()
        for family in text_string_to_metric_families(f"{text}\n"):
            for sample in family.samples:
                yield sample.name, dict(sample.labels), _number(sample.value)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise Unparsed("tells something that is not Prometheus' text format") from error


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
