"""What every written document must satisfy before its schema has a say, and what counts as a change."""

from __future__ import annotations

from typing import Any

from canary_sandbox.apiserver import errors
from canary_sandbox.apiserver.builtin_schemas import METADATA
from canary_sandbox.apiserver.errors import FieldError, Json, StatusError
from canary_sandbox.apiserver.resources import Resource


def type_meta(resource: Resource, doc: Json) -> Json:
    """Check apiVersion and kind; returns the (existing or new) metadata of `doc`."""
    kind, api_version = doc.get("kind"), doc.get("apiVersion")
    if resource.custom and not kind:
        raise errors.bad_request(f"Object 'Kind' is missing in '{doc}'")
    if resource.custom and not api_version:
        raise errors.bad_request(f"Object 'apiVersion' is missing in '{doc}'")
    served = {resource.api_version, resource.storage_api_version}
    if api_version and api_version not in served:
        message = (
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )
        raise errors.bad_request(message)
    if kind and kind != resource.kind and resource.custom:
        name = str((doc.get("metadata") or {}).get("name", ""))
        objection = FieldError("kind", errors.INVALID, f"must be {resource.kind}", kind)
        raise errors.invalid(str(kind), resource.group, name, [objection])
    if kind and kind != resource.kind:
        message = (
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: no kind "{kind}" is '
            f'registered for this resource, want "{resource.kind}"'
        )
        raise errors.bad_request(message)
    metadata = doc.setdefault("metadata", {})
    if metadata is None:
        metadata = doc["metadata"] = {}
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata: Invalid value: must be an object")
    _check_metadata_types(resource, metadata)
    return metadata


def not_typed(where: str, why: str) -> StatusError:
    """An applied configuration that does not fit its schema."""
    return StatusError(500, "", f"failed to create typed patch object ({where}): {why}")


def _check_metadata_types(resource: Resource, metadata: Json) -> None:
    """The typed decoder refuses these with 400 before any validation runs."""
    wrong = [name for name in ("name", "generateName", "namespace", "resourceVersion", "uid")
             if not isinstance(metadata.get(name), (str, type(None)))]  # fmt: skip
    for name in ("labels", "annotations"):
        members = metadata.get(name)
        if members is None:
            continue
        if not isinstance(members, dict) or any(not isinstance(value, str) for value in members.values()):
            wrong.append(name)
    wrong += [
        name for name in ("finalizers", "ownerReferences") if not isinstance(metadata.get(name), (list, type(None)))
    ]
    if wrong:
        raise errors.bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{wrong[0]}"
        )


def check_namespace(resource: Resource, namespace: str, metadata: Json) -> None:
    """Put the namespace of the URL into the metadata. Raises StatusError 400 for another one."""
    if resource.namespaced and metadata.get("namespace", namespace) not in {namespace, ""}:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if resource.namespaced:
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)


def check_name(metadata: Json, name: str) -> None:
    """Raises StatusError 400 when the object is called otherwise than the URL says."""
    if metadata.get("name", name) != name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )


_KNOWN_METADATA = frozenset(METADATA["properties"])


def trim_metadata(metadata: Json) -> list[str]:
    """Drop what metadata does not have; returns the paths. An empty map or list is the same as none: it goes, too."""
    unknown = [name for name in metadata if name not in _KNOWN_METADATA]
    for name in unknown:
        del metadata[name]
    for name in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields"):
        if name in metadata and not metadata[name]:
            del metadata[name]
    return [f"metadata.{name}" for name in unknown]


def raise_invalid(resource: Resource, doc: Json, found: list[FieldError]) -> None:
    """422 with the objections found, if there are any."""
    if found:
        metadata = doc["metadata"]
        raise errors.invalid(
            resource.kind, resource.group, metadata.get("name") or metadata.get("generateName", ""), found
        )


def same_but_books(old: Json, new: Json) -> bool:
    """Whether an update changes anything but the books that the server itself keeps."""
    return _comparable(old) == _comparable(new)


def _comparable(doc: Json) -> tuple[Any, Any]:
    rest = {key: value for key, value in doc.items() if key != "metadata"}
    skipped = {"managedFields", "resourceVersion"}
    return rest, {key: value for key, value in doc["metadata"].items() if key not in skipped}


def desired(doc: Json, resource: Resource) -> Json:
    """What a change of bumps the generation."""
    skipped = {"metadata", "status"} if resource.status else {"metadata"}
    return {key: value for key, value in doc.items() if key not in skipped}
