"""One request serves all who ask the same at one time, and nobody is worse off for it than alone."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from fake_prometheus import failure, until, vector
from hypothesis import given, settings
from hypothesis import strategies as st

from canary.checks.sources.prometheus import Prometheus
from canary.fair import FairLimit, LimitClosed, Place
from canary.metrics.port import Query
from canary.metrics.prometheus import PrometheusProvider
from canary.metrics.sharing import KEPT, NoTurn, Sharing
from canary.model.measurement import Measurement, Sample, Unreachable

EPOCH = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
INTERVAL = 10.0
DOWN = "down"


@dataclass(frozen=True)
class Ask:
    """Somebody asks; `gives_up` is after how many seconds he is cancelled."""

    at: float
    who: int
    what: str = "x"
    max_age: float = 1.0
    patience: float = INTERVAL
    gives_up: float | None = None


@dataclass
class Told:
    ask: Ask
    at: float
    answer: Measurement | type[Exception]


@dataclass
class Story:
    """A server in a time of its own, which answers with the second in which it was asked, after `takes`; or fails after that."""

    places: int
    takes: float = 0.2
    failing: Callable[[float], bool] = lambda _: False
    now: float = 0.0
    sent: list[tuple[str, float]] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limit = FairLimit(self.places, clock=lambda: self.now)
        self.sharing = Sharing(self.limit, self._send, clock=lambda: self.now)
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def at(self, moment: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (moment, next(self._count), do))

    def _send(self, query: Query, now: datetime, place: Place) -> asyncio.Future[Measurement]:
        sent, answer = self.now, asyncio.get_running_loop().create_future()
        self.sent.append((query.text, sent))

        def done() -> None:
            self.limit.give_back(place)
            good = Sample(sent, now, query.text)
            answer.set_result(Unreachable(now, DOWN, DOWN, query.text) if self.failing(sent) else good)

        self.at(sent + self.takes, done)
        return answer

    async def _ask(self, ask: Ask) -> None:
        tenant = (f"team-{ask.who}", "shop")
        query = Query(Prometheus(ask.what), tenant=tenant, patience=ask.patience, max_age=ask.max_age)
        answer: Measurement | type[Exception]
        try:
            answer = await self.sharing.ask(query, EPOCH + timedelta(seconds=ask.at))
        except NoTurn:
            answer = NoTurn
        self.told.append(Told(ask, self.now, answer))

    def play(self, *asks: Ask) -> None:
        asyncio.run(self._play(asks))

    async def _play(self, asks: tuple[Ask, ...]) -> None:
        tasks: list[asyncio.Task[None]] = []

        def begin(ask: Ask) -> None:
            task = asyncio.ensure_future(self._ask(ask))
            tasks.append(task)
            if ask.gives_up is not None:
                self.at(ask.at + ask.gives_up, task.cancel)

        for ask in asks:
            self.at(ask.at, lambda ask=ask: begin(ask))
        while self._agenda:
            moment = self._agenda[0][0]
            while self._agenda and self._agenda[0][0] == moment:
                self.now, _, do = heapq.heappop(self._agenda)
                do()
            for _ in range(8):
                await asyncio.sleep(0)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(one is None or isinstance(one, asyncio.CancelledError) for one in ended), ended
        assert not self.limit.busy
        assert not self.sharing._waiting


def asked_at(told: Told) -> float:
    assert isinstance(told.answer, Sample)
    return (told.answer.at - EPOCH).total_seconds()


TENTHS = st.integers(0, 60).map(lambda tenths: tenths / 10)
ASKS = st.lists(
    st.builds(
        Ask,
        TENTHS,
        st.integers(0, 12),
        st.sampled_from("xyz"),
        st.sampled_from([0.0, 0.3, 1.0, 5.0]),
        gives_up=st.one_of(st.none(), st.integers(0, 20).map(lambda tenths: tenths / 10)),
    ),
    min_size=1,
    max_size=25,
)
DURATIONS = st.integers(0, 25).map(lambda tenths: tenths / 10)


@given(asks=ASKS, takes=DURATIONS, down=st.tuples(TENTHS, TENTHS), places=st.integers(2, 4) | st.just(60))
@settings(max_examples=400, deadline=None)
def test_whoever_asks_is_told_what_is_so_at_most_that_old(
    asks: list[Ask], takes: float, down: tuple[float, float], places: int
) -> None:
    """Whatever the others ask, cancel or break: an answer says of when it is, which is as late as its asker may demand.

    Each is answered who does not give up himself; whose turn would come at once, as soon as alone. An error is told to nobody
    who came after it.
    """
    questions = Counter(ask.who for ask in asks)
    story = Story(places, takes, failing=lambda sent: down[0] <= sent < down[1])
    story.play(*asks)
    patient = {ask for ask in asks if ask.gives_up is None}
    assert patient <= {told.ask for told in story.told}
    for told in story.told:
        ask = told.ask
        if told.answer is NoTurn:
            assert places < 60
            continue
        if places == 60 and questions[ask.who] == 1:
            assert told.at <= ask.at + takes + 1e-6
        if isinstance(told.answer, Sample):
            of = told.answer.value
            assert of >= ask.at - min(ask.max_age, KEPT) - 1e-6
            assert asked_at(told) == pytest.approx(min(ask.at, of))
        else:
            assert told.at >= ask.at  # nobody who came after it
            assert any(
                text == ask.what and down[0] <= at < down[1] and at + takes >= ask.at - 1e-6 for text, at in story.sent
            )


@given(
    asks=st.lists(st.builds(Ask, st.just(0.0), st.integers(0, 9), st.sampled_from("xyz"), st.sampled_from([0.0, 1.0]))),
    takes=DURATIONS,
    places=st.integers(1, 9),
)
@settings(deadline=None)
def test_at_one_instant_there_are_as_many_requests_as_questions(asks: list[Ask], takes: float, places: int) -> None:
    """However many Rollouts ask them, and however few places there are."""
    story = Story(places, takes)
    story.play(*asks)
    sent = [text for text, _ in story.sent]
    assert len(sent) == len(set(sent)) == len({ask.what for ask in asks} & set(sent))
    assert len(story.told) == len(asks)
    if takes * 3 < INTERVAL - 1:
        assert {told.ask.what for told in story.told if isinstance(told.answer, Sample)} == {ask.what for ask in asks}


@given(asks=ASKS, takes=DURATIONS)
@settings(deadline=None)
def test_one_question_is_sent_once_in_as_long_as_an_answer_may_be_old(asks: list[Ask], takes: float) -> None:
    """A second request while the first is young is one that nobody could do without."""
    story = Story(60, takes)
    story.play(*asks)
    for what in "xyz":
        sent = [at for text, at in story.sent if text == what]
        strictest = min((min(ask.max_age, KEPT) for ask in asks if ask.what == what), default=0)
        assert all(after - before > strictest - 1e-6 for before, after in itertools.pairwise(sent))


def test_a_turn_that_comes_first_is_everybodys() -> None:
    """Each stands in line for himself: behind a team whose line is long, another one's turn answers them all."""
    story = Story(4, takes=0.5)
    crowd = [Ask(0.0, 0, f"of team 0, {number}") for number in range(10)]
    story.play(*crowd, Ask(0.1, 0, "x"), Ask(0.1, 1, "x"))
    (alone,) = (at for text, at in story.sent if text == "x")
    assert alone == pytest.approx(0.1)  # there is a place for team 1, and there would be none for team 0 until the end
    assert [told.at for told in story.told if told.ask.what == "x"] == [pytest.approx(0.6)] * 2


