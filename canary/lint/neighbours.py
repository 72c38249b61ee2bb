"""A Rollout next to what it names: routes, Services, workloads, grants, and other Rollouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from canary.errors import ShareError, SpecError
from canary.lint.findings import Finding, Path, Rule, Severity, field_of, path_of
from canary.lint.route_rules import Reason as Odd
from canary.lint.route_rules import strange
from canary.lint.route_shape import flaws, sound
from canary.lint.source import Document
from canary.lint.world import World
from canary.model.rollout import RolloutSpec, RouteRef
from canary.model.values import decimal_text
from canary.model.workloads import foreign
from canary.observe.workloads import stuck
from canary.preflight import findings as preflights
from canary.preflight.attachment import attachment
from canary.preflight.backends import backends as preflight
from canary.preflight.findings import Reason
from canary.preflight.surroundings import Documents
from canary.routes.key import RouteKey
from canary.routes.kinds import STICKY
from canary.routes.pair import Backend, Pair
from canary.routes.reading import RouteReading
from canary.routes.rules import RulePair, read_pairs
from canary.routes.weights import divide

Json = dict[str, Any]

ROLES = ("stable", "canary")


def routes(document: Document, spec: RolloutSpec, world: World) -> Iterator[Finding]:
    """The routes of a Rollout: there, with the pair in them, in weights that can be divided."""
    for index, ref in enumerate(spec.routes):
        path: Path = ("spec", "routes", index)
        absent = world.absent(ref.kind, document.namespace, ref.name)
        if absent is not None:
            severity = Severity.ERROR if world.complete else Severity.WARNING
            yield document.finding(severity, Rule.ROUTE, (*path, "name"), *absent)
            continue
        route = world.get(ref.kind, document.namespace, ref.name)
        if route is not None:
            yield from _route(document, spec, ref, route, path)


def named_rules(document: Document, spec: RolloutSpec, world: World) -> Iterator[Finding]:
    """Rules that a step names are there, as far as the routes are."""
    found: set[str] = set()
    for ref in spec.routes:
        route = world.get(ref.kind, document.namespace, ref.name)
        try:
            found |= {pair.key for pair in pairs_of(document.namespace, spec, ref, route or {})}
        except (SpecError, AttributeError, TypeError, KeyError):  # said of the route, or nobody can tell
            found |= {name for step in spec.steps for name in step.named}
    for index, name, words in spec.misnamed(frozenset(found)):
        yield document.finding(Severity.ERROR, Rule.ROUTE, ("spec", "steps", index, "rules", name), words)


def _route(document: Document, spec: RolloutSpec, ref: RouteRef, route: Json, path: Path) -> Iterator[Finding]:
    route = sound({**route, "kind": ref.kind.value, "status": None})
    flaw = next(flaws(route), None)
    if flaw is not None:
        where, why = flaw
        words = (
            f"{ref.kind} {ref.name} is not of the shape of a route: {': '.join(filter(None, (field_of(where), why)))}"
        )
        advice = "correct it: no API server takes such a route"
        yield document.finding(Severity.ERROR, Rule.ROUTE, path, words, advice, reason=Odd.MALFORMED)
        return
    yield from _form(document, ref, route, path)
    try:
        pairs = pairs_of(document.namespace, spec, ref, route)
    except SpecError as error:
        yield document.finding(Severity.ERROR, Rule.ROUTE, path, error.message)
        return
    reading = RouteReading(route)
    if not reading.answers:
        for found in attachment(reading, Documents(), field_of(path)):
            yield told(document, found, severity=Severity.ERROR)
    for pair in pairs:
        yield from _weights(document, spec, ref, pair, path)
        if pair.sticky:
            words = f"rule {pair.key} of {ref.kind} {ref.name} {STICKY}"
            advice = "take it out for the time of a release, or expect other shares than the steps say"
            yield document.finding(Severity.WARNING, Rule.ROUTE, path, words, advice)


def _form(document: Document, ref: RouteRef, route: Json, path: Path) -> Iterator[Finding]:
    """What rules of the kind cannot have: the API server refuses it, or drops it without a word."""
    for odd in strange(ref.kind, ref.name, _dicts(_dict(route.get("spec")).get("rules"))):
        yield document.finding(odd.severity, Rule.ROUTE, path, odd.message, odd.advice, reason=odd.reason)


def pairs_of(namespace: str, spec: RolloutSpec, ref: RouteRef, route: Json) -> tuple[RulePair, ...]:
    """The pair in a route's rules. Raises SpecError."""
    return read_pairs(route, Pair.of(spec, namespace), ref.rules)


