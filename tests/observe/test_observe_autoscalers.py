"""Which autoscaler targets which Deployment, and when that is known."""

from __future__ import annotations

from typing import Any

import pytest
from observe_kit import TEAM, deployment, facts_of, furnished, meta, rollout

from canary.decide.reasons import CONFLICTING_ROLLOUT
from canary.observe.autoscalers import Autoscalers
from canary.observe.store import Store
from canary.observe.workloads import WorkloadKey, workload_view

SHOP = (TEAM, "shop")
HPA, KEDA = "HorizontalPodAutoscaler", "ScaledObject"
CANARY = WorkloadKey("Deployment", TEAM, "canary")
SCALE = {"canary": "MatchShare"}


def scaler(target: Any, name: str = "auto", version: int = 1) -> dict[str, Any]:
    return {"metadata": meta(name, version), "spec": {"scaleTargetRef": target}}


def ref(name: str = "canary", kind: str | None = "Deployment", group: str | None = "apps/v1") -> dict[str, Any]:
    found = {"name": name, "kind": kind, "apiVersion": group}
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (ref(), "canary"),
        (ref(group="apps/v1beta9"), "canary"),
        (ref(kind=None, group=None), "canary"),
        (ref(kind="StatefulSet"), ""),
        (ref(group="argoproj.io/v1alpha1"), ""),
        (ref(""), ""),
        ("canary", ""),
        (None, ""),
    ],
)
def test_what_targets_a_deployment(target: Any, found: str) -> None:
    """A ScaledObject that names no kind means one; a workload of another kind with that name is another workload."""
    known = Autoscalers()
    known.put(KEDA, scaler(target))
    assert known.of(CANARY) == (f"{KEDA} auto" if found else "")
    assert known.of(CANARY._replace(namespace="elsewhere")) == ""


def test_what_targets_another_kind() -> None:
    """It is known by its kind and group, as a Rollout names it."""
    known = Autoscalers()
    known.put(HPA, scaler(ref(kind="StatefulSet")))
    assert known.of(CANARY._replace(kind="StatefulSet")) == f"{HPA} auto"
    assert known.put(HPA, scaler(ref(kind="Rollout", group="argoproj.io/v1alpha1"))) == {
        CANARY._replace(kind="StatefulSet"),
        CANARY._replace(kind="Rollout.argoproj.io"),
    }


def test_an_autoscaler_that_changes_its_target_is_news_for_both() -> None:
    """And one that goes is for the last."""
    known = Autoscalers()
    assert known.put(HPA, scaler(ref())) == {CANARY}
    assert known.put(HPA, scaler(ref())) == set()
    assert known.put(HPA, scaler(ref("other"))) == {CANARY, CANARY._replace(name="other")}
    assert known.drop(HPA, (TEAM, "auto")) == {CANARY._replace(name="other")}
    assert known.drop(HPA, (TEAM, "auto")) == set()
    known.put(HPA, scaler(ref()))
    known.forget(HPA, None)
    assert known.of(CANARY) == ""


def test_known_is_what_all_kinds_are() -> None:
    """Before somebody has asked nothing is; where one may not be read it is said why."""
    known = Autoscalers()
    assert known.unread(TEAM) is None
    known.kinds = frozenset({HPA, KEDA})
    assert known.know(HPA, TEAM)
    assert not known.know(HPA, TEAM), "that is no news"
    assert known.unread(TEAM) is None
    known.know(KEDA, None, "forbidden")
    assert known.unread(TEAM) == "forbidden"
    known.know(KEDA, None)
    assert (known.unread(TEAM), known.unread("elsewhere")) == ("", None)


def test_only_those_who_declare_scale_ask() -> None:
    """The first of a namespace is told of at once; the others cost nothing."""
    store, calls = Store(), []
    store.references.on_scaling = lambda: calls.append(1)
    store.put_rollout(rollout("plain"))
    assert (store.references.scaling, calls) == (0, [])
    store.put_rollout(rollout("a", scale=SCALE))
    store.put_rollout(rollout("b", scale=SCALE))
    assert (store.references.scaling, calls) == (1, [1])
    assert store.know_autoscalers(HPA, None, "") == {(TEAM, "a"), (TEAM, "b")}
    assert store.put_autoscaler(HPA, scaler(ref())) == {(TEAM, "plain"), (TEAM, "a"), (TEAM, "b")}
    store.drop_rollout((TEAM, "a"))
    store.drop_rollout((TEAM, "b"))
    assert store.references.scaling == 0


def test_facts_say_who_scales() -> None:
    """Nothing of it where nobody asks."""
    store = furnished()
    assert not facts_of(store, rollout()).scaling.known
    store.autoscalers.kinds = frozenset({HPA})
    store.know_autoscalers(HPA, None, "")
    assert facts_of(store, rollout(scale=SCALE, version=2)).scaling.known
    store.put_autoscaler(HPA, scaler(ref()))
    assert facts_of(store, rollout(scale=SCALE, version=3)).scaling.autoscaler == f"{HPA} auto"
    assert facts_of(store, rollout(version=4)).scaling.autoscaler == ""


def test_a_deployment_that_is_scaled_has_one_rollout() -> None:
    """What one takes away would be missing at the other, in whatever role."""
    store = furnished()
    alone = facts_of(store, rollout(scale=SCALE))
    assert not [problem for problem in alone.problems if problem.field == "spec.scale"]
    names = {"stable": {"name": "canary"}, "canary": {"name": "third"}}
    store.put_rollout(rollout("neighbour", workloads=names))
    (problem,) = [one for one in facts_of(store, rollout(scale=SCALE, version=2)).problems if one.field == "spec.scale"]
    assert (problem.reason, "Rollout neighbour names workload canary too" in problem.message) == (
        CONFLICTING_ROLLOUT,
        True,
    )


def test_who_set_the_replicas_last() -> None:
    """By the subresource or along with the rest; ours are told apart, where they are nothing but replicas."""
    document = deployment("canary")

    def entry(manager: str, time: str, *fields: str, **more: str) -> dict[str, Any]:
        return {"manager": manager, "time": time, "fieldsV1": {"f:spec": {field: {} for field in fields}}, **more}

    document["metadata"]["managedFields"] = [
        entry("argocd", "2026-01-01T00:00:00Z", "f:replicas", "f:template"),
        entry("kubectl", "2026-01-02T00:00:00Z", "f:replicas", subresource="scale"),
        entry("kubelet", "2026-01-03T00:00:00Z"),
    ]
    assert (workload_view(document).scaler, workload_view(document).scaled) == ("kubectl", False)
    document["metadata"]["managedFields"].append(entry("canary", "2026-01-04T00:00:00Z", "f:template"))
    assert not workload_view(document).scaled, "a copy of a pod spec"
    document["metadata"]["managedFields"].append(
        entry("canary", "2026-01-04T00:00:00Z", "f:replicas", subresource="scale")
    )
    assert (workload_view(document).scaler, workload_view(document).scaled) == ("kubectl", True)
