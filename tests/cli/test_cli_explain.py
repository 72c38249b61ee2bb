"""Why a Rollout is where it is, in sentences."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import yaml
from cli_kit import NOW, PHASES, ago, awaiting_approval, checks, ended, rollout, routes, status
from picture_kit import text

from canary.cli.follow import verdict
from canary.cli.render_explain import render_explanation
from canary.model.check_status import VerdictKind
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.rollout import RouteKind
from canary.model.route_status import SplitStatus, TrafficStatus
from canary.model.run_status import Outcome, StepStatus
from canary.model.status import Phase, RolloutStatus
from canary.routes.key import RouteKey
from canary.view.explanation import explain
from canary.view.rollout import view


def route(stable: int, canary: int, **others: int) -> dict[str, Any]:
    refs = [
        {"name": "shop-stable", "port": 8080, "weight": stable},
        {"name": "shop-canary", "port": 8080, "weight": canary},
        *({"name": name, "port": 80, "weight": weight} for name, weight in others.items()),
    ]
    return {"metadata": {"name": "shop", "namespace": "team-shop"}, "spec": {"rules": [{"backendRefs": refs}]}}


def told(found: RolloutStatus | None, routes: Any = None, **metadata: Any) -> str:
    named = routes or {"shop": route(50, 50)}
    by_key = {RouteKey(RouteKind.HTTP, "team-shop", name): document for name, document in named.items()}
    sections = explain(view(rollout(found, **metadata)), by_key, NOW)
    return "\n".join(line for section in sections for line in (section.title, *section.paragraphs))


@pytest.mark.parametrize(
    ("phase", "sentences"),
    [
        (
            Phase.IDLE,
            [
                "No run is under way",
                "A run starts as soon as Deployment shop-canary gets a revision other than 6c9f0d2b1a, or with `canary start",
            ],
        ),
        (
            Phase.PROGRESSING,
            [
                "Step 3 of 5 (50 %), since 10:37:02 UTC.",
                "Its hold lasts until 10:42:10 UTC, 2m08s from now.",
                "error-rate: Pass (WithinThreshold); the value is 0.001234, held against <= 0.01.",
                "Next is step 4 of 5 (approval), when the hold is over at 10:42:10 UTC and every check",
                "the run is rolled back: all traffic returns to stable.",
            ],
        ),
        (
            Phase.PAUSED,
            [
                "LoweredByHand, since 10:38:57 UTC: bob set shop to 10 %, below 50 %",
                "`canary resume shop -n team-shop` enters the step again",
                "Next is step 4 of 5 (approval), when somebody resumes the run",
            ],
        ),
        (Phase.PROMOTING, ["Promotion Copy: the pod spec of the canary workload is copied to the stable one"]),
        (
            Phase.ROLLING_BACK,
            [
                "It is bound to end as RolledBack (CheckFailed): error-rate: 0.12 > 0.01.",
                "0.12 is above 0.01.",
            ],
        ),
        (
            Phase.ROLLED_BACK,
            [
                "It ended as RolledBack (CheckFailed).",  # the controller's words have said the rest
                "3 failed measurements in a row; 2 are tolerated.",
                "`canary retry shop -n team-shop` tries it again.",
            ],
        ),
        (Phase.SUCCEEDED, ["The last run succeeded.", "A run starts as soon as"]),
        (
            Phase.INVALID,
            ["so nothing runs.", "add the canary as a backendRef with weight 0", "Mend what the message names"],
        ),
    ],
)
def test_every_phase_is_explained(phase: Phase, sentences: list[str]) -> None:
    """What it means, why it came to that, and what comes next."""
    text = told(PHASES[phase])
    for sentence in sentences:
        assert sentence in text


def test_weights_are_said_to_be_relative_to_the_pair() -> None:
    """A third backend keeps its weight, so the canary's share of the whole rule is smaller than the step says."""
    text = told(status(), {"shop": route(50, 50, legacy=300)})
    assert "a share is a share of what the pair shop-stable + shop-canary gets, not of the whole rule." in text
    assert "the canary gets 50 % of the pair." in text
    assert "(legacy 300), so of the whole rule the pair gets 25 % and the canary 12.5 %." in text


@pytest.mark.parametrize("kind", RouteKind)
def test_what_a_weight_divides_is_said_where_it_is_not_requests(kind: RouteKind) -> None:
    """Connections, on TLS, TCP and UDP; and of a route of one name and another kind nothing is said."""
    document = rollout(status())
    document["spec"]["routes"] = [{"kind": kind.value, "name": "shop"}]
    key = RouteKey(kind, "team-shop", "shop")
    other = RouteKey(next(other for other in RouteKind if other is not kind), "team-shop", "shop")
    sections = explain(view(document), {key: route(50, 50), other: route(7, 93)}, NOW)
    text = "\n".join(line for section in sections for line in section.paragraphs)
    assert f"{kind} shop, rule #0: shop-stable 50, shop-canary 50" in text
    assert "93" not in text.partition("Weights are relative")[2]
    by_connection = kind not in {RouteKind.HTTP, RouteKind.GRPC}
    assert (f"{kind} shop: a weight here means connections, not requests" in text) is by_connection
    assert ("all datagrams of one address" in text) is (kind is RouteKind.UDP)


