from __future__ import annotations

import itertools
from fractions import Fraction
from math import comb, exp, inf, isclose, log, nan, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from work_kit import MOST, calls

from canary.checks.judges.compare import Compare, Look, Progress, factors, paired
from canary.checks.judges.dispersion import BEYOND, Looks, Pods
from canary.checks.judges.evidence import (
    AT_ONCE,
    EFFECTS,
    FIRST,
    LATER,
    MIDDLE,
    Bets,
    alternatives,
    reserve,
    shared,
    stake,
)
from canary.checks.judges.finding import Standing
from canary.checks.judges.memory import MOST_TEXT, dump, load
from canary.checks.judges.words import TIMES

COUNT = st.integers(0, 40)


@st.composite
def looks(draw: st.DrawFn, least: int = 0) -> Look:
    canary, stable = draw(st.integers(least, 60)), draw(st.integers(least, 400))
    return Look(canary, stable, draw(st.integers(0, min(canary, 20))), draw(st.integers(0, min(stable, 20))))


def folded(compare: Compare, seen: list[Look]) -> Progress:
    progress = compare.begin()
    for look in seen:
        progress = compare.fold(progress, look)
    return progress


def pooled(seen: list[Look]) -> list[Look]:
    """The looks, those of one side put together with what follows."""
    found, counts = [], (0.0,) * 4
    for look in seen:
        counts = tuple(one + other for one, other in zip(counts, look.counts, strict=True))
        if counts[0] and counts[1]:
            found.append(Look(*counts))
            counts = (0.0,) * 4
    return found


def by_hand(seen: list[Look], tolerance: Fraction) -> Fraction:
    """E as a sum over every start and every ratio of a product over looks, in exact fractions."""
    informed = [look for look in pooled(seen) if look.canary_failed + look.stable_failed]
    ratios, first, later = alternatives(float(tolerance))
    total = Fraction(0)
    for start in range(len(informed)):
        for number, ratio in enumerate(ratios):
            product = Fraction(stake(start)) * Fraction((first if start == 0 else later)[number])
            for look in informed[start:]:
                r, n, m = Fraction(ratio), Fraction(look.canary), Fraction(look.stable)
                theta, claimed = r * n / (r * n + m), tolerance * n / (tolerance * n + m)
                product *= (theta / claimed) ** int(look.canary_failed)
                product *= ((1 - theta) / (1 - claimed)) ** int(look.stable_failed)
            total += product
    return total + 1 - sum(Fraction(stake(start)) for start in range(len(informed)))


@given(st.lists(looks(), max_size=8), st.sampled_from([Fraction(1), Fraction(6, 5), Fraction(2)]))
def test_formula(seen, tolerance):
    """The recursion in logarithms is the mixture over all starts and ratios, multiplied out."""
    compare = Compare(0.05, float(tolerance))
    assert isclose(exp(folded(compare, seen).worse.evidence), float(by_hand(seen, tolerance)), rel_tol=1e-6)


@given(st.integers(1, 500))
def test_weights_of_starts(looks):
    """What was bet and what is kept back are all of the capital, at every look."""
    assert isclose(sum(stake(look) for look in range(looks)) + reserve(looks), 1)
    assert isclose(sum(FIRST), 1)
    assert isclose(sum(LATER), 1)
    assert 0 < AT_ONCE < 1 < MIDDLE


def expected(progress: Progress, compare: Compare, canary: int, stable: int, p: float, q: float, side: str) -> float:
    """E after a look at so many requests that fail with chances p and q, on average, by enumeration."""
    total = 0.0
    for k, j in itertools.product(range(canary + 1), range(stable + 1)):
        chance = comb(canary, k) * p**k * (1 - p) ** (canary - k) * comb(stable, j) * q**j * (1 - q) ** (stable - j)
        total += chance * exp(getattr(compare.fold(progress, Look(canary, stable, k, j)), side).evidence)
    return total


