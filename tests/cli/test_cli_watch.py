"""What `canary watch` draws: as much as fits on a terminal, the most telling first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cli_kit import NOW, PHASES, ago, awaiting_approval, checks, rollout, status
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.cli.output import ASCII
from canary.cli.render_watch import render_watch
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.route_status import RouteStatus
from canary.model.status import Phase
from canary.model.times import format_time as fmt

EVENTS = [
    {"type": "Normal", "reason": "StepStarted", "message": f"step {number}/9: some words", "lastTimestamp": fmt(ago(900 - 60 * number))}
    for number in range(1, 10)
]  # fmt: skip


def screen(document: Any, size: tuple[int, int], events: Any = EVENTS, **options: Any) -> list[str]:
    return [line.plain for line in render_watch(document, events, NOW, size, **options)]


SIZES = [(80, 24), (120, 40), (200, 60), (60, 16)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("phase", list(Phase))
def test_events_are_always_there(phase: Phase, size: tuple[int, int]) -> None:
    """On any usual terminal and at any phase: what happened last, at least three times back, is what people look for."""
    lines = screen(rollout(PHASES[phase]), size)
    assert len(lines) <= size[1]
    assert max(map(len, lines)) <= size[0]
    assert lines[-1].endswith("step 9/9: some words")
    assert sum("StepStarted" in line for line in lines) >= 3
    assert "..." not in "".join(lines)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(Phase),
    st.tuples(st.integers(1, 220), st.integers(1, 70)),
    st.integers(0, 30),
    st.sampled_from(("", "no connection to http://10.0.0.1: connection refused")),
    st.text(max_size=300),
)
def test_never_a_line_too_many_or_too_long(
    phase: Phase, size: tuple[int, int], events: int, trouble: str, message: str
) -> None:
    """Whatever the size: a picture that is taller than the terminal would scroll, and one that is wider would break."""
    document = rollout(PHASES[phase].model_copy(update={"message": message}))
    lines = render_watch(document, (EVENTS * 4)[:events], NOW, size, trouble=trouble)
    assert 1 <= len(lines) <= size[1]
    assert all(line.cell_len <= size[0] and "\n" not in line.plain for line in lines)


def test_more_room_shows_more_and_leaves_nothing_out() -> None:
    """A line of a small terminal is there on a larger one too; a large one has queries, conditions and all Events."""
    document = rollout(status())
    small, large = screen(document, (80, 24)), screen(document, (200, 60))
    assert "Conditions" in large
    assert "Conditions" not in small
    assert any("histogram_quantile" in line for line in large)
    assert sum("StepStarted" in line for line in large) == len(EVENTS)
    for word in ("Steps", "Checks", "Events"):
        assert word in small
        assert word in large


def test_a_dozen_steps_and_checks_fit_on_a_small_terminal() -> None:
    """Steps stand one after the other then, with what the current one waits for; checks that are fine are counted."""
    document = rollout(
        status(
            checks=(
                *(CheckStatus(name=f"c{n}", verdict=VerdictKind.PASS, measured_at=ago(1)) for n in range(11)),
                CheckStatus(name="odd", verdict=VerdictKind.UNKNOWN, reason="NoData", measured_at=ago(1)),
            )
        )
    )
    document["spec"]["steps"] = [{"weight": 5 * number, "hold": "1m"} for number in range(1, 13)]
    lines = screen(document, (80, 24))
    shown = "\n".join(lines)
    assert "✓ 5 %  ✓ 10 %  ▶ 15 %  ○ 20 %" in shown
    assert "waiting for its hold, 2m08s left" in shown
    assert "✓ 11 checks pass" in shown
    assert "? odd" in shown
    assert sum("StepStarted" in line for line in lines) >= 3


def test_what_is_wrong_is_at_the_top() -> None:
    """A lost connection, an approval that is waited for, a gateway that does not accept: none of it can be cut off."""
    broken = status(
        routes=(RouteStatus(kind="HTTPRoute", name="shop", owned=True, share=50, message="Gateway edge: no answer"),),
    )
    lines = screen(rollout(broken), (80, 24), trouble="12s ago: connection refused")
    assert lines[1] == "  connection lost: 12s ago: connection refused"
    assert "  HTTPRoute shop: Gateway edge: no answer" in lines
    asked = "\n".join(screen(rollout(awaiting_approval()), (80, 24)))
    assert "waits for approval: `canary promote shop -n team-shop`" in asked


def test_the_share_is_told_once_where_all_agree() -> None:
    """Wanted, written and accepted are three words only while they differ."""
    (line,) = (line for line in screen(rollout(status()), (80, 24)) if "shop-canary  ━" in line)
    assert line.endswith("  50 %, accepted · last observed 48.7 %")
    (line,) = (line for line in screen(rollout(PHASES[Phase.PAUSED]), (80, 24)) if "shop-canary  ━" in line)
    assert line.endswith("50 % wanted · 10 % written · 10 % accepted")


def test_without_unicode_nothing_of_ours_needs_it() -> None:
    """Neither does the sign for what was cut."""
    for phase in Phase:
        for line in screen(rollout(PHASES[phase]), (60, 24), symbols=ASCII):
            line.encode("ascii")


def test_events_that_may_not_be_read_are_named() -> None:
    """Their absence is no peace and quiet."""
    assert "  not shown: they could not be read" in screen(rollout(status()), (80, 24), None)


def test_no_ready_count_grows_old_on_a_screen() -> None:
    """What is on record of replicas is of some write before; images are what the revision says, and stay."""
    lines = screen(rollout(status(checks=checks(measured_at=NOW - timedelta(seconds=3)))), (120, 40))
    (canary,) = (line for line in lines if line.startswith("  canary "))
    assert canary == "  canary   6c9f0d2b1a · ghcr.io/shop:v7,proxy:2"
