"""`canary notify test`: what it leaves, what it waits for, and what it says when nothing comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from scripted_kube import ScriptedKube

from canary.cli.exits import CliError, ExitCode
from canary.cli.notify import answer, ask
from canary.errors import NotServed
from canary.kube import CLUSTERNOTIFICATIONTARGETS, NOTIFICATIONTARGETS
from canary.model.notifications import TEST_ANNOTATION

NS = "team-shop"


def target(**status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "canary.dev/v1alpha1",
        "kind": "NotificationTarget",
        "metadata": {"name": "oncall", "namespace": NS},
        "spec": {"http": {"url": "https://hooks.example.com"}},
        "status": status,
    }


async def test_it_leaves_an_id_and_waits_for_its_own_answer() -> None:
    """What came of an earlier test is no answer to this one."""
    kube = ScriptedKube()
    kube.put(NOTIFICATIONTARGETS, target(lastTest={"id": "earlier", "outcome": "Failed"}))
    id_ = await ask(kube, "oncall", NS)
    (found,) = kube.kept(NOTIFICATIONTARGETS)
    assert found["metadata"]["annotations"] == {TEST_ANNOTATION: id_}
    waiting = asyncio.create_task(answer(kube, "oncall", NS, id_, 60))
    await asyncio.sleep(0)
    kube.put(NOTIFICATIONTARGETS, target(lastTest={"id": id_, "outcome": "Delivered", "message": "yes"}))
    assert await waiting == {"id": id_, "outcome": "Delivered", "message": "yes"}


async def test_nobody_answers() -> None:
    """It says what may be the matter, and how to take it back."""
    kube = ScriptedKube()
    kube.put(NOTIFICATIONTARGETS, target())
    id_ = await ask(kube, "oncall", NS)
    with pytest.raises(CliError, match="is the controller running") as silence:
        await answer(kube, "oncall", NS, id_, 0.05)
    assert silence.value.code == ExitCode.TIMEOUT
    assert f"kubectl annotate notificationtargets oncall -n {NS} {TEST_ANNOTATION}-" in str(silence.value)


async def test_there_is_no_such_target() -> None:
    """Of this namespace, of the cluster, or of the kind at all."""
    kube = ScriptedKube()
    with pytest.raises(CliError, match=f"no NotificationTarget nobody in namespace {NS}") as missing:
        await ask(kube, "nobody", NS)
    assert missing.value.code == ExitCode.NOT_FOUND
    with pytest.raises(CliError, match="no ClusterNotificationTarget nobody; "):
        await ask(kube, "nobody", None)
    kube.script("merge_patch", CLUSTERNOTIFICATIONTARGETS.plural, error=NotServed("no", status=404))
    with pytest.raises(CliError, match="kubectl apply -f crds/"):
        await ask(kube, "nobody", None)
