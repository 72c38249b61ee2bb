"""Each question goes to the provider of its source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from canary.checks.sources.prometheus import Prometheus
from canary.metrics.port import Query, Refusal
from canary.metrics.registry import AskedLater, Providers
from canary.metrics.scripted import Scripted
from canary.model.measurement import Malformed, Sample

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Elsewhere(Prometheus):
    """Another source, with a provider of its own or with none."""

    PROVIDER = "Elsewhere"


async def test_the_type_of_the_source_says_who_is_asked() -> None:
    """Equal texts of two sources are two questions, in measuring as in validation."""
    ours, theirs = Scripted({"x": 1.0}), Scripted({"x": 2.0}, refused={"bad": "no such thing"})
    providers = Providers({Prometheus: ours, Elsewhere: theirs})
    answers = [await providers.measure(Query(kind("x")), NOW) for kind in (Prometheus, Elsewhere)]
    assert answers == [Sample(1.0, NOW, "x", (1.0,)), Sample(2.0, NOW, "x", (2.0,))]
    refusals = [await providers.validate(Query(kind("bad"))) for kind in (Prometheus, Elsewhere)]
    assert refusals == [None, Refusal("no such thing")]


async def test_a_source_that_nobody_answers_is_no_number() -> None:
    """Without a provider a measurement is Malformed and says whom it misses; a query is not refused for it."""
    providers = Providers({Prometheus: Scripted({"x": 1.0})})
    answer = await providers.measure(Query(Elsewhere("x")), NOW)
    assert answer == Malformed(NOW, "NoProvider", "Elsewhere cannot be asked here", "x")
    assert await providers.validate(Query(Elsewhere("x"))) is None


async def test_all_are_closed() -> None:
    """Closing the registry closes whoever is in it."""
    ours, theirs = Scripted(), Scripted()
    await Providers({Prometheus: ours, Elsewhere: theirs}).close()
    assert ours.closed
    assert theirs.closed


async def test_one_that_is_made_later_answers_like_any_other() -> None:
    """Nothing is made before somebody asks for a source that no other provider answers; it is closed like the others."""
    theirs, made = Scripted({"x": 2.0}, refused={"bad": "no such thing"}), []

    def load():
        return lambda: made.append(theirs) or theirs

    later = AskedLater(load)
    providers = Providers({Prometheus: Scripted({"x": 1.0})}, others=later)
    assert await providers.measure(Query(Prometheus("x")), NOW) == Sample(1.0, NOW, "x", (1.0,))
    assert made == []
    assert await providers.measure(Query(Elsewhere("x")), NOW) == Sample(2.0, NOW, "x", (2.0,))
    assert await providers.validate(Query(Elsewhere("bad"))) == Refusal("no such thing")
    assert made == [theirs]
    await providers.close()
    assert theirs.closed


async def test_one_that_nobody_asked_is_not_made_to_be_closed() -> None:
    """A controller that ends loads nothing for that."""

    def load():
        raise AssertionError("nobody asked")

    await Providers({}, others=AskedLater(load)).close()
