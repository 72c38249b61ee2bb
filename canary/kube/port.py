"""The port to an API server. `KubeClient` is the one that speaks HTTP; tests have a scripted twin that keeps the same contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from canary.kube.outage import Eyes
from canary.kube.pace import SILENCE, WatchPace
from canary.kube.reflector import Object, Sleep, WatchEvent
from canary.kube.resources import Resource


class Kube(Protocol):
    """One API server as one identity. Objects are JSON documents; every method raises an `ApiError` for what goes wrong.

    Nothing is retried: whether the very same write may be sent again is for the caller to decide (see
    `canary.kube.retry`). The exception is `list_and_watch`, whose whole point is to survive.
    """

    @property
    def server(self) -> str:
        """The address of the API server."""
        ...

    @property
    def server_time(self) -> datetime | None:
        """What the API server's clock says now: its last answer's Date, and the time since. None before any answer."""
        ...

    @property
    def namespace(self) -> str:
        """The namespace of the chosen context, or of the pod; "default" when neither says."""
        ...

    @property
    def user(self) -> str:
        """Who we are as far as the configuration tells; empty when it does not."""
        ...

    async def get(
        self, res: Resource, name: str, namespace: str | None = None, *, subresource: str | None = None
    ) -> Object:
        """One object. Raises NotFound."""
        ...

    async def text(self, res: Resource, name: str, namespace: str | None = None) -> bytes:
        """The same as the server writes it, for those who look at how much it is before they parse it. Raises NotFound."""
        ...

    async def list(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> Object:
        """The whole list, fetched `limit` at a time; `metadata.resourceVersion` is where a watch may begin."""
        ...

    def pages(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        limit: int = 500,
    ) -> AsyncGenerator[Object]:
        """The same list page by page, for those who need no more than a page at a time. Raises Gone as the server does."""
        ...

    async def create(self, res: Resource, body: Mapping[str, Any], namespace: str | None = None) -> Object:
        """`namespace` defaults to the one in the body. Raises AlreadyExists."""
        ...

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
    ) -> Object:
        """RFC 6902 (see `canary.json_patch`). A `test` that does not hold raises Unprocessable, and nothing is changed.

        `strict`: a field that the definitions do not know is refused rather than dropped. `dry_run`: the answer is what
        would be kept, and nothing is.

        With `patience` (seconds) a patch that has no answer by then is sent once more, on a new connection; the first
        answer counts. That is for patches whose tests no longer hold once they took effect: of two that arrive, one is
        refused, and if its refusal is the first answer, reading again shows what is.
        """
        ...

    async def merge_patch(
        self,
        res: Resource,
        name: str,
        namespace: str | None,
        body: Mapping[str, Any],
        *,
        subresource: str | None = None,
    ) -> Object:
        """RFC 7386: None removes a field, a list replaces the list. Raises Conflict when the body names another resourceVersion."""
        ...

    async def delete(
        self,
        res: Resource,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str | None = None,
        uid: str | None = None,
    ) -> Object:
        """`propagation`: Background, Foreground or Orphan. Answers the object (finalizers) or a Status.

        Raises NotFound, and Conflict where the object has another `uid`.
        """
        ...

    async def resolve(self, group: str, kind: str) -> Resource | None:
        """The resource of `kind` in the version that this server prefers among those that have it, by discovery."""
        ...

    async def discover(self, group: str) -> dict[str, Resource]:
        """Every resource of a group by kind, each as `resolve` finds it; empty when there is no such group."""
        ...

    async def raw(self, path: str) -> Object:
        """GET of any path that answers a JSON object, such as /version."""
        ...

    def list_and_watch(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        name: str | None = None,
        sleep: Sleep = asyncio.sleep,
        pace: WatchPace | None = None,
        silence: float = SILENCE,
        eyes: Eyes | None = None,
    ) -> AsyncGenerator[WatchEvent]:
        """Everything there is as ADDED, one SYNCED, then changes for ever: see `canary.kube.reflector`."""
        ...
