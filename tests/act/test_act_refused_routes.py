"""Patches of routes that a policy refuses: of a rollback as much as may be gets through, and the canary's share above all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from act_kit import NOW, TEAM, Bench, key, write

from canary.decide.actions import WriteRoute
from canary.errors import ApiError, NotFound, Refused, Unprocessable
from canary.kube import HTTPROUTES
from canary.routes.intent import Mode, parse_intent, run_annotation

Json = dict[str, Any]
RUN_ANNOTATION = run_annotation("shop")


def rollback() -> WriteRoute:
    """With as many words as a check has."""
    plain = write("shop", 90, 10, mode=Mode.ROLLBACK)
    assert plain.intent is not None
    return replace(plain, intent=replace(plain.intent, reason="CheckFailed", message="0.5 is above 0.01; " * 30))


class Policed:
    """The bench's connection, before which a policy looks at each patch of a route."""

    def __init__(self, kube: Any, refuse: Callable[[list[Json]], ApiError | None]) -> None:
        self._kube = kube
        self._refuse = refuse
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kube, name)

    async def json_patch(self, resource: Any, name: str, namespace: str, ops: list[Json], **more: Any) -> Json:
        self.asked += 1
        if (error := self._refuse(ops)) is not None:
            raise error
        answer: Json = await self._kube.json_patch(resource, name, namespace, ops, **more)
        return answer


def police(bench: Bench, refuse: Callable[[list[Json]], ApiError | None]) -> Policed:
    policed = Policed(bench.kube, refuse)
    bench.executor._routes._kube = policed  # type: ignore[assignment]
    return policed


def annotated(ops: list[Json]) -> str | None:
    """The value that a patch gives our annotation; None where it leaves it, or takes it off."""
    values = [op["value"] for op in ops if op["op"] in {"add", "replace"} and "run.canary.dev" in op["path"]]
    return values[0] if values else None


async def said(bench: Bench) -> Json:
    route = await bench.kube.get(HTTPROUTES, "shop", TEAM)
    return dict(route["metadata"].get("annotations") or {})


async def at_half(bench: Bench) -> None:
    done = await bench.executor.execute([write()], await bench.see(), NOW)
    assert not done.failed
    assert await bench.weights() == [50, 50]


async def test_without_its_words_where_they_are_too_long(bench: Bench) -> None:
    """The annotation says that the run is rolled back, which is what a restart goes by; why is in the status."""
    await at_half(bench)
    policed = police(bench, lambda ops: Unprocessable("Too long") if len(annotated(ops) or "") > 500 else None)
    done = await bench.executor.execute([rollback()], await bench.see(), NOW)
    assert not done.failed
    assert await bench.weights() == [90, 10]
    intent = parse_intent((await said(bench))[RUN_ANNOTATION])
    assert intent is not None
    assert (intent.mode, intent.message) == (Mode.ROLLBACK, "")
    assert policed.asked == 2


@pytest.mark.parametrize("error", [Unprocessable("Too long"), Refused("request is too large")], ids=["policy", "store"])
async def test_the_weights_alone_where_the_annotation_may_not_change(bench: Bench, error: ApiError) -> None:
    """The write counts as failed, is said so, and is tried again; the canary has no traffic meanwhile."""
    await at_half(bench)
    before = await said(bench)
    policed = police(bench, lambda ops: error if annotated(ops) else None)
    done = await bench.executor.execute([rollback()], await bench.see(), NOW)
    assert [str(failed) for failed in done.failed.values()] == [
        f"{error.args[0].partition(';')[0]}; the canary's share was taken away without it"
    ]
    assert await bench.weights() == [90, 10]
    assert await said(bench) == before
    bench.executor._routes._kube = bench.kube
    assert policed.asked == 3
    bench.backoffs.kept.clear()
    done = await bench.executor.execute([rollback()], await bench.see(), NOW)
    assert not done.failed
    intent = parse_intent((await said(bench))[RUN_ANNOTATION])
    assert intent is not None
    assert intent.mode is Mode.ROLLBACK


async def test_without_an_annotation_where_each_is_too_long(bench: Bench) -> None:
    """Annotations together have a bound; whoever fills it up to ours keeps no canary."""
    await at_half(bench)
    police(bench, lambda ops: None if any(op["op"] == "remove" for op in ops) else Unprocessable("Too long"))
    done = await bench.executor.execute([rollback()], await bench.see(), NOW)
    assert done.failed
    assert await bench.weights() == [90, 10]
    assert RUN_ANNOTATION not in await said(bench)


async def test_what_gives_the_canary_more_is_not_cut_short(bench: Bench) -> None:
    """Nor what holds: only a rollback goes through at any price."""
    policed = police(bench, lambda _: Unprocessable("no"))
    done = await bench.executor.execute([write()], await bench.see(), NOW)
    assert done.failed
    assert policed.asked == 1
    assert await bench.weights() == [90, 10]


async def test_a_write_that_is_answered_that_nothing_is_there_though_it_is(bench: Bench) -> None:
    """As a policy may answer: whoever reads it finds it, so the route is not forgotten, and the write is tried again."""
    police(bench, lambda _: NotFound('httproutes "shop" not found', status=404, reason="NotFound"))
    done = await bench.executor.execute([write()], await bench.see(), NOW)
    assert [type(error) for error in done.failed.values()] == [NotFound]
    assert key("shop") in bench.store.routes
    assert key("shop") in bench.executor.unwritten
