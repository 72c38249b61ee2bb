"""`Sandbox`: API server, gateway, workloads and Prometheus together, up in seconds and gone without a trace."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from canary.errors import AlreadyExists, SandboxError
from canary.kube import GATEWAYCLASSES, Kube, KubeClient, Resource
from canary.model.crd import crds
from canary_sandbox.addresses import Locate, as_written
from canary_sandbox.apiserver import ApiServer, Mode, Snapshot
from canary_sandbox.apiserver.generic import GenericApiServer
from canary_sandbox.app_metrics import AppMetrics
from canary_sandbox.composite import Composite
from canary_sandbox.forwarder import ServiceForwarder
from canary_sandbox.gateway import EnvoyGateway
from canary_sandbox.gateway.port import GatewayImplementation
from canary_sandbox.jobs import JobRunner
from canary_sandbox.process import free_or_any
from canary_sandbox.prometheus import Prometheus, require_prometheus
from canary_sandbox.traefik import TraefikGateway
from canary_sandbox.workloads import Workloads

Json = dict[str, Any]
GatewayKind = Literal["envoy", "traefik"]
CONTROLLERS: dict[GatewayKind, str] = {
    "envoy": EnvoyGateway.controller_name,
    "traefik": TraefikGateway.controller_name,
}
GATEWAY_CLASS = "sandbox"
"""The GatewayClass that the sandbox creates."""

_GATEWAY_API = Path(__file__).resolve().parent / "gatewayapi"


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports that are taken if they are still free; 0: any."""

    api: int = 0
    prometheus: int = 0
    listeners: Mapping[str, int] | None = None
    """Of Envoy, by "namespace/gateway/listener"; None: any, where others get ports that are likely to be free another time."""
    traefik: Sequence[int] = ()
    """Those that Traefik binds and Gateways name: not to be replaced by others if they are taken."""


