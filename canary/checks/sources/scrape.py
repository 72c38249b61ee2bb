"""What pods tell of themselves at /metrics as a source: counters of both backends, or a ratio or a value of the canary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.places import window_of
from canary.errors import RenderError
from canary.model import scrape as model

Patterns = tuple[tuple[str, str], ...]

PROVIDER = "the pods"


@dataclass(frozen=True, slots=True)
class Selector:
    """Series of a metric by patterns of labels: those they have, and those they have not. What a series lacks is empty."""

    metric: str
    labels: Patterns = ()
    without: Patterns = ()

    @classmethod
    def of(cls, declared: model.MetricSelector) -> Self:
        return cls(
            declared.metric,
            tuple(sorted((declared.labels or {}).items())),
            tuple(sorted((declared.without or {}).items())),
        )

    @property
    def text(self) -> str:
        pairs = [f'{name}="{pattern}"' for name, pattern in self.labels]
        pairs += [f'{name}!="{pattern}"' for name, pattern in self.without]
        return f"{self.metric}{{{', '.join(pairs)}}}" if pairs else self.metric

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether it is about a series of its metric with these labels."""
        return all(fits(pattern, labels.get(name, "")) for name, pattern in self.labels) and not any(
            fits(pattern, labels.get(name, "")) for name, pattern in self.without
        )

    def names(self) -> frozenset[str]:
        return frozenset().union(*(names(pattern) for _, pattern in (*self.labels, *self.without)))

    def rendered(self, variables: Mapping[str, Any], place: str) -> Self:
        def filled(which: Patterns, member: str) -> Patterns:
            found = []
            for name, pattern in which:
                try:
                    found.append((name, render(pattern, variables)))
                except RenderError as error:
                    raise RenderError(
                        f"{name}: {error}", variable=error.variable, field=f"{place}.{member}.{name}"
                    ) from error
            return tuple(found)

        return replace(self, labels=filled(self.labels, "labels"), without=filled(self.without, "without"))


def fits(pattern: str, text: str) -> bool:
    """Whether a text is as the pattern says, in which * stands for any characters. In time that grows with both lengths."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    *middle, last = rest
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    position, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


@dataclass(frozen=True, slots=True)
class Where:
    """Which pods, and where they tell it: a Service (empty as declared), a port (None: the only one) and a path."""

    port: str | int | None
    path: str
    service: str = ""
    namespace: str = ""

    @classmethod
    def of(cls, declared: model.ScrapedCounters | model.ScrapeSource) -> Self:
        return cls(None if declared.port is None else declared.port.dump(), declared.path)

    @property
    def text(self) -> str:
        at = f"{'' if self.port is None else f':{self.port}'}{self.path}"
        return f"the pods of {self.service} at {at}" if self.service else f"the pods at {at}"

    def of_backend(self, backend: Mapping[str, Any], variables: Mapping[str, Any]) -> Self:
        """Raises RenderError: whose numbers these are is another namespace's to say."""
        service, namespace = str(backend["service"]), str(backend["namespace"])
        if namespace != str(variables["namespace"]):
            raise RenderError(
                f"Service {service} is in namespace {namespace}: pods are scraped in the Rollout's own namespace only"
            )
        return replace(self, service=service, namespace=namespace)


@dataclass(frozen=True, slots=True)
class Scraped:
    """All series of one of `selectors`, by its index; those of the others come with the same scrape."""

    PROVIDER: ClassVar[str] = PROVIDER
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("compare", "scrape")

    auth: ClassVar[None] = None

    where: Where
    selectors: tuple[Selector, ...]
    index: int

    @property
    def text(self) -> str:
        return f"{self.selectors[self.index].text} of {self.where.text}"

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Scraped], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        return frozenset({"backend.service"}).union(*(selector.names() for selector in self.selectors))

    def rendered(self, variables: Mapping[str, Any]) -> Self:  # noqa: ARG002 - as every source; what it is part of was
        return self


@dataclass(frozen=True, slots=True)
class ScrapedCounters:
    """Requests and failures of a backend, by the counters of its pods."""

    PROVIDER: ClassVar[str] = PROVIDER
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("compare", "scrape")

    auth: ClassVar[None] = None

    where: Where
    requests: Selector
    failures: Selector

    @classmethod
    def of(cls, declared: model.ScrapedCounters) -> Self:
        return cls(Where.of(declared), Selector.of(declared.requests), Selector.of(declared.failures))

    @property
    def text(self) -> str:
        return f"{self.failures.text} of {self.requests.text} of {self.where.text}"

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Scraped], ...]:
        both = (self.requests, self.failures)
        return tuple(
            ((*self.FIELD, name), Scraped(self.where, both, index))
            for index, name in enumerate(("requests", "failures"))
        )

    def names(self) -> frozenset[str]:
        return frozenset({"backend.service"}) | self.requests.names() | self.failures.names()

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        return replace(
            self,
            # Without a backend nobody is asked: as declared, for whoever only shows it.
            where=self.where.of_backend(variables["backend"], variables) if "backend" in variables else self.where,
            requests=self.requests.rendered(variables, "compare.scrape.requests"),
            failures=self.failures.rendered(variables, "compare.scrape.failures"),
        )


@dataclass(frozen=True, slots=True)
class Scrape:
    """Of the canary: the part of its requests of the last `window` seconds that failed, or, with one selector, a value of now."""

    PROVIDER: ClassVar[str] = PROVIDER
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("scrape",)

    auth: ClassVar[None] = None

    where: Where
    selectors: tuple[Selector, ...]
    """Requests and failures, or a value alone."""
    aggregate: model.Aggregate = model.Aggregate.SUM
    window: float = 0.0

    @classmethod
    def of(cls, declared: model.ScrapeSource) -> Self:
        declared_ones = (declared.requests, declared.failures) if declared.value is None else (declared.value,)
        selectors = tuple(Selector.of(one) for one in declared_ones if one is not None)
        return cls(Where.of(declared), selectors, declared.aggregate or model.Aggregate.SUM)

    @property
    def is_ratio(self) -> bool:
        return len(self.selectors) > 1

    @property
    def text(self) -> str:
        if not self.is_ratio:
            return f"{self.aggregate} of {self.selectors[0].text} of {self.where.text}"
        requests, failures = self.selectors
        return f"{failures.text} of {requests.text} of {self.where.text}"

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Scrape], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        return frozenset({"canary.service"}).union(*(selector.names() for selector in self.selectors))

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        places = ("requests", "failures") if self.is_ratio else ("value",)
        return replace(
            self,
            where=self.where.of_backend(variables["canary"], variables),
            selectors=tuple(
                selector.rendered(variables, f"scrape.{place}")
                for selector, place in zip(self.selectors, places, strict=True)
            ),
            window=window_of(variables),
        )
