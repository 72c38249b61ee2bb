from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kube_kit import one

from canary import errors
from canary.errors import ConfigError
from canary.kube import PODS, KubeClient
from canary.kube.connection import load


def jwt(**claims: Any) -> str:
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{middle}.c2ln"


def kubeconfig(
    path: Path, *, server: str = "http://127.0.0.1:1", user: dict[str, Any] | None = None, **context: str
) -> str:
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "main",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "alice", "user": user or {}}],
                "contexts": [
                    {"name": "main", "context": {"cluster": "c", "user": "alice", **context}},
                    {"name": "other", "context": {"cluster": "c", "user": "alice", "namespace": "elsewhere"}},
                ],
            }
        )
    )
    return str(path)


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    folder = tmp_path / "sa"
    folder.mkdir()
    (folder / "token").write_text(jwt(sub="system:serviceaccount:canary-system:canary"))
    (folder / "ca.crt").write_text("a certificate")
    (folder / "namespace").write_text("canary-system\n")
    return folder


IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}


async def test_a_given_server_needs_nothing_else(tmp_path: Path) -> None:
    """With a server and a token no file is read."""
    connection = await load(server="http://127.0.0.1:8001/", token=jwt(sub="bob"), environ={"KUBECONFIG": "/nowhere"})
    assert (connection.server, connection.namespace, connection.user) == ("http://127.0.0.1:8001", "default", "bob")


async def test_kubeconfig_gives_server_namespace_and_user(tmp_path: Path) -> None:
    """The current context counts, unless another one is asked for; an unknown one is named."""
    path = kubeconfig(tmp_path / "config", server="http://127.0.0.1:2", user={"token": "t"}, namespace="shop")
    connection = await load(kubeconfig=path)
    assert (connection.server, connection.namespace, connection.user) == ("http://127.0.0.1:2", "shop", "alice")
    assert (await load(kubeconfig=path, context="other")).namespace == "elsewhere"
    with pytest.raises(ConfigError, match=r"has no context nope; there are main, other$"):
        await load(kubeconfig=path, context="nope")


async def test_kubeconfig_from_the_environment_may_be_several(tmp_path: Path) -> None:
    """$KUBECONFIG is a list of files, some of which may be missing."""
    path = kubeconfig(tmp_path / "config", namespace="shop")
    environ = {"KUBECONFIG": f"{tmp_path / 'missing'}:{path}"}
    assert (await load(environ=environ, service_account=tmp_path / "none")).namespace == "shop"


@pytest.mark.parametrize("content", ["", "[]", "a: b", "{", "clusters: 1"])
async def test_a_broken_kubeconfig_is_one_sentence(tmp_path: Path, content: str) -> None:
    """Whatever is wrong with the file, the message names the file."""
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"the kubeconfig .* cannot be used"):
        await load(kubeconfig=str(path))


async def test_no_configuration_at_all(tmp_path: Path) -> None:
    """Nothing found: the error says where we looked and what helps."""
    with pytest.raises(ConfigError, match=r"there is no kubeconfig at .*missing; set KUBECONFIG"):
        await load(environ={"KUBECONFIG": str(tmp_path / "missing")}, service_account=tmp_path / "none")
    with pytest.raises(ConfigError, match=r"no http:// or https:// address"):
        await load(server="127.0.0.1:8001")
    with pytest.raises(ConfigError, match=r"^the address of the server https://host:1 of .* carries a user or a pass"):
        await load(server="https://bob:secret@host:1/token")
    with pytest.raises(ConfigError) as caught:
        await load(server="bob:secret@host:1/token")
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"the CA file .* does not exist"):
        await load(server="https://127.0.0.1:8001", ca_file=str(tmp_path / "ca"))


async def test_in_cluster(service_account: Path) -> None:
    """In a pod, the service account tells everything; an explicit kubeconfig still wins."""
    connection = await load(service_account=service_account, environ=IN_CLUSTER)
    assert connection.server == "https://[fd00::1]:443"
    assert connection.namespace == "canary-system"
    assert connection.user == "system:serviceaccount:canary-system:canary"
    path = kubeconfig(service_account / "config", namespace="shop")
    assert (await load(kubeconfig=path, service_account=service_account, environ=IN_CLUSTER)).namespace == "shop"
    with pytest.raises(ConfigError, match="KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT have to be set"):
        await load(service_account=service_account, environ={})


async def test_a_rotated_token_is_picked_up_after_401(api, tmp_path: Path) -> None:
    """A request refused with 401 is sent again once when reading the credentials anew gives others."""
    secret = tmp_path / "token"
    secret.write_text("old")
    path = kubeconfig(tmp_path / "config", server=api.url, user={"tokenFile": str(secret)})
    async with await KubeClient.connect(kubeconfig=path) as kube:
        api.answer(200, one(PODS, "p"))
        await kube.get(PODS, "p", "shop")
        secret.write_text("new")
        api.refuse(401, "Unauthorized", "expired")
        api.answer(200, one(PODS, "p"))
        assert await kube.get(PODS, "p", "shop") == one(PODS, "p")
        api.refuse(401, "Unauthorized", "expired for good")
        with pytest.raises(errors.Forbidden, match="for good"):
            await kube.get(PODS, "p", "shop")
    tokens = [seen.headers["Authorization"] for seen in api.seen]
    assert tokens == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]


def plugin(tmp_path: Path, status: str, code: int = 0) -> dict[str, Any]:
    script = tmp_path / "plugin.py"
    script.write_text(f"""
import json, pathlib, sys
count = pathlib.Path({str(tmp_path / "count")!r})
n = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(n))
api = "client.authentication.k8s.io/v1"
print(json.dumps({{"kind": "ExecCredential", "apiVersion": api, "status": {status}}}))
sys.exit({code})
""")
    api = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": api, "command": sys.executable, "args": [str(script)], "interactiveMode": "Never"}}


async def test_exec_plugin_is_asked_again_when_its_token_expired(api, tmp_path: Path) -> None:
    """Credentials of a plugin are kept while they are valid and renewed before they are not."""
    status = (
        """{"token": f"t{n}", "expirationTimestamp": "2000-01-01T00:00:00Z" if n == 1 else "2999-01-01T00:00:00Z"}"""
    )
    path = kubeconfig(tmp_path / "config", server=api.url, user=plugin(tmp_path, status))
    async with await KubeClient.connect(kubeconfig=path) as kube:
        for _ in range(2):
            api.answer(200, one(PODS, "p"))
            await kube.get(PODS, "p", "shop")
    assert [seen.headers["Authorization"] for seen in api.seen] == ["Bearer t2", "Bearer t2"]


async def test_exec_plugin_that_fails_is_a_configuration_error(tmp_path: Path) -> None:
    """No credentials from the plugin: say so, instead of a 401 later."""
    path = kubeconfig(tmp_path / "config", user=plugin(tmp_path, "{}", code=1))
    with pytest.raises(ConfigError, match=r"credential plugin .* gave no credentials"):
        await load(kubeconfig=path)
