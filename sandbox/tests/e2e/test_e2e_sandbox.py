"""`canary sandbox` as a newcomer uses it: real commands in a temporary folder, kubectl, real traffic, kill -9."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from canary.checks.traffic import resolve_traffic, traffic_queries
from canary.model.rollout import RolloutSpec
from canary_sandbox.process import free_port

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.sandbox_only("it is the sandbox itself that is tried"),
]

Json = dict[str, Any]
CANARY = [sys.executable, "-m", "canary"]
STEPS = [{"weight": 30, "hold": "3s"}, {"weight": 100, "hold": "2s"}]


class Instance:
    """A folder, and the commands that are about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, "CANARY_SANDBOX_FOLDER": str(folder), "KUBECONFIG": str(folder / "kubeconfig")}

    def canary(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [*CANARY, "sandbox", *words], env=self.env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if code == 0 else done.stderr

    def up(self, *words: str) -> Json:
        answer: Json = json.loads(self.canary("up", "-o", "json", *words))
        return answer

    def kubectl(self, *words: str) -> str:
        done = subprocess.run(
            ["kubectl", *words], env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"kubectl {words}: {done.stdout}{done.stderr}"
        return done.stdout

    def get(self, *words: str) -> Json:
        found: Json = json.loads(self.kubectl("get", *words, "-o", "json"))
        return found

    def phase(self, wanted: str, within: float = 60) -> None:
        """Wait until the Rollout is in a phase."""
        self.kubectl("wait", "rollout/shop", f"--for=jsonpath={{.status.phase}}={wanted}", f"--timeout={within}s")

    def pid(self) -> int:
        return int(json.loads((self.folder / "lock").read_text())["pid"])

    @contextmanager
    def load(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """`canary sandbox load`, ended with Ctrl-C at the latest."""
        command = [*CANARY, "sandbox", "load", "-o", "json", *words]
        with subprocess.Popen(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)


def until(condition: Callable[[], Any], within: float = 20) -> Any:
    """The first true result of what other processes bring about."""
    deadline = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)
    return result


def children(pid: int) -> list[int]:
    """The processes that a process started itself."""
    done = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in done.stdout.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == pid]


def session(leader: int) -> list[int]:
    """The processes that are left of a session."""
    done = subprocess.run(["ps", "-A", "-o", "pid=,sess="], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in done.stdout.splitlines()]
    return [int(pid) for pid, sid in pairs if int(sid) == leader]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and only not yet waited for does not."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip()[:1] not in {"", "Z"}


@contextmanager
def made_in(folder: Path) -> Iterator[Instance]:
    made = Instance(folder / "sandbox")
    try:
        yield made
    finally:
        made.canary("down", "--delete")
        assert not made.folder.exists()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with made_in(tmp_path_factory.mktemp("sandbox")) as made:
        yield made


@pytest.fixture
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One in which nothing was released yet: a version that stable has, or that failed, begins no run."""
    with made_in(tmp_path_factory.mktemp("fresh")) as made:
        yield made


def test_a_release_goes_through_and_a_bad_one_comes_back(cluster: Instance) -> None:
    """up, load, set env: v2 is promoted and nobody sees an error. A fault on v3, which no Deployment knows of: rolled back."""
    info = cluster.up()
    assert info["before"] is False
    assert info["versions"] == {"v1": 4}
    assert cluster.up()["before"] is True
    said = cluster.canary("up")
    assert f"export KUBECONFIG={info['kubeconfig']}" in said
    assert f"curl -H 'Host: shop.example.com' {info['gateway']['url']}/" in said
    checks = [{**check, "window": "4s", "interval": "1s"} for check in cluster.get("rollout", "shop")["spec"]["checks"]]
    cluster.kubectl(
        "patch", "rollout", "shop", "--type=merge", "-p", json.dumps({"spec": {"steps": STEPS, "checks": checks}})
    )
    # The rights are those of deploy/: what the controller may not do, nobody does for it.
    refused = cluster.kubectl("auth", "can-i", "--list", "--as=system:serviceaccount:canary-system:canary-controller")
    assert "secrets" not in refused
    with cluster.load("--rps", "80") as load:
        cluster.kubectl("set", "env", "deployment/shop-canary", "VERSION=v2")
        cluster.phase("Succeeded")
        assert until(lambda: json.loads(cluster.canary("status", "-o", "json"))["versions"]) == {"v2": 4}

        cluster.canary("fault", "--version", "v3", "--errors", "20%", "--latency", "30ms")
        cluster.kubectl("set", "env", "deployment/shop-canary", "VERSION=v3")
        generation = cluster.get("deployment", "shop-canary")["metadata"]["generation"]
        cluster.phase("RolledBack")
        assert cluster.get("deployment", "shop-canary")["metadata"]["generation"] == generation
        template = cluster.get("deployment", "shop-canary")["spec"]["template"]["spec"]["containers"][0]
        assert template["env"] == [{"name": "VERSION", "value": "v3"}]
        assert "v3: 20 % of its answers are errors, 30 ms later (2 replicas)" in cluster.canary("fault")

        load.send_signal(signal.SIGINT)
        out, _ = load.communicate(timeout=20)
    assert load.returncode == 0
    summary = json.loads(out)["versions"]
    assert set(summary) == {"v1", "v2", "v3"}
    assert summary["v1"]["failed"] == summary["v2"]["failed"] == 0
    assert 0.1 < summary["v3"]["failed"] / summary["v3"]["requests"] < 0.3
    assert summary["v3"]["p50"] > 0.03
    weights = [ref["weight"] for ref in cluster.get("httproute", "shop")["spec"]["rules"][0]["backendRefs"]]
    assert weights == [1, 0]


def test_down_ends_everything_and_up_resumes_it(cluster: Instance) -> None:
    """No process is left; the same KUBECONFIG, addresses, objects and faults are there again, and the run's end too."""
    first = cluster.up()
    cluster.canary("fault", "--version", "v7", "--latency", "1s")
    before = {kind: cluster.get(kind, "shop")["metadata"] for kind in ("rollout", "httproute")}
    kubeconfig = (cluster.folder / "kubeconfig").read_bytes()
    processes = [cluster.pid(), *children(cluster.pid())]
    assert len(processes) >= 7  # Envoy, Prometheus, the controller, four replicas

    assert "canary sandbox up" in cluster.canary("down")
    assert not [pid for pid in processes if alive(pid)]
    assert not (cluster.folder / "run").exists()
    assert "No sandbox is up" in cluster.canary("down")

    second = cluster.up()
    assert second["before"] is False
    assert (cluster.folder / "kubeconfig").read_bytes() == kubeconfig
    assert second["gateway"] == first["gateway"]
    assert second["prometheus"] == first["prometheus"]
    assert second["faults"]["v7"] == {"errors": None, "latency": 1.0}
    for kind, metadata in before.items():
        now = cluster.get(kind, "shop")["metadata"]
        assert {key: now[key] for key in ("uid", "creationTimestamp")} == {
            key: metadata[key] for key in ("uid", "creationTimestamp")
        }
    with cluster.load("--rps", "40", "--duration", "1s") as load:
        out, _ = load.communicate(timeout=20)
    assert json.loads(out)["failed"] == 0


def test_kill_9_leaves_no_orphans_and_loses_no_more_than_a_second(cluster: Instance) -> None:
    """The supervisor dies at once: so do its children, and `up` finds what was written before, tokens and all."""
    cluster.up()
    cluster.kubectl("create", "configmap", "outlives-a-kill")
    before = cluster.get("configmap", "outlives-a-kill")["metadata"]
    token = cluster.kubectl("create", "token", "-n", "canary-system", "canary-controller").strip()
    saved = cluster.folder / "cluster.json"
    until(lambda: b'"outlives-a-kill"' in saved.read_bytes(), within=5)
    pid = cluster.pid()
    processes = children(pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not [child for child in [pid, *processes] if alive(child)])
    assert "canary sandbox up" in cluster.canary("status", code=7)

    assert cluster.up()["troubles"] == []
    assert cluster.get("configmap", "outlives-a-kill")["metadata"] == before
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    done = subprocess.run(
        ["kubectl", "create", "--validate=false", "-f", "-", "-o", "json"],
        env=cluster.env,
        input=json.dumps(review),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["status"]["authenticated"] is True


def test_services_of_ones_own_as_the_page_shows_them(cluster: Instance, tmp_path: Path) -> None:
    """The program and the manifests of docs/sandbox.md, in a namespace of their own: a good run, a bad one, the share counted."""
    page = (Path(__file__).parents[3] / "docs" / "sandbox.md").read_text()
    files = dict(re.findall(r"^cat > (hello\S+) <<'END'\n(.*?)^END$", page, re.MULTILINE | re.DOTALL))
    assert set(files) == {"hello.py", "hello.yaml"}
    programs = re.findall(r"^python3 hello\.py ([0-9]+) (v[0-9]) ([0-9]+) &$", page, re.MULTILINE)
    assert [row[1:] for row in programs] == [("v1", "200"), ("v2", "200"), ("v3", "500")]
    ports = {"9001": str(free_port()), "9002": str(free_port())}
    (tmp_path / "hello.py").write_text(files["hello.py"])
    manifests = files["hello.yaml"]
    for said, free in ports.items():
        assert manifests.count(said) == 1
        manifests = manifests.replace(said, free)
    (tmp_path / "hello.yaml").write_text(manifests)

    def start(port: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(tmp_path / "hello.py"), ports[port], *words])

    def status() -> Json:
        found: Json = cluster.get("rollouts.canary.dev", "hello", "-n", "team-hello").get("status") or {}
        return found

    spec = next(one["spec"] for one in yaml.safe_load_all(manifests) if one["kind"] == "Rollout")
    rollout = RolloutSpec.model_validate(spec)
    assert rollout.traffic is not None
    counters = resolve_traffic(rollout.traffic, None)
    canary, stable = (asked.text for asked in traffic_queries(counters, rollout, "team-hello", "hello", weight=50))
    info = cluster.up()
    running = [start(*program) for program in programs[:2]]
    try:
        cluster.kubectl("apply", "-f", str(tmp_path / "hello.yaml"))
        cluster.kubectl("wait", "cro/hello", "-n", "team-hello", "--for=condition=Ready", "--timeout=30s")
        url = info["gateway"]["url"] + "/"
        with cluster.load("--host", "hello.example.com", "--url", url, "--rps", "80", "--duration", "90s") as load:
            cluster.kubectl("annotate", "cro/hello", "-n", "team-hello", "canary.dev/request=start")
            until(lambda: status().get("phase") == "Promoting", within=60)
            assert status()["split"]["observed"] > 0  # as it was when something last happened
            share = f"{canary} / ({canary} + {stable})"
            until(lambda: [found for found in numbers(info["prometheus"], share) if 0.1 < found < 0.6])
            cluster.kubectl("annotate", "cro/hello", "-n", "team-hello", "canary.dev/request=promote")
            until(lambda: status().get("phase") == "Succeeded")
            running[1].kill()
            running.append(start(*programs[2]))
            cluster.kubectl("annotate", "cro/hello", "-n", "team-hello", "canary.dev/request=start")
            until(lambda: status().get("phase") == "RolledBack", within=60)
            assert "check error-rate failed" in status()["message"]
            load.send_signal(signal.SIGINT)
            out, _ = load.communicate(timeout=20)
        assert {"v1", "v2", "v3"} <= set(json.loads(out)["versions"])
    finally:
        for process in running:
            process.kill()
            process.wait()
        cluster.kubectl("delete", "namespace", "team-hello")


def test_a_prometheus_that_asks_who_one_is_as_the_page_shows_it(fresh: Instance, tmp_path: Path) -> None:
    """Every line of that part of docs/sandbox.md, in its order: a release goes through, another password holds one, and the right one lets it go on."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "sandbox.md").read_text()
    part = page[page.index("## A Prometheus that asks who you are") : page.index("## What runs on which")]
    blocks = re.findall(r"^```\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    *typed, shown = (block.replace("9443", str(port)) for port in [free_port()] for block in blocks)
    fresh.up()
    spec = fresh.get("rollout", "shop")["spec"]
    checks = [{**check, "window": "4s", "interval": "1s"} for check in spec["checks"]]
    quick = {"spec": {"steps": STEPS, "checks": checks}}
    fresh.kubectl("patch", "rollout", "shop", "--type=merge", "-p", json.dumps(quick))
    env = {**fresh.env, "TMPDIR": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{fresh.env['PATH']}"}
    said = tmp_path / "said"
    script = "\n".join(["set -eu -o monitor", *typed, "kill %1 %2"])
    with said.open("w") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=root, env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        code = shell.wait(timeout=150)
        assert code == 0, said.read_text()
        assert shown.strip() in said.read_text(), said.read_text()
        told = fresh.kubectl("get", "rollouts.canary.dev,events", "-o", "json")
        for text in (said.read_text(), told, (fresh.folder / "controller.log").read_text()):
            assert "see-for-yourself" not in text
    finally:
        for pid in session(shell.pid):  # where it came to its end by itself nobody is left
            os.kill(pid, signal.SIGKILL)
        shell.wait()


def test_a_controller_that_dies_is_started_again(cluster: Instance) -> None:
    """As a Deployment would; and `status` says so."""
    controller = cluster.up()["controller"]
    os.kill(controller["pid"], signal.SIGKILL)

    def back() -> bool:
        now = json.loads(cluster.canary("status", "-o", "json"))["controller"]
        return now["restarts"] == controller["restarts"] + 1 and now["pid"] not in {None, controller["pid"]}

    until(back)


def test_traefik_is_the_gateway_if_it_is_asked_for(tmp_path: Path) -> None:
    """It serves the shop, the Rollout asks for its metrics and gets numbers; another gateway is refused afterwards."""
    mine = Instance(tmp_path / "sandbox")
    try:
        info = mine.up("--gateway", "traefik")
        assert info["gateway"]["kind"] == "traefik"
        with mine.load("--rps", "40", "--duration", "20s") as load:
            spec = mine.get("rollout", "shop")["spec"]
            queries = [check["prometheus"]["query"] for check in (*spec["checks"], spec["traffic"])]
            # What the controller asks about the canary, asked about the Service that has the traffic.
            words = {
                f"{side}.{word}": value
                for side in ("canary", "stable", "backend")
                for word, value in (("service", "shop-stable"), ("namespace", "team-shop"))
            }
            for asked in queries:
                query = asked.replace("{{ window }}", "5s")
                for word, value in words.items():
                    query = query.replace("{{ " + word + " }}", value)
                (found,) = until(lambda query=query: numbers(info["prometheus"], query))
                assert found >= 0
            load.send_signal(signal.SIGINT)
            out, _ = load.communicate(timeout=20)
        assert set(json.loads(out)["versions"]) == {"v1"}
        assert "--folder" in mine.canary("up", "--gateway", "envoy", code=3)
    finally:
        mine.canary("down", "--delete")


def numbers(prometheus: str, query: str) -> list[float]:
    """What Prometheus answers now, as far as it is a number."""
    url = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=10) as response:
        result = json.load(response)["data"]["result"]
    return [float(one["value"][1]) for one in result if not math.isnan(float(one["value"][1]))]


def test_in_the_foreground_until_ctrl_c(tmp_path: Path) -> None:
    """Without example and controller: an empty cluster, and Ctrl-C ends it in good order."""
    mine = Instance(tmp_path / "sandbox")
    command = [*CANARY, "sandbox", "up", "--foreground", "--no-example", "--no-controller", "-o", "json"]
    with subprocess.Popen(command, env=mine.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            info = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
            assert info["controller"] is None
            assert info["example"] is False
            assert mine.get("rollouts", "-A")["items"] == []
            assert "is up" in mine.canary("up", "--foreground", code=1)
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
    assert process.returncode == 0
    assert (mine.folder / "cluster.json").exists()


def test_ctrl_c_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    """The supervisor that `up` has just started goes with it."""
    mine = Instance(tmp_path / "sandbox")
    with subprocess.Popen(
        [*CANARY, "sandbox", "up"], env=mine.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the first step
        supervisor = mine.pid()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not alive(supervisor)
    assert not (mine.folder / "run").exists()
    assert not (mine.folder / "cluster.json").exists()
