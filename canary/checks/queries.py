"""What a check of a Rollout asks: its source, rendered for a moment of the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from canary.checks.render import variables
from canary.checks.resolve import ResolvedCheck
from canary.checks.sources import Source
from canary.checks.sources.web import Web
from canary.errors import RenderError
from canary.model.gates import HttpGate
from canary.model.rollout import BackendTarget, RolloutSpec

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
    stable, canary = _pair(spec, namespace, swapped=swapped)
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
    if spec.comparer is not None:
        names["comparer"] = {"service": spec.comparer.service, "namespace": namespace}
    return check.source.rendered(names)


def _pair(spec: RolloutSpec, namespace: str, *, swapped: bool) -> tuple[dict[str, object], dict[str, object]]:
    """Stable and canary by their present roles, as variables."""
    stable, canary = _backend(spec.stable, namespace), _backend(spec.canary, namespace)
    return (canary, stable) if swapped else (stable, canary)


def gate_query(
    gate: HttpGate,
    spec: RolloutSpec,
    namespace: str,
    rollout: str,
    *,
    weight: float,
    step: str = "gate",
    revision: str = "",
    swapped: bool = False,
) -> Web:
    """What the gate of a step asks. Raises RenderError.

    It knows what queries know, but for `window` and `args`, and the `revision` under test, which is empty where none is known.
    """
    stable, canary = _pair(spec, namespace, swapped=swapped)
    names = variables(
        stable=stable,
        canary=canary,
        namespace=namespace,
        rollout=rollout,
        route=spec.routes[0].name,
        window="",
        weight=weight,
        step=step,
    )
    del names["window"], names["args"]
    return Web.of_gate(gate).rendered({**names, "revision": revision})


def gates_of(spec: RolloutSpec) -> Iterator[tuple[int, HttpGate]]:
    """The steps that ask another system, by their indexes (from 0), and whom."""
    for index, step in enumerate(spec.steps if spec.asks_gates else ()):
        if step.gate is not None and step.gate.http is not None:
            yield index, step.gate.http


def check_questions(
    check: ResolvedCheck, spec: RolloutSpec, namespace: str, rollout: str, *, weight: float
) -> tuple[tuple[tuple[str, ...], Source], ...]:
    """All that a check asks a provider, each with the path of its text below the check.

    Raises:
        RenderError: a variable is unknown, or both backends would be asked for the same.

    """
    if not check.per_backend:
        return check_query(check, spec, namespace, rollout, weight=weight).parts
    asked = [check_query(check, spec, namespace, rollout, weight=weight, backend=backend).parts for backend in BACKENDS]
    for (path, canary), (_, stable) in zip(*asked, strict=True):
        if canary == stable:
            raise RenderError(f"{path[-1]} counts the same for both backends; select by {{{{ backend.service }}}}")
    return tuple(part for parts in asked for part in parts)


def _backend(target: BackendTarget, namespace: str) -> dict[str, object]:
    return {"service": target.service, "namespace": target.namespace or namespace, "port": target.port}
