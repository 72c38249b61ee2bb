"""Where the API server is and who we are: arguments, a service account, or a kubeconfig.

The heavy lifting of kubeconfigs (merging them, exec plugins, OIDC) is done by `kubernetes.aio.config`, which is imported for them alone;
this module chooses the source, names it in errors, and keeps credentials fresh.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from canary.errors import ConfigError, Unavailable
from canary.kube.access import AUTHORIZATION, Access, ServiceAccount
from canary.kube.unreached import address

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(slots=True)
class Connection:
    """Access to an API server, and what is known of who we are. `refresh()` fetches credentials anew, `renew()` those that are too old.

    Both raise Unavailable when there are none to be had.
    """

    configuration: Access
    namespace: str = "default"
    user: str = ""
    source: str = ""
    refresh: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
    renew: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)

    @property
    def server(self) -> str:
        return self.configuration.host

    async def authorization(self) -> str | None:
        """What a request carries as `Authorization`. Raises Unavailable."""
        if self.renew is not None:
            await self.renew()
        return self.configuration.api_key.get(AUTHORIZATION)


async def load(
    *,
    server: str | None = None,
    token: str | None = None,
    ca_file: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    service_account: Path = SERVICE_ACCOUNT,
    environ: Mapping[str, str] | None = None,
) -> Connection:
    """Find the API server. ConfigError says in one sentence what is missing.

    Order: `server` (nothing else is read then); an explicit `kubeconfig` or `context`; the service account of the pod
    we run in; $KUBECONFIG; ~/.kube/config. `token` and `ca_file` replace what the source says.
    """
    environ = os.environ if environ is None else environ
    if server and not (kubeconfig or context):
        connection = _direct(server)
    elif not (kubeconfig or context) and (service_account / "token").is_file():
        connection = _in_cluster(service_account, environ)
    else:
        connection = await _from_kubeconfig(kubeconfig, context, environ)
        if server:
            connection.configuration.host = server.rstrip("/")
    if ca_file:
        connection.configuration.ssl_ca_cert = _existing(ca_file)
    if token:
        connection.configuration.api_key[AUTHORIZATION] = f"Bearer {token}"
        connection.refresh = connection.renew = None
        connection.user = _subject(token)
    if not connection.server.startswith(("http://", "https://")):
        raise ConfigError(f"the server's address (by {connection.source}) is no http:// or https:// address")
    if "@" in urlsplit(connection.server).netloc:
        raise ConfigError(
            f"the address of the server {address(connection.server)} of {connection.source} carries a user or a password; "
            "leave that out, and name a token or a certificate as credentials"
        )
    return connection


def _direct(server: str) -> Connection:
    return Connection(Access(server.rstrip("/")), source="the given server")


def _in_cluster(folder: Path, environ: Mapping[str, str]) -> Connection:
    account = ServiceAccount(folder, environ)
    access = Access(account.host, ssl_ca_cert=account.authorities, api_key={AUTHORIZATION: f"Bearer {account.token()}"})

    async def read(*, now: bool) -> None:
        with _needed(OSError, ValueError):
            access.api_key[AUTHORIZATION] = f"Bearer {account.token(now=now)}"

    return Connection(
        access,
        namespace=account.namespace,
        user=_subject(account.token()),
        source="the service account",
        refresh=partial(read, now=True),  # a 401 must not wait for a minute to pass
        renew=partial(read, now=False),
    )


@contextmanager
def _needed(*errors: type[Exception]) -> Iterator[None]:
    """Credentials that cannot be had are an answer that does not come, which may be another one later."""
    try:
        yield
    except errors as error:
        raise Unavailable(f"no credentials: {error}", reason="NoCredentials") from error


async def _from_kubeconfig(kubeconfig: str | None, context: str | None, environ: Mapping[str, str]) -> Connection:
    import yaml
    from kubernetes.aio.config import ConfigException, load_kube_config
    from kubernetes.aio.config.kube_config import _is_expired

    paths = _kubeconfigs(kubeconfig, environ)
    configuration = Access()
    try:
        # Never written back: a controller or a CLI that edits its user's kubeconfig would be a surprise.
        loader = await load_kube_config(paths, context, configuration, persist_config=False)
        chosen = loader.current_context["context"]
    # The loader checks little: a file that is empty or of another shape surfaces as any of these.
    except (ConfigException, OSError, yaml.YAMLError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise ConfigError(_unusable(paths, context, error)) from error

    _require_exec_result(loader, configuration, paths)

    async def refresh() -> None:
        loader.__dict__.pop("exec_plugin_expiry", None)  # else the loader returns the credentials it already has
        with _needed(ConfigException):
            await loader.load_and_set(configuration)

    async def renew() -> None:
        if "exec_plugin_expiry" in loader.__dict__ and _is_expired(loader.exec_plugin_expiry):
            with _needed(ConfigException):
                await loader.load_and_set(configuration)

    return Connection(
        configuration,
        namespace=chosen.get("namespace") or "default",
        user=chosen.get("user") or "",
        source=f"the kubeconfig {paths}",
        refresh=refresh,
        renew=renew,
    )


def _kubeconfigs(given: str | None, environ: Mapping[str, str]) -> str:
    """One path or several (as $KUBECONFIG allows); at least one of them exists."""
    paths = given or environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if not any(Path(path).expanduser().is_file() for path in paths.split(os.pathsep) if path):
        hint = "" if given else "; set KUBECONFIG to the path of one, or give --kubeconfig where there is that option"
        raise ConfigError(f"there is no kubeconfig at {paths}{hint}")
    return paths


def _unusable(paths: str, context: str | None, error: Exception) -> str:
    """Why a kubeconfig cannot be used; if the context is what is wrong, which ones there are."""
    names, current = _contexts(paths)
    chosen = context or current
    there = f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"
    if context and names and context not in names:
        return f"the kubeconfig {paths} has no context {context}; {there}"
    if names and not context and not current:
        return f"the kubeconfig {paths} has no current context; choose one with --context: {there}"
    if names and chosen not in names:
        return f"the kubeconfig {paths} has no context {chosen}, which it calls the current one; {there}"
    where = f"the kubeconfig {paths}" + (f" (context {context})" if context else "")
    return f"{where} cannot be used: {error}"


def _contexts(paths: str) -> tuple[list[str], str]:
    """The names of the contexts, and of the current one, as far as the files can be read; the first to name one wins."""
    import yaml

    names: list[str] = []
    current = ""
    for path in filter(None, paths.split(os.pathsep)):
        try:
            document = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if not isinstance(document, dict):
            continue
        contexts = document.get("contexts")
        items = contexts if isinstance(contexts, list) else []
        names += [str(item["name"]) for item in items if isinstance(item, dict) and item.get("name")]
        current = current or str(document.get("current-context") or "")
    return list(dict.fromkeys(names)), current


def _existing(ca_file: str) -> str:
    if not Path(ca_file).is_file():
        raise ConfigError(f"the CA file {ca_file} does not exist")
    return ca_file


def _require_exec_result(loader: Any, configuration: Access, paths: str) -> None:
    """The loader only logs a failing exec plugin; going on without credentials would end in a puzzling 401."""
    user = getattr(loader, "_user", None)
    if user is None or "exec" not in user or configuration.api_key.get(AUTHORIZATION) or configuration.cert_file:
        return
    raise ConfigError(f"the credential plugin {user['exec']['command']!r} of {paths} gave no credentials")


def _subject(token: str) -> str:
    """The `sub` of a JWT, unverified: only for telling people who they are. Empty for opaque tokens."""
    parts = token.strip().split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return ""
    return str(claims.get("sub", "")) if isinstance(claims, dict) else ""
