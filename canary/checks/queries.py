"""What a Rollout asks: the sources of its checks and of `spec.traffic`, rendered for a moment of its run."""

from __future__ import annotations

from typing import Literal

from canary.checks.judges.threshold import Bounds
from canary.checks.render import variables
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources import Source, source_of
from canary.errors import RenderError
from canary.model.checks import Settings
from canary.model.rollout import BackendTarget, RolloutSpec
from canary.model.values import Duration

TRAFFIC = "spec.traffic"
"""The name under which `spec.traffic` is measured; no check can have it."""

Backend = Literal["stable", "canary"]
BACKENDS: tuple[Backend, ...] = ("canary", "stable")


def check_query(
    check: ResolvedCheck,
    spec: RolloutSpec,
    namespace: str,
    rollout: str,
    *,
    weight: float,
    step: str = "weight",
    swapped: bool = False,
    backend: Backend | None = None,
) -> Source:
    """The source of a check as it is asked. Raises RenderError.

    `weight` is the canary's share in percent, `step` the step's kind, `backend` whose numbers are asked for (by its present
    role), where the check asks for those of each.
    """
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
        backend={"stable": stable, "canary": canary}[backend] if backend is not None else None,
    )
    return check.source.rendered(names)


def traffic_check(spec: RolloutSpec) -> ResolvedCheck | None:
    """`spec.traffic` in the form that is measured; it has no limit. None: there is none."""
    source = source_of(spec.traffic)
    if spec.traffic is None or source is None:
        return None
    settings = Settings(interval=spec.traffic.interval, hold_limit=Duration.parse("0s"), dry_run=True)
    return ResolvedCheck(TRAFFIC, source, Bounds(), {}, settings, per_backend=True)


def traffic_queries(spec: RolloutSpec, namespace: str, rollout: str, *, weight: float) -> tuple[Source, ...]:
    """The sources of spec.traffic as they are asked, first that of the canary; none where it is not declared.

    Raises:
        RenderError: a variable is unknown, or both would count the same.

    """
    check = traffic_check(spec)
    if check is None:
        return ()
    asked = tuple(check_query(check, spec, namespace, rollout, weight=weight, backend=backend) for backend in BACKENDS)
    if len(set(asked)) < len(asked):
        raise RenderError("the query counts the same for both backends; select by {{ backend.service }}")
    return asked


def _backend(target: BackendTarget, namespace: str) -> dict[str, object]:
    return {"service": target.service, "namespace": target.namespace or namespace, "port": target.port}
