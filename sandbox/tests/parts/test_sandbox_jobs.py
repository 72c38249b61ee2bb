"""Jobs of the sandbox: the command of one runs as a process, once, and its status and its pod say how it ended."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio
from cluster_kit import sandbox
from sandbox_kit import Shop, manifest, namespace, until

from canary.errors import NotFound
from canary.kube import JOBS, PODS

Json = dict[str, Any]


@pytest_asyncio.fixture
async def bare() -> AsyncGenerator[Shop]:
    """A namespace, and workloads without a gateway."""
    async with sandbox(gateway=None, crds=(), drain=0.05) as cluster:
        await cluster.apply([manifest(namespace("team-shop"))])
        yield Shop(cluster)


def job(script: str, name: str = "smoke", **spec: Any) -> Json:
    container = {
        "name": "check",
        "image": "x",
        "command": ["python", "-c", script],
        "env": [{"name": "WHO", "value": "me"}],
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    metadata = {"name": name, "namespace": "team-shop"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}, **spec}}


async def ended(shop: Shop, name: str = "smoke") -> tuple[list[str], Json]:
    """The types of its conditions, and how its container ended."""

    async def over() -> bool:
        return bool((await shop.cluster.kube.get(JOBS, name, "team-shop"))["status"].get("conditions"))

    await until(over)
    found = await shop.cluster.kube.get(JOBS, name, "team-shop")
    pods = await shop.cluster.kube.list(PODS, "team-shop", label_selector=f"job-name={name}")
    (pod,) = pods["items"]
    (container,) = pod["status"]["containerStatuses"]
    return [one["type"] for one in found["status"]["conditions"]], container["state"]["terminated"]


@pytest.mark.parametrize(
    ("script", "conditions", "code", "said"),
    [
        ("import os; assert os.environ['WHO'] == 'me'", ["SuccessCriteriaMet", "Complete"], 0, None),
        ("print('one'); raise SystemExit(7)", ["FailureTarget", "Failed"], 7, "one\n"),
        ("print('x' * 5000); raise SystemExit(1)", ["FailureTarget", "Failed"], 1, "x" * 2047 + "\n"),
    ],
)
async def test_how_a_job_ends(bare: Shop, script: str, conditions: list[str], code: int, said: str | None) -> None:
    """With its environment; what it wrote last is there where it failed."""
    await bare.cluster.kube.create(JOBS, job(script))
    found, state = await ended(bare)
    assert (found, state["exitCode"], state.get("message")) == (conditions, code, said)


async def test_a_job_that_takes_too_long_is_ended(bare: Shop) -> None:
    """By its deadline; what it was doing is said as far as it was written."""
    await bare.cluster.kube.create(JOBS, job("import time; time.sleep(600)", activeDeadlineSeconds=1))
    found, state = await ended(bare)
    assert (found, state["exitCode"]) == (["FailureTarget", "Failed"], 137)
    said = (await bare.cluster.kube.get(JOBS, "smoke", "team-shop"))["status"]["conditions"]
    assert {one["reason"] for one in said} == {"DeadlineExceeded"}


@pytest.mark.sandbox_only("there is a garbage collector in it")
async def test_a_job_that_is_removed_takes_its_process_and_its_pod_along(bare: Shop, tmp_path: Any) -> None:
    """In the background, as everything that is owned."""
    note = tmp_path / "pid"
    script = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    await bare.cluster.kube.create(JOBS, job(script))

    async def written() -> bool:
        return note.exists() and bool(note.read_text())

    await until(written)
    await bare.cluster.kube.delete(JOBS, "smoke", "team-shop", propagation="Background")

    async def gone() -> bool:
        try:
            os.kill(int(note.read_text()), 0)
        except ProcessLookupError:
            return not (await bare.cluster.kube.list(PODS, "team-shop"))["items"]
        return False

    await until(gone)
    with pytest.raises(NotFound):
        await bare.cluster.kube.get(JOBS, "smoke", "team-shop")


async def test_there_are_no_images(bare: Shop) -> None:
    """So a Job without a command fails, and says why."""
    made = job("")
    del made["spec"]["template"]["spec"]["containers"][0]["command"]
    await bare.cluster.kube.create(JOBS, made)
    _, state = await ended(bare)
    assert "the sandbox has no images" in state["message"]
