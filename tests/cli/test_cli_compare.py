"""What people read of a comparison: by how much, on what evidence, and where it does not apply."""

from __future__ import annotations

from typing import Any

from cli_kit import NOW, ago, rollout, status
from picture_kit import line_with, picture

from canary.model.check_status import CheckStatus, EvidenceStatus, VerdictKind
from canary.model.run_status import StepStatus
from canary.status.project import summary
from canary.view.explanation import explain
from canary.view.rollout import unmeasured, view

WORDS = "errors 1.1\N{MULTIPLICATION SIGN} stable (1 % → 1.1 %), evidence 0.4 of 20 needed"
GATHERED = EvidenceStatus(alpha=0.05, process="0123456789", looks=14)


def compared(**over: Any) -> CheckStatus:
    fields: dict[str, Any] = {
        "name": "errors",
        "verdict": VerdictKind.PASS,
        "reason": "NotProved",
        "message": WORDS,
        "value": 1.1,
        "limit": "no more errors than stable (alpha 5 %)",
        "measured_at": ago(4),
        "query": "failures of requests",
        "evidence": GATHERED,
        **over,
    }
    return CheckStatus(**fields)


def told(*checks: CheckStatus) -> str:
    sections = explain(view(rollout(status(checks=checks))), {}, NOW)
    return "\n".join(line for section in sections for line in section.paragraphs)


def test_status_says_what_is_proved_so_far() -> None:
    """On the line of the check, also where it passes."""
    shown = picture(rollout(status(checks=(compared(),))), 140)
    assert f"Pass     {WORDS}" in line_with(shown, "evidence")


def test_explain_says_what_it_rests_on_and_what_alpha_is() -> None:
    """Evidence, looks, and the chance that all comparisons together have to be wrong; a dry run fails nothing."""
    others = (
        compared(name="more", evidence=GATHERED.model_copy(update={"alpha": 0.01})),
        compared(name="dry", dry_run=True),
    )
    words = told(compared(), *others)
    assert "errors: Pass (NotProved); the value is 1.1, held against no more errors than stable (alpha 5 %)." in words
    assert f"{WORDS}. That rests on 14 looks at the counters." in words
    assert "fail a canary that is as good as stable in at most 6 % of its runs (alpha)" in words


def test_what_does_not_apply_is_said_and_waited_for_by_nobody() -> None:
    """Stable has no traffic at 100 %: that is no pass and no objection."""
    why = "stable has no traffic at 100 %: nothing to compare with"
    absent = compared(reason="NotApplicable", message=why, measured_at=None, value=None)
    found = status(checks=(absent,), step=StepStatus(index=3, total=5, started_at=ago(60), reached_at=ago(50)))
    assert (unmeasured(found), summary(found)) == ([], "none apply")
    assert f"n/a      {why}" in line_with(picture(rollout(found), 140), "nothing to compare")
    assert f"errors: it does not apply at this step: {why}." in told(absent)


def test_the_summary_counts_what_applies() -> None:
    """Beside a check that measures."""
    measured = compared(name="limit", reason="WithinThreshold", evidence=None)
    assert summary(status(checks=(measured, compared(reason="NotApplicable")))) == "1/1 pass"


def test_answers_are_told_with_their_worst_fields() -> None:
    """Three at most, in the sentence that status and explain show."""
    words = (
        "`$.items[].price` differs in 3.1 % of answers (noise 0 %), evidence 40 of 20 needed; also `$.total` differs in 3 % of "
        "answers (noise 0 %), `status` differs in 0.4 % of answers (noise 0.1 %); 1,240 answers compared"
    )
    limit = "at most 0.1 % of answers different, beyond noise (alpha 5 %)"
    found = compared(
        name="same", verdict=VerdictKind.FAIL, reason="DiffersFromStable", message=words, value=0.031, limit=limit
    )
    assert "`$.items[].price` differs in 3.1 % of answers" in picture(rollout(status(checks=(found,))), 300)
    said = told(found)
    assert f"same: Fail (DiffersFromStable); the value is 0.031, held against {limit}." in said
    assert f"{words}. That rests on 14 looks" in said


def test_a_comparison_without_one_number_is_told_by_its_words_alone() -> None:
    """No dash for a value, no word of tolerated failures: a comparison fails once it is proved."""
    found = compared(verdict=VerdictKind.FAIL, reason="SlowerThanStable", value=None, failures=1)
    shown = line_with(picture(rollout(status(checks=(found,))), 200), "held against")
    assert "Fail     held against no more errors than stable (alpha 5 %)" in shown
    assert "tolerates" not in shown
    said = told(found)
    assert "errors: Fail (SlowerThanStable); held against no more errors than stable (alpha 5 %)." in said
    assert "no value" not in said
    assert "tolerated" not in said
