"""What `status` says is what is known: of steps that were skipped, measurements, routes at rest, and what runs."""

from __future__ import annotations

from typing import Any

import pytest
from cli_kit import NOW, PHASES, ago, awaiting_approval, checks, ended, rollout, status
from picture_kit import line_with, picture

from canary.decide.facts import WorkloadView
from canary.model.check_status import VerdictKind
from canary.model.route_status import RouteStatus, SplitStatus
from canary.model.run_status import Outcome, RunStatus, StepStatus
from canary.model.status import Condition, Phase, RolloutStatus
from canary.view.rollout import StepState, steps, view

DONE, SKIPPED, CURRENT, FAILED, NEXT = "done", "skipped", "current", "failed", "next"


def hurried(found: RolloutStatus, at: int, index: int | None = None) -> RolloutStatus:
    """The same run, asked at step `at` to go on to its end; `index`: where it stands."""
    assert found.run is not None
    update: dict[str, Any] = {"run": found.run.model_copy(update={"full": True, "full_at": at})}
    if index is not None:
        update["step"] = StepStatus(index=index, total=5, started_at=ago(9), reached_at=ago(8), hold_until=ago(8))
    return found.model_copy(update=update)


@pytest.mark.parametrize(
    ("found", "states"),
    [
        (hurried(status(), 3), [DONE, DONE, CURRENT, NEXT, NEXT, NEXT]),  # asked just now
        (hurried(status(), 2, 5), [DONE, DONE, SKIPPED, SKIPPED, CURRENT, NEXT]),
        (hurried(status(), 0, 5), [SKIPPED, SKIPPED, SKIPPED, SKIPPED, CURRENT, NEXT]),  # asked in the preflight
        (hurried(status(), 5, 5), [DONE, DONE, DONE, DONE, CURRENT, NEXT]),  # at the last: there is nothing to skip
        (hurried(PHASES[Phase.PROMOTING], 1), [DONE, SKIPPED, SKIPPED, SKIPPED, DONE, CURRENT]),
        (hurried(PHASES[Phase.SUCCEEDED], 3, 5), [DONE, DONE, DONE, SKIPPED, DONE, DONE]),
        (hurried(PHASES[Phase.ROLLED_BACK], 2, 5), [DONE, DONE, SKIPPED, SKIPPED, FAILED, NEXT]),
        (hurried(PHASES[Phase.ROLLED_BACK], 3, 3), [DONE, DONE, FAILED, NEXT, NEXT, NEXT]),  # failed before it skipped
        (PHASES[Phase.SUCCEEDED], [DONE] * 6),
    ],
)
def test_steps_that_were_skipped_are_no_steps_that_passed(found: RolloutStatus, states: list[str]) -> None:
    """promote-full jumps from the step where it was asked for to the last; what lies between was never tried."""
    views = steps(view(rollout(found)), NOW)
    assert [step.state.value for step in views] == states
    for step in views:
        assert (step.state is StepState.SKIPPED) is (step.note == "skipped by promote --full")


def test_a_skipped_step_has_a_sign_of_its_own() -> None:
    """And the steps around it say what promote-full did to them."""
    shown = picture(rollout(hurried(PHASES[Phase.SUCCEEDED], 2, 5)))
    assert line_with(shown, "  3  50 %") == "  –  3  50 %       hold 5m  skipped by promote --full"  # noqa: RUF001 - the sign
    assert line_with(shown, "  2  10 %") == "  ✓  2  10 %       hold 5m  promote --full was asked for here"
    assert line_with(shown, "  5  100 %") == "  ✓  5  100 %      hold 5m  its hold was skipped by promote --full"
    assert "all steps" not in shown


def test_a_hold_that_is_skipped_is_not_waited_for() -> None:
    """The step says what the run does wait for."""
    found = hurried(status(), 3)
    assert found.step is not None
    for measured, words in (
        (found.step.reached_at, "about to move on"),
        (None, "waiting for a measurement of error-rate"),
    ):
        shown = picture(rollout(found.model_copy(update={"checks": checks(measured_at=measured)[:1]})))
        assert line_with(shown, "  3  50 %").endswith(
            f"hold 5m  {words}: none on record" if measured is None else words
        )


