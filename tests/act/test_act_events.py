"""Events: in order for each object, several objects at once, and never more than fit."""

from __future__ import annotations

from datetime import timedelta

from act_kit import NOW, TEAM, Bench, until

from canary.act import events as module
from canary.act.events import AT_ONCE, Teller
from canary.decide.actions import Tell
from canary.sandbox.apiserver import Fault


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
            bench.teller.tell(about(name), Tell("Normal", "Step", f"{name} {number}"), NOW)
    assert await messages(bench) == {name: [f"{name} {number}" for number in range(20)] for name in ("a", "b", "c")}


async def test_an_event_that_hangs_holds_up_its_object_only(bench: Bench) -> None:
    """A post without an answer takes one of several places; the others go on."""
    bench.api.faults.add(Fault(verb="create", resource="events", user="controller", latency=2.0, times=1))
    bench.teller.tell(about("slow"), Tell("Normal", "A", "slow"), NOW)
    for number in range(AT_ONCE * 2):
        bench.teller.tell(about(f"other-{number}"), Tell("Normal", "A", "quick"), NOW)
    await until(lambda: sum(entry.resource == "events" for entry in bench.api.audit) == AT_ONCE * 2)


async def test_what_is_said_again_is_counted(bench: Bench) -> None:
    """An Event that says what the last one waiting says is one with it, with a count and the later time."""
    for second in range(3):
        bench.teller.tell(about("shop"), Tell("Warning", "Same", "the same"), NOW + timedelta(seconds=second))
    bench.teller.tell(about("shop"), Tell("Warning", "Other", "another"), NOW)
    first, second = sorted(await bench.events(), key=lambda event: int(event["metadata"]["resourceVersion"]))
    assert (first["count"], first["lastTimestamp"]) == (3, "2026-01-01T12:00:02Z")
    assert second["count"] == 1


async def test_more_than_fit_are_dropped(bench: Bench, monkeypatch, caplog) -> None:
    """The line is bounded; what does not fit is logged."""
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    teller = Teller(bench.kube)
    for name in ("a", "b", "c"):
        teller.tell(about(name), Tell("Normal", "A", f"about {name}"), NOW)
    assert [record.getMessage() for record in caplog.records] == ["too many Events wait; dropped: about c"]
    async with teller:
        pass
    assert await messages(bench) == {"a": ["about a"], "b": ["about b"]}
