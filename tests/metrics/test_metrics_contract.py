"""What every provider does, whatever it asks: the scripted twin is a twin only as far as this file goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fake_prometheus import failure, vector

from canary.checks.sources.prometheus import Prometheus
from canary.metrics.port import Provider, Query, Refusal
from canary.metrics.prometheus import PrometheusProvider
from canary.metrics.scripted import Scripted
from canary.model.measurement import Malformed, NoData, Sample, Unreachable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Lesson:
    """Teaches one of the providers what to answer."""

    def __init__(self, provider: Provider, numbers: Callable[..., None], hang: Callable, refuse: Callable) -> None:
        self.provider, self.numbers, self.hang, self.refuse = provider, numbers, hang, refuse


@pytest.fixture(params=["scripted", "prometheus"])
async def lesson(request, prometheus) -> AsyncIterator[Lesson]:
    if request.param == "scripted":
        twin = Scripted()

        async def hang(query: Query, now: datetime) -> Any:
            await asyncio.Event().wait()

        yield Lesson(
            twin,
            lambda query, *numbers: twin.answers.update({query: numbers}),
            lambda query: twin.answers.update({query: hang}),
            lambda query, words: twin.refused.update({query: words}),
        )
    else:
        provider = PrometheusProvider(prometheus.url)

        def numbers(query: str, *numbers: float) -> None:
            series = [({"pod": str(index)} if len(numbers) > 1 else {}, number) for index, number in enumerate(numbers)]
            prometheus.answers[query] = lambda: vector(*series)

        yield Lesson(
            provider,
            numbers,
            lambda query: prometheus.answers.update({query: prometheus.hang}),
            lambda query, words: prometheus.answers.update({query: lambda: failure(400, "bad_data", words)}),
        )
        await provider.close()


async def test_one_number_is_a_sample(lesson) -> None:
    """One number comes back with when and what was asked."""
    lesson.numbers("up", 0.25)
    assert await lesson.provider.measure(Query(Prometheus("up")), NOW) == Sample(0.25, NOW, "up", (0.25,))


async def test_no_series_is_no_data(lesson) -> None:
    """Nothing is NoData, and not zero."""
    lesson.numbers("up")
    assert await lesson.provider.measure(Query(Prometheus("up")), NOW) == NoData(NOW, "up")


@pytest.mark.parametrize(("number", "spelled"), [("nan", "NaN"), ("inf", "+Inf"), ("-inf", "-Inf")])
async def test_what_is_not_finite_is_no_number(lesson, number: str, spelled: str) -> None:
    """NaN (0/0: no traffic) and infinities have a name of their own, and the message says which it was."""
    lesson.numbers("up", float(number))
    answer = await lesson.provider.measure(Query(Prometheus("up")), NOW)
    assert answer == Malformed(NOW, "NotANumber", f"the query returned {spelled}", "up")


async def test_several_series_are_ambiguous_unless_wanted(lesson) -> None:
    """Several series are no number; with `many` they all come, in a stable order."""
    lesson.numbers("up", 3.0, 1.0, 2.0)
    ambiguous = await lesson.provider.measure(Query(Prometheus("up")), NOW)
    assert isinstance(ambiguous, Malformed)
    assert ambiguous.reason == "SeveralSeries"
    assert "3 series" in ambiguous.message
    assert "sum()" in ambiguous.message
    assert await lesson.provider.measure(Query(Prometheus("up"), many=True), NOW) == Sample(
        3.0, NOW, "up", (3.0, 1.0, 2.0)
    )


@pytest.mark.alone("how long silence lasts", waits=True)
async def test_silence_ends_at_the_timeout(lesson) -> None:
    """A provider that never answers is Unreachable(Timeout) after the query's own time-out."""
    lesson.hang("up")
    started = asyncio.get_running_loop().time()
    answer = await lesson.provider.measure(Query(Prometheus("up"), timeout=0.1), NOW)
    assert isinstance(answer, Unreachable)
    assert (answer.reason, answer.at, answer.query) == ("Timeout", NOW, "up")
    assert "within 0.1 s" in answer.message
    assert asyncio.get_running_loop().time() - started < 3


async def test_a_refused_query(lesson) -> None:
    """A query that the provider refuses is BadQuery in its words, and validation says the same."""
    lesson.refuse("sum(", "parse error: unclosed left parenthesis")
    answer = await lesson.provider.measure(Query(Prometheus("sum(")), NOW)
    assert answer == Malformed(NOW, "BadQuery", "parse error: unclosed left parenthesis", "sum(")
    assert await lesson.provider.validate(Query(Prometheus("sum("))) == Refusal(
        "parse error: unclosed left parenthesis"
    )


async def test_validation_of_what_is_fine_or_silent(lesson) -> None:
    """A good query passes validation, with data or without; a provider that is silent refuses nothing."""
    lesson.numbers("with", 1.0)
    lesson.numbers("empty")
    lesson.hang("silent")
    for query in (Query(Prometheus("with")), Query(Prometheus("empty")), Query(Prometheus("silent"), timeout=0.05)):
        assert await lesson.provider.validate(query) is None
