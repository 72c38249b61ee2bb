from __future__ import annotations

import pytest
from observe_kit import TEAM, deployment, meta, rollout, route, template

from canary.model.rollout import RouteKind
from canary.model.status import RolloutStatus
from canary.observe.objects import Recent, known, request_of, slim
from canary.observe.store import Store
from canary.observe.workloads import WorkloadKey, revision, workload_view
from canary.routes.key import RouteKey

SHOP = (TEAM, "shop")
ROUTE = RouteKey(RouteKind.HTTP, *SHOP)


def test_of_an_object_only_its_latest_version_is_kept_open() -> None:
    """However often an object changes, what its earlier versions said takes no memory; and the oldest makes room."""
    made: list[bytes] = []

    def make(text: bytes) -> str:
        made.append(text)
        return text.decode()

    recent = Recent(2, make)
    for version in range(10):
        assert recent.of("a", f"a{version}".encode()) == f"a{version}"
    assert len(recent) == 1
    assert recent.of("b", b"b") == "b"
    assert recent.of("a", b"a9") == "a9"
    assert len(made) == 11, "the same text is not read again"
    assert recent.of("c", b"c") == "c"
    assert len(recent) == 2
    assert (recent.of("a", b"a9"), len(made)) == ("a9", 12), "what was asked for last stays"
    assert (recent.of("b", b"b"), len(made)) == ("b", 13)


def test_news_that_is_old_changes_nothing() -> None:
    """An event that our own write's answer has overtaken does not bring the past back."""
    store = Store()
    store.put_rollout(rollout())
    assert store.put_route(route(version=12)) == {SHOP}
    assert store.put_route(route(version=11)) == set()
    assert store.put_route(route(version=12)) == set()
    assert store.routes[ROUTE].document["metadata"]["resourceVersion"] == "12"
    assert store.put_route(route(version=13)) == {SHOP}
    assert not store.put_rollout(rollout(version=1))
    assert store.put_rollout(rollout(version=2))
    store.put_workload(deployment("canary", "shop:2", version=9))
    assert store.put_workload(deployment("canary", "shop:1", version=8)) == set()
    assert store.workloads["Deployment", TEAM, "canary"].view.revision == revision(deployment("canary", "shop:2"))


@pytest.mark.parametrize(
    ("new", "kept", "expected"),
    [
        (("a", "1"), ("a", "2"), True),
        (("a", "2"), ("a", "2"), True),
        (("a", "10"), ("a", "9"), False),
        (("b", "1"), ("a", "2"), False),
        (("a", "x1"), ("a", "2"), False),
        (("a", "1"), ("a", "x2"), False),
    ],
)
def test_what_is_known(new: tuple[str, str], kept: tuple[str, str], expected: bool) -> None:
    """Versions are compared as numbers, within one uid; where one is no number, the newcomer wins."""
    document = {"metadata": {"uid": new[0], "resourceVersion": new[1]}}
    assert known(document, *kept) is expected


def test_an_answer_brings_nothing_back() -> None:
    """What a watch has reported as gone stays gone, whatever answer to a write of ours still comes in."""
    store = Store()
    store.put_rollout(rollout())
    store.drop_rollout(SHOP, "uid-shop")
    assert not store.put_rollout(rollout(version=2), answer=True)
    assert store.put_route(route(), answer=True) == set()
    assert store.put_workload(deployment("canary"), answer=True) == set()
    assert (store.rollouts, store.routes, store.workloads) == ({}, {}, {})


def test_the_end_of_another_object_takes_nothing_away() -> None:
    """Events of two objects with one name come in any order."""
    store = Store()
    store.put_rollout(rollout())
    store.put_route(route())
    store.put_workload(deployment("canary"))
    store.put_template("CheckTemplate", template())
    assert not store.drop_rollout(SHOP, "uid-of-old")
    assert store.drop_route(ROUTE, "uid-of-old") == set()
    assert store.drop_workload(WorkloadKey("Deployment", TEAM, "canary"), "uid-of-old") == set()
    assert store.drop_template("CheckTemplate", (TEAM, "latency"), "uid-of-old") == set()
    assert store.rollouts
    assert store.routes
    assert store.workloads
    assert store.templates
    assert store.drop_route(ROUTE, "uid-shop") == {SHOP}


def test_who_is_woken() -> None:
    """Whatever a Rollout refers to wakes it, and nothing else does."""
    store = Store()
    checks = [
        {"template": {"name": "latency"}},
        {"template": {"name": "errors", "kind": "ClusterCheckTemplate"}},
        {"name": "inline", "prometheus": {"query": "x"}, "threshold": {"max": 1}},
    ]
    store.put_rollout(rollout(routes=[{"name": "shop"}, {"name": "api"}], checks=checks))
    assert store.put_route(route("api")) == {SHOP}
    assert store.put_route(route("other")) == set()
    assert store.put_workload(deployment("stable")) == {SHOP}
    assert store.put_workload(deployment("other")) == set()
    assert store.put_template("CheckTemplate", template()) == {SHOP}
    assert store.put_template("CheckTemplate", template("errors")) == set()
    store.put_rollout(rollout(version=2, checks=[], traffic={"template": {"name": "counts"}}))
    assert store.put_template("CheckTemplate", template("counts")) == {SHOP}
    store.put_rollout(rollout(version=3, checks=checks))
    cluster = template("errors")
    del cluster["metadata"]["namespace"]
    assert store.put_template("ClusterCheckTemplate", cluster) == {SHOP}
    assert store.drop_template("ClusterCheckTemplate", ("", "errors")) == {SHOP}