@given(
    st.lists(looks(), max_size=4),
    st.integers(1, 6),
    st.integers(1, 9),
    st.floats(0.001, 0.6),
    st.floats(0, 1),
    st.sampled_from([1.0, 1.3]),
)
def test_nobody_wins_against_a_true_claim(seen, canary, stable, rate, part, tolerance):
    """E is expected not to rise while the canary fails at most `tolerance` times as often, whatever happened before."""
    compare = Compare(0.05, tolerance)
    before = compare.moved(folded(compare, seen))
    chance = min(1.0, rate * tolerance) * part
    after = expected(before, compare, canary, stable, chance, rate, "worse")
    assert after <= exp(before.worse.evidence) * (1 + 1e-8)


@given(st.lists(looks(), max_size=4), st.integers(1, 6), st.integers(1, 9), st.floats(0.001, 0.4), st.floats(1, 2))
def test_nobody_proves_a_bad_canary_good(seen, canary, stable, rate, more):
    """The evidence that a canary is good is expected not to rise while it fails `harmless` times as often, or more."""
    compare = Compare(0.05, harmless=2.0)
    before = compare.moved(folded(compare, seen))
    after = expected(before, compare, canary, stable, min(1.0, 2 * rate * more), rate, "better")
    assert after <= exp(before.better.evidence) * (1 + 1e-8)


@given(st.integers(1, 5), st.floats(0.01, 0.9), st.floats(0, 1))
def test_copies_that_fail_like_their_originals_win_nothing(pairs, rate, together):
    """Of mirrored requests the claim is as safe: by counts of each side, and by pairs."""
    compare = Compare(0.05)
    cells = {"both": rate * together, "canary": rate * (1 - together), "stable": rate * (1 - together)}
    scale = max(1.0, sum(cells.values()))
    cells = {name: one / scale for name, one in cells.items()}
    cells["none"] = max(0.0, 1 - sum(cells.values()))
    unpaired = in_pairs = 0.0
    for drawn in itertools.product(cells, repeat=pairs):
        chance = 1.0
        for one in drawn:
            chance *= cells[one]
        both, canary, stable = (drawn.count(name) for name in ("both", "canary", "stable"))
        for look, which in (
            (Look(pairs, pairs, both + canary, both + stable), 0),
            (paired(pairs, both, canary, stable), 1),
        ):
            worth = chance * exp(compare.fold(compare.begin(), look).worse.evidence)
            unpaired, in_pairs = (unpaired + worth, in_pairs) if which == 0 else (unpaired, in_pairs + worth)
    assert unpaired <= 1 + 1e-9
    assert in_pairs <= 1 + 1e-9


@given(st.lists(looks(1), min_size=1, max_size=6), st.randoms())
def test_order_of_looks(seen, random):
    """With bets that all begin at once the order of looks is no matter."""
    shuffled = list(seen)
    random.shuffle(shuffled)
    ratios = EFFECTS

    def capital(these):
        return [sum(one) for one in zip(*(factors(look.counts, ratios, 1.0) for look in these), strict=True)]

    assert capital(seen) == pytest.approx(capital(shuffled), abs=1e-9)


@given(st.lists(looks(1), max_size=5), looks(1))
def test_more_failures_are_more_evidence(seen, look):
    """One more failure of the canary, all else equal, never makes the evidence smaller; one more of stable never larger."""
    compare = Compare(0.05)
    before = folded(compare, seen)
    base = compare.fold(before, look).worse.evidence
    if look.canary_failed < look.canary and look.stable_failed > 0:
        # The same number of failures, one of which was the canary's instead.
        other = Look(look.canary, look.stable, look.canary_failed + 1, look.stable_failed - 1)
        assert compare.fold(before, other).worse.evidence >= base - 1e-9
    if look.stable_failed < look.stable:
        other = Look(look.canary, look.stable, look.canary_failed, look.stable_failed + 1)
        assert compare.fold(before, other).worse.evidence <= base + 1e-9


