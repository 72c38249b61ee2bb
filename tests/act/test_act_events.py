"""Events: in order for each object, several objects at once, and never more than fit."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from act_kit import NOW, TEAM, Bench, until
from cluster_kit import REAL
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_kube import ScriptedKube

from canary.act import events as module
from canary.act.events import AT_ONCE, EventRecorder
from canary.decide.actions import EmitEvent
from canary.errors import Forbidden, Throttled, Unavailable
from canary.kube import EVENTS, NAMESPACES, ROLLOUTS
from canary_sandbox.apiserver import Fault

Json = dict[str, Any]


def about(name: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": TEAM, "uid": f"uid-{name}"}}


async def messages(bench: Bench) -> dict[str, list[str]]:
    """What was told about each object, in the order of the API server."""
    told: dict[str, list[str]] = {}
    for event in sorted(await bench.events(), key=lambda event: int(event["metadata"]["resourceVersion"])):
        told.setdefault(event["involvedObject"]["name"], []).append(event["message"])
    return told


async def test_events_of_one_object_keep_their_order(bench: Bench) -> None:
    """Whatever is posted at once: what is said about one object comes in the order in which it was said."""
    for number in range(20):
        for name in ("a", "b", "c"):
            bench.recorder.event(about(name), EmitEvent("Normal", "Step", f"{name} {number}"), NOW)
    assert await messages(bench) == {name: [f"{name} {number}" for number in range(20)] for name in ("a", "b", "c")}


async def test_an_event_that_hangs_holds_up_its_object_only(bench: Bench) -> None:
    """A post without an answer takes one of several places; the others go on."""
    bench.api.faults.add(Fault(verb="create", resource="events", user="controller", latency=2.0, times=1))
    bench.recorder.event(about("slow"), EmitEvent("Normal", "A", "slow"), NOW)
    for number in range(AT_ONCE * 2):
        bench.recorder.event(about(f"other-{number}"), EmitEvent("Normal", "A", "quick"), NOW)
    await until(lambda: sum(entry.resource == "events" for entry in bench.api.audit) == AT_ONCE * 2)


async def test_what_is_said_again_is_counted(bench: Bench) -> None:
    """An Event that says what the last one waiting says is one with it, with a count and the later time."""
    for second in range(3):
        bench.recorder.event(about("shop"), EmitEvent("Warning", "Same", "the same"), NOW + timedelta(seconds=second))
    bench.recorder.event(about("shop"), EmitEvent("Warning", "Other", "another"), NOW)
    first, second = sorted(await bench.events(), key=lambda event: int(event["metadata"]["resourceVersion"]))
    assert (first["count"], first["lastTimestamp"]) == (3, "2026-01-01T12:00:02Z")
    assert second["count"] == 1


async def test_more_than_fit_are_dropped(bench: Bench, monkeypatch, caplog) -> None:
    """The lines are bounded, each and together: the oldest of whoever has most to say goes, and the log says so once."""
    monkeypatch.setattr(module, "MAX_WAITING", 8)
    monkeypatch.setattr(module, "MAX_OF_ONE", 5)
    for number in range(9):
        bench.recorder.event(about("flood"), EmitEvent("Normal", "A", f"flood {number}"), NOW)
    for number in range(2):
        for name in ("b", "c"):
            bench.recorder.event(about(name), EmitEvent("Normal", "A", f"{name} {number}"), NOW)
    assert await messages(bench) == {
        "flood": ["flood 5", "flood 6", "flood 7", "flood 8"],
        "b": ["b 0", "b 1"],
        "c": ["c 0", "c 1"],
    }
    assert [record.getMessage() for record in caplog.records] == [
        f"more Events of {TEAM}/flood wait than can be posted; the oldest are dropped",
        f"5 Events of {TEAM}/flood were dropped",
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("red", "blue")), st.sampled_from("abc"), st.integers(1, 40)), max_size=40))
def test_whoever_floods_pushes_out_its_own(floods: list[tuple[str, str, int]]) -> None:
    """Whatever two namespaces have to say: not one of the few Events of a third is lost, and the bound holds."""
    kube = ScriptedKube()

    async def story() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "MAX_WAITING", 30)
            patch.setattr(module, "MAX_OF_ONE", 12)
            async with EventRecorder(kube) as recorder:
                for number in range(3):
                    ours = {"metadata": {"name": "shop", "namespace": "we", "uid": "1"}}
                    recorder.event(ours, EmitEvent("Normal", "Ours", f"ours {number}"), NOW)
                for index, (namespace, name, many) in enumerate(floods):
                    theirs = {"metadata": {"name": name, "namespace": namespace, "uid": name}}
                    for number in range(many):
                        recorder.event(theirs, EmitEvent("Normal", "Theirs", f"{index} {number}"), NOW)
                    assert sum(map(len, recorder._waiting.values())) <= 30
                    assert max(map(len, recorder._waiting.values())) <= 12
            assert not recorder._waiting
            assert not recorder._of_namespace

    asyncio.run(story())
    posted = [asked.body for asked in kube.asked]
    assert len(posted) == len(kube.kept(EVENTS))
    assert [event["message"] for event in posted if event["reason"] == "Ours"] == ["ours 0", "ours 1", "ours 2"]
    for namespace, name, _ in floods:
        of_one = [event for event in posted if event["metadata"]["namespace"] == namespace]
        times = [event["eventTime"] for event in of_one if event["involvedObject"]["name"] == name]
        assert times == sorted(times)


@pytest.mark.parametrize(
    ("trouble", "asked", "there"),
    [
        pytest.param({"error": Unavailable("gone away")}, 2, 2, id="sent again"),
        pytest.param({"error": Throttled("slow down", retry_after=0.1)}, 2, 2, id="sent again when there is time"),
        pytest.param({"lost": True}, 2, 2, id="there already, as its second post finds out"),
        pytest.param({"error": Unavailable("gone away"), "times": 2}, 2, 1, id="given up after two"),
        pytest.param({"error": Forbidden("no")}, 1, 1, id="refused"),
    ],
)
async def test_trouble_with_one_event_costs_at_most_that_one(trouble: dict[str, Any], asked: int, there: int) -> None:
    """It is posted twice at most, it is there once at most, and the next one about the same object follows."""
    kube = ScriptedKube()
    kube.script("create", "events", **trouble)
    async with EventRecorder(kube) as recorder:
        for message in ("first", "second"):
            recorder.event(about("shop"), EmitEvent("Normal", "A", message), NOW)
    messages = [event["message"] for event in kube.kept(EVENTS)]
    assert messages == ["first", "second"][-there:]
    assert [one.body["message"] for one in kube.asked] == ["first"] * asked + ["second"]


@pytest.mark.alone("how fast Events are written")
async def test_a_namespace_that_is_slow_delays_no_other(bench: Bench) -> None:
    """Events of fifty Rollouts that take two seconds each, because of a webhook of theirs, say; ours are there at once."""
    theirs = f"{TEAM}-slow"
    await bench.other.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": theirs}})
    bench.fault(verb="create", resource="events", namespace=theirs, latency=2.0, times=None)
    for number in range(50):
        document = {"metadata": {"name": f"r{number}", "namespace": theirs, "uid": f"uid-{number}"}}
        bench.recorder.event(document, EmitEvent("Normal", "A", "slow"), NOW)
    await asyncio.sleep(0.2)
    started = time.monotonic()
    for number in range(20):
        bench.recorder.event(about("shop"), EmitEvent("Normal", "A", f"quick {number}"), NOW)
    ours = [entry for entry in bench.api.audit if entry.namespace == TEAM and entry.resource == "events"]
    await until(lambda: len(ours) + sum(e.namespace == TEAM and e.resource == "events" for e in bench.api.audit) >= 20)
    assert time.monotonic() - started < 1.5
    bench.recorder.cancel()


async def kubectl(config: Path, *words: str) -> str:
    """What it prints. `--cache-dir`: nothing is written outside of the test's folder."""
    told = [f"--kubeconfig={config}", f"--cache-dir={config.parent / 'cache'}"]
    done = await asyncio.create_subprocess_exec(
        "kubectl", *told, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, error = await asyncio.wait_for(done.communicate(), 60)
    assert done.returncode == 0, error.decode()
    return out.decode()


@pytest.mark.parametrize("many", [9, 40])
async def test_people_see_events_in_the_order_in_which_they_were_told(bench: Bench, many: int, tmp_path: Path) -> None:
    """All of them within one second, most within one tick: each way in which kubectl shows them keeps the order.

    With more than a dozen kubectl's sorting is not stable; what is in order already stays so.
    """
    now, rollout = NOW, await bench.other.get(ROLLOUTS, "shop", TEAM)
    for number in range(many):
        bench.recorder.event(rollout, EmitEvent("Normal", "Step", f"word {number:02}"), now)
        if number % 3 == 0:
            now += timedelta(microseconds=2)
    events = await bench.events()
    assert {event["lastTimestamp"] for event in events} == {"2026-01-01T12:00:00Z"}
    assert len({event["eventTime"] for event in events}) == many
    said = [f"word {number:02}" for number in range(many)]
    config = bench.api.kubeconfig(tmp_path / "kubeconfig", namespace=TEAM)
    sort = "--sort-by="
    ways = (
        ("get", "events"),
        ("get", "events", f"{sort}.eventTime"),
        ("get", "events", f"{sort}.lastTimestamp"),
        ("get", "events", f"{sort}.metadata.name"),
        *([("get", "events.v1.events.k8s.io")] if REAL else []),  # a view that only a real server has
        ("events", "--for", "rollout/shop"),
        ("describe", "rollout", "shop"),
    )
    for way in ways:
        shown = await kubectl(config, *way)
        assert re.findall(r"word \d\d", shown) == said, shown
