"""What is tried on every gateway, as functions over a shop behind it; what is special to one stands in its tests."""

from __future__ import annotations

from typing import Any

import pytest
from gateways_kit import OK, OPTED_IN, REQUESTS, Shop, prepare

Json = dict[str, Any]

BIG = {"x-kind": "big"}
"""What a second rule is for."""


async def weights(shop: Shop) -> None:
    """10, 50, 100 %: each accepted, requests split by it, none fails; then v2 is stable and the route as it was."""
    before = (await shop.route())["spec"]
    weights = (10, 50, 100)
    await shop.begin(step for weight in weights for step in ({"weight": weight}, {"approval": {}}))
    for number, weight in enumerate(weights, start=1):
        status = await shop.step(2 * number)
        assert status["split"]["accepted"] == weight
        answers = await shop.ask()
        assert answers[OK, "v1"] + answers[OK, "v2"] == REQUESTS, answers
        assert 100 * answers[OK, "v2"] / REQUESTS == pytest.approx(weight, abs=5)
        await shop.request("promote")
    await shop.until("success", lambda status: status.get("phase") == "Succeeded")
    assert (await shop.route())["spec"] == before
    assert await shop.ask() == {(OK, "v2"): REQUESTS}


async def mirror_step(shop: Shop) -> None:
    """At 100 %: a copy of every request, no user served by it; after the abort the filter is gone, and not one copy is made."""
    before = (await shop.route())["spec"]
    await shop.begin([{"mirror": {"percent": 100, "allowUnsafeMethods": True}, "approval": {}}, {"weight": 10}])
    await shop.step(1)
    counted = await shop.settled_copies()
    assert await shop.ask() == {(OK, "v1"): REQUESTS}
    assert await shop.settled_copies() - counted == REQUESTS
    await shop.request("abort")
    await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
    assert (await shop.route())["spec"] == before
    counted = await shop.settled_copies()
    assert await shop.ask() == {(OK, "v1"): REQUESTS}
    assert await shop.settled_copies() == counted


async def prepared_rule(shop: Shop) -> None:
    """A rule for a header goes to 100 %, then the other to 50 %, then all back under load: nobody is served by whom he should not be."""
    await shop.change_rules(prepare)
    before = (await shop.route())["spec"]
    opted_in = {"weight": 0, "rules": {"beta": 100}}
    await shop.begin([opted_in, {"approval": {}}, {"weight": 50}, {"approval": {}}])
    await shop.step(2)
    assert await shop.ask(headers=OPTED_IN) == {(OK, "v2"): REQUESTS}
    assert await shop.ask() == {(OK, "v1"): REQUESTS}
    async with shop.load(OPTED_IN) as answers:
        await shop.request("promote")
        await shop.step(4)
    assert set(answers) == {(OK, "v2")}
    answers = await shop.ask()
    assert answers[OK, "v1"] + answers[OK, "v2"] == REQUESTS, answers
    assert 100 * answers[OK, "v2"] / REQUESTS == pytest.approx(50, abs=5)
    async with shop.load() as answers:
        await shop.request("abort")
        await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
    assert set(answers) == {(OK, "v1"), (OK, "v2")}
    assert (await shop.route())["spec"] == before
    assert await shop.ask(headers=OPTED_IN) == {(OK, "v1"): REQUESTS}
    assert await shop.ask() == {(OK, "v1"): REQUESTS}


async def added_rule(shop: Shop) -> None:
    """A `match` step's rule, behind all others, comes and goes under load: nobody else is served by the canary, or fails."""
    before = (await shop.route())["spec"]
    opted_in = {"match": [{"headers": [{"name": name, "value": value} for name, value in OPTED_IN.items()]}]}
    await shop.begin([{"approval": {}}, {**opted_in, "approval": {}}, {"weight": 10}])
    await shop.step(1)
    async with shop.load() as answers:
        await shop.request("promote")
        await shop.step(2)
        await shop.served_by("v2", headers=OPTED_IN)
        assert await shop.ask(headers=OPTED_IN) == {(OK, "v2"): REQUESTS}
        await shop.request("abort")
        await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
        await shop.served_by("v1", headers=OPTED_IN)
    assert set(answers) == {(OK, "v1")}
    assert (await shop.route())["spec"] == before
    assert await shop.ask(headers=OPTED_IN) == {(OK, "v1"): REQUESTS}


async def several_rules(shop: Shop) -> None:
    """Two rules list the pair: a `match` step copies both, who opts in is served by the canary in each; then weights move in each."""

    def another(rules: list[Json]) -> None:
        headers = [{"name": name, "value": value} for name, value in BIG.items()]
        rules.append({"matches": [{"headers": headers}], "backendRefs": rules[0]["backendRefs"]})

    await shop.change_rules(another)
    before = (await shop.route())["spec"]
    opted_in = {"match": [{"headers": [{"name": name, "value": value} for name, value in OPTED_IN.items()]}]}
    await shop.begin([{"approval": {}}, {**opted_in, "approval": {}}, {"weight": 50}, {"approval": {}}])
    await shop.step(1)
    async with shop.load() as plain, shop.load(BIG) as big:
        await shop.request("promote")
        await shop.step(2)
        assert len((await shop.route())["spec"]["rules"]) == 4
        for kind in ({}, BIG):
            await shop.served_by("v2", headers={**kind, **OPTED_IN})
            assert await shop.ask(headers={**kind, **OPTED_IN}) == {(OK, "v2"): REQUESTS}
    assert set(plain) == set(big) == {(OK, "v1")}
    await shop.request("promote")
    await shop.step(4)
    assert len((await shop.route())["spec"]["rules"]) == 2
    for kind in ({}, BIG, OPTED_IN):
        await shop.served_by("v1", "v2", headers=kind)
        answers = await shop.ask(headers=kind)
        assert answers[OK, "v1"] + answers[OK, "v2"] == REQUESTS, answers
        assert 100 * answers[OK, "v2"] / REQUESTS == pytest.approx(50, abs=5)
    await shop.request("abort")
    await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
    assert (await shop.route())["spec"] == before
    for kind in ({}, BIG, OPTED_IN):
        await shop.served_by("v1", headers=kind)
        assert await shop.ask(headers=kind) == {(OK, "v1"): REQUESTS}


async def calls(shop: Shop) -> None:
    """Half of the calls or connections, then all, then back; none fails."""
    await shop.begin([{"weight": 50}, {"approval": {}}, {"weight": 100}, {"approval": {}}])
    for number, weight in ((2, 50), (4, 100)):
        await shop.step(number)
        answers = await shop.ask()
        assert answers[OK, "v1"] + answers[OK, "v2"] == REQUESTS, answers
        assert 100 * answers[OK, "v2"] / REQUESTS == pytest.approx(weight, abs=5)
        if weight < 100:
            await shop.request("promote")
    await shop.request("abort")
    await shop.until("the rollback", lambda status: status.get("phase") == "RolledBack")
    assert await shop.ask() == {(OK, "v1"): REQUESTS}
