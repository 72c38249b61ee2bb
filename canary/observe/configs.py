"""The ConfigMaps and Secrets that a pod spec names, and what their content makes of a revision.

A config counts by its content and not by its name: the names are left out of what is digested. So stable and canary may have
objects of their own, and a new name for the same content is no new revision. Of a Secret nobody can tell by a revision what is in
it, not even by trying: its content is keyed by its uid, which only those know who may read it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from canary.decide.facts import WorkloadView
from canary.model.rollout import digest
from canary.model.workloads import DEPLOYMENT, foreign
from canary.observe.workloads import WorkloadKey, revision, sound

Json = dict[str, Any]

CONFIG_MAP, SECRET = "ConfigMap", "Secret"

MOST = 64
"""Configs that a pod spec may name, for its content to be read."""

MOST_KEYS = 128
"""Keys of an object that count one by one, where single ones are named."""

MOST_NAMES = 8192
"""Names in the JSON of an object, with those that managedFields repeat. Parsed in 4 ms, for which everybody waits; more is not read."""

ABSENT = "absent"
"""The content of an object that is not there and need not be."""

PENDING = "the ConfigMaps and Secrets that it names have not been read yet"


class Named(NamedTuple):
    """One place in a pod spec that names a config. `keys`: those of its data that count there; None: all."""

    kind: str
    name: str
    optional: bool
    keys: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Parts:
    """What a revision is made of: the pod spec without the names of configs (a digest), and these, in the order of their places."""

    bare: str
    """The revision by the pod spec alone."""
    rest: str
    named: tuple[Named, ...]

    @classmethod
    def of(cls, document: Json, kind: str = DEPLOYMENT) -> Parts:
        """Those of a workload, read as `workload_view` does: of another controller's kind nothing is taken for granted."""
        document = sound(document) if foreign(kind) else document
        template = _dict(_dict(document.get("spec")).get("template"))
        pods: Json = from_json(to_json(_dict(template.get("spec"))))  # a copy, ten times as quick as one by copy
        named = tuple(_named(pods))
        return cls(revision(document), digest(pods), named)

    def revision(self, contents: list[str]) -> str:
        """The revision, given what `Content.digest` says at each place. Without any it is that of the pod spec."""
        return digest([self.rest, contents]) if self.named else self.bare


def _named(pods: Json) -> Iterator[Named]:
    """Every place that names a config; the name is taken out of the pod spec."""
    for volume in _dicts(pods.get("volumes")):
        yield from _source(volume)
        for source in _dicts(_dict(volume.get("projected")).get("sources")):
            yield from _source(source)
    for container in (*_dicts(pods.get("initContainers")), *_dicts(pods.get("containers"))):
        for each in _dicts(container.get("envFrom")):
            yield from _taken(CONFIG_MAP, each.get("configMapRef"))
            yield from _taken(SECRET, each.get("secretRef"))
        for variable in _dicts(container.get("env")):
            value = _dict(variable.get("valueFrom"))
            yield from _taken(CONFIG_MAP, value.get("configMapKeyRef"))
            yield from _taken(SECRET, value.get("secretKeyRef"))


def _source(volume: Json) -> Iterator[Named]:
    yield from _taken(CONFIG_MAP, volume.get("configMap"))
    secret = volume.get("secret")
    yield from _taken(SECRET, secret, "secretName" if "secretName" in _dict(secret) else "name")


