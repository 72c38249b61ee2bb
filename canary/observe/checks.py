"""Checks of a Rollout with their templates looked up, and everything about them that cannot work."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from canary.checks.comparable import with_alphas
from canary.checks.queries import check_questions, gate_query, gates_of
from canary.checks.resolve import Lost, ResolvedCheck, lost, resolve
from canary.checks.sources import blamed
from canary.checks.traffic import TRAFFIC, Counters, resolve_traffic, traffic_queries
from canary.decide.facts import Problem
from canary.errors import RenderError, SpecError
from canary.model.checks import Check, TemplateKind, TemplateRef
from canary.model.rollout import RolloutSpec
from canary.model.templates import CheckTemplateSpec
from canary.observe.objects import Packed
from canary.observe.store import Store


@dataclass(frozen=True, slots=True)
class Checks:
    """The checks of a Rollout as declared, and the problems of those that are lost. `traffic`: the counters, if there are any."""

    resolved: tuple[ResolvedCheck, ...]
    problems: tuple[Problem, ...]
    traffic: Counters | None = None


Known = Mapping[str, tuple[Check, ResolvedCheck]]
"""Checks by name, as they were declared and resolved when that was possible."""

NONE_KNOWN: Known = {}


def resolve_checks(store: Store, namespace: str, rollout: str, spec: RolloutSpec, known: Known = NONE_KNOWN) -> Checks:
    """Look up templates, fill in arguments, and try to render every query.

    A check of which that fails is lost, and no less declared: what holds where nobody knows what it says is for the run to decide.
    """
    resolved: list[ResolvedCheck] = []
    problems: list[Problem] = []
    for index, check in enumerate(spec.checks):
        field = f"spec.checks[{index}]"
        try:
            found = resolve(check, _template(store, namespace, check.template, field), field)
            resolved.append(found)
        except SpecError as error:
            problems.append(Problem(error.field, error.message))
            declared, before = known.get(check.key, (None, None))
            why = Lost(_why_lost(store, namespace, check), error.message)
            resolved.append(lost(check, why, before if declared == check else None))
            continue
        problems += _problems(found, namespace, rollout, spec, field)
    for index, gate in gates_of(spec):
        try:
            gate_query(gate, spec, namespace, rollout, weight=0)
        except RenderError as error:
            problems.append(Problem(f"spec.steps[{index}].gate.http", str(error)))
    counters = None
    try:
        counters = _counters(store, namespace, spec)
    except SpecError as error:
        problems.append(Problem(error.field, error.message))
    if counters is not None:
        problems += _uncountable(counters, namespace, rollout, spec)
    return Checks(_with_alphas(resolved, spec), tuple(problems), counters)


def _why_lost(store: Store, namespace: str, check: Check) -> str:
    if check.template is None:
        return "CheckUnreadable"
    if _unlisted(store, namespace, check.template):
        return "TemplatesNotListed"
    return "TemplateNotFound" if kept_template(store, namespace, check.template) is None else "TemplateUnreadable"


def _with_alphas(resolved: list[ResolvedCheck], spec: RolloutSpec) -> tuple[ResolvedCheck, ...]:
    """Each comparison knows its part of alpha; one that is lost may be a comparison too, and keeps what it was given."""
    measured = [check for check in resolved if check.lost is None]
    given = iter(with_alphas(measured, spec, unresolved=len(resolved) - len(measured)))
    return tuple(next(given) if check.lost is None else check for check in resolved)


def templates_of(spec: RolloutSpec) -> Iterator[TemplateRef]:
    """The templates that a Rollout names."""
    for user in (*spec.checks, spec.traffic):
        if user is not None and user.template is not None:
            yield user.template


def _unlisted(store: Store, namespace: str, ref: TemplateRef) -> bool:
    """Whether nobody can tell yet if there is a template of that name."""
    return kept_template(store, namespace, ref) is None and store.lists.awaits(ref.kind, namespace)


def kept_template(store: Store, namespace: str, ref: TemplateRef) -> Packed | None:
    """A template as the store has it; None: there is none."""
    return store.templates.get((ref.kind, "" if ref.kind is TemplateKind.CLUSTER else namespace, ref.name))


class Resolver:
    """Resolves the checks of one Rollout, and again only when its spec or a template of it has changed.

    Of a check that is lost it remembers what it was, and so by which policy it goes: its template may have said that.
    """

    def __init__(self) -> None:
        self._basis: tuple[object, ...] = ()
        self._checks: Checks | None = None
        self._known: dict[str, tuple[Check, ResolvedCheck]] = {}

    def __call__(self, store: Store, namespace: str, rollout: str, spec: RolloutSpec) -> Checks:
        named = tuple(templates_of(spec))
        basis = (
            spec,
            *(kept_template(store, namespace, ref) for ref in named),
            *(_unlisted(store, namespace, ref) for ref in named),
        )
        same = len(basis) == len(self._basis) and all(map(operator.is_, basis, self._basis))
        if self._checks is None or not same:
            self._basis, self._checks = basis, resolve_checks(store, namespace, rollout, spec, self._known)
            self._known = {
                found.name: (declared, found) if found.lost is None else self._known[found.name]
                for declared, found in zip(spec.checks, self._checks.resolved, strict=True)
                if found.lost is None or found.name in self._known
            }
        return self._checks


def _template(store: Store, namespace: str, ref: TemplateRef | None, field: str) -> CheckTemplateSpec | None:
    if ref is None:
        return None
    kind, name = ref.kind, ref.name
    kept = kept_template(store, namespace, ref)
    if kept is None and _unlisted(store, namespace, ref):
        raise SpecError(f"{field}.template", f"it is not known yet which {kind}s there are")
    if kept is None:
        where = "" if kind is TemplateKind.CLUSTER else f" in namespace {namespace}"
        raise SpecError(f"{field}.template", f"there is no {kind} {name}{where}; create it, or correct the name")
    try:
        return CheckTemplateSpec.model_validate(kept.document.get("spec"))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{field}.template", f"{kind} {name} is invalid at spec.{path}: {first['msg']}") from error


def _counters(store: Store, namespace: str, spec: RolloutSpec) -> Counters | None:
    """The counters of a Rollout; None: it declares none. Raises SpecError."""
    if spec.traffic is None:
        return None
    return resolve_traffic(spec.traffic, _template(store, namespace, spec.traffic.template, TRAFFIC))


def _uncountable(counters: Counters, namespace: str, rollout: str, spec: RolloutSpec) -> Iterator[Problem]:
    """Why the counters could not be asked."""
    try:
        traffic_queries(counters, spec, namespace, rollout, weight=0)
    except RenderError as error:
        yield Problem(f"{TRAFFIC}.{blamed(counters.check.source, error)}", str(error))


def _problems(check: ResolvedCheck, namespace: str, rollout: str, spec: RolloutSpec, field: str) -> Iterator[Problem]:
    try:
        check_questions(check, spec, namespace, rollout, weight=0)
    except RenderError as error:
        yield Problem(f"{field}.{blamed(check.source, error)}", str(error))
    for flaw in check.judge.flaws():
        yield Problem(f"{field}.{flaw.field}", flaw.message)
