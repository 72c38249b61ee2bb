"""A plan on paper: when its steps are, how soon comparisons find a bad canary, how often limits are measured, and doubts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_kit import Native
from rehearse_kit import COMPARE, LATENCY, LIMIT, checks_of, spec_of, steps

from canary.checks.judges.counters import Snapshot
from canary.checks.judges.threshold import Bounds
from canary.model.native import NativeHistogram
from canary.rehearse.detection import Found, detection
from canary.rehearse.doubts import warnings
from canary.rehearse.drawing import Traffic
from canary.rehearse.measured import Reading, Timings, timings_of, traffic_of
from canary.rehearse.plan import Plan, document, plan
from canary.rehearse.timeline import ACCEPT, Timeline, looks, samples, timeline

Json = dict[str, Any]

SETTLE = 2.0
APPROVAL: Json = {"approval": {}}
MATCH: Json = {"match": [{"headers": [{"name": "beta", "value": "yes"}]}], "hold": "5m"}
MIRROR: Json = {"mirror": {"percent": 20}, "hold": "5m"}


def rehearsed(declared: list[Json], *checks: Json, traffic: Traffic | None = None, **more: Any) -> Plan:
    spec = spec_of(declared, *checks, **more)
    there = {check["name"]: traffic for check in checks if traffic is not None}
    return plan(spec, checks_of(spec), there, 2.0, SETTLE)


def found_at(
    declared: list[Json], traffic: Traffic, worse: float = 2.0, check: Json = COMPARE, runs: int = 60
) -> tuple[Found, ...]:
    spec = spec_of(declared, check)
    (resolved,) = checks_of(spec)
    return detection(resolved, resolved.judge, timeline(spec, [resolved], SETTLE), traffic, worse, runs=runs)


def ends(times: Timeline) -> list[float]:
    return [step.ends for step in times.steps]


def test_steps_follow_each_other() -> None:
    """Each takes what gateways need and its hold; people come on top."""
    found = rehearsed([*steps(10, 50), {**APPROVAL, "hold": "1m"}, *steps(100)], LIMIT)
    assert ends(found.times) == [301, 602, 663, 964]
    assert (found.times.total, found.approvals) == (964, 1)


def test_a_hold_that_is_too_short_is_extended_by_what_checks_need() -> None:
    """A step is not left before each check that applies has said something: the counters have to settle first."""
    spec = spec_of(steps(10, 100, hold="1s"), {**COMPARE, "compare": {**COMPARE["compare"], "lag": "40s"}})
    times = timeline(spec, checks_of(spec), SETTLE)
    assert ends(times) == [ACCEPT + SETTLE + 40 + 1, ACCEPT + SETTLE + 40 + 1 + ACCEPT + 1]


def test_checks_that_are_not_waited_for_extend_nothing() -> None:
    """A dry run, and a step without any traffic."""
    assert ends(rehearsed(steps(10, hold="1s"), {**LIMIT, "dryRun": True}).times) == [2]
    assert ends(rehearsed([{**APPROVAL, "hold": "1s"}], LIMIT).times) == [2]


STEP = st.sampled_from([*steps(0, 1, 10, 50, 100), *steps(10, hold="1s"), APPROVAL, MATCH, MIRROR])


@given(st.lists(STEP, min_size=1, max_size=6), st.sampled_from([(), (COMPARE,), (LIMIT,), (COMPARE, LIMIT)]))
def test_time_goes_on(declared: list[Json], checks: tuple[Json, ...]) -> None:
    """No step begins before the one before has ended, and none is shorter than its hold."""
    times = rehearsed(declared, *checks).times
    assert times.steps[0].starts == 0
    for before, after in pairwise(times.steps):
        assert after.starts == before.ends
    for step in times.steps:
        assert step.starts < step.accepted <= step.settled
        assert step.ends >= step.accepted + step.hold


def test_looks_are_early_first() -> None:
    """After 1, 2, 4, 8 s and then on their pace, from when the counters are settled, and not while the canary warms up."""
    spec = spec_of(steps(10, 50), {**COMPARE, "initialDelay": "1m"})
    (check,) = checks_of(spec)
    times = timeline(spec, [check], SETTLE)
    first, second = times.steps
    at = looks(check.judge, check, second, times.first_traffic, second.ends)
    assert [round(one - second.accepted) for one in at[:7]] == [22, 23, 25, 29, 37, 47, 57]
    assert looks(check.judge, check, first, times.first_traffic, first.ends)[0] == 60
    quick = checks_of(spec_of(steps(10), {**COMPARE, "compare": {**COMPARE["compare"], "lag": "5s"}}))[0]
    at = looks(quick.judge, quick, first, times.first_traffic, first.ends)
    assert [later - sooner for sooner, later in pairwise(at[:6])] == [1, 2, 2.5, 2.5, 2.5]


STANDARD = Traffic(60, 0.01)
"""600 requests in the ten seconds between two looks, as in the report of the judges."""


def test_it_says_what_the_report_of_the_judges_says() -> None:
    """At 600 requests a look, 10 % of them the canary's, 1 % errors and alpha 5 %: median look 18 for 2 times, 6 for 3, 1 for 10."""
    declared = steps(10, hold="10m")
    twice, thrice, ten = (found_at(declared, STANDARD, worse, runs=200)[0] for worse in (2.0, 3.0, 10.0))
    assert twice.half is not None
    assert thrice.half is not None
    assert ten.half is not None
    assert 165 <= twice.half <= 235
    assert 65 <= thrice.half <= 100
    assert ten.half <= 37
    assert twice.within >= 0.96
    assert twice.long_enough
    assert twice.by_its_end == twice.within


