"""How an API server is reached, and what it is shown: an address, TLS, a token. No library of Kubernetes is imported here.

The one for kubeconfigs brings two hundred modules with it (clients of its own, OAuth, WebSockets), and a controller in a pod needs none
of them: a tenth of its start, and of its memory.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from canary.elapsed import elapsed
from canary.errors import ConfigError

AUTHORIZATION = "BearerToken"
"""What the value of the header `Authorization` is called in `api_key`."""

_AGE = 60.0
"""Seconds for which a token of a pod is taken to be the one that it was: the kubelet exchanges it long before its end."""


@dataclass(slots=True)
class Access:
    """An API server. The members are those that `kubernetes.aio.config` sets when it reads a kubeconfig."""

    host: str = "http://localhost"
    ssl_ca_cert: str | None = None
    """A file of authorities in PEM; None: those of the system."""
    cert_file: str | None = None
    key_file: str | None = None
    verify_ssl: bool = True
    tls_server_name: str | None = None
    proxy: str | None = None
    api_key: dict[str, str] = field(default_factory=dict, repr=False)

    def tls(self) -> ssl.SSLContext | bool:
        """How the server is believed, and what it is shown; True where there is no TLS. Raises OSError and ssl.SSLError."""
        if not self.host.startswith("https"):
            return True  # the authorities of a system are read for longer than anything else here takes
        context = ssl.create_default_context(cafile=self.ssl_ca_cert)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, keyfile=self.key_file)
        if not self.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class ServiceAccount:
    """What a pod is told of its API server, and its token, which is exchanged as long as the pod lives."""

    def __init__(self, folder: Path, environ: Mapping[str, str], clock: Callable[[], float] = elapsed) -> None:
        """`folder` is where the kubelet puts it. Raises ConfigError when something of it is missing."""
        self._folder, self._clock = folder, clock
        self._read_at = float("-inf")
        self._token = ""
        try:
            self.host = _told(environ)
            _text(folder / "ca.crt")
            self.token()
        except (OSError, ValueError) as error:
            raise ConfigError(f"the service account in {folder} cannot be used: {error}") from error
        self.authorities = str(folder / "ca.crt")

    def token(self, *, now: bool = False) -> str:
        """The token, read again if that is a minute ago, or `now`. Raises OSError and ValueError."""
        if now or self._clock() - self._read_at > _AGE:
            self._token, self._read_at = _text(self._folder / "token"), self._clock()
        return self._token

    @property
    def namespace(self) -> str:
        """Where the pod runs."""
        file = self._folder / "namespace"
        return file.read_text().strip() if file.is_file() else "default"


def _told(environ: Mapping[str, str]) -> str:
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ValueError("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT have to be set")
    return f"https://{f'[{host}]' if ':' in host or '%' in host else host}:{port}"


def _text(file: Path) -> str:
    text = file.read_text().strip()
    if not text:
        raise ValueError(f"{file} is empty")
    return text