def test_who_has_more_time_has_a_request_of_his_own() -> None:
    """Otherwise he would be told `Timeout` by the time of somebody else, or would hold somebody else's place with his."""
    story = Story(4)

    async def both() -> None:
        queries = [
            Query(Prometheus("x"), timeout=timeout, tenant=(f"team-{timeout}", "shop"), max_age=1.0)
            for timeout in (1.0, 10.0)
        ]
        asking = [asyncio.ensure_future(story.sharing.ask(query, EPOCH)) for query in queries]
        await asyncio.sleep(0)
        assert len(story.sent) == 2
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(both())


async def test_who_waits_for_what_was_never_begun_is_not_taken_for_one_who_gave_up() -> None:
    """An address that is given up cancels what no thread had begun; a measuring task would end with that for ever."""
    story = Story(4)
    tenants = [(f"team-{one}", "shop") for one in range(3)]
    asking = [
        asyncio.ensure_future(story.sharing.ask(Query(Prometheus("x"), tenant=tenant, max_age=1.0), EPOCH))
        for tenant in tenants
    ]
    await asyncio.sleep(0)
    (request,) = story.sharing._requests.values()
    request.answer.cancel()
    assert [type(one) for one in await asyncio.gather(*asking, return_exceptions=True)] == [LimitClosed] * 3


