"""Who is told what, once; what goes on record; and what a message says."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notify_kit import AT, START, Ledger, notice_of, rollout_of, status_of, target_of

from canary.model.status import RolloutStatus
from canary.model.times import format_time
from canary.notify.notice import LONGEST, clean
from canary.notify.outcome import Undelivered

Json = dict[str, Any]

ROLLED_BACK = status_of(
    "RollingBack", run={"outcome": "RolledBack", "reason": "CheckFailed", "endedAt": "2026-03-02T09:00:00Z"}
)


def test_a_transition_is_told_and_a_state_is_not() -> None:
    """What was so before our write is no news."""
    ledger = Ledger()
    notices = ledger.notices(target_of())
    notices.recorded({"phase": "Idle"}, rollout_of(status_of(step=0)))
    notices.recorded(status_of(step=0), rollout_of(status_of(step=0, message="other words")))
    notices.recorded(status_of(), rollout_of(ROLLED_BACK))
    assert ledger.kinds == ["RunStarted", "RolledBack"]


def test_targets_choose() -> None:
    """By event and by label; those of a namespace only Rollouts of that namespace, whatever their selector says."""
    ledger = Ledger()
    notices = ledger.notices(
        target_of("ends", events=["RolledBack"]),
        target_of("gold", selector={"matchLabels": {"tier": "gold"}}),
        target_of("spy", namespace="other"),
        target_of("platform", cluster=True, selector={"matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
    )
    notices.recorded({"phase": "Idle"}, rollout_of(status_of(step=0), tier="gold"))
    assert [key[2] for key, _ in ledger.queued] == ["platform", "gold"]
    ledger.queued.clear()
    notices.recorded(status_of(), rollout_of(ROLLED_BACK))
    assert [key[2] for key, _ in ledger.queued] == ["ends"]


def test_by_default_no_step_is_told() -> None:
    """A run of ten steps is not ten messages, unless somebody asks for them."""
    ledger = Ledger()
    ledger.notices(target_of()).recorded(status_of(step=1), rollout_of(status_of(step=2)))
    assert ledger.queued == []
    ledger.notices(target_of(events=["StepStarted"])).recorded(status_of(step=1), rollout_of(status_of(step=2)))
    assert ledger.kinds == ["StepStarted"]


def test_what_arrived_goes_on_record_until_it_is_no_more_so() -> None:
    """Owed until it is read back; dropped with the run that it is about."""
    ledger = Ledger()
    notices = ledger.notices(target_of())
    notices.recorded(status_of(), rollout_of(ROLLED_BACK))
    ledger.deliver(notices)
    assert ledger.owing == [("team", "shop")]
    before = RolloutStatus.load(ROLLED_BACK)
    after = notices.acknowledged(("team", "shop"), "uid-shop", before, before)
    assert [(said.target, said.events) for said in after.notified] == [("NotificationTarget/hook", ("RolledBack/7",))]
    assert notices.owes(("team", "shop")), "nothing is written yet"
    assert notices.acknowledged(("team", "shop"), "uid-shop", after, after) is after
    assert not notices.owes(("team", "shop"))
    again = after.model_copy(update={"run": RolloutStatus.load(status_of(number=8)).run, "phase": "Progressing"})
    assert notices.acknowledged(("team", "shop"), "uid-shop", again, again).notified == ()


def test_of_another_rollout_of_the_same_name_nothing_is_on_record() -> None:
    """It was deleted and made anew while somebody was told of the old one."""
    ledger = Ledger()
    notices = ledger.notices(target_of())
    notices.recorded(status_of(), rollout_of(ROLLED_BACK))
    ledger.deliver(notices)
    status = RolloutStatus.load(ROLLED_BACK)
    assert notices.acknowledged(("team", "shop"), "another", status, status) is status
    assert not notices.owes(("team", "shop"))


@pytest.mark.parametrize(
    ("what", "status", "later", "created", "told"),
    [
        ("what is fresh, and told to nobody", ROLLED_BACK, 60, "2026-03-02T08:00:00Z", ["RunStarted", "RolledBack"]),
        ("what is old", ROLLED_BACK, 3600, "2026-03-02T08:00:00Z", []),
        ("what was before the target", ROLLED_BACK, 600, "2026-03-02T09:05:00Z", []),
        (
            "what is on record",
            {**ROLLED_BACK, "notified": [{"target": "NotificationTarget/hook", "events": ["RolledBack/7"]}]},
            60,
            "2026-03-02T08:00:00Z",
            ["RunStarted"],
        ),
    ],
)
def test_at_the_start_what_nobody_could_tell_any_more_is_told(
    what: str, status: Json, later: int, created: str, told: list[str]
) -> None:
    """Once, also if it is found again."""
    ledger = Ledger()
    ledger.now += timedelta(seconds=later)
    notices = ledger.notices(target_of(created=created))
    for _ in range(2):
        notices.catch_up(rollout_of(status))
    assert ledger.kinds == told


@pytest.mark.parametrize(
    ("what", "first", "recorded", "told"),
    [
        ("seen for the first time", True, -60, ["RunStarted", "RolledBack"]),
        ("so, and recorded by somebody after we began", True, 60, ["RunStarted", "RolledBack"]),
        ("known, and what was recorded before we began comes late", False, -60, ["RunStarted", "RolledBack"]),
        ("known, and recorded since: who did that tells it", False, 60, []),
        ("old", True, -3600, []),
        ("recorded when nobody knows", True, None, []),
    ],
)
def test_whenever_a_rollout_is_seen_what_is_owed_is_told(
    what: str, first: bool, recorded: int | None, told: list[str]
) -> None:
    """Once, also when it was told and is not on record yet, and however much was told in between."""
    ledger = Ledger()
    notices = ledger.notices(target_of(created="2026-03-02T08:00:00Z"))
    at = "whenever" if recorded is None else format_time(ledger.now + timedelta(seconds=recorded))
    ledger.now += timedelta(seconds=120)
    document = rollout_of({**ROLLED_BACK, "recordedAt": at})
    notices.seen(document, first=first)
    assert ledger.kinds == told
    ledger.deliver(notices)
    notices._taken.clear()  # as 20,000 messages to others do
    notices.seen(document, first=first)
    if told:
        notices.catch_up(document)
    assert ledger.queued == []


@pytest.mark.parametrize("skew", [-1200, 0, 1200])
@pytest.mark.parametrize(("later", "told"), [(60, ["RunStarted", "RolledBack"]), (1000, [])])
@pytest.mark.parametrize("first", [True, False])
def test_how_old_something_is_says_the_api_server(skew: int, later: int, told: list[str], first: bool) -> None:
    """The controller that recorded it, and ours, may have clocks that differ by more than what makes news old."""
    ledger = Ledger()
    shift = timedelta(seconds=skew)
    ended = format_time(START + shift)
    status = status_of("RollingBack", run={"outcome": "RolledBack", "endedAt": ended, "startedAt": ended})
    document = rollout_of({**status, "recordedAt": ended})
    entry = {"manager": "canary", "operation": "Update", "subresource": "status", "time": "2026-03-02T09:00:00Z"}
    document["metadata"]["managedFields"] = [entry]
    ledger.now = START + timedelta(seconds=later)
    notices = ledger.notices(target_of(created="2026-03-02T08:00:00Z"))
    notices.seen(document, first=first)
    assert ledger.kinds == told


def test_targets_that_are_listed_late_are_told_alone() -> None:
    """Those of their kind and their namespace: of the others each was asked about already, told or not."""
    ledger = Ledger()
    notices = ledger.notices(target_of("here"), target_of("platform", cluster=True))
    for place in (("NotificationTarget", "elsewhere"), ("NotificationTarget", "team"), ("NotificationTarget", None)):
        notices.catch_up(rollout_of(ROLLED_BACK), place)
    assert [key[2] for key, _ in ledger.queued] == ["here", "here"]
    notices.catch_up(rollout_of(ROLLED_BACK), ("ClusterNotificationTarget", None))
    assert [key[2] for key, _ in ledger.queued[2:]] == ["platform", "platform"]


@pytest.mark.parametrize(
    ("what", "run", "later", "told", "kinds"),
    [
        ("how a run ended", {"outcome": "RolledBack", "reason": "CheckFailed"}, 60, (), ["RunStarted", "RunStarted", "RolledBack"]),
        ("what is on record as told", {"outcome": "RolledBack"}, 60, ("RunStarted/7", "RolledBack/7"), ["RunStarted"]),
        ("a success", {"outcome": "Succeeded"}, 60, ("RunStarted/7",), ["RunStarted", "Succeeded"]),
        ("how one ended long ago", {"outcome": "RolledBack"}, 3600, (), ["RunStarted"]),
    ],
)  # fmt: skip
def test_what_the_next_run_overtook_is_told_by_a_successor(
    what: str, run: Json, later: int, told: tuple[str, ...], kinds: list[str]
) -> None:
    """How the run before the one on record ended, with its own number and reason; nothing of it is said to be so now."""
    ledger = Ledger()
    before = status_of(run={**run, "endedAt": AT})["run"]
    ledger.now = START + timedelta(seconds=later)
    status = {**status_of(number=8), "previousRun": before, "recordedAt": format_time(ledger.now)}
    status["run"] |= {"startedAt": format_time(ledger.now)}
    if told:
        status["notified"] = [{"target": "NotificationTarget/hook", "events": list(told)}]
    notices = ledger.notices(target_of(created="2026-03-02T08:00:00Z"))
    notices.catch_up(rollout_of(status))
    assert ledger.kinds == kinds
    if "RolledBack" in kinds:
        notice = ledger.queued[-1][1]
        assert (notice.id, notice.key) == ("uid-shop-7-RolledBack", "RolledBack/7")
        data = json.loads(notice.data)
        assert (data["run"]["number"], data["phase"], data["reason"]) == (7, "RolledBack", "CheckFailed")
        assert "step" not in data


def test_what_was_told_of_the_run_before_stays_on_record_with_it() -> None:
    """And a run that follows is no news of the one before."""
    ledger = Ledger()
    notices = ledger.notices(target_of())
    notices.recorded(ROLLED_BACK, rollout_of({**status_of(number=8), "previousRun": ROLLED_BACK["run"]}))
    assert ledger.kinds == ["RunStarted"]
    status = RolloutStatus.load(
        {
            **status_of(number=8),
            "previousRun": ROLLED_BACK["run"],
            "notified": [{"target": "NotificationTarget/hook", "events": ["RolledBack/6", "RolledBack/7"]}],
        }
    )
    after = notices.acknowledged(("team", "shop"), "uid-shop", status, status)
    assert [said.events for said in after.notified] == [("RolledBack/7",)]


def test_a_message_that_was_given_up_is_told_to_the_team_and_not_tried_again() -> None:
    """Of a platform's target an app team learns that it failed, and not where it leads."""
    ledger = Ledger()
    notices = ledger.notices(target_of(), target_of("platform", cluster=True))
    notices.recorded(status_of(), rollout_of(ROLLED_BACK))
    for key, notice in ledger.queued:
        target = notices.targets.get(key)
        assert target is not None
        notices.attempted(target, notice, Undelivered("Refused", "https://hooks.example.com answered 500"), final=True)
    assert ledger.counted == ["failed", "failed"]
    assert [event for event in ledger.events if "example.com" in event] == [
        "NotificationTarget/hook was not told of RolledBack: https://hooks.example.com answered 500"
    ]
    assert "ClusterNotificationTarget/platform was not told of RolledBack: Refused" in ledger.events
    assert not notices.owes(("team", "shop"))
    ledger.queued.clear()
    notices.catch_up(rollout_of(ROLLED_BACK))
    assert [notice.kind for _, notice in ledger.queued if notice.kind == "RolledBack"] == []


