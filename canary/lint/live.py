"""What a cluster says to a Rollout: the controller's own preflight, before there is a run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from canary.lint import neighbours
from canary.lint.findings import Finding, Path, Rule, Severity, path_of
from canary.lint.route_shape import flaws, sound
from canary.lint.source import Document
from canary.lint.world import World
from canary.model.checks import TemplateKind
from canary.model.rollout import RolloutSpec, RouteKind
from canary.model.workloads import KINDS as WORKLOADS
from canary.observe.around import KINDS as SURROUNDING
from canary.observe.checks import Checks
from canary.observe.facts import Received, gather
from canary.observe.kinds import not_served
from canary.observe.rollout import Rollout
from canary.observe.store import Store
from canary.preflight.backends import backends
from canary.routes.key import RouteKey
from canary.routes.pair import Pair

Json = dict[str, Any]

_NEWEST = "9999-12-31T23:59:59Z"
"""Created later than everything in the cluster: what is there already comes first."""


KINDS = frozenset(RouteKind)
"""Of routes."""


def findings(document: Document, spec: RolloutSpec, cluster: World, files: World, now: datetime) -> Iterator[Finding]:
    """Routes, gateways, rivals, Services, workloads and grants as they are in the cluster.

    A route that is only in the files is taken from there: it is about to be applied together with the Rollout.
    """
    own = _own(document, cluster)
    pending = {
        RouteKey.of(ref, document.namespace)
        for ref in spec.routes
        if ref.kind not in cluster.unserved
        and cluster.get(ref.kind, document.namespace, ref.name) is None
        and (given := files.get(ref.kind, document.namespace, ref.name)) is not None
        and not any(flaws(sound({**given, "status": None})))
    }
    rollout = Rollout.of(own)
    store = _store(document, own, cluster, files, pending)
    facts = gather(store, rollout, spec, rollout.status, Checks((), ()), Received(), now)
    for problem in facts.problems:
        yield document.finding(Severity.ERROR, Rule.LIVE, path_of(problem.field), problem.message)
    declared = {RouteKey.of(ref, document.namespace): index for index, ref in enumerate(spec.routes)}
    for route in facts.routes:
        if route.key not in declared or not route.exists:
            continue
        path: Path = ("spec", "routes", declared[route.key])
        if route.key in pending:
            words = f"{route.label} is not in the cluster yet, so no gateway could say whether it accepts it"
            yield document.finding(Severity.NOTE, Rule.LIVE, path, words, "apply it, then look again")
    unasked = {f"spec.routes[{declared[key]}]" for key in pending}
    world = files.over(cluster)
    # During a run facts hold only what must not be written; that a Service has vanished is told whenever somebody asks.
    named = backends(
        Pair.of(spec, document.namespace),
        {ref.kind.value for ref in spec.routes},
        document.namespace,
        store.around,
        spec.comparer_field,
    )
    for found in dict.fromkeys((*named, *facts.findings)):
        if found.field not in unasked:
            severity = Severity.ERROR if found.sure else Severity.NOTE
            yield neighbours.told(
                document, neighbours.hinted(found, document, spec, world), severity=severity, live=True
            )
    yield from neighbours.pods(document, spec, world)


def _own(document: Document, cluster: World) -> Json:
    """The Rollout as it will be: the file's spec on the cluster's object."""
    there = cluster.get("Rollout", document.namespace, document.name) or {}
    metadata = {
        "creationTimestamp": _NEWEST,
        **(there.get("metadata") or {}),
        "name": document.name,
        "namespace": document.namespace,
    }
    return {**there, "metadata": metadata, "spec": document.content.get("spec")}


def _kept_labels(there: Json | None, namespace: Json) -> Json:
    """A Namespace of the files as it will be: what is applied takes no label away that somebody else has set."""
    labels = {**_labels(there or {}), **_labels(namespace)}
    return {**namespace, "metadata": {**namespace["metadata"], "labels": labels}}


def _labels(document: Json) -> Json:
    labels = (document.get("metadata") or {}).get("labels")
    return labels if isinstance(labels, dict) else {}


def _store(document: Document, own: Json, cluster: World, files: World, pending: set[RouteKey]) -> Store:
    store = Store(place=cluster.place)
    for kind, place in cluster.known:
        store.around.know(kind, place or None, known=True)
    store.put_rollout(own)
    for (kind, namespace, name), found in files.over(cluster).objects.items():
        if kind in SURROUNDING:
            store.put_around(
                kind, _kept_labels(cluster.get(kind, namespace, name), found) if kind == "Namespace" else found
            )
    for definition, policy in cluster.policies:
        store.put_policy(definition, policy)
    for kind in cluster.unserved:
        store.kinds.unseen(kind, None, not_served(kind))
    for (kind, namespace, name), found in cluster.objects.items():
        match kind:
            case "Rollout" if (namespace, name) != (document.namespace, document.name):
                theirs = files.get(kind, namespace, name)
                store.put_rollout(found if theirs is None else {**found, "spec": theirs.get("spec")})
            case _ if kind in KINDS:
                store.put_route(found)
            case _ if kind in WORKLOADS:
                store.put_workload(found, kind)
            case TemplateKind.NAMESPACED | TemplateKind.CLUSTER:
                store.put_template(kind, found)
    for key in pending:
        found_in_files = files.get(*key)
        if found_in_files is not None:
            store.put_route(found_in_files)
    store.listed = True
    return store