def test_session_persistence_is_explained() -> None:
    """By rule: what its weights say is not what users get."""
    sticky = route(50, 50)
    sticky["spec"]["rules"][0] |= {"name": "cart", "sessionPersistence": {"sessionName": "s"}}
    assert "HTTPRoute shop: rule cart has sessionPersistence, which overrides weights" in told(
        status(), {"shop": sticky}
    )
    assert "sessionPersistence" not in told(status())


def test_weights_that_somebody_else_changed_are_pointed_out() -> None:
    """The route is read live, and it need not be what the status says."""
    assert "not the 50 % that the controller saw last" in told(status(), {"shop": route(90, 10)})
    assert "saw last" not in told(status(), {"shop": route(50, 50)})
    assert "saw last" not in told(PHASES[Phase.IDLE], {"shop": route(90, 10)})


def test_rules_that_steps_name_are_told_apart() -> None:
    """Their share is not the one of all others, and nobody else has changed it."""
    (mine,) = routes(0)
    found = status(
        split=SplitStatus(desired=0, written=0, accepted=0),
        routes=(mine.model_copy(update={"shares": {"beta": 100.0}}),),
    )
    beta, everybody = route(0, 1), route(1, 0)
    beta["spec"]["rules"] = [{"name": "beta", **beta["spec"]["rules"][0]}, *everybody["spec"]["rules"]]
    text = told(found, {"shop": beta})
    assert "Rules of HTTPRoute shop that a step names do not follow that; written beta 100 %." in text
    assert "rule beta: shop-stable 0, shop-canary 1: the canary gets 100 % of the pair" in text
    assert "saw last" not in text
    beta["spec"]["rules"][0]["backendRefs"][0]["weight"] = 1
    assert "not the 100 % that the controller saw last" in told(found, {"shop": beta})


def test_a_route_without_the_pair_says_what_to_add() -> None:
    """The explanation of a broken route is the same as the controller's."""
    refs = [{"name": "shop-stable", "port": 8080}]
    broken = {"metadata": {"name": "shop", "namespace": "team-shop"}, "spec": {"rules": [{"backendRefs": refs}]}}
    assert "add the canary as a backendRef with weight 0" in told(status(), {"shop": broken})
    assert "HTTPRoute shop: could not be read." in told(status(), {"shop": None})


def test_after_a_swap_the_roles_are_exchanged() -> None:
    """spec.canary is the stable side then, and weights are counted the other way round."""
    text = told(status(swapped=True), {"shop": route(20, 80)})
    assert "shop-canary 80, shop-stable 20: the canary gets 20 % of the pair" in text


def test_an_unknown_check_is_explained_as_neither_good_nor_bad() -> None:
    """People learn why the weight stands still, and since when."""
    unknown = checks(
        verdict=VerdictKind.UNKNOWN, reason="NoData", value=None, unknown_since=ago(95), message="no series"
    )
    text = told(status(checks=unknown))
    assert "there is no value, held against <= 0.01. no series." in text
    assert "Unknown since 10:38:27 UTC, for 1m35s." in text
    assert "Unknown is neither good nor bad" in text


def test_a_check_that_waits_for_its_turn_is_explained() -> None:
    """It is nobody's fault, and does not count."""
    text = told(status(checks=checks(verdict=VerdictKind.UNKNOWN, reason="Queued", value=None, message="waited 10 s")))
    assert "Queued: its query waits for a worker of the controller" in text
    assert "does not count against holdLimit" in text
    assert "neither good nor bad" not in text


def test_what_is_measured_counts_after_the_settle_time() -> None:
    """From when on, and how long after acceptance: as the platform declares it for the gateways."""
    at = status().step
    assert at is not None
    assert at.reached_at is not None
    settled = at.model_copy(update={"settled_at": at.reached_at + timedelta(milliseconds=2500)})
    words = "What is measured counts for it from 10:37:12 UTC on, 2.5 s after its gateways accepted it"
    assert words in told(status(step=settled))
    unsettled = at.model_copy(update={"settled_at": at.reached_at})
    assert "What is measured counts" not in told(status(step=unsettled)) + told(status())


