"""Kinds of workloads: how each says how far its pods are, and what cannot be said of one that is not seen."""

from __future__ import annotations

from typing import Any

import pytest
from observe_kit import NOW, TEAM, deployment, facts_of, meta, rollout, route

from canary.model.status import Phase, RolloutStatus
from canary.model.workloads import KINDS, kind_of, traits
from canary.observe.checks import Checks
from canary.observe.facts import Received, gather
from canary.observe.rollout import Rollout
from canary.observe.store import Store
from canary.observe.workloads import Workload, WorkloadKey, revision, workload_view

Json = dict[str, Any]

POD_SPEC: Json = {"containers": [{"name": "app", "image": "shop:1", "envFrom": [{"configMapRef": {"name": "conf"}}]}]}
CLONE_SET = kind_of("apps.kruise.io/v1alpha1", "CloneSet")
ARGO = kind_of("argoproj.io/v1alpha1", "Rollout")

STATEFUL: Json = {
    "observedGeneration": 2,
    "replicas": 3,
    "readyReplicas": 3,
    "currentReplicas": 3,
    "updatedReplicas": 3,
    "currentRevision": "db-2",
    "updateRevision": "db-2",
}
ON_NODES: Json = {
    "observedGeneration": 2,
    "desiredNumberScheduled": 3,
    "currentNumberScheduled": 3,
    "updatedNumberScheduled": 3,
    "numberReady": 3,
}
DEPLOYED: Json = {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3}


def workload(status: Json, **spec: Any) -> Json:
    """A workload of the second generation."""
    template = {"metadata": {"labels": {"app": "db"}}, "spec": POD_SPEC}
    return {
        "metadata": meta("db", generation=2),
        "spec": {"replicas": 3, "template": template, **spec},
        "status": status,
    }


ON_DELETE: Json = {"updateStrategy": {"type": "OnDelete"}}


def partition(number: Any) -> Json:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": number}}}


SAID: list[tuple[str, str, Json, Json, bool, int, str]] = [
    ("a StatefulSet that is through", "StatefulSet", {}, {}, True, 3, ""),
    ("one of which nothing is observed", "StatefulSet", {}, {"observedGeneration": 1}, False, 3, ""),
    ("one whose last pod is old", "StatefulSet", {}, {"updatedReplicas": 2}, False, 3, ""),
    ("one whose last pod is not ready", "StatefulSet", {}, {"readyReplicas": 2}, False, 2, ""),
    ("one that is not through by its revisions", "StatefulSet", {}, {"currentRevision": "db-1"}, False, 3, ""),
    ("one that has pods too many", "StatefulSet", {}, {"replicas": 4}, False, 3, ""),
    ("one of no replicas", "StatefulSet", {"replicas": 0}, dict.fromkeys(STATEFUL, 0), False, 0, ""),
    ("a partition that is over", "StatefulSet", partition(0), {}, True, 3, ""),
    ("a partition that holds pods back", "StatefulSet", partition(2), {"updatedReplicas": 1, "currentRevision": "db-1"}, False, 3, "partition 2"),
    ("a partition in a StatefulSet that has not changed", "StatefulSet", partition(2), {}, True, 3, ""),
    ("pods that wait to be deleted", "StatefulSet", ON_DELETE, {"updatedReplicas": 0, "currentRevision": "db-1"}, False, 3, "delete them"),
    ("pods that were deleted, as its status never says", "StatefulSet", ON_DELETE, {"currentRevision": "db-1"}, True, 3, ""),
    ("a DaemonSet that is through", "DaemonSet", {}, {}, True, 3, ""),
    ("one of which nothing is observed yet", "DaemonSet", {}, {"observedGeneration": 1}, False, 3, ""),
    ("one with an old pod", "DaemonSet", {}, {"updatedNumberScheduled": 2}, False, 3, ""),
    ("one with a node that has no pod", "DaemonSet", {}, {"currentNumberScheduled": 2, "numberReady": 2}, False, 2, ""),
    ("one of no nodes", "DaemonSet", {}, dict.fromkeys(ON_NODES, 0), False, 0, ""),
    ("one whose pods wait to be deleted", "DaemonSet", ON_DELETE, {"updatedNumberScheduled": 1}, False, 3, "delete them"),
    ("a Deployment", "Deployment", {}, {}, True, 3, ""),
    ("a CloneSet", CLONE_SET, {}, {}, True, 3, ""),
    ("a CloneSet with a partition", CLONE_SET, {"updateStrategy": {"partition": "50%"}}, {"updatedReplicas": 1}, False, 3, "partition 50%"),
    ("Argo's, which writes its generation as text", ARGO, {}, {"observedGeneration": "2"}, True, 3, ""),
    ("Argo's, of the generation before", ARGO, {}, {"observedGeneration": "1"}, False, 3, ""),
    ("Kruise's StatefulSet, which speaks as the other", kind_of("apps.kruise.io/v1", "StatefulSet"), partition(1), {**STATEFUL, "updatedReplicas": 2}, False, 3, "partition 1"),
    ("Kruise's DaemonSet", kind_of("apps.kruise.io/v1", "DaemonSet"), {}, {}, True, 3, ""),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "status", "rolled_out", "ready", "stuck"), [row[1:] for row in SAID], ids=[row[0] for row in SAID])  # fmt: skip
