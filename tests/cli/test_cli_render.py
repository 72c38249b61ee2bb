"""Pictures of Rollouts at every phase, at a fixed time and width.

`CANARY_UPDATE_SNAPSHOTS=1 pytest tests/cli/test_cli_render.py` writes the snapshots anew; read the diff.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cli_kit import EVENTS, NOW, PHASES, ago, checks, rollout, routes, status
from picture_kit import line_with, picture, text
from rich.console import Group

from canary.cli.live import change_line
from canary.cli.output import ASCII, UNICODE
from canary.cli.render_list import render_list
from canary.cli.render_status import render_status
from canary.decide.facts import WorkloadView
from canary.model.check_status import CheckStatus, VerdictKind
from canary.model.crd import ROLLOUT_COLUMNS
from canary.model.requests import REQUEST_ANNOTATION
from canary.model.route_status import RouteStatus, SplitStatus
from canary.model.run_status import StepStatus
from canary.model.status import Phase

SNAPSHOTS = Path(__file__).parent / "snapshots"


def same_as_snapshot(name: str, found: str) -> None:
    path = SNAPSHOTS / f"{name}.txt"
    if os.environ.get("CANARY_UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_its_picture(phase: Phase) -> None:
    """What people see at each phase is as it was when somebody last looked at it and liked it."""
    same_as_snapshot(f"status-{phase.value}-100", picture(rollout(PHASES[phase])))


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("phase", list(Phase))
def test_no_line_is_wider_than_the_terminal(phase: Phase, width: int) -> None:
    """Long queries and messages wrap, at any width and any phase."""
    lines = picture(rollout(PHASES[phase]), width).splitlines()
    assert max(len(line) for line in lines) <= width
    assert not [line for line in lines if line != line.rstrip()]


def test_eighty_columns_are_enough() -> None:
    """The picture of a run on the smallest usual terminal."""
    same_as_snapshot("status-Progressing-80", picture(rollout(status()), 80))


def test_a_long_query_is_shown_whole() -> None:
    """Wrapping loses nothing of a query."""
    shown = "".join(picture(rollout(status()), 80).split())
    for check in checks():
        assert "".join(check.query.split()) in shown


def test_ascii_is_enough_for_every_sign_of_ours() -> None:
    """On a terminal that cannot show Unicode, nothing of ours needs it."""
    for phase in Phase:
        picture(rollout(PHASES[phase]), symbols=ASCII).encode("ascii")


def test_colours_are_only_added() -> None:
    """Without its colours the picture is the same text: nothing is said by colour alone."""
    from rich.text import Text

    document = rollout(PHASES[Phase.ROLLING_BACK])
    colored = text(render_status(document, EVENTS, NOW), color=True)
    assert "\x1b[" in colored
    plain = [line.rstrip() for line in Text.from_ansi(colored).plain.splitlines()]
    assert plain == picture(document).splitlines()


def test_text_from_the_cluster_is_shown_and_not_obeyed() -> None:
    """Neither rich's markup nor escape sequences in a message do anything."""
    shown = picture(rollout(status(message="[red]x[/red] \x1b[2J :smile:")))
    assert "[red]x[/red] [2J :smile:" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("lowered", [{"#0": 0}, {}])
def test_a_weight_is_what_is_on_the_route(lowered: dict[str, float]) -> None:
    """Somebody has taken the canary's share off: every view says so, as kubectl's column does, whatever the run wrote before."""
    (route,) = routes(50)
    found = status(
        Phase.PAUSED,
        split=SplitStatus(desired=50, written=0, accepted=0),
        routes=(route.model_copy(update={"lowered": lowered}),),
    )
    document = rollout(found)
    (column,) = [one for one in ROLLOUT_COLUMNS if one["name"] == "Weight"]
    assert column["jsonPath"] == ".status.split.written"
    heading, row = table([document])
    assert row[heading.index("WEIGHT") :].split()[0] == "0"
    assert "weight 0 %" in change_line(document, UNICODE).plain
    shown = picture(document)
    assert line_with(shown, "HTTPRoute shop").split()[2:6] == ["50", "%", "0", "%"]
    assert ("lowered by hand: #0 0 %" in shown) == bool(lowered)
    assert UNICODE.full * 2 not in shown.partition("Traffic to")[2]


def test_a_gateway_that_has_not_accepted_is_what_is_waited_for() -> None:
    """Accepted lags behind written, and the step says since when."""
    waiting = status(
        step=StepStatus(index=3, total=5, display="3/5", started_at=ago(20), unaccepted_since=ago(12)),
        split=SplitStatus(desired=50, written=50, accepted=10),
        routes=(RouteStatus(kind="HTTPRoute", name="shop", owned=True, share=50, message="Gateway edge: no answer"),),
    )
    shown = picture(rollout(waiting))
    assert "waiting 12s for the gateway to accept the route" in line_with(shown, "▶  3")
    assert "✗ not yet" in line_with(shown, "HTTPRoute shop")
    assert "Gateway edge: no answer" in shown