def test_an_approval_is_asked_for_with_the_command_that_gives_it() -> None:
    """Whoever reads it can copy it."""
    step = StepStatus(index=4, total=5, display="4/5", started_at=ago(60), reached_at=ago(50))
    text = told(status(step=step))
    assert "Waiting for an approval: `canary promote shop -n team-shop` gives it;" in text
    assert "Next is step 5 of 5 (100 %), when somebody approves it and every check" in text


def test_a_run_that_stands_at_an_approval_is_no_pause_that_needs_resume() -> None:
    """Paused for an approval: `promote` goes on with it, and `resume` would enter the step again."""
    text = told(awaiting_approval())
    assert "a run is under way, and it waits for somebody to approve its step." in text.lower()
    assert "Waiting for an approval: `canary promote shop -n team-shop` gives it;" in text
    assert "Why it is paused" not in text
    assert "Next is step 5 of 5 (100 %), when somebody approves it and every check" in text
    assert "resume" not in text


def test_what_promote_full_skipped_is_not_said_to_have_passed() -> None:
    """Steps that nobody waited for passed nothing."""
    for phase in (Phase.PROMOTING, Phase.SUCCEEDED):
        run = PHASES[phase].run.model_copy(update={"full": True, "full_at": 2})
        text = told(PHASES[phase].model_copy(update={"run": run}))
        assert "`promote --full`: holds and approvals were cut short from step 2 on; steps 3 and 4 are" in text
        assert "passed all its steps" not in text
    assert "passed all its steps" in told(PHASES[Phase.PROMOTING])
    early = status().run.model_copy(update={"full": True, "full_at": 3})
    text = told(status(run=early))
    assert "; step 4 is skipped." in text
    assert "Its hold is skipped, as `promote --full` was asked for." in text
    assert "Next is step 5 of 5 (100 %), when every check has passed a measurement of this step, and none" in text
    text = told(status(run=early.model_copy(update={"ignore_unknown": True})))
    assert "Next is step 5 of 5 (100 %), when no check fails." in text


def test_a_canary_without_a_ready_replica_is_explained() -> None:
    """Its weight is 0 for a reason that is neither a check nor a hand."""
    run = status().run.model_copy(update={"unavailable_since": ago(12), "outages": 1})
    text = told(status(run=run))
    assert "No replica of the canary is ready since 10:39:50 UTC (12s ago), so its weight is 0" in text
    assert "The canary lost its weight once in this run, as none of its replicas was ready." in text


def test_measurements_are_said_to_be_those_on_record() -> None:
    """Nothing is extrapolated: a controller that measures on time does not write good values each time."""
    text = told(status(checks=checks(measured_at=ago(4000))))
    assert "Recorded at 09:33:22 UTC (1h06m ago), measured every 10s." in text
    assert "a value that moves within its limits is not written to the status" in text
    assert not [word for word in ("overdue", "next in", "next now") if word in text]


@pytest.mark.parametrize(("failures", "limit", "words"), [(1, 0, "1 failed measurement in a row; none is tolerated."), (2, 1, "2 failed measurements in a row; 1 is tolerated."), (0, 1, "Up to 1 failed measurement in a row may pass; none is on record now.")])  # fmt: skip
def test_one_failure_is_not_many(failures: int, limit: int, words: str) -> None:
    """Singular and plural."""
    assert words in told(status(checks=checks(failures=failures, failure_limit=limit)))


def test_a_hold_that_may_end_early_is_told() -> None:
    """Whoever waits knows for what: checks of its own that ask for it, not those that only show."""
    compare = {"prometheus": {"requests": "n", "failures": "f"}, "promoteEarly": True}
    document = rollout(PHASES[Phase.PROGRESSING])
    document["spec"]["checks"] = [
        {"name": "errors", "compare": compare},
        {"name": "shown", "compare": compare, "dryRun": True},
        {"name": "other", "compare": {**compare, "promoteEarly": False}},
    ]
    sections = explain(view(document), {}, NOW)
    text = "\n".join(line for section in sections for line in section.paragraphs)
    assert (
        "the hold is over at 10:42:10 UTC, or sooner once errors proved the canary good (promoteEarly) and every"
        in text
    )


def test_failures_of_the_last_measurements_are_told() -> None:
    """How many failed of how many, and how many are too many."""
    found = checks(failures=1, failure_limit=1, failure_window=5, recent=".x..")
    assert "1 measurement of the last 5 failed, in a row or not; 2 are too many." in told(status(checks=found))


