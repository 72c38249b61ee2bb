from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.errors import Conflict, Forbidden, Throttled, Unavailable, Unprocessable
from canary.kube.events import build_event, suffix_of
from canary.kube.retry import EVENT_WRITE, READ, ROUTE_WRITE, STATUS_WRITE, RetryPolicy

POLICIES = [ROUTE_WRITE, STATUS_WRITE, EVENT_WRITE, READ]


class Server:
    """Raises the given errors, then answers; remembers how long it was left alone."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.pauses: list[float] = []

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
async def test_what_a_retry_can_help_is_retried(policy: RetryPolicy) -> None:
    """Every policy survives one passing failure, with a short pause."""
    for error in (Conflict("moved"), Throttled("slow"), Unavailable("gone away")):
        server = Server(error)
        assert await policy.call(server, sleep=server.sleep) == "done"
        assert server.calls == 2
        assert policy.backoff.first / 2 <= server.pauses[0] <= policy.backoff.first


async def test_anything_that_gives_an_awaitable_can_be_sent() -> None:
    """A lambda around a coroutine is awaited and retried like a coroutine function."""
    server = Server(Unavailable("gone away"))
    assert await ROUTE_WRITE.call(lambda: server(), sleep=server.sleep) == "done"  # noqa: PLW0108 - a lambda is the point
    assert server.calls == 2


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
@pytest.mark.parametrize("error", [Forbidden("no"), Unprocessable("test failed"), ValueError("ours")])
async def test_what_no_retry_helps_is_raised_at_once(policy: RetryPolicy, error: Exception) -> None:
    """A refusal, and a mistake of ours, come out unchanged after one call."""
    server = Server(error)
    with pytest.raises(type(error)) as caught:
        await policy.call(server, sleep=server.sleep)
    assert caught.value is error
    assert (server.calls, server.pauses) == (1, [])


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
async def test_retries_are_bounded(policy: RetryPolicy) -> None:
    """The last error comes out after a bounded number of calls and pauses, which grow."""
    server = Server(*(Unavailable(str(n)) for n in range(50)))
    with pytest.raises(Unavailable, match=str(policy.attempts - 1)):
        await policy.call(server, sleep=server.sleep)
    assert server.calls == policy.attempts
    assert sum(server.pauses) <= policy.total
    assert max(server.pauses) <= policy.backoff.longest


async def test_retry_after_is_honoured_when_it_fits() -> None:
    """The server's Retry-After is the least pause; one that is too long for the policy is no pause at all."""
    server = Server(Throttled("slow", retry_after=3.0))
    assert await READ.call(server, sleep=server.sleep) == "done"
    assert server.pauses == [3.0]
    server = Server(Throttled("slow", retry_after=60.0))
    with pytest.raises(Throttled):
        await READ.call(server, sleep=server.sleep)
    assert server.pauses == []


ROLLOUT = {
    "apiVersion": "canary.dev/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "shop", "namespace": "team", "uid": "u1", "resourceVersion": "7"},
    "spec": {},
}
NOW = datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))


def test_event_is_about_its_object() -> None:
    """An Event lives beside its object, points to it, and says when in UTC."""
    event = build_event(ROLLOUT, type_="Warning", reason="CheckFailed", message="no", now=NOW, name_suffix="7-3")
    assert event["metadata"] == {"name": "shop.7-3", "namespace": "team"}
    assert event["involvedObject"] == {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "Rollout",
        "name": "shop",
        "namespace": "team",
        "uid": "u1",
        "resourceVersion": "7",
    }
    assert (event["type"], event["reason"], event["message"], event["count"]) == ("Warning", "CheckFailed", "no", 1)
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-02T03:04:05Z"
    assert event["eventTime"] == "2026-01-02T03:04:05.000000Z"
    assert event["reportingComponent"] == event["source"]["component"] == event["reportingInstance"] == "canary"


@given(st.text(alphabet="aü☃🦜\ud800", max_size=1500))
def test_a_message_fits_by_bytes(message: str) -> None:
    """The server counts bytes. What is cut is a beginning, and half a UTF-16 pair is no reason to tell nothing."""
    event = build_event(ROLLOUT, type_="Normal", reason="R", message=message, now=NOW, name_suffix="a")
    told, whole = event["message"], message.replace("\ud800", "?")
    assert len(told.encode()) <= 1024
    assert told == whole or (told.endswith("…") and whole.startswith(told[:-1]) and len(told.encode()) > 1020)


MOMENTS = st.integers(0, 7_000_000_000_000_000).map(
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)


@given(st.lists(MOMENTS, min_size=2, max_size=9))
def test_names_sort_by_time(times: list[datetime]) -> None:
    """To the microsecond, for as long as anybody will care, whatever tells processes apart; and they are valid names."""
    names = [build_event(ROLLOUT, type_="Normal", reason="R", message="", now=at, name_suffix=suffix_of(at, salt))
             ["metadata"]["name"] for at, salt in zip(sorted(set(times)), itertools.cycle(("ff", "0a", "b1")))]  # fmt: skip
    assert names == sorted(names)
    assert len(names) == len(set(times))


def test_event_fits_the_limits_of_the_api_server() -> None:
    """Long messages and long names are cut so that the server takes them."""
    long = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a" * 240 + "." + "b" * 12}}
    event = build_event(long, type_="Normal", reason="R", message="m" * 2000, now=NOW, name_suffix="123456789012")
    assert len(event["message"].encode()) == 1024
    assert event["message"].endswith("m…")
    assert event["metadata"] == {"name": "a" * 240 + ".123456789012", "namespace": "default"}
    assert "namespace" not in event["involvedObject"]


@pytest.mark.parametrize("suffix", ["", "A", "a/b", "-a", "a-", "a_b"])
def test_event_name_must_be_valid(suffix: str) -> None:
    """A suffix that makes no valid name is a mistake of the caller, found here and not by the server."""
    with pytest.raises(ValueError, match="cannot end the name"):
        build_event(ROLLOUT, type_="Normal", reason="R", message="", now=NOW, name_suffix=suffix)


def test_event_needs_a_timezone() -> None:
    """A naive time would be read as UTC and be wrong by hours."""
    with pytest.raises(ValueError, match="timezone"):
        build_event(
            ROLLOUT,
            type_="Normal",
            reason="R",
            message="",
            now=NOW.astimezone(UTC).replace(tzinfo=None),
            name_suffix="a",
        )
