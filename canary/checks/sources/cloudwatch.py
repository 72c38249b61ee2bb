"""Metrics of Amazon CloudWatch as a source of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from canary.checks.render import names, render
from canary.checks.sources.auth import Auth
from canary.checks.sources.auth import rendered as bound
from canary.checks.sources.places import base, window_of
from canary.errors import RenderError
from canary.model.cloudwatch import CloudwatchSource

_CHINA = "cn-"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, and what is made of its values."""

    identity: str
    namespace: str
    name: str
    stat: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """`Sum(AWS/ApplicationELB RequestCount{LoadBalancer="a"})`."""
        of = ", ".join(f'{name}="{value}"' for name, value in self.dimensions)
        return f"{self.stat}({self.namespace} {self.name}{{{of}}})"


@dataclass(frozen=True, slots=True)
class Cloudwatch:
    """Metrics, the expression over them (None: the one metric itself), and over how many seconds."""

    PROVIDER: ClassVar[str] = "CloudWatch"
    LANGUAGE: ClassVar[str] = ""
    FIELD: ClassVar[tuple[str, ...]] = ("cloudwatch", "metrics")

    region: str
    metrics: tuple[Metric, ...]
    expression: str | None
    period: int
    auth: Auth | None
    address: str | None = None
    window: float = 0.0

    @classmethod
    def of(cls, declared: CloudwatchSource) -> Self:
        metrics = tuple(
            Metric(one.id, one.namespace, one.name, one.stat, tuple((it.name, it.value) for it in one.dimensions))
            for one in declared.metrics
        )
        auth = Auth(declared.auth.secret_ref.name, signs=True)
        period = int(declared.period.seconds)
        return cls(declared.region, metrics, declared.expression, period, auth, declared.address)

    @property
    def text(self) -> str:
        """`errors / requests (errors: Sum(…), requests: Sum(…))`."""
        if self.expression is None:
            return self.metrics[0].text
        of = ", ".join(f"{one.identity}: {one.text}" for one in self.metrics)
        return f"{self.expression} ({of})" if of else self.expression

    @property
    def origin(self) -> str:
        """Scheme and host, and of an endpoint of one's own the path."""
        if self.address is not None:
            return base(self.address, "cloudwatch.address")
        return f"https://monitoring.{self.region}.amazonaws.com{'.cn' if self.region.startswith(_CHINA) else ''}"

    @property
    def parts(self) -> tuple[tuple[tuple[str, ...], Cloudwatch], ...]:
        return ((self.FIELD, self),)

    def names(self) -> frozenset[str]:
        found: set[str] = set()
        for field, text in self._texts():
            try:
                found |= names(text)
            except RenderError as error:
                raise RenderError(str(error), variable=error.variable, field=field) from error
        return frozenset(found)

    def rendered(self, variables: Mapping[str, Any]) -> Self:
        _ = self.origin
        filled = {}
        for field, text in self._texts():
            try:
                filled[field] = render(text, variables)
            except RenderError as error:
                raise RenderError(str(error), variable=error.variable, field=field) from error
        metrics = tuple(
            replace(
                one,
                dimensions=tuple((name, filled[_place(index, at)]) for at, (name, _) in enumerate(one.dimensions)),
            )
            for index, one in enumerate(self.metrics)
        )
        return replace(
            self,
            metrics=metrics,
            expression=filled.get(_EXPRESSION),
            auth=bound(self.auth, variables),
            window=window_of(variables),
        )

    def _texts(self) -> Iterator[tuple[str, str]]:
        """What is filled in, each by its field below the check."""
        if self.expression is not None:
            yield _EXPRESSION, self.expression
        for index, one in enumerate(self.metrics):
            for at, (_, value) in enumerate(one.dimensions):
                yield _place(index, at), value


_EXPRESSION = "cloudwatch.expression"


def _place(metric: int, dimension: int) -> str:
    return f"cloudwatch.metrics[{metric}].dimensions[{dimension}].value"
