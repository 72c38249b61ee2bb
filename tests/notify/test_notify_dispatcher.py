"""Messages on their way: tried again, by turns, bounded; and who is down delays nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from notify_kit import notice_of, target_of

from canary.backoff import Backoff
from canary.notify.backlog import Backlog
from canary.notify.dispatcher import ATTEMPTS, Dispatcher
from canary.notify.notice import Notice
from canary.notify.outcome import Delivered, Outcome, Undelivered
from canary.notify.queue import TurnQueue
from canary.notify.targets import Target, TargetKey

DOWN = Undelivered("Refused", "500", retryable=True)
PAUSES = Backoff(1.0, 60.0, jitter=0.0)


async def until(condition: Callable[[], bool]) -> None:
    """Let everybody else go on until it holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0)


@dataclass
class Post:
    """A sender whose receivers can be down, or hang; keeps what was tried, and what became of it."""

    down: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    tried: list[tuple[str, str]] = field(default_factory=list)
    done: list[tuple[str, str, bool]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    losers: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    most: int = 5000
    of_one: int = 2000
    now: float = 0.0

    def __post_init__(self) -> None:
        self.dispatcher = Dispatcher(
            self,
            self.target,
            self,
            pauses=PAUSES,
            sleep=self.sleep,
            clock=lambda: self.now,
            most=self.most,
            of_one=self.of_one,
        )

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def target(self, key: TargetKey) -> Target | None:
        return None if key[2] in self.gone else target_of(key[2], namespace=key[1], cluster=not key[1])

    async def send(self, target: Target, notice: Notice) -> Outcome:
        self.tried.append((target.name, notice.name))
        await asyncio.sleep(0)
        if target.name in self.hanging:
            await asyncio.Event().wait()
        if notice.name in self.refused:
            return Undelivered("Refused", "400")
        return DOWN if target.name in self.down else Delivered("yes")

    def attempted(self, target: Target, notice: Notice, outcome: Outcome, *, final: bool) -> None:
        if final:
            self.done.append((target.name, notice.name, isinstance(outcome, Delivered)))

    def dropped(self, target: TargetKey, notice: Notice) -> None:
        self.lost.append(notice.namespace)
        self.losers.append(target[2])

    def put(self, target: str, name: str = "shop", namespace: str = "team", place: str = "team") -> None:
        kind = "NotificationTarget" if place else "ClusterNotificationTarget"
        self.dispatcher.put((kind, place, target), notice_of(name, namespace))

    async def idle(self) -> None:
        await until(lambda: not self.dispatcher.waiting)


async def test_a_receiver_that_is_down_is_tried_with_growing_pauses_and_given_up() -> None:
    """One attempt a pause, and no more than so many in all."""
    post = Post(down={"hook"})
    post.put("hook")
    await post.idle()
    assert post.done == [("hook", "shop", False)]
    assert len(post.tried) == ATTEMPTS
    assert post.pauses == [1.0, 2.0, 4.0, 8.0, 16.0]


async def test_a_receiver_that_comes_back_gets_everything_once() -> None:
    """In the order of turns; nothing is lost, and nothing comes twice."""
    post = Post(down={"hook"})
    for number in range(20):
        post.put("hook", f"shop{number}")
    await until(lambda: len(post.pauses) >= 3)
    post.down.clear()
    await post.idle()
    assert sorted(post.done) == sorted(("hook", f"shop{number}", True) for number in range(20))


async def test_while_it_is_down_it_gets_one_attempt_a_pause_whatever_waits() -> None:
    """A thousand messages do not knock a thousand times as often."""
    post = Post(down={"hook"})
    for number in range(1000):
        post.put("hook", f"shop{number}")
    await until(lambda: len(post.pauses) >= 10)
    assert len(post.tried) == 10
    await post.dispatcher.close(0)


async def test_a_message_that_is_refused_does_not_stop_the_others() -> None:
    """It is given up at once, without a pause."""
    post = Post(refused={"bad"})
    for name in ("bad", "good"):
        post.put("hook", name)
    await post.idle()
    assert (post.done, post.pauses) == ([("hook", "bad", False), ("hook", "good", True)], [])


async def test_receivers_that_hang_delay_no_other() -> None:
    """However many targets of one team hang, those of another are told."""
    post = Post(hanging={f"stuck{number}" for number in range(30)})
    for number in range(30):
        post.put(f"stuck{number}", place="noisy", namespace="noisy")
    for _ in range(5):
        await asyncio.sleep(0)
    post.put("hook")
    await until(lambda: ("hook", "shop", True) in post.done)
    await post.dispatcher.close(0)


async def test_namespaces_take_turns_at_one_target() -> None:
    """A thousand Rollouts that are rolled back at once do not stand before the one of another team."""
    post = Post()
    for number in range(1000):
        post.put("platform", f"shop{number}", "noisy", place="")
    post.put("platform", "cart", "quiet", place="")
    await post.idle()
    assert [name for _, name in post.tried].index("cart") <= 1
    assert len(post.done) == 1001


async def test_what_is_too_much_is_dropped_from_whoever_has_the_most() -> None:
    """The one message of somebody else stays; the queue has its bound."""
    post = Post(of_one=100)
    post.put("platform", "cart", "quiet", place="")
    for number in range(300):
        post.put("platform", f"shop{number}", "noisy", place="")
    assert post.dispatcher.waiting <= 101
    assert Counter(post.lost) == {"noisy": 201}
    await post.idle()
    assert ("platform", "cart", True) in post.done


async def test_all_targets_together_have_a_bound() -> None:
    """Of many targets, the one with the most loses one."""
    post = Post(most=50)
    for number in range(60):
        post.put("loud", f"shop{number}", "noisy", place="noisy")
    post.put("hook")
    assert post.dispatcher.waiting <= 51
    assert set(post.lost) == {"noisy"}
    await post.idle()
    assert ("hook", "shop", True) in post.done


async def test_many_targets_with_one_message_each_push_out_nobody_elses() -> None:
    """It is the namespace that has the most which gives way, and not the target: the platform's three messages stay, and so does a team's."""
    post = Post(most=50)
    for team in ("a", "b", "c"):
        post.put("oncall", "shop", team, place="")
    post.put("hook", "shop", "quiet", place="quiet")
    for number in range(60):
        post.put(f"t{number}", "shop", "hostile", place="hostile")
    assert Counter(post.lost) == {"hostile": 14}
    await post.idle()
    assert post.tried.count(("oncall", "shop")) == 3
    assert ("hook", "shop", True) in post.done


async def test_the_platform_has_a_share_that_no_namespace_can_take() -> None:
    """However many teams have a message or two, while the platform has more than each of them; beyond its share it gives way as anybody does."""
    post = Post(most=50)
    for number in range(25):
        post.put("oncall", f"shop{number}", f"team{number}", place="")
    for number in range(40):
        post.put("hook", "shop", f"team{number}", place=f"team{number}")
    assert (len(post.losers), {*post.losers}) == (15, {"hook"})
    for number in range(5):
        post.put("oncall", f"more{number}", "noisy", place="")
    assert post.losers[15:] == ["oncall"] * 5
    assert post.lost[15:].count("noisy") == 4, "of the platform's own, those of the Rollouts of one namespace"
    await post.idle()


@given(
    st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from("xy"), st.sampled_from("mn"), st.booleans()))
)
def test_who_gives_way(steps: list[tuple[str, str, str, bool]]) -> None:
    """As counting all that wait says."""
    backlog, waiting = Backlog(3), Counter[tuple[TargetKey, str]]()
    for owner, name, about, more in steps:
        key: TargetKey = ("NotificationTarget" if owner else "ClusterNotificationTarget", owner, name)
        source = owner or about
        if more:
            backlog.add(key, source)
            waiting[key, source] += 1
        elif waiting[key, source]:
            backlog.remove(key, source)
            waiting[key, source] -= 1
        if not waiting.total():
            continue
        target, source = backlog.loudest()
        of: Counter[str] = Counter()
        sources: Counter[str] = Counter()
        for (other, about_), count in waiting.items():
            of[other[1]] += count
            sources[about_] += count if other[1] == target[1] else 0
        teams = max(of["a"], of["b"])
        assert waiting[target, source] == max(
            waiting[key] for key in waiting if (key[0][1], key[1]) == (target[1], source)
        )
        assert sources[source] == max(sources.values())
        if target[1]:
            assert of[target[1]] == teams > 0
            assert of[""] <= 3 or of[""] < teams
        else:
            assert teams == 0 or (of[""] > 3 and of[""] >= teams)


