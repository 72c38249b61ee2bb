"""What is asked of the API server about Jobs of checks: a few requests at a time, and each Rollout in its turn.

They share their connections with writes of routes and with the Lease, and admission decides how long it takes to create or to delete
one. So those of all namespaces together have a few places, and those of a slow one leave some to others; looks, which no
admission delays, have places of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from canary.controller.job_documents import CHECK, OWNER, owned
from canary.errors import Conflict, Gone, NotFound
from canary.fair import FairLimit, Tenant
from canary.kube import JOBS, PODS, SELF_REVIEWS, SERVICEACCOUNTS, Kube, Resource

Json = dict[str, Any]

PLACES = 8
"""Changes under way at a time, of all Rollouts together; and looks."""
PAGE = 100
MOST_PAGES = 5
"""So many are read of what is found by labels: anybody may put them on anything, and what is not found ends by itself."""


class JobRequests:
    """Every method waits for a place, and raises what `canary.kube` does. `tenant`: for which Rollout (namespace, and any name for it)."""

    def __init__(self, kube: Kube, places: int = PLACES) -> None:
        self._kube = kube
        self._changes, self._looks = FairLimit(places), FairLimit(places)

    async def may(self, tenant: Tenant, group: str, resource: str, verb: str) -> bool:
        """Whether the controller has a right in the namespace."""
        wanted = {"namespace": tenant[0], "group": group, "resource": resource, "verb": verb}
        body = {
            "apiVersion": SELF_REVIEWS.api_version,
            "kind": SELF_REVIEWS.kind,
            "spec": {"resourceAttributes": wanted},
        }
        async with self._looks.held(tenant):
            answer = await self._kube.create(SELF_REVIEWS, body)
        return (answer.get("status") or {}).get("allowed") is True

    async def account(self, tenant: Tenant, name: str) -> Json:
        """A ServiceAccount."""
        async with self._looks.held(tenant):
            return await self._kube.get(SERVICEACCOUNTS, name, tenant[0])

    async def job(self, tenant: Tenant, name: str) -> Json:
        """A Job by its name."""
        async with self._looks.held(tenant):
            return await self._kube.get(JOBS, name, tenant[0])

    async def posting(self, tenant: Tenant, body: Json) -> asyncio.Task[Json]:
        """A Job's creation once it is under way: who gives up waiting for its turn has sent nothing, and the task goes on to its answer."""
        place = await self._changes.take(tenant)
        task = asyncio.create_task(self._kube.create(JOBS, body, tenant[0]), name="create a job")
        task.add_done_callback(lambda _: self._changes.give_back(place))
        return task

    async def delete(self, tenant: Tenant, name: str, uid: str) -> None:
        """Remove the very Job, and its pods. It may be gone already, and another one may have its name by now, which stays."""
        async with self._changes.held(tenant):
            try:
                await self._kube.delete(JOBS, name, tenant[0], propagation="Background", uid=uid)
            except (NotFound, Conflict):
                return

    async def owned(self, tenant: Tenant, uid: str, check: str | None) -> list[Json]:
        """Jobs that the Rollout owns and that have its label, of a check or of all; as far as `MOST_PAGES` of the label go."""
        selector = f"{OWNER}={uid}" + (f",{CHECK}={check}" if check else "")
        return [one async for page in self._pages(tenant, JOBS, selector) for one in page if owned(one, uid)]

    async def pods(self, tenant: Tenant, job: str) -> list[Json]:
        """Pods that say that they are of a Job, as far as `MOST_PAGES` go."""
        return [pod async for page in self._pages(tenant, PODS, f"job-name={job}") for pod in page]

    async def _pages(self, tenant: Tenant, resource: Resource, selector: str) -> AsyncIterator[list[Json]]:
        pages = self._kube.pages(resource, tenant[0], label_selector=selector, limit=PAGE)
        async with aclosing(pages):
            for number in range(MOST_PAGES):
                async with self._looks.held(tenant):
                    try:
                        page = await anext(pages)
                    except StopAsyncIteration:
                        return
                    except Gone:
                        if number:
                            return  # so much has changed meanwhile that there is no next page of this list
                        raise
                yield [one for one in page.get("items") or () if isinstance(one, dict)]
