"""Revisions that include the content of ConfigMaps and Secrets: what counts, and what nobody can find out by them."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observe_kit import TEAM, deployment, facts_of, furnished, rollout
from pydantic_core import to_json

from canary.observe.configs import ABSENT, MOST_KEYS, MOST_NAMES, PENDING, Content, Named, Parts, Reckoned
from canary.observe.needs import configs_of
from canary.observe.store import Store
from canary.observe.workloads import Workload, WorkloadKey, revision

Json = dict[str, Any]
CANARY = WorkloadKey("Deployment", TEAM, "canary")
STABLE = WorkloadKey("Deployment", TEAM, "stable")

EVERYWHERE: Json = {
    "imagePullSecrets": [{"name": "registry"}],
    "volumes": [
        {"name": "a", "configMap": {"name": "files", "items": [{"key": "x", "path": "x"}], "optional": True}},
        {"name": "b", "secret": {"secretName": "tls"}},
        {"name": "c", "projected": {"sources": [
            {"configMap": {"name": "more"}}, {"secret": {"name": "password", "items": [{"key": "p", "path": "p"}]}}, {"serviceAccountToken": {"path": "t"}},
        ]}},
        {"name": "d", "emptyDir": {}},
        {"name": "e", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "driver"}}},
    ],
    "initContainers": [{"name": "init", "envFrom": [{"secretRef": {"name": "init"}}]}],
    "containers": [{"name": "app", "image": "shop:1", "envFrom": [{"prefix": "A_", "configMapRef": {"name": "env", "optional": True}}], "env": [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "b"}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "password", "key": "c"}}},
        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]}],
}  # fmt: skip


def workload(pods: Json) -> Json:
    return {"spec": {"template": {"spec": pods}}}


def test_every_place_that_names_a_config() -> None:
    """Volumes, projected or not, and the environment of all containers. How an image is pulled, or a volume mounted, is no content."""
    document = workload(EVERYWHERE)
    before = copy.deepcopy(document)
    assert Parts.of(document).named == (
        Named("ConfigMap", "files", True, frozenset({"x"})),
        Named("Secret", "tls", False, None),
        Named("ConfigMap", "more", False, None),
        Named("Secret", "password", False, frozenset({"p"})),
        Named("Secret", "init", False, None),
        Named("ConfigMap", "env", True, None),
        Named("ConfigMap", "env", False, frozenset({"b"})),
        Named("Secret", "password", False, frozenset({"c"})),
    )
    assert document == before, "what is read is not changed"


@pytest.mark.parametrize(
    "pods",
    [
        {},
        {"containers": None, "volumes": "x"},
        {"containers": ["x", {"env": {"a": 1}, "envFrom": [{"configMapRef": "x"}]}]},
        {"volumes": [{"configMap": {"name": 1}}, {"secret": {"secretName": ""}}, {"projected": {"sources": {}}}]},
    ],
)
def test_nonsense_names_nothing(pods: Json) -> None:
    """A foreign kind's pod template may be anything; then the revision is that of the pod spec alone."""
    parts = Parts.of(workload(pods))
    assert (parts.named, parts.revision([])) == ((), revision(workload(pods)))


def naming(name: str, image: str = "shop:1", **more: Any) -> Json:
    return workload(
        {"containers": [{"name": "app", "image": image, "envFrom": [{"configMapRef": {"name": name, **more}}]}]}
    )


def test_a_config_counts_by_its_content_and_not_by_its_name() -> None:
    """Stable and canary may have objects of their own; another content, or another pod spec, is another revision."""
    stable, canary = Parts.of(naming("shop-stable")), Parts.of(naming("shop-canary"))
    assert stable.bare != canary.bare
    assert stable.revision(["1"]) == canary.revision(["1"])
    assert (
        len({canary.revision(["1"]), canary.revision(["2"]), Parts.of(naming("shop-canary", "shop:2")).revision(["1"])})
        == 3
    )
    assert len(canary.revision(["1"])) == 10
    assert Parts.of(naming("a", optional=True)).revision([ABSENT]) != Parts.of(naming("a", optional=True)).revision(
        ["1"]
    )


def config_map(uid: str = "u1", **data: str) -> Json:
    return {"metadata": {"uid": uid, "resourceVersion": "7"}, "data": data}


