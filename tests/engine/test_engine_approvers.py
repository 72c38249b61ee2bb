"""An approval that is to be by somebody in particular: by them, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from world import World, begun, spec_of

from canary.model.requests import claim, parse_request
from canary.model.status import Phase

BY = {"users": ["alice"], "groups": ["release-managers"]}


def waiting(*steps: dict[str, Any], vouched: bool | None = True) -> World:
    """A run that waits for an approval by somebody, and whether it is known who asks."""
    steps = steps or ({"weight": 10, "approval": {"by": BY}}, {"weight": 50}, {"weight": 100})
    made = begun(spec=spec_of(checks=None, steps=list(steps)))
    made.vouched = vouched
    made.wait(30)
    return made


def answer(made: World) -> str:
    made.run()
    assert made.status.last_request is not None
    return made.status.last_request.words


def test_it_is_said_who_is_waited_for() -> None:
    """In the message, and in the Events of the step."""
    made = waiting()
    assert made.phase is Phase.PAUSED
    assert "waiting for `canary promote` by alice, or group release-managers at 10 %" in made.status.message
    assert any("then wait for approval by alice, or group release-managers" in event.message for event in made.told)


@pytest.mark.parametrize(
    ("user", "groups"), [("alice", ()), ("bob", ("release-managers",)), ("bob", ("dev", "release-managers"))]
)
def test_those_who_may_approve(user: str, groups: tuple[str, ...]) -> None:
    """By name, or by a group."""
    made = waiting()
    made.ask_as(user, "promote", *groups, id_="p1")
    assert "is approved" in answer(made)
    made.wait(5)
    assert made.share() >= 50


@pytest.mark.parametrize("verb", ["promote", "promote-full"])
@pytest.mark.parametrize(
    ("user", "groups", "words"),
    [
        ("bob", (), "and not by bob"),
        ("bob", ("dev",), "and not by bob"),
        ("release-managers", ("alice",), "and not by release-managers"),
    ],
)
def test_those_who_may_not(verb: str, user: str, groups: tuple[str, ...], words: str) -> None:
    """Nor can they skip it. They can take traffic away."""
    made = waiting()
    made.ask_as(user, verb, *groups, id_="p1")
    assert answer(made) == f"refused: approval is by alice, or group release-managers, {words}"
    made.wait(60)
    assert made.share() == 10
    made.ask_as(user, "abort", id_="a1")
    made.run()
    assert made.share() == 0


@pytest.mark.parametrize("verb", ["promote", "promote-full"])
def test_without_the_policy_nobody_approves_and_it_is_said_that_nobody_checks(verb: str) -> None:
    """Whatever name is on the request: anybody may write it there."""
    made = waiting(vouched=False)
    made.ask_as("alice", verb, id_="p1")
    assert "nobody checks who asks: a platform team has that checked by the component approvals" in answer(made)
    made.wait(60)
    assert made.share() == 10


def test_until_it_is_known_whether_somebody_checks_a_request_waits() -> None:
    """It is neither done nor refused, and an abort in its place is served at once."""
    made = waiting(vouched=None)
    made.ask_as("alice", "promote", id_="p1")
    made.wait(30)
    assert (made.share(), made.status.last_request) == (10, None)
    made.vouched = True
    assert "is approved" in answer(made)
    other = waiting(vouched=None)
    other.ask_as("alice", "promote", id_="p1")
    other.run()
    other.ask("abort", id_="a1")
    other.run()
    assert other.share() == 0


@pytest.mark.parametrize("claimed", [None, "alice", "alice\n", claim("alice", (), '{"id": "else"}'), claim("", (), "")])
def test_a_request_that_says_not_who_asks(claimed: str | None) -> None:
    """As kubectl writes it; or with a name that is on another request."""
    made = waiting()
    made.ask("promote", id_="p1", by="alice")
    made.claimed = claimed
    assert "says not who asks: use `canary promote`" in answer(made)
    made.wait(60)
    assert made.share() == 10


def test_skipping_what_is_left_takes_everybody_who_would_be_asked() -> None:
    """An approval further on, too; without one anybody may."""
    later = ({"weight": 10, "hold": "1h"}, {"weight": 50, "approval": {"by": BY}}, {"weight": 100})
    made = waiting(*later)
    made.ask_as("bob", "promote-full", id_="f1")
    assert "and not by bob" in answer(made)
    made.ask_as("alice", "promote-full", id_="f2")
    assert answer(made).startswith("done")
    anybody = waiting({"weight": 10, "approval": {}}, {"weight": 50}, vouched=None)
    anybody.ask("promote", id_="p1")
    assert "is approved" in answer(anybody)


def test_ending_an_await_promotion_approves_no_step() -> None:
    """Whoever may annotate the Rollout ends it, whoever had to approve the last step."""
    made = begun(spec=spec_of(checks=None, promotion="Await", steps=[{"weight": 100, "approval": {"by": BY}}]))
    made.vouched = True
    made.wait(30)
    made.ask_as("alice", "promote-full", id_="p1")
    assert answer(made).startswith("done")
    assert made.phase is Phase.PROMOTING
    made.ask("promote", id_="p2", by="bob")
    assert answer(made) == "done: returning traffic to stable"


def test_a_claim_is_of_the_request_that_it_repeats() -> None:
    """To the last character."""
    raw = '{"id": "1", "verb": "promote"}'
    found = parse_request(raw, claim("alice", ("a", "b c"), raw))
    assert found is not None
    assert (found.user, found.groups) == ("alice", ("a", "b c"))
    for other in (f"{raw} ", raw.replace("1", "2"), ""):
        said = parse_request(raw, claim("alice", (), other))
        assert said is not None
        assert said.user == ""
