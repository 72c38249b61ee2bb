"""In which order Rollouts without a reconciler are looked at, and how much of the processor one namespace may take for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.controller.workqueue import BURST, RECONCILE, SHARE, Call, WorkQueue
from canary.observe.objects import Key


def keys(namespace: str, number: int) -> list[Key]:
    return [(namespace, f"r{index:03}") for index in range(number)]


def order(looks: WorkQueue, now: float = 0.0) -> list[Key | None]:
    """Whoever has a turn at this moment, as if no turn took any time."""
    found = []
    while (turn := looks.next(now)) is not None:
        found.append(turn.key)
    return found


@pytest.mark.parametrize("how", [Call.ALONE, Call.PACED])
def test_namespaces_take_turns(how: Call) -> None:
    """A thousand of one team do not stand before another team's two."""
    looks = WorkQueue()
    for key in [*keys("flood", 1000), *keys("team", 2)]:
        looks.call(key, how)
    assert order(looks)[:5] == [
        ("flood", "r000"),
        ("team", "r000"),
        ("flood", "r001"),
        ("team", "r001"),
        ("flood", "r002"),
    ]


def test_who_presses_goes_first() -> None:
    """Before everybody who does not press, namespaces taking turns among them too."""
    looks = WorkQueue()
    for key in keys("flood", 3):
        looks.call(key, Call.ALONE)
    for name in ("a", "b"):
        looks.call(("flood", name), Call.PRESSING)
    looks.call(("team", "c"), Call.PRESSING)
    assert order(looks) == [("flood", "a"), ("team", "c"), ("flood", "b"), *keys("flood", 3)]


def test_whatever_is_called_for_meanwhile_is_one_look() -> None:
    """Called for a thousand times, looked at once; for its own sake before those for whom something else has changed."""
    looks = WorkQueue()
    for _ in range(1000):
        looks.call(("team", "often"), Call.PRESSING)
        for key in keys("team", 3):
            looks.call(key, Call.PACED)
    looks.call(("team", "r002"), Call.ALONE)
    looks.call(("team", "r002"), Call.PACED)
    assert order(looks) == [("team", "often"), ("team", "r002"), ("team", "r000"), ("team", "r001")]


def test_rules_are_settled_before_anybody_is_looked_at() -> None:
    """So that the first look in a namespace does not have to settle everything at once."""
    looks = WorkQueue()
    looks.call(("team", "r"), Call.ALONE)
    looks.settle("team")
    looks.settle("team")
    assert order(looks) == [None, ("team", "r")]


def flap(looks: WorkQueue, seconds: float, cost: float) -> tuple[int, float]:
    """Three hundred are called for twenty times a second; returns turns and processor time that they took."""
    now, turns, taken, called = 0.0, 0, 0.0, -1.0
    while now < seconds:
        if now - called >= 0.05:
            called = now
            for key in keys("flood", 300):
                looks.call(key, Call.PACED)
        turn = looks.next(now)
        if turn is None:
            now += 0.001
            continue
        turns, taken, now = turns + 1, taken + cost, now + cost
        looks.took(turn, cost, now)
    return turns, taken


@pytest.mark.parametrize("cost", [0.0002, 0.001, RECONCILE])
def test_a_flapping_route_takes_its_share_of_the_processor(cost: float) -> None:
    """However often three hundred are called for, a minute of it takes no more than agreed, and all get their turns."""
    turns, taken = flap(WorkQueue(), 60, cost)
    assert taken <= BURST + 60 * SHARE + 2 * cost
    assert taken >= 0.9 * (BURST + 60 * SHARE)
    assert turns >= 300


def test_what_is_paced_holds_up_nobody_else() -> None:
    """While one namespace has to wait, others go on, and so does whoever there has changed himself."""
    looks = WorkQueue()
    flap(looks, 10, 0.001)
    for key in keys("flood", 300):
        looks.call(key, Call.PACED)
    spent = looks.next(10.0)
    while spent is not None:
        looks.took(spent, 0.1, 10.0)
        spent = looks.next(10.0)
    looks.call(("team", "a"), Call.PACED)
    looks.call(("flood", "own"), Call.ALONE)
    looks.call(("flood", "run"), Call.PRESSING)
    assert order(looks, 10.0) == [("flood", "run"), ("flood", "own"), ("team", "a")]
    pause = looks.pause(10.0)
    assert pause is not None
    assert 0 < pause <= 0.1 / SHARE
    assert looks.next(10.0 + pause + 1e-6) is not None


def test_a_pause_is_forgotten_with_time() -> None:
    """A namespace that was quiet for long may take as much at once as one that has never been heard of."""
    looks = WorkQueue()
    flap(looks, 10, 0.001)
    order(looks, 1000.0)
    assert order(looks, 1000.0) == []
    assert looks.pause(1000.0) is None
    for key in keys("flood", 300):
        looks.call(key, Call.PACED)
    taken, now = 0, 1000.0
    while (turn := looks.next(now)) is not None:
        looks.took(turn, 0.001, now)
        taken += 1
    assert taken == 300


calls = st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(list(Call)))


@given(st.lists(calls | st.just("next"), max_size=40))
def test_nobody_is_forgotten(played: list[tuple[str, str, Call] | str]) -> None:
    """Whoever was called for after his last turn gets one, in the end."""
    looks, waiting = WorkQueue(), set[Key]()
    for move in played:
        if isinstance(move, tuple):
            looks.call((move[0], move[1]), move[2])
            waiting.add((move[0], move[1]))
        elif (turn := looks.next(0.0)) is not None:
            waiting.discard(turn.key or ("", ""))
    assert waiting <= set(order(looks))
    assert looks.pause(0.0) is None
