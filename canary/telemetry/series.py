"""Series by Rollout: a number per label set, without an object for each.

A thousand active Rollouts with sixteen checks have 67,000 of them. The client library would keep a lock and a few
dictionaries for each, and copy all of them to expose them; here they are rows, written out a few hundred at a time, so that
whoever exposes them can let others run in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

Rollout = tuple[str, str]
"""Namespace and name."""

LABELS = ("namespace", "rollout")
"""What every series here begins with."""

_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})

SLICE = 200
"""Lines that are written out in one go: two tenths of a millisecond."""


@dataclass(frozen=True, slots=True)
class Family:
    """Series of one name. `labels` come after those of the Rollout. A counter's series end in `_total`.

    `choices`, if any: the last label has one of these values; a row is named without it, its value is the index of the choice
    that holds, and it is exposed as one series per choice, 1 or 0.
    """

    name: str
    help: str
    type: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    choices: tuple[str, ...] = ()

    @property
    def sample(self) -> str:
        """The name of each series."""
        return f"{self.name}_total" if self.type == "counter" else self.name


class RolloutSeries(Collector):
    """The values of some families. For one event loop; nothing here takes long."""

    def __init__(self, *families: Family) -> None:
        self.families = families
        self._rows: dict[str, dict[Rollout, dict[tuple[str, ...], float]]] = {one.name: {} for one in families}

    def set(self, family: Family, rollout: Rollout, labels: tuple[str, ...], value: float | None) -> None:
        """None: there is no value, and no series."""
        if value is not None:
            self._rows[family.name].setdefault(rollout, {})[labels] = value
            return
        rows = self._rows[family.name].get(rollout, {})
        rows.pop(labels, None)
        if not rows:
            self._rows[family.name].pop(rollout, None)

    def add(self, family: Family, rollout: Rollout, labels: tuple[str, ...], more: float = 1) -> None:
        rows = self._rows[family.name].setdefault(rollout, {})
        rows[labels] = rows.get(labels, 0.0) + more

    def has(self, family: Family, rollout: Rollout) -> bool:
        return rollout in self._rows[family.name]

    def drop(self, rollout: Rollout, *families: Family) -> None:
        """Without `families`: all of them."""
        for family in families or self.families:
            self._rows[family.name].pop(rollout, None)

    def text(self, *, openmetrics: bool) -> Iterator[str]:
        """All series in Prometheus' text format or in OpenMetrics' (without its last line), a slice at a time.

        What changes between two slices is in the later ones or not; each series is there at most once.
        """
        for family in self.families:
            header = family.name if openmetrics else family.sample
            lines = self._lines(family)
            yield f"# HELP {header} {family.help}\n# TYPE {header} {family.type}\n"
            while piece := "".join(itertools.islice(lines, SLICE)):
                yield piece

    def collect(self) -> Iterable[Metric]:
        """For the client library's own tools."""
        for family in self.families:
            metric = Metric(family.name, family.help, family.type)
            names = (*LABELS, *family.labels)
            for values, value in self._series(family):
                metric.add_sample(family.sample, dict(zip(names, values, strict=True)), value)
            yield metric

    def describe(self) -> Iterable[Metric]:
        """So that registering collects nothing."""
        return [Metric(family.name, family.help, family.type) for family in self.families]

    def _series(self, family: Family) -> Iterator[tuple[tuple[str, ...], float]]:
        for rollout, rows in list(self._rows[family.name].items()):
            for labels, value in list(rows.items()):
                if not family.choices:
                    yield (*rollout, *labels), value
                for index, choice in enumerate(family.choices):
                    yield (*rollout, *labels, choice), float(index == value)

    def _lines(self, family: Family) -> Iterator[str]:
        """The same, written. Everything that can be said once for several series is: there are many."""
        names = [f',{name}="' for name in family.labels]
        for (namespace, rollout), rows in list(self._rows[family.name].items()):
            head = f'{family.sample}{{namespace="{_escaped(namespace)}",rollout="{_escaped(rollout)}"'
            for labels, value in list(rows.items()):
                rest = head + "".join([f'{name}{_escaped(label)}"' for name, label in zip(names, labels, strict=False)])
                if not family.choices:
                    yield f"{rest}}} {_number(value)}\n"
                for index, choice in enumerate(family.choices):
                    yield f'{rest}{names[-1]}{choice}"}} {"1.0" if index == value else "0.0"}\n'


@lru_cache(maxsize=4096)
def _escaped(label: str) -> str:
    return label.translate(_ESCAPED)


def _number(value: float) -> str:
    """As the client library writes it, which is as Go does."""
    return repr(value) if -1e6 < value < 1e6 else str(floatToGoString(value))  # type: ignore[no-untyped-call]
