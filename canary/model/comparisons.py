"""Comparisons as declared: canary against stable, by counters or buckets, or by their answers. They judge by themselves."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from canary.model.auth import OwnAuth
from canary.model.base import ApiModel
from canary.model.cloudwatch import CloudwatchSource
from canary.model.databases import DatadogSource, GraphiteSource, InfluxdbSource
from canary.model.jobs import JobSource
from canary.model.scrape import ScrapedCounters, ScrapeSource
from canary.model.sources import MAX_QUERY, Address, OnUnknown, Sources
from canary.model.values import Alpha, Duration, Part
from canary.model.web import WebSource


class BucketUnit(StrEnum):
    """What a histogram counts in."""

    SECONDS = "s"
    MILLISECONDS = "ms"

    @property
    def seconds(self) -> float:
        return 1.0 if self is BucketUnit.SECONDS else 0.001


_FAILURES_OR_BUCKETS = (
    "what is compared is either failures of requests, or buckets, which count their requests themselves"
)
_UNIT_OF_BUCKETS = "unit is that of the bounds of buckets"


class PrometheusCounters(ApiModel):
    """Raw counters of a backend, rendered once for each: no rate(), no increase(), and not summed over its pods."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.buckets) ? !has(self.requests) && !has(self.failures) : has(self.requests) && has(self.failures)",
                    "message": _FAILURES_OR_BUCKETS,
                },
                {"rule": "!has(self.unit) || has(self.buckets)", "message": _UNIT_OF_BUCKETS},
            ]
        }
    }

    requests: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description="PromQL: the counters of a backend's requests, all series. Name {{ backend.service }}, .namespace or "
            ".port. Best those of the gateway: an application's miss what a pod that crashes took along.",
        ),
    ] = None
    failures: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description="PromQL: those of them that failed, as clients saw it. No series beside `requests`: nothing failed.",
        ),
    ] = None
    buckets: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_QUERY,
            description="PromQL: a histogram of how long a backend's requests took, instead of requests and failures: a native one, "
            "or the buckets of a classic one, with their label le.",
        ),
    ] = None
    unit: Annotated[
        BucketUnit | None,
        Field(description="What the histogram counts in: s (default), or ms as those of Envoy and Istio do."),
    ] = None
    address: Address = None
    auth: OwnAuth = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        counted = [self.requests is not None, self.failures is not None]
        if any(counted) if self.buckets is not None else not all(counted):
            raise ValueError(_FAILURES_OR_BUCKETS)
        if self.unit is not None and self.buckets is None:
            raise ValueError(_UNIT_OF_BUCKETS)
        return self


_ONE_TELLER = "counters are those of Prometheus, or what pods tell themselves (scrape): give one"
_BUCKETS = "has(self.prometheus) && has(self.prometheus.buckets)"
MAX_BOUNDS = 3
LEAST_EFFECT = 1.1
_BOUNDS_OF_BUCKETS = "slowerThan names bounds of buckets: both are there, or neither is"
_EARLY_BY_ERRORS = "promoteEarly goes by errors: how slow a canary is ends no hold"
_AN_EFFECT = f"a comparison of buckets needs a tolerance of {LEAST_EFFECT} or more: a little slower is no matter"
WARM = (
    "!has(self.compare) || !has(self.compare.prometheus) || !has(self.compare.prometheus.buckets) "
    "|| (has(self.initialDelay) && self.initialDelay.matches('[1-9]'))"
)
WARM_WORDS = "a comparison of buckets needs an initialDelay: a canary whose caches are cold is slower, and that is no matter of its version"


