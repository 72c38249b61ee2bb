"""`decide` answers whatever it is given, and what it answers can be written."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import START, begun, spec_of

from canary.checks.judges.compare import Compare, Look
from canary.checks.judges.latency import Histogram, Latency
from canary.checks.judges.memory import dump, dump_latency
from canary.checks.resolve import resolve
from canary.checks.traffic import resolve_traffic
from canary.decide.actions import WriteRoute
from canary.decide.engine import decide
from canary.decide.facts import CopyView, Facts, Problem, Recorded, RouteView, RuleView, Untidied, WorkloadView
from canary.model.base import ApiModel
from canary.model.bounded import MAX_RUNS
from canary.model.check_status import CheckStatus, EvidenceStatus, VerdictKind
from canary.model.measurement import Answered, Compared, Counts, Malformed, NoData, Queued, Sample, Timed, Unreachable
from canary.model.requests import Request, Verb
from canary.model.rollout import RouteKind
from canary.model.route_status import RouteStatus
from canary.model.run_status import CopyStatus, Outcome, PauseStatus, RunStatus, StepStatus
from canary.model.status import Phase, RequestOutcome, RequestStatus, RolloutStatus
from canary.model.workload_status import RevisionsStatus
from canary.routes.acceptance import Acceptance
from canary.routes.intent import Intent, Mode
from canary.routes.key import RouteKey
from canary.routes.pair import Weights
from canary.status.project import project
from canary.status.write import urgency

COUNTERS = {"requests": "n {{ backend.service }}", "failures": "f {{ backend.service }}"}
STATE = dump(RULE := Compare(0.05), RULE.fold(RULE.begin(), Look(60, 540, 6, 5)))
SLOW = dump_latency(
    SPEED := Latency(0.05, (0.1, 0.3), 1.5, 1),
    SPEED.fold(SPEED.begin(), Histogram(60, {0.1: 50, 0.3: 59}), Histogram(540, {0.1: 530, 0.3: 539})),
)
BUCKETS = {"prometheus": {"buckets": "b {{ backend.service }}"}, "slowerThan": ["100ms", "300ms"], "tolerance": 1.5}

SPECS = (
    spec_of(),
    spec_of(promotion="Await", onFailure="Pause", deadline="1h"),
    spec_of(promotion="Swap", paused=True, steps=[{"approval": {}}, {"weight": "0.0001%"}]),
    spec_of(workloads=None, promotion="Await", trigger="Manual", checks=None),
    spec_of(promotion="Swap", steps=[{"rules": {"x": 100}}, {"weight": 20}, {"weight": 50, "rules": {"x": 3}}]),
    spec_of(
        steps=[{"mirror": {"percent": 20}}, {"weight": 10}, {"weight": 100}],
        checks=[{"name": "errors", "compare": {"prometheus": COUNTERS, "lag": "0s", "minRequests": 1}}],
    ),
    spec_of(
        steps=[{"weight": 10, "hold": "1h"}, {"weight": 100}],
        checks=[{"name": "errors", "compare": {"prometheus": COUNTERS, "lag": "0s", "promoteEarly": True}}],
    ),
    spec_of(checks=[{"name": "errors", "initialDelay": "1s", "compare": {**BUCKETS, "lag": "0s", "minRequests": 1}}]),
    spec_of(
        checks=[{"name": "errors", "prometheus": {"query": "q"}, "threshold": {"max": "1%"}, "failures": "2 of 5"}]
    ),
    spec_of(
        steps=[{"mirror": {"percent": 20, "comparer": {"service": "x", "port": 80}}}, {"weight": 10}],
        checks=[{"name": "errors", "mirrored": {"minCompared": 1}}],
    ),
)

LAST = datetime(8999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
near = st.integers(-10_000, 10_000).map(lambda seconds: START + timedelta(seconds=seconds))
times = st.one_of(near, near, near, st.sampled_from((datetime(1970, 1, 1, tzinfo=UTC), LAST - timedelta(days=1), LAST)))
"""Of a record: whatever can be read there, to both ends."""
run_numbers = st.one_of(st.integers(1, 5), st.sampled_from((MAX_RUNS - 1, MAX_RUNS)))
weights = st.builds(
    Weights, *[st.one_of(st.none(), st.sampled_from((0, 1, 7, 100, 1_000_000)), st.integers(0, 1_000_000))] * 2
)
revisions = st.sampled_from(("a", "b", "c", ""))
KEYS = [RouteKey(kind, "team", name) for kind in (RouteKind.HTTP, RouteKind.TCP) for name in ("shop", "api")]
keys = st.sampled_from(("#0", "#1", "x"))
texts = st.one_of(st.text(max_size=30), st.sampled_from(("1/0", "-/-", "a/b", "1", "", "-1/3", "1/2/3")))


def built(model: type[ApiModel], **fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """A model by its Python names."""
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


def optional(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.none(), strategy)


counts = st.one_of(st.integers(0, 10_000).map(float), st.floats())
looks = st.builds(
    Compared,
    at=times,
    since=times,
    canary=counts,
    stable=counts,
    canary_failed=counts,
    stable_failed=counts,
    pods=st.dictionaries(st.text(max_size=3), st.tuples(counts, counts), max_size=2),
    canary_pods=st.integers(1, 3),
)
bounded = st.dictionaries(st.sampled_from((0.1, 0.3, 1.0)), counts, max_size=3)
times_taken = st.builds(
    Timed, at=times, since=times, canary=counts, stable=counts, canary_within=bounded, stable_within=bounded
)
numbers = st.one_of(st.integers(-5, 500), st.just(10**18))
answers = st.builds(
    Answered,
    at=times,
    since=times,
    compared=numbers,
    paths=st.dictionaries(st.text(max_size=3), st.tuples(numbers, numbers, numbers), max_size=3),
    unread=st.text(max_size=3),
)
evidence = built(
    EvidenceStatus,
    alpha=st.sampled_from((0, 0.05, 1)),
    process=st.text(max_size=9),
    about=st.text(max_size=9),
    since=optional(times),
    looks=st.integers(0, 9),
    state=st.sampled_from(("", "{}", STATE, STATE.replace("6", "7"), STATE[:-9], SLOW, SLOW.replace("5", "6"))),
)

intents = st.builds(
    Intent,
    rollout=st.just("shop"),
    uid=st.sampled_from(("uid-1", "other")),
    run=run_numbers,
    mode=st.sampled_from(Mode),
    step=st.integers(-1, 40),
    weights=st.dictionaries(keys, weights, max_size=2),
    baseline=st.dictionaries(keys, weights, max_size=2),
)
routes = st.builds(
    RouteView,
    key=st.sampled_from(KEYS),
    exists=st.booleans(),
    generation=st.integers(0, 9),
    rules=st.lists(st.builds(RuleView, key=keys, weights=weights, others=st.integers(0, 9)), max_size=2).map(tuple),
    intent=optional(intents),
    moved=st.dictionaries(keys, keys, max_size=2),
    acceptance=st.builds(Acceptance, accepted=st.booleans(), message=st.text(max_size=9), refused=st.booleans()),
    problem=st.sampled_from(("", "", "the pair is gone")),
    declared=st.booleans(),
)
workloads = st.builds(
    WorkloadView,
    name=st.sampled_from(("stable", "canary")),
    exists=st.booleans(),
    revision=revisions,
    ready=st.integers(0, 2),
    rolled_out=st.booleans(),
    copied=st.one_of(
        st.none(),
        st.builds(
            CopyView,
            uid=st.sampled_from(("", "uid-1", "u")),
            run=st.integers(0, 3),
            copied=revisions,
            replaced=revisions,
        ),
    ),
    unknown=st.sampled_from(("", "", "there is no ConfigMap")),
    bare=st.sampled_from(("", "a", "b")),
    stuck=st.sampled_from(("", "delete them")),
)
floats = st.floats(allow_nan=True, allow_infinity=True)
measurements = st.one_of(
    st.builds(Sample, value=floats, at=times, values=st.lists(floats, max_size=2).map(tuple)),
    st.builds(NoData, at=times),
    st.builds(Unreachable, at=times, reason=st.just("Timeout"), message=st.text(max_size=2000)),
    st.builds(Malformed, at=times, reason=st.just("NotANumber"), message=st.text(max_size=9)),
    st.builds(Queued, at=times, waited=st.floats(0, 1e4), message=st.text(max_size=2000)),
)
readings = st.one_of(
    st.builds(Counts, canary=floats, stable=floats, at=times), measurements.filter(lambda m: not isinstance(m, Sample))
)
requests = st.builds(
    Request,
    verb=st.one_of(st.sampled_from([verb.value for verb in Verb]), st.text(max_size=64)),
    id=st.text(max_size=9),
    by=st.text(max_size=256),
    reason=st.text(max_size=512),
    raw=st.text(max_size=9),
)
statuses = built(
    RolloutStatus,
    phase=optional(st.sampled_from(Phase)),
    run=optional(
        built(
            RunStatus,
            number=run_numbers,
            revision=revisions,
            plan=st.sampled_from([spec.plan_hash() for spec in SPECS]),
            started_at=times,
            ended_at=optional(times),
            outcome=optional(st.sampled_from(Outcome)),
            full=st.booleans(),
            ignore_unknown=st.booleans(),
            unavailable_since=optional(times),
            outages=st.integers(0, 9),
            replaces=st.sampled_from(("", "a", "b")),
            copied=optional(
                built(
                    CopyStatus,
                    kind=st.just("Deployment"),
                    workload=st.sampled_from(("stable", "canary", "other")),
                    replaced=revisions,
                    kept=revisions,
                    lost=st.booleans(),
                )
            ),
            swap=st.booleans(),
        )
    ),
    step=optional(
        built(
            StepStatus,
            index=st.integers(0, 64),
            total=st.integers(0, 64),
            started_at=times,
            reached_at=optional(times),
            settled_at=optional(times),
            hold_until=optional(times),
            unaccepted_since=optional(times),
            approved=st.booleans(),
        )
    ),
    checks=st.lists(
        built(
            CheckStatus,
            name=st.sampled_from(("errors", "gone")),
            verdict=st.sampled_from(VerdictKind),
            reason=st.sampled_from(("x", "NotApplicable")),
            failures=st.integers(0, 3),
            recent=st.text(".xy", max_size=100),
            failure_window=st.integers(0, 100),
            measured_at=optional(times),
            unknown_since=optional(times),
            evidence=optional(evidence),
        ),
        max_size=2,
    ).map(tuple),
    routes=st.lists(
        built(
            RouteStatus,
            kind=st.sampled_from((RouteKind.HTTP, RouteKind.TCP)),
            name=st.sampled_from(("shop", "api", "old")),
            owned=st.booleans(),
            share=optional(st.sampled_from((0, 0.5, 33.3333, 100))),
            overridden=st.integers(0, 9),
            shares=st.dictionaries(keys, st.sampled_from((0, 7.25, 100)), max_size=2),
            baseline=st.dictionaries(keys, texts, max_size=2),
        ),
        max_size=3,
    ).map(tuple),
    revisions=built(RevisionsStatus, settled=optional(revisions)),
    swapped=st.booleans(),
    paused=optional(
        built(
            PauseStatus,
            reason=st.sampled_from(("Contested", "CheckFailed", "AwaitingApproval", "StableChanged", "x")),
            since=times,
        )
    ),
    overrides=st.lists(times, max_size=4).map(tuple),
    last_request=optional(
        built(
            RequestStatus,
            id=st.text(max_size=9),
            verb=st.text(max_size=9),
            at=times,
            outcome=st.sampled_from(RequestOutcome),
            message=st.text(max_size=9),
        )
    ),
)


@st.composite
def facts(draw: st.DrawFn) -> tuple[object, RolloutStatus, Facts]:
    spec = draw(st.sampled_from(SPECS))
    checks = tuple(resolve(check, None, "spec.checks") for check in spec.checks)
    return (
        spec,
        draw(statuses),
        Facts(
            now=draw(near),
            name="shop",
            uid="uid-1",
            generation=draw(st.integers(0, 9)),
            deleting=draw(st.booleans()),
            finalizer=draw(st.booleans()),
            routes=tuple(draw(st.lists(routes, max_size=3))),
            stable=draw(optional(workloads)),
            canary=draw(optional(workloads)),
            checks=checks,
            counters=resolve_traffic(spec.traffic, None) if spec.traffic is not None else None,
            measurements=tuple(
                draw(
                    st.lists(
                        st.tuples(
                            st.sampled_from(("errors", "gone")), st.one_of(measurements, looks, times_taken, answers)
                        ),
                        max_size=3,
                    )
                )
            ),
            traffic=draw(optional(readings)),
            request=draw(optional(requests)),
            problems=tuple(draw(st.lists(st.builds(Problem, field=st.just("spec"), message=st.text()), max_size=2))),
            recorded=draw(
                st.builds(
                    Recorded,
                    run=st.integers(0, 5),
                    outcome=optional(st.sampled_from(Outcome)),
                    request=st.text(),
                    step=st.integers(0, 5),
                    share=st.sampled_from((0, 10, 50)),
                )
            ),
            turn=draw(st.sampled_from(("", "ours"))),
            fresh=draw(st.booleans()),
            since=draw(optional(near)),
            blind=draw(st.booleans()),
            senseless=tuple(draw(st.lists(st.sampled_from(("run", "step")), max_size=1))),
            unwritten=draw(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=9), max_size=2)),
            uncopied=draw(st.text(max_size=9)),
            unrestored=draw(st.dictionaries(st.integers(1, 3), st.text(max_size=9), max_size=2)),
            untidied=draw(st.none() | st.builds(Untidied, times, st.text(max_size=9))),
            copied_to=draw(optional(workloads)),
            good=draw(st.dictionaries(st.sampled_from(("errors", "gone")), times, max_size=1)),
        ),
    )


@settings(max_examples=400)
@given(facts())
def test_it_always_decides_and_the_status_can_be_written(world: tuple[object, RolloutStatus, Facts]) -> None:
    """No spec, status and facts make it raise; the status it leads to is JSON that loads as it was written."""
    spec, status, seen = world
    decision = decide(spec, status, seen)
    after = project(spec, decision, seen)
    # Actions are performed by the decision before its status is made.
    assert (after.run, after.paused, after.phase) == (
        decision.status.run,
        decision.status.paused,
        decision.status.phase,
    )
    document = json.loads(json.dumps(after.dump(), allow_nan=False))
    assert RolloutStatus.load(document) == RolloutStatus.load(after.dump())
    for known in (status, after, RolloutStatus.load(document)):
        shared = after.sharing(known)
        assert (shared, shared.dump()) == (after, after.dump()), "made of the parts of another one it is the same"
    urgency(status, after, 0)
    assert decide(spec, status, seen) == decision


@settings(max_examples=200)
@given(facts())
def test_a_rollback_never_gives_and_never_waits(world: tuple[object, RolloutStatus, Facts]) -> None:
    """Once the outcome is RolledBack, every writable route with weight on the canary is written in this very decision."""
    spec, status, seen = world
    decision = decide(spec, status, seen)
    run = decision.status.run
    if run is None or run.outcome is not Outcome.ROLLED_BACK or not decision.status.active or seen.deleting:
        return
    written = {action.key for action in decision.actions if isinstance(action, WriteRoute)}
    for route in seen.routes:
        if route.exists and not route.problem and route.share > 0:
            assert route.key in written
    for action in decision.actions:
        if isinstance(action, WriteRoute):
            assert all(weights.share == 0 for weights in action.plan.weights.values())


@pytest.mark.parametrize("phase", ["Progressing", "Paused", "Promoting", "RollingBack"])
@pytest.mark.parametrize("lost", ["run", "step"])
def test_a_status_that_somebody_broke_is_no_memory(phase: str, lost: str) -> None:
    """A phase of a run without the run: the routes are put back to stable, and life goes on."""
    world = begun()
    assert world.share() == 10
    world.crash()
    world.recorded["phase"] = phase
    world.recorded.pop(lost)
    world.run()
    world.stable.rolled_out = True
    assert not world.annotated() or world.phase is Phase.PROGRESSING
    assert world.share() in {0, 10}
    assert world.phase in {Phase.IDLE, Phase.PROGRESSING}


def test_nonsense_in_the_remembered_weights_is_not_remembered() -> None:
    """`baseline: {"#0": "x"}` in a status that somebody edited."""
    world = begun()
    world.crash()
    world.recorded["routes"][0]["baseline"] = {"#0": "nonsense"}
    world.promises.before_us.clear()  # nobody can know any more what was there
    world.strip()
    world.run()
    world.ask("abort")
    world.run()
    assert (world.phase, world.share()) == (Phase.ROLLED_BACK, 0)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_value_that_is_no_number_stays_out_of_the_status(value: str) -> None:
    """NaN is Unknown(NotANumber), and JSON has no word for it."""
    world = begun()
    world.measure(value)
    world.run()
    (check,) = world.status.checks
    assert (check.verdict, check.reason, check.value) == (VerdictKind.UNKNOWN, "NotANumber", None)


@pytest.mark.parametrize("number", ["nan", "inf", "-1", "1e300"])
def test_what_was_counted_may_be_no_count(number: str) -> None:
    """Then nothing is counted, and it has a name."""
    world = begun(spec=spec_of(traffic={"prometheus": {"query": "{{ backend.service }}"}, "lag": "0s"}))
    world.counters = Counts(float(number), 1.0, world.now)
    world.run()
    assert world.status.split.observed is None
    assert world.memory is not None
    assert world.memory.traffic.reason == "NotACounter"
