"""Answers of the canary against stable's: noise proves nothing, a changed field does, and nobody can forge a verdict's arithmetic."""

from __future__ import annotations

import itertools
import json
import random
import statistics
from math import exp, log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.checks.judges.answers_memory import dump, fitting, load
from canary.checks.judges.finding import Standing
from canary.checks.judges.memory import MOST_TEXT
from canary.checks.judges.mirrored import BETS, MOST_WATCHED, PARTS, Alike, Look, Progress, Watched

RULE = Alike(0.05, 0.001)
PRICE = "$.items[].price"


def capital(rule: Alike, progress: Progress) -> float:
    return exp(rule.evidence(progress))


def draw(dice: random.Random, compared: int, paths: dict[str, tuple[float, float]]) -> Look:
    """Answers to so many requests; of each path the chances that the canary alone differs, and that stable's second answer does."""
    counts = {path: [0, 0, 0] for path in paths}
    for _ in range(compared):
        for path, (b, c) in paths.items():
            at = dice.random()
            counts[path][0 if at < b else 1 if at < b + c else 2] += 1
    found = {path: (b, c, 0) for path, (b, c, _) in counts.items() if b or c}
    return Look(compared, found)


def looks_until_caught(dice: random.Random, paths: dict[str, tuple[float, float]], looks: int = 200) -> int | None:
    """At 20 compared requests each."""
    progress = RULE.begin()
    for number in range(1, looks + 1):
        progress = RULE.fold(progress, draw(dice, 20, paths))
        if RULE.judge(progress).standing is Standing.FAIL:
            return number
    return None


def test_what_is_bet_sums_to_one() -> None:
    """Capital begins as 1, and no bet can lose more than it is."""
    assert sum(PARTS) == pytest.approx(1)
    assert all(0 < bet < 1 for bet in BETS)


def test_a_changed_field_is_named_with_its_share_its_noise_and_the_evidence() -> None:
    """The sentence that people read; what is noise is not told."""
    progress = RULE.begin()
    for _ in range(10):
        progress = RULE.fold(progress, Look(100, {PRICE: (3, 0, 0), "$.now": (0, 0, 100), "$.total": (2, 0, 1)}))
    found = RULE.judge(progress)
    assert (found.standing, found.reason) == (Standing.FAIL, "DiffersFromStable")
    assert found.message.startswith("`$.items[].price` differs in 3 % of answers (noise 0 %), evidence ")
    assert "of 20 needed; also `$.total` differs in 3 % of answers (noise 1 %); 1,000 answers compared" in found.message
    assert "$.now" not in found.message


def test_noise_that_leans_to_the_canary_is_not_told_beside_what_is_proved() -> None:
    """A pod's name differs in most answers of both; that the canary has a few more of them is chance."""
    progress = RULE.begin()
    for _ in range(10):
        progress = RULE.fold(progress, Look(100, {PRICE: (3, 0, 0), "$.pod": (31, 30, 31)}))
    found = RULE.judge(progress)
    assert found.standing is Standing.FAIL
    assert found.message.startswith("`$.items[].price` differs in 3 % of answers (noise 0 %), evidence ")
    assert "$.pod" not in found.message


def test_at_most_three_paths_are_told() -> None:
    """Those with most evidence first."""
    progress = RULE.begin()
    for _ in range(5):
        progress = RULE.fold(progress, Look(100, {f"$.f{number}": (10 * number, 0, 0) for number in range(1, 8)}))
    words = RULE.judge(progress).message
    assert words.count("differs in") == 3
    assert words.startswith("`$.f7` differs in 70 %")


def test_nothing_is_said_of_too_few() -> None:
    """One answer that is another one is no verdict; which policy that has, the check says."""
    assert RULE.judge(RULE.begin()).reason == "NotCompared"
    progress = RULE.fold(RULE.begin(), Look(99, {PRICE: (99, 0, 0)}))
    assert RULE.judge(progress).reason == "TooFewCompared"
    assert RULE.judge(progress).message == "99 answers compared, and 100 are needed"


def test_times_and_ids_prove_nothing() -> None:
    """What differs in every answer differs between two answers of stable too."""
    progress = RULE.begin()
    for _ in range(100):
        progress = RULE.fold(progress, Look(100, {"$.now": (0, 0, 100), "$.id": (0, 0, 100), "header:date": (7, 7, 3)}))
    found = RULE.judge(progress)
    assert (found.standing, found.reason) == (Standing.GOOD, "NotDifferent")
    assert found.message.startswith("10,000 answers compared; evidence ")


def test_a_difference_that_is_tolerated_is_never_proved() -> None:
    """One in a thousand is what maxDifferent allows."""
    progress = RULE.begin()
    for _ in range(200):
        progress = RULE.fold(progress, Look(1000, {PRICE: (1, 0, 0)}))
    assert RULE.judge(progress).standing is Standing.GOOD