@given(st.lists(looks(), max_size=12), st.sampled_from([None, 2.0, 3.5]), st.integers(0, 12))
def test_a_restart_changes_nothing(seen, harmless, at):
    """What a status holds is all that counts: read back at any look, every later one gives the same."""
    compare = Compare(0.05, harmless=harmless)
    whole = folded(compare, seen)
    progress = load(compare, dump(compare, folded(compare, seen[:at])))
    for look in seen[at:]:
        progress = compare.fold(progress, look)
    assert progress == whole
    assert compare.judge(progress) == compare.judge(whole)


def test_a_status_holds_at_most_a_kibibyte():
    """With as many pods as are remembered, counters of years and every bet, the text is at most 1 KiB."""
    compare = Compare(0.05, harmless=1.234567891)
    progress = compare.begin()
    for number in range(300):
        pods = {f"pod-{one}": (123456789.0 + number * 7 + one, 1234567.0 + one) for one in range(40)}
        progress = compare.fold(
            progress, Look(9.87654321e11 + number, 8.7654321e12, 1.23456789e9 + number, 2.3456789e10, pods)
        )
    assert len(dump(compare, progress)) <= MOST_TEXT
    assert load(compare, dump(compare, progress)) == progress


def forged(**changes):
    import json

    compare = Compare(0.05, harmless=2.0)
    pods = {"a": (60.0, 1.0), "b": (60.0, 2.0)}
    progress = folded(compare, [Look(10, 120, 1, 3, pods), Look(10, 120, 0, 3, pods)])
    found = json.loads(dump(compare, progress))
    found.update(changes)
    return compare, json.dumps(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"worse": [2, 9, 9, 9, 9, 9, 9]},
        {"better": [2, 90, 90, 90, 90, 90, 90]},
        {"worse": [2, nan, 0, 0, 0, 0, 0]},
        {"worse": [2, inf, 0, 0, 0, 0, 0]},
        {"worse": [10**8, 0, 0, 0, 0, 0, 0]},
        {"worse": [0]},
        {"worse": [2]},
        {"worse": {}},
        {"worse": None},
        {"counts": [10, 120, 11, 3]},
        {"counts": [-1, 120, 0, 3]},
        {"counts": ["1", 120, 0, 3]},
        {"counts": [True, 120, 0, 3]},
        {"counts": [1e300, 120, 0, 3]},
        {"waiting": [-1, 0, 0, 0, 0]},
        {"waiting": [1.5, 0, 0, 0, 0]},
        {"waiting": [1, 5, 5, 0, 0]},
        {"waiting": []},
        {"waiting": 7},
        {"looks": [1e9, 1, *[0] * 12]},
        {"looks": []},
        {"pods": [[1, 2, 3]] * 2},
        {"pods": [[1, 2, 1], [1, 2, 1]]},
        {"pods": [[number, 2, 1] for number in range(40)]},
        {"pods": [[1.5, 2]]},
        {"tolerance": 1.5},
        {"harmless": None},
        {"more": 1},
    ],
)
def test_what_a_status_cannot_hold_is_refused(changes):
    """A forged, broken or foreign text is refused with a reason: it is no evidence, and it breaks nothing."""
    compare, text = forged(**changes)
    with pytest.raises(ValueError, match=r"\w"):
        load(compare, text)


@given(
    st.one_of(st.text(max_size=50), st.none(), st.integers(), st.just("[" * 1000), st.just("{}"), st.just("x" * 2000))
)
def test_anything_may_stand_in_a_status(text):
    """Whatever it is, it is refused with the one error that is announced."""
    with pytest.raises(ValueError, match=r"\w"):
        load(Compare(0.05), text)


NUMBER = st.one_of(st.integers(0, 5), st.sampled_from([0.5, -1, 1e15, 1e16, 1e-300, 2**32, 99, True, None, "1", []]))


