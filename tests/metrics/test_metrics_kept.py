"""Addresses are kept for teams that cannot push each other's out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.metrics.kept import FORGOTTEN_AFTER, Crowded, KeptByAddress


@dataclass
class World:
    """Addresses that are kept; those in `at_work` are busy."""

    now: float = 0.0
    at_work: set[str] = field(default_factory=set)
    made: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def kept(self, most: int = 6, of_one: int = 3) -> KeptByAddress[str]:
        return KeptByAddress(
            lambda address: self.made.append(address) or address,
            busy=lambda address: address in self.at_work,
            close=self.closed.append,
            most=most,
            of_one=of_one,
            clock=lambda: self.now,
        )


NAMES = st.sampled_from(("red", "blue", "green"))
STEPS = st.lists(st.tuples(NAMES, st.integers(0, 30), st.booleans()), max_size=200)


@given(STEPS)
def test_bounds_hold_and_the_modest_are_spared(steps: list[tuple[str, int, bool]]) -> None:
    """However three teams name addresses: a fourth with one address keeps it, and no bound is exceeded."""
    world = World()
    kept = world.kept()
    kept.get("ours", "we")
    users: dict[str, set[str]] = {"ours": {"we"}}
    for team, number, busy in steps:
        address = f"http://prometheus/{number}"
        if busy:
            world.at_work.add(address)
        else:
            world.at_work.discard(address)
        try:
            assert kept.get(address, team) == address
            users.setdefault(address, set()).add(team)
        except Crowded:
            # Who has one of its own that rests gives that up.
            assert all(one in world.at_work for one, of in kept._kept.items() if of.used.keys() == {team})
        assert len(kept) <= 6
        assert "ours" in kept
        assert Counter(world.made) - Counter(world.closed) == Counter(list(kept))
    assert kept.get("ours", "we") == "ours"
    assert world.made.count("ours") == 1


def test_a_team_that_names_ever_new_addresses_gives_up_its_own() -> None:
    """The one it used longest ago goes first, and only its own."""
    world = World()
    kept = world.kept()
    kept.get("theirs", "they")
    for number in range(5):
        kept.get(f"a{number}", "we")
    assert list(kept) == ["theirs", "a2", "a3", "a4"]


def test_what_is_at_work_is_not_pulled_from_under_its_team_by_itself() -> None:
    """When all that a team has are at work, the next one has to wait, and says for what."""
    world = World()
    kept = world.kept()
    for number in range(3):
        world.at_work.add(kept.get(f"a{number}", "we"))
    with pytest.raises(Crowded, match="namespace we asks 3 addresses already"):
        kept.get("a3", "we")
    world.at_work.discard("a1")
    kept.get("a3", "we")
    assert world.closed == ["a1"]


def test_who_has_more_gives_way_even_at_work() -> None:
    """A team's first address gets its place from those that have several, whatever these do with them."""
    world = World()
    kept = world.kept()
    for team in ("red", "blue"):
        for number in range(3):
            world.at_work.add(kept.get(f"{team}{number}", team))
    kept.get("ours", "we")
    assert len(world.closed) == 1
    with pytest.raises(Crowded, match="6 addresses are asked already"):
        kept.get("red9", "red") if "red0" in world.closed else kept.get("blue9", "blue")


def test_a_shared_address_is_its_most_modest_users() -> None:
    """An address that two teams ask stays for the one of them that has few."""
    world = World()
    kept = world.kept(most=3)
    for address in ("shared", "a1", "a2"):
        kept.get(address, "greedy")
    kept.get("shared", "modest")
    kept.get("new", "we")
    assert "shared" in kept
    assert world.closed == ["a1"]


def test_an_address_that_nobody_asks_any_more_goes_first() -> None:
    """After ten minutes it is nobody's."""
    world = World()
    kept = world.kept(most=2)
    kept.get("old", "red")
    world.now += FORGOTTEN_AFTER + 1
    kept.get("new", "blue")
    kept.get("newer", "blue")
    assert world.closed == ["old"]
    kept.clear()
    assert len(kept) == 0
    assert world.closed == ["old", "new", "newer"]
