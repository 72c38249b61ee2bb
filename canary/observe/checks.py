"""Checks of a Rollout with their templates looked up, and everything about them that cannot work."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from canary.checks.condition import problem as condition_problem
from canary.decide.facts import Problem
from canary.errors import RenderError, SpecError
from canary.metrics.render import render, variables
from canary.model.checks import Check, CheckTemplateSpec, ResolvedCheck, TemplateKind, resolve
from canary.model.rollout import RolloutSpec
from canary.observe.objects import Packed
from canary.observe.store import Store
from canary.routes.pair import Backend


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks that can be measured, and the problems of those that cannot."""

    resolved: tuple[ResolvedCheck, ...]
    problems: tuple[Problem, ...]


def resolve_checks(store: Store, namespace: str, rollout: str, spec: RolloutSpec) -> Checks:
    """Look up templates, fill in arguments, and try to render every query."""
    resolved: list[ResolvedCheck] = []
    problems: list[Problem] = []
    for index, check in enumerate(spec.checks):
        field = f"spec.checks[{index}]"
        try:
            found = resolve(check, _template(store, namespace, check, field), field)
            resolved.append(found)
        except SpecError as error:
            problems.append(Problem(error.field, error.message))
            continue
        problems += _problems(found, namespace, rollout, spec, field)
    if spec.observed is not None:
        try:
            observed_query(spec, namespace, rollout, weight=0)
        except RenderError as error:
            problems.append(Problem("spec.observed.prometheus.query", str(error)))
    return Checks(tuple(resolved), tuple(problems))


class Resolver:
    """Resolves the checks of one Rollout, and again only when its spec or a template of it has changed."""

    def __init__(self) -> None:
        self._basis: tuple[object, ...] = ()
        self._checks: Checks | None = None

    def __call__(self, store: Store, namespace: str, rollout: str, spec: RolloutSpec) -> Checks:
        basis = (spec, *(_kept(store, namespace, check) for check in spec.checks))
        same = len(basis) == len(self._basis) and all(map(operator.is_, basis, self._basis))
        if self._checks is None or not same:
            self._basis, self._checks = basis, resolve_checks(store, namespace, rollout, spec)
        return self._checks


def _kept(store: Store, namespace: str, check: Check) -> Packed | None:
    if check.template is None:
        return None
    place = "" if check.template.kind is TemplateKind.CLUSTER else namespace
    return store.templates.get((check.template.kind, place, check.template.name))


def _template(store: Store, namespace: str, check: Check, field: str) -> CheckTemplateSpec | None:
    if check.template is None:
        return None
    kind, name = check.template.kind, check.template.name
    kept = _kept(store, namespace, check)
    if kept is None:
        where = "" if kind is TemplateKind.CLUSTER else f" in namespace {namespace}"
        raise SpecError(f"{field}.template", f"there is no {kind} {name}{where}; create it, or correct the name")
    try:
        return CheckTemplateSpec.model_validate(kept.document.get("spec"))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{field}.template", f"{kind} {name} is invalid at spec.{path}: {first['msg']}") from error


def _problems(check: ResolvedCheck, namespace: str, rollout: str, spec: RolloutSpec, field: str) -> Iterator[Problem]:
    try:
        check_query(check, spec, namespace, rollout, weight=0)
    except RenderError as error:
        yield Problem(f"{field}.prometheus.query", str(error))
    if check.condition is not None:
        wrong = condition_problem(check.condition)
        if wrong:
            yield Problem(f"{field}.condition", wrong)


def check_query(
    check: ResolvedCheck, spec: RolloutSpec, namespace: str, rollout: str, *, weight: float, swapped: bool = False
) -> str:
    """Render the query of a check. `weight` is the canary's share in percent. Raises RenderError."""
    names = _variables(
        spec, namespace, rollout, window=str(check.window), weight=weight, args=check.args, swapped=swapped
    )
    return render(check.query, names)


def observed_query(spec: RolloutSpec, namespace: str, rollout: str, *, weight: float, swapped: bool = False) -> str:
    """Render the query of spec.observed. Raises RenderError."""
    if spec.observed is None:
        raise RenderError("spec.observed is not set")
    window = str(spec.observed.window)
    names = _variables(spec, namespace, rollout, window=window, weight=weight, args={}, swapped=swapped)
    return render(spec.observed.prometheus.query, names)


def _variables(
    spec: RolloutSpec, namespace: str, rollout: str, *, window: str, weight: float, args: Any, swapped: bool
) -> dict[str, Any]:
    stable, canary = Backend.of(spec.stable, namespace), Backend.of(spec.canary, namespace)
    if swapped:
        stable, canary = canary, stable
    return variables(
        stable={"service": stable.service, "namespace": stable.namespace, "port": stable.port},
        canary={"service": canary.service, "namespace": canary.namespace, "port": canary.port},
        namespace=namespace,
        rollout=rollout,
        route=spec.routes[0].name,
        window=window,
        weight=weight,
        args=args,
    )
