"""Which Secrets checks, gates and targets of notifications name, and whether each has what is needed. Nothing of what is in one is told.

They are read by the rights of who asks. Whether the controller may read them too the API server is asked, if it tells that to who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from canary.checks.resolve import is_of_platform
from canary.checks.sources import Source, of_platform, source_of
from canary.checks.sources.auth import Auth
from canary.checks.sources.web import Web
from canary.cli.health import Level
from canary.cli.lending import content
from canary.errors import ApiError, Forbidden, NotFound, RenderError
from canary.kube import SECRETS, SERVICEACCOUNTS, Kube, Resource
from canary.metrics.address import normalise
from canary.metrics.secrets import Content, Unshown, examine, meant_for, refuse_others, unnamed
from canary.model.checks import TemplateRef
from canary.model.notifications import NotificationTargetSpec
from canary.model.rollout import RolloutSpec
from canary.model.templates import CheckTemplateSpec

Json = dict[str, Any]
Path = tuple[str | int, ...]

REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
MOST = 100
"""Secrets that are looked at; of more it is said how many were not."""


@dataclass(frozen=True, slots=True)
class Named:
    """One Secret, by whom it is named and where in that. `namespace` is empty for the controller's own.

    `auth` is how it is shown, or `key` what is taken out of it; `address` is who gets it, normalised (None: nobody knows here).
    """

    by: str
    path: Path
    name: str
    namespace: str
    auth: Auth | None = None
    key: str = ""
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Objection:
    """What is wrong with what is named, or that nobody could tell."""

    named: Named | None
    level: Level
    words: str


Template = Callable[[TemplateRef], Json | None]
"""The document of a template; None: nobody has it."""


def of_rollout(by: str, namespace: str, spec: Json, template: Template) -> Iterator[Named]:
    """What the checks, the traffic and the gates of a Rollout name. A spec that is none names nothing: others say what is wrong with it."""
    try:
        read = RolloutSpec.model_validate(spec)
    except ValidationError:
        return
    for index, check in enumerate(read.checks):
        yield from _asked(by, ("spec", "checks", index), namespace, _source(check, check.template, template))
    if read.traffic is not None:
        traffic = _source(read.traffic, read.traffic.template, template, traffic=True)
        yield from _asked(by, ("spec", "traffic"), namespace, traffic)
    for index, step in enumerate(read.steps):
        if step.gate is not None and step.gate.http is not None:
            yield from _asked(by, ("spec", "steps", index, "gate", "http"), namespace, Web.of_gate(step.gate.http))


def _source(declared: object, ref: TemplateRef | None, template: Template, *, traffic: bool = False) -> Source | None:
    if ref is not None:
        try:
            under = CheckTemplateSpec.model_validate((template(ref) or {}).get("spec"))
        except ValidationError:
            return None
        declared = under.traffic if traffic else under
    source = None if declared is None else source_of(declared)
    return of_platform(source) if source is not None and is_of_platform(ref) else source


def _asked(by: str, path: Path, namespace: str, source: Source | None) -> Iterator[Named]:
    auth = None if source is None else source.auth
    if auth is None:
        return
    try:
        written = getattr(source, "origin", None) or getattr(source, "address", None)
        address = None if written is None else normalise(written)
    except (RenderError, ValueError):
        address = None  # which lint says
    yield Named(by, path, auth.secret, "" if auth.platform else namespace, auth, address=address)


def of_template(by: str, namespace: str, spec: Json) -> Iterator[Named]:
    """What a template names, whoever uses it; `namespace` is empty for a ClusterCheckTemplate, of which the Secret is the platform's."""
    try:
        read = CheckTemplateSpec.model_validate(spec)
    except ValidationError:
        return
    source = source_of(read if read.traffic is None else read.traffic)
    if source is not None:
        yield from _asked(by, ("spec",), namespace, source if namespace else of_platform(source))


def of_target(by: str, namespace: str, spec: Json) -> Iterator[Named]:
    """What a target names; `namespace` is empty for one of the platform's."""
    try:
        read = NotificationTargetSpec.model_validate(spec)
    except ValidationError:
        return
    if read.apprise is not None:
        ref = read.apprise.secret_ref
        yield Named(by, ("spec", "apprise", "secretRef"), ref.name, namespace, key=ref.key)
    if read.http is None:
        return
    try:
        address = normalise(read.http.url.partition("?")[0])
    except ValueError:
        address = None
    auth = Auth.of(read.http.auth)
    if auth is not None:
        yield Named(by, ("spec", "http", "auth"), auth.secret, namespace, auth, address=address)
    if read.http.signing is not None:
        signs = read.http.signing.secret_ref
        yield Named(by, ("spec", "http", "signing"), signs.name, namespace, key=signs.key, address=address)