def test_more_targets_than_fit_on_record_are_not_told() -> None:
    """Whoever may make targets in a namespace makes no record of a Rollout grow."""
    ledger = Ledger()
    notices = ledger.notices(*(target_of(f"t{number:02}") for number in range(40)))
    notices.recorded(status_of(), rollout_of(ROLLED_BACK))
    assert len(ledger.queued) == 32
    ledger.deliver(notices)
    status = RolloutStatus.load(ROLLED_BACK)
    assert len(notices.acknowledged(("team", "shop"), "uid-shop", status, status).notified) == 32


def test_targets_that_are_gone_take_no_room_on_record() -> None:
    """All were made anew by other names: those who are there are on record, and a restart tells none of them again."""
    ledger = Ledger()
    notices = ledger.notices(*(target_of(f"b{number:02}") for number in range(20)))
    notices.recorded(status_of(), rollout_of(ROLLED_BACK))
    ledger.deliver(notices)
    gone = [{"target": f"NotificationTarget/a{number:02}", "events": ["RolledBack/7"]} for number in range(32)]
    status = RolloutStatus.load({**ROLLED_BACK, "notified": gone})
    after = notices.acknowledged(("team", "shop"), "uid-shop", status, status)
    assert {f"NotificationTarget/b{number:02}" for number in range(20)} < {said.target for said in after.notified}
    assert len(after.notified) == 32
    assert notices.acknowledged(("team", "shop"), "uid-shop", after, after).notified == after.notified


