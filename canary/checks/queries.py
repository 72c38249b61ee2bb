"""What a Rollout asks: the sources of its checks and of `spec.observed`, rendered for a moment of its run."""

from __future__ import annotations

from canary.checks.judges.threshold import Bounds
from canary.checks.render import variables
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources import Source, source_of
from canary.errors import RenderError
from canary.model.checks import Settings
from canary.model.rollout import BackendTarget, RolloutSpec
from canary.model.values import Duration

OBSERVED = "spec.observed"
"""The name under which `spec.observed` is measured; no check can have it."""


def check_query(
    check: ResolvedCheck,
    spec: RolloutSpec,
    namespace: str,
    rollout: str,
    *,
    weight: float,
    step: str = "weight",
    swapped: bool = False,
) -> Source:
    """The source of a check as it is asked. `weight` is the canary's share in percent, `step` the step's kind. Raises RenderError."""
    stable, canary = _backend(spec.stable, namespace), _backend(spec.canary, namespace)
    if swapped:
        stable, canary = canary, stable
    names = variables(
        stable=stable,
        canary=canary,
        namespace=namespace,
        rollout=rollout,
        route=spec.routes[0].name,
        window=str(check.settings.window),
        weight=weight,
        step=step,
        args=check.args,
    )
    return check.source.rendered(names)


def observed_query(spec: RolloutSpec, namespace: str, rollout: str, *, weight: float, swapped: bool = False) -> Source:
    """The source of spec.observed as it is asked. Raises RenderError."""
    check = observed_check(spec)
    if check is None:
        raise RenderError("spec.observed is not set")
    return check_query(check, spec, namespace, rollout, weight=weight, swapped=swapped)


def observed_check(spec: RolloutSpec) -> ResolvedCheck | None:
    """`spec.observed` in the form that is measured: it is shown, and nobody judges it. None: there is none."""
    source = source_of(spec.observed)
    if spec.observed is None or source is None:
        return None
    settings = Settings(
        window=spec.observed.window, interval=spec.observed.interval, hold_limit=Duration.parse("0s"), dry_run=True
    )
    return ResolvedCheck(OBSERVED, source, Bounds(), {}, settings)


def _backend(target: BackendTarget, namespace: str) -> dict[str, object]:
    return {"service": target.service, "namespace": target.namespace or namespace, "port": target.port}
