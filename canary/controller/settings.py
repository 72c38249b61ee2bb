"""Settings of the controller; `canary controller run --help` documents each."""

from __future__ import annotations

from dataclasses import dataclass

from canary.notify.services import DEFAULT


@dataclass(frozen=True, slots=True)
class Settings:
    """How one controller process is set up.

    `namespaces` empty: all of them. `lease`: namespace and name of the Lease by which several controllers take turns. `overruled`:
    variables that are set and do not count, in words.
    """

    prometheus_url: str | None = None
    allow_hosts: tuple[str, ...] = ()
    prometheus_bearer_token_file: str | None = None
    prometheus_username_file: str | None = None
    prometheus_password_file: str | None = None
    prometheus_ca_file: str | None = None
    prometheus_header_file: str | None = None
    prometheus_client_certificate_file: str | None = None
    prometheus_client_key_file: str | None = None
    notify_services: tuple[str, ...] = DEFAULT
    namespaces: tuple[str, ...] = ()
    log_level: str = "INFO"
    log_format: str = "text"
    metrics_address: str = "0.0.0.0:8080"
    lease: tuple[str, str] | None = None
    gateway_features: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    overruled: tuple[str, ...] = ()
