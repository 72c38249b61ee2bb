"""The cluster behind the HTTP surface: store, registry and the rules that tie them together."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from datetime import datetime

from canary_sandbox.apiserver import bootstrap_roles, builtin_rbac, builtins, crd
from canary_sandbox.apiserver.errors import DUPLICATE, FieldError, Json, invalid
from canary_sandbox.apiserver.resources import Registry, Resource
from canary_sandbox.apiserver.rest import Options, Rest, timestamp
from canary_sandbox.apiserver.snapshot import Snapshot
from canary_sandbox.apiserver.store import Change, Event, Store

log = logging.getLogger(__name__)

INITIAL_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_SERVICES = ("", "services")


class Cluster:
    """One cluster. Definitions serve their resources the moment they are stored."""

    def __init__(
        self, clock: Callable[[], datetime], *, history: int = 10_000, snapshot: Snapshot | None = None
    ) -> None:
        self.clock = clock
        self.store = Store(history=history)
        self.registry = Registry()
        self.rest = Rest(self.store, clock)
        self.limitations: list[str] = []
        # Anywhere in the range, as a real server allocates: two sandboxes on one machine listen on different addresses.
        self._last_ip = random.randrange(builtins.SERVICE_NETWORK.num_addresses)
        self._taken_ips: set[str] = set()
        for resource in (*builtins.resources(self._allocate_ip), *builtin_rbac.resources()):
            self.registry.add(resource)
        self.registry.add(crd.definition_resource())
        self.store.subscribe(crd.KEY, self._on_definition)
        self.store.subscribe(_SERVICES, self._on_service)
        if snapshot is not None:
            self._restore(snapshot)
        initial = {
            ("", "namespaces"): [{"metadata": {"name": name}} for name in INITIAL_NAMESPACES],
            builtin_rbac.CLUSTER_ROLES: bootstrap_roles.cluster_roles(),
            builtin_rbac.CLUSTER_ROLE_BINDINGS: bootstrap_roles.cluster_role_bindings(),
        }
        for (group, plural), documents in initial.items():
            resource = self._builtin(group, plural)
            for document in documents:
                # As a real server on each start: what is missing of its own is made, what is there is left alone.
                if self.store.get((group, plural), ("", document["metadata"]["name"])) is None:
                    self.rest.create(resource, "", document, Options(manager="kube-apiserver"))

    def _restore(self, snapshot: Snapshot) -> None:
        self.store.restore(snapshot.revision, snapshot.objects)
        for definition in self.store.list(crd.KEY):
            self._serve(definition.doc)
        self._taken_ips |= {service.doc["spec"].get("clusterIP") for service in self.store.list(_SERVICES)}

    def _builtin(self, group: str, plural: str) -> Resource:
        resource = self.registry.get(group, "v1", plural)
        assert resource is not None  # noqa: S101  registered with the others
        return resource

    def account_uid(self, namespace: str, name: str) -> str | None:
        """The uid of a service account, None when there is none."""
        stored = self.store.get(("", "serviceaccounts"), (namespace, name))
        return None if stored is None else str(stored.metadata["uid"])

    def _allocate_ip(self) -> str:
        network = builtins.SERVICE_NETWORK
        for _ in range(network.num_addresses - 2):
            self._last_ip = self._last_ip % (network.num_addresses - 2) + 1
            address = str(network[self._last_ip])
            if address not in self._taken_ips:
                return address
        raise invalid("Service", "", "", [FieldError("spec.clusterIP", DUPLICATE, "range is full")])

    def _on_service(self, event: Event) -> None:
        if event.before is not None:
            self._taken_ips.discard(event.before.doc["spec"].get("clusterIP"))
        if event.change is not Change.DELETED:
            self._taken_ips.add(event.after.doc["spec"].get("clusterIP"))

    def _on_definition(self, event: Event) -> None:
        doc = event.after.doc
        group, plural = doc["spec"]["group"], doc["spec"]["names"]["plural"]
        if event.change is Change.DELETED:
            self.registry.remove(group, plural)
            self.store.forget((group, plural))
            return
        if event.before is None or event.before.doc["spec"] != doc["spec"]:
            self._serve(doc)

    def _serve(self, doc: Json) -> None:
        group, plural = doc["spec"]["group"], doc["spec"]["names"]["plural"]
        self.registry.remove(group, plural)
        for resource in crd.resources(doc):
            self.registry.add(resource)
        for said in crd.not_evaluated(doc):
            if said not in self.limitations:
                self.limitations.append(said)
                log.warning("not evaluated: %s", said)
        current = self.store.get(crd.KEY, ("", doc["metadata"]["name"]))
        if current is None:
            return
        status = crd.established(current.doc, timestamp(self.clock()))
        finalizers = list(current.metadata.get("finalizers") or ())
        if crd.CLEANUP not in finalizers and not current.metadata.get("deletionTimestamp"):
            finalizers.append(crd.CLEANUP)
        if status != current.doc.get("status") or finalizers != current.metadata.get("finalizers"):
            metadata = {**current.metadata, "finalizers": finalizers}
            self.store.put(crd.KEY, {**current.doc, "metadata": metadata, "status": status})
