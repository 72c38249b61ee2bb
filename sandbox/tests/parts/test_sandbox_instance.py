"""What `canary sandbox` stands on: the folder and its lock, faults by version, ports and leftovers of a resumed cluster."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_kit import sandbox
from sandbox_kit import Shop, client, deployment, manifest, namespace, until

from canary.errors import SandboxError
from canary.kube import DEPLOYMENTS, ENDPOINTSLICES, PODS
from canary_sandbox.apiserver import Snapshot
from canary_sandbox.app import Override
from canary_sandbox.cluster import Ports, Sandbox
from canary_sandbox.instance import rights
from canary_sandbox.instance.client import NotUpError, ask
from canary_sandbox.instance.folder import Folder, LockOwner, birth_of, default_folder, settings_of, write
from canary_sandbox.instance.launch import stop
from canary_sandbox.process import LASTING, free_port

HOLD = "import sys; from pathlib import Path; from canary_sandbox.instance.folder import Folder\n"
HOLD += "with Folder(Path(sys.argv[1])).locked() as ours: print(ours, flush=True); sys.stdin.read()"


def holder_process(folder: Path) -> subprocess.Popen[str]:
    """A process that takes the lock, and says whether it has it."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


# --- the folder -----------------------------------------------------------------------------------------------------


def test_the_lock_goes_with_the_process_that_holds_it(tmp_path: Path) -> None:
    """Held by one, refused to the next, named, and free again after kill -9, whatever files are left behind."""
    folder = Folder(tmp_path / "sandbox")
    assert not folder.held
    assert not folder.path.exists()
    with holder_process(folder.path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert folder.owner() == LockOwner(process.pid, birth_of(process.pid))
        with folder.locked() as ours:
            assert not ours
        process.kill()
    assert not folder.held
    assert folder.owner() is None
    with folder.locked() as ours:
        assert ours


def test_a_deleted_folder_is_no_obstacle_to_the_next(tmp_path: Path) -> None:
    """Deleting under the lock leaves nothing, but what is not ours."""
    folder = Folder(tmp_path / "sandbox")
    with folder.locked():
        folder.save_settings(settings_of({}))
        write(folder.cluster, b"x")
        folder.run.mkdir()
        folder.delete()
    assert not folder.path.exists()
    with folder.locked() as ours:
        assert ours
        (folder.path / "mine").write_text("keep")
        folder.delete()
    assert [path.name for path in folder.path.iterdir()] == ["mine"]


def test_files_are_for_the_user_alone_and_replaced_whole(tmp_path: Path) -> None:
    """Mode 0600 even where another was; nothing half written stays."""
    folder = Folder(tmp_path / "sandbox")
    folder.make()
    for _ in range(2):
        write(folder.cluster, b"secret")
    folder.report({"phase": "ready"})
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.path.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert folder.reported(os.getpid()) == {"pid": os.getpid(), "phase": "ready"}
    assert folder.reported(1) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"format"', "no JSON"),
        ("{}", "not of the format"),
        ('{"format": "canary-sandbox", "version": 9}', "version 9"),
    ],
)
def test_settings_that_are_none_are_refused(tmp_path: Path, content: str, words: str) -> None:
    """With the file's name, the reason, and what to do; never dropped in silence."""
    folder = Folder(tmp_path)
    folder.settings.write_text(content)
    with pytest.raises(SandboxError, match=words) as refused:
        folder.load_settings()
    assert str(folder.settings) in str(refused.value)
    assert f"canary sandbox down --delete --folder {tmp_path}" in str(refused.value)


def test_the_default_folder_is_the_users_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_STATE_HOME if it is absolute, as its specification says, else ~/.local/state."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_folder() == tmp_path / ".local/state/canary/sandbox"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert default_folder() == tmp_path / "state/canary/sandbox"
    assert Folder(default_folder()).flag == ""