def _weights(document: Document, spec: RolloutSpec, ref: RouteRef, pair: RulePair, path: Path) -> Iterator[Finding]:
    for index, step in enumerate(spec.steps):
        if step.weight is None and pair.key not in step.named:
            continue
        try:
            divide(pair.weights, spec.shares_at(index + 1).of(pair.key), pair.others)
        except ShareError as error:
            member: Path = ("rules", pair.key) if pair.key in step.named else ("weight",)
            at: Path = ("spec", "steps", index, *member) if pair.weights.total else path
            words = f"rule {pair.key} of {ref.kind} {ref.name}: {error}"
            yield document.finding(Severity.ERROR, Rule.ROUTE, at, words)
            break
    if pair.weights.total and pair.weights.share > 0:
        share = decimal_text(pair.weights.share)
        words = f"rule {pair.key} of {ref.kind} {ref.name} gives the canary {share} % of the pair outside of runs"
        yield document.finding(Severity.WARNING, Rule.ROUTE, path, words, "give the canary weight 0")


def backends(document: Document, spec: RolloutSpec, world: World) -> Iterator[Finding]:
    """Services with their ports and pods, workloads, and grants where a namespace is crossed."""
    around, kinds = world.around(), {ref.kind.value for ref in spec.routes}
    for found in preflight(Pair.of(spec, document.namespace), kinds, document.namespace, around, spec.comparer_field):
        severity = Severity.ERROR if found.reason is Reason.WRONG_PORT else Severity.WARNING
        yield told(document, hinted(found, document, spec, world), severity=severity)
    for role, target in zip(ROLES, (spec.stable, spec.canary), strict=True):
        place = target.namespace or document.namespace
        if place != document.namespace and around.grants(place) is None:
            words = f"no ReferenceGrant of namespace {place} is in {world.place}, so whether one lets {' and '.join(kinds)} "
            words += f"of namespace {document.namespace} name Service {target.service} was not checked"
            path: Path = ("spec", role, "namespace")
            advice = "give its file too, or look with --live"
            yield document.finding(Severity.NOTE, Rule.GRANT, path, words, advice)
    yield from pods(document, spec, world)
    yield from _replicas(document, spec, world)


def _replicas(document: Document, spec: RolloutSpec, world: World) -> Iterator[Finding]:
    """A number of replicas in a manifest that is applied again and again, beside a controller that is to set it."""
    if spec.scale is None or spec.workloads is None:
        return
    kind, name = spec.workloads.canary.kind, spec.workloads.canary.name
    workload = world.get(kind, document.namespace, name)
    if workload is not None and _dict(workload.get("spec")).get("replicas") is not None:
        words = f"the manifest of {kind} {name} says how many replicas it has, and so does scale: whoever applies it again puts its own number back"
        advice = "leave replicas out of it, as with an autoscaler"
        yield document.finding(Severity.WARNING, Rule.WORKLOAD, ("spec", "scale"), words, advice)


RULES = {Reason.BACKEND_NOT_FOUND: Rule.SERVICE, Reason.WRONG_PORT: Rule.SERVICE, Reason.REF_NOT_PERMITTED: Rule.GRANT}
"""What was looked at by the reason that was found; else it is the route."""


def told(document: Document, found: preflights.Finding, *, severity: Severity, live: bool = False) -> Finding:
    """What a preflight found, at its place in the Rollout."""
    rule = RULES.get(found.reason, Rule.LIVE if live else Rule.ROUTE)
    return document.finding(severity, rule, path_of(found.field), found.message, found.advice, reason=found.reason)


def hinted(found: preflights.Finding, document: Document, spec: RolloutSpec, world: World) -> preflights.Finding:
    """With the name of a Service that may be meant instead of one that is not there."""
    if found.reason is not Reason.BACKEND_NOT_FOUND or not found.field.endswith(".service"):
        return found
    named = {"spec.stable.service": spec.stable, "spec.canary.service": spec.canary}
    target = named.get(found.field)
    if target is not None:
        absent = world.absent("Service", target.namespace or document.namespace, target.service)
    else:
        absent = (
            world.absent("Service", document.namespace, spec.comparer.service) if spec.comparer is not None else None
        )
    return replace(found, advice=absent[1]) if absent is not None else found