@given(st.data())
def test_what_is_believed_breaks_nothing(data):
    """Whatever numbers a forged status holds: it is refused, or every later look is folded and judged."""
    import json

    compare, text = forged()
    found = json.loads(text)
    for _ in range(data.draw(st.integers(1, 4))):
        key = data.draw(st.sampled_from(["worse", "better", "counts", "waiting", "looks", "pods", "canaryPods"]))
        if key == "canaryPods":
            found[key] = data.draw(NUMBER)
        elif key == "pods":
            found[key][data.draw(st.integers(0, 1))][data.draw(st.integers(0, 2))] = data.draw(NUMBER)
        else:
            found[key][data.draw(st.integers(0, len(found[key]) - 1))] = data.draw(NUMBER)
    try:
        progress = load(compare, json.dumps(found))
    except ValueError:
        return
    for look in (Look(10, 90, 2, 1, {"a": (45, 1), "b": (45, 0)}), Look(0, 5, 0, 0), Look(5, 5, 5, 0)):
        progress = compare.fold(progress, look)
        assert compare.judge(progress).message
        assert len(dump(compare, progress)) <= MOST_TEXT


def test_words():
    """People read how much worse, from what to what, and how far the evidence is."""
    compare = Compare(0.01)
    progress = folded(compare, [Look(500, 5000, 13, 55)])
    assert compare.judge(progress).message == f"errors 2.4{TIMES} stable (1.1 % → 2.6 %), evidence 11 of 100 needed"


def test_a_side_without_traffic_is_no_evidence():
    """Looks at which a side had no requests change no bet; where there was nothing else, nothing can be compared."""
    compare = Compare(0.05)
    progress = folded(compare, [Look(100, 0, 100, 0)] * 50)
    assert progress.worse.evidence == 0
    assert compare.judge(progress).standing is Standing.NOT_APPLICABLE
    assert compare.judge(compare.begin()).standing is Standing.INCONCLUSIVE


def test_looks_of_one_side_wait_for_the_other():
    """One request a look is enough: looks are put together until both sides had one, unless shares were changed meanwhile."""
    compare = Compare(0.05)
    seen = [Look(0, 1, 0, 1), Look(0, 1, 0, 0), Look(1, 0, 1, 0)]
    assert folded(compare, seen).worse == folded(compare, [Look(1, 2, 1, 1)]).worse
    progress = compare.fold(compare.moved(folded(compare, seen[:2])), seen[2])
    assert progress.worse == compare.begin().worse
    late = folded(compare, [Look(0, 1, 0, 1)] * 30 + [Look(1, 0, 1, 0), Look(0, 1, 0, 0)])
    assert (late.canary, late.stable, late.stable_failed) == (1, 1, 0)


def test_huge_counts():
    """Counts of years give a verdict, no overflow."""
    compare = Compare(0.05)
    assert compare.judge(folded(compare, [Look(1e12, 1e13, 3e11, 1e11)] * 3)).standing is Standing.FAIL
    assert compare.judge(folded(compare, [Look(1e12, 1e13, 1e10, 1e11)] * 3)).standing is Standing.INCONCLUSIVE


@pytest.mark.parametrize(
    "counts", [(10, 10, 11, 0), (-1, 1, 0, 0), (nan, 1, 0, 0), (inf, 1, 0, 0), (1, 1, nan, 0), (1e16, 1, 0, 0)]
)
def test_counts_that_cannot_be(counts):
    """They are refused before anything is bet on them."""
    with pytest.raises(ValueError, match="cannot be"):
        Look(*counts)


def test_too_few_requests():
    """Nothing is said of a canary that had too few requests, however many failed."""
    compare = Compare(0.05, least_requests=20)
    few = compare.judge(folded(compare, [Look(19, 1000, 19, 1)]))
    assert (few.standing, few.reason) == (Standing.INCONCLUSIVE, "TooFewRequests")
    assert compare.judge(folded(compare, [Look(20, 1000, 19, 1)])).standing is Standing.FAIL


def test_good_enough():
    """A canary that fails as often as stable is proved to fail less than twice as often, and one that fails twice is not."""
    compare = Compare(0.05, harmless=2.0)
    assert compare.judge(folded(compare, [Look(600, 600, 6, 6), Look(600, 600, 5, 7)] * 10)).standing is Standing.GOOD
    assert (
        compare.judge(folded(compare, [Look(600, 600, 12, 6), Look(600, 600, 11, 7)] * 10)).standing
        is not Standing.GOOD
    )


