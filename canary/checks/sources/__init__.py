"""Where the numbers of a check come from. A new source is a file here, a line in `SOURCES`, and its provider.

A source is declared as a template and asked as it is `rendered`. It is frozen and hashable, so it is its own key wherever
answers are kept or equal questions are told from others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol, Self

from canary.checks.sources.auth import Auth
from canary.checks.sources.buckets import Buckets
from canary.checks.sources.cloudwatch import Cloudwatch
from canary.checks.sources.comparer import Comparer
from canary.checks.sources.counters import Counters
from canary.checks.sources.datadog import Datadog
from canary.checks.sources.graphite import Graphite
from canary.checks.sources.influxdb import Influxdb
from canary.checks.sources.job import Job
from canary.checks.sources.prometheus import Prometheus
from canary.checks.sources.scrape import Scrape, ScrapedCounters
from canary.checks.sources.web import Web
from canary.errors import RenderError
from canary.model.checks import BucketUnit, Comparison


class Source(Protocol):
    """A question to a provider, as declared or as rendered."""

    PROVIDER: ClassVar[str]
    """What people call whoever is asked."""

    LANGUAGE: ClassVar[str]
    """What the text is written in: `lint` parses PromQL. Empty: it is no text that anybody wrote."""

    FIELD: ClassVar[tuple[str, ...]]
    """Path of the text that is rendered, below the check."""

    @property
    def text(self) -> str:
        """The question as people see it: the evidence in a status, the text that a message quotes."""
        ...

    @property
    def auth(self) -> Auth | None:
        """The Secret that it is asked with, if it is one of its own."""
        ...

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Source], ...]:
        """What a provider is asked, each with the path of its text below the check; mostly the one question itself."""
        ...

    def names(self) -> frozenset[str]:
        """The variables that it uses. Raises RenderError for malformed tags."""
        ...

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        """The question with every variable filled in. Raises RenderError."""
        ...


def compared(declared: Comparison) -> Source:
    """What a comparison asks: buckets, or requests and failures, of Prometheus or of the pods."""
    if declared.scrape is not None:
        return ScrapedCounters.of(declared.scrape)
    asked, bounds = declared.prometheus, declared.slower_than
    if asked is None:
        raise TypeError("a comparison of nothing")  # which the model refuses
    if asked.buckets is None or bounds is None:
        return Counters.of(asked)
    unit = (asked.unit or BucketUnit.SECONDS).seconds
    return Buckets(asked.buckets, tuple(bound.seconds for bound in bounds), unit, asked.address, Auth.of(asked.auth))


SOURCES: Mapping[str, Callable[[Any], Source]] = {
    "prometheus": Prometheus.of,
    "web": Web.of,
    "job": Job.of,
    "compare": compared,
    "mirrored": Comparer.of,
    "datadog": Datadog.of,
    "influxdb": Influxdb.of,
    "graphite": Graphite.of,
    "cloudwatch": Cloudwatch.of,
    "scrape": Scrape.of,
}
"""By the field of the spec: from what is declared there to the source."""


def source_of(declared: object) -> Source | None:
    """The source that a check, a template or `spec.traffic` declares; None if it declares none."""
    for field, of in SOURCES.items():
        found = getattr(declared, field, None)
        if found is not None:
            return of(found)
    return None


def blamed(source: Source, error: RenderError) -> str:
    """The path, below the check, of what makes a question one that cannot be asked."""
    return error.field or ".".join(source.FIELD)


def of_platform(source: Source) -> Source:
    """The same question, which a template of the platform team asks: a Secret that it names is the platform's."""
    if source.auth is None:
        return source
    asked: Any = source
    found: Source = replace(asked, auth=source.auth.of_platform)
    return found
