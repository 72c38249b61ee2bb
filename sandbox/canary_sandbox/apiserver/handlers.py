"""HTTP in, HTTP out: reads a request, lets `Rest` do the work, writes the answer."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from canary_sandbox.apiserver import access, crd, decoding, errors, queries, reviews, scale, spelling
from canary_sandbox.apiserver import patch as patches
from canary_sandbox.apiserver.auth import Tokens, User
from canary_sandbox.apiserver.cluster import Cluster
from canary_sandbox.apiserver.errors import FieldError, Json, StatusError
from canary_sandbox.apiserver.faults import Fault, WatchLostError, faulty
from canary_sandbox.apiserver.plain import plain, unknown_path
from canary_sandbox.apiserver.rbac import Authorizer
from canary_sandbox.apiserver.representation import Representation, negotiate
from canary_sandbox.apiserver.requests import Request
from canary_sandbox.apiserver.resources import Resource
from canary_sandbox.apiserver.responses import json_response, raw_response, warning
from canary_sandbox.apiserver.rest import DeleteOptions, Options, Written
from canary_sandbox.apiserver.reviews import Reviewer
from canary_sandbox.apiserver.store import HistoryGoneError, Key, Stored
from canary_sandbox.apiserver.watch import Watches, WatchOptions, error_line
from canary_sandbox.json_copy import copied


class Handlers:
    """Answers requests against one cluster."""

    def __init__(self, cluster: Cluster, watches: Watches, authorizer: Authorizer, tokens: Tokens) -> None:
        self._cluster = cluster
        self._watches = watches
        self._authorizer = authorizer
        self._reviewer = Reviewer(authorizer, tokens)

    async def answer(
        self, http: web.Request, request: Request, user: User, fault: Fault | None = None
    ) -> web.StreamResponse:
        """The answer to one authenticated request; `fault` strikes its watch. Raises StatusError."""
        self._authorizer.check(access.attributes(request, user, http.query))
        if not request.is_resource:
            return plain(http, request.path, self._cluster.registry)
        kind = reviews.REVIEWS.get((request.group, request.version, request.resource))
        if kind and request.verb == "create" and not request.namespace:
            return json_response(self._reviewer.answer(kind, await decoding.body(http), user), 201)
        resource = self._cluster.registry.get(request.group, request.version, request.resource)
        if resource is None:
            if not self._cluster.registry.members(request.group, request.version):
                return unknown_path()
            raise errors.no_such_path()
        self._check_subresource(resource, request)
        if resource.namespaced and not request.namespace and request.verb not in {"list", "watch"}:
            raise errors.method_not_allowed()
        if not resource.namespaced and request.namespace:
            raise errors.no_such_path()
        return await self._on_resource(http, request, resource, user, fault)

    @staticmethod
    def _check_subresource(resource: Resource, request: Request) -> None:
        match request.subresource:
            case "":
                if request.verb == "create" and request.name:
                    raise errors.method_not_allowed()
            case "status" if resource.status:
                pass
            case "scale" if resource.scale is not None:
                pass
            case "finalize" if resource.key == ("", "namespaces"):
                raise errors.not_implemented("namespaces/finalize; the sandbox empties and removes namespaces itself")
            case "token" if resource.key == ("", "serviceaccounts"):
                if request.verb != "create":
                    raise errors.method_not_allowed()
                return
            case "log" | "exec" | "attach" | "portforward" | "proxy" | "eviction" | "binding" | "ephemeralcontainers":
                raise errors.not_implemented(f"{resource.plural}/{request.subresource}")
            case _ if resource.custom:
                raise errors.not_found(resource.plural, resource.group, request.name)
            case _:
                raise errors.no_such_path()
        if request.subresource and request.verb not in {"get", "update", "patch"}:
            raise errors.method_not_allowed()

    async def _on_resource(
        self, http: web.Request, request: Request, resource: Resource, user: User, fault: Fault | None
    ) -> web.StreamResponse:
        query = http.query
        accept = ",".join(http.headers.getall("Accept", ()))
        form = negotiate(resource, accept, query.get("includeObject", ""), self._cluster.clock)
        key = (request.namespace, request.name)
        match request.verb:
            case "get":
                queries.check_revision(query, self._cluster.store.revision)
                return self._single(form, self._cluster.rest.get(resource, key), request)
            case "list":
                return self._list(form, query, request)
            case "watch":
                return await self._watch(http, form, request, fault)
            case "create" if request.subresource == "token":
                account = self._cluster.rest.get(resource, key)
                return json_response(self._reviewer.token(account.doc, await decoding.body(http, optional=True)), 201)
            case "create":
                body = await decoding.body(http)
                written = self._cluster.rest.create(
                    resource, request.namespace, body, self._options(http, request, body)
                )
                return self._written(form, written, request, 201)
            case "update":
                body = await decoding.body(http)
                options = self._options(http, request, body)
                code = 201 if self._is_new(request, resource) else 200
                return self._written(form, self._update(request, resource, body, options), request, code)
            case "patch":
                options = self._options(http, request)
                written, is_new = await self._patch(http, request, resource, options, user)
                return self._written(form, written, request, 201 if is_new else 200)
            case "delete":
                return self._delete(
                    resource, key, queries.delete_options(await decoding.body(http, optional=True), query), form
                )
            case "deletecollection":
                return self._delete_collection(form, request, query, await decoding.body(http, optional=True))
        raise errors.method_not_allowed()

    # Reading

    def _single(self, form: Representation, stored: Stored, request: Request) -> web.Response:
        if request.subresource == "scale":
            return json_response(scale.of(form.resource, stored))
        return raw_response(form.single(stored))

    def _list(self, form: Representation, query: Mapping[str, str], request: Request) -> web.Response:
        resource, store = form.resource, self._cluster.store
        matches = queries.selector(resource, query, request)
        start, at = queries.continuation(query)
        exact = query.get("resourceVersionMatch") == "Exact"
        if at is None:
            asked = queries.check_revision(query, store.revision)
            at = asked if exact and asked else None
        try:
            items = store.list(resource.key, request.namespace, at=at, after=start)
        except HistoryGoneError as error:
            raise errors.expired(str(error)) from error
        if matches is not None:
            items = [item for item in items if matches(item.doc)]
        revision = at or store.revision
        metadata: Json = {"resourceVersion": str(revision)}
        limit = queries.number(query, "limit")
        if limit and len(items) > limit:
            metadata["remainingItemCount"] = len(items) - limit
            if matches is not None:
                del metadata["remainingItemCount"]
            items = items[:limit]
            metadata["continue"] = queries.continue_token(revision, items[-1].key)
        return raw_response(form.many(items, metadata))

    async def _watch(
        self, http: web.Request, form: Representation, request: Request, fault: Fault | None
    ) -> web.StreamResponse:
        query = http.query
        initial = query["sendInitialEvents"] in queries.TRUE if "sendInitialEvents" in query else None
        revision = queries.check_revision(query, self._cluster.store.revision)
        timeout = queries.number(query, "timeoutSeconds") or random.uniform(1800, 3600)
        options = WatchOptions(
            namespace=request.namespace,
            revision=revision,
            matches=queries.selector(form.resource, query, request),
            bookmarks=query.get("allowWatchBookmarks") in queries.TRUE,
            timeout=timeout,
            initial=initial,
        )
        response = web.StreamResponse(
            headers={"Content-Type": "application/json", "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        await response.prepare(http)
        try:
            async for line in faulty(self._watches.stream(form, options), fault):
                await response.write(line)
        except WatchLostError:
            if http.transport is not None:
                http.transport.abort()
            return response
        except StatusError as error:
            await response.write(error_line(error))
        except ConnectionResetError:
            return response
        with suppress(ConnectionResetError):  # the client left first, as watchers do
            await response.write_eof()
        return response

    # Writing

    def _written(self, form: Representation, written: Written, request: Request, code: int = 200) -> web.Response:
        if request.subresource == "scale":
            response = json_response(scale.of(form.resource, written.stored), code)
        else:
            response = raw_response(form.single(written.stored), code)
        doc = written.stored.doc
        gaps = [f"not evaluated: {text}" for text in crd.not_evaluated(doc)] if form.resource.key == crd.KEY else []
        for text in (*written.warnings, *gaps):
            response.headers.add("Warning", warning(text))
        return response

    @staticmethod
    def _options(http: web.Request, request: Request, body: Json | None = None) -> Options:
        asked = queries.options(http, request.subresource)
        return dataclasses.replace(asked, duplicates=tuple(decoding.duplicates(body)))

    def _update(self, request: Request, resource: Resource, body: Json, options: Options) -> Written:
        key = (request.namespace, request.name)
        if request.subresource == "scale":
            current = self._cluster.rest.get(resource, key)
            return self._cluster.rest.update(resource, key, scale.applied(resource, current, body), options)
        if self._is_new(request, resource):
            return self._cluster.rest.create(resource, request.namespace, body, options)
        return self._cluster.rest.update(resource, key, body, options)

    def _is_new(self, request: Request, resource: Resource) -> bool:
        """Whether an update makes the object: of a kind that allows it (a Lease)."""
        key = (request.namespace, request.name)
        return resource.creates_on_update and self._cluster.store.get(resource.key, key) is None

    async def _patch(
        self, http: web.Request, request: Request, resource: Resource, options: Options, user: User
    ) -> tuple[Written, bool]:
        """The object patched, and whether an apply made it."""
        media = http.headers.get("Content-Type", "").partition(";")[0].strip()
        accepted = [patches.JSON_PATCH, patches.MERGE_PATCH]
        accepted += [patches.APPLY_PATCH] if resource.custom else [patches.STRATEGIC_PATCH, patches.APPLY_PATCH]
        if media not in accepted:
            raise errors.unsupported_media_type(accepted)
        if media == patches.APPLY_PATCH:
            return await self._apply(http, request, resource, options, user)
        if "force" in http.query:
            detail = "may not be specified for non-apply patch"
            raise queries.options_invalid("PatchOptions", FieldError("force", errors.FORBIDDEN, detail))
        raw = await http.read()
        body = decoding.decoded(raw, media)
        current = self._cluster.rest.get(resource, (request.namespace, request.name))
        if request.subresource == "scale":
            before = scale.of(resource, current)
            after = _patched("Scale", before, media, body, raw)
            new = scale.applied(resource, current, after)
        else:
            new = _patched(resource.kind, resource.served(current), media, body, raw)
        return self._cluster.rest.update(resource, current.key, new, options, patched=True), False

    async def _apply(
        self, http: web.Request, request: Request, resource: Resource, options: Options, user: User
    ) -> tuple[Written, bool]:
        if request.subresource == "scale":
            raise errors.not_implemented("server-side apply on the scale subresource")
        if not http.query.get("fieldManager"):
            missing = FieldError("fieldManager", errors.REQUIRED, "is required for apply patch")
            raise queries.options_invalid("PatchOptions", missing)
        key = (request.namespace, request.name)
        if self._cluster.store.get(resource.key, key) is None:
            wanted = access.attributes(request, user, http.query)
            self._authorizer.check(dataclasses.replace(wanted, verb="create"))
        body = decoding.decoded(await http.read(), patches.APPLY_PATCH)
        if not isinstance(body, dict):
            raise errors.bad_request("error decoding YAML: an applied configuration is an object")
        force = http.query.get("force") in queries.TRUE
        return self._cluster.rest.apply(resource, key, body, options, force=force)

    def _delete(self, resource: Resource, key: Key, options: DeleteOptions, form: Representation) -> web.Response:
        stored, gone = self._cluster.rest.delete(resource, key, options)
        if not gone or resource.plural in {"pods", "services", "serviceaccounts"}:
            return raw_response(form.single(stored))
        details = {"name": key[1], "kind": resource.plural, "uid": stored.metadata["uid"]}
        if resource.group:
            details["group"] = resource.group
        return json_response(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        )

    def _delete_collection(
        self, form: Representation, request: Request, query: Mapping[str, str], body: Json
    ) -> web.Response:
        matches = queries.selector(form.resource, query, request)
        options = queries.delete_options(body, query)
        deleted = [
            self._cluster.rest.delete(form.resource, item.key, options)[0]
            for item in self._cluster.store.list(form.resource.key, request.namespace)
            if matches is None or matches(item.doc)
        ]
        return raw_response(form.many(deleted, {"resourceVersion": str(self._cluster.store.revision)}))


def _patched(kind: str, doc: Json, media: str, body: Any, raw: bytes) -> Json:
    if media == patches.JSON_PATCH:
        return patches.json_patch(doc, body, spelling.as_written(raw))
    if not isinstance(body, dict):
        raise errors.bad_request(
            "error decoding patch: json: cannot unmarshal it into Go value of type map[string]interface {}"
        )
    if media == patches.MERGE_PATCH:
        merged: Json = patches.merge_patch(doc, body)
        # Pruning and defaulting work in place, and a merge shares what it did not touch with the stored object.
        return copied(merged)
    return patches.strategic_merge_patch(kind, doc, body)
