"""Whether Services can be sent traffic: they are there, with the port, and routes may name them.

This needs no gateway's word. A gateway need not look at a backend of weight 0, and some do not; and where a namespace is
crossed, its owners' grant is wanted whatever a gateway makes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from canary.preflight.findings import Finding, MissingGrant, Reason, Who
from canary.preflight.objects import Absence
from canary.preflight.surroundings import Surroundings
from canary.routes.pair import Backend, Pair


def backends(
    pair: Pair, kinds: Collection[str], namespace: str, around: Surroundings, comparer: str = ""
) -> Iterator[Finding]:
    """What is wrong with the Services of a Rollout.

    `kinds`: of the routes, all of them in `namespace`; `pair` by the roles of the spec; `comparer`: where that names its comparer.
    """
    named = {"spec.stable": pair.stable, "spec.canary": pair.canary}
    if pair.comparer is not None:
        named[comparer] = pair.comparer
    for field, backend in named.items():
        match unserved(backend, around):
            case Reason.BACKEND_NOT_FOUND as reason, words:
                advice = f"create it, or correct {field}"
                yield Finding(reason, Who.APP_TEAM, words, advice, f"{field}.service")
            case Reason.WRONG_PORT as reason, words:
                advice = f"correct {field}.port{'' if field == comparer else ' and the backendRefs'}, or give the Service that port"
                yield Finding(reason, Who.APP_TEAM, words, advice, f"{field}.port")
        yield from grants(backend, kinds, namespace, f"{field}.namespace", around)


def unseen_grants(pair: Pair, kinds: Collection[str], namespace: str, around: Surroundings) -> str:
    """That nobody can tell whether a ReferenceGrant lets routes of these kinds, of `namespace`, name the pair, and what to do; empty: somebody can, or none is wanted."""
    crossed = [backend for backend in (pair.stable, pair.canary) if backend.namespace != namespace]
    unseen = sorted({backend.namespace for backend in crossed if around.grants(backend.namespace) is None})
    if not unseen:
        return ""
    services = " and ".join(f"{each.service} of {each.namespace}" for each in crossed if each.namespace in unseen)
    places = " and ".join(unseen)
    return (
        f"the controller does not see the ReferenceGrants of namespace {places}, so whether one lets {' and '.join(sorted(kinds))} of namespace "
        f"{namespace} name Service {services} is not known; the gateways' own word counts. The owners of {places} can tell; "
        f"to have it looked at before a run, name {places} among the controller's namespaces (--namespaces), with the right to list referencegrants"
    )


def unserved(backend: Backend, around: Surroundings) -> tuple[Reason, str] | None:
    """Why a Service cannot be sent traffic, in words: it is not there, or has no such port. None: it can, or nobody can tell."""
    ports = around.service(backend.namespace, backend.service)
    if ports is Absence.MISSING:
        where = f" in {around.place}" if around.place else ""
        return (
            Reason.BACKEND_NOT_FOUND,
            f"there is no Service {backend.service} in namespace {backend.namespace}{where}",
        )
    if isinstance(ports, tuple) and ports and backend.port not in ports:
        # One without any port is headless or a name elsewhere, and what gateways make of that is for them to say.
        listed = ", ".join(map(str, ports))
        return Reason.WRONG_PORT, f"Service {backend.service} has no port {backend.port}; its ports: {listed}"
    return None


def grants(
    backend: Backend, kinds: Collection[str], namespace: str, field: str, around: Surroundings
) -> Iterator[Finding]:
    """That no ReferenceGrant lets routes of these kinds, of `namespace`, name a Service. `field`: where its namespace is named."""
    given = around.grants(backend.namespace) if backend.namespace != namespace else None
    if given is None:
        return
    given = tuple(given)
    lacking = sorted(
        {kind for kind in kinds if not any(grant.lets(kind, namespace, backend.service) for grant in given)}
    )
    if not lacking:
        return
    where = f" in {around.place}" if around.place else ""
    words = (
        f"no ReferenceGrant of namespace {backend.namespace}{where} lets {' and '.join(lacking)} of namespace {namespace} "
        f"name Service {backend.service}"
    )
    advice = f"the owners of {backend.namespace} have to create one there"
    grant = MissingGrant(backend.namespace, backend.service, namespace, tuple(lacking))
    yield Finding(Reason.REF_NOT_PERMITTED, Who.BACKEND_OWNER, words, advice, field, grant)