@settings(deadline=None)
@given(
    most=st.sampled_from([0.0, 0.001, 0.05]),
    chances=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=2),
    history=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12),
)
def test_capital_is_never_expected_to_grow_while_the_claim_holds(
    most: float, chances: list[tuple[float, float]], history: list[tuple[int, int]]
) -> None:
    """Whatever has happened before: over all outcomes of the next two requests, at a path that is bet on and at one that is not.

    Also where paths make room, and where what is on record has to be cut down to what a status may hold.
    """
    rule = Alike(0.05, most)
    progress = rule.begin()
    for number, (b, c) in enumerate(history):
        progress = rule.fold(progress, Look(10, {f"$.{number % 11}": (b, c, 0)}))
    true = []  # chances that keep the claim: the canary alone at most `most` more often than stable
    for b, c in chances:
        b_, c_ = b / 2, c / 2
        true.append((min(b_, c_ + most), c_))
    outcomes = []
    for moves in itertools.product("bc-", repeat=2):
        weight = 1.0
        for move, (b, c) in zip(moves, true, strict=True):
            weight *= {"b": b, "c": c, "-": 1 - b - c}[move]
        outcomes.append((moves, weight))
    expected = 0.0
    for first, second in itertools.product(outcomes, repeat=2):
        paths = {}
        for place, path in enumerate(("$.0", "$.new")):
            said = first[0][place] + second[0][place]
            paths[path] = (said.count("b"), said.count("c"), 0)
        after = rule.fold(progress, Look(2, paths))
        after = load(rule, fitting(rule, after))
        expected += first[1] * second[1] * capital(rule, after)
    assert expected <= capital(rule, progress) * (1 + 1e-6)


def test_false_alarms_are_rarer_than_alpha_over_many_looks() -> None:
    """400 healthy canaries, 60 looks each: fields that are now the one and now the other, some often and some seldom."""
    dice = random.Random(20261)
    rule = Alike(0.1, 0.001, 1)
    noise = {
        "$.now": (0.25, 0.25),
        "$.seat": (0.1, 0.1),
        "$.rare": (0.01, 0.01),
        PRICE: (0.001, 0.0),
        "status": (0.002, 0.002),
    }
    alarms = 0
    for _ in range(400):
        progress = rule.begin()
        for _ in range(60):
            progress = rule.fold(progress, draw(dice, 10, noise))
            if rule.judge(progress).standing is Standing.FAIL:
                alarms += 1
                break
    assert alarms <= 0.1 * 400


@pytest.mark.parametrize(
    ("paths", "most"),
    [
        ({PRICE: (1.0, 0.0)}, 5),
        ({PRICE: (0.1, 0.0)}, 8),
        ({PRICE: (0.03, 0.0)}, 25),
        ({PRICE: (0.03, 0.0), **{f"$.noise{number}": (0.3, 0.3) for number in range(12)}}, 40),
        ({"$.seat": (0.5, 0.3)}, 20),
    ],
    ids=["always", "in 10 %", "in 3 %", "in 3 % beside a dozen noisy fields", "a noisy field that got noisier"],
)
def test_a_changed_field_is_found_soon(paths: dict[str, tuple[float, float]], most: int) -> None:
    """Median of looks with 20 compared requests each, of which the first five are needed in any case."""
    caught = [looks_until_caught(random.Random(seed), paths) for seed in range(15)]
    assert None not in caught
    assert statistics.median(found for found in caught if found is not None) <= most


def test_a_path_that_begins_late_is_found_among_thousands_that_come_and_go() -> None:
    """Keys that are made up anew for each answer fill all places, and give them up for what happens again."""
    dice = random.Random(3)
    progress, late = RULE.begin(), 0
    for number in range(120):
        paths = {f"$.items.{dice.random()}": (1, 0, 0) for _ in range(40)}
        if number >= 20:
            paths[PRICE] = (4, 0, 0)
            late += 1
        progress = RULE.fold(progress, Look(40, paths))
        assert len(progress.watched) <= MOST_WATCHED
        if RULE.judge(progress).standing is Standing.FAIL:
            break
    assert RULE.judge(progress).message.startswith(f"`{PRICE}` differs")
    assert 1 <= late <= 12


def test_nearly_proved_is_inconclusive() -> None:
    """Half of what it takes, as one would count it in looks: neither good nor bad yet."""
    progress = Progress(1000, 0.5, (Watched(PRICE, 0.5, 0, (0, 0), (6, 0, 0)),))
    assert log(20) / 2 < RULE.evidence(progress) < log(20)
    found = RULE.judge(progress)
    assert (found.standing, found.reason) == (Standing.INCONCLUSIVE, "PerhapsDifferent")
    assert "most: `$.items[].price` differs in 0.6 % of answers (noise 0 %); evidence " in found.message


COUNT = st.integers(0, 10**6)
PATH = st.text(min_size=1, max_size=256)
LOOKS = st.lists(
    st.tuples(st.integers(0, 10**6), st.dictionaries(PATH, st.tuples(COUNT, COUNT, COUNT), max_size=12)), max_size=8
)


