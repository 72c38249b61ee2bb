"""Whether the two Services of a Rollout can be sent traffic: they are there, with the port, and routes may name them.

This needs no gateway's word. A gateway need not look at a backend of weight 0, and some do not; and where a namespace is
crossed, its owners' grant is wanted whatever a gateway makes of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from canary.preflight.findings import Finding, MissingGrant, Reason, Who
from canary.preflight.objects import Absence
from canary.preflight.surroundings import Surroundings
from canary.routes.pair import Backend, Pair


def backends(pair: Pair, kinds: Collection[str], namespace: str, around: Surroundings) -> Iterator[Finding]:
    """What is wrong with the Services. `kinds`: of the routes, all of them in `namespace`; `pair` by the roles of the spec."""
    for role, backend in (("stable", pair.stable), ("canary", pair.canary)):
        field = f"spec.{role}"
        yield from _service(role, backend, field, around)
        if backend.namespace != namespace:
            yield from _grant(backend, kinds, namespace, field, around)


def _service(role: str, backend: Backend, field: str, around: Surroundings) -> Iterator[Finding]:
    ports = around.service(backend.namespace, backend.service)
    where = f" in {around.place}" if around.place else ""
    if ports is Absence.MISSING:
        words = f"there is no Service {backend.service} in namespace {backend.namespace}{where}"
        advice = f"create it, or correct spec.{role}"
        yield Finding(Reason.BACKEND_NOT_FOUND, Who.APP_TEAM, words, advice, f"{field}.service")
    elif isinstance(ports, tuple) and ports and backend.port not in ports:
        # One without any port is headless or a name elsewhere, and what gateways make of that is for them to say.
        listed = ", ".join(map(str, ports))
        words = f"Service {backend.service} has no port {backend.port}; its ports: {listed}"
        advice = f"correct spec.{role}.port and the backendRefs, or give the Service that port"
        yield Finding(Reason.WRONG_PORT, Who.APP_TEAM, words, advice, f"{field}.port")


def _grant(
    backend: Backend, kinds: Collection[str], namespace: str, field: str, around: Surroundings
) -> Iterator[Finding]:
    grants = around.grants(backend.namespace)
    if grants is None:
        return
    grants = tuple(grants)
    lacking = sorted(
        {kind for kind in kinds if not any(grant.lets(kind, namespace, backend.service) for grant in grants)}
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
    yield Finding(Reason.REF_NOT_PERMITTED, Who.BACKEND_OWNER, words, advice, f"{field}.namespace", grant)
