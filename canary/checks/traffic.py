"""`spec.traffic` with its template laid under it, and what it asks of each backend."""

from __future__ import annotations

from dataclasses import dataclass

from canary.checks.judges.threshold import Bounds
from canary.checks.queries import BACKENDS, check_query
from canary.checks.resolve import ResolvedCheck, arguments, is_of_platform
from canary.checks.sources import Source, of_platform, source_of
from canary.errors import RenderError, SpecError
from canary.model.checks import Settings
from canary.model.rollout import RolloutSpec
from canary.model.templates import CheckTemplateSpec
from canary.model.traffic import Traffic, TrafficSettings
from canary.model.values import Duration

TRAFFIC = "spec.traffic"
"""The name under which `spec.traffic` is measured, and its path; no check can have it."""

_DEFAULTS = TrafficSettings()


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters with nothing left to look up: `check`, which has no limit, is asked once for each backend.

    `lag`: how old an answer may be.
    """

    check: ResolvedCheck
    lag: Duration

    @property
    def identity(self) -> list[object]:
        """What two counts have to agree in to be of the same counters, as JSON."""
        return [repr(self.check.source), dict(self.check.args)]


def resolve_traffic(traffic: Traffic, template: CheckTemplateSpec | None) -> Counters:
    """Merge `spec.traffic` with its template (None: it has a query of its own).

    Raises:
        SpecError: the template counts no traffic, or an argument is missing or unknown.

    """
    under = _DEFAULTS if template is None else template.traffic
    if under is None:
        named = traffic.template
        label = f"{named.kind} {named.name}" if named is not None else "the template"
        raise SpecError(f"{TRAFFIC}.template", f"{label} holds a check, and counts no traffic; name it in spec.checks")
    source = source_of(traffic if template is None else under)
    if source is None:
        raise SpecError(TRAFFIC, "it has neither a query nor a template that exists")
    if is_of_platform(traffic.template):
        source = of_platform(source)
    args = {} if template is None else arguments(traffic.args or {}, template, TRAFFIC)
    interval, lag = (
        own if (own := getattr(traffic, name)) is not None else getattr(under, name) for name in ("interval", "lag")
    )
    settings = Settings(interval=interval, hold_limit=Duration.parse("0s"), dry_run=True)
    return Counters(ResolvedCheck(TRAFFIC, source, Bounds(), args, settings, per_backend=True), lag)


def traffic_queries(
    counters: Counters, spec: RolloutSpec, namespace: str, rollout: str, *, weight: float
) -> tuple[Source, ...]:
    """The sources of spec.traffic as they are asked, first that of the canary.

    Raises:
        RenderError: a variable is unknown, or both would count the same.

    """
    asked = tuple(
        check_query(counters.check, spec, namespace, rollout, weight=weight, backend=backend) for backend in BACKENDS
    )
    if len(set(asked)) < len(asked):
        raise RenderError("the query counts the same for both backends; select by {{ backend.service }}")
    return asked
