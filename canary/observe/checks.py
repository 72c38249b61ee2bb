"""Checks of a Rollout with their templates looked up, and everything about them that cannot work."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from canary.checks.queries import TRAFFIC, check_query, traffic_check, traffic_queries
from canary.checks.resolve import ResolvedCheck, resolve
from canary.decide.facts import Problem
from canary.errors import RenderError, SpecError
from canary.model.checks import Check, CheckTemplateSpec, TemplateKind
from canary.model.rollout import RolloutSpec
from canary.observe.objects import Packed
from canary.observe.store import Store


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
    problems += _uncountable(namespace, rollout, spec)
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


def _uncountable(namespace: str, rollout: str, spec: RolloutSpec) -> Iterator[Problem]:
    """Why `spec.traffic` could not be asked."""
    counters = traffic_check(spec)
    if counters is None:
        return
    try:
        traffic_queries(spec, namespace, rollout, weight=0)
    except RenderError as error:
        yield Problem(".".join((TRAFFIC, *counters.source.FIELD)), str(error))


def _problems(check: ResolvedCheck, namespace: str, rollout: str, spec: RolloutSpec, field: str) -> Iterator[Problem]:
    try:
        check_query(check, spec, namespace, rollout, weight=0)
    except RenderError as error:
        yield Problem(".".join((field, *check.source.FIELD)), str(error))
    for flaw in check.judge.flaws():
        yield Problem(f"{field}.{flaw.field}", flaw.message)