def test_what_of_a_config_map_counts() -> None:
    """Its data, binary or not, as far as a place takes it; not who it is, nor its labels."""
    one = Content.of("ConfigMap", config_map(a="1", b="2"))
    assert one.digest(None) == Content.of("ConfigMap", {**config_map("u2", b="2", a="1"), "immutable": True}).digest(
        None
    )
    assert one.digest(None) != Content.of("ConfigMap", config_map(a="1")).digest(None)
    assert one.digest(frozenset({"a"})) == Content.of("ConfigMap", config_map(a="1", b="3")).digest(frozenset({"a"}))
    assert one.digest(frozenset({"c"})) != one.digest(frozenset({"a"})), (
        "a key that is not there is known to be not there"
    )
    binary = Content.of("ConfigMap", {**config_map(), "binaryData": {"a": "1"}})
    assert binary.digest(frozenset({"a"})) == one.digest(frozenset({"a"}))
    assert Content.of("ConfigMap", {"data": "none", "metadata": None, "immutable": "yes"}).digest(None)


def test_of_many_keys_only_the_whole_counts() -> None:
    """Whoever fills a megabyte with them takes no more time and memory than for one."""
    many = {f"key-{number}": "x" for number in range(MOST_KEYS + 1)}
    found = Content.of("ConfigMap", config_map(**many))
    assert found.keys == {}
    assert found.digest(frozenset({"key-1"})) == found.digest(None)
    assert found.digest(None) != Content.of("ConfigMap", config_map(**{**many, "key-1": "y"})).digest(
        frozenset({"key-2"})
    )
    secret = Content.of("Secret", config_map("u1", **many)), Content.of("Secret", config_map("u2", **many))
    assert len({found.digest(None), *(each.digest(None) for each in secret)}) == 3
    few = dict(list(many.items())[:MOST_KEYS])
    assert len(Content.of("ConfigMap", config_map(**few)).keys) == MOST_KEYS


def test_a_secret_cannot_be_guessed_by_a_revision() -> None:
    """Whoever tries passwords against a revision has to know the uid of the Secret, which is for those who may read it."""
    secret = {"metadata": {"uid": "0f8a"}, "data": {"password": "aHVudGVyMg=="}}
    tried = Content.of("Secret", {**secret, "metadata": {"uid": ""}})
    assert Content.of("Secret", secret).digest(None) != tried.digest(None)
    assert Content.of("Secret", secret).digest(None) != Content.of("ConfigMap", secret).digest(None)
    assert Content.of("Secret", secret) == Content.of(
        "Secret", {**secret, "metadata": {"uid": "0f8a", "labels": {"a": "b"}}}
    )
    assert Content.of("Secret", secret) != Content.of("Secret", {**secret, "data": {"password": "b3RoZXI="}})


CONFIGS = {"includes": ["configs"]}


def including() -> Store:
    store = furnished()
    store.put_rollout(rollout(revision=CONFIGS))
    return store


def test_before_it_is_read_a_revision_is_not_known() -> None:
    """Who does not include configs has it all the time, and it is the one that it always was."""
    store = furnished()
    bare = revision(deployment("canary", "shop:2"))
    facts = facts_of(store, rollout())
    assert facts.canary is not None
    assert (facts.canary.revision, facts.canary.bare) == (bare, "")
    facts = facts_of(store, rollout(revision=CONFIGS, version=2))
    assert facts.canary is not None
    assert (facts.canary.revision, facts.canary.bare, facts.canary.unknown) == ("", bare, PENDING)
    assert store.awaits_configs((TEAM, "shop"))
    for key in (STABLE, CANARY):
        assert store.put_configs(key, Reckoned(store.workloads[key].view.revision, "1234567890")) == {(TEAM, "shop")}
    assert not store.awaits_configs((TEAM, "shop"))
    facts = facts_of(store, rollout(revision=CONFIGS, version=3))
    assert facts.canary is not None
    assert (facts.canary.revision, facts.canary.known) == ("1234567890", True)


def test_another_pod_spec_is_read_anew() -> None:
    """What was read for the one before says nothing about it."""
    store, wanted = including(), []
    store.configs.on_wanted = wanted.append
    bare = store.workloads[CANARY].view.revision
    store.put_workload(deployment("canary", "shop:2", version=2, ready=0))
    assert store.configs.parts[CANARY].bare == bare
    store.put_configs(CANARY, Reckoned(bare, "1234567890"))
    wanted.clear()
    store.put_workload(deployment("canary", "shop:2", version=3, ready=1))
    assert wanted == [], "the same pod spec"
    store.put_workload(deployment("canary", "shop:3", version=4))
    assert wanted == [CANARY]
    facts = facts_of(store, rollout(revision=CONFIGS, version=2))
    assert facts.canary is not None
    assert (facts.canary.known, facts.canary.unknown) == (False, PENDING)


