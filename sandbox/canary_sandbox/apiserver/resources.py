"""What can be served: one `Resource` per group, version and plural, kept in a `Registry`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from canary_sandbox.apiserver import names
from canary_sandbox.apiserver.errors import FieldError, Json
from canary_sandbox.apiserver.schema import Schema
from canary_sandbox.apiserver.store import GroupResource, Stored

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

Check = Callable[[Json, Json | None], list[FieldError]]
"""Objections to a document, given what it replaces (None: it is new)."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a Table: a JSONPath over the object, or a function of it."""

    name: str
    type: str = "string"
    path: str = ""
    cell: Callable[[Json], Any] | None = None
    priority: int = 0
    description: str = ""
    format: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the scale subresource finds its numbers; paths such as `.spec.replicas`."""

    spec_path: str = ".spec.replicas"
    status_path: str = ".status.replicas"
    selector_path: str = ""


def _no_default(doc: Json, old: Json | None) -> None:  # noqa: ARG001  the shape of a default function
    return


def _untyped(doc: Json) -> Json:
    return {name: value for name, value in doc.items() if name not in {"apiVersion", "kind"}}


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource in one version.

    `default` fills in what the API says of every object, `prepare` what the server itself decides (a ClusterIP), which
    nobody owns. `zero` is what every object of the kind has before anything is said: nobody owns that either.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    schema: Schema
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    storage_version: str = ""
    status: bool = False
    scale: Scale | None = None
    columns: tuple[Column, ...] = ()
    custom: bool = False
    generation: bool = False
    unconditional_update: bool = True
    creates_on_update: bool = False
    name_rule: Callable[[str], str | None] = names.subdomain
    fields: frozenset[str] = frozenset()
    check: Check | None = None
    default: Callable[[Json, Json | None], None] = _no_default
    prepare: Callable[[Json, Json | None], None] = _no_default
    zero: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> GroupResource:
        return self.group, self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def served(self, stored: Stored) -> Json:
        """An object as this resource shows it."""
        return stored.as_version(self.api_version)

    def encoded(self, stored: Stored) -> bytes:
        """The same as JSON, made once."""
        return stored.encoded(self.api_version, lambda: self.served(stored))

    def encoded_in_list(self, stored: Stored) -> bytes:
        """The same as an element of a list: of built-in kinds the list alone says what they are."""
        if self.custom:
            return self.encoded(stored)
        return stored.encoded(f"{self.api_version} in a list", lambda: _untyped(self.served(stored)))

    @property
    def storage_api_version(self) -> str:
        version = self.storage_version or self.version
        return f"{self.group}/{version}" if self.group else version

    @property
    def selectable(self) -> frozenset[str]:
        """Fields that a fieldSelector may name."""
        common = {"metadata.name", "metadata.namespace"} if self.namespaced else {"metadata.name"}
        return self.fields | common

    @property
    def listed_as(self) -> str:
        return self.list_kind or f"{self.kind}List"


@dataclass(slots=True)
class Registry:
    """Everything that is served now. Order of registration is the order of discovery."""

    _resources: dict[tuple[str, str], dict[str, Resource]] = field(default_factory=dict)

    def add(self, resource: Resource) -> None:
        """Serve a resource, or serve it anew."""
        self._resources.setdefault((resource.group, resource.version), {})[resource.plural] = resource

    def remove(self, group: str, plural: str) -> None:
        """Serve no version of a resource any more."""
        for (known, version), members in list(self._resources.items()):
            if known == group and plural in members:
                del members[plural]
                if not members:
                    del self._resources[known, version]

    def get(self, group: str, version: str, plural: str) -> Resource | None:
        return self._resources.get((group, version), {}).get(plural)

    def any_version(self, key: GroupResource) -> Resource | None:
        """One version of a resource; all of them share storage."""
        return next((r for r in self if r.key == key), None)

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        group, _, version = api_version.rpartition("/")
        members = self._resources.get((group, version), {})
        return next((resource for resource in members.values() if resource.kind == kind), None)

    def group_versions(self) -> tuple[tuple[str, str], ...]:
        """(group, version) pairs, the preferred version of each group first."""
        return tuple(sorted(self._resources, key=lambda pair: (pair[0], version_rank(pair[1]))))

    def members(self, group: str, version: str) -> tuple[Resource, ...]:
        return tuple(self._resources.get((group, version), {}).values())

    def __iter__(self) -> Iterator[Resource]:
        for members in list(self._resources.values()):
            yield from list(members.values())


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Sort key by which v2 comes before v1, v1 before v1beta1, v1beta1 before v1alpha1, and those before the rest."""
    import re

    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not found:
        return (3, 0, 0, version)
    major, stage, minor = found.groups()
    return ({None: 0, "beta": 1, "alpha": 2}[stage], -int(major), -int(minor or 0), version)
