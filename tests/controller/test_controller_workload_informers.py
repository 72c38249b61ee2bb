"""Kinds of workloads come, change their version and go out of sight: by the twin of the API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from controller_kit import START, rollout_document, workload_document
from scripted_kube import ScriptedKube

from canary.controller.clock import ManualClock
from canary.controller.manager import Manager
from canary.controller.workload_informers import WorkloadInformers
from canary.errors import Forbidden, Unavailable
from canary.kube import DEPLOYMENTS, STATEFULSETS, Resource
from canary.kube.outage import Eyes
from canary.kube.reflector import WatchEvent
from canary.observe.objects import Key
from canary.observe.store import Store
from canary.observe.workloads import Workload, WorkloadKey

Json = dict[str, Any]
TEAM = "team"
CLONE_SETS = Resource("apps.example.org", "v1beta1", "clonesets", "CloneSet")
OLD = Resource("apps.example.org", "v1alpha1", "clonesets", "CloneSet")
CLUSTER_WIDE = Resource("apps.example.org", "v1beta1", "clonesets", "CloneSet", namespaced=False)
KIND = "CloneSet.apps.example.org"
SHOP = (TEAM, "shop")


@dataclass(eq=False)
class Watched(ScriptedKube):
    """Keeps the eyes of who watches, by resource."""

    eyes: list[tuple[Resource, Eyes]] = field(default_factory=list)

    async def list_and_watch(
        self, res: Resource, namespace: str | None = None, **more: Any
    ) -> AsyncGenerator[WatchEvent]:
        self.eyes.append((res, more["eyes"]))
        async for event in super().list_and_watch(res, namespace, **more):
            yield event


@dataclass
class Place:
    """The informers of one controller, on the wall clock, with everybody quick."""

    kube: Watched
    store: Store = field(default_factory=Store)
    woken: set[Key] = field(default_factory=set)
    patience: float = 5.0

    def __post_init__(self) -> None:
        deps = SimpleNamespace(store=self.store, clock=ManualClock(START))
        manager: Any = SimpleNamespace(deps=deps, wake=self.woken.update)
        for name in ("workload", "workloads_seen", "workloads_unseen"):
            setattr(manager, name, getattr(Manager, name).__get__(manager))
        self.informers = WorkloadInformers(
            self.kube, manager, (), poll=0.01, denied=0.01, soon=0.001, fresh=0.0, patience=self.patience
        )

    def name(self, api_version: str = CLONE_SETS.api_version, kind: str = "CloneSet", rollout: str = "shop") -> None:
        refs = {role: {"apiVersion": api_version, "kind": kind, "name": role} for role in ("stable", "canary")}
        document = rollout_document(rollout, workloads=refs)
        self.store.put_rollout(document | {"metadata": {"name": rollout, "namespace": TEAM}})

    @property
    def why(self) -> str:
        return self.store.workload_kinds.missing(KIND, TEAM)

    def watches(self) -> list[str]:
        return [f"{asked.plural}" for asked in self.kube.asked if asked.verb == "list_and_watch"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of what nobody tells
            await asyncio.sleep(0.001)


@asynccontextmanager
async def following(*served: Resource, patience: float = 5.0) -> AsyncIterator[Place]:
    place = Place(Watched(served=[DEPLOYMENTS, *served]), patience=patience)
    document = workload_document(CLONE_SETS, "canary")
    document["metadata"]["namespace"] = TEAM
    place.kube.put(CLONE_SETS, document)
    task = asyncio.create_task(place.informers.run())
    try:
        yield place
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_who_names_a_kind_waits_until_it_is_known() -> None:
    """From the very moment that it is named. Who names none has nothing to wait for."""
    async with following(CLONE_SETS) as place:
        place.store.put_rollout(rollout_document("plain") | {"metadata": {"name": "plain", "namespace": TEAM}})
        place.name()
        assert (place.store.awaits(SHOP), place.store.awaits((TEAM, "plain"))) == (True, False)
        assert place.why == "it is not known yet which CloneSets there are"
        await until(lambda: not place.store.awaits(SHOP))
        assert (place.why, SHOP in place.woken) == ("", True)
        assert (KIND, TEAM, "canary") in place.store.workloads


async def test_discovery_is_asked_once_for_many_and_about_no_group_that_there_is_not() -> None:
    """A thousand Rollouts may name kinds that do not exist: the groups of a server are one answer."""
    async with following(CLONE_SETS) as place:
        place.kube.script("raw", "", then=lambda: asyncio.sleep(0.05), times=1)
        for number in range(50):
            place.name(f"group-{number}.example.org/v1", "Nothing", f"r{number}")
        place.name()
        await until(lambda: place.why == "" and not place.store.workload_kinds.awaiting)
        assert {asked.body for asked in place.kube.asked if asked.verb == "discover"} == {CLONE_SETS.group}
        words = place.store.workload_kinds.missing("Nothing.group-7.example.org", TEAM)
        assert words.startswith("this cluster serves no Nothing of group-7.example.org; install what defines it")


async def test_a_kind_of_the_whole_cluster_is_no_workload() -> None:
    """It is said, and not followed."""
    async with following(CLUSTER_WIDE) as place:
        place.name()
        await until(lambda: "belongs to no namespace" in place.why)
        assert place.watches() == []


async def test_a_right_that_is_missing_is_asked_for_again() -> None:
    """With its plural, which a role takes."""
    async with following(CLONE_SETS) as place:
        turn = place.kube.script("list_and_watch", "clonesets", error=Forbidden("no", status=403), times=None)
        place.name()
        await until(lambda: "allow it to list and watch clonesets.apps.example.org (docs/workloads.md" in place.why)
        turn.times = 0
        await until(lambda: place.why == "")


async def test_out_of_sight_for_long_is_unknown_and_never_gone() -> None:
    """For a moment it is not even that. Then it is asked what is served, and what is seen is news again."""
    async with following(CLONE_SETS) as place:
        place.name()
        await until(lambda: place.why == "")
        place.kube.eyes[-1][1].lost(30, "404")
        for _ in range(20):
            await asyncio.sleep(0)
        assert (place.why, len(place.watches())) == ("", 1)
        place.kube.served = [DEPLOYMENTS]
        place.kube.eyes[-1][1].lost(61, "404")
        await until(lambda: "this cluster serves no CloneSet" in place.why)
        assert not [key for key in place.store.workloads if key.kind == KIND]
        place.woken.clear()
        place.kube.served = [DEPLOYMENTS, CLONE_SETS]
        await until(lambda: place.why == "")
        assert (SHOP in place.woken, (KIND, TEAM, "canary") in place.store.workloads) == (True, True)


async def test_another_version_is_followed_at_once() -> None:
    """What is there is read anew; nothing is said to be gone meanwhile."""
    async with following(OLD) as place:
        place.name(OLD.api_version)
        await until(lambda: place.why == "")
        assert [res.version for res, _ in place.kube.eyes] == ["v1alpha1"]
        place.kube.served = [DEPLOYMENTS, CLONE_SETS]
        place.kube.eyes[-1][1].lost(0.2, "404")
        await until(lambda: [res.version for res, _ in place.kube.eyes] == ["v1alpha1", "v1beta1"] and place.why == "")
        assert (KIND, TEAM, "canary") in place.store.workloads


async def test_a_server_that_cannot_be_asked_is_told_and_asked_again() -> None:
    """Discovery may fail for one group, as where an aggregated API is down: others do not wait for it."""
    async with following(CLONE_SETS, STATEFULSETS) as place:
        turn = place.kube.script("discover", "", error=Unavailable("not now", status=503), times=None)
        place.name()
        place.name("apps/v1", "StatefulSet", "sets")
        await until(lambda: "whether this cluster serves CloneSet of apps.example.org cannot be asked" in place.why)
        await until(lambda: place.store.workload_kinds.missing("StatefulSet", TEAM) == "")
        turn.times = 0
        await until(lambda: place.why == "")


async def test_who_waits_for_long_is_looked_at_all_the_same() -> None:
    """A list that never comes holds nobody for ever; it is said what is not known."""
    async with following(CLONE_SETS, patience=0.02) as place:
        place.kube.script("list_and_watch", "clonesets", delay=0.2)
        place.name()
        await until(lambda: place.why == "CloneSet of apps.example.org could not be listed yet")
        assert not place.store.awaits(SHOP)
        await until(lambda: place.why == "")


async def test_what_nobody_names_any_more_is_followed_no_more() -> None:
    """And nothing of it is kept."""
    async with following(CLONE_SETS) as place:
        place.name()
        await until(lambda: place.why == "")
        place.store.drop_rollout(SHOP)
        await until(lambda: place.kube._watches == [])
        assert (place.why, [*place.store.workloads]) == ("", [])
        place.name()
        assert place.store.awaits(SHOP)
        await until(lambda: place.why == "")


async def test_one_more_namespace_is_no_change() -> None:
    """A kind that is followed everywhere is named in a thousand of them: nothing is gone through for that."""
    async with following(CLONE_SETS) as place:
        place.name()
        await until(lambda: place.why == "")
        looks = 0
        employed = place.store.references.employed

        def counted() -> set[tuple[str, str]]:
            nonlocal looks
            looks += 1
            return employed()

        place.store.references.employed = counted  # type: ignore[method-assign]  # what is counted is how often it is asked
        refs = {
            role: {"apiVersion": CLONE_SETS.api_version, "kind": "CloneSet", "name": role}
            for role in ("stable", "canary")
        }
        for number in range(1000):
            document = rollout_document("shop", workloads=refs) | {
                "metadata": {"name": "shop", "namespace": f"n{number}"}
            }
            place.store.put_rollout(document)
            await asyncio.sleep(0)
        assert looks == 0
        assert len(place.watches()) == 1
        place.store.drop_rollout(SHOP)
        await asyncio.sleep(0.01)
        assert (looks, place.store.workload_kinds.missing(KIND, "n7")) == (0, "")


async def test_an_object_that_makes_no_sense_blinds_nobody() -> None:
    """Another team's, named by a Rollout that includes configs: its own Rollout is told, and the others of its kind are seen as before."""
    async with following(CLONE_SETS) as place:
        place.name()
        await until(lambda: place.why == "" and not place.store.workload_kinds.awaiting)
        refs = {r: {"apiVersion": CLONE_SETS.api_version, "kind": "CloneSet", "name": r} for r in ("stable", "canary")}
        theirs = rollout_document("bad", workloads=refs, promotion="Await", revision={"includes": ["configs"]})
        place.store.put_rollout(theirs | {"metadata": {"name": "bad", "namespace": "theirs"}})
        key = WorkloadKey(KIND, "theirs", "canary")
        for template in ("text", [1], {"spec": ["text"]}, {"spec": {"containers": "text"}}):
            bad = workload_document(CLONE_SETS, "canary")
            bad["metadata"]["namespace"], bad["spec"]["template"] = "theirs", template
            before = place.store.workloads.get(key)
            place.kube.put(CLONE_SETS, bad)
            await until(lambda before=before: place.store.workloads.get(key) is not before)
            assert "has no pod template" in place.store.workloads[key].problem
        assert ("theirs", "bad") in place.woken
        assert (place.watches(), place.why) == (["clonesets"], "")


async def test_a_bug_of_ours_about_one_object_is_the_trouble_of_who_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in reading it: the watch goes on, and the object is read anew when it is written."""
    async with following(CLONE_SETS) as place:
        place.name()
        await until(lambda: place.why == "" and not place.store.workload_kinds.awaiting)
        place.woken.clear()
        whole = Workload.of

        def broken(document: Json, kind: str) -> Workload:
            if document["spec"]["replicas"] == 7:
                raise AttributeError("somebody forgot something")
            return whole(document, kind)

        monkeypatch.setattr(Workload, "of", broken)
        document = workload_document(CLONE_SETS, "canary")
        document["metadata"]["namespace"], document["spec"]["replicas"] = TEAM, 7
        place.kube.put(CLONE_SETS, document)
        await until(lambda: SHOP in place.woken)
        kept = place.store.workloads[WorkloadKey(KIND, TEAM, "canary")]
        assert kept.problem == "CloneSet canary is such that the controller cannot read it; its log says why"
        document["spec"]["replicas"] = 2
        place.kube.put(CLONE_SETS, document)
        await until(lambda: not place.store.workloads[WorkloadKey(KIND, TEAM, "canary")].problem)
        assert (place.watches(), place.why) == (["clonesets"], "")