def test_a_run_that_waits_for_approval_says_who_goes_on_with_it() -> None:
    """`promote` does, and not `resume`, although the run is paused."""
    shown = picture(rollout(awaiting_approval()))
    assert line_with(shown, "‖  4").endswith("waits for approval: `canary promote shop -n team-shop`")
    assert "resume" not in shown
    assert "  paused  " not in shown


@pytest.mark.parametrize("seconds", [4, 28, 4000])
def test_no_word_about_measurements_that_are_not_on_record(seconds: float) -> None:
    """A controller that measures on time does not write good values each time, so none is overdue or next."""
    shown = picture(rollout(status(checks=checks(measured_at=ago(seconds)))))
    assert "recorded" in line_with(shown, "✓ error-rate")
    assert "measured every 10s" in line_with(shown, "✓ error-rate")
    assert not [word for word in ("overdue", "next in", "next now") if word in shown]
    assert "every" not in line_with(picture(rollout(PHASES[Phase.SUCCEEDED])), "✓ error-rate")


def test_a_check_without_a_record_is_not_said_to_be_unmeasured() -> None:
    """It may well have been measured since."""
    unknown = checks(verdict=VerdictKind.UNKNOWN, reason="NotMeasured", value=None, measured_at=None)
    assert "no measurement on record" in line_with(picture(rollout(status(checks=unknown))), "? error-rate")


@pytest.mark.parametrize(
    ("found", "note"),
    [
        (PHASES[Phase.SUCCEEDED], "0 %   nothing of run #7 is left on it"),
        (PHASES[Phase.ROLLED_BACK], "0 %   nothing of run #7 is left on it"),
        (
            PHASES[Phase.ROLLED_BACK].model_copy(
                update={"routes": (RouteStatus(kind="HTTPRoute", name="shop", share=20),)}
            ),
            "20 %   no run is under way: whoever wrote it gives the canary that share",
        ),
    ],
)
def test_at_rest_a_route_is_its_owners(found: RolloutStatus, note: str) -> None:
    """`not written by this run` after a run that wrote it was no help, and not true."""
    shown = picture(rollout(found))
    assert line_with(shown, "HTTPRoute shop").endswith(note)
    assert "not written" not in shown
    assert "desired" not in shown


def test_a_route_that_the_run_has_not_written_yet_says_so() -> None:
    """During a run, before its first write."""
    fresh = status(routes=(RouteStatus(kind="HTTPRoute", name="shop", accepted=True, share=0),))
    assert line_with(picture(rollout(fresh)), "HTTPRoute shop").endswith("this run has not written it yet")


def test_observed_is_a_column_only_where_somebody_observes() -> None:
    """And what it shows came with the last write, as all values do."""
    unseen = status(split=SplitStatus(desired=50, written=50, accepted=50))
    assert "observed" not in picture(rollout(unseen))
    document = rollout(unseen)
    document["spec"]["traffic"] = {"prometheus": {"query": "x"}}
    assert "not measured" in line_with(picture(document), "run #7  ")
    assert "last observed" in picture(rollout(status()))


def test_a_canary_without_a_ready_replica_is_in_red_letters() -> None:
    """Why its weight is 0, since when, and how often that happened."""
    run = status().run.model_copy(update={"unavailable_since": ago(12), "outages": 2})
    shown = picture(rollout(status(run=run)))
    assert "no replica is ready since 10:39:50 (12s): its weight is 0 until one is" in line_with(shown, "  canary ")
    assert line_with(shown, "▶  3").endswith("waiting 12s for a ready replica of the canary")
    assert "the canary lost its weight twice in this run, as none of its replicas was ready" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("run", "message", "words"),
    [
        (ended(Outcome.SUCCEEDED, reason="Succeeded", message="succeeded: s runs b"), "succeeded: s runs b", None),
        (ended(Outcome.SUCCEEDED, reason="Succeeded", message="s runs b"), "run 7 succeeded", "Succeeded: s runs b"),
        (ended(Outcome.SUCCEEDED, reason="Promoted"), "done", "Succeeded (Promoted)"),
    ],
)
def test_an_outcome_says_what_has_not_been_said(run: RunStatus, message: str, words: str | None) -> None:
    """`outcome Succeeded (Succeeded): succeeded: …` below the same words was a stutter."""
    shown = picture(rollout(PHASES[Phase.SUCCEEDED].model_copy(update={"run": run, "message": message})))
    lines = [line for line in shown.splitlines() if line.startswith("  outcome")]
    assert lines == ([f"  outcome  {words}"] if words else [])


