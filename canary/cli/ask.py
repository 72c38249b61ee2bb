"""Asks the controller for something: leaves a request on the Rollout and waits for what came of it."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from canary.cli.exits import CliError, ExitCode
from canary.cli.options import program
from canary.cli.session import get_rollout, missing
from canary.errors import ApiError, Conflict, NotFound, NotServed
from canary.kube import ROLLOUTS, Kube
from canary.kube.who import Who, ourselves
from canary.model.requests import APPROVING, AS_ANNOTATION, REQUEST_ANNOTATION, Request, Verb, claim, parse_request
from canary.model.status import RequestStatus, RolloutStatus
from canary.model.times import format_time, parse_time
from canary.view.words import clean, span

Json = dict[str, Any]

OLD = timedelta(minutes=1)
"""A controller that runs answers within seconds: an older request is one that nobody is going to miss."""
CONFLICTS = 8
"""How often the Rollout may be written by others between our read and our write; its status is written all the time."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to be made. `timeout` in seconds; `replace` overwrites a request that waits for its answer.

    `ignore_unknown`: of a promote-full, go on although checks are Unknown.
    """

    verb: Verb
    name: str
    namespace: str
    reason: str = ""
    timeout: float = 30.0
    replace: bool = False
    ignore_unknown: bool = False


def os_user() -> str:
    """The user of the operating system, for a kubeconfig that does not name one."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


async def whoami(kube: Kube) -> Who:
    """Who we are to the API server; nobody where it does not say."""
    try:
        return await ourselves(kube)
    except ApiError:
        return Who()


def _groups_of_approvers(document: Json) -> set[str] | None:
    """The groups that may approve some step; None: no step asks for somebody in particular."""
    found: list[Json] = []
    for step in (document.get("spec") or {}).get("steps") or ():
        approval = step.get("approval") if isinstance(step, dict) else None
        if isinstance(approval, dict) and isinstance(approval.get("by"), dict):
            found.append(approval["by"])
    return {str(group) for by in found for group in by.get("groups") or ()} if found else None


def _run_under_way(document: Json) -> int:
    """Its number; 0: none is."""
    status = RolloutStatus.load(document.get("status"))
    return status.run.number if status.active and status.run is not None else 0


async def leave(kube: Kube, ask: Ask) -> Request:
    """Write the request, guarded by resourceVersion so that none is overwritten. Raises CliError if one is pending."""
    request = Request(
        verb=ask.verb.value,
        id=str(uuid.uuid4()),
        by=kube.user or os_user(),
        reason=ask.reason,
        ignore_unknown=ask.ignore_unknown,
    )
    who: Who | None = None
    for attempt in range(1, CONFLICTS + 1):
        document = await get_rollout(kube, ask.name, ask.namespace)
        now = datetime.now(UTC)
        _object_to_pending(document, ask, now)
        named = _groups_of_approvers(document) if ask.verb in APPROVING else None
        if named is not None and who is None:
            who = await whoami(kube)
        if attempt == 1 and ask.verb in APPROVING:
            request = replace(request, run=_run_under_way(document))
        value = _value(request, now)
        annotations = {REQUEST_ANNOTATION: value}
        if named is not None and who is not None and who.user:
            annotations[AS_ANNOTATION] = claim(who.user, sorted(named & who.groups), value)
        body = {"metadata": {"resourceVersion": document["metadata"]["resourceVersion"], "annotations": annotations}}
        try:
            await kube.merge_patch(ROLLOUTS, ask.name, ask.namespace, body)
        except Conflict:
            if attempt == CONFLICTS:
                raise
        except (NotFound, NotServed) as error:
            raise await missing(kube, ask.name, ask.namespace) from error
        else:
            return request
    raise AssertionError("unreachable: the last conflict is raised")