def test_how_far_its_pods_are(kind: str, spec: Json, status: Json, rolled_out: bool, ready: int, stuck: str) -> None:
    """No revision is claimed to run which the status does not say runs; what nobody waits for in vain is said."""
    usual = {"StatefulSet": STATEFUL, "DaemonSet": ON_NODES}.get(kind.partition(".")[0], DEPLOYED)
    view = workload_view(workload({**usual, **status}, **spec), kind)
    assert (view.rolled_out, view.ready, bool(stuck), stuck in view.stuck) == (
        rolled_out,
        ready,
        bool(view.stuck),
        True,
    )


@pytest.mark.parametrize("kind", [*KINDS, CLONE_SET])
def test_a_workload_that_says_nothing_yet_runs_nothing(kind: str) -> None:
    """Just created: no status, or an empty one."""
    for status in ({}, None):
        view = workload_view(workload(status), kind)  # type: ignore[arg-type]  # as an API server may have it
        assert (view.rolled_out, view.ready) == (False, 0)


def test_a_revision_is_what_it_was() -> None:
    """Byte for byte what it was before workloads had other kinds, and the same in all that an API server fills in: an upgrade starts no run."""
    document = workload({})
    assert revision(document) == "874213bd3b"
    assert {workload_view(document, kind).revision for kind in KINDS} == {"874213bd3b"}


def test_what_a_kind_can_is_in_the_table() -> None:
    """A kind of another group is read and never written, whatever it is called."""
    assert {kind: (each.copies, each.scales) for kind, each in KINDS.items()} == {
        "Deployment": (True, True),
        "StatefulSet": (True, True),
        "DaemonSet": (True, False),
    }
    for api_version, kind in (
        ("apps.kruise.io/v1", "StatefulSet"),
        ("apps/v1", "ReplicaSet"),
        ("a.b/v1", "Deployment"),
    ):
        found = traits(kind_of(api_version, kind))
        assert (found.copies, found.scales) == (False, False)
    assert (kind_of("", "Deployment"), kind_of("apps/v1beta1", "StatefulSet")) == ("Deployment", "StatefulSet")


