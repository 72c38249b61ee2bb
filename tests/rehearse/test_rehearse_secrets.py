"""`canary plan` and `canary backtest` where Prometheus wants credentials: from files, or from the Secret that a check names."""

from __future__ import annotations

import base64
import copy
from pathlib import Path
from typing import Any

from cli_kit import Run, canary
from cluster_kit import api_server, install_all, own_namespace
from rehearse_kit import COMPARE, LIMIT, document, prometheus_of, steps, written

from canary.kube import NAMESPACES, SECRETS, KubeClient

Json = dict[str, Any]

BETWEEN = ("--from", "2026-03-02T00:00:00Z", "--to", "2026-03-02T02:00:00+00:00")
TOKEN, PASSWORD = "of-the-team-0123456789", "of-somebody-0123456789"
BASIC = f"Basic {base64.b64encode(f'reader:{PASSWORD}'.encode()).decode()}"
COUNTED = {
    'requests_total{service="stable"}': 100.0,
    'requests_total{service="canary"}': 10.0,
    'requests_total{service="stable",code="500"}': 1.0,
    'rate(requests_total{service="stable"}[1m])': 0.1,
}


def asked_at(url: str, secret: str) -> list[Json]:
    """A comparison and a limit at an address of their own, with a Secret."""
    checks = [copy.deepcopy(COMPARE), copy.deepcopy(LIMIT)]
    for prometheus in (checks[0]["compare"]["prometheus"], checks[1]["prometheus"]):
        prometheus |= {"address": url, "auth": {"secretRef": {"name": secret}}}
    return checks


async def test_a_secret_is_shown_to_whom_it_is_for_by_the_rights_of_who_asks(tmp_path: Path) -> None:
    """Without a word about it, it is not read. What it is not for, and what may not be read, is told by name; nothing of it is."""
    namespace = own_namespace("team-shop")
    said: list[Run] = []

    async def ran(*words: str, config: str = "") -> Run:
        ended = await canary(*words, "-n", namespace, KUBECONFIG=config or admin, COLUMNS="250")
        said.append(ended)
        return ended

    async with api_server(authorization="RBAC") as api, prometheus_of(COUNTED, shown=f"Bearer {TOKEN}") as url:
        await install_all(api)
        admin = str(api.kubeconfig(tmp_path / "admin", namespace=namespace))
        stranger = str(api.kubeconfig(tmp_path / "stranger", user="alice", namespace=namespace))
        async with await KubeClient.connect(kubeconfig=admin) as kube:
            await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            for name, hosts in (("mine", "127.0.0.1"), ("others", "prometheus.example.com")):
                metadata = {"name": name, "namespace": namespace, "annotations": {"canary.dev/hosts": hosts}}
                data = {"token": base64.b64encode(TOKEN.encode()).decode()}
                await kube.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
        file = written(tmp_path, document(steps(10), *asked_at(url, "mine")))
        without = await ran("plan", file, "--prometheus-url", url)
        assert "answered 401: it was shown no credentials" in without.out
        assert "--secrets shows Secret mine to its address" in without.out
        plan = await ran("plan", file, "--times", "10", "--secrets")
        assert (plan.code, plan.err) == (0, ""), plan.err
        assert "110" in plan.out, plan.out
        back = await ran("backtest", file, *BETWEEN, "--times", "10", "--secrets")
        assert (back.code, back.err) == (0, ""), back.err
        assert "23 runs of 5m01s" in back.out
        denied = await ran("plan", file, "--times", "10", "--secrets", config=stranger)
        assert f"you may not read Secret mine in namespace {namespace}" in denied.out
        file = written(tmp_path, document(steps(10), *asked_at(url, "others")))
        wrong = await ran("plan", file, "--times", "10", "--secrets")
        assert f"Secret others in namespace {namespace} is not for 127.0.0.1" in wrong.out
    for one in said:
        assert TOKEN not in one.out + one.err


async def test_what_the_controller_is_given_in_files_these_take_too(tmp_path: Path) -> None:
    """A user name with a password; what is not accepted is told, and the words of who repeats it are withheld."""
    file = written(tmp_path, document(steps(10, 50), COMPARE))
    (tmp_path / "name").write_text("reader")
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "token").write_text(TOKEN)
    who = (
        "--prometheus-username-file",
        str(tmp_path / "name"),
        "--prometheus-password-file",
        str(tmp_path / "password"),
    )
    async with prometheus_of(COUNTED, shown=BASIC) as url:
        again = ("backtest", file, *BETWEEN, "--times", "10", "--prometheus-url", url)
        good = await canary(*again, *who, COLUMNS="250")
        bad = await canary(*again, "--prometheus-bearer-token-file", str(tmp_path / "token"), COLUMNS="250")
        half = await canary(*again, *who[:2])
    assert (good.code, good.err) == (0, "")
    assert bad.code != 0
    assert "withheld: it repeats a credential" in bad.err
    assert half.code != 0
    assert "--prometheus-username-file needs --prometheus-password-file too" in half.err
    for ran in (good, bad, half):
        assert TOKEN not in ran.out + ran.err
        assert PASSWORD not in ran.out + ran.err