def pods(document: Document, spec: RolloutSpec, world: World) -> Iterator[Finding]:
    """The pods that Services select, and the workloads that ought to be those."""
    severity = Severity.ERROR if world.complete else Severity.WARNING
    selectors: list[Json] = []
    for target in (spec.stable, spec.canary):
        namespace = target.namespace or document.namespace
        service = world.get("Service", namespace, target.service)
        if service is not None:
            selectors.append({"namespace": namespace, **_dict(_dict(service.get("spec")).get("selector"))})
    if len(selectors) == len(ROLES) and selectors[0] == selectors[1] and len(selectors[0]) > 1:
        words = "both Services select the same pods, so the weights make no difference"
        yield document.finding(
            Severity.ERROR, Rule.SERVICE, ("spec", "canary", "service"), words, "give each its own selector"
        )
    yield from _workloads(document, spec, world, severity)


def _workloads(document: Document, spec: RolloutSpec, world: World, severity: Severity) -> Iterator[Finding]:
    if spec.workloads is None:
        return
    pairs = (("stable", spec.workloads.stable, spec.stable), ("canary", spec.workloads.canary, spec.canary))
    for role, ref, target in pairs:
        path: Path = ("spec", "workloads", role, "name")
        if foreign(ref.called):
            continue  # of another group: what it is, only the cluster knows
        absent = world.absent(ref.kind, document.namespace, ref.name)
        if absent is not None:
            yield document.finding(severity, Rule.WORKLOAD, path, *absent)
            continue
        workload = world.get(ref.kind, document.namespace, ref.name)
        service = world.get("Service", target.namespace or document.namespace, target.service)
        if workload is None or service is None or (target.namespace or document.namespace) != document.namespace:
            continue
        selector = _dict(_dict(service.get("spec")).get("selector"))
        template = _dict(_dict(workload.get("spec")).get("template"))
        labels = _dict(_dict(template.get("metadata")).get("labels"))
        missing = {name: value for name, value in selector.items() if labels.get(name) != value}
        if missing:
            wanted = ", ".join(f"{name}={value}" for name, value in missing.items())
            words = f"Service {target.service} selects {wanted}, which the pods of {ref.kind} {ref.name} do not have"
            yield document.finding(Severity.ERROR, Rule.WORKLOAD, path, words, "correct the labels or the selector")
        why = stuck(workload, ref.called)
        if why:
            words = f"{ref.kind} {ref.name}: {why}"
            yield document.finding(
                Severity.WARNING, Rule.WORKLOAD, path, words, "a run waits until all of its pods run its template"
            )


def rivals(rollouts: Mapping[Document, RolloutSpec], world: World) -> Iterator[Finding]:
    """Two Rollouts of the files that drive the same rule of a route; told at the later one."""
    seen: list[tuple[Document, RolloutSpec]] = []
    for document, spec in rollouts.items():
        for other, theirs in seen:
            if other.namespace != document.namespace or other.name == document.name:
                continue
            for index, ref in enumerate(spec.routes):
                shared = _shared(document.namespace, spec, ref, theirs, world)
                if shared:
                    words = f"Rollout {other.name} ({other.file}) drives {shared} of {ref.kind} {ref.name} too"
                    yield document.finding(
                        Severity.ERROR,
                        Rule.RIVAL,
                        ("spec", "routes", index),
                        words,
                        "a rule has one Rollout: name other rules, or delete one of the two",
                    )
        seen.append((document, spec))


def _shared(namespace: str, spec: RolloutSpec, ref: RouteRef, theirs: RolloutSpec, world: World) -> str:
    """What two Rollouts have in common in one route, in words; empty when that is nothing."""
    for other in theirs.routes:
        if RouteKey.of(other, namespace) != RouteKey.of(ref, namespace):
            continue
        named = sorted(set(ref.rules) & set(other.rules))
        if named:
            return f"rule {named[0]}"
        route = world.get(ref.kind, namespace, ref.name)
        if route is None:
            same = {Backend.of(spec.stable, namespace), Backend.of(spec.canary, namespace)} == {
                Backend.of(theirs.stable, namespace),
                Backend.of(theirs.canary, namespace),
            }
            # Other rules may list other pairs: without the route only the same pair is certain to meet.
            return "rules" if same and not (ref.rules and other.rules) else ""
        try:
            ours = {pair.key for pair in pairs_of(namespace, spec, ref, route)}
            others = {pair.key for pair in pairs_of(namespace, theirs, other, route)}
        except (SpecError, AttributeError, TypeError, KeyError):
            return ""
        return f"rule {min(ours & others)}" if ours & others else ""
    return ""


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
