"""Puts a controller together and runs it."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from canary.act.events import EventRecorder
from canary.checks.sources.comparer import Comparer
from canary.checks.sources.job import Job
from canary.checks.sources.prometheus import Prometheus
from canary.checks.sources.scrape import Scrape, Scraped
from canary.controller import garbage
from canary.controller.autoscalers import AutoscalerInformers
from canary.controller.calm import Calm
from canary.controller.clock import Clock, SystemClock
from canary.controller.comparers import replicas
from canary.controller.configs import ConfigReader
from canary.controller.deps import Deps
from canary.controller.handlers import listed, watch
from canary.controller.informers import Informers
from canary.controller.jobs import Jobs
from canary.controller.leadership import Leadership
from canary.controller.lookout import Lookout
from canary.controller.manager import Manager
from canary.controller.notifications import Notifications, Reach, sender
from canary.controller.resync import Resync
from canary.controller.route_informers import watch_name
from canary.controller.scraping import scraped_pods
from canary.controller.settings import Settings
from canary.controller.sight import Sights
from canary.controller.survey import PATIENCE, Survey
from canary.controller.tasks import until_stopped
from canary.controller.workload_informers import WorkloadInformers
from canary.errors import ApiError, ConfigError, NotFound, NotServed
from canary.kube import CHECKTEMPLATES, CLUSTERCHECKTEMPLATES, HTTPROUTES, ROLLOUTS, ROUTES, Kube, KubeClient, Resource
from canary.kube.courier import Courier, Lane
from canary.kube.secrets import read_secret
from canary.kube.unreached import address
from canary.metrics.address import normalise
from canary.metrics.comparer import ComparerProvider
from canary.metrics.credentials import Credentials
from canary.metrics.hosts import Hosts
from canary.metrics.port import Provider
from canary.metrics.registry import AskedLater, Providers
from canary.metrics.scrape import ScrapeProvider
from canary.metrics.secrets import HOSTS, Content, Secrets
from canary.notify.services import SERVICES
from canary.observe.store import Store
from canary.preflight.offers import Platform
from canary.telemetry import Telemetry, TelemetryServer, configure

log = logging.getLogger("canary.controller")

Wait = Callable[[], Coroutine[Any, Any, None]]

GATEWAY_API = (
    "the Gateway API v1 CRDs: `kubectl apply --server-side -f standard-install.yaml`, a file of every release of "
    "kubernetes-sigs/gateway-api"
)

CREDENTIALS = {
    "token_file": "--prometheus-bearer-token-file",
    "username_file": "--prometheus-username-file",
    "password_file": "--prometheus-password-file",
    "ca_file": "--prometheus-ca-file",
    "header_file": "--prometheus-header-file",
    "certificate_file": "--prometheus-client-certificate-file",
    "key_file": "--prometheus-client-key-file",
}
"""The options that say what the default Prometheus is shown, by what they are for `Credentials`."""


def run(settings: Settings) -> None:
    """Run a controller until SIGTERM or SIGINT.

    Raises:
        ConfigError: a setting cannot be used, or the API server lacks what we need.

    """
    configure(settings.log_level, "json" if settings.log_format == "json" else "text")
    for words in settings.overruled:
        log.warning("%s", words)
    asyncio.run(serve(settings))


async def serve(
    settings: Settings,
    *,
    provider: Provider | None = None,
    clock: Clock | None = None,
    telemetry: Telemetry | None = None,
    stop: asyncio.Event | None = None,
    ready: asyncio.Event | None = None,
    server: str | None = None,
    token: str | None = None,
    identity: str | None = None,
) -> None:
    """Run a controller inside this event loop until `stop` is set.

    `server` and `token` name an API server directly, instead of the kubeconfig of the settings. `identity` is for several
    controllers in one process, which are one holder of a Lease otherwise.
    """
    stop, ready = stop or asyncio.Event(), ready or asyncio.Event()
    telemetry = telemetry or Telemetry()
    async with AsyncExitStack() as stack:
        kube = await stack.enter_async_context(
            await KubeClient.connect(
                server=server,
                token=token,
                kubeconfig=settings.kubeconfig,
                context=settings.context,
                on_request=telemetry.api_request,
            )
        )
        await check_server(kube)
        if provider is None:
            provider = providers(settings, kube)
            stack.push_async_callback(provider.close)
        recorder = await stack.enter_async_context(EventRecorder(kube))
        clock = clock or SystemClock()
        deps = Deps(
            kube,
            Store(platform=platform(settings)),
            recorder,
            provider,
            telemetry,
            clock,
            sights=Sights(clock, settings.namespaces),
            jobs=Jobs(kube, clock),
        )
        stack.push_async_callback(deps.close)
        leadership: Leadership | None = None
        if settings.lease is not None:
            # Given back when the manager has ended, and not before.
            leadership = Leadership(
                kube,
                *settings.lease,
                deps.clock,
                identity=identity,
                turn=deps.fence.turn,
                certain=lambda: kube.certain,
                on_change=telemetry.leading,
            )
            deps.fence.confirmed = partial(getattr, leadership, "confirmed")
            await stack.enter_async_context(leadership)
        else:
            telemetry.leading(True)
        manager = await stack.enter_async_context(Manager(deps, held=True))
        lookout = Lookout(deps.sights, clock, settings.namespaces)
        deps.sights.on_found(lambda: manager.wake(set(manager.reconciling)))
        informers = Informers(kube, manager, settings.namespaces, lookout)
        survey = Survey(kube, manager, settings.namespaces, lookout)
        resync = Resync(kube, manager, settings.namespaces, clock)
        besides = _besides(kube, manager, settings.namespaces, lookout)
        begun = asyncio.Event()
        lookout.on_sight, deps.store.on_set_back = resync.soon, resync.set_back
        calm = Calm(clock, lambda: manager.ended)
        for work in (lookout.beat(manager), _after(begun, survey.run()), calm.run(), *besides):
            stack.callback(asyncio.create_task(work).cancel)
        host, port = parse_address(settings.metrics_address)
        http = TelemetryServer(
            telemetry,
            host,
            port,
            beat=lambda: manager.last_sign,
            waiting_for=lambda: informers.waiting_for or (() if ready.is_set() else ("rollouts",)),
        )
        try:
            await stack.enter_async_context(http)
        except OSError as error:
            raise ConfigError(f"cannot listen on {settings.metrics_address}: {error.strerror or error}") from error
        where = ", ".join(settings.namespaces) or "all namespaces"
        log.info("controller of %s at %s; metrics and health at %s", where, address(kube.server), http.url)
        up, lists = asyncio.Event(), (survey.listed, resync.listed)
        stack.callback(gc.set_threshold, *garbage.USUAL)
        garbage.start()
        begin = asyncio.create_task(_begin(manager, informers, lists, up, begun, ready, leadership))
        begin.add_done_callback(_notify(stack, settings, manager, lookout, informers))
        stack.callback(begin.cancel)
        courier = _courier(kube, manager, settings.namespaces, lookout, resync)
        parts = [informers.run(), resync.run(), watch(manager, courier, settings.namespaces, stop=stop, ready=up)]
        parts += [leadership.run()] if leadership else []
        await until_stopped(stop, [asyncio.create_task(part) for part in parts])
    log.info("stopped; every run goes on where the cluster says it is, as soon as a controller is back")


def _load_paths() -> None:
    """What reads paths in JSON. It takes as long to import as fifty looks."""
    import canary.checks.jsonpath_engine  # noqa: F401


def _besides(
    kube: KubeClient, manager: Manager, namespaces: tuple[str, ...], lookout: Lookout
) -> tuple[Coroutine[Any, Any, None], ...]:
    """Follow, and read, what only some Rollouts refer to."""
    return (
        AutoscalerInformers(kube, manager, namespaces, lookout).run(),
        WorkloadInformers(kube, manager, namespaces, lookout).run(),
        ConfigReader(kube, manager).run(),
    )


def _courier(
    kube: KubeClient, manager: Manager, namespaces: tuple[str, ...], lookout: Lookout, resync: Resync
) -> Callable[[], Courier]:
    """Carries kopf's requests, Rollouts' watches among them."""
    lanes = {
        ROLLOUTS.path(place): Lane(
            watch_name(ROLLOUTS, place),
            pace=lookout.pace(place),
            eyes=lookout.eyes(watch_name(ROLLOUTS, place), place),
            on_list=resync.soon,
            on_page=partial(listed, manager),
            one_of_several=len(namespaces) > 1,
        )
        for place in namespaces or (None,)
    }

    def other(plural: str) -> Lane:
        return Lane(plural, pace=lookout.calm, eyes=lookout.eyes(plural, counts=False), needed=False)

    return partial(kube.courier, lanes, other)


def platform(settings: Settings) -> Platform:
    """What the platform declares of its gateways. Raises ConfigError for a file that cannot be used."""
    if settings.gateway_features is None:
        return Platform()
    try:
        text = Path(settings.gateway_features).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--gateway-features {settings.gateway_features}: {error}") from error
    return Platform.read(text)


def credentials(settings: Settings) -> Credentials | None:
    """What the default Prometheus is shown. Raises ConfigError when there is a file that cannot be used."""
    files = {
        argument: (option, getattr(settings, option.removeprefix("--").replace("-", "_")))
        for argument, option in CREDENTIALS.items()
    }
    given = {argument: path for argument, (_, path) in files.items() if path}
    if not given:
        return None
    if settings.prometheus_url is None:
        named = ", ".join(files[argument][0] for argument in given)
        raise ConfigError(f"{named}: they are for the address of --prometheus-url, which is not set")
    return Credentials(**given, settings=CREDENTIALS)


def allowed_hosts(settings: Settings) -> Hosts:
    """Where requests of checks may go, besides --prometheus-url. Raises ConfigError."""
    try:
        return Hosts.read(settings.allow_hosts)
    except ValueError as error:
        raise ConfigError(f"--allow-hosts: {error}") from error


def reach(settings: Settings) -> Reach:
    """What notifications may use and where they may go. Raises ConfigError."""
    unknown = [name for name in settings.notify_services if name not in SERVICES]
    if unknown:
        raise ConfigError(f"--notify-services: {unknown[0]!r} is none of {', '.join(SERVICES)}")
    return Reach(settings.notify_services, allowed_hosts(settings), settings.allow_hosts)


def own_namespace(settings: Settings, kube: Kube) -> str:
    """Where Secrets of the platform team lie."""
    return settings.lease[0] if settings.lease is not None else kube.namespace


async def secret(kube: Kube, name: str, namespace: str) -> Content:
    """What the API server has of a Secret. Raises ApiError."""
    kind, annotations, data = await read_secret(kube, name, namespace)
    return Content(kind, annotations.get(HOSTS, ""), data)


async def _begin(
    manager: Manager,
    informers: Informers,
    lists: tuple[Wait, ...],
    up: asyncio.Event,
    begun: asyncio.Event,
    ready: asyncio.Event,
    leadership: Leadership | None,
) -> None:
    """Rollouts are listed along with what they refer to, and judged when all of that is known, and the work is ours.

    Runs under way do not wait for what stands around routes, or for other Rollouts: nothing of that moves them. `lists` are waited for
    when each of them has been looked at once (`begun`), or while standing by.
    """
    await asyncio.gather(informers.synced.wait(), up.wait())
    async with asyncio.TaskGroup() as group:
        listed = group.create_task(_listed(lists, begun, ready))
        if leadership is not None:
            if not leadership.acquired.is_set():
                begun.set()
            acquired = group.create_task(leadership.acquired.wait())
            await asyncio.wait({listed, acquired}, return_when=asyncio.FIRST_COMPLETED)
            if not acquired.done():
                garbage.settle()
                holder = leadership.holder
                log.info("everything is listed; %s", f"standing by for {holder}" if holder else "asking for the Lease")
            await acquired
            manager.deps.fence.over = frozenset(leadership.over)
        await manager.go_on()
        begun.set()
    # Whoever rests is read from now on, in the event loop, where a rollback may wait.
    await asyncio.to_thread(_load_paths)
    await manager.begin()
    garbage.settle()


async def _listed(lists: tuple[Wait, ...], begun: asyncio.Event, ready: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(begun.wait(), PATIENCE)
    begun.set()
    await asyncio.gather(*(listed() for listed in lists))
    ready.set()


def _notify(
    stack: AsyncExitStack, settings: Settings, manager: Manager, lookout: Lookout, informers: Informers
) -> Callable[[asyncio.Task[None]], None]:
    """Have people told what happens, until the stack is unwound; returns what to do when our work has begun."""
    begun, kube = asyncio.Event(), manager.deps.kube
    send = sender(reach(settings), partial(secret, kube), own_namespace(settings, kube), stack)
    notifications = Notifications(kube, manager, settings.namespaces, send, lookout)
    stack.push_async_callback(_ended, asyncio.create_task(_after(informers.synced, notifications.run(begun))))

    def when(begin: asyncio.Task[None]) -> None:
        if not begin.cancelled() and begin.exception() is None:  # else it has not: we end, standing by
            begun.set()

    return when


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _after(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """What can wait for something."""
    try:
        await event.wait()
        await work
    finally:
        work.close()


def providers(settings: Settings, kube: Kube) -> Providers:
    """Whoever can be asked for numbers, by the source that asks them. Raises ConfigError."""
    hosts, shows = allowed_hosts(settings), credentials(settings)
    secrets = Secrets(partial(secret, kube), own_namespace(settings, kube))
    home = normalise(settings.prometheus_url) if settings.prometheus_url else None
    return Providers(
        {
            Job: Jobs(kube, SystemClock()),
            Comparer: ComparerProvider(partial(replicas, kube)),
            Prometheus: AskedLater(partial(_prometheus, home, hosts, shows, secrets)),
            **dict.fromkeys((Scrape, Scraped), ScrapeProvider(partial(scraped_pods, kube), hosts)),
        },
        others=AskedLater(partial(_over_http, hosts, secrets)),
    )


def _prometheus(home: str | None, hosts: Hosts, shows: Credentials | None, secrets: Secrets) -> Callable[[], Provider]:
    from canary.metrics.prometheus import PrometheusProvider

    return lambda: PrometheusProvider(home, hosts, credentials=shows, secrets=secrets)


def _over_http(hosts: Hosts, secrets: Secrets) -> Callable[[], Provider]:
    from canary.metrics.apis import over_http

    return lambda: Providers(over_http(hosts, secrets))


async def check_server(kube: Kube) -> None:
    """Fail early, in one sentence, when the API server cannot be reached, lacks our resources, or knows no kind of route at all."""
    try:
        ours, routes = await _served(kube, ROLLOUTS), await kube.discover(HTTPROUTES.group)
    except ApiError as error:
        raise ConfigError(f"cannot use the API server {address(kube.server)}: {error}") from error
    needed = (ROLLOUTS, CHECKTEMPLATES, CLUSTERCHECKTEMPLATES)
    missing, what = [res.plural for res in needed if res.plural not in ours], "our CRDs: `kubectl apply -f crds/`"
    if not missing and not routes.keys() & ROUTES.keys():
        missing, what = [HTTPROUTES.plural], GATEWAY_API
    if missing:
        raise ConfigError(f"the API server {address(kube.server)} serves no {' and no '.join(missing)}; install {what}")


async def _served(kube: Kube, resource: Resource) -> set[str]:
    """The plurals that are served in the group and version of a resource."""
    try:
        answer = await kube.raw(f"/apis/{resource.api_version}")
    except (NotFound, NotServed):
        return set()
    return {str(item.get("name")) for item in answer.get("resources") or []}


def parse_address(address: str) -> tuple[str, int]:
    """Read `host:port`, `:port` or `[::1]:port`.

    Raises:
        ConfigError: it is none of these.

    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"{address!r} is no address; write host:port, for example 0.0.0.0:8080")
    return host.strip("[]") or "0.0.0.0", int(port)
