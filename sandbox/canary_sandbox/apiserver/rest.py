"""The verbs on objects: what each may do, what it must refuse, what it leaves behind.

Everything here is synchronous, so between reading an object and writing it nothing can come in between; conflicts are
between clients, never inside the server.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from canary_sandbox.apiserver import errors, managed, names
from canary_sandbox.apiserver.document_checks import (
    check_name,
    check_namespace,
    desired,
    not_typed,
    raise_invalid,
    same_but_books,
    trim_metadata,
    type_meta,
)
from canary_sandbox.apiserver.errors import FieldError, Json, StatusError
from canary_sandbox.apiserver.fieldpaths import DuplicateError
from canary_sandbox.apiserver.managed import Writer
from canary_sandbox.apiserver.resources import Resource
from canary_sandbox.apiserver.store import Key, Store, Stored
from canary_sandbox.json_copy import copied

_NAMESPACES = ("", "namespaces")
_LASTING = frozenset({"default", "kube-system", "kube-public"})
_GENERATED = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class Options:
    """How a write was asked for. `validation`: Strict, Warn or Ignore; `duplicates`: paths that the body named twice."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    subresource: str = ""
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Preconditions of a deletion. Dependents always follow in the background."""

    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write, with the warnings to hand to the client."""

    stored: Stored
    warnings: tuple[str, ...] = ()


