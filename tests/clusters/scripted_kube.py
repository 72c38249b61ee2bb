"""The twin of `KubeClient` for tests: objects in memory, and a script of what becomes of requests.

It keeps the contract of `canary.kube.port`, by the same tests as the client (tests/kube/test_kube_contract.py). What only
an API server can tell (admission, defaults, ownership of fields, finalizers) has to be tested with one.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import jsonpatch

from canary.errors import AlreadyExists, Conflict, NotFound, NotServed, Unavailable, Unprocessable
from canary.kube import DEPLOYMENTS, EVENTS, LEASES, NAMESPACES, ROLLOUTS, ROUTES, SERVICES, Resource, WatchEvent

Json = dict[str, Any]
Key = tuple[str, str, str]
"""Plural, namespace (empty: none) and name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `verb` is the name of the method; `body` the object, the operations, or the selectors that came with it."""

    verb: str
    plural: str
    namespace: str = ""
    name: str = ""
    body: Any = None
    subresource: str = ""


@dataclass(slots=True)
class Turn:
    """What the script says of some requests. Counts down `times`; None: it is for all of them."""

    verb: str
    plural: str | None = None
    name: str | None = None
    times: int | None = 1
    delay: float = 0.0
    error: Exception | None = None
    lost: bool = False
    answer: Any = None
    then: Callable[[], Awaitable[object]] | None = None

    def fits(self, asked: Asked) -> bool:
        if self.times == 0 or asked.verb != self.verb or self.plural not in {None, asked.plural}:
            return False
        return self.name in {None, asked.name}


@dataclass(eq=False)
class ScriptedKube:
    """An API server that does what it is told; what the script says nothing of, it does as one that is well.

    `asked` has every request, in the order in which they came. `served` is what discovery knows of.
    """

    user: str = ""
    namespace: str = "default"
    server: str = "http://scripted"
    server_time: datetime | None = None
    served: Iterable[Resource] = (SERVICES, DEPLOYMENTS, EVENTS, LEASES, NAMESPACES, ROLLOUTS, *ROUTES.values())
    asked: list[Asked] = field(default_factory=list)
    _objects: dict[Key, Json] = field(default_factory=dict)
    _turns: list[Turn] = field(default_factory=list)
    _watches: list[tuple[Callable[[Key], bool], asyncio.Queue[WatchEvent]]] = field(default_factory=list)
    _version: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # -- the script

    def script(self, verb: str, plural: str | None = None, **what: Any) -> Turn:
        """The next request of this verb (`times`: more of them; None: all), of any resource or one, comes to this.

        Args:
            verb: the name of the method; for `list_and_watch`, its opening.
            plural: of the resource.
            **what: `name` of the object; `delay` in seconds; `error` is raised, and nothing happens; `lost`: it happens, and
                the answer does not arrive; `answer` is given, and nothing happens; `then` is awaited before the answer goes out.

        """
        turn = Turn(verb, plural, **what)
        self._turns.append(turn)
        return turn

    def put(self, res: Resource, document: Json) -> Json:
        """Somebody else creates or writes an object, past the script; answers it as it is kept."""
        metadata = document["metadata"]
        return self._keep((res.plural, metadata.get("namespace", ""), metadata["name"]), document)

    def kept(self, res: Resource, namespace: str | None = None) -> list[Json]:
        """What is there, by namespace and name."""
        return [copy.deepcopy(self._objects[key]) for key in sorted(self._objects) if _of(res, namespace, "")(key)]

    async def _take(self, asked: Asked, do: Callable[[], Any]) -> Any:
        """One request: what the script has for it, else what a server does."""
        self.asked.append(asked)
        turn = next((turn for turn in self._turns if turn.fits(asked)), None)
        if turn is not None and turn.times is not None:
            turn.times -= 1
        await asyncio.sleep(turn.delay if turn is not None else 0)
        if turn is None:
            return do()
        if turn.error is not None:
            raise turn.error
        answer = turn.answer if turn.answer is not None else do()
        if turn.then is not None:
            await turn.then()
        if turn.lost:
            raise Unavailable("the answer is lost", reason="Unreachable")
        return answer

    # -- the port

    async def get(
        self, res: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Json:
        key = _key(res, namespace, name)
        asked = Asked("get", *key, subresource=subresource or "")
        return await self._take(asked, lambda: _shown(copy.deepcopy(self._there(key)), subresource))

    async def text(self, res: Resource, name: str, namespace: str | None = None) -> bytes:
        return json.dumps(await self.get(res, name, namespace), separators=(",", ":")).encode()

    async def list(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> Json:
        selectors = {"labels": label_selector, "fields": field_selector, "limit": limit}
        asked = Asked("list", res.plural, namespace or "", body=selectors)
        return await self._take(asked, lambda: self._listed(res, namespace, label_selector, field_selector))

    async def pages(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> AsyncGenerator[Json]:
        selectors = {"labels": label_selector, "fields": field_selector, "limit": limit}
        asked = Asked("pages", res.plural, namespace or "", body=selectors)
        whole = await self._take(asked, lambda: self._listed(res, namespace, label_selector, field_selector))
        items, metadata = whole["items"], whole["metadata"]
        for begin in range(0, max(1, len(items)), limit):
            left = len(items) - begin - limit
            more = {"continue": str(begin + limit), "remainingItemCount": left} if left > 0 else {}
            yield {**whole, "items": items[begin : begin + limit], "metadata": {**metadata, **more}}

    async def create(self, res: Resource, body: Mapping[str, Any], namespace: str | None = None) -> Json:
        metadata = body.get("metadata") or {}
        key = _key(res, namespace or metadata.get("namespace"), metadata.get("name") or "unnamed")

        def do() -> Json:
            if key in self._objects:
                raise AlreadyExists(f'{res.plural} "{key[2]}" already exists', status=409, reason="AlreadyExists")
            whole = {"apiVersion": res.api_version, "kind": res.kind, **body}
            return self._keep(key, {**whole, "metadata": {**metadata, **({"namespace": key[1]} if key[1] else {})}})

        return await self._take(Asked("create", *key, body), do)

    async def json_patch(
        self,
        res: Resource,
        name: str,
        namespace: str | None,
        ops: Sequence[Mapping[str, Any]],
        *,
        subresource: str | None = None,
        strict: bool = False,
        dry_run: bool = False,
        patience: float | None = None,
    ) -> Json:
        def patched(document: Json) -> Json:
            try:
                return jsonpatch.apply_patch(document, list(ops))
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
                raise Unprocessable(f"the server rejected our request: {error}", status=422) from error

        key = _key(res, namespace, name)
        asked = Asked("json_patch", *key, list(ops), subresource or "")
        return await self._take(asked, lambda: _shown(self._changed(key, patched, subresource, dry_run), subresource))

    async def merge_patch(
        self,
        res: Resource,
        name: str,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Json:
        key = _key(res, namespace, name)
        asked = Asked("merge_patch", *key, body, subresource or "")
        return await self._take(asked, lambda: self._changed(key, lambda old: _merged(old, body), subresource, False))

    async def delete(
        self,
        res: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str | None = None,
        uid: str | None = None,
    ) -> Json:
        key = _key(res, namespace, name)

        def do() -> Json:
            there = self._there(key)
            if uid is not None and there["metadata"]["uid"] != uid:
                raise Conflict(f'{key[0]} "{name}": it is another one than was meant', status=409, reason="Conflict")
            gone = self._objects.pop(key)
            gone["metadata"]["resourceVersion"] = str(next(self._version))
            self._tell("DELETED", key, gone)
            return {"kind": "Status", "apiVersion": "v1", "status": "Success"}

        return await self._take(Asked("delete", *key, propagation), do)

    async def resolve(self, group: str, kind: str) -> Resource | None:
        found = (res for res in self.served if (res.group, res.kind) == (group, kind))
        return await self._take(Asked("resolve", kind, body=group), lambda: next(found, None))

    async def discover(self, group: str) -> dict[str, Resource]:
        found = {res.kind: res for res in reversed(tuple(self.served)) if res.group == group}
        return await self._take(Asked("discover", "", body=group), lambda: found)

    async def raw(self, path: str) -> Json:
        def do() -> Json:
            if path == "/apis":
                return {"groups": [{"name": group} for group in sorted({res.group for res in self.served} - {""})]}
            raise NotServed(f"the server has nothing at {path}", status=404, reason="NotFound")

        return await self._take(Asked("raw", "", name=path), do)

    async def list_and_watch(
        self, res: Resource, namespace: str | None = None, *, name: str | None = None, **_: Any
    ) -> AsyncGenerator[WatchEvent]:
        """As the port has it; outages, and who is told of them, are the client's."""
        follows = _of(res, namespace, name or "")
        watch = follows, asyncio.Queue[WatchEvent]()

        def begin() -> list[Json]:
            self._watches.append(watch)
            return [copy.deepcopy(self._objects[key]) for key in sorted(self._objects) if follows(key)]

        try:
            for document in await self._take(Asked("list_and_watch", res.plural, namespace or "", name or ""), begin):
                yield WatchEvent("ADDED", document)
            yield WatchEvent("SYNCED")
            while True:
                yield await watch[1].get()
        finally:
            if watch in self._watches:
                self._watches.remove(watch)

    # -- the objects

    def _there(self, key: Key) -> Json:
        if key not in self._objects:
            raise NotFound(f'{key[0]} "{key[2]}" not found', status=404, reason="NotFound")
        return self._objects[key]

    def _listed(self, res: Resource, namespace: str | None, labels: str | None, fields: str | None) -> Json:
        items = [
            item
            for item in self.kept(res, namespace)
            if all((item["metadata"].get("labels") or {}).get(name) == value for name, value in _terms(labels))
            and all(_member(item, name) == value for name, value in _terms(fields))
        ]
        version = max((int(kept["metadata"]["resourceVersion"]) for kept in self._objects.values()), default=0)
        return {"kind": f"{res.kind}List", "metadata": {"resourceVersion": str(version)}, "items": items}

    def _changed(self, key: Key, change: Callable[[Json], Json], subresource: str | None, dry_run: bool) -> Json:
        old = self._there(key)
        new = change(copy.deepcopy(old))
        if new["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified; apply your changes to the latest version", status=409)
        if subresource == "status":
            new = {**old, "status": new.get("status")}
        elif "status" in old:
            new["status"] = old["status"]
        if new == old:
            return copy.deepcopy(old)
        return new if dry_run else self._keep(key, new)

    def _keep(self, key: Key, document: Mapping[str, Any]) -> Json:
        new, old = copy.deepcopy(dict(document)), self._objects.get(key)
        metadata = new["metadata"]
        metadata["resourceVersion"] = str(next(self._version))
        before = old["metadata"] if old is not None else {}
        metadata["uid"] = metadata.get("uid") or before.get("uid") or f"uid-{metadata['resourceVersion']}"
        same = old is not None and old.get("spec") == new.get("spec")
        metadata["generation"] = before.get("generation", 0) + (not same)
        self._objects[key] = new
        self._tell("ADDED" if old is None else "MODIFIED", key, new)
        return copy.deepcopy(new)

    def _tell(self, kind: str, key: Key, document: Json) -> None:
        for follows, queue in self._watches:
            if follows(key):
                queue.put_nowait(WatchEvent(kind, copy.deepcopy(document)))


def _key(res: Resource, namespace: str | None, name: str) -> Key:
    res.path(namespace, name)  # what the client would not send is no request
    return res.plural, (namespace or "") if res.namespaced else "", name


def _shown(document: Json, subresource: str | None) -> Json:
    """The scale subresource shows replicas and whose they are; changed through it, nothing else of a test's object is."""
    if subresource != "scale":
        return document
    names = ("name", "namespace", "uid", "resourceVersion")
    metadata = {name: document["metadata"][name] for name in names if name in document["metadata"]}
    replicas = document.get("spec", {}).get("replicas", 1)
    return {"kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas} if replicas else {}}


def _of(res: Resource, namespace: str | None, name: str) -> Callable[[Key], bool]:
    return lambda key: key[0] == res.plural and namespace in {None, key[1]} and name in {"", key[2]}


def _terms(selector: str | None) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (term.partition("=") for term in (selector or "").split(",") if term)]


def _member(document: Json, path: str) -> Any:
    found: Any = document
    for name in path.split("."):
        found = (found or {}).get(name)
    return found


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(old) if isinstance(old, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result