@pytest.mark.parametrize(
    ("step", "first", "note"),
    [
        ({"index": 4}, {}, "waiting for approval"),
        ({"index": 4, "hold_until": NOW + timedelta(seconds=30)}, {}, "waiting for approval and its hold, 30s left"),
        ({"index": 4, "approved": True}, {}, "about to move on"),
        ({"index": 3}, {"measured_at": ago(500)}, "waiting for a measurement of error-rate: none on record"),
        ({"index": 3, "settled_at": NOW + timedelta(seconds=5)}, {}, "waiting for its gateways to settle, 5s left"),
        (
            {"index": 3, "settled_at": ago(80)},
            {"measured_at": ago(85)},
            "waiting for a measurement of error-rate: none on record",
        ),
        ({"index": 3}, {"verdict": VerdictKind.UNKNOWN, "reason": "NoData"}, "held by error-rate"),
        ({"index": 3}, {"verdict": VerdictKind.FAIL, "dry_run": True}, "about to move on"),
    ],
)
def test_the_current_step_says_what_it_waits_for(step: dict[str, Any], first: dict[str, Any], note: str) -> None:
    """One note at the current step, and at no other."""
    at = StepStatus(**{"total": 5, "display": "x/5", "started_at": ago(100), "reached_at": ago(90), **step})
    shown = picture(rollout(status(step=at, checks=checks(**first))))
    assert line_with(shown, f"▶  {step['index']}").endswith(note)
    assert shown.count("▶") == 2  # the heading, and one step


def test_an_unknown_check_says_why_and_since_when() -> None:
    """Unknown has a name, and it is neither a pass nor a number."""
    unknown = checks(
        verdict=VerdictKind.UNKNOWN, reason="NoData", value=None, unknown_since=ago(95), message="no series"
    )
    shown = picture(rollout(status(checks=unknown)))
    assert "? error-rate" in shown
    assert "unknown for 1m35s" in line_with(shown, "? error-rate")
    assert "NoData: no series" in shown


def test_a_pending_request_is_shown_until_it_is_answered() -> None:
    """Somebody who looks right after asking sees that nobody has answered yet."""
    document = rollout(status(), annotations={REQUEST_ANNOTATION: '{"verb": "abort", "by": "bob", "id": "x"}'})
    assert "abort by bob: not answered by the controller yet" in picture(document)


def test_a_status_of_a_later_version_is_shown_as_far_as_it_is_understood() -> None:
    """Unknown fields, phases and kinds of routes are named, and everything else is there."""
    document = rollout(status())
    document["status"] |= {"phase": "Analysing", "shards": [1, 2]}
    document["status"]["routes"].append({"kind": "FutureRoute", "name": "api", "share": 50})
    document["status"]["checks"][0]["verdict"] = "Inconclusive"
    document["spec"]["steps"].append({"mirror": {"percent": 20}, "affinity": {}})
    shown = picture(document)
    assert "team-shop/shop  Analysing" in shown
    assert "status.phase 'Analysing' is beyond this version of the CLI" in shown
    assert "status.routes[1].kind 'FutureRoute' is beyond" in shown
    assert "status.checks[0].verdict 'Inconclusive'" in shown
    assert "HTTPRoute shop" in shown
    assert "mirror 20 % + affinity" in shown


@pytest.mark.parametrize(
    "broken",
    [None, "no object", {"run": "x"}, {"checks": [{"verdict": 7}]}, {"run": {"number": 1}}, {"step": {"index": "x"}}],
)
def test_no_status_is_too_broken_to_be_shown(broken: Any) -> None:
    """Whatever is in there, people get a picture and no traceback."""
    document = {**rollout(None), "status": broken}
    assert "team-shop/shop" in picture(document)
    assert "shop" in table([document], wide=True)[1]


def test_a_rollout_that_no_controller_has_seen_says_so() -> None:
    """An empty status is explained, and is not mistaken for Idle."""
    shown = picture(rollout(None), events=[])
    assert "is one running for this namespace?" in shown
    assert "Idle" not in shown


def test_a_status_that_is_behind_the_spec_says_so() -> None:
    """After an edit the old status is marked as old."""
    assert "changed since" in picture(rollout(status(observed_generation=2)))


def test_events_that_may_not_be_read_are_no_reason_to_fail() -> None:
    """The rest of the picture does not need them."""
    assert "could not be read" in picture(rollout(status()), events=None)


def table(documents: Any, **options: Any) -> list[str]:
    return text(Group(*render_list(documents, NOW, **options)), 10_000).splitlines()


COLUMNS = ["NAME", "PHASE", "STEP", "WEIGHT", "OBSERVED", "CHECKS", "AGE", "MESSAGE"]


def test_a_list_has_the_columns_of_kubectl() -> None:
    """The same names, so that nobody has to learn two tables; the message comes last, and a wide table says what runs."""
    documents = [rollout(PHASES[phase]) for phase in Phase]
    assert table(documents)[0].split() == COLUMNS
    heading, first, *_ = table(documents, wide=True, namespaces=True)
    more = ["STABLE", "CANARY", "REVISION", "STABLE-READY", "CANARY-READY", "STABLE-IMAGES", "CANARY-IMAGES"]
    assert heading.split() == ["NAMESPACE", *COLUMNS[:-1], *more, "MESSAGE"]
    assert first[heading.index("CANARY-IMAGES") :].startswith("ghcr.io/shop:v7,proxy:2  ")
    assert first[heading.index("STABLE-READY") :].startswith("4/4  ")
    same_as_snapshot("list-140", "".join(f"{line}\n" for line in table(documents, width=140)))


