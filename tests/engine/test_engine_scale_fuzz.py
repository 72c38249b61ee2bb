"""Whatever autoscalers, tools, people, gateways and crashes do: no share without its replicas, no replicas taken from under a share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from world import Fault, Gateways, World, spec_of

from canary.model.status import ACTIVE


def _spec(after: str) -> Any:
    return spec_of(
        scale={"canary": "MatchShare", "after": after, "drain": "5s", "timeout": "60s"},
        checks=None,
        steps=[{"weight": 10, "hold": "5s"}, {"weight": 50, "hold": "5s"}, {"weight": 100, "hold": "5s"}],
    )


def _fault(world: World, target: str, fault: Fault) -> None:
    world.faults[target] = fault


def _revise(world: World, revision: str) -> None:
    """A deployment: of the pods that there are, all are of the new revision at once."""
    world.canary.revision = revision


def _forge(world: World, scale: Any) -> None:
    """Somebody writes what the record says of replicas; a controller that comes back reads it."""
    told = {"scale": scale} if "workload" in scale else {"formerCanaries": [scale]}
    world.recorded = {**world.recorded, **told}
    world.forged = True
    world.crash()


def _autoscaler(world: World, name: str) -> None:
    world.scaling = replace(world.scaling, autoscaler=name)
    for workload in (world.canary, *world.former.values()) if name else ():
        workload.by_us = False  # what it finds is its own from then on


TIMES = st.sampled_from(["2026-03-01T11:00:00Z", "2026-03-01T12:00:10Z", "2999-01-01T00:00:00Z", "x", None])
FORGED = st.fixed_dictionaries(
    {"workload": st.sampled_from(["canary", "stable", "other", 7])},
    optional={
        "stable": st.sampled_from([0, 3, 1000, -1, "x"]),
        "reached": st.sampled_from([0, 1, 1000, None]),
        "needed": st.sampled_from([0, 500]),
        "shortSince": TIMES,
        "drainedSince": TIMES,
    },
)
FORMER = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["Deployment", "DaemonSet", "Foo.example.org", 7]),
        "name": st.sampled_from(["next", "stable", "canary", "x"]),
    },
    optional={"drainedSince": TIMES},
)
Event = Callable[[World], Any]


def _event(draw: Callable[[Any], Any]) -> Event:
    kind = draw(st.integers(0, 16))
    number, name = draw(st.integers(0, 12)), draw(st.sampled_from(["hpa", "argocd", "alice"]))
    match kind:
        case 0 | 1 | 2:
            return lambda world: world.wait(number)
        case 3:
            return lambda world: world.canary.give(number, by=name)
        case 4:
            return lambda world: world.stable.give(number, by=name)
        case 5:
            slow = draw(st.booleans())
            return lambda world: setattr(world.canary, "slow", slow)
        case 6:
            return lambda world: setattr(world.canary, "ready", min(number, world.canary.replicas))
        case 7:
            scaler = draw(st.sampled_from(["", "HorizontalPodAutoscaler canary"]))
            return lambda world: _autoscaler(world, scaler)
        case 8:
            return lambda world: world.crash()
        case 9:
            target, fault = (
                draw(st.sampled_from(["replicas", "status", "shop", "rollout"])),
                draw(st.sampled_from(Fault)),
            )
            return lambda world: _fault(world, target, fault)
        case 10:
            verb = draw(st.sampled_from(["abort", "retry", "start", "pause", "resume", "promote-full"]))
            return lambda world: world.ask(verb, id_=f"{verb}-{world.attempts}")
        case 11:
            revision = draw(st.sampled_from("bcd"))
            return lambda world: _revise(world, revision)
        case 12:
            share = draw(st.sampled_from([0, 30]))
            return lambda world: world.weigh(100 - share, share)
        case 13:
            gateways = draw(st.sampled_from([Gateways.LATE, Gateways.PROMPT]))
            return lambda world: world.answer(gateways)
        case 14 | 15:
            workload = draw(st.sampled_from(["canary", "next", "last"]))
            return lambda world: world.employ(workload, "b") if workload != world.canary.name else None
        case _:
            scale = draw(FORGED | FORMER)
            return lambda world: _forge(world, scale)


@st.composite
def stories(draw: Callable[[Any], Any]) -> list[Event]:
    """What happens, in order."""
    return [_event(draw) for _ in range(draw(st.integers(3, 16)))]


def _ticks(world: World, number: int = 4) -> None:
    """So many looks, a moment apart: what fails is tried again."""
    for _ in range(number):
        world.now += timedelta(milliseconds=200)
        world.tick()


@settings(max_examples=15, deadline=None)
@given(story=stories(), after=st.sampled_from(["Zero", "Keep"]), anonymous=st.booleans())
def test_whatever_happens(story: list[Event], after: str, anonymous: bool) -> None:
    """The bystander objects to a share without replicas, and to a scaling that is not ours; in the end nothing of ours is left."""
    world = World(_spec(after))
    world.stable.replicas = world.stable.ready = 4
    world.canary.replicas = world.canary.ready = 0
    world.canary.anonymous = anonymous
    _ticks(world)
    world.canary.revision = "b"
    _ticks(world)
    for event in story:
        try:
            event(world)
        except AssertionError as error:
            if "does not come to rest" not in str(error):
                raise  # a write that fails for ever is tried for ever, which the clock of this world has no backoff for
        _ticks(world)
    world.faults.clear()
    world.scaling = replace(world.scaling, autoscaler="", failed="", denied=False)
    world.answer(Gateways.PROMPT)
    world.canary.slow = False
    world.ask("abort", id_="the-end")
    _ticks(world)
    if world.share():
        world.weigh(100, 0)
    world.request = None
    for _ in range(30):
        world.now += timedelta(seconds=2)
        world.tick()
        if (world.memory or world.status).phase in ACTIVE and world.request is None:
            world.ask("abort", id_=f"again-{world.attempts}")
    assert world.share() == 0
    assert not world.canary.scaled, "what was ours is given back"
    lost = [name for name, workload in world.former.items() if workload.scaled]
    assert not lost or world.forged, "of what was the canary, too"
    left = [
        workload.name for workload in (world.canary, *world.former.values()) if workload.by_us and workload.replicas
    ]
    assert after == "Keep" or world.forged or not left, "what was given is taken back, whoever is on record for it"
    assert (world.status.scale, world.status.former_canaries) == (None, ())
    assert not world.finalizer
