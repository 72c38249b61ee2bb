"""The component `approvals` beside a run: who approves is who says so, and without the component nobody is believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio
import yaml
from controller_kit import World
from deploy_kit import COMPONENTS
from keep_weights_kit import KINDS
from scripted_kube import ScriptedKube

from canary.controller.vouching import vouched, vouched_if_known
from canary.errors import ApiError, Forbidden
from canary.fair import FairLimit
from canary.kube import ROLLOUTS, SELF, Resource
from canary.model.requests import AS_ANNOTATION, REQUEST_ANNOTATION, claim

Json = dict[str, Any]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]
real_only = pytest.mark.real_only("the sandbox's API server has no admission policies", since=30)

STEPS = [{"weight": 10, "approval": {"by": {"users": ["alice"]}}}, {"weight": 50, "hold": "1h"}]
REAL_SECONDS = 30.0


async def annotate(world: World, by: str, **annotations: str | None) -> None:
    """Somebody writes annotations of the Rollout."""
    names = {"request": REQUEST_ANNOTATION, "request_as": AS_ANNOTATION}
    body = {"metadata": {"annotations": {names[name]: value for name, value in annotations.items()}}}
    kube = await world.person(by)
    await kube.merge_patch(ROLLOUTS, "shop", world.namespace, body)


@pytest_asyncio.fixture(loop_scope="module")
async def checked(world: World) -> World:
    """A world with the component, by a name of its own and for its namespace."""
    mine = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [world.namespace]}
    for document in yaml.safe_load_all((COMPONENTS / "approvals" / "policy.yaml").read_text()):
        name = document["metadata"]["name"] = f"{document['metadata']['name']}-{world.namespace}"
        if "policyName" in document["spec"]:
            selector = {"namespaceSelector": {"matchExpressions": [mine]}}
            document["spec"] |= {"policyName": name, "matchResources": selector}
        await world.create(KINDS[document["kind"]], document, world.admin)
    return world


async def in_force(world: World) -> None:
    """The API server reads policies in its own time."""
    async with asyncio.timeout(REAL_SECONDS):
        while not await vouched(world.admin, world.namespace, "shop"):  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.05)


async def waiting_for_an_approval(world: World) -> None:
    """A run is at its first step, where the policy is in force."""
    await world.begin(steps=STEPS)
    await in_force(world)
    await world.until(lambda: world.phase() == "Idle", within=300)
    await world.deploy(2)
    await world.until(lambda: world.phase() == "Paused")


def promote(id_: str) -> str:
    return json.dumps({"id": id_, "verb": "promote", "by": "alice", "reason": ""})


async def test_without_the_component_the_rollout_is_invalid_and_says_so(world: World) -> None:
    """No run begins that nobody could approve; whether it is there is tried, and nothing of that is left on the Rollout."""
    await world.begin(steps=STEPS)
    await world.until(lambda: world.phase() == "Invalid")
    assert "spec.steps[0].approval.by: nobody checks who asks" in world.message()
    rollout = await world.alice.get(ROLLOUTS, "shop", world.namespace)
    assert not [name for name in rollout["metadata"].get("annotations") or {} if name.startswith("canary.dev/request")]


@real_only
async def test_who_approves_is_who_says_so(checked: World) -> None:
    """A lie is refused by the API server, an approval by somebody else by the controller; then she who may does."""
    world = checked
    await waiting_for_an_approval(world)
    raw = promote("lie")
    with pytest.raises(ApiError, match="names somebody else"):
        await annotate(world, "mallory", request=raw, request_as=claim("alice", (), raw))
    with pytest.raises(ApiError, match="names groups"):
        await annotate(world, "mallory", request=raw, request_as=claim("mallory", ("release-managers",), raw))
    for id_, claimed, words in (
        ("no-name", None, "says not who asks"),
        ("another", claim("mallory", (), promote("another")), "and not by mallory"),
        ("of-else", claim("alice", (), "x"), "says not who asks"),
    ):
        await annotate(world, "mallory", request=promote(id_), request_as=claimed)
        await world.until(lambda wanted=id_: world.request().get("id") == wanted)
        assert words in world.request()["message"]
    assert world.weights()[1] == 10
    raw = promote("hers")
    await annotate(world, "alice", request=raw, request_as=claim("alice", (), raw))
    await world.until(lambda: world.weights()[1] == 50)
    await world.settle()
    left = (await world.alice.get(ROLLOUTS, "shop", world.namespace))["metadata"].get("annotations") or {}
    assert not {REQUEST_ANNOTATION, AS_ANNOTATION} & left.keys()
    with pytest.raises(ApiError, match="names somebody else"):  # what she once wrote is of no use to anybody else
        await annotate(world, "mallory", request=raw, request_as=claim("alice", (), raw))


@real_only
async def test_her_name_in_one_write_and_her_request_in_another(checked: World) -> None:
    """Put together from two requests it is refused as well; and nobody is kept from an abort by what another one left."""
    world = checked
    await waiting_for_an_approval(world)
    raw = promote("two")
    await annotate(world, "mallory", request_as=claim("alice", (), raw))
    with pytest.raises(ApiError, match="names somebody else"):
        await annotate(world, "mallory", request=raw)
    spelt = raw.replace("promote", "\\u0070romote")  # as JSON the same, and the policy reads no JSON
    await annotate(world, "mallory", request=spelt, request_as=claim("alice", (), spelt))
    await world.until(lambda: world.request().get("id") == "two")
    assert "says not who asks" in world.request()["message"]
    await annotate(world, "mallory", request_as=claim("nobody", (), "abort"))
    await annotate(world, "bob", request="abort")
    await world.until(lambda: world.phase() == "RolledBack")


US = "system:serviceaccount:canary-system:canary-controller"


class Policed:
    """A connection of ours, before which a policy looks at the annotations that are written."""

    def __init__(self, kube: ScriptedKube, refuses: Callable[[Json], bool]) -> None:
        self._kube, self._refuses = kube, refuses

    async def create(self, resource: Resource, document: Json, namespace: str | None = None) -> Json:
        assert (resource, namespace) == (SELF, None)
        return document | {"status": {"userInfo": {"username": US}}}

    async def json_patch(self, resource: Resource, name: str, namespace: str, ops: list[Json], **more: Any) -> Json:
        if self._refuses(ops[0]["value"]):
            raise Forbidden("a policy says no", status=403)
        return await self._kube.json_patch(resource, name, namespace, ops, **more)


async def test_another_policy_about_requests_proves_nothing() -> None:
    """It refuses us every request, be it a lie or none: that is not to look at who asks."""
    kube = ScriptedKube()
    kube.put(ROLLOUTS, {"metadata": {"name": "shop", "namespace": "team"}})
    kube.script("json_patch", times=None, error=Forbidden("no requests by service accounts", status=403))
    assert await vouched_if_known(kube, FairLimit(1), "team", "shop") is None


@pytest.mark.parametrize("longest", [None, 80], ids=["of us", "of long values"])
async def test_a_policy_that_refuses_us_the_truth_as_well_proves_nothing(longest: int | None) -> None:
    """It keeps service accounts from saying who they are, or values short: of who says it of others it knows nothing."""
    kube = ScriptedKube()
    kube.put(ROLLOUTS, {"metadata": {"name": "shop", "namespace": "team"}})
    policed = Policed(
        kube, lambda said: AS_ANNOTATION in said and (longest is None or len(said[AS_ANNOTATION]) > longest)
    )
    assert await vouched_if_known(policed, FairLimit(1), "team", "shop") is False  # type: ignore[arg-type]


async def test_a_policy_that_looks_at_who_asks_is_proved_by_the_lie() -> None:
    """It lets us say who we are."""
    kube = ScriptedKube()
    kube.put(ROLLOUTS, {"metadata": {"name": "shop", "namespace": "team"}})
    policed = Policed(kube, lambda said: not said.get(AS_ANNOTATION, f"{US}\n").startswith(f"{US}\n"))
    assert await vouched_if_known(policed, FairLimit(1), "team", "shop") is True  # type: ignore[arg-type]


@real_only
async def test_a_policy_that_is_taken_away_during_the_run_is_missed(checked: World) -> None:
    """Its absence is found when somebody approves."""
    world = checked
    await waiting_for_an_approval(world)
    name = f"canary-approvals-{world.namespace}"
    elsewhere = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["nowhere"]}
    body = {"spec": {"matchResources": {"namespaceSelector": {"matchExpressions": [elsewhere]}}}}
    await world.admin.merge_patch(KINDS["ValidatingAdmissionPolicyBinding"], name, None, body)
    async with asyncio.timeout(REAL_SECONDS):
        while await vouched(world.admin, world.namespace, "shop"):  # noqa: ASYNC110 - another process tells nobody
            await asyncio.sleep(0.05)
    raw = promote("forged")
    await annotate(world, "mallory", request=raw, request_as=claim("alice", (), raw))
    await world.until(lambda: world.request().get("id") == "forged")
    assert "nobody checks who asks" in world.request()["message"]
    assert world.weights()[1] == 10
