"""The real API server that a test session uses, if it was given one: started from binaries, or named by a kubeconfig.

`KUBEBUILDER_ASSETS` is a folder with `kube-apiserver` and `etcd` (the convention of envtest); the session starts both
and ends them. `CANARY_TEST_KUBECONFIG` names the kubeconfig of a cluster whose admin we are. With neither the tests run
on the sandbox's own API server.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canary.kube import connection
from canary_sandbox.process import die_with_parent, free_port

ASSETS = os.environ.get("KUBEBUILDER_ASSETS", "")
KUBECONFIG = os.environ.get("CANARY_TEST_KUBECONFIG", "")
REAL = bool(ASSETS or KUBECONFIG)
"""Whether this session runs against a real API server."""

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Which of a session's workers this is; each starts a server of its own."""

SERVICE_RANGE = f"127.{100 + WORKER % 100}.0.0/16"
"""ClusterIPs of the server that we start: loopback addresses, so that something can listen on them, and nobody else's."""

START_SECONDS = 60.0


@dataclass(frozen=True)
class Upstream:
    """How the admin reaches a real API server. `bare` is the same TLS without the admin's certificate."""

    url: str
    authorization: str
    admin: ssl.SSLContext
    bare: ssl.SSLContext
    description: str


class _Envtest:
    """etcd and kube-apiserver as child processes with a folder of their own."""

    def __init__(self, assets: Path) -> None:
        missing = [name for name in ("etcd", "kube-apiserver") if not (assets / name).is_file()]
        if missing:
            raise FileNotFoundError(f"KUBEBUILDER_ASSETS={assets} has no {' and no '.join(missing)}")
        self._assets = assets
        self._folder = Path(tempfile.mkdtemp(prefix="canary-envtest-"))
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self) -> Upstream:
        store, peer, port = free_port(), free_port(), free_port()
        store_url, peer_url = f"http://127.0.0.1:{store}", f"http://127.0.0.1:{peer}"
        self._run("etcd", "--data-dir", self._folder / "etcd", "--listen-client-urls", store_url,
            "--advertise-client-urls", store_url, "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls",
            peer_url, "--initial-cluster", f"default={peer_url}", "--unsafe-no-fsync")  # fmt: skip
        token = secrets.token_urlsafe(24)
        tokens = self._folder / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f"{token},envtest-admin,envtest-admin,system:masters\n")
        key = self._folder / "accounts.key"
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        certificates = self._folder / "certificates"
        self._run(
            "kube-apiserver", "--etcd-servers", store_url, "--cert-dir", certificates, "--bind-address", "127.0.0.1",
            "--secure-port", port, "--service-cluster-ip-range", SERVICE_RANGE, "--authorization-mode", "RBAC",
            "--token-auth-file", tokens, "--service-account-key-file", key, "--service-account-signing-key-file", key,
            "--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
            # Nobody here makes default service accounts, and no node would run what needs them.
            "--disable-admission-plugins", "ServiceAccount",
            # A loopback address is no endpoint for the Service `kubernetes`.
            "--endpoint-reconciler-type", "none",
        )  # fmt: skip
        url = f"https://127.0.0.1:{port}"
        context = self._await(url, token, certificates / "apiserver.crt")
        return Upstream(url, f"Bearer {token}", context, context, f"kube-apiserver of {self._assets.name}/")

    def _run(self, program: str, *words: object) -> None:
        with (self._folder / f"{program}.log").open("wb") as log:
            self._children.append(
                subprocess.Popen(
                    [str(self._assets / program), *map(str, words)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - two calls that are loaded already
                )
            )

    def _await(self, url: str, token: str, certificate: Path) -> ssl.SSLContext:
        """Wait for /readyz. The server signs its own certificate, which is the authority to trust."""
        end = time.monotonic() + START_SECONDS
        said = "no certificate yet"
        while time.monotonic() < end:
            for child in self._children:
                if child.poll() is not None:
                    raise RuntimeError(f"{child.args[0]} exited with {child.returncode}:\n{self.tail()}")
            if certificate.is_file():
                try:
                    context = ssl.create_default_context(cafile=certificate)
                    request = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {token}"})
                    with urllib.request.urlopen(request, timeout=5, context=context):
                        return context
                except (OSError, urllib.error.URLError) as error:
                    said = str(error)
            time.sleep(0.1)
        raise RuntimeError(f"kube-apiserver was not ready after {START_SECONDS:g} s ({said}):\n{self.tail()}")

    def tail(self) -> str:
        return "\n".join((self._folder / "kube-apiserver.log").read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        for child in reversed(self._children):
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


_running: list[_Envtest] = []
_known: list[Upstream] = []


def upstream() -> Upstream:
    """The real server of this session; started at the first call."""
    if not _known:
        _known.append(_from_kubeconfig() if KUBECONFIG else _started())
    return _known[0]


def _started() -> Upstream:
    server = _Envtest(Path(ASSETS))
    _running.append(server)
    return server.start()


def _from_kubeconfig() -> Upstream:
    # The first to ask may be a fixture, in whose loop no other can run.
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(asyncio.run, connection.load(kubeconfig=KUBECONFIG)).result()
    configuration = loaded.configuration
    admin, bare = (_context(configuration) for _ in range(2))
    if configuration.cert_file:
        admin.load_cert_chain(configuration.cert_file, configuration.key_file)
    authorization = configuration.api_key.get("BearerToken", "")
    return Upstream(str(configuration.host).rstrip("/"), authorization, admin, bare, "the cluster of a kubeconfig")


def _context(configuration: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def version() -> str:
    """What the real server says of itself, such as `v1.36.3`."""
    return str(_get("/version")["gitVersion"])


def minor_version() -> int:
    """Which Kubernetes it is: 36 for 1.36."""
    return int(version().split(".")[1])


def runs_deployments() -> bool:
    """Whether somebody on the cluster does: whoever makes accounts for namespaces makes Pods for Deployments too."""
    if not KUBECONFIG:
        return False
    try:
        _get("/api/v1/namespaces/kube-system/serviceaccounts/default")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return False
    return True


def _get(path: str) -> Any:
    found = upstream()
    request = urllib.request.Request(f"{found.url}{path}", headers={"Authorization": found.authorization})
    with urllib.request.urlopen(request, timeout=10, context=found.admin) as answer:
        return json.load(answer)


def stop() -> None:
    """End what this session started."""
    while _running:
        _running.pop().stop()
    _known.clear()