def test_another_pod_spec_is_seen_before_what_it_names_is_read() -> None:
    """Names of configs are no part of it: that another object is named is no other revision yet."""

    def named(image: str, config: str, version: int) -> Json:
        document = deployment("canary", image, version=version)
        container = document["spec"]["template"]["spec"]["containers"][0]
        container["envFrom"] = [{"configMapRef": {"name": config}}]
        return document

    store, seen = including(), []
    for version, (image, config) in enumerate((("shop:2", "one"), ("shop:2", "two"), ("shop:3", "two")), start=2):
        store.put_workload(named(image, config, version))
        facts = facts_of(store, rollout(revision=CONFIGS, version=version))
        assert facts.canary is not None
        assert not facts.canary.known
        seen.append(facts.canary.pod_spec)
    assert seen[0] == seen[1] != seen[2]
    assert all(seen)


def test_who_includes_no_more_asks_no_more() -> None:
    """The last Rollout that did is gone, or says otherwise: nothing is kept, and what comes late is not taken in."""
    store = including()
    assert store.configs.wanted == {STABLE, CANARY}
    store.put_configs(CANARY, Reckoned("x", "1234567890"))
    store.put_rollout(rollout(version=2))
    assert (store.configs.wanted, store.configs.known(CANARY)) == (set(), None)
    assert store.put_configs(CANARY, Reckoned("x", "1234567890")) == set()
    assert store.configs.known(CANARY) is None
    assert store.references.dependents(*configs_of(CANARY)) == set()


def test_an_object_of_very_many_keys_is_not_parsed() -> None:
    """For that everybody would wait. Of what stands in a value nothing counts, whatever it is: it is one text."""
    managed = {"manager": "kubectl", "fieldsV1": {"f:data": {f"f:{n:x}": {} for n in range(5000)}}}
    many: Json = {"metadata": {"managedFields": [managed]}, "data": {f"{n:x}": "" for n in range(5000)}}
    assert Content.read("ConfigMap", to_json(many)) is None
    inner = to_json(many).decode()
    config: Json = {"metadata": {"uid": "u"}, "data": {"a.json": inner, "b": r'\\":', "c": '":' * 9000}}
    for kind in ("ConfigMap", "Secret"):
        assert Content.read(kind, to_json(config)) == Content.of(kind, config)
    assert 5000 < MOST_NAMES < 10000
    with pytest.raises(ValueError, match="key must be a string"):
        Content.read("ConfigMap", b"{nonsense")


NONSENSE: st.SearchStrategy[Any] = st.sampled_from(
    (None, 0, -1, "", "text", True, [], [1], [{}], [None], {}, {"name": 1}, {"key": None}, {"items": "x"})
)
PLACES = st.sampled_from((
    ("spec",), ("status",), ("spec", "template"), ("spec", "template", "metadata"), ("spec", "updateStrategy"), ("spec", "replicas"),
    *(("spec", "template", "spec", *path) for path in (
        (), ("volumes",), ("volumes", 0), ("volumes", 0, "configMap"), ("volumes", 0, "configMap", "items"), ("volumes", 1, "secret"),
        ("volumes", 2, "projected"), ("volumes", 2, "projected", "sources"), ("containers",), ("containers", 0), ("containers", 0, "env"),
        ("containers", 0, "env", 1, "valueFrom"), ("containers", 0, "envFrom"), ("containers", 0, "envFrom", 0, "configMapRef"),
        ("initContainers",), ("initContainers", 0, "envFrom"),
    )),
))  # fmt: skip


@given(
    st.lists(st.tuples(PLACES, NONSENSE), min_size=1, max_size=3),
    st.sampled_from(("CloneSet.x.io", "StatefulSet.x.io", "DaemonSet.x.io")),
)
@settings(max_examples=100)
def test_whatever_stands_in_an_object_of_another_controller_it_is_read(edits: list[Any], kind: str) -> None:
    """Both readings go by the same pod spec, so nobody waits for configs that are never read."""
    document = workload(EVERYWHERE)
    for path, value in edits:
        inner: Any = document
        with suppress(KeyError, IndexError, TypeError):
            for step in path[:-1]:
                inner = inner[step]
            inner[path[-1]] = copy.deepcopy(value)
    before = copy.deepcopy(document)
    found = Workload.of(document, kind)
    assert Parts.of(document, kind).bare == found.view.revision
    assert document == before