def test_the_index_follows_edits() -> None:
    """A Rollout that is edited no longer hears of what it named before; routes of its run it still hears of."""
    store = Store()
    store.put_rollout(rollout())
    store.put_rollout(rollout(version=2, routes=[{"name": "api"}]))
    assert store.put_route(route()) == set()
    assert store.put_route(route("api")) == {SHOP}
    running = {"routes": [{"kind": "HTTPRoute", "name": "shop"}]}
    store.put_rollout(rollout(version=3, routes=[{"name": "api"}], status=running))
    assert store.put_route(route(version=2)) == {SHOP}


def test_what_is_on_record_is_made_of_what_is_in_mind() -> None:
    """An active run has a status in mind and one on record. Of what both say there is one."""
    store = Store()
    status = {
        "phase": "Progressing",
        "run": {"number": 1, "startedAt": "2026-01-01T00:00:00Z"},
        "checks": [{"name": "errors", "verdict": "Pass"}, {"name": "latency", "verdict": "Pass"}],
    }
    mind = RolloutStatus.load({**status, "checks": [{"name": "errors", "verdict": "Fail"}, status["checks"][1]]})
    store.put_rollout(rollout(status=status))
    before = store.rollout(SHOP)
    store.share(SHOP, mind)
    after = store.rollout(SHOP)
    assert before is not None
    assert after is not None
    assert after == before
    assert after.status.run is mind.run
    assert after.status.checks[0] == before.status.checks[0]
    assert after.status.checks[1] is mind.checks[1]
    store.share((TEAM, "another"), mind)


SETS = {role: {"kind": "StatefulSet", "name": f"set-{role}"} for role in ("stable", "canary")}
UNREADABLE = {"steps": [{"weight": 10, "gate": {"window": {"timezone": "Europe/Berln"}}}]}


def test_what_a_run_goes_on_with_is_needed_however_the_spec_is_edited() -> None:
    """Of a spec that cannot be read nobody makes anything: the run goes by the last one that could be, until it ends or one can."""
    store = Store()
    told: list[tuple[str, str]] = []
    store.references.on_employed = lambda kind, namespace: told.append((kind, namespace))
    running = {"phase": "Progressing", "run": {"number": 1, "startedAt": "2026-01-01T00:00:00Z"}}
    mine = WorkloadKey("StatefulSet", TEAM, "set-canary")

    def put(version: int, phase: dict[str, object], **spec: object) -> None:
        store.put_rollout(rollout(version=version, status=phase, metadata={"generation": version}, **spec))

    put(1, running, workloads=SETS)
    told.clear()
    for version in (2, 3):
        put(version, running, **UNREADABLE, routes=[{"name": f"r{version}"}])
        assert (store.references.dependents(*mine), store.references.employs(mine.kind, TEAM), told) == (
            {SHOP},
            True,
            [],
        )
        assert store.references.dependents("HTTPRoute", *SHOP) == {SHOP}
        assert store.put_workload(deployment("canary", f"shop:{version}", version=version)) == {SHOP}
    assert store.references.dependents("HTTPRoute", TEAM, "r2") == set(), "it does not grow with each edit"
    put(4, running)
    assert (store.references.dependents(*mine), store.references.follows(mine), told) == (
        set(),
        False,
        [("StatefulSet", TEAM)],
    )
    put(5, {"phase": "Idle"}, workloads=SETS)
    put(6, {"phase": "Idle"}, **UNREADABLE)
    assert not store.references.follows(mine), "at rest nothing goes on"


def test_a_rollout_that_goes_is_asked_about_no_more() -> None:
    """What it referred to wakes the others that refer to it, and at last nobody."""
    store = Store()
    store.put_rollout(rollout())
    store.put_rollout(rollout("other"))
    assert store.drop_rollout(SHOP)
    assert not store.drop_rollout(SHOP)
    assert store.references.dependents("HTTPRoute", *SHOP) == {(TEAM, "other")}
    assert store.drop_rollout((TEAM, "other"))
    assert store.references.dependents("HTTPRoute", *SHOP) == set()


def test_a_workload_that_only_counts_wakes_nobody() -> None:
    """A status of a Deployment that says nothing new to a decision is kept, and wakes nobody."""
    store = Store()
    store.put_rollout(rollout())
    assert store.put_workload(deployment("canary", version=1)) == {SHOP}
    assert store.put_workload(deployment("canary", version=2, availableReplicas=1)) == set()
    assert store.put_workload(deployment("canary", version=3, ready=0)) == {SHOP}
    assert store.put_workload(deployment("canary", version=2)) == set(), (
        "the version moved on although nobody was woken"
    )