class Comparison(ApiModel):
    """Canary against stable: fails the canary that provably fails more often, or is slower, however often one looks."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {"rule": "has(self.prometheus) != has(self.scrape)", "message": _ONE_TELLER},
                {"rule": f"({_BUCKETS}) == has(self.slowerThan)", "message": _BOUNDS_OF_BUCKETS},
                {
                    "rule": f"!({_BUCKETS}) || (has(self.tolerance) && self.tolerance >= {LEAST_EFFECT})",
                    "message": _AN_EFFECT,
                },
                {
                    "rule": f"!({_BUCKETS}) || !has(self.promoteEarly) || !self.promoteEarly",
                    "message": _EARLY_BY_ERRORS,
                },
            ]
        }
    }

    prometheus: Annotated[PrometheusCounters | None, Field(description="Ask Prometheus.")] = None
    scrape: Annotated[
        ScrapedCounters | None,
        Field(description="Ask the ready pods of both Services themselves, without a Prometheus. Of errors only."),
    ] = None
    slower_than: Annotated[
        Annotated[tuple[Duration, ...], Field(min_length=1, max_length=MAX_BOUNDS)] | None,
        Field(
            description="With buckets: a request that takes longer than this is slow. One to three bounds that classic histograms "
            "have, such as 300ms; of native ones 250ms, 500ms or 1s, or else the next edge above is taken, up to a fifth longer.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = None
    tolerance: Annotated[
        float,
        Field(
            ge=1,
            le=9,
            description="The canary may fail this many times as often as stable; with buckets: its odds to be slow may be this "
            "many times stable's.",
        ),
    ] = 1
    alpha: Annotated[
        Alpha | None,
        Field(
            description="The chance, over the whole run, to fail a canary that is as good as stable: 0.01, or 1%. Default: an "
            "even part of spec.alpha."
        ),
    ] = None
    min_requests: Annotated[
        int,
        Field(
            ge=1, le=1_000_000, description="Requests that the canary needs; with fewer, onNoData says what it means."
        ),
    ] = 20
    lag: Annotated[
        Duration,
        Field(
            description="How old the counters may be when they are read: the interval at which they are scraped, and a little "
            "more. What is counted so soon after a weight was written is not compared."
        ),
    ] = Duration.parse("30s")
    on_inconclusive: Annotated[
        OnUnknown,
        Field(
            description="What it means, once the step's hold is over, that the canary fails more often, or is slower, and that "
            "this may have other causes than its version."
        ),
    ] = OnUnknown.HOLD
    promote_early: Annotated[
        bool,
        Field(
            description="End the hold of a step early once it is proved, by what was counted at that step alone, that the canary "
            "fails less than twice as often as it may; when every other check passes. Of errors only."
        ),
    ] = False

    @property
    def buckets(self) -> str | None:
        """The histogram that is compared; None: errors are."""
        return None if self.prometheus is None else self.prometheus.buckets

    @model_validator(mode="after")
    def _of_buckets(self) -> Self:
        if (self.prometheus is None) == (self.scrape is None):
            raise ValueError(_ONE_TELLER)
        if (self.buckets is None) != (self.slower_than is None):
            raise ValueError(_BOUNDS_OF_BUCKETS)
        if self.slower_than is not None and self.tolerance < LEAST_EFFECT:
            raise ValueError(_AN_EFFECT)
        if self.slower_than is not None and self.promote_early:
            raise ValueError(_EARLY_BY_ERRORS)
        return self


class MirroredAnswers(ApiModel):
    """What stable and the canary answer to mirrored requests, as the comparer of the step has counted it, path by path.

    What differs between two answers of stable to one request is noise, and is no difference.
    """

    max_different: Annotated[
        Part,
        Field(
            description="The part of the requests in which the canary may answer otherwise than stable at a place of the answer, "
            "beyond noise: 0.001, or 0.1%."
        ),
    ] = Part.parse("0.1%")
    min_compared: Annotated[
        int,
        Field(
            ge=1,
            le=1_000_000,
            description="Requests that have to be compared; with fewer, onNoData says what it means.",
        ),
    ] = 100
    alpha: Annotated[
        Alpha | None,
        Field(
            description="The chance, over the whole run, to fail a canary that answers like stable: 0.01, or 1%. Default: an "
            "even part of spec.alpha."
        ),
    ] = None
    on_inconclusive: Annotated[
        OnUnknown,
        Field(
            description="What it means, once the step's hold is over, that the canary seems to answer otherwise and that this is "
            "not proved."
        ),
    ] = OnUnknown.HOLD


class CheckSources(Sources):
    """Where a check's numbers come from: exactly one of these, if not from a template."""

    web: Annotated[
        WebSource | None,
        Field(description="Ask a server over HTTP, which answers in JSON: a number, or something that is expected."),
    ] = None
    job: Annotated[
        JobSource | None,
        Field(
            description="Run a Job in the Rollout's namespace, a smoke or load test, once at each step and again an interval after its end. "
            "Whether it succeeds is its judge too: it has no threshold."
        ),
    ] = None
    datadog: Annotated[DatadogSource | None, Field(description="Ask Datadog.")] = None
    influxdb: Annotated[InfluxdbSource | None, Field(description="Ask InfluxDB, in InfluxQL.")] = None
    graphite: Annotated[GraphiteSource | None, Field(description="Ask Graphite.")] = None
    cloudwatch: Annotated[CloudwatchSource | None, Field(description="Ask Amazon CloudWatch.")] = None
    scrape: Annotated[
        ScrapeSource | None, Field(description="Ask the ready pods of the canary themselves, without a Prometheus.")
    ] = None
    compare: Annotated[
        Comparison | None,
        Field(
            description="Compare the canary's errors, or how slow it is, with stable's. That is its judge too: it has no threshold."
        ),
    ] = None
    mirrored: Annotated[
        MirroredAnswers | None,
        Field(
            description="Compare the answers to mirrored requests, at steps that mirror to a comparer. That is its judge too: it has "
            "no threshold."
        ),
    ] = None


CHECK_SOURCES = tuple(CheckSources.model_fields)