@pytest.mark.parametrize(
    "spec",
    [
        {"template": None},
        {"template": "none"},
        {"template": {"spec": []}},
        {"template": {"spec": {"containers": "none"}}},
        {"template": {"spec": {"containers": ["none"]}}},
        {"workloadRef": {"kind": "Deployment", "name": "db"}, "template": {}},
    ],
)
def test_a_foreign_object_without_a_pod_template_is_no_workload(spec: Json) -> None:
    """Whatever it is made of: it has no revision, and the Rollout that names it says so; nothing is judged by it."""
    store = Store()
    store.put_route(route())
    store.put_workload(deployment("stable"))
    store.put_workload({**workload({}, **spec), "metadata": meta("canary")}, CLONE_SET)
    ref = {"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "name": "canary"}
    facts = facts_of(store, rollout(workloads={"stable": {"name": "stable"}, "canary": ref}))
    (problem,) = facts.problems
    assert (problem.field, facts.canary) == ("spec.workloads.canary", None)
    assert "CloneSet canary of apps.kruise.io has no pod template with containers at spec.template" in problem.message


def test_numbers_of_a_foreign_object_may_be_anything() -> None:
    """They are recorded, so they are bounded."""
    said = {"observedGeneration": [], "replicas": -1, "readyReplicas": 10**30, "updatedReplicas": True}
    view = workload_view(workload(said, replicas="many"), CLONE_SET)
    assert (view.ready, view.replicas, view.rolled_out) == (2**31 - 1, 0, False)


def test_what_is_never_written_has_no_record_of_ours() -> None:
    """Annotations and managers that somebody forged order nothing on a foreign object."""
    document = workload(DEPLOYED)
    document["metadata"]["annotations"] = {"copy.canary.dev/shop": "forged"}
    document["metadata"]["managedFields"] = [
        {"manager": "canary", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {"manager": "other", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
    ]
    found = Workload.of(document, CLONE_SET)
    assert (found.copies, found.view.scaled) == ({}, False)
    assert (Workload.of(document).copies != {}, Workload.of(document).view.scaled) == (True, True)


SETS = {"stable": {"kind": "StatefulSet", "name": "stable"}, "canary": {"kind": "StatefulSet", "name": "canary"}}
ACTIVE = RolloutStatus(phase=Phase.PROGRESSING)


def test_workloads_of_one_name_are_told_apart_by_their_kinds() -> None:
    """A Deployment is no StatefulSet, and what happens to it wakes nobody who names the other."""
    store = Store()
    store.put_route(route())
    store.put_workload(deployment("stable"))
    facts = facts_of(store, rollout(workloads=SETS))
    assert facts.stable is not None
    assert (facts.stable.exists, facts.stable.kind) == (False, "StatefulSet")
    assert store.put_workload(deployment("stable", ready=0, version=2)) == set()
    assert store.put_workload(deployment("stable"), "StatefulSet") == {(TEAM, "shop")}
    assert store.drop_workload(WorkloadKey("Deployment", TEAM, "stable")) == set()
    facts = facts_of(store, rollout(workloads=SETS, version=2))
    assert facts.stable is not None
    assert facts.stable.exists


def test_what_cannot_be_seen_is_not_said_to_be_gone() -> None:
    """While nobody knows which workloads of a kind there are, it is a problem that holds a run, and no reason to end it."""
    store = Store()
    store.put_route(route())
    store.workload_kinds.awaited("StatefulSet", None)
    document = rollout(workloads=SETS)
    facts = facts_of(store, document, status=ACTIVE)
    assert (facts.canary, facts.stable) == (None, None)
    assert facts.unseen_canary is not None
    assert facts.unseen_stable is not None
    assert (facts.unseen_canary.kind, facts.unseen_stable.why) == ("StatefulSet", facts.problems[0].message)
    assert [problem.field for problem in facts.problems] == ["spec.workloads.stable", "spec.workloads.canary"]
    assert store.awaits((TEAM, "shop"))
    assert store.workload_kinds.unseen("StatefulSet", None, "forbidden")
    assert not store.awaits((TEAM, "shop")), "it is known why not"
    assert facts_of(store, document).problems[0].message == "forbidden"
    assert store.workload_kinds.seen("StatefulSet", None)
    assert not facts_of(store, document).problems


def test_what_nobody_watches_is_not_said_to_be_gone() -> None:
    """A run may go by another spec than the store has: what that names, and nobody else, is out of sight."""
    store = Store()
    store.put_route(route())
    gone_by = rollout(workloads={**SETS, "stable": {"name": "stable"}})
    store.put_rollout(rollout(version=2))
    seen = Rollout.of(gone_by)
    assert seen.spec is not None
    facts = gather(store, seen, seen.spec, ACTIVE, Checks((), ()), Received(), NOW)
    assert facts.unseen_canary is not None
    assert "StatefulSets of this namespace are not watched" in facts.unseen_canary.why
    assert facts.stable is not None, "Deployments are always watched: this one does not exist"
    assert not facts.stable.exists
    store.put_rollout({**gone_by, "metadata": meta("shop", 3)})
    facts = gather(store, seen, seen.spec, ACTIVE, Checks((), ()), Received(), NOW)
    assert facts.canary is not None
    assert not facts.canary.exists


def test_kinds_are_named_and_named_no_more() -> None:
    """The first and the last Rollout of a namespace are told of; of Deployments nobody has to be told."""
    store, calls = Store(), []
    store.references.on_employed = lambda *one: calls.append(one)
    store.put_rollout(rollout("plain"))
    assert (store.references.employed(), calls) == (set(), [])
    store.put_rollout(rollout("a", workloads=SETS))
    store.put_rollout(rollout("b", workloads=SETS))
    assert store.references.employed() == {("StatefulSet", TEAM)}
    assert (store.references.employers("StatefulSet", None), store.references.employs("StatefulSet", TEAM)) == (
        {(TEAM, "a"), (TEAM, "b")},
        True,
    )
    before = len(calls)
    store.put_rollout(rollout("b", version=2))
    assert len(calls) == before
    store.drop_rollout((TEAM, "a"))
    assert (store.references.employed(), store.references.employs("StatefulSet", None)) == (set(), False)
    assert calls[before:] == [("StatefulSet", TEAM)]
