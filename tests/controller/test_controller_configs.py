"""ConfigMaps and Secrets that are part of revisions: read by name and now and then, never listed; what cannot be read decides nothing."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from controller_kit import CONTROLLER, World, check, clean, deployment_document, route_document, service_document

from canary.controller.configs import AT_ONCE, INTERVAL, PAUSE
from canary.kube import CONFIGMAPS, DEPLOYMENTS, HTTPROUTES, SECRETS, SERVICES
from canary.observe.configs import MOST, MOST_NAMES
from canary_sandbox.apiserver import Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

INCLUDES = {"includes": ["configs"]}
STEPS = [{"weight": 50, "hold": "2s"}, {"weight": 100, "hold": "2s"}]
READ = {"configmaps", "secrets"}
SOON = INTERVAL.total_seconds() + 5
"""Seconds after which a change has been seen."""


def config_map(name: str, colour: str, **more: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"colour": colour}, **more}


def secret(name: str, password: str) -> Json:
    data = {"password": base64.b64encode(password.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


async def name_configs(
    world: World, role: str, version: int = 1, *, with_secret: bool = False, optional: bool = False
) -> None:
    """A Deployment of a version whose pods take their environment from a ConfigMap of its own, and from a Secret that both share."""
    sources: list[Json] = [{"configMapRef": {"name": f"{role}-config", "optional": optional}}]
    if with_secret:
        sources.append({"secretRef": {"name": "shared"}})
    containers = [
        {**deployment_document(role, version)["spec"]["template"]["spec"]["containers"][0], "envFrom": sources}
    ]
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    await world.gitops.merge_patch(DEPLOYMENTS, role, world.namespace, body)


async def furnish(world: World, **more: bool) -> None:
    """A world whose stable and canary have configs of the same content."""
    await world.furnish()
    await world.create(SECRETS, secret("shared", "hunter2"))
    for role in ("stable", "canary"):
        await world.create(CONFIGMAPS, config_map(f"{role}-config", "blue"))
        await name_configs(world, role, **more)
    await world.settle()


async def change(world: World, role: str, colour: str) -> None:
    await world.gitops.merge_patch(CONFIGMAPS, f"{role}-config", world.namespace, {"data": {"colour": colour}})


def reads(world: World) -> int:
    """How many configs the controller has read."""
    found = [entry for entry in world.audited() if entry.resource in READ]
    assert {entry.verb for entry in found} <= {"get"}, "listing Secrets is the right to read all of them"
    return len(found)


async def test_a_change_of_content_goes_through_a_run_and_is_promoted_by_who_owns_stable(world: World) -> None:
    """The content of the canary's ConfigMap starts a run; when stable's own says the same, the two have one revision."""
    await furnish(world, with_secret=True)
    await world.declare(revision=INCLUDES, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    revisions = world.status()["revisions"]
    assert revisions["canary"] == revisions["stable"] == revisions["settled"], "two names, one content"
    await change(world, "canary", "green")
    await world.until(lambda: world.run_number() == 1, within=SOON)
    assert world.status()["run"]["revision"] == world.status()["revisions"]["canary"] != revisions["canary"]
    await world.until(lambda: "waiting for stable to run revision" in world.message())
    await change(world, "stable", "green")
    await world.until(lambda: world.phase() == "Succeeded", within=2 * SOON)
    assert list(clean(world)) == []
    assert world.image("stable") == "shop:1"
    text = str(world.rollout()["status"]) + str(await world.events())
    assert "green" not in text
    assert "hunter2" not in text
    await world.pass_(300)
    assert world.run_number() == 1


async def test_a_content_that_failed_is_not_tried_again_when_it_comes_back(world: World) -> None:
    """Taken back and deployed anew it still is what failed, as an image would be; whoever knows better asks for it."""
    await furnish(world)
    await world.declare(revision=INCLUDES, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    world.provider.answers["errors"] = 1.0
    await change(world, "canary", "green")
    await world.until(lambda: world.phase() == "RolledBack", within=2 * SOON)
    bad = world.status()["run"]["revision"]
    world.provider.answers["errors"] = 0.0
    for colour in ("blue", "green"):
        await change(world, "canary", colour)
        await world.until(lambda colour=colour: (world.status()["revisions"]["canary"] == bad) is (colour == "green"))
    await world.pass_(60)
    assert (world.phase(), world.run_number()) == ("RolledBack", 1)
    await world.ask("retry")
    await world.until(lambda: "waiting for stable to run revision" in world.message())
    assert (world.run_number(), world.status()["run"]["revision"]) == (2, bad)


async def test_labels_and_other_objects_start_nothing(world: World) -> None:
    """Nor does an object that nobody names, a new name for the same content, or an apply that changes nothing."""
    await furnish(world)
    await world.declare(revision=INCLUDES, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    label = {"metadata": {"labels": {"a": "b"}}}
    await world.gitops.merge_patch(CONFIGMAPS, "canary-config", world.namespace, label)
    await world.create(CONFIGMAPS, config_map("other", "red"))
    await world.pass_(2 * SOON)
    assert (world.phase(), world.run_number()) == ("Idle", 0)
    await world.create(CONFIGMAPS, config_map("third-config", "blue", immutable=True))
    containers = [{**deployment_document("canary")["spec"]["template"]["spec"]["containers"][0]}]
    containers[0]["envFrom"] = [{"configMapRef": {"name": "third-config", "optional": False}}]
    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    await world.gitops.merge_patch(DEPLOYMENTS, "canary", world.namespace, body)
    await world.pass_(2 * SOON)
    assert (world.phase(), world.run_number()) == ("Idle", 0)


async def test_without_includes_nothing_is_read(world: World) -> None:
    """No request, no right, and the content is nobody's business."""
    await furnish(world)
    await world.declare(steps=STEPS)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    run = world.run_number()
    await change(world, "canary", "green")
    await world.pass_(120)
    assert (world.phase(), world.run_number(), reads(world)) == ("Idle", run, 0)


