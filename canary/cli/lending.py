"""Secrets that checks name, read by the rights of who sits at the terminal, and shown where the controller would show them.

Nothing of what is in one is printed: what cannot be shown is told in the words of `canary.metrics.secrets`, which give away nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from canary.checks.resolve import ResolvedCheck
from canary.cli.rehearsal import Prometheus, Subject, account
from canary.errors import Forbidden
from canary.kube import Kube
from canary.kube.secrets import read_secret
from canary.metrics.address import normalise
from canary.metrics.credentials import Shown
from canary.metrics.secrets import HOSTS, Content, Secrets, Unshown

if TYPE_CHECKING:
    from canary.cli.options import Common


@dataclass(frozen=True, slots=True)
class Lent:
    """Whom a check asks, and what is shown there. It stays as it was read: a verb is over soon."""

    address: str
    shown: Shown

    def show(self) -> Shown:
        return self.shown


async def content(kube: Kube, name: str, namespace: str) -> Content:
    """What the API server has of a Secret. Raises ApiError."""
    kind, annotations, data = await read_secret(kube, name, namespace)
    return Content(kind, annotations.get(HOSTS, ""), data)


async def lend(
    common: Common, options: Prometheus, subject: Subject, checks: Sequence[ResolvedCheck]
) -> tuple[dict[str, Lent], dict[str, str]]:
    """What each check that names a Secret is asked with, by name; and why not, where it cannot be. Raises CliError, ConfigError."""
    from canary.cli.session import connected

    own, _ = account(options.controller)
    named = [check for check in checks if check.source.auth is not None and check.source.LANGUAGE == "PromQL"]
    if not named:
        return {}, {}
    async with connected(common) as (kube, _):
        return await _lend(kube, own, options.prometheus_url, subject, named)


async def _lend(
    kube: Kube, own: str, default: str | None, subject: Subject, checks: Sequence[ResolvedCheck]
) -> tuple[dict[str, Lent], dict[str, str]]:
    async def read(name: str, namespace: str) -> Content:
        try:
            return await content(kube, name, namespace)
        except Forbidden as error:
            words = f"you may not read Secret {name} in namespace {namespace}, which it is asked with"
            raise Unshown("SecretForbidden", words) from error

    secrets = Secrets(read, own)
    lent: dict[str, Lent] = {}
    unknown: dict[str, str] = {}
    for check in checks:
        try:
            address = normalise(getattr(check.source, "address", None) or default or "")
            lent[check.name] = Lent(address, await _shown(secrets, check, subject, address))
        except (Unshown, ValueError) as why:
            unknown[check.name] = str(why)
    return lent, unknown


async def _shown(secrets: Secrets, check: ResolvedCheck, subject: Subject, address: str) -> Shown:
    declared = check.source.auth
    if declared is None:
        raise ValueError("it names no Secret")
    names: Mapping[str, str] = {"namespace": subject.namespace}
    return await secrets.shown(declared.rendered(names), address, (subject.namespace, subject.name))
