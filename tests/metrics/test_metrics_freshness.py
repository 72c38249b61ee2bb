"""Of when an answer is."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canary.metrics.freshness import APART, EXACT, FROZEN, Freshness, Stale

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = NOW.timestamp()


class Server:
    """A Prometheus whose clock is `off` from that of who sends its answers, at which it is `NOW` plus `seconds`; and what is known of it."""

    def __init__(self, off: float = 0.0, dated: bool = True) -> None:
        self.seconds, self.off, self.dated = 0.0, off, dated
        self.fresh = Freshness(lambda: self.seconds)

    def age(self, made: float | None = None, *, question: str = "up", stored: float = 0.0, took: float = 0.0) -> float:
        """How old an answer is said to be that was made at `made` seconds (None: now), and took so long to come."""
        sent, made = self.seconds, self.seconds if made is None else made
        self.seconds += took
        date = datetime.fromtimestamp(int(AT + self.seconds), UTC) if self.dated else None
        return round(self.fresh.age(question, AT + made + self.off, sent, date=date, stored=stored), 3)


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (AT - 3600, "it is of 2026-01-02T02:04:05+00:00, and was sent at 2026-01-02T03:04:05+00:00"),
        (AT + 86400, "it is of 2026-01-03T03:04:05+00:00, and was sent at 2026-01-02T03:04:05+00:00"),
        (0.0, "it is of 1970-01-01T00:00:00+00:00, and was sent at 2026-01-02T03:04:05+00:00"),
    ],
)
def test_an_answer_is_of_when_it_is_sent(moment: float, words: str) -> None:
    """Or nearly; what is further from it may be older than anything that counts."""
    with pytest.raises(Stale) as stale:
        Freshness(lambda: 0.0).age("up", moment, 0.0, date=NOW)
    assert str(stale.value) == words


@pytest.mark.parametrize("off", [0.0, -EXACT, EXACT])
def test_an_answer_of_its_date_is_of_now(off: float) -> None:
    """A Date is in whole seconds, and of when the answer was written."""
    server = Server(off)
    assert server.age() == 0
    server.seconds = 30.9
    assert server.age(took=8.0) == 0


def test_without_a_date_any_moment_may_be_now() -> None:
    """There is nothing to compare it with, until it comes again."""
    server = Server(off=-AT, dated=False)
    assert server.age() == 0
    server.seconds = 5
    assert (server.age(0), server.age()) == (5, 0)


def test_a_moment_that_was_there_before_is_of_then() -> None:
    """A second later already; and after a while it is no news at all. Other questions have moments of their own."""
    server = Server()
    assert server.age() == 0
    server.seconds = 0.25
    assert server.age(0) == 0.25
    server.seconds = FROZEN
    assert server.age(0) == FROZEN
    assert server.age(question="down") == 0
    server.seconds = FROZEN + 1
    with pytest.raises(Stale, match=r"it is of 2026-01-02T03:04:05\+00:00, as it was 11 s ago"):
        server.age(0)
    assert server.age() == 0


def test_what_is_not_of_its_date_may_be_as_old_as_that() -> None:
    """Who begins to ask knows nothing of before. What comes again is not younger for it."""
    server = Server()
    server.seconds = 200
    assert server.age(100) == 100
    server.seconds = 204
    assert server.age(100) == 104
    assert server.age(200) == 4, "filled by somebody else meanwhile"
    assert server.age() == 0


@pytest.mark.parametrize("off", [-120, -32, 32, 120])
def test_what_moves_as_time_does_is_of_another_clock(off: float) -> None:
    """That of a proxy which writes Dates of its own: once seen it is known of all questions."""
    server = Server(off)
    assert server.age() == abs(off)
    server.seconds = 1
    assert server.age() == abs(off), "nobody can tell so soon"
    for server.seconds in (10, 11, 40, 400):
        assert server.age() == 0
        assert server.age(question=f"at {server.seconds}") == 0
    assert server.age(370, question="kept") == 30
    server.off = 0.0
    assert server.age() == abs(off), "set right, or an answer that was kept"
    server.seconds = 410
    assert server.age() == 0


@pytest.mark.parametrize("jump", [-86400.0, -60.0, 60.0, 86400.0])
@pytest.mark.parametrize("behind_a_proxy", [False, True])
def test_a_clock_that_is_set_ends_nothing(jump: float, behind_a_proxy: bool) -> None:
    """What was seen before it has no say. Where somebody else writes the Dates, it takes one look more to see it."""
    fresh = Freshness(lambda: passed)
    ages = []
    for passed in range(0, 100, 10):
        set_by = jump if passed >= 50 else 0.0
        date = datetime.fromtimestamp(AT + passed + (0 if behind_a_proxy else set_by), UTC)
        try:
            ages.append(fresh.age("up", AT + passed + set_by, passed, date=date))
        except Stale:
            ages.append(-1)
    once = -1 if abs(jump) > APART else 60
    assert ages == [0] * 5 + [once if behind_a_proxy else 0] + [0] * 4


def test_a_cache_may_say_how_old_an_answer_is() -> None:
    """Whatever its moment and its Date, that of the server, say."""
    server = Server()
    assert server.age(stored=7) == 7
    with pytest.raises(Stale, match="says to have had it for 11 s"):
        server.age(stored=FROZEN + 1)
    assert server.fresh.age("of no series", None, 0.0, stored=7) == 7


def test_who_asks_for_a_moment_gets_it() -> None:
    """However long ago it was, and again and again."""
    passing = 0
    fresh = Freshness(lambda: passing)
    for passing in range(0, 100, 10):
        assert fresh.age("up", AT - 86400, passing, date=NOW, stored=50, asked=AT - 86400) == 0
    with pytest.raises(Stale) as stale:
        fresh.age("up", AT, passing, date=NOW, asked=AT - 86400)
    assert str(stale.value) == "it is of 2026-01-02T03:04:05+00:00, and was asked for 2026-01-01T03:04:05+00:00"


@given(
    off=st.floats(-1000, 1000),
    looks=st.lists(st.tuples(st.floats(0.02, 120), st.floats(0, 60), st.floats(0, 5)), min_size=1, max_size=20),
    whole=st.booleans(),
)
def test_a_server_is_believed_from_the_second_look_on(
    off: float, looks: list[tuple[float, float, float]], whole: bool
) -> None:
    """Whatever clock it has, whoever writes the Date, in whole seconds or not: nothing is stale then, and everything of now."""
    server, since = Server(off), None
    for pause, _, took in looks:
        server.seconds += pause
        sent = server.seconds
        made = float(int(sent)) if whole else None
        try:
            age = server.age(made, took=took)
        except Stale:
            age = abs(off)
        since = sent if since is None else since
        if sent - since > EXACT + 5:
            assert age <= (1 if whole else 0)


@given(kept=st.floats(0, 100), pauses=st.lists(st.floats(0.02, 20), min_size=1, max_size=20), off=st.floats(-250, 250))
@example(kept=83.0, pauses=[1.0], off=-218.0)
@example(kept=73.0, pauses=[10.0], off=-218.0)
def test_nothing_that_is_kept_gets_younger(kept: float, pauses: list[float], off: float) -> None:
    """What comes of one moment is never said to be of a later one than at first; beside a clock that is off it may be too old for anything."""
    server, first = Server(off), None
    server.seconds = kept
    for pause in [0.0, *pauses]:
        server.seconds += pause
        sent = server.seconds
        try:
            at = sent - server.age(0)
        except Stale:
            assert sent - kept > FROZEN or abs(sent - off) > APART - 1
        else:
            assert first is None or at <= first + 0.01
            first = at if first is None else first


def test_what_is_kept_of_questions_is_bounded() -> None:
    fresh = Freshness(lambda: 0.0)
    for number in count():
        fresh.age(f"up == {number}", AT, 0.0, date=NOW)
        if number > 20_000:
            break
    assert len(fresh._known) <= 5_000