@pytest.mark.parametrize("plural", ["secrets", "configmaps"])
async def test_a_right_that_is_missing_is_named(world: World, plural: str) -> None:
    """Nothing starts, nothing is settled, Ready is not claimed; granted, the Rollout goes on as on first sight."""
    await furnish(world, with_secret=True)
    denial = world.api.faults.add(Fault("get", plural, status=403, times=None, user=CONTROLLER))
    await world.declare(revision=INCLUDES, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: "it lacks the right to `get`" in world.message())
    assert f"`get` {plural} in namespace {world.namespace}" in world.message()
    assert (
        f"by the component {'secrets (Helm: rbac.secrets' if plural == 'secrets' else 'configs (Helm: rbac.configs'}.namespaces)"
        in world.message()
    )
    assert (world.condition("Ready")["status"], world.condition("Ready")["reason"]) == ("False", "RevisionUnknown")
    await name_configs(world, "canary", 2, with_secret=True)
    await world.ask("start")
    await world.until(lambda: "refused" in world.request().get("words", ""))
    await world.pass_(120)
    assert (world.run_number(), (world.status().get("revisions") or {}).get("settled")) == (0, None)
    world.api.faults.remove(denial)
    await world.until(lambda: world.condition("Ready").get("status") == "True", within=2 * SOON)
    assert (world.run_number(), world.phase()) == (0, "Idle")


async def test_a_config_that_goes_in_a_run_changes_nothing_but_what_comes_next(world: World) -> None:
    """The weight stays; the run goes on when it is there again, and starts anew when it says something else."""
    await furnish(world)
    steps = [{"weight": 10, "hold": "2s"}, {"approval": {}}, {"weight": 50, "hold": "1h"}]
    await world.declare(revision=INCLUDES, steps=steps)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await name_configs(world, "canary", 2)
    await world.until(lambda: world.step() == 2)
    await world.admin.delete(CONFIGMAPS, "canary-config", world.namespace)
    await world.pass_(SOON)
    await world.ask("promote")
    await world.until(lambda: "there is no ConfigMap canary-config" in world.message())
    await world.pass_(60)
    assert (world.weights(), world.run_number(), world.phase()) == ((90, 10), 1, "Progressing")
    await world.create(CONFIGMAPS, config_map("canary-config", "blue"))
    await world.until(lambda: world.weights() == (50, 50), within=SOON)
    assert world.run_number() == 1
    await change(world, "canary", "red")
    await world.until(lambda: world.run_number() == 2, within=SOON)
    assert world.status()["run"]["trigger"]["reason"].startswith("revision ")