@pytest.mark.parametrize("reason", ["PausedByRequest", "AwaitingApproval"])
def test_a_pause_is_not_told_by_what_was_told_of_one_before_it(reason: str) -> None:
    """The same step is paused again for the same reason. The first message arrives late, and then the controller dies."""

    def paused_at(minute: int) -> Json:
        since = {"reason": reason, "since": f"2026-03-02T08:{minute}:00Z"}
        return status_of("Paused", paused=since, recordedAt=f"2026-03-02T08:{minute}:00Z")

    ledger = Ledger()
    notices = ledger.notices(target_of())
    notices.recorded(status_of(), rollout_of(paused_at(58)))
    late = list(ledger.queued)
    notices.recorded(paused_at(58), rollout_of(status_of()))
    notices.recorded(status_of(), rollout_of(paused_at(59)))
    ledger.queued[:] = late
    ledger.deliver(notices)
    status = RolloutStatus.load(paused_at(59))
    after = notices.acknowledged(("team", "shop"), "uid-shop", status, status)
    successor = Ledger()
    successor.notices(target_of()).catch_up(rollout_of({**after.dump(), "recordedAt": "2026-03-02T08:59:00Z"}))
    wanted = "AwaitingApproval" if reason == "AwaitingApproval" else "Paused"
    assert [notice.at.minute for _, notice in successor.queued if notice.kind == wanted] == [59]


