"""A Rollout next to what it names: routes, Services, workloads, grants, and other Rollouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from canary.errors import ShareError, SpecError
from canary.lint.findings import Finding, Path, Rule, Severity
from canary.lint.source import Document
from canary.lint.world import World
from canary.model.rollout import BackendTarget, RolloutSpec, RouteRef
from canary.model.shares import Shares, misnamed
from canary.model.values import decimal_text
from canary.routes.pair import Backend, Pair
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
    for index, name, words in misnamed(spec, frozenset(found)):
        yield document.finding(Severity.ERROR, Rule.ROUTE, ("spec", "steps", index, "rules", name), words)


def _route(document: Document, spec: RolloutSpec, ref: RouteRef, route: Json, path: Path) -> Iterator[Finding]:
    try:
        pairs = pairs_of(document.namespace, spec, ref, route)
    except SpecError as error:
        yield document.finding(Severity.ERROR, Rule.ROUTE, path, error.message)
        return
    except (AttributeError, TypeError, KeyError) as error:
        words = f"HTTPRoute {ref.name} is not of the shape of a route ({type(error).__name__})"
        yield document.finding(Severity.ERROR, Rule.ROUTE, path, words, "correct its rules and backendRefs")
        return
    if not _dict(route.get("spec")).get("parentRefs"):
        words = f"HTTPRoute {ref.name} has no parentRefs, so no gateway serves it"
        yield document.finding(Severity.ERROR, Rule.ROUTE, path, words, "name the Gateway in its spec.parentRefs")
    for pair in pairs:
        yield from _weights(document, spec, ref, pair, path)


def pairs_of(namespace: str, spec: RolloutSpec, ref: RouteRef, route: Json) -> tuple[RulePair, ...]:
    """The pair in a route's rules. Raises SpecError."""
    return read_pairs(route, Pair.of(spec, namespace), ref.rules)


def _weights(document: Document, spec: RolloutSpec, ref: RouteRef, pair: RulePair, path: Path) -> Iterator[Finding]:
    for index, step in enumerate(spec.steps):
        if step.weight is None and pair.key not in step.named:
            continue
        try:
            divide(pair.weights, Shares.at(spec.steps, index + 1).of(pair.key), pair.others)
        except ShareError as error:
            member: Path = ("rules", pair.key) if pair.key in step.named else ("weight",)
            at: Path = ("spec", "steps", index, *member) if pair.weights.total else path
            words = f"rule {pair.key} of HTTPRoute {ref.name}: {error}"
            yield document.finding(Severity.ERROR, Rule.ROUTE, at, words)
            break
    if pair.weights.total and pair.weights.share > 0:
        share = decimal_text(pair.weights.share)
        words = f"rule {pair.key} of HTTPRoute {ref.name} gives the canary {share} % of the pair outside of runs"
        yield document.finding(Severity.WARNING, Rule.ROUTE, path, words, "give the canary weight 0")


def backends(document: Document, spec: RolloutSpec, world: World) -> Iterator[Finding]:
    """Services with their ports and pods, workloads, and grants where a namespace is crossed."""
    severity = Severity.ERROR if world.complete else Severity.WARNING
    selectors: list[Json] = []
    for role, target in zip(ROLES, (spec.stable, spec.canary), strict=True):
        namespace = target.namespace or document.namespace
        if namespace != document.namespace:
            yield from _grant(document, spec, target, world, role)
        absent = world.absent("Service", namespace, target.service)
        if absent is not None:
            yield document.finding(severity, Rule.SERVICE, ("spec", role, "service"), *absent)
            continue
        service = world.get("Service", namespace, target.service)
        if service is not None:
            selectors.append({"namespace": namespace, **_dict(_dict(service.get("spec")).get("selector"))})
            yield from _service(document, service, target, role)
    if len(selectors) == len(ROLES) and selectors[0] == selectors[1] and len(selectors[0]) > 1:
        words = "both Services select the same pods, so the weights make no difference"
        yield document.finding(
            Severity.ERROR, Rule.SERVICE, ("spec", "canary", "service"), words, "give each its own selector"
        )
    yield from _workloads(document, spec, world, severity)


def _service(document: Document, service: Json, target: BackendTarget, role: str) -> Iterator[Finding]:
    ports = [port.get("port") for port in _dicts(_dict(service.get("spec")).get("ports"))]
    if target.port not in ports:
        listed = ", ".join(map(str, ports)) or "none"
        words = f"Service {target.service} has no port {target.port}; its ports: {listed}"
        yield document.finding(Severity.ERROR, Rule.SERVICE, ("spec", role, "port"), words)


def _workloads(document: Document, spec: RolloutSpec, world: World, severity: Severity) -> Iterator[Finding]:
    if spec.workloads is None:
        return
    pairs = (("stable", spec.workloads.stable, spec.stable), ("canary", spec.workloads.canary, spec.canary))
    for role, ref, target in pairs:
        path: Path = ("spec", "workloads", role, "name")
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


def _grant(document: Document, spec: RolloutSpec, target: BackendTarget, world: World, role: str) -> Iterator[Finding]:
    """A backendRef into another namespace is served only if a ReferenceGrant there allows it."""
    namespace = target.namespace or document.namespace
    kinds = {ref.kind.value for ref in spec.routes}
    granted = {kind for kind in kinds if _granted(world, kind, document.namespace, namespace, target.service)}
    if granted == kinds:
        return
    words = (
        f"no ReferenceGrant of namespace {namespace} in {world.place} lets {' and '.join(sorted(kinds - granted))} of "
        f"namespace {document.namespace} name Service {target.service}"
    )
    if world.complete or world.names("ReferenceGrant", namespace):
        severity, advice = Severity.ERROR if world.complete else Severity.WARNING, f"create one in {namespace}"
    else:
        severity, advice = Severity.NOTE, "give its file too, or look with --live"
    yield document.finding(severity, Rule.GRANT, ("spec", role, "namespace"), words, advice)


def _granted(world: World, kind: str, source: str, target: str, service: str) -> bool:
    for grant in world.of("ReferenceGrant", target):
        spec = _dict(grant.get("spec"))
        comes = any(
            (item.get("group"), item.get("kind"), item.get("namespace")) == ("gateway.networking.k8s.io", kind, source)
            for item in _dicts(spec.get("from"))
        )
        goes = any(
            not item.get("group") and item.get("kind") == "Service" and item.get("name") in (None, "", service)
            for item in _dicts(spec.get("to"))
        )
        if comes and goes:
            return True
    return False


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
                    words = f"Rollout {other.name} ({other.file}) drives {shared} of route {ref.name} too"
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
        if (other.kind, other.name) != (ref.kind, ref.name):
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
