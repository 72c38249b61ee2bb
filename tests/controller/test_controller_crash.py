"""Promise 6: killing the controller between any two requests changes nothing but time.

One good and one failing run over two routes are recorded; then each is done again for every write that the controller
made, killed right before the write left, or right after it took effect but before its answer came. Promises 1 to 3 are
checked on every version that the routes ever had.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from controller_kit import Clients, ControllerInstance, World, backend, check, clean, route_document, rule

from canary.metrics.port import Query
from canary.model.status import ACTIVE
from canary.routes.intent import run_annotation

RUN_ANNOTATION = run_annotation("shop")

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

Json = dict[str, Any]

HOLD = 2
STEPS = [{"weight": 10, "hold": f"{HOLD}s", "approval": {}}, {"weight": 100, "hold": f"{HOLD}s"}]
ROUTES = ("shop", "api")


def routes() -> list[Json]:
    """Two routes: one with a third backend, a filter and a foreign annotation, one with a named rule and odd weights."""
    header = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-team", "value": "shop"}]},
    }
    shop = rule(backend("third", 7), backend("stable", 90), backend("canary", 0, filters=[header]), filters=[header])
    api = rule(backend("canary", 0), backend("stable", None), name="api")
    return [
        route_document("shop", rule(backend("third", 1)), shop, annotations={"example.org/owner": "shop"}),
        route_document("api", api),
    ]


@dataclass(frozen=True)
class End:
    """What a run leaves behind, as far as it must not depend on crashes."""

    phase: str
    run: int
    reason: str
    specs: str
    images: tuple[str, str]
    request: tuple[str, str]
    left: tuple[str, ...]
    revisions: str
    split: str


def end_of(world: World) -> End:
    status = world.status()
    return End(
        phase=world.phase(),
        run=world.run_number(),
        reason=status["run"]["reason"],
        specs=json.dumps([world.route(name)["spec"] for name in ROUTES], sort_keys=True),
        images=(world.image("stable"), world.image("canary")),
        request=(world.request().get("id", ""), world.request().get("words", "")),
        left=tuple(clean(world, "shop", *ROUTES)),
        revisions=json.dumps(status["revisions"], sort_keys=True),
        split=json.dumps({key: value for key, value in status["split"].items() if key != "observed"}, sort_keys=True),
    )


def differences(end: End, expected: End) -> list[str]:
    """In what a run with a crash ended otherwise."""
    if end == expected:
        return []
    return [
        f"{item.name} is {getattr(end, item.name)!r} instead of {getattr(expected, item.name)!r}"
        for item in fields(End)
        if getattr(end, item.name) != getattr(expected, item.name)
    ]


class Story:
    """One run from the deployment of version 2 to its end, with an approval by annotation in the middle."""

    def __init__(self, clients: Clients, *, good: bool) -> None:
        self.world = World(clients)
        self.good = good
        self._approved = False
        self.deaths = 0

    async def run(self, cut: Callable[[int, Any], str] | None = None) -> tuple[End, int]:
        """Run it; returns how it ended, and how many writes the (first) controller made since the deployment."""
        armed = False

        def dies(index: int, request: Any) -> str:
            return cut(index - offset, request) if cut is not None and armed else ""

        offset = 0
        async with self.world as world:
            # It fails at 100 %, after the approval.
            world.provider.answers["errors"] = self._errors
            await world.furnish(*routes())
            await world.declare(routes=[{"name": name} for name in ROUTES], steps=STEPS, checks=[check(interval="1s")])
            world.gateway.delay = 1.5  # longer than it takes to measure something
            instance = await world.start_controller(dies)
            await world.until(lambda: world.phase() == "Idle")
            await world.settle()
            offset, armed = len(instance.line.sent), True
            first = instance
            await world.deploy(2)
            instance = await self._through(world, instance)
            await world.settle()
            if first.line.held.is_set():  # what it had under way goes out now, and it sees what has become of the run
                first.line.released.set()
                await world.settle()
                await world.pass_(30)
                await world.settle()
                await first.stop()
            end = end_of(world)
            Promises(world, instance).hold()
            await instance.stop()
            return end, len(first.line.sent) - offset

    def _errors(self, query: Query, _now: Any) -> float:
        return 0.5 if not self.good and 'weight="100' in query.text else 0.0

    async def _through(self, world: World, instance: ControllerInstance) -> ControllerInstance:
        at_end = "Succeeded" if self.good else "RolledBack"
        while True:
            await world.until(
                lambda instance=instance: (
                    instance.dead or instance.line.held.is_set() or world.phase() == at_end or self._asked(world)
                ),
                within=600,
            )
            if instance.dead or instance.line.held.is_set():
                self.deaths += 1
                if instance.dead:
                    await instance.kill()
                await world.settle()
                instance = await world.start_controller()
                await world.settle()
            elif self._asked(world):
                self._approved = True
                await world.ask({"id": "approval", "verb": "promote", "by": "alice"})
            elif world.finalizers() == [] and world.pending_request() is None:
                return instance
            else:
                await world.pass_(1)

    def _asked(self, world: World) -> bool:
        return not self._approved and world.condition("Reconciling").get("reason") == "AwaitingApproval"


class Promises:
    """Reads the history of the routes, and says what was broken."""

    def __init__(self, world: World, instance: ControllerInstance) -> None:
        self.world = world
        self.instance = instance

    def hold(self) -> None:
        self._records()
        versions = self.world.records.versions["httproutes"]
        last: dict[str, Json] = {}
        ended: set[int] = set()
        for version in versions:
            name = version["metadata"]["name"]
            before = last.get(name)
            intent = _intent(version)
            if before is not None:
                assert _strip(before) == _strip(version), f"{name}: something else than our weights changed"
                if _share(version) > _share(before):
                    self._raise(last, version, intent, ended)
            if intent is not None and intent["mode"] == "rollback":
                ended.add(intent["run"])
            last[name] = version
            for run in ended:
                assert (
                    intent is None
                    or intent["run"] != run
                    or intent["mode"] != "step"
                    or before == version
                    or (_share(version) <= _share(before or version))
                ), f"{name}: run {run} was raised after its rollback"

    def _records(self) -> None:
        """A recorded outcome is final, and so is the end of a run."""
        outcomes: dict[int, str] = {}
        ended: set[int] = set()
        for version in self.world.records.versions["rollouts"]:
            status = version.get("status") or {}
            run = status.get("run") or {}
            number, outcome = run.get("number", 0), run.get("outcome")
            assert outcomes.get(number) in {None, outcome}, f"run {number} was {outcomes[number]}, and then {outcome}"
            assert number not in ended or status["phase"] not in ACTIVE, (
                f"run {number} had ended, and then: {status['message']}"
            )
            if outcome:
                outcomes[number] = outcome
                if status["phase"] not in ACTIVE:
                    ended.add(number)

    def _raise(self, last: dict[str, Json], version: Json, intent: Json | None, ended: set[int]) -> None:
        assert intent is not None, "a raise without a word about why"
        assert intent["run"] not in ended, "a run that rolls back was given traffic again"
        assert intent["mode"] == "step"
        step = intent["step"]
        accepted = []
        for name in ROUTES:
            history = [item for item in self.world.records.versions["httproutes"] if item["metadata"]["name"] == name]
            at = int(version["metadata"]["resourceVersion"])
            earlier = [item for item in history if int(item["metadata"]["resourceVersion"]) < at]
            former = [item for item in earlier if (_intent(item) or {"step": 0})["step"] < step]
            assert former, f"{name} was not there"
            generation = former[-1]["metadata"]["generation"]
            assert _accepts(former[-1]), f"step {step} was written before {name} had accepted step {step - 1}"
            accepted.append(self.world.gateway.accepted[name, generation])
        declared = STEPS[step - 2].get("hold") if step > 1 else None
        if declared:
            # Written by whichever instance of the controller; its own clock said so.
            assert self.world.clock.now() >= max(accepted) + timedelta(seconds=HOLD)


def _intent(route: Json) -> Json | None:
    raw = (route["metadata"].get("annotations") or {}).get(RUN_ANNOTATION)
    return json.loads(raw) if raw else None


def _refs(route: Json) -> list[Json]:
    return [ref for item in route["spec"]["rules"] for ref in item["backendRefs"]]


def _share(route: Json) -> Fraction:
    weights = {ref["name"]: ref.get("weight", 1) for ref in _refs(route) if ref["name"] in {"stable", "canary"}}
    total = sum(weights.values())
    return Fraction(weights["canary"], total) if total else Fraction(0)


def _strip(route: Json) -> str:
    """A route without what we may change."""
    copy = json.loads(json.dumps({"spec": route["spec"], "annotations": route["metadata"].get("annotations") or {}}))
    copy["annotations"].pop(RUN_ANNOTATION, None)
    for ref in _refs(copy):
        if ref["name"] in {"stable", "canary"}:
            ref.pop("weight", None)
    return json.dumps(copy, sort_keys=True)


def _accepts(route: Json) -> bool:
    generation = route["metadata"]["generation"]
    parents = (route.get("status") or {}).get("parents") or []
    return bool(parents) and all(
        condition["status"] == "True" and condition["observedGeneration"] >= generation
        for parent in parents
        for condition in parent["conditions"]
    )


@pytest.mark.parametrize("moment", ["before", "after", "held before", "held after"])
@pytest.mark.parametrize("good", [True, False], ids=["good", "failing"])
async def test_a_crash_at_any_write(clients: Clients, good: bool, moment: str) -> None:
    """Whichever write the controller dies at, the run ends as it would have, and no promise is broken on the way.

    Held: it does not die but is stopped, or cut off; another one carries the run to its end; then it goes on with all that it
    had under way, and nothing of that takes effect.
    """
    expected, writes = await Story(clients, good=good).run()
    assert expected.phase == ("Succeeded" if good else "RolledBack")
    assert expected.left == ()
    assert expected.request == ("approval", "done: step 1/2 is approved")
    assert writes > 15
    broken = []
    # Who is held has another one beside it, which takes twice as long: before every other write, and after those between.
    stride = 1 if not moment.startswith("held") else 4 if good else 2
    for index in range(int(moment == "held after"), writes, stride):
        story = Story(clients, good=good)
        died: list[str] = []

        def cut(number: int, request: Any, index: int = index, died: list[str] = died) -> str:
            if number != index:
                return ""
            died.append(f"{request} {json.dumps(request.body)[:300]}")
            return moment

        try:
            end, _ = await story.run(cut)
            broken += [f"write {index} ({died}): {words}" for words in differences(end, expected)]
        except AssertionError as error:
            broken.append(f"write {index} ({died}): {str(error)[:3000]}")
        if died:
            assert story.deaths == 1
        await asyncio.sleep(0)
    assert not broken, f"{len(broken)} of {writes}\n" + "\n".join(broken)