@pytest.mark.sandbox_only("one Secret refuses to be read")
@pytest.mark.parametrize("why", ["a right", "too many"])
async def test_a_new_image_keeps_nothing_of_what_the_one_before_has_earned(world: World, why: str) -> None:
    """Its revision cannot be told, but that it is another one can: by its pod spec."""
    await furnish(world)
    steps = [{"weight": 50, "hold": "1h"}, {"weight": 100, "hold": "1h"}]
    await world.declare(revision=INCLUDES, steps=steps, checks=[check(interval="1s")], promotion="Await")
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    await name_configs(world, "canary", 2)
    await world.until(lambda: world.weights() == (50, 50) and "holding" in world.message())
    await world.create(SECRETS, secret("denied", "x"))
    world.api.faults.add(Fault("get", "secrets", name="denied", status=403, times=None, user=CONTROLLER))
    sources: list[Json] = [{"secretRef": {"name": "denied"}}]
    if why == "too many":
        sources = [{"configMapRef": {"name": f"c{number}", "optional": True}} for number in range(MOST + 1)]
    pods = deployment_document("canary", 3)["spec"]["template"]["spec"]["containers"][0]
    body = {"spec": {"template": {"spec": {"containers": [{**pods, "envFrom": sources}]}}}}
    await world.gitops.merge_patch(DEPLOYMENTS, "canary", world.namespace, body)
    await world.until(lambda: world.weights()[1] == 0, within=1)
    words = "it lacks the right to `get` secrets" if why == "a right" else f"names {MOST + 1} ConfigMaps and Secrets"
    await world.until(lambda: words in world.message())
    await world.pass_(300, pace=10)
    assert (world.weights()[1], world.phase()) == (0, "Progressing")
    await name_configs(world, "canary", 4)
    await world.until(lambda: world.weights() == (50, 50), within=SOON)
    assert world.image("canary") == "shop:4"
    assert world.status()["run"]["revision"] == world.status()["revisions"]["canary"]


