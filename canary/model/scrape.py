"""Counters and gauges that pods tell themselves, at /metrics in Prometheus' text format: which ones, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from canary.model.base import ApiModel
from canary.model.values import _Parsed, number_or_string

METRIC_PATTERN = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"
PORT_PATTERN = r"^[a-z0-9-]*[a-z][a-z0-9-]*$"
PATH_PATTERN = r"^/[A-Za-z0-9._~/-]*$"
LARGEST_PORT = 65535
MAX_NAME = 15
MAX_LABELS = 8
_RATIO_OR_VALUE = "what is measured is either failures of requests, or a value: give both of the first, or the second"
_AGGREGATED = "aggregate is how values of several series become one: it belongs to value"


@dataclass(frozen=True, slots=True)
class PortRef(_Parsed):
    """A port of pods by its number, or by the name that it has in the Service."""

    number: int | None
    name: str

    _schema: ClassVar[dict[str, Any]] = number_or_string(
        minimum=1, maximum=LARGEST_PORT, pattern=PORT_PATTERN, maxLength=MAX_NAME
    )

    @classmethod
    def parse(cls, raw: Any) -> Self:
        """Read `9090` or `metrics`. Raises ValueError: no port."""
        match raw:
            case bool():
                pass
            case int() | float() if 1 <= raw <= LARGEST_PORT and raw == int(raw):
                return cls(int(raw), "")
            case str() if len(raw) <= MAX_NAME and re.fullmatch(PORT_PATTERN, raw):
                return cls(None, raw)
            case _:
                pass
        raise ValueError(f"{raw!r} is no port; write its number, or the name that it has in the Service")

    def dump(self) -> str | int:
        return self.name if self.number is None else self.number

    def __str__(self) -> str:
        return str(self.dump())


LabelPattern = Annotated[str, Field(max_length=256)]


class MetricSelector(ApiModel):
    """Series of a metric. A label that a series has not is empty."""

    metric: Annotated[
        str, Field(min_length=1, max_length=256, pattern=METRIC_PATTERN, description="Name of the metric, in full.")
    ]
    labels: Annotated[
        dict[str, LabelPattern] | None,
        Field(
            max_length=MAX_LABELS,
            description='Labels that they have, by name: a value, in which * stands for any characters, such as "5*". May name variables.',
        ),
    ] = None
    without: Annotated[
        dict[str, LabelPattern] | None,
        Field(
            max_length=MAX_LABELS,
            description='Labels that they have not, written in the same way, such as {code: ""}.',
        ),
    ] = None


class Aggregate(StrEnum):
    """How the values of several series become one."""

    SUM = "Sum"
    MAX = "Max"


class _Scraped(ApiModel):
    port: Annotated[
        PortRef | None,
        Field(
            description="The port at which pods tell their metrics: its number, or the name that it has in the Service. Default: the "
            "only one that the Service has."
        ),
    ] = None
    path: Annotated[str, Field(max_length=256, pattern=PATH_PATTERN, description="Where on that port.")] = "/metrics"


_REQUESTS = "Counters of the requests that a pod has answered."
_FAILURES = "Those of them that failed, as clients saw it. No series: nothing failed."


class ScrapedCounters(_Scraped):
    """Counters of both backends, as their ready pods tell them."""

    requests: Annotated[MetricSelector, Field(description=_REQUESTS)]
    failures: Annotated[MetricSelector, Field(description=_FAILURES)]


class ScrapeSource(_Scraped):
    """The ready pods of the canary: the part of their requests of the last `window` that failed, or a value of now."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.value) ? !has(self.requests) && !has(self.failures) : has(self.requests) && has(self.failures)",
                    "message": _RATIO_OR_VALUE,
                },
                {"rule": "!has(self.aggregate) || has(self.value)", "message": _AGGREGATED},
            ]
        }
    }

    requests: Annotated[MetricSelector | None, Field(description=_REQUESTS)] = None
    failures: Annotated[MetricSelector | None, Field(description=_FAILURES)] = None
    value: Annotated[
        MetricSelector | None,
        Field(description="Gauges of which the value of now counts, instead of failures of requests."),
    ] = None
    aggregate: Annotated[
        Aggregate | None, Field(description="How the values of several series become one: Sum (default), or Max.")
    ] = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        counted = [self.requests is not None, self.failures is not None]
        if any(counted) if self.value is not None else not all(counted):
            raise ValueError(_RATIO_OR_VALUE)
        if self.aggregate is not None and self.value is None:
            raise ValueError(_AGGREGATED)
        return self