def test_the_same_question_has_the_same_answer() -> None:
    """Chance has a seed."""
    assert found_at(steps(10, 50), STANDARD) == found_at(steps(10, 50), STANDARD)


def test_what_begins_late_is_found_later_than_what_begins_with_the_evidence() -> None:
    """Healthy looks count for the canary, so each step is judged by what was before it."""
    late = found_at([*steps(10, hold="15m"), *steps(11, hold="15m")], STANDARD)[1]
    fresh = found_at(steps(11, hold="15m"), STANDARD)[0]
    assert late.half is not None
    assert fresh.half is not None
    assert late.half > fresh.half


def test_a_larger_share_and_more_traffic_find_it_sooner() -> None:
    """What counts is how many of the canary's requests fail."""
    small, large, busy = (
        found_at(steps(share, hold="15m"), Traffic(rate, 0.01))[0].half for share, rate in ((5, 60), (50, 60), (5, 600))
    )
    assert small is not None
    assert large is not None
    assert busy is not None
    assert large < small
    assert busy < small


@pytest.mark.parametrize(
    ("declared", "traffic", "check", "words"),
    [
        (steps(100), STANDARD, COMPARE, "stable has no traffic at 100 %"),
        (steps(0), STANDARD, COMPARE, "the canary has no traffic"),
        ([MATCH], STANDARD, COMPARE, "no random sample"),
        (steps(10), Traffic(60, 0.0), COMPARE, "stable fails nothing"),
        (steps(10), Traffic(0, 0.01), COMPARE, "there are no requests"),
        (steps(1), Traffic(0.1, 0.0001), COMPARE, "longer than 7 days"),
        (steps(10), STANDARD, {**COMPARE, "compare": {**COMPARE["compare"], "tolerance": 3}}, "tolerance 3"),
    ],
)
def test_what_can_never_be_found_is_said_to_be(declared: list[Json], traffic: Traffic, check: Json, words: str) -> None:
    """With why, and nothing is simulated."""
    (found,) = found_at(declared, traffic, check=check)
    assert words in found.never
    assert (found.half, found.most, found.within, found.by_its_end) == (None, None, 0, 0)


def test_processes_are_judged_apart_and_what_one_misses_another_may_catch() -> None:
    """After a mirror evidence begins anew; at 100 % nobody is caught any more, and none escapes again."""
    mirror, ten, fifty, full = found_at([MIRROR, *steps(10, 50, 100)], Traffic(30, 0.01))
    assert 0 < mirror.by_its_end < 1
    assert mirror.by_its_end <= ten.by_its_end <= fifty.by_its_end == full.by_its_end
    assert "100 %" in full.never


@settings(deadline=None, max_examples=15)
@given(st.lists(STEP, min_size=1, max_size=3), st.floats(0, 1e6), st.floats(0, 1), st.floats(1, 20))
def test_any_plan_has_an_answer(declared: list[Json], rate: float, failing: float, worse: float) -> None:
    """Whatever the traffic is, shares are shares and half are found no later than nearly all."""
    for one in found_at(declared, Traffic(rate, failing), worse):
        assert 0 <= one.within <= 1
        assert 0 <= one.by_its_end <= 1
        assert one.most is None or (one.half is not None and 0 < one.half <= one.most)