def timestamp(at: datetime) -> str:
    """`metav1.Time`: whole seconds, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Rest:
    """Creates, replaces and deletes objects in a store."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def get(self, resource: Resource, key: Key) -> Stored:
        """Raises StatusError 404."""
        stored = self._store.get(resource.key, key)
        if stored is None:
            raise errors.not_found(resource.plural, resource.group, key[1])
        return stored

    def create(
        self, resource: Resource, namespace: str, doc: Json, options: Options, *, owners: list[Json] | None = None
    ) -> Written:
        """Store a new object; `owners` are its managedFields, the creator's when None.

        Raises StatusError 400, 403, 404 (no such namespace), 409, 422, and 500 for one that has a resourceVersion.
        """
        metadata = type_meta(resource, doc)
        check_namespace(resource, namespace, metadata)
        if metadata.get("resourceVersion") not in {None, "", "0"}:
            raise StatusError(500, "", "resourceVersion should not be set on objects to be created")
        name = metadata.get("name")
        if not name and metadata.get("generateName"):
            name = self._generated(resource, namespace, metadata["generateName"])
            metadata["name"] = name
        self._check_namespace_is_there(resource, namespace, str(name))
        for gone in ("uid", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(gone, None)
        if resource.status and resource.custom:
            doc.pop("status", None)
        warnings = self._shaped(resource, doc, None, options)
        raise_invalid(resource, doc, names.check_name(name, None, resource.name_rule))
        self._validate(resource, doc, None)
        key = (namespace, str(name))
        if self._store.get(resource.key, key) is not None:
            raise errors.already_exists(resource.plural, resource.group, str(name))
        now = timestamp(self._clock())
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now}
        if resource.generation:
            metadata["generation"] = 1
        self._manage(doc, self._owners(resource, None, doc, options, now) if owners is None else owners)
        resource.prepare(doc, None)
        return Written(self._put(resource, doc, dry_run=options.dry_run), warnings)

    def _generated(self, resource: Resource, namespace: str, prefix: str) -> str:
        for _ in range(8):
            name = prefix[:58] + "".join(random.choices(_GENERATED, k=5))
            if self._store.get(resource.key, (namespace, name)) is None:
                return name
        raise errors.already_exists(resource.plural, resource.group, prefix)

    def _check_namespace_is_there(self, resource: Resource, namespace: str, name: str) -> None:
        if not resource.namespaced:
            return
        found = self._store.get(_NAMESPACES, ("", namespace))
        if found is None:
            raise errors.not_found("namespaces", "", namespace)
        if found.metadata.get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {"reason": "NamespaceTerminating", "message": f"namespace {namespace} is being terminated"}
            raise errors.forbidden(resource.plural, resource.group, name, why, causes=[cause])

    def apply(
        self, resource: Resource, key: Key, config: Json, options: Options, *, force: bool
    ) -> tuple[Written, bool]:
        """Server-side apply; says whether the object is new.

        Raises StatusError 400, 403, 404, 409 (others own what would change), 422, and 500 for a configuration that
        does not fit the schema, as the real server does.
        """
        metadata = type_meta(resource, config)
        where = f"{metadata.get('namespace', '')}/{key[1]}; {resource.group}/{resource.version}, Kind={resource.kind}"
        check_namespace(resource, key[0], metadata)
        check_name(metadata, key[1])
        if metadata.get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        stored = self._store.get(resource.key, key)
        if stored is None and options.subresource:
            raise errors.not_found(resource.plural, resource.group, key[1])
        if unknown := resource.schema.prune(copied(config)):
            raise not_typed(where, f".{unknown[0]}: field not declared in schema")
        if misfits := resource.schema.wrong_types(config):
            raise not_typed(where, f".{misfits[0].field}: {misfits[0].detail}")
        now = timestamp(self._clock())
        writer = Writer(options.manager, resource.api_version, now, options.subresource, resource.status)
        live = stored.doc if stored else {"metadata": {}}
        try:
            new, owners = managed.apply(live, config, resource.schema.fields, writer, force=force)
        except DuplicateError as error:
            raise not_typed(where, str(error)) from error
        new = copied(new)
        if stored is None:
            if not metadata.get("name"):
                raise errors.bad_request("name must be provided")
            new["metadata"].pop("resourceVersion", None)
            return self.create(resource, key[0], new, options, owners=owners), True
        return self.update(resource, key, new, options, patched=True, owners=owners), False

    def update(
        self,
        resource: Resource,
        key: Key,
        doc: Json,
        options: Options,
        *,
        patched: bool = False,
        owners: list[Json] | None = None,
    ) -> Written:
        """Replace an object, or its status when `options.subresource` says so.

        A patch has read the object itself, so it needs no resourceVersion; one that it carries counts. `owners` are
        the managedFields it shall have; when None they follow from what changes.
        Raises StatusError 400, 404, 409, 422.
        """
        old = self.get(resource, key)
        metadata = type_meta(resource, doc)
        check_namespace(resource, key[0], metadata)
        check_name(metadata, key[1])
        if not metadata.get("name"):
            raise errors.bad_request("name must be provided")
        self._check_preconditions(resource, old, metadata, patched=patched)
        new = self._merged(resource, old.doc, doc, options)
        warnings = self._shaped(resource, new, old.doc, options, patched=patched)
        resource.prepare(new, old.doc)
        self._validate(resource, new, old.doc)
        if owners is None:
            owners = self._owners(resource, old.doc, new, options, timestamp(self._clock()))
        if same_but_books(old.doc, new) and owners == (old.metadata.get("managedFields") or []):
            return Written(old, warnings)
        if resource.generation and desired(new, resource) != desired(old.doc, resource):
            new["metadata"]["generation"] = old.metadata.get("generation", 0) + 1
        self._manage(new, owners)
        released = new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers")
        if released and not self._held_open(resource, new):
            return Written(self._remove(resource, key, new, dry_run=options.dry_run), warnings)
        return Written(self._put(resource, new, dry_run=options.dry_run), warnings)

    @staticmethod
    def _held_open(resource: Resource, doc: Json) -> bool:
        """Namespaces keep a finalizer of their own in the spec."""
        return resource.key == _NAMESPACES and bool((doc.get("spec") or {}).get("finalizers"))

    @staticmethod
    def _check_preconditions(resource: Resource, old: Stored, metadata: Json, *, patched: bool) -> None:
        version = metadata.get("resourceVersion")
        if version in {None, "", "0"}:
            if not patched and not resource.unconditional_update:
                objection = FieldError("metadata.resourceVersion", errors.INVALID, "must be specified for an update", 0)
                raise errors.invalid(resource.plural, resource.group, metadata["name"], [objection])
        elif version != old.metadata["resourceVersion"]:
            raise errors.conflict(resource.plural, resource.group, metadata["name"])
        uid = metadata.get("uid")
        if uid and uid != old.metadata["uid"] and patched:
            objection = FieldError("metadata.uid", errors.INVALID, "field is immutable", uid)
            raise errors.invalid(resource.kind, resource.group, metadata["name"], [objection])
        if uid and uid != old.metadata["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old.metadata['uid']}"
            raise errors.conflict(resource.plural, resource.group, metadata["name"], why)

    @staticmethod
    def _merged(resource: Resource, old: Json, doc: Json, options: Options) -> Json:
        """What the request may change, over what it may not."""
        if options.subresource == "status":
            new = {key: value for key, value in old.items() if key != "status"}
            if "status" in doc:
                new["status"] = doc["status"]
            new["metadata"] = dict(old["metadata"])
            return new
        new = {**doc, "apiVersion": old["apiVersion"], "kind": old["kind"]}
        if resource.status:
            new.pop("status", None)
            if "status" in old:
                new["status"] = old["status"]
        metadata = dict(doc["metadata"])
        for name in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds",
                     "namespace", "generateName", "selfLink"):  # fmt: skip
            metadata.pop(name, None)
            if name in old["metadata"]:
                metadata[name] = old["metadata"][name]
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        new["metadata"] = metadata
        return new

    @staticmethod
    def _shaped(
        resource: Resource, doc: Json, old: Json | None, options: Options, *, patched: bool = False
    ) -> tuple[str, ...]:
        """Prune and default. Unknown fields are refused, or warned about, or ignored, as the client asked."""
        doc["apiVersion"], doc["kind"] = resource.storage_api_version, resource.kind

        def not_decoded(why: str) -> StatusError:
            return errors.patch_not_decoded(doc, why) if patched else errors.not_decoded(
                resource.kind, resource.version, why
            )  # fmt: skip

        twice = [f'duplicate field "{path}"' for path in options.duplicates]
        unknown = [
            f'unknown field "{path}"' for path in (*trim_metadata(doc["metadata"]), *sorted(resource.schema.prune(doc)))
        ]
        if (twice or unknown) and options.validation == "Strict":
            raise not_decoded(f"strict decoding error: {', '.join((*twice, *unknown))}")
        resource.schema.default(doc)
        if not resource.custom and (misfits := resource.schema.wrong_types(doc)):
            raise not_decoded(f"json: cannot unmarshal {misfits[0].detail}")
        resource.default(doc, old)
        if not resource.custom:
            resource.schema.drop_empty(doc)
        return (*twice, *unknown) if options.validation == "Warn" else ()

    @staticmethod
    def _validate(resource: Resource, doc: Json, old: Json | None) -> None:
        found = names.check_metadata(doc["metadata"])
        if old is not None:
            found += names.check_new_finalizers(old["metadata"], doc["metadata"])
        by_schema = resource.schema.errors(doc, old)
        found += by_schema
        if not by_schema and resource.check is not None:
            found += resource.check(doc, old)
        raise_invalid(resource, doc, found)

    @staticmethod
    def _owners(resource: Resource, old: Json | None, new: Json, options: Options, now: str) -> list[Json]:
        writer = Writer(options.manager, resource.api_version, now, options.subresource, resource.status)
        return managed.updated(old, new, resource.schema.fields, writer, resource.zero)

    @staticmethod
    def _manage(doc: Json, owners: list[Json]) -> None:
        if owners:
            doc["metadata"]["managedFields"] = owners
        else:
            doc["metadata"].pop("managedFields", None)

    def _put(self, resource: Resource, doc: Json, *, dry_run: bool) -> Stored:
        return Stored(doc, self._store.revision) if dry_run else self._store.put(resource.key, doc)

    def _remove(self, resource: Resource, key: Key, doc: Json, *, dry_run: bool) -> Stored:
        return Stored(doc, self._store.revision) if dry_run else self._store.remove(resource.key, key, doc)

    def delete(self, resource: Resource, key: Key, options: DeleteOptions) -> tuple[Stored, bool]:
        """Delete, or mark for deletion while finalizers hold; says whether the object is gone.

        Raises StatusError 403 (a namespace that has to stay), 404, 409 (a precondition does not hold).
        """
        old = self.get(resource, key)
        meta = old.metadata
        for wanted, has, what, then in (
            (options.uid, meta["uid"], "UID", "deleted and then recreated"),
            (options.resource_version, meta["resourceVersion"], "ResourceVersion", "modified"),
        ):
            if wanted and wanted != has:
                why = (
                    f"the {what} in the precondition ({wanted}) does not match the {what} in record ({has}). "
                    f"The object might have been {then}"
                )
                raise errors.conflict(resource.kind, resource.group, key[1], why)
        if resource.key == _NAMESPACES and key[1] in _LASTING:
            raise errors.forbidden(resource.plural, "", key[1], "this namespace may not be deleted")
        if not meta.get("finalizers") and not self._held_open(resource, old.doc):
            return self._remove(resource, key, old.doc, dry_run=options.dry_run), True
        if meta.get("deletionTimestamp"):
            return old, False
        metadata = {**meta, "deletionTimestamp": timestamp(self._clock()), "deletionGracePeriodSeconds": 0}
        if metadata.get("generation"):
            metadata["generation"] += 1
        doc = {**old.doc, "metadata": metadata}
        if resource.key == _NAMESPACES:
            doc["status"] = {**(doc.get("status") or {}), "phase": "Terminating"}
        return self._put(resource, doc, dry_run=options.dry_run), False