def test_nobody_is_asked_and_nobody_is_ended_where_nobody_is_up(tmp_path: Path) -> None:
    """A pid file of before names a process that is none of ours: it is left alone, and its leftovers are tidied up."""
    folder = Folder(tmp_path / "sandbox")
    bystander = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        folder.make()
        (folder.path / "lock").write_text(json.dumps({"pid": bystander.pid, "birth": birth_of(bystander.pid)}))
        (folder.path / "report.json").write_text(json.dumps({"pid": bystander.pid, "phase": "ready"}))
        folder.run.mkdir()
        with pytest.raises(NotUpError, match="canary sandbox up --folder"):
            ask(folder, "GET", "/status")
        assert stop(folder) is False
        assert bystander.poll() is None
        assert [path.name for path in folder.path.iterdir()] == ["lock"]
    finally:
        bystander.communicate()


# --- faults by version ----------------------------------------------------------------------------------------------


async def _statuses(shop: Shop, name: str, count: int = 10) -> list[int]:
    found = []
    for replica in shop.cluster.workloads.replicas("team-shop", name):
        async with client(f"http://127.0.0.1:{replica.server.port}") as get:
            found += [(await get()).status for _ in range(count)]
    return found


@pytest.mark.parametrize("processes", [False, True], ids=["in-process", "own-process"])
async def test_a_version_is_bad_wherever_it_runs_now_and_later(processes: bool) -> None:
    """In every Deployment, for replicas that start later too, and until it is cleared; templates stay as they are."""
    async with sandbox(gateway=False, crds=(), drain=0.05, processes=processes) as cluster:
        shop = Shop(cluster)
        await cluster.apply([manifest(namespace("team-shop"))])
        await cluster.apply([deployment("a", {"VERSION": "v1"}), deployment("b", {"VERSION": "v2"})])
        for name in ("a", "b"):
            await shop.rolled_out(name)
        assert cluster.workloads.versions() == {"v1": 1, "v2": 1}
        generation = (await shop.deployment("b"))["metadata"]["generation"]

        await cluster.workloads.override({"v2": Override(errors=0.5)})
        assert sorted(await _statuses(shop, "b")) == [200] * 5 + [500] * 5
        assert await _statuses(shop, "a") == [200] * 10
        assert (await shop.deployment("b"))["metadata"]["generation"] == generation

        await cluster.kube.merge_patch(DEPLOYMENTS, "b", "team-shop", {"spec": {"replicas": 2}})
        await until(lambda: _live(shop, "b", 2), what="a second replica")
        assert (await _statuses(shop, "b")).count(500) == 10

        await cluster.workloads.override({})
        assert await _statuses(shop, "b") == [200] * 20


async def test_deployments_may_come_while_a_version_is_made_bad() -> None:
    """Replicas are told one after the other; what appears meanwhile neither breaks that off nor is left out.

    A sandbox that was resumed does this while its Deployments come in.
    """
    async with sandbox(gateway=False, crds=(), drain=0.05, processes=True) as cluster:
        shop = Shop(cluster)
        await cluster.apply([manifest(namespace("team-shop")), deployment("a", {"VERSION": "v1"})])
        await shop.rolled_out("a")

        async def meddle() -> None:
            while True:
                await cluster.workloads.override({"v1": Override(errors=1.0)})
                await asyncio.sleep(0)

        meddling = asyncio.create_task(meddle())
        await cluster.apply([deployment("b", {"VERSION": "v1"})])
        await until(lambda: _live(shop, "b", 1), what="the Deployment that came meanwhile")
        meddling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await meddling
        assert await _statuses(shop, "b") == [500] * 10


async def _live(shop: Shop, name: str, count: int) -> bool:
    found = shop.cluster.workloads.replicas("team-shop", name)
    return len(found) == count and all(replica.ready for replica in found)