def test_samples_are_those_of_the_hold_and_clean_those_whose_window_lies_in_it() -> None:
    """After the settle time, on the interval; a query without a window has no clean ones."""
    spec = spec_of(steps(10, 50, hold="2m"), LIMIT, {**LIMIT, "name": "gauge", "prometheus": {"query": "x"}})
    limit, gauge = checks_of(spec)
    times = timeline(spec, [limit, gauge], SETTLE)
    counted = samples(limit, times.steps[1], times.first_traffic)
    assert (counted.count, counted.clean) == (11, 6)
    assert samples(gauge, times.steps[1], times.first_traffic).clean is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (partial(rehearsed, steps(10), LIMIT, deadline="1m"), "after 1m every run fails"),
        (partial(rehearsed, steps(10)), "rises on time alone"),
        (partial(rehearsed, steps(10), {**LIMIT, "dryRun": True}), "rises on time alone"),
        (partial(rehearsed, steps(10, 100), COMPARE), "at step 2 nothing is compared"),
        (partial(rehearsed, steps(10), COMPARE, LIMIT), "not known without the traffic"),
        (partial(rehearsed, steps(10), COMPARE, LIMIT, traffic=Traffic(60, 0)), "never finds a canary"),
        (partial(rehearsed, steps(1, 50), COMPARE, LIMIT, traffic=Traffic(0.3, 0.001)), "never finds 2× at step 1"),  # noqa: RUF001
        (partial(rehearsed, steps(10, hold="30s"), COMPARE, LIMIT, traffic=STANDARD), "is over before"),
        (partial(rehearsed, steps(10, hold="30s"), COMPARE, LIMIT, traffic=STANDARD), "is promoted in"),
        (partial(rehearsed, steps(10, hold="20s"), {**LIMIT, "failureLimit": 3}), "fewer than the 4 samples in a row"),
        (partial(rehearsed, steps(10, hold="50s"), LIMIT), "also of the traffic before"),
    ],
)
def test_what_is_doubtful_is_said(found: Callable[[], Plan], words: str) -> None:
    """In a sentence of the check or of the step that it is about."""
    said = warnings(found())
    assert any(words in line for line in said), said


def test_a_step_that_waits_for_a_person_is_not_called_short() -> None:
    """Nor one without a hold where one sample is enough: it waits for that."""
    approved = [{"weight": 10, "approval": {}}, {"weight": 20}]
    assert warnings(rehearsed(approved, {**LIMIT, "prometheus": {"query": "x"}})) == ()


def test_a_plan_without_doubts_has_no_warnings() -> None:
    """Enough traffic, a limit where nothing is compared, and holds that are long enough."""
    assert warnings(rehearsed(steps(10, 50, 100), COMPARE, LIMIT, traffic=Traffic(600, 0.01))) == ()


def test_alpha_is_counted_once_for_each_check_and_shared_by_processes() -> None:
    """One of its own, and two that share what the spec has, of which a dry run fails nobody."""
    own = {**COMPARE, "name": "own", "compare": {**COMPARE["compare"], "alpha": "1%"}}
    dry = {**COMPARE, "name": "dry", "dryRun": True}
    told = document(rehearsed([MIRROR, *steps(10)], COMPARE, own, dry))["alpha"]
    assert told["spec"] == 0.05
    assert told["sum"] == pytest.approx(0.035)
    assert [(one["check"], one["alpha"], one["own"], one["evidenceNeeded"]) for one in told["checks"]] == [
        ("errors", 0.025, False, 80),
        ("own", 0.01, True, 200),
        ("dry", 0.025, False, 80),
    ]


A, B = frozenset({("instance", "a")}), frozenset({("instance", "b")})
NOTHING = Snapshot({}, {})


def test_traffic_survives_restarts_and_new_pods() -> None:
    """A counter that began anew counts from 0, a pod that appears counts from then on, and the canary's requests are of the pair."""
    readings = [
        Reading(0, Snapshot({A: 1000}, {}), NOTHING),
        Reading(10, Snapshot({A: 1100, B: 5000}, {A: 1}), Snapshot({A: 50}, {})),
        Reading(20, Snapshot({A: 50, B: 5050}, {A: 1, B: 2}), Snapshot({A: 90}, {A: 40})),
    ]
    assert traffic_of(readings) == Traffic((100 + 100 + 40) / 20, 3 / 200)


def test_without_a_request_of_stable_nothing_is_known() -> None:
    """A rate of 0 would be an answer, and this is none."""
    assert traffic_of([Reading(0, NOTHING, NOTHING), Reading(10, NOTHING, Snapshot({A: 5}, {}))]) is None