async def test_who_asks_in_the_moment_of_an_error_asks_anew() -> None:
    """Before anybody was told."""
    story = Story(4, failing=lambda _: True)
    first = asyncio.ensure_future(story.sharing.ask(Query(Prometheus("x"), tenant=("a", "shop"), max_age=1.0), EPOCH))
    await asyncio.sleep(0)
    story._agenda[0][2]()
    second = asyncio.ensure_future(story.sharing.ask(Query(Prometheus("x"), tenant=("b", "shop"), max_age=1.0), EPOCH))
    await asyncio.sleep(0)
    assert len(story.sent) == 2
    assert isinstance(await first, Unreachable)
    second.cancel()


async def _answers(provider: PrometheusProvider, number: int, **of_query: float) -> list[Measurement]:
    queries = [
        Query(Prometheus("x"), tenant=(f"team-{one}", "shop"), max_age=1.0, **of_query)  # type: ignore[arg-type]
        for one in range(number)
    ]
    return await asyncio.gather(*(provider.measure(query, EPOCH) for query in queries))


async def test_a_thousand_rollouts_ask_prometheus_once(prometheus) -> None:
    """Of as many teams, within a second."""
    provider = PrometheusProvider(prometheus.url)
    prometheus.answers["x"] = lambda: vector(({}, 1))
    answers = await _answers(provider, 1000)
    assert {type(answer) for answer in answers} == {Sample}
    assert len(prometheus.queries) == 1
    assert all(EPOCH - timedelta(seconds=1) <= answer.at <= EPOCH for answer in answers)
    await provider.close()


async def test_an_error_is_not_kept(prometheus) -> None:
    """Those who had joined are told; who comes after it asks anew."""
    provider = PrometheusProvider(prometheus.url)
    prometheus.answers["x"] = lambda: failure(500, "internal", "out of memory")
    assert {type(answer) for answer in await _answers(provider, 20)} == {Unreachable}
    assert len(prometheus.queries) == 1
    prometheus.answers["x"] = lambda: vector(({}, 1))
    assert {type(answer) for answer in await _answers(provider, 20)} == {Sample}
    assert len(prometheus.queries) == 2
    await provider.close()


async def test_who_began_a_request_may_give_up_on_it(prometheus) -> None:
    """The others get their answer."""
    provider = PrometheusProvider(prometheus.url)
    prometheus.answers["x"] = prometheus.hang
    first = asyncio.create_task(provider.measure(Query(Prometheus("x")), EPOCH))
    await until(lambda: prometheus.running == 1)
    others = asyncio.create_task(_answers(provider, 3))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    prometheus.release.set()
    assert {type(answer) for answer in await others} == {Sample}
    assert len(prometheus.queries) == 1
    await provider.close()


async def test_nothing_is_kept_for_long(prometheus) -> None:
    """What is remembered of answers is a second of them."""
    provider = PrometheusProvider(prometheus.url)
    for number in range(50):
        prometheus.answers[f"{number}"] = lambda: vector(({}, 1))
        await provider.measure(Query(Prometheus(f"{number}")), EPOCH)
    home = provider._home
    assert home is not None
    assert len(home.queue.sharing) <= 50
    await until(lambda: len(home.queue.sharing) == 0)
    await provider.close()