async def answer(kube: Kube, ask: Ask, request: Request) -> RequestStatus:
    """Wait for the answer to `request`. Raises CliError on time-out, replacement or deletion."""
    last: list[Json] = []
    try:
        async with (
            asyncio.timeout(ask.timeout),
            aclosing(kube.list_and_watch(ROLLOUTS, ask.namespace, name=ask.name)) as events,
        ):
            async for event in events:
                if event.type in {"ADDED", "MODIFIED"}:
                    last[:] = [event.object]
                    answered = _answer(event.object, request)
                    if answered is not None:
                        return answered
                    _object_to_replaced(event.object, request)
                elif event.type == "DELETED" or not last:
                    raise CliError(
                        f"the Rollout {ask.name} was deleted before the controller answered", ExitCode.NOT_FOUND
                    )
    except TimeoutError:
        pass
    raise CliError(_silence(ask, last[0] if last else {}, request), ExitCode.TIMEOUT)


def _value(request: Request, now: datetime) -> str:
    """The annotation: what the controller reads, and when it was written, for the next person who asks."""
    return json.dumps({**json.loads(request.dump()), "at": format_time(now)})


def _answer(document: Json, request: Request) -> RequestStatus | None:
    last = RolloutStatus.load(document.get("status")).last_request
    return last if last is not None and last.id == request.id else None


def _raw(document: Json) -> str | None:
    value = ((document.get("metadata") or {}).get("annotations") or {}).get(REQUEST_ANNOTATION)
    return value if isinstance(value, str) else None


def _object_to_pending(document: Json, ask: Ask, now: datetime) -> None:
    pending = parse_request(_raw(document))
    if pending is None or ask.replace:
        return
    last = (document.get("status") or {}).get("lastRequest") or {}
    if pending.id and pending.id == last.get("id"):
        return  # answered; the controller takes the annotation away next, and only if it is still that one
    if ask.verb is Verb.ABORT and pending.verb != Verb.ABORT:
        return  # the safe direction never queues behind another wish
    written = written_at(document)
    if written is not None and now - written > OLD:
        return
    who = f" by {clean(pending.by)}" if pending.by else ""
    when = f" {span(now - written)} ago" if written is not None else ""
    raise CliError(
        f"another request ({clean(pending.verb)}{who}{when}) still waits for the controller's answer; try again in a "
        "moment, or use --replace",
        ExitCode.REFUSED,
    )


def written_at(document: Json) -> datetime | None:
    """When the pending request was written: as it says itself, else as the API server recorded it."""
    try:
        stated = json.loads(_raw(document) or "").get("at")
        return parse_time(stated)
    except (ValueError, AttributeError):
        pass
    field = f"f:{REQUEST_ANNOTATION}"
    for entry in (document.get("metadata") or {}).get("managedFields") or ():
        owned = (((entry.get("fieldsV1") or {}).get("f:metadata")) or {}).get("f:annotations") or {}
        if field in owned:
            try:
                return parse_time(entry.get("time"))
            except ValueError:
                return None
    return None


def _object_to_replaced(document: Json, request: Request) -> None:
    now_there = parse_request(_raw(document))
    if now_there is not None and now_there.id != request.id:
        who = f" by {clean(now_there.by)}" if now_there.by else ""
        raise CliError(
            f"somebody replaced the request with another ({clean(now_there.verb)}{who}) before the controller answered",
            ExitCode.REFUSED,
        )


def _silence(ask: Ask, document: Json, request: Request) -> str:
    waited = f"{ask.timeout:g} s"
    there = parse_request(_raw(document))
    if document and there is None:
        return (
            f"the request was taken off the Rollout, but no answer to it was seen within {waited}; "
            f"look at `{program()} status {ask.name} -n {ask.namespace}`"
        )
    return (
        f"the controller did not answer within {waited}; is it running, and does it watch namespace {ask.namespace}? "
        f"The request ({request.verb}) stays and will be done once it does; take it back with "
        f"`kubectl annotate rollouts.canary.dev {ask.name} -n {ask.namespace} {REQUEST_ANNOTATION}-`"
    )