SLOW = Traffic(60, slow=(0.08, 0.003))


def test_slower_canaries_are_found_too() -> None:
    """By their odds: the more requests are slow, and the worse it gets, the sooner; what is tolerated is never found."""
    twice, thrice, little = (found_at(steps(10, hold="15m"), SLOW, worse, LATENCY)[0] for worse in (2.0, 3.0, 1.1))
    assert twice.half is not None
    assert thrice.half is not None
    assert thrice.half < twice.half
    assert twice.long_enough
    assert "tolerance 1.2" in little.never
    assert "always, or never" in found_at(steps(10), Traffic(60, slow=(0.0, 0.0)), check=LATENCY)[0].never


def test_errors_and_latencies_share_alpha_and_each_waits_for_its_own_counters() -> None:
    """A step lasts until all of them have looked, and the words are of what is compared."""
    spec = spec_of(steps(10, hold="1s"), COMPARE, LATENCY)
    found = plan(spec, checks_of(spec), {"latency": SLOW}, 2.0, SETTLE)
    assert found.alpha == pytest.approx(0.05)
    assert ends(found.times) == [ACCEPT + SETTLE + 20 + 1]
    assert [one["check"] for one in document(found)["alpha"]["checks"]] == ["errors", "latency"]
    said = warnings(found)
    assert any("that has 2× the odds to be slow from there on" in line for line in said)  # noqa: RUF001
    assert any("check errors: how long it needs is not known without the traffic" in line for line in said)
    slower = document(found)["comparisons"][1]["slower"]
    assert slower == [{"thanSeconds": 0.1, "part": 0.08}, {"thanSeconds": 0.3, "part": 0.003}]


def test_failures_of_the_last_measurements_are_not_in_a_row() -> None:
    """`failures: 3 of 5` needs three samples in a hold."""
    sliding = {**LIMIT, "failures": "3 of 5"}
    (line,) = (one for one in warnings(rehearsed(steps(10, hold="25s"), sliding)) if "fewer than" in one)
    assert "fewer than the 3 samples that have to fail" in line
    assert "failures 3 of 5" in line
    assert not any("fewer than" in one for one in warnings(rehearsed(steps(10, hold="40s"), sliding)))


def test_timings_are_those_of_the_pair_and_what_is_slow_of_stable() -> None:
    """By bound, in seconds, whatever the buckets count in; one that began anew counts from 0."""

    def buckets(*counts: float) -> dict[frozenset[tuple[str, str]], float]:
        bounds = ("100", "300", "+Inf")
        return {frozenset({("le", le), ("instance", "a")}): count for le, count in zip(bounds, counts, strict=True)}

    readings = [
        Timings(0, buckets(1000, 2000, 3000), {}),
        Timings(10, buckets(1090, 2098, 3100), buckets(5, 5, 5)),
        Timings(20, buckets(50, 90, 100), buckets(45, 45, 45)),
    ]
    found = timings_of(readings, (0.1, 0.3), 0.001)
    assert found is not None
    assert found.rate == (100 + 100 + 40) / 20
    assert found.slow == ((10 + 50) / 200, (2 + 10) / 200)
    assert timings_of([Timings(0, {}, {}), Timings(10, {}, {})], (0.1,), 1.0) is None


def test_timings_of_native_histograms_are_counted_at_one_edge() -> None:
    """Of both backends, as in a run; the canary's would not have been slow at its own next one."""

    def native(schema: int, *times: float) -> dict[frozenset[tuple[str, str]], NativeHistogram]:
        counting = Native(schema)
        counting.observe(*times)
        return {frozenset({("instance", "a")}): counting.read()}

    fast, ours = [0.2] * 90, [0.1] * 5
    readings = [
        Timings(0, native(6, *fast), native(3, *ours)),
        Timings(10, native(6, *fast, 0.2, 0.301, 0.31, 0.4), native(3, *ours, 0.31)),
    ]
    found = timings_of(readings, (0.3,), 1.0)
    assert found is not None
    assert (found.rate, found.slow) == (0.5, (0.25,))


def test_holds_that_may_end_early_are_said_to() -> None:
    """Times are then the latest ones."""
    early = {**COMPARE, "compare": {**COMPARE["compare"], "promoteEarly": True}}
    assert rehearsed(steps(10), early).early == ("errors",)
    assert rehearsed(steps(10), COMPARE).early == ()


