"""`Sandbox`: API server, gateway, workloads and Prometheus together, up in seconds and gone without a trace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from canary.errors import AlreadyExists, SandboxError
from canary.kube import GATEWAYCLASSES, Kube, Resource
from canary.model.crd import crds
from canary.sandbox.apiserver import ApiServer, Mode, Snapshot
from canary.sandbox.gateway import CONTROLLER_NAME, EnvoyGateway
from canary.sandbox.process import free_or_any
from canary.sandbox.prometheus import Prometheus, require_prometheus
from canary.sandbox.workloads import Workloads

Json = dict[str, Any]
GATEWAY_CLASS = "sandbox"
"""The GatewayClass that the sandbox creates."""

_GATEWAY_API = Path(__file__).resolve().parent / "gatewayapi"


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports that are taken if they are still free; 0, or a listener that is not named: any."""

    api: int = 0
    prometheus: int = 0
    listeners: Mapping[str, int] = field(default_factory=dict)
    """By "namespace/gateway/listener"."""


class Sandbox:
    """A whole cluster in one process tree.

    `gateway=False` and `workloads=False` leave those parts out. `prometheus=True` needs a binary (SandboxError says
    how to get one). `processes=True` runs replicas as processes of their own. `crds` are folders to install besides
    the Gateway API's; None prints ours. `snapshot` resumes what another one's `api.save()` gave.
    """

    api: ApiServer
    kube: Kube
    kubeconfig: Path

    def __init__(
        self,
        *,
        gateway: bool = True,
        workloads: bool = True,
        prometheus: bool = False,
        processes: bool = False,
        scrape_interval: str = "1s",
        drain: float = 0.5,
        crds: Sequence[Path] | None = None,
        authorization: Mode = "AlwaysAllow",
        snapshot: Snapshot | None = None,
        ports: Ports | None = None,
    ) -> None:
        self._ports = ports or Ports()
        self._api = ApiServer(authorization=authorization, snapshot=snapshot, port=free_or_any(self._ports.api))
        self._with_gateway = gateway
        self._with_workloads = workloads
        self._with_prometheus = prometheus
        self._processes = processes
        self._scrape_interval = scrape_interval
        self._drain = drain
        self._crds = crds
        self._parts: dict[str, EnvoyGateway | Workloads | Prometheus] = {}
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._with_prometheus:
            require_prometheus()  # before anything else starts
        if self._with_prometheus and not self._with_gateway:
            raise SandboxError("prometheus=True needs gateway=True: Envoy is what it scrapes")
        async with AsyncExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-sandbox-")))
            self.api = await stack.enter_async_context(self._api)
            self.kubeconfig = self.folder / "kubeconfig"
            self.api.kubeconfig(self.kubeconfig)
            self.kube = await stack.enter_async_context(
                await Kube.connect(server=self.api.url, token=self.api.token, field_manager="canary-sandbox")
            )
            if self._crds is None:
                self.api.define(crds().values())
            for folder in (gateway_api_crds(), *(self._crds or ())):
                if any(folder.glob("*.y*ml")):
                    await self.api.install_crds(folder)
                elif self._with_gateway and folder == gateway_api_crds():
                    raise SandboxError(f"no Gateway API definitions in {folder}: GATEWAY_API_CRDS may name a folder")
            if self._with_workloads:
                self._parts["workloads"] = await stack.enter_async_context(
                    Workloads(self.kube, processes=self._processes, drain=self._drain)
                )
            if self._with_gateway:
                await self.apply([gateway_class()])
                gateway = await stack.enter_async_context(EnvoyGateway(self.kube, ports=self._ports.listeners))
                self._parts["gateway"] = gateway
                if self._with_prometheus:
                    self._parts["prometheus"] = await stack.enter_async_context(
                        Prometheus([gateway.stats_url], self._scrape_interval, port=self._ports.prometheus)
                    )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def gateway(self) -> EnvoyGateway:
        part = self._parts.get("gateway")
        if not isinstance(part, EnvoyGateway):
            raise SandboxError("this sandbox was started without a gateway")
        return part

    @property
    def workloads(self) -> Workloads:
        part = self._parts.get("workloads")
        if not isinstance(part, Workloads):
            raise SandboxError("this sandbox was started without workloads")
        return part

    @property
    def prometheus(self) -> Prometheus:
        part = self._parts.get("prometheus")
        if not isinstance(part, Prometheus):
            raise SandboxError("this sandbox was started without Prometheus")
        return part

    async def gateway_url(self, namespace: str, name: str, listener: str | None = None) -> str:
        """Where a Gateway's listener (default: its first) really listens; waits until it does."""
        host, port = await self.gateway.address(namespace, name, listener)
        return f"http://{host}:{port}"

    async def apply(self, documents: str | Iterable[Mapping[str, Any]]) -> list[Json]:
        """Create each document, or merge-patch it where it exists; YAML text or parsed. Returns what the server has.

        Raises ApiError as the server does, SandboxError for a kind that it does not serve.
        """
        parsed = yaml.safe_load_all(documents) if isinstance(documents, str) else documents
        return [await self._apply(dict(document)) for document in parsed if document]

    async def _apply(self, document: Json) -> Json:
        resource = await self._resource(document["apiVersion"], document["kind"])
        meta = document["metadata"]
        namespace = meta.get("namespace", "default") if resource.namespaced else None
        try:
            return await self.kube.create(resource, document, namespace)
        except AlreadyExists:
            return await self.kube.merge_patch(resource, meta["name"], namespace, document)

    async def _resource(self, api_version: str, kind: str) -> Resource:
        """Find the resource by discovery, as kubectl does."""
        known = self._kinds.get((api_version, kind))
        if known:
            return known
        group, _, version = api_version.rpartition("/")
        listing = await self.kube.raw(f"/apis/{api_version}" if group else f"/api/{version}")
        for item in listing.get("resources") or []:
            if item["kind"] == kind and "/" not in item["name"]:
                found = Resource(group, version, item["name"], kind, bool(item.get("namespaced")))
                return self._kinds.setdefault((api_version, kind), found)
        raise SandboxError(f"the API server does not serve {kind} of {api_version}")


def gateway_api_crds() -> Path:
    """The folder of Gateway API CRDs: GATEWAY_API_CRDS names one, else ours."""
    return Path(os.environ.get("GATEWAY_API_CRDS") or _GATEWAY_API)


def gateway_class() -> Json:
    """The GatewayClass that the sandbox's gateway serves."""
    return {
        "apiVersion": GATEWAYCLASSES.api_version,
        "kind": GATEWAYCLASSES.kind,
        "metadata": {"name": GATEWAY_CLASS},
        "spec": {"controllerName": CONTROLLER_NAME},
    }
