"""A small, honest Kubernetes API server: in memory, in process, for real clients.

    async with ApiServer() as api:
        api.kubeconfig(path)      # and now `kubectl`, kopf or any client works against it

What a real server accepts it accepts, what one refuses it refuses; what it does not do it refuses with 501.

The layers, each knowing only those above it:

    errors, names, selectors, jsonpath   words and small languages              pure
    store, snapshot                      versioned objects, the log of changes  pure
    fieldpaths, merge, managed           who owns which field of a document     pure
    validation, rules, schema           one document against its schema        pure
    resources, builtin*, events, crd*    what is served                         pure
    patch, document_checks, rest, scale  the verbs on objects                   pure
    tables, representation, watch        the forms in which objects leave
    bootstrap_roles, cluster, collector  a whole cluster, and what it cleans up
    auth, rbac, access                   who asks, and whether they may
    reviews, discovery, openapi, faults  the surroundings
    protobuf, decoding, queries, responses, plain, handlers, generic, server   HTTP

What is faithful, what differs and what is missing: `docs/sandbox.md`.
"""

from __future__ import annotations

from canary_sandbox.apiserver.audit import AuditEntry
from canary_sandbox.apiserver.errors import StatusError
from canary_sandbox.apiserver.faults import Fault, Faults
from canary_sandbox.apiserver.rbac import Mode
from canary_sandbox.apiserver.server import ApiServer
from canary_sandbox.apiserver.snapshot import Snapshot

__all__ = ["ApiServer", "AuditEntry", "Fault", "Faults", "Mode", "Snapshot", "StatusError"]
