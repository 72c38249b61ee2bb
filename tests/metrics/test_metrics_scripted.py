from __future__ import annotations

from datetime import UTC, datetime

from canary.checks.sources.prometheus import Prometheus
from canary.metrics.port import Query
from canary.metrics.scripted import Scripted
from canary.model.measurement import NoData, Sample, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def values(scripted: Scripted, text: str, times: int) -> list[float | None]:
    answers = [await scripted.measure(Query(Prometheus(text)), NOW) for _ in range(times)]
    return [answer.value if isinstance(answer, Sample) else None for answer in answers]


async def test_lists_and_iterators_are_stories() -> None:
    """One answer per question, the last for ever; a new story starts at its beginning."""
    scripted = Scripted({"list": [1, None, 3], "iterator": iter((1, 2)), "empty": []})
    assert await values(scripted, "list", 5) == [1, None, 3, 3, 3]
    assert await values(scripted, "iterator", 4) == [1, 2, 2, 2]
    assert await values(scripted, "empty", 2) == [None, None]
    scripted.answers["list"] = [9, 8]
    assert await values(scripted, "list", 3) == [9, 8, 8]


async def test_the_longest_key_wins() -> None:
    """Queries are recognised by what they contain; the most specific answer counts, and no answer is NoData."""
    scripted = Scripted({"errors": 1, 'errors{service="canary"}': 2})
    assert await values(scripted, 'rate(errors{service="canary"}[1m])', 1) == [2]
    assert await values(scripted, "rate(errors[1m])", 1) == [1]
    assert await values(scripted, "latency", 1) == [None]


async def test_measurements_and_functions() -> None:
    """Measurements come stamped with this question; functions see the question, and may tell stories themselves."""
    past = datetime(2000, 1, 1, tzinfo=UTC)
    scripted = Scripted({"down": Unreachable(past, "Unreachable", "refused"), "clock": lambda _, now: now.second})
    assert await scripted.measure(Query(Prometheus("down")), NOW) == Unreachable(NOW, "Unreachable", "refused", "down")
    assert await values(scripted, "clock", 1) == [5]


async def test_questions_are_recorded() -> None:
    """Every measurement asked for is remembered with its time; closing is, too."""
    scripted = Scripted()
    assert await scripted.measure(Query(Prometheus("a", "http://x"), 1.0), NOW) == NoData(NOW, "a")
    assert [(call.query, call.now) for call in scripted.calls] == [(Query(Prometheus("a", "http://x"), 1.0), NOW)]
    await scripted.close()
    assert scripted.closed