def test_nothing_is_said_twice() -> None:
    """`Succeeded (Succeeded): succeeded: …` after the controller has said so already."""
    words = "succeeded: shop-stable runs revision 6c9f0d2b1a"
    run = ended(Outcome.SUCCEEDED, reason="Succeeded", message=words)
    by = run.trigger.model_copy(update={"by": "revision", "reason": "canary workload has revision 6c9f0d2b1a"})
    found = PHASES[Phase.SUCCEEDED].model_copy(update={"run": run.model_copy(update={"trigger": by}), "message": words})
    text = told(found)
    assert text.count("succeeded: ") == 1
    assert "because of" not in text
    assert "It ended" not in text
    assert "Run 7 tests revision 6c9f0d2b1a; started at 10:27:47 UTC (12m15s ago) by that revision.\n" in text


def test_preflight_is_explained() -> None:
    """Before the first step nothing has moved."""
    step = StepStatus(index=0, total=5, display="0/5", started_at=ago(2))
    assert "Next is step 1 of 5 (0.5 %), when preflight has no objection" in told(status(step=step, checks=()))


def test_as_a_plugin_the_commands_are_those_of_kubectl() -> None:
    """What is printed works when it is copied."""
    sections = explain(view(rollout(PHASES[Phase.PAUSED])), {}, NOW, program="kubectl canary")
    assert "`kubectl canary resume shop" in str(sections)


@pytest.mark.parametrize(
    ("found", "metadata", "code"),
    [
        (status(), {}, None),
        (PHASES[Phase.PAUSED], {}, None),
        (PHASES[Phase.ROLLING_BACK], {}, None),
        (PHASES[Phase.SUCCEEDED], {}, 0),
        (PHASES[Phase.ROLLED_BACK], {}, 3),
        (PHASES[Phase.INVALID], {}, 1),
        (PHASES[Phase.IDLE], {}, None),
        (None, {}, None),
        (PHASES[Phase.SUCCEEDED], {"generation": 4}, None),
        (PHASES[Phase.SUCCEEDED], {"annotations": {REQUEST_ANNOTATION: "start"}}, None),
        (status(Phase.IDLE, run=ended(Outcome.ROLLED_BACK)), {}, 3),
    ],
)
def test_watch_knows_when_a_run_is_over(
    found: RolloutStatus | None, metadata: dict[str, Any], code: int | None
) -> None:
    """`watch --exit` ends with the outcome; an old status, a pending request or no run at all is waited out."""
    assert verdict(view(rollout(found, **metadata))) == code


def test_a_missing_grant_is_printed_so_that_it_can_be_applied() -> None:
    """What stands against a run is said, and the ReferenceGrant is YAML for the other namespace, indentation and all."""
    found = PHASES[Phase.IDLE]
    said = found.conditions[0].model_copy(
        update={
            "type": "Ready",
            "status": "False",
            "reason": "RefNotPermitted",
            "message": "no ReferenceGrant; ask them",
        }
    )
    document = rollout(found.model_copy(update={"conditions": (said,)}))
    document["spec"]["canary"]["namespace"] = "elsewhere"
    sections = explain(view(document), {"shop": route(1, 0)}, NOW)
    (against,) = (section for section in sections if section.title == "What stands against a run")
    assert against.paragraphs[0] == "no ReferenceGrant; ask them"
    grant = yaml.safe_load(against.paragraphs[-1])
    assert grant["metadata"] == {"name": "team-shop-shop-canary", "namespace": "elsewhere"}
    assert grant["spec"]["from"] == [
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "team-shop"}
    ]
    assert grant["spec"]["to"] == [{"group": "", "kind": "Service", "name": "shop-canary"}]
    shown = text(render_explanation(sections, NOW), width=100)
    assert "\n        - group: gateway.networking.k8s.io\n          kind: HTTPRoute\n" in shown
    sound = explain(view(rollout(found)), {"shop": route(1, 0)}, NOW)
    assert not [section for section in sound if section.title == "What stands against a run"]


def test_what_was_counted_is_explained() -> None:
    """Both numbers, over how long; and why the counters could not be read, where they could not."""
    document = rollout(status(traffic=TrafficStatus(counted_canary=48, counted_stable=52, seconds=90, background=0.5)))
    document["spec"]["traffic"] = {"prometheus": {"query": "n{{ backend.service }}"}}
    text = "\n".join(line for section in explain(view(document), {}, NOW) for line in section.paragraphs)
    assert "Counted in 90 s since the gateways accepted that: 48 at shop-canary, 52 at shop-stable." in text
    assert "0.5 each second came to the canary while the routes sent it nothing" in text
    assert "is counted as" not in text
    document = rollout(status(traffic=TrafficStatus(reason="NoData", message="canary: no series")))
    document["spec"]["traffic"] = {"template": {"name": "requests", "kind": "ClusterCheckTemplate"}}
    text = "\n".join(line for section in explain(view(document), {}, NOW) for line in section.paragraphs)
    assert "What each backend gets is counted as ClusterCheckTemplate requests says." in text
    assert "The counters could not be read (NoData): canary: no series." in text