async def test_an_override_goes_over_the_template_and_leaves_the_rest() -> None:
    """A Deployment with errors of its own: a latency comes on top, errors 0 heals it, clearing brings them back."""
    async with sandbox(gateway=False, crds=(), drain=0.05) as cluster:
        shop = Shop(cluster)
        await cluster.apply(
            [manifest(namespace("team-shop")), deployment("a", {"VERSION": "v3", "FAULT_ERROR_PERCENT": "50"})]
        )
        await shop.rolled_out("a")
        for override, errors in (
            (Override(latency=0.001), 5),
            (Override(errors=0.0), 0),
            (None, 5),
        ):
            await cluster.workloads.override({} if override is None else {"v3": override})
            assert (await _statuses(shop, "a")).count(500) == errors


# --- resuming -------------------------------------------------------------------------------------------------------


@pytest.mark.sandbox_only("a real server is not resumed by us")
async def test_a_resumed_cluster_serves_at_the_same_places() -> None:
    """Same ports of API server and listener; Pods and EndpointSlices are those of this instance only.

    Meanwhile they are given to nobody who takes any port: they are none of those.
    """
    async with Sandbox(crds=(), ports=Ports(api=free_port(), listeners={})) as before:
        shop = Shop(before)
        await shop.open()
        url = await before.gateway_url("team-shop", "shop")
        api, saved = before.api.url, before.server.save()
        ports = Ports(api=int(api.rpartition(":")[2]), listeners=dict(before.gateway.ports))
        assert all(port in range(*LASTING) for port in (ports.api, *before.gateway.ports.values()))
    async with Sandbox(crds=(), snapshot=Snapshot.load(saved), ports=ports) as after:
        shop = Shop(after)
        assert after.api.url == api
        assert await after.gateway_url("team-shop", "shop") == url
        for name in ("shop-stable", "shop-canary"):
            await shop.rolled_out(name)
        live = [
            one.name for name in ("shop-stable", "shop-canary") for one in after.workloads.replicas("team-shop", name)
        ]

        async def only_the_living() -> bool:
            pods = [pod["metadata"]["name"] for pod in (await after.kube.list(PODS))["items"]]
            slices = (await after.kube.list(ENDPOINTSLICES))["items"]
            targets = [one["endpoints"][0]["targetRef"]["name"] for one in slices]
            return sorted(pods) == sorted(targets) == sorted(live)

        await until(only_the_living)

        async def served() -> bool:
            async with client(url) as get:
                return (await get()).status == 200

        await until(served)


@pytest.mark.sandbox_only("two sandboxes at a time, each with a server of its own")
async def test_a_port_that_is_taken_is_not_insisted_on() -> None:
    """Somebody else listens where the API server and the gateway were: both find another port."""
    async with Sandbox(crds=()) as other:
        await Shop(other).open()
        taken = Ports(int(other.api.url.rpartition(":")[2]), 0, dict(other.gateway.ports))
        async with Sandbox(crds=(), ports=taken) as cluster:
            await Shop(cluster).open()
            assert cluster.api.url != other.api.url
            assert await cluster.gateway_url("team-shop", "shop") != await other.gateway_url("team-shop", "shop")


@pytest.mark.sandbox_only("about a setting of the sandbox's own server")
async def test_rbac_is_passed_on_to_the_api_server() -> None:
    """The controller's account may do what deploy/ says and nothing else."""
    async with Sandbox(gateway=False, workloads=False, authorization="RBAC") as cluster:
        await cluster.apply(rights.documents())
        account = f"system:serviceaccount:{rights.NAMESPACE}:{rights.ACCOUNT}"
        config = cluster.api.kubeconfig(cluster.folder / "controller", user=account)
        asked = {}
        for question in ("patch rollouts.canary.dev/x", "patch httproutes/x", "delete httproutes/x", "list secrets"):
            command = ["kubectl", "--kubeconfig", str(config), "auth", "can-i", *question.split(), "-A"]
            done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            asked[question] = (await done.communicate())[0].decode().strip()
        assert list(asked.values()) == ["yes", "yes", "no", "no"], asked