def test_a_test_is_sent_once_for_an_id() -> None:
    """However often the target is listed; and what came of it is answered by that id."""
    ledger = Ledger()
    asked = {
        "kind": "NotificationTarget",
        "metadata": {"name": "hook", "namespace": "team", "uid": "u", "annotations": {"canary.dev/test": "abc"}},
        "spec": {"http": {"url": "https://hooks.example.com"}},
    }
    target = type(target_of()).of(asked)
    notices = ledger.notices(target, target)
    assert ledger.kinds == ["Test"]
    ledger.deliver(notices)
    assert ledger.tests == [("abc", "Delivered")]
    assert ledger.owing == []


def test_a_message_for_people() -> None:
    """What happened, why, where it stands, and what to do next."""
    notice = notice_of(status=ROLLED_BACK, key="RolledBack/7")
    assert notice.title == "team/shop: run 7 is rolled back"
    assert notice.body.splitlines() == [
        "CheckFailed",
        "revision 6c9f, step 3/6; the canary has 50 %",
        "`canary explain shop -n team` says why",
    ]
    assert notice.level == "failure"


@given(st.text(max_size=3000))
def test_text_of_others_is_cleaned_and_bounded(text: str) -> None:
    """Who started a run, and why, is theirs to say: on one line, printable, and short; in a chat it calls nobody."""
    found = clean(text)
    assert len(found) <= LONGEST
    assert found.isprintable()
    notice = notice_of(status=status_of(run={"trigger": {"by": text[:1000]}}))
    event = json.loads(notice.event)
    assert event["data"]["run"]["trigger"]["by"].isprintable()
    title, body = notice.chat
    assert "\n" not in title
    assert len(body.splitlines()) == 3


@pytest.mark.parametrize(
    ("call", "harmless"),
    [
        ("@everyone", "@ everyone"),
        ("@here", "@ here"),
        ("@Channel", "@ Channel"),
        ("@123456", "@ 123456"),
        ("alice@example.com", "alice@ example.com"),
        ("<!channel>", "< !channel>"),
        ("<@U123>", "< @ U123>"),
        ("<https://evil.example|ok>", "< https://evil.example|ok>"),
        ("<mailto:a.b|ok>", "< mailto:a.b|ok>"),
        ("[ok](https://evil.example)", "[ok] (https://evil.example)"),
        ("![ok](https://evil.example/i.png)", "![ok] (https://evil.example/i.png)"),
        ("[ok][1]", "[ok] [1]"),
        ("0.7 <= 1 [of 5] (a), <3 @ 5", "0.7 <= 1 [of 5] (a), <3 @ 5"),
    ],
)
def test_a_chat_finds_nobody_to_call_and_no_link_that_hides_where_it_leads(call: str, harmless: str) -> None:
    """Neither everybody of a channel, nor somebody; what could be neither stays as it is."""
    _, body = notice_of(status=status_of(run={"trigger": {"by": call}})).chat
    assert harmless in body
    assert call == harmless or call not in body