@settings(deadline=None)
@given(LOOKS)
def test_whatever_counters_say_nothing_breaks(looks: list[tuple[int, dict[str, tuple[int, int, int]]]]) -> None:
    """Counts that cannot be are refused, all others fit into a status and come back exactly."""
    progress = RULE.begin()
    for compared, paths in looks:
        possible = all(sum(counts) <= compared for counts in paths.values())
        try:
            look = Look(compared, paths)
        except ValueError:
            assert not possible
            continue
        text = fitting(RULE, RULE.fold(progress, look))
        assert len(text) <= MOST_TEXT
        progress = load(RULE, text)
        assert dump(RULE, progress) == text
        assert RULE.judge(progress).message
        assert -1e9 < RULE.evidence(progress) < 1e9


@pytest.mark.parametrize("counts", [(-1, 0, 0), (0, -5, 9), (3, 3, 3), (0.5, 0, 0), (1, True, 0)])
def test_counts_that_cannot_be_are_refused(counts: Any) -> None:
    """Fewer than none, more than were compared, or parts of one: no record of ours has those."""
    with pytest.raises(ValueError, match="cannot"):
        Look(8, {PRICE: counts})


@pytest.mark.parametrize("compared", [-1, 8.5, 8.0, True, 10**16])
def test_requests_that_cannot_be_are_refused(compared: Any) -> None:
    """What is whole is counted, and nothing else."""
    with pytest.raises(ValueError, match="cannot have been compared"):
        Look(compared)


GOOD: dict[str, Any] = {"most": 0.001, "compared": 100, "free": 0.5, "paths": [[PRICE, 0.5, 40, 2, 1, 5, 1, 9]]}


def forged(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


def test_what_adds_up_is_believed() -> None:
    """So that a controller goes on with the evidence of the one before."""
    (one,) = load(RULE, forged()).watched
    assert one == Watched(PRICE, 0.5, 40, (2, 1), (5, 1, 9))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{" * 1000,
        forged(most=0.1),
        forged(compared=-1),
        forged(compared=1e300),
        forged(compared=True),
        forged(free=1.5),
        forged(free=0.6),
        '{"most": 0.001, "compared": 1, "free": NaN, "paths": []}',
        forged(paths=None),
        forged(paths=[[PRICE, 0.5, 40, 2, 1, 5, 1, 95]]),
        forged(paths=[[PRICE, 0.5, 40, 6, 1, 5, 1, 9]]),
        forged(paths=[[PRICE, 0.5, 99, 2, 1, 5, 1, 9]]),
        forged(paths=[[PRICE, 0.5, 101, 2, 1, 5, 1, 9]]),
        forged(paths=[[7, 0.5, 40, 2, 1, 5, 1, 9]]),
        forged(paths=[[PRICE, 0.1, 40, 2, 1, 5, 1, 9]] * 2),
        forged(paths=[[f"$.{number}", 0.01, 40, 2, 1, 5, 1, 9] for number in range(9)]),
        forged(more=1),
        forged() + " " * 2000,
    ],
)
def test_what_cannot_be_ours_is_refused(text: str) -> None:
    """More capital than there was, more differences than answers, another rule, or no such thing at all."""
    with pytest.raises(ValueError, match=r"\w"):
        load(RULE, text)


WHOLE = st.integers(0, 10**13)
PART = st.one_of(st.just(0.0), st.just(1e-300), st.floats(0, 1))


@settings(deadline=None, max_examples=300)
@given(WHOLE, PART, st.lists(st.tuples(st.sampled_from([PRICE, "$.a", "$.b"]), PART, *[WHOLE] * 6), max_size=3))
def test_no_record_makes_a_canary_pass_that_always_answers_otherwise(
    compared: int, free: float, paths: list[tuple[Any, ...]]
) -> None:
    """Whatever is on record and believed: it is failed, or nothing is said of it, and it is never called good."""
    paths = [(name, stake, *(count % (compared + 1) for count in counts)) for name, stake, *counts in paths]
    try:
        progress = load(RULE, forged(compared=compared, free=free, paths=[list(one) for one in paths]))
    except ValueError:
        return
    for _ in range(6):
        look = Look(200, {PRICE: (200, 0, 0)})
        progress = RULE.fold(progress, look)
        found = RULE.judge(progress, look)
        assert found.standing is not Standing.GOOD, (progress, found)


def test_paths_that_seem_to_win_keep_no_other_from_being_seen() -> None:
    """Eight that nobody has ever seen hold all places: what answers otherwise beside them is no pass."""
    winning = [[f"$.{number}", 0.01, 990, 0, 0, 4, 0, 0] for number in range(MOST_WATCHED)]
    progress = load(RULE, forged(compared=1000, free=0.5, paths=winning))
    for _ in range(10):
        look = Look(200, {PRICE: (200, 0, 0)})
        progress = RULE.fold(progress, look)
        found = RULE.judge(progress, look)
        assert found.standing is not Standing.GOOD
        assert f"`{PRICE}` differs" in found.message


@pytest.mark.parametrize("settings_", [(0.0, 0.1), (1.0, 0.1), (0.05, 1.0), (0.05, -0.1)])
def test_settings_that_can_be_none_are_refused(settings_: tuple[float, float]) -> None:
    """No chance of a false alarm at all is none that anybody can promise."""
    with pytest.raises(ValueError, match="not"):
        Alike(*settings_)
