"""`EnvoyGateway`: watches the Gateway API, programs Envoy, and only then says so in the statuses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial

from canary.errors import ApiError, Conflict, NotFound, SandboxError
from canary.kube import (
    ENDPOINTSLICES,
    GATEWAYCLASSES,
    GATEWAYS,
    NAMESPACES,
    REFERENCEGRANTS,
    SERVICES,
    Kube,
    Resource,
)
from canary_sandbox.addresses import Locate, as_written
from canary_sandbox.composite import Composite
from canary_sandbox.gateway.attach import CONTROLLER_NAME
from canary_sandbox.gateway.envoy import Envoy, EnvoyRefusedError
from canary_sandbox.gateway.objects import (
    GATEWAY_GROUP,
    ROUTE_KINDS,
    Json,
    Objects,
    RouteKey,
    generation_of,
    key_of,
)
from canary_sandbox.gateway.statuses import Statuses, class_body, gateway_body, has_our_entries, route_body
from canary_sandbox.gateway.translate import FEATURES, EnvoyConfig, translate
from canary_sandbox.watching import Cache, running, watch_all

log = logging.getLogger(__name__)

Accept = Callable[[Json], bool]

_READ: dict[str, Resource] = {
    "classes": GATEWAYCLASSES,
    "gateways": GATEWAYS,
    "services": SERVICES,
    "slices": ENDPOINTSLICES,
    "grants": REFERENCEGRANTS,
    "namespaces": NAMESPACES,
}


def accept_all(_: Json) -> bool:
    """The gateway as it should be: every route is taken up as soon as it is seen."""
    return True


class EnvoyGateway(Composite):
    """The sandbox's implementation of the Gateway API, controller name `canary.dev/sandbox-envoy`.

    A route's status for generation N is written after Envoy's data path runs the routes of generation N, never before.

    `accept(route)` False makes the gateway behave like one that is late: it serves the last generation it took up and
    says nothing about the new one. What is left out of `features` is not advertised, and refused.
    Kinds of routes that the API server does not serve when it starts are left out. What it is told to do wrong stands on
    its GatewayClass: see `lies`.
    One thing differs from a real gateway: a listener's port (say 80) cannot be bound here, so every listener gets a
    free loopback port; `address()` tells which, and so does the listener's Programmed condition. `ports` are those to
    take if they are free, by "namespace/gateway/listener". `locate` says where the endpoints of EndpointSlices really
    listen.
    """

    controller_name = CONTROLLER_NAME
    listener_port = 80

    def __init__(
        self,
        kube: Kube,
        *,
        accept: Accept = accept_all,
        features: frozenset[str] = FEATURES,
        locate: Locate = as_written,
        ports: Mapping[str, int] | None = None,
    ) -> None:
        self._kube = kube
        self._locate = locate
        self._accept = accept
        self._features = features
        self._cache = Cache()
        self._envoy = Envoy(ports=ports)
        self._routes: dict[str, Resource] = {}
        self._taken: dict[RouteKey, Json] = {}
        self._loaded: dict[RouteKey, Json] = {}
        self._refused: dict[RouteKey, tuple[Json, str]] = {}
        self._changed = asyncio.Event()
        self._applied = asyncio.Condition()
        self._rounds = 0
        self._failure: BaseException | None = None

    async def _enter(self, stack: AsyncExitStack) -> None:
        starting = asyncio.create_task(stack.enter_async_context(self._envoy))
        try:
            for kind in ROUTE_KINDS:
                if resource := await self._kube.resolve(GATEWAY_GROUP, kind):
                    self._routes[kind] = resource
            read = {**_READ, **self._routes}
            await stack.enter_async_context(watch_all(self._cache, self._kube, read, self._wake))
        finally:
            await starting
        await stack.enter_async_context(running(self._run()))

    @property
    def admin_url(self) -> str:
        return self._envoy.admin_url

    @property
    def stats_url(self) -> str:
        """Where Prometheus scrapes: Envoy's statistics; `envoy_cluster_name` is `namespace/service/port`."""
        return f"{self._envoy.admin_url}/stats/prometheus"

    @property
    def pid(self) -> int:
        """Envoy's process id."""
        return self._envoy.process.pid

    @property
    def ports(self) -> Mapping[str, int]:
        """The loopback port of each listener that serves, by "namespace/gateway/listener"."""
        return dict(self._envoy.ports)

    def accept_when(self, accept: Accept) -> None:
        """Replace the `accept` switch and look at every route again."""
        self._accept = accept
        self._wake()

    def pause(self) -> None:
        """Take up no new generation of any route until `resume()`; traffic goes on as it is."""
        self.accept_when(lambda _: False)

    def resume(self) -> None:
        self.accept_when(accept_all)

    async def address(
        self, namespace: str, name: str, listener: str | None = None, wait: float = 10
    ) -> tuple[str, int]:
        """Host and port of a Gateway's listener (default: its first). Waits up to `wait` seconds for it to serve.

        Raises SandboxError when it does not.
        """
        prefix = f"{namespace}/{name}/"

        def port() -> int | None:
            names = [item for item in self._envoy.ports if item.startswith(prefix)]
            if listener is not None:
                return self._envoy.ports.get(prefix + listener)
            return self._envoy.ports[names[0]] if names else None

        try:
            async with asyncio.timeout(wait), self._applied:
                await self._applied.wait_for(lambda: port() is not None or self._failure is not None)
        except TimeoutError:
            pass
        found = port()
        if found is None:
            raise SandboxError(
                f"Gateway {namespace}/{name} has no listener {listener or ''} that serves"
            ) from self._failure
        return "127.0.0.1", found

    # --- the loop ----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._changed.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._reconcile()
                async with self._applied:
                    self._rounds += 1
                    self._applied.notify_all()
        except Exception as error:
            log.exception("the gateway stopped")
            async with self._applied:
                self._failure = error
                self._applied.notify_all()
            raise

    async def _reconcile(self) -> None:
        """Snapshot, translate, load into Envoy, then tell. What Envoy refuses is left out and reported."""
        self._take_up()
        while True:
            objects = self._snapshot()
            config, statuses = translate(objects, self._features, self._locate)
            try:
                await self._envoy.apply(config)
            except EnvoyRefusedError as error:
                if not self._blame(config, error):
                    raise SandboxError(f"envoy refused {error.listener}: {error.message}") from error
                continue
            break
        self._loaded = {key: route for key, route in objects.routes.items() if key not in self._refused}
        await self._tell(objects, statuses)

    def _seen(self) -> dict[RouteKey, Json]:
        """The newest version of every route."""
        return {(kind, *key): route for kind in self._routes for key, route in self._cache.of(kind).items()}

    def _take_up(self) -> None:
        """Decide which generation of each route this round serves."""
        taken: dict[RouteKey, Json] = {}
        for key, route in self._seen().items():
            before = self._taken.get(key)
            if (before is not None and _same_generation(before, route)) or self._accept(route):
                taken[key] = route
            elif before is not None:
                taken[key] = before
        self._taken = taken
        self._refused = {
            key: (route, message)
            for key, (route, message) in self._refused.items()
            if key in taken and _same_generation(taken[key], route)
        }

    def _snapshot(self) -> Objects:
        return Objects(
            classes=dict(self._cache.of("classes")),
            gateways=dict(self._cache.of("gateways")),
            routes=dict(self._taken),
            services=dict(self._cache.of("services")),
            slices=dict(self._cache.of("slices")),
            grants=dict(self._cache.of("grants")),
            namespaces=dict(self._cache.of("namespaces")),
            refused={key: message for key, (_, message) in self._refused.items()},
        )

    def _blame(self, config: EnvoyConfig, error: EnvoyRefusedError) -> bool:
        """Mark the routes of the refused table that are new since the last good one. False when none is."""
        guilty = [
            key
            for key in config.attached.get(error.listener, ())
            if key not in self._refused
            and not (key in self._loaded and _same_generation(self._loaded[key], self._taken[key]))
        ]
        for key in guilty:
            self._refused[key] = (self._taken[key], f"the data plane refused it: {error.message}")
        return bool(guilty)

    # --- statuses ----------------------------------------------------------------------------------------------------

    async def _tell(self, objects: Objects, statuses: Statuses) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for key, about_class in statuses.classes.items():
            await self._write(GATEWAYCLASSES, objects.classes[key], partial(class_body, status=about_class, now=now))
        for key, about_gateway in statuses.gateways.items():
            body = partial(gateway_body, status=about_gateway, ports=self._envoy.ports, now=now)
            await self._write(GATEWAYS, objects.gateways[key], body)
        for (kind, namespace, name), about_route in statuses.routes.items():
            route = objects.routes[kind, namespace, name]
            # While a newer generation is withheld, nothing at all is said about the route.
            withheld = not _same_generation(self._cache.of(kind).get((namespace, name)), route)
            if not withheld and (about_route.parents or has_our_entries(route)):
                await self._write(self._routes[kind], route, partial(route_body, status=about_route, now=now))

    async def _write(self, resource: Resource, obj: Json, body: Callable[[Json], Json]) -> None:
        """Write a status if it differs; on a conflict read again, because others write their entries too."""
        namespace, name = key_of(obj)
        uid = obj["metadata"].get("uid")
        try:
            while obj["metadata"].get("uid") == uid and not _covers(obj.get("status") or {}, body(obj)):
                patch = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"]}, "status": body(obj)}
                try:
                    await self._kube.merge_patch(resource, name, namespace or None, patch, subresource="status")
                except Conflict:
                    obj = await self._kube.get(resource, name, namespace or None)
                else:
                    return
        except NotFound:
            return
        except ApiError as error:
            if not error.retryable:
                raise
            # An API server that is told to fail, say: later, and with what is true then.
            log.warning("status of %s %s/%s: %s", resource.kind, namespace, name, error)
            asyncio.get_running_loop().call_later(0.2, self._wake)


def _same_generation(one: Json | None, other: Json) -> bool:
    if one is None:
        return False
    same_object = one["metadata"].get("uid") == other["metadata"].get("uid")
    return same_object and generation_of(one) == generation_of(other)


def _covers(old: Json, new: Json) -> bool:
    """Whether writing `new` over `old` would change nothing."""
    return all(old.get(name) == value for name, value in new.items())