async def objections(kube: Kube, named: Iterable[Named], account: tuple[str, str]) -> list[Objection]:
    """Everything that is wrong with them, in order. `account` is namespace and name of the controller's ServiceAccount."""
    wanted: dict[tuple[str, str], list[Named]] = {}
    for one in named:
        wanted.setdefault((one.namespace or account[0], one.name), []).append(one)
    found: list[Objection] = []
    places = list(wanted)[:MOST]
    for namespace, name in places:
        found += await _looked_into(kube, namespace, name, wanted[namespace, name])
    if len(wanted) > len(places):
        found.append(Objection(None, Level.DOUBT, f"{len(wanted) - len(places)} more Secrets were not looked at"))
    return found + await _allowed(kube, places, wanted, account)


async def _looked_into(kube: Kube, namespace: str, name: str, by: Sequence[Named]) -> list[Objection]:
    try:
        held = await content(kube, name, namespace)
    except NotFound:
        words = f"there is no Secret {name} in namespace {namespace}; create it, or correct the name"
        return [Objection(one, Level.BROKEN, words) for one in by]
    except Forbidden:
        words = (
            f"you may not read Secret {name} in namespace {namespace}, so nobody looked whether it has what is needed"
        )
        return [Objection(by[0], Level.DOUBT, words)]
    except ApiError as error:
        words = f"Secret {name} in namespace {namespace} cannot be read ({type(error).__name__})"
        return [Objection(by[0], Level.DOUBT, words)]
    found = []
    for one in by:
        try:
            _examine(held, one, namespace)
        except Unshown as why:
            found.append(Objection(one, Level.BROKEN, str(why)))
    return found


def _examine(held: Content, one: Named, namespace: str) -> None:
    """Raises Unshown."""
    if one.auth is not None:
        examine(held, one.auth, namespace, one.address)
        return
    if not held.data.get(one.key):
        raise Unshown("BadSecret", f"Secret {one.name} in namespace {namespace} has no key {one.key}")
    if one.address is not None:
        refuse_others(held, one.name, namespace, one.address)
    elif not held.hosts.strip():
        raise Unshown("SecretForOthers", unnamed(one.name, namespace))
    else:
        meant_for(held, one.name)


async def _allowed(
    kube: Kube, places: Sequence[tuple[str, str]], wanted: dict[tuple[str, str], list[Named]], account: tuple[str, str]
) -> list[Objection]:
    """Whether the controller may read each; or one sentence that nobody checked."""
    if not places:
        return []
    who = "/".join(account)
    nobody = "nobody checked whether the controller may read the Secrets that are named"
    try:
        await kube.get(SERVICEACCOUNTS, account[1], account[0])
    except NotFound:
        words = f"there is no ServiceAccount {who}; name the controller's by --controller"
        return [Objection(None, Level.DOUBT, f"{nobody}: {words}")]
    except ApiError as error:
        return [Objection(None, Level.DOUBT, f"{nobody}: ServiceAccount {who} cannot be read ({type(error).__name__})")]
    try:
        allowed = [await _may_read(kube, account, place) for place in places]
    except Forbidden:
        return [Objection(None, Level.DOUBT, f"{nobody}: you may not create subjectaccessreviews")]
    except ApiError as error:
        return [Objection(None, Level.DOUBT, f"{nobody}: the API server does not tell ({type(error).__name__})")]
    found = []
    for (namespace, name), yes in zip(places, allowed, strict=True):
        if yes:
            continue
        own = namespace == account[0]
        component, value = ("own-secrets", "rbac.secrets.own") if own else ("secrets", "rbac.secrets.namespaces")
        words = (
            f"the controller ({who}) may not read Secret {name} in namespace {namespace}; a platform team gives it that right by "
            f"the component {component} (Helm: {value})"
        )
        found.append(Objection(wanted[namespace, name][0], Level.BROKEN, words))
    return found


async def _may_read(kube: Kube, account: tuple[str, str], place: tuple[str, str]) -> bool:
    namespace, name = place
    attributes = {"verb": "get", "resource": SECRETS.plural, "namespace": namespace, "name": name}
    spec = {
        "user": f"system:serviceaccount:{account[0]}:{account[1]}",
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}", "system:authenticated"],
        "resourceAttributes": attributes,
    }
    answer = await kube.create(REVIEWS, {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind, "spec": spec})
    return bool((answer.get("status") or {}).get("allowed"))