@dataclass(frozen=True)
class Stranger(Bounds):
    """A judge that nobody here knows."""

    own: Fraction | None = None
    alpha: Fraction = Fraction(1, 50)
    processes: int = 2


def test_a_check_that_nobody_here_knows_has_its_part_of_alpha_all_the_same() -> None:
    """How soon it finds anything is not calculated; nothing is said of it that is not known."""
    spec = spec_of(steps(10, 100), COMPARE, LIMIT)
    errors, limit = checks_of(spec)
    strange = replace(limit, judge=Stranger())
    found = replace(plan(spec, [errors], {}, 2.0, SETTLE), others=(strange,))
    told = document(found)
    assert told["notCalculated"] == ["rate"]
    assert told["alpha"]["checks"][1]["evidenceNeeded"] == 100
    assert told["alpha"]["sum"] == pytest.approx(0.07)
    assert not any("no check" in line for line in warnings(found))


SAME: Json = {"name": "same", "interval": "10s", "mirrored": {}}
TO_COMPARER: Json = {"mirror": {"percent": 20, "comparer": {"service": "compare", "port": 80}}, "hold": "1s"}


def test_answers_are_waited_for_at_steps_that_mirror_to_a_comparer_alone() -> None:
    """Its results are read 5 s after the gateways have settled, and looked at a second later; no other step waits for them."""
    times = rehearsed([TO_COMPARER, {"weight": 10, "hold": "1s"}], SAME).times
    assert times.steps[0].ends == ACCEPT + SETTLE + 5 + 1
    assert times.steps[1].ends - times.steps[1].starts == ACCEPT + 1


def test_answers_that_nobody_compares_are_told() -> None:
    """As lint does: a check that reads a comparer, and no step that mirrors to one."""
    words = "check same: no step mirrors to a comparer, so there are never any results to read"
    assert any(line.startswith(words) for line in warnings(rehearsed(steps(10, 100), LIMIT, SAME)))
    assert not any(words in line for line in warnings(rehearsed([TO_COMPARER, *steps(10, 100)], LIMIT, SAME)))


def test_answers_are_nobody_who_looks_at_the_other_steps() -> None:
    """At 100 % neither a comparison nor they say anything."""
    found = rehearsed([TO_COMPARER, *steps(10, 100)], COMPARE, SAME)
    assert any(
        "at step 3 nothing is compared, and no check with a limit looks there" in line for line in warnings(found)
    )


def test_a_window_is_no_time_that_a_plan_knows() -> None:
    """It says what is waited for, and warns where every run would fail of its deadline meanwhile."""
    window = {"days": ["Mon", "Tue"], "from": "09:00", "to": "17:00", "timezone": "Europe/Berlin"}
    gated = [{"weight": 10, "hold": "5m", "gate": {"window": window}}, *steps(50)]
    found = rehearsed(gated, LIMIT, deadline="100h")
    assert (found.gates, [step.gate for step in found.times.steps]) == (1, ["Mon, Tue 09:00-17:00 Europe/Berlin", ""])
    assert document(found)["steps"][0]["waitsForWindow"] == "Mon, Tue 09:00-17:00 Europe/Berlin"
    (warning,) = [line for line in warnings(found) if "window" in line]
    assert warning.startswith("the window of step 1 is closed for up to 5d16h, and after 100h every run fails")
    assert not [line for line in warnings(rehearsed(gated, LIMIT, deadline="200h")) if "window" in line]


def test_another_system_is_no_time_that_a_plan_knows() -> None:
    """It says whom the run waits for; a deadline that is over before its timeout is doubtful."""
    gate = {"http": {"url": "https://deploys.example.com/may-i"}, "timeout": "8h"}
    gated = [{"weight": 10, "hold": "5m", "gate": gate}, *steps(50)]
    found = rehearsed(gated, LIMIT, deadline="1h")
    assert (found.gates, found.windows, found.times.steps[0].gate) == (1, 0, "deploys.example.com")
    said = document(found)["steps"][0]
    assert (said["waitsForGate"], said["waitsForWindow"]) == ("deploys.example.com", None)
    assert any("the gate of step 1 is given 8h, and after 1h every run fails" in line for line in warnings(found))


def test_a_job_is_waited_for_at_each_step() -> None:
    """As long as it may take."""
    found = rehearsed(steps(10, 50), {"name": "smoke", "job": {"image": "x", "timeout": "20m"}})
    first, second = found.times.steps
    assert first.ends >= first.settled + 1200
    assert second.ends >= second.settled + 1200