def test_a_revision_that_started_its_own_run_is_named_once() -> None:
    """`#7 · revision X · started by revision · canary workload has revision X` said it three times."""
    by = status().run.trigger.model_copy(update={"by": "revision", "reason": "canary workload has revision 6c9f0d2b1a"})
    run = status().run.model_copy(update={"trigger": by})
    shown = picture(rollout(status(run=run)))
    assert line_with(shown, "  run ").split("run", 1)[1].strip() == (
        "#7 · revision 6c9f0d2b1a · started 12m15s ago by that revision"
    )


def test_what_runs_is_shown_as_it_is_now_where_it_can_be_read() -> None:
    """Images and replicas of both; without the right to read Deployments what is on record, and that it is that."""
    document = rollout(status())
    shown = picture(document)
    assert "1b2c3d4e5f · ghcr.io/shop:v6,proxy:2 · 4/4 ready when last recorded" in line_with(shown, "  stable")
    now = {
        ("Deployment", "team-shop", "shop-stable"): WorkloadView(
            "shop-stable", exists=True, revision="1b2c3d4e5f", ready=3, replicas=4, images="shop:v6"
        ),
        ("Deployment", "team-shop", "shop-canary"): WorkloadView(
            "shop-canary", exists=True, revision="ffffffffff", ready=2, replicas=2, images="shop:v8"
        ),
    }
    shown = picture(document, live=now)
    assert line_with(shown, "  stable").endswith("1b2c3d4e5f · shop:v6 · 3/4 ready")
    assert line_with(shown, "  canary").endswith(
        "ffffffffff · shop:v8 · 2/2 ready · the controller has seen 6c9f0d2b1a only"
    )


def test_after_a_swap_the_workloads_have_changed_roles_too() -> None:
    """spec.workloads.canary is the stable one then."""
    found = view(rollout(status(swapped=True)))
    assert (found.workload("stable"), found.workload("canary")) == ("shop-canary", "shop-stable")


def test_a_hold_that_is_long_over_is_a_question_and_no_promise() -> None:
    """Nothing on record keeps the run, and yet it stands: `about to move on` for ten minutes would be a lie."""
    over = StepStatus(index=3, total=5, display="3/5", started_at=ago(900), reached_at=ago(890), hold_until=ago(590))
    measured = checks(measured_at=ago(600))
    fine = tuple(check.model_copy(update={"measured_at": ago(600)}) for check in measured)
    shown = picture(rollout(status(step=over, checks=fine)))
    assert line_with(shown, "▶  3").endswith("nothing on record holds it any more; is the controller running?")
    unknown = Condition(type="Reconciling", status="True", reason="RevisionUnknown", last_transition_time=ago(600))
    shown = picture(rollout(status(step=over, checks=fine, conditions=(unknown,))))
    assert line_with(shown, "▶  3").endswith("the revision of the canary is not known")


def test_what_is_shown_of_workloads_of_other_kinds() -> None:
    """A live one counts by its kind; with configs in it, a revision is what the controller has on record, and nothing that a pod spec tells."""
    document = rollout(status())
    document["spec"]["workloads"] = {"stable": {"kind": "StatefulSet", "name": "db"}, "canary": {"name": "db"}}
    now = {
        ("StatefulSet", "team-shop", "db"): WorkloadView(
            "db", exists=True, revision="ffffffffff", ready=1, replicas=3, images="db:1"
        ),
        ("Deployment", "team-shop", "db"): WorkloadView(
            "db", exists=True, revision="eeeeeeeeee", ready=2, replicas=2, images="db:2"
        ),
    }
    shown = picture(document, live=now)
    assert "ffffffffff · db:1 · 1/3 ready" in line_with(shown, "  stable ")
    assert "eeeeeeeeee · db:2 · 2/2 ready" in line_with(shown, "  canary ")
    document["spec"]["revision"] = {"includes": ["configs"]}
    shown = picture(document, live=now)
    seen = view(document).status.revisions
    assert f"{seen.stable} · db:1 · 1/3 ready" in line_with(shown, "  stable ")
    assert "has seen" not in line_with(shown, "  canary ")
    assert view(document).promotion == "Await"