@pytest.mark.parametrize(
    "spec",
    [None, {}, {"routes": "x"}, {"routes": [None, 3, {}]}, {"workloads": []}, {"checks": [{"template": 1}]}],
)
def test_nonsense_is_indexed_leniently(spec: object) -> None:
    """A spec that makes no sense is kept like any other; judging it is for later."""
    assert Store().put_rollout({"metadata": meta("shop"), "spec": spec})


def test_slim() -> None:
    """managedFields are dropped, everything else is kept, and the document that was given stays as it was."""
    document = {"metadata": {"name": "a", "managedFields": [1]}, "spec": {"x": 1}, "status": {}}
    assert slim(document) == {"metadata": {"name": "a"}, "spec": {"x": 1}, "status": {}}
    assert document["metadata"]["managedFields"] == [1]


def test_what_is_kept_of_a_route() -> None:
    """A route without managedFields, and the name of whoever wrote its rules last besides us."""
    rules = {"f:spec": {"f:rules": {}}}
    fields = [
        {"manager": "gitops", "time": "2026-01-01T10:00:00Z", "fieldsV1": rules},
        {"manager": "canary", "time": "2026-01-01T12:00:00Z", "fieldsV1": rules},
        {"manager": "gateway", "time": "2026-01-01T13:00:00Z", "subresource": "status", "fieldsV1": rules},
        {"manager": "labeller", "time": "2026-01-01T13:00:00Z", "fieldsV1": {"f:metadata": {}}},
    ]
    store = Store()
    store.put_route(route(managedFields=fields))
    assert store.routes[ROUTE].writer == "gitops"
    assert "managedFields" not in store.routes[ROUTE].document["metadata"]


def test_revision_is_of_the_pod_spec() -> None:
    """Labels of the template are not part of a revision: those of stable and canary differ by nature."""
    one, other = deployment("stable"), deployment("canary")
    other["spec"]["template"]["metadata"] = {"labels": {"app": "canary"}}
    assert revision(one) == revision(other)
    assert revision(one) != revision(deployment("stable", "shop:2"))
    assert len(revision(one)) == 10


@pytest.mark.parametrize(
    ("status", "replicas", "rolled_out", "ready"),
    [
        ({}, 1, True, 1),
        ({"observedGeneration": 0}, 1, False, 1),
        ({"updatedReplicas": 0}, 1, False, 1),
        ({"readyReplicas": 0}, 1, False, 0),
        ({"replicas": 2}, 1, False, 1),
        ({}, 2, False, 1),
        ({"replicas": 0, "updatedReplicas": 0, "readyReplicas": 0}, 0, False, 0),
        (None, 1, False, 0),
    ],
)
def test_rolled_out(status: dict[str, int] | None, replicas: int, rolled_out: bool, ready: int) -> None:
    """Rolled out: observed, every replica updated and ready, none of the old left, and at least one."""
    document = deployment("canary")
    document["spec"]["replicas"] = replicas
    document["status"] = None if status is None else {**document["status"], **status}
    view = workload_view(document)
    assert (view.rolled_out, view.ready) == (rolled_out, ready)


@pytest.mark.parametrize("annotations", [None, {}, {"canary.dev/request": 3}, {"other": "x"}])
def test_no_request(annotations: dict[str, object] | None) -> None:
    """Without the annotation, or with something in it that is no text, there is no request."""
    assert request_of({"metadata": {"annotations": annotations}}) is None


def test_what_is_known_of_replicas_alone_gives_way_to_the_whole_of_that_version() -> None:
    """The answer of a scale subresource is taken for ours; only the object itself, of the same version, says who is named for it."""
    store = Store()
    store.put_workload(deployment("canary"))
    whole = deployment("canary", version=2)
    whole["spec"]["replicas"] = 3
    scale = {"metadata": whole["metadata"], "spec": {"replicas": 3}}
    store.put_scale(WorkloadKey("Deployment", TEAM, "canary"), scale, ours=True)
    assert (
        store.workloads["Deployment", TEAM, "canary"].view.replicas,
        store.workloads["Deployment", TEAM, "canary"].view.scaled,
    ) == (3, True)
    store.put_workload(deployment("canary"))
    assert store.workloads["Deployment", TEAM, "canary"].view.scaled, "an older one says nothing"
    store.put_workload(whole, answer=True)
    assert (
        store.workloads["Deployment", TEAM, "canary"].view.replicas,
        store.workloads["Deployment", TEAM, "canary"].view.scaled,
    ) == (3, False)
    store.put_scale(WorkloadKey("Deployment", TEAM, "canary"), scale, ours=True)
    assert not store.workloads["Deployment", TEAM, "canary"].view.scaled, "the whole is not taken in part again"