async def test_a_target_that_is_gone_is_told_nothing_more() -> None:
    """What waited for it is let go, and counts no more."""
    post = Post(gone={"hook"})
    post.put("hook")
    await post.idle()
    assert (post.tried, post.done) == ([], [])


async def test_an_old_message_is_given_up() -> None:
    """By then somebody has found out otherwise."""
    post = Post(down={"hook"})
    post.put("hook")
    await asyncio.sleep(0)
    post.now += 3600
    await post.idle()
    assert len(post.tried) == 1


async def test_the_end_waits_a_moment_and_takes_no_more() -> None:
    """A controller that stops delivers what it can, and hangs on nothing."""
    post = Post(hanging={"stuck"})
    post.put("hook")
    post.put("stuck")
    async with asyncio.timeout(30):
        await post.dispatcher.close(0.05)
    post.put("hook", "late")
    assert post.done == [("hook", "shop", True)]


@pytest.mark.parametrize("bug", [RuntimeError("a bug")])
async def test_a_bug_in_one_message_is_no_others_business(bug: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and said in the log."""
    post = Post()
    send = post.send

    async def broken(target: Target, notice: Notice) -> Outcome:
        if notice.name == "bad":
            raise bug
        return await send(target, notice)

    monkeypatch.setattr(post, "send", broken)
    post.put("hook", "bad")
    post.put("hook", "good")
    await post.idle()
    assert post.done == [("hook", "bad", False), ("hook", "good", True)]


def test_turns() -> None:
    """One of each namespace; who is dropped is the oldest of the loudest."""
    queue: TurnQueue[int] = TurnQueue()
    for namespace, item in (("a", 1), ("a", 2), ("a", 3), ("b", 4)):
        queue.put(namespace, item)
    assert queue.drop(queue.loudest) == 1
    assert [queue.pop() for _ in range(len(queue))] == [2, 4, 3]
