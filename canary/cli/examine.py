"""Asks a cluster and a Prometheus what `doctor` judges. Whatever cannot be asked is a line of its own."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from canary.cli import classes as judge_classes
from canary.cli import health
from canary.cli.exits import describe
from canary.cli.health import Diagnosis, Level
from canary.cli.options import Common, program
from canary.cli.serving import serving
from canary.errors import ApiError, ConfigError, Forbidden, NotFound, NotServed
from canary.kube import (
    CHECKTEMPLATES,
    CLUSTERCHECKTEMPLATES,
    CLUSTERNOTIFICATIONTARGETS,
    CRDS,
    GATEWAYCLASSES,
    GATEWAYS,
    HTTPROUTES,
    NOTIFICATIONTARGETS,
    ROLLOUTS,
    ROUTES,
    Kube,
    KubeClient,
    Resource,
)
from canary.kube.retry import READ
from canary.kube.unreached import address, why
from canary.lint.findings import field_of
from canary.model.checks import TemplateRef
from canary.view.weights import declared_routes
from canary.view.words import counted, plain

OUR_KINDS = ("Rollout", "CheckTemplate", "ClusterCheckTemplate", "NotificationTarget", "ClusterNotificationTarget")

if TYPE_CHECKING:
    from canary.kube.connection import Connection

Json = dict[str, Any]

REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
_TIMEOUT = 5.0
_GATEWAYS = 20
"""Gateways that are read to tell of which class they are."""


async def cluster(options: Common, controller: tuple[str, str], *, everywhere: bool) -> list[Diagnosis]:
    """Everything about the cluster of the context; one line when it cannot be reached at all."""
    from canary import __version__
    from canary.kube.connection import load
    from canary.kube.transport import Transport

    try:
        connection = await load(
            kubeconfig=options.kubeconfig or os.environ.get("KUBECONFIG") or None, context=options.context
        )
    except ConfigError as error:
        return [Diagnosis("kubeconfig", Level.BROKEN, str(error))]
    transport = Transport(connection, user_agent=f"canary-cli/{__version__}", timeout=_TIMEOUT)
    async with KubeClient(transport, field_manager="canary-cli") as kube:
        try:
            version = health.server_version(await kube.raw("/version"))
        except ApiError as error:
            words, _ = describe(error)
            refused = isinstance(error, Forbidden) and error.status == 401
            return [Diagnosis("API server", Level.BROKEN, words, refused=refused)]
        found = [Diagnosis("API server", Level.OK, f"{address(connection.server)} answers, version {version}")]
        namespace = options.namespace or kube.namespace
        found += [await _clock(connection)]
        found += [item async for item in _definitions(kube)]
        found += [item async for item in _classes(kube, None if everywhere else namespace)]
        found += [await _rights(kube, namespace)]
        secrets = await _secrets(kube, None if everywhere else namespace, controller)
        found += await _rollouts(kube, None if everywhere else namespace, secrets)
        return [*found, *secrets]


async def _clock(connection: Connection) -> Diagnosis:
    """The Date of any answer will do, so this asks without credentials: even a refusal has one."""
    import httpx

    settings = connection.configuration
    verify: ssl.SSLContext | bool = bool(settings.verify_ssl)
    if verify and connection.server.startswith("https") and settings.ssl_ca_cert:
        verify = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    try:
        async with httpx.AsyncClient(verify=verify, timeout=_TIMEOUT, proxy=settings.proxy or None) as client:
            before = datetime.now(UTC)
            answer = await client.get(f"{connection.server}/version")
            after = datetime.now(UTC)
        server = parsedate_to_datetime(answer.headers["Date"])
    except (httpx.HTTPError, OSError) as error:
        return Diagnosis("clock", Level.DOUBT, f"the API server's time cannot be read: {why(error)}")
    except (KeyError, ValueError):
        return Diagnosis("clock", Level.DOUBT, "the API server's answers do not say what time it is")
    return health.clock(server, before, after)


async def _definitions(kube: Kube) -> AsyncIterator[Diagnosis]:
    try:
        installed = {item["metadata"]["name"]: item for item in (await _list(kube, CRDS))["items"]}
    except Forbidden:
        # Most app teams may not read definitions, but everybody may ask what is served.
        for item in await _served(kube):
            yield item
        return
    except ApiError as error:
        yield Diagnosis("CRDs", Level.DOUBT, f"cannot be read: {error}")
        return
    for diagnosis in health.definitions(installed):
        yield diagnosis
    yield health.gateway_api(installed)


async def _served(kube: Kube) -> list[Diagnosis]:
    found = []
    needed = [(ROLLOUTS.group, kind) for kind in OUR_KINDS]
    routes = await _routes(kube)
    for group, kind in [*needed, *((HTTPROUTES.group, kind) for kind in routes or [HTTPROUTES.kind])]:
        try:
            resource = await kube.resolve(group, kind)
        except ApiError as error:
            found.append(Diagnosis(f"CRD {kind}", Level.DOUBT, f"cannot be looked up: {error}"))
            continue
        if resource is None:
            advice = "`kubectl apply -f crds/`" if group == ROLLOUTS.group else "install the Gateway API's CRDs"
            found.append(Diagnosis(f"CRD {kind}", Level.BROKEN, "is not installed", advice))
        else:
            words = f"served as {resource.version}; you may not read CRDs, so it was not compared with this version's"
            found.append(Diagnosis(f"CRD {kind}", Level.DOUBT, words))
    return found


async def _classes(kube: Kube, namespace: str | None) -> AsyncIterator[Diagnosis]:
    try:
        classes = (await _list(kube, GATEWAYCLASSES))["items"]
    except (NotFound, NotServed):
        return  # the line about the Gateway API has said so
    except ApiError as error:
        words = "you may not read them" if isinstance(error, Forbidden) else f"cannot be read: {error}"
        yield Diagnosis("GatewayClass", Level.DOUBT, words, "ask a platform admin to run this")
        return
    unsure = any(not judge_classes.accepted(item) for item in classes)
    for diagnosis in judge_classes.gateway_classes(classes, await _serving(kube, namespace) if unsure else {}):
        yield diagnosis


async def _routes(kube: Kube) -> dict[str, Resource]:
    """The kinds of route that are served; none when nobody tells."""
    try:
        found = await READ.call(lambda: kube.discover(HTTPROUTES.group))
    except ApiError:
        return {}
    return {kind: found[kind] for kind in ROUTES if kind in found}


async def _serving(kube: Kube, namespace: str | None) -> dict[str, int]:
    """How many routes are accepted on Gateways of each GatewayClass; what may not be read counts nothing."""
    routes: list[Json] = []
    for resource in (await _routes(kube)).values():
        with suppress(ApiError):
            routes += (await _list(kube, resource, namespace))["items"]
    found = judge_classes.accepted_on(routes)
    serving: dict[str, int] = {}
    for (place, name), count in list(found.items())[:_GATEWAYS]:
        try:
            gateway = await kube.get(GATEWAYS, name, place)
        except ApiError:
            continue
        of = str((gateway.get("spec") or {}).get("gatewayClassName") or "")
        serving[of] = serving.get(of, 0) + count
    return serving


async def _rights(kube: Kube, namespace: str) -> Diagnosis:
    async def ask(right: health.Right) -> bool:
        attributes = {"namespace": namespace, "verb": right.verb, "group": right.group, "resource": right.resource}
        body = {
            "apiVersion": REVIEWS.api_version,
            "kind": REVIEWS.kind,
            "spec": {"resourceAttributes": attributes},
        }
        answer = await kube.create(REVIEWS, body)
        return bool((answer.get("status") or {}).get("allowed"))

    named: set[str] = set()
    with suppress(ApiError):
        for rollout in (await _list(kube, ROLLOUTS, namespace))["items"]:
            named |= {key.kind for key in declared_routes(rollout)}
    wanted = [*health.RIGHTS, *health.route_rights(sorted(named - {HTTPROUTES.kind}))]
    try:
        answers = await asyncio.gather(*map(ask, wanted))
    except ApiError as error:
        return Diagnosis("your rights", Level.DOUBT, f"the API server does not tell: {error}")
    return health.rights(dict(zip(wanted, answers, strict=True)), namespace)


async def _rollouts(kube: Kube, namespace: str | None, told: Iterable[Diagnosis]) -> list[Diagnosis]:
    """The controller by what it writes, and each Rollout; `told` is what others have found, of Rollouts too."""
    try:
        rollouts = (await _list(kube, ROLLOUTS, namespace))["items"]
    except (NotFound, NotServed):
        return []  # the line about the CRD has said so
    except ApiError as error:
        words, _ = describe(error)
        return [Diagnosis("Rollouts", Level.DOUBT, words)]
    found = [health.controller(rollouts, datetime.now(UTC)), *health.troubled(rollouts, program())]
    found += [item async for item in serving(kube, rollouts, datetime.now(UTC), everywhere=namespace is None)]
    return [*found, *health.untroubled(rollouts, [*found, *told])]


async def _secrets(kube: Kube, namespace: str | None, controller: tuple[str, str]) -> list[Diagnosis]:
    """The Secrets that Rollouts and targets of notifications name; no line where there are none."""
    from canary.cli.named_secrets import Named, objections, of_rollout, of_target

    there: dict[str, list[Json]] = {}
    for resource in (ROLLOUTS, CHECKTEMPLATES, CLUSTERCHECKTEMPLATES, NOTIFICATIONTARGETS, CLUSTERNOTIFICATIONTARGETS):
        there[resource.kind] = []
        with suppress(ApiError):  # other lines say what may not be read
            there[resource.kind] = (await _list(kube, resource, namespace if resource.namespaced else None))["items"]
    templates = {
        (kind, _place(one) if kind == CHECKTEMPLATES.kind else "", one["metadata"]["name"]): one
        for kind in (CHECKTEMPLATES.kind, CLUSTERCHECKTEMPLATES.kind)
        for one in there[kind]
    }
    named: list[Named] = []
    for one in there[ROLLOUTS.kind]:
        place = _place(one)

        def template(ref: TemplateRef, place: str = place) -> Json | None:
            return templates.get((ref.kind, place if ref.kind == CHECKTEMPLATES.kind else "", ref.name))

        named += of_rollout(health.subject_of(place, one["metadata"]["name"]), place, one.get("spec") or {}, template)
    for resource in (NOTIFICATIONTARGETS, CLUSTERNOTIFICATIONTARGETS):
        for one in there[resource.kind]:
            place = _place(one) if resource.namespaced else ""
            subject = "/".join(filter(None, (place, one["metadata"]["name"])))
            named += of_target(f"{resource.kind} {subject}", place, one.get("spec") or {})
    if not named:
        return []
    found = [
        Diagnosis(
            one.named.by if one.named else "Secrets",
            one.level,
            f"{field_of(one.named.path)}: {one.words}" if one.named else one.words,
        )
        for one in await objections(kube, named, controller)
    ]
    if not any(one.level is Level.BROKEN for one in found):
        count = counted(len({(one.namespace, one.name) for one in named}), "Secret")
        found.insert(
            0, Diagnosis("Secrets", Level.OK, f"nothing is known against the {count} that checks and targets name")
        )
    return found


def _place(document: Json) -> str:
    return str(document["metadata"].get("namespace", ""))


async def prometheus(url: str | None) -> Iterable[Diagnosis]:
    """Ask a trivial question. Reached from here, which need not mean that the controller reaches it too."""
    if not url:
        advice = "give --prometheus-url, as it is reached from here (kubectl port-forward, say)"
        return [Diagnosis("Prometheus", Level.DOUBT, "not asked", advice)]
    from canary.checks.sources.prometheus import Prometheus
    from canary.metrics.port import Query
    from canary.metrics.prometheus import PrometheusProvider
    from canary.model.measurement import Malformed, NoData, Sample, Unreachable

    try:
        provider = PrometheusProvider(url, None)
    except ValueError as error:
        return [Diagnosis("Prometheus", Level.BROKEN, str(error), "write for example http://localhost:9090")]
    try:
        answer = await provider.measure(Query(Prometheus("vector(1)"), timeout=_TIMEOUT), datetime.now(UTC))
    finally:
        await provider.close()
    advice = "check the address, and whether it is reached from here"
    match answer:
        case Sample(value=1):
            return [Diagnosis("Prometheus", Level.OK, f"{address(url)} answers queries")]
        case Sample(value=value):
            words = f"{address(url)} says that vector(1) is {plain(value)}, so it is no Prometheus"
        case NoData():
            words = f"{address(url)} gave nothing for vector(1), so it is no Prometheus"
        case Unreachable() | Malformed():
            words = answer.message
    return [Diagnosis("Prometheus", Level.BROKEN, words, advice)]


async def _list(kube: Kube, resource: Resource, namespace: str | None = None) -> Json:
    async def read() -> Json:
        return await kube.list(resource, namespace)

    return await READ.call(read)