def test_pods_that_differ():
    """Where stable's own pods differ as much as the canary does, that it differs says nothing of its version."""
    compare = Compare(0.05)
    unlike = {"a": (100.0, 1.0), "b": (100.0, 9.0), "c": (100.0, 2.0)}
    alike = {"a": (100.0, 4.0), "b": (100.0, 4.0), "c": (100.0, 4.0)}
    # Seven more or less of twelve each time, so that nothing but the pods is odd.
    seen = [Look(100, 300, failed, 12, unlike) for failed in (8, 9, 8, 7) * 3]
    found = compare.judge(folded(compare, seen))
    assert (found.standing, found.reason) == (Standing.INCONCLUSIVE, "Overdispersed")
    assert "pods differ" in found.message
    seen = [Look(100, 300, look.canary_failed, 12, alike) for look in seen]
    assert compare.judge(folded(compare, seen)).standing is Standing.FAIL


def test_each_failure_counted_three_times():
    """Counts that are all multiples of three are attempts: Inconclusive until one is not."""
    compare = Compare(0.05)
    seen = [Look(60, 540, 3, 6), Look(60, 540, 3, 3), Look(60, 540, 3, 3)]
    found = compare.judge(folded(compare, seen))
    assert (found.standing, found.reason) == (Standing.INCONCLUSIVE, "Overdispersed")
    assert "multiple of 3" in found.message
    assert compare.judge(folded(compare, [*seen, Look(60, 540, 4, 5)])).standing is Standing.FAIL


def test_all_of_the_same_number_fail():
    """A canary that fails every request of a steady load is no proxy that tries again: it fails."""
    compare = Compare(0.05)
    assert compare.judge(folded(compare, [Look(60, 540, 60, 0)] * 3)).standing is Standing.FAIL


def test_bursts_of_the_canary_alone():
    """A canary that has all its failures in a few looks is not failed on the evidence that single failures would give."""
    compare = Compare(0.05)
    seen = [Look(100, 900, 11 if number % 8 == 0 else 0, 9 + number % 2) for number in range(24)]
    alike = [Look(100, 900, 2 + number % 2, 9 + number % 2) for number in range(24)]
    bursts, steady = folded(compare, seen), folded(compare, alike)
    assert bursts.looks.dispersion(100, 900, 9.5 * 24) > 2
    assert steady.looks.dispersion(100, 900, 9.5 * 24) < 1.2
    assert compare.judge(steady).standing is Standing.FAIL
    assert compare.judge(bursts).reason in {"Overdispersed", "NotProved"}


def test_stable_that_varies_by_itself():
    """Where stable's own failures come in clusters, those of the canary may as well: weak evidence stays Inconclusive, strong fails."""
    compare = Compare(0.05)
    even = [Look(60, 540, 2, 5 + number % 2) for number in range(8)]
    clusters = [Look(60, 540, 2, 11 if number % 4 < 2 else 0) for number in range(8)]
    assert compare.judge(folded(compare, even)).standing is Standing.FAIL
    progress = folded(compare, clusters)
    assert compare.judge(progress).reason == "Overdispersed"
    # The canary's part of the failures alone would give 3.2.
    assert progress.looks.dispersion(progress.canary, progress.stable, progress.stable_failed) > 5
    worse = [Look(60, 540, 20, look.stable_failed) for look in clusters]
    assert compare.judge(folded(compare, worse)).standing is Standing.FAIL


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20)), min_size=2, max_size=12))
def test_index_of_dispersion(counts):
    """What is kept of stable's looks gives Fisher's index, and it is told only where chance does not explain it."""
    looks, failed = Looks(), sum(k for _, k in counts)
    for requests, k in counts:
        looks = looks.after((10, requests, 0, k))
    found = looks.own(sum(n for n, _ in counts), failed)
    if failed == 0:
        assert found is None
        return
    rate = failed / sum(n for n, _ in counts)
    index = sum((k - n * rate) ** 2 / (n * rate) for n, k in counts) / (len(counts) - 1)
    edge = 1 + BEYOND * sqrt(2 / (len(counts) - 1))
    if found is None:
        assert index <= edge * 1.001
    else:
        assert found == pytest.approx(index, rel=1e-6)
        assert index >= edge * 0.999