def _taken(kind: str, ref: Any, field: str = "name") -> Iterator[Named]:
    if not isinstance(ref, dict) or not isinstance(ref.get(field), str) or not ref[field]:
        return
    keys = [ref["key"]] if "key" in ref else [item.get("key") for item in _dicts(ref.get("items"))]
    yield Named(kind, ref.pop(field), ref.get("optional") is True, frozenset(map(str, keys)) or None)


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a ConfigMap or Secret, as digests by key. `immutable`: it can only be replaced by another object.

    Of one with more than MOST_KEYS keys only the whole counts: `keys` is empty then, and `whole` its digest.
    """

    keys: Mapping[str, str]
    immutable: bool = False
    whole: str = ""

    @classmethod
    def read(cls, kind: str, text: bytes) -> Content | None:
        """That of an object as the API server writes it; None: it has more names than are read. Raises ValueError."""
        # In a text quotes are escaped, so what is JSON in a JSON does not count; no name of Kubernetes ends with a backslash.
        if text.count(b'":') - text.count(b'\\":') > MOST_NAMES:
            return None
        return cls.of(kind, _dict(from_json(text, cache_strings=False)))

    @classmethod
    def of(cls, kind: str, document: Json) -> Content:
        """That of an object. What makes no sense in it counts as it is written."""
        uid = str(_dict(document.get("metadata")).get("uid") or "").encode()
        data = {**_dict(document.get("binaryData")), **_dict(document.get("data"))}
        secret, immutable = uid if kind == SECRET else b"", document.get("immutable") is True
        if len(data) > MOST_KEYS:
            return cls({}, immutable, _digest(to_json(data), secret))  # its keys are in order as API servers write them
        keyed = {str(key): _digest(str(value).encode(), secret) for key, value in data.items()}
        return cls(keyed, immutable)

    def digest(self, keys: frozenset[str] | None) -> str:
        """Of all of it, or of what stands under some keys."""
        if self.whole:
            return self.whole
        return digest({key: found for key, found in self.keys.items() if keys is None or key in keys})


def _digest(value: bytes, key: bytes) -> str:
    return hmac.new(key, value, hashlib.sha256).hexdigest() if key else hashlib.sha256(value).hexdigest()


@dataclass(frozen=True, slots=True)
class Reckoned:
    """A revision with its configs, of a workload whose pod spec alone has `bare`; empty and `unknown`, why it is not known."""

    bare: str
    revision: str = ""
    unknown: str = ""


class Configs:
    """What has been read of configs, by workload: of those that some Rollout wants it of."""

    def __init__(self) -> None:
        self.wanted: set[WorkloadKey] = set()
        """The workloads whose configs are part of their revision for some Rollout."""
        self.on_wanted: Callable[[WorkloadKey], None] = _ignored
        """Called when the configs of one of these are to be read."""
        self.parts: dict[WorkloadKey, Parts] = {}
        self._reckoned: dict[WorkloadKey, Reckoned] = {}

    def put(self, key: WorkloadKey, reckoned: Reckoned) -> bool:
        """Keep what was read; False when that is no news."""
        news = self._reckoned.get(key) != reckoned
        self._reckoned[key] = reckoned
        return news

    def include(self, key: WorkloadKey) -> None:
        """Some Rollout wants to know."""
        self.wanted.add(key)
        self.on_wanted(key)

    def exclude(self, key: WorkloadKey) -> None:
        """Nobody wants to know any more."""
        self.wanted.discard(key)
        self.parts.pop(key, None)
        self._reckoned.pop(key, None)

    def declare(self, key: WorkloadKey, document: Json) -> None:
        """Know which configs a workload names; they are read when that is not how they were read last."""
        parts = self.parts[key] = Parts.of(document, key.kind)
        if self.pending(key, parts.bare):
            self.on_wanted(key)

    def other(self, key: WorkloadKey, bare: str) -> bool:
        """Whether a pod spec is not the one whose parts are known."""
        parts = self.parts.get(key)
        return parts is None or parts.bare != bare

    def pending(self, key: WorkloadKey, bare: str) -> bool:
        """Whether nothing has been read yet for a pod spec."""
        found = self._reckoned.get(key)
        return found is None or found.bare != bare

    def known(self, key: WorkloadKey) -> Reckoned | None:
        """What was read last."""
        return self._reckoned.get(key)

    def included(self, key: WorkloadKey, view: WorkloadView) -> WorkloadView:
        """A workload with its configs in its revision."""
        found, parts = self._reckoned.get(key), self.parts.get(key)
        rest = parts.rest if parts is not None and parts.bare == view.revision else ""
        if found is None or found.bare != view.revision:
            return replace(view, revision="", bare=view.revision, pod_spec=rest, unknown=PENDING)
        return replace(view, revision=found.revision, bare=view.revision, pod_spec=rest, unknown=found.unknown)


def _ignored(key: WorkloadKey) -> None:
    """Nobody reads it."""


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