async def test_an_optional_config_may_be_missing(world: World) -> None:
    """That it is not there is a content of its own."""
    await furnish(world, optional=True)
    await world.admin.delete(CONFIGMAPS, "canary-config", world.namespace)
    await world.declare(revision=INCLUDES, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    assert world.condition("Ready")["status"] == "True"
    await world.create(CONFIGMAPS, config_map("canary-config", "red"))
    await world.until(lambda: world.run_number() == 1, within=SOON)


async def test_a_server_that_does_not_answer_is_no_change(world: World) -> None:
    """For a minute what was read holds; then nobody knows. Nothing of it begins a run."""
    await furnish(world)
    await world.declare(revision=INCLUDES, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    outage = world.api.faults.add(Fault("get", "configmaps", status=500, times=None, user=CONTROLLER))
    await world.pass_(50)
    assert world.condition("Ready")["status"] == "True"
    await world.until(lambda: world.condition("Ready")["status"] == "False", within=120)
    assert "ConfigMap canary-config cannot be read now" in world.message()
    world.api.faults.remove(outage)
    await world.until(lambda: world.condition("Ready")["status"] == "True", within=SOON)
    assert world.run_number() == 0


async def test_declared_for_a_rollout_that_rests_it_starts_no_run(world: World) -> None:
    """Of the same pod spec nothing begins, though its revision is reckoned otherwise from now on. A rolled-back one is not tried again."""
    await furnish(world)
    await world.declare(steps=STEPS, promotion="Await")
    await world.start_controller()
    await world.until(lambda: world.phase() == "Idle")
    world.provider.answers["errors"] = 1.0
    await name_configs(world, "canary", 2)
    await world.until(lambda: world.phase() == "RolledBack")
    world.provider.answers["errors"] = 0.0
    await world.edit(revision=INCLUDES)
    await world.pass_(2 * SOON)
    assert (world.phase(), world.run_number()) == ("RolledBack", 1)
    revisions = world.status()["revisions"]
    assert revisions["settled"] == revisions["canary"] == world.status()["run"]["revision"]
    await change(world, "canary", "green")
    await world.until(lambda: world.phase() == "Promoting", within=2 * SOON)
    assert world.run_number() == 2


async def test_a_pod_spec_that_names_too_many_is_not_read(world: World) -> None:
    """Whoever writes it takes nobody's turns. One fewer, and it is."""
    await furnish(world)

    async def name(number: int) -> None:
        ref = {"name": "canary-config", "optional": True}
        env = [{"name": f"A{n}", "valueFrom": {"configMapKeyRef": {**ref, "key": f"a{n}"}}} for n in range(number)]
        containers = [{**deployment_document("canary")["spec"]["template"]["spec"]["containers"][0], "env": env}]
        body = {"spec": {"template": {"spec": {"containers": containers}}}}
        await world.gitops.merge_patch(DEPLOYMENTS, "canary", world.namespace, body)

    await name(MOST + 1)
    await world.declare(revision=INCLUDES, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: f"its pod spec names {MOST + 1} ConfigMaps and Secrets" in world.message())
    assert reads(world) == 1, "stable's"
    await name(MOST)
    await world.until(lambda: world.condition("Ready").get("status") == "True", within=SOON)


async def test_an_object_of_very_many_keys_is_said_to_be_too_much(world: World) -> None:
    """Its Rollout waits, and whoever reads it knows why; with fewer keys it goes on."""
    await furnish(world)
    many = {f"{number:x}": "" for number in range(MOST_NAMES)}
    await world.gitops.merge_patch(CONFIGMAPS, "canary-config", world.namespace, {"data": many})
    await world.declare(revision=INCLUDES, steps=STEPS)
    await world.start_controller()
    await world.until(lambda: f"ConfigMap canary-config has more than {MOST_NAMES} keys" in world.message())
    await world.gitops.merge_patch(CONFIGMAPS, "canary-config", world.namespace, {"data": dict.fromkeys(many)})
    await world.until(lambda: world.condition("Ready").get("status") == "True", within=SOON)


async def test_how_often_they_are_read_is_bounded_for_all_together(world: World) -> None:
    """Many Rollouts are read in turn, at a pace; an object that several name is read once for all of them."""
    await furnish(world)
    await world.declare(revision=INCLUDES, steps=STEPS, checks=[check()])
    names = [f"r{number}" for number in range(20)]
    for name in names:
        await world.create(DEPLOYMENTS, deployment_document(name))
        await world.create(CONFIGMAPS, config_map(f"{name}-config", "blue"))
        await name_configs(world, name)
        await world.create(SERVICES, service_document(name))
        await world.create(HTTPROUTES, route_document(name))
        refs = {"stable": {"name": "stable"}, "canary": {"name": name}}
        await world.declare(name, routes=[{"name": name}], workloads=refs, revision=INCLUDES, steps=STEPS)
    await world.settle()
    before = world.clock.now()
    await world.start_controller()
    await world.until(lambda: all(world.phase(name) == "Idle" for name in ["shop", *names]), pace=PAUSE)
    spent = (world.clock.now() - before).total_seconds()
    configs = 2 + len(names)
    assert reads(world) <= configs + AT_ONCE, "stable's is read once for all, or by as many as began at one time"
    assert spent >= (reads(world) - AT_ONCE) * PAUSE / AT_ONCE
    world.api.audit.clear()
    await world.pass_(300)
    assert reads(world) <= configs * 10 + AT_ONCE