@pytest.mark.parametrize(
    ("looks", "times", "standing"),
    [
        (1, 10, Standing.FAIL),  # rates that wander do not get so far in one look
        (1, 5, Standing.INCONCLUSIVE),
        (1, 3, Standing.INCONCLUSIVE),
        (3, 5, Standing.FAIL),  # nor in three, on the same side in each
        (3, 2, Standing.INCONCLUSIVE),
    ],
)
def test_what_wandering_explains(looks, times, standing):
    """Of many failures in few looks a large ratio is proof, and a small one may be what the rates of both do by themselves."""
    compare = Compare(0.05)
    found = compare.judge(folded(compare, [Look(1500, 1500, 15 * times, 15)] * looks))
    assert found.standing is standing
    assert (found.reason == "Overdispersed") is (standing is Standing.INCONCLUSIVE)


@given(
    st.lists(
        st.tuples(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 200), st.integers(0, 200)), min_size=1
    ),
    st.floats(1, 20),
    st.floats(1, 20),
)
def test_a_larger_ratio_is_never_doubted_more(counts, one, other):
    """What is assumed of rates that wander only ever falls away; what was seen of them does not."""
    looks, canary, stable, failed = Looks(), 0, 0, 0
    for ours, theirs, bad, stable_bad in counts:
        looks = looks.after((ours, theirs, min(ours, bad), min(theirs, stable_bad)))
        canary, stable, failed = canary + ours, stable + theirs, failed + min(theirs, stable_bad)
    low, high = (looks.dispersion(canary, stable, failed, ratio=ratio) for ratio in sorted((one, other)))
    assert 1 <= high <= low == pytest.approx(max(low, looks.dispersion(canary, stable, failed, wander=0.0)))


def test_a_ratio_beyond_wandering_does_not_excuse_clusters():
    """What stable's own failures were seen to do counts for any ratio."""
    seen = Looks()
    for number in range(20):
        seen = seen.after((3000, 3000, 300, 60 if number % 4 < 2 else 0))
    assert seen.dispersion(60000, 60000, 600, ratio=50.0) > 5


def test_bursts_that_hit_both_are_no_doubt():
    """Stable varies in bursts of both versions too, but the canary's part of the failures does not: soon that is not held against it."""
    compare = Compare(0.05)
    seen = [Look(60, 540, 11 * times, 50 * times) for times in (1, 1, 1, 4) * 5]
    progress = folded(compare, seen)
    own = progress.looks.own(progress.stable, progress.stable_failed)
    assert own is not None
    assert own > 20
    assert progress.looks.dispersion(progress.canary, progress.stable, progress.stable_failed) < own / 4
    assert compare.judge(progress).standing is Standing.FAIL


def test_a_regression_that_begins_is_no_dispersion():
    """One step from good to ten times as bad is one odd pair of looks, and fails."""
    compare = Compare(0.05)
    seen = [Look(60, 540, number % 2, 5) for number in range(20)] + [
        Look(60, 540, 6 + number % 2, 5) for number in range(3)
    ]
    assert compare.judge(folded(compare, seen)).standing is Standing.FAIL


def test_spread_of_equal_pods_is_none():
    """Pods that differ as chance lets them have no spread; one pod tells nothing."""
    assert Pods().after({"a": (100, 3), "b": (100, 5)}).spread[0] == 0
    assert Pods().after({"a": (100, 50)}).explains(1, 0.05) == 1
    assert Pods().after({"a": (1000, 10), "b": (1000, 200)}).explains(1, 0.05) > 2