class Sandbox(Composite):
    """A whole cluster in one process tree.

    `gateway` names the implementation of the Gateway API, None leaves it out; the GatewayClass is called GATEWAY_CLASS
    either way, and what port a Gateway's listener may name is `gateway.listener_port`. `workloads=False` leaves those
    out. `prometheus=True` needs a binary (SandboxError says how to get one). `processes=True` runs replicas as processes
    of their own. `pod_network` gives pods addresses of their own (see `Workloads`). `crds` are folders to install besides
    the Gateway API's; None prints ours. `snapshot` resumes what another one's `server.save()` gave.

    `api` is an API server that runs already and outlives the sandbox, the definitions installed. It may be a proxy
    before a real one, whose ClusterIPs have to be loopback addresses. Nobody else may run Deployments there.
    """

    kube: Kube
    kubeconfig: Path

    def __init__(
        self,
        *,
        gateway: GatewayKind | None = "envoy",
        workloads: bool = True,
        prometheus: bool = False,
        processes: bool = False,
        scrape_interval: str = "1s",
        drain: float = 0.5,
        pod_network: str | None = None,
        api: GenericApiServer | None = None,
        crds: Sequence[Path] | None = None,
        authorization: Mode = "AlwaysAllow",
        snapshot: Snapshot | None = None,
        ports: Ports | None = None,
    ) -> None:
        self._ports = ports or Ports()
        self._server: ApiServer | None = None
        if api is None:
            self._server = ApiServer(authorization=authorization, snapshot=snapshot, port=free_or_any(self._ports.api))
        elif snapshot or crds or authorization != "AlwaysAllow":
            raise SandboxError(
                "crds, authorization and snapshot are for an API server of the sandbox's own: leave them out"
            )
        self.api: GenericApiServer = api or self._require_server()
        """What everything in the sandbox talks to."""
        self._gateway_kind: GatewayKind | None = gateway
        self._with_workloads = workloads
        self._with_prometheus = prometheus
        self._processes = processes
        self._scrape_interval = scrape_interval
        self._drain = drain
        self._pod_network = pod_network
        self._crds = crds
        self._parts: dict[str, GatewayImplementation | Workloads | Prometheus] = {}
        self._kinds: dict[tuple[str, str], Resource] = {}

    async def _enter(self, stack: AsyncExitStack) -> None:
        if self._with_prometheus:
            require_prometheus()  # before anything else starts
        if self._with_prometheus and self._gateway_kind is None:
            raise SandboxError("prometheus=True needs a gateway: that is what it scrapes")
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canary-sandbox-")))
        if self._server is not None:
            await stack.enter_async_context(self._server)
            await self._define(self._server)
        self.kubeconfig = self.folder / "kubeconfig"
        self.api.kubeconfig(self.kubeconfig)
        self.kube = await stack.enter_async_context(
            await KubeClient.connect(server=self.api.url, token=self.api.token, field_manager="canary-sandbox")
        )
        if self._with_workloads:
            self._parts["workloads"] = await stack.enter_async_context(
                Workloads(self.kube, processes=self._processes, drain=self._drain, pod_network=self._pod_network)
            )
        if self._with_workloads:
            await stack.enter_async_context(JobRunner(self.kube))
        locate = self.workloads.locate if self._with_workloads else as_written
        if self._with_workloads or self._gateway_kind == "traefik":
            await stack.enter_async_context(ServiceForwarder(self.kube, locate=locate))
        if self._gateway_kind:
            await self.apply([gateway_class(self._gateway_kind)])
            gateway = self._implementation(self._gateway_kind, locate)
            self._parts["gateway"] = await stack.enter_async_context(gateway)
            if self._with_prometheus:
                targets = [gateway.stats_url]
                if self._with_workloads:
                    metrics = await stack.enter_async_context(AppMetrics(self.workloads.selected))
                    targets.append(metrics.url)
                self._parts["prometheus"] = await stack.enter_async_context(
                    Prometheus(targets, self._scrape_interval, port=self._ports.prometheus)
                )

    async def _define(self, server: ApiServer) -> None:
        """Our own definitions, or what is asked for, and the Gateway API's."""
        if self._crds is None:
            server.define(crds().values())
        for folder in (gateway_api_crds(), *(self._crds or ())):
            if any(folder.glob("*.y*ml")):
                await server.install_crds(folder)
            elif self._gateway_kind and folder == gateway_api_crds():
                raise SandboxError(f"no Gateway API definitions in {folder}: GATEWAY_API_CRDS may name a folder")

    def _require_server(self) -> ApiServer:
        if self._server is None:
            raise SandboxError("this sandbox was given an API server: it has none of its own")
        return self._server

    def _implementation(self, kind: GatewayKind, locate: Locate) -> GatewayImplementation:
        match kind:
            case "envoy":
                return EnvoyGateway(self.kube, locate=locate, ports=self._ports.listeners)
            case "traefik":
                # A platform's own controller: it reads every namespace's Secrets and writes every Gateway's status.
                kubeconfig = self.folder / "traefik.kubeconfig"
                self.api.kubeconfig(kubeconfig, user="traefik", groups=("system:masters",))
                return TraefikGateway(self.kube, kubeconfig, ports=self._ports.traefik)

    @property
    def server(self) -> ApiServer:
        """The sandbox's own API server; SandboxError if it was given another one."""
        return self._require_server()

    @property
    def gateway(self) -> GatewayImplementation:
        part = self._parts.get("gateway")
        if part is None or isinstance(part, Workloads | Prometheus):
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

    @property
    def prometheus_url(self) -> str | None:
        """Where Prometheus is; None: there is none."""
        part = self._parts.get("prometheus")
        return part.url if isinstance(part, Prometheus) else None

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


def gateway_class(gateway: GatewayKind = "envoy") -> Json:
    """The GatewayClass that the sandbox's gateway serves."""
    return {
        "apiVersion": GATEWAYCLASSES.api_version,
        "kind": GATEWAYCLASSES.kind,
        "metadata": {"name": GATEWAY_CLASS},
        "spec": {"controllerName": CONTROLLERS[gateway]},
    }