@pytest.mark.parametrize("width", [1, 8, 40, 60, 80, 100, 140, 400])
def test_a_line_of_a_list_is_cut_and_never_breaks(width: int) -> None:
    """A Rollout is one line on any terminal; what is cut is the message, then the columns before it, and it is marked."""
    documents = [rollout(PHASES[phase]) for phase in Phase]
    whole, cut = table(documents), table(documents, width=width)
    assert len(cut) == len(whole) == len(Phase) + 1
    for full, line in zip(whole, cut, strict=True):
        assert len(line) <= width
        assert line == full if len(full) <= width else line == full[: width - 1].rstrip() + "…"
    assert any("MESSAGE" in line for line in cut) is (width >= 80)


def test_at_80_columns_the_essential_words_are_there() -> None:
    """Phase, step, weight, checks and age of every Rollout, and the beginning of what is the matter."""
    lines = table([rollout(PHASES[phase]) for phase in Phase], width=80)
    assert lines[2] == "shop   Progressing   3/5    50       48.7       2/2 pass   3d    holding 50 % u…"
    assert lines[6] == "shop   Succeeded            0                   2/2 pass   3d    run 7 succeeded"


def test_replicas_of_now_win_over_those_on_record() -> None:
    """At rest the status does not keep them up to date; what was read just now is what is shown."""
    now = WorkloadView("shop-canary", exists=True, revision="6c9f0d2b1a", ready=0, replicas=3, images="shop:v8")
    heading, line = table([rollout(status())], wide=True, live={("Deployment", "team-shop", "shop-canary"): now})
    assert line[heading.index("CANARY-READY") :].startswith("0/3  ")
    assert line[heading.index("CANARY-IMAGES") :].startswith("shop:v8  ")
    assert line[heading.index("STABLE-READY") :].startswith("4/4  ")


def test_a_dry_run_check_is_marked() -> None:
    """What does not count is not mistaken for what does."""
    dry = CheckStatus(name="probe", verdict=VerdictKind.FAIL, dry_run=True, reason="ThresholdExceeded")
    assert "probe (dry run)" in picture(rollout(status(checks=(dry,))))


def test_symbols_are_one_cell_each() -> None:
    """Else columns would not line up."""
    from dataclasses import astuple

    from rich.cells import cell_len

    for symbols in (UNICODE, ASCII):
        assert {cell_len(symbol) for symbol in astuple(symbols)} == {1}


def test_each_parent_of_each_route_has_a_line() -> None:
    """Accepted, refused with the gateway's words, not answered yet, and a route without parents: each its own sign."""
    conditions = [
        {"type": kind, "status": "True", "observedGeneration": 2, "reason": "", "message": ""}
        for kind in ("Accepted", "ResolvedRefs")
    ]
    no = [{**conditions[0], "status": "False", "reason": "NoMatchingParent", "message": "no listener https"}]
    route = {
        "kind": "HTTPRoute",
        "metadata": {"name": "shop", "namespace": "team-shop", "generation": 2},
        "spec": {
            "parentRefs": [{"name": "a"}, {"name": "b", "sectionName": "https"}, {"name": "c", "namespace": "infra"}]
        },
        "status": {
            "parents": [
                {"parentRef": {"name": "a"}, "conditions": conditions},
                {"parentRef": {"name": "b", "sectionName": "https"}, "conditions": no},
            ]
        },
    }
    bare = {"kind": "GRPCRoute", "metadata": {"name": "bare", "namespace": "team-shop"}, "spec": {}}
    shown = picture(rollout(status()), 120, routes=[route, bare])
    assert line_with(shown, "Gateway a").split() == ["HTTPRoute", "shop", "Gateway", "a", "✓", "accepted"]
    assert "✗ says Accepted=False (NoMatchingParent: no listener https)" in line_with(shown, "Gateway b (https)")
    assert "has not answered for the route yet" in line_with(shown, "Gateway infra/c")
    assert "no parent" in line_with(shown, "GRPCRoute bare")
    assert "Parents" not in picture(rollout(status()))


def test_rules_that_steps_name_are_shown_by_name() -> None:
    """In the steps, and next to the route: what is desired there is about the other rules."""
    (route,) = routes(0)
    document = rollout(
        status(
            split=SplitStatus(desired=0, written=0, accepted=0),
            routes=(route.model_copy(update={"shares": {"beta": 100.0, "internal": 0.5}}),),
        )
    )
    document["spec"]["steps"][2] = {"weight": 0, "rules": {"beta": 100, "internal": "0.5%"}, "hold": "5m"}
    shown = picture(document, 140)
    assert "0 % + rule beta 100 % + rule internal 0.5 %" in shown
    assert "written to rules by name: beta 100 % and internal 0.5 %" in shown