def test_alpha_is_shared():
    """A declared alpha is the check's own; the others share that of the Rollout."""
    assert shared([None, Fraction(1, 100), None], Fraction(5, 100)) == (
        Fraction(5, 200),
        Fraction(1, 100),
        Fraction(5, 200),
    )
    assert shared([], Fraction(5, 100)) == ()
    with pytest.raises(ValueError, match="alpha"):
        shared([Fraction(2)], Fraction(5, 100))


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0},
        {"alpha": 1},
        {"alpha": nan},
        {"tolerance": 0.9},
        {"tolerance": 10},
        {"tolerance": nan},
        {"harmless": 1},
        {"harmless": inf},
    ],
)
def test_settings_that_can_be_no_such_thing(settings):
    """Each is refused when the check is resolved, not when it is measured."""
    with pytest.raises(ValueError, match=r"\w"):
        Compare(**{"alpha": 0.05, **settings})


@pytest.mark.parametrize("times", [1, 10**8])
def test_a_look_takes_no_time(times):
    """Folding and judging a look, with both claims and ten pods, and writing and reading what is known, is as little work at the
    four hundredth look as at the hundredth, and with however many requests. What it takes in time is in the report.
    """
    compare = Compare(0.05, harmless=2.0)
    pods = {f"pod-{number}": (54.0 * times, 1.0 * times) for number in range(10)}
    texts = [dump(compare, compare.begin())]

    def one() -> None:
        progress = compare.fold(load(compare, texts[-1]), Look(60 * times, 540 * times, 2 * times, 10 * times, pods))
        compare.judge(progress)
        texts.append(dump(compare, progress))

    work = [calls(one) for _ in range(400)]
    assert max(work[-100:]) <= 1.05 * max(work[100:200])
    assert max(work) <= MOST
    assert max(len(text) for text in texts) <= MOST_TEXT


def test_bets_start_empty():
    """Before the first look E is 1."""
    assert Bets.begin(6).evidence == 0
    assert Looks().dispersion(60, 540, 5) == 1
    assert Looks().multiple == 1


def test_nothing_here_is_as_wrong_as_many_looks():
    """The chance to ever reach 1/alpha over 12 looks at a few requests, enumerated: at most alpha."""
    compare = Compare(0.2, least_requests=1)
    states: dict[Progress, float] = {compare.begin(): 1.0}
    chances = [(Look(1, 2, k, j), 0.3 ** (k + j) * 0.7 ** (3 - k - j) * comb(2, j)) for k in (0, 1) for j in (0, 1, 2)]
    lost = 0.0
    for _ in range(6):
        after: dict[tuple[object, ...], tuple[Progress, float]] = {}
        for progress, chance in states.items():
            for look, part in chances:
                found = compare.fold(progress, look)
                if found.worse.evidence >= -log(0.2):
                    lost += chance * part
                    continue
                key = (found.worse,)
                after[key] = (found, after.get(key, (found, 0.0))[1] + chance * part)
        states = dict(after.values())
    assert 0 < lost <= 0.2


@pytest.mark.parametrize("tiny", [5e-324, 1e-320, 1e-200])
def test_numbers_that_no_arithmetic_survives(tiny):
    """A status that holds one is refused, and a look that counts one has counted nothing: neither breaks a decision."""
    import json

    judge = Compare(0.05)
    pods = {"a": (300.0, 3.0), "b": (240.0, 1.0)}
    progress = judge.fold(judge.begin(), Look(60, 540, 40, 4, pods))
    found = json.loads(dump(judge, progress))
    for forged in (
        {"pods": [[1, tiny, 0], [2, tiny, tiny]]},
        {"looks": [0, 0, 95, 125, 48, tiny, 0, 0, 0, 0, 1, 2, 19, 1]},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            load(judge, json.dumps({**found, **forged}))
    odd = judge.begin()
    for _ in range(3):
        odd = judge.fold(odd, Look(60, 540, 40, tiny, {"a": (tiny, tiny), "b": (tiny, 0.0)}))
    assert judge.judge(odd).standing is Standing.FAIL
    assert load(judge, dump(judge, odd)) == odd
