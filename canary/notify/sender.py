"""Sends to a target in the way that it declares."""

from __future__ import annotations

from typing import Protocol

from canary.later import Later
from canary.model.notifications import AppriseTarget, HttpTarget
from canary.notify.notice import Notice
from canary.notify.outcome import Outcome, Undelivered
from canary.notify.targets import Target


class SendsHttp(Protocol):
    """By HTTP."""

    async def send(self, target: Target, http: HttpTarget, notice: Notice, /) -> Outcome: ...


class SendsApprise(Protocol):
    """By apprise."""

    async def send(self, target: Target, declared: AppriseTarget, notice: Notice, /) -> Outcome: ...

    async def close(self) -> None: ...


class AnySender:
    """By HTTP or by apprise."""

    def __init__(self, http: Later[SendsHttp], apprise: SendsApprise) -> None:
        self._http, self._apprise = http, apprise

    async def send(self, target: Target, notice: Notice) -> Outcome:
        """One attempt. Raises nothing of what can go wrong on the way."""
        spec = target.spec
        if spec is not None and spec.http is not None:
            return await (await self._http.get()).send(target, spec.http, notice)
        if spec is not None and spec.apprise is not None:
            return await self._apprise.send(target, spec.apprise, notice)
        return Undelivered("InvalidSpec", target.problem or "it declares no way to be told")

    async def close(self) -> None:
        """Let go of what is open."""
        await self._apprise.close()
