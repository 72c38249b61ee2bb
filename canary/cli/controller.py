from __future__ import annotations

import os
import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

import typer

from canary.cli import options as o
from canary.cli import prometheus_options as shown

HELP = "Run the controller."
RUN_HELP = o.guide(
    "Run the controller in the foreground. Every option can be set by its environment variable.",
    ("controller run --prometheus-url http://prometheus.monitoring:9090", "of the current context, all namespaces"),
    ("controller run --namespaces team-shop,team-pay --log-format json", "of two namespaces only"),
    ("controller run --lease canary-system/canary-controller", "one of several that take turns"),
)


class LogLevel(StrEnum):
    """How much is told."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """For people, or for programs."""

    TEXT = "text"
    JSON = "json"


@o.grouped()
def run(
    ctx: typer.Context,
    *,
    prometheus_url: Annotated[
        str | None,
        typer.Option(
            "--prometheus-url",
            envvar="CANARY_PROMETHEUS_URL",
            metavar="URL",
            show_default=False,
            help="Prometheus for the checks that name no address of their own.",
        ),
    ] = None,
    allow_hosts: Annotated[
        str,
        typer.Option(
            "--allow-hosts",
            "--prometheus-hosts",
            envvar=["CANARY_ALLOW_HOSTS", "CANARY_PROMETHEUS_HOSTS"],
            metavar="HOST,...",
            show_default=False,
            help="Where checks and notifications may send requests, besides --prometheus-url: hosts (with a port, or any), suffixes "
            "(.example.com), networks (10.0.0.0/8). None by default, because whoever may write a Rollout could else make "
            "the controller call any address. Loopback, link-local and metadata addresses only where they are listed themselves.",
        ),
    ] = "",
    prometheus_bearer_token_file: shown.BearerTokenFile = None,
    prometheus_ca_file: shown.CaFile = None,
    prometheus_header_file: shown.HeaderFile = None,
    prometheus_username_file: shown.UsernameFile = None,
    prometheus_password_file: shown.PasswordFile = None,
    prometheus_client_certificate_file: shown.ClientCertificateFile = None,
    prometheus_client_key_file: shown.ClientKeyFile = None,
    notify_services: Annotated[
        str,
        typer.Option(
            "--notify-services",
            envvar="CANARY_NOTIFY_SERVICES",
            metavar="SERVICE,...",
            help="What targets of notifications may use by URLs of apprise. To hosts that a URL names itself (mailto, webhook) only as "
            "--allow-hosts says; the others have their own. `none`: nothing.",
        ),
    ] = "slack,msteams,discord,mailto,webhook",
    namespaces: Annotated[
        str,
        typer.Option(
            "--namespaces",
            "-n",
            envvar="CANARY_NAMESPACES",
            metavar="NAMESPACE,...",
            show_default=False,
            help="Namespaces to watch, with commas between them. Default: all.",
        ),
    ] = "",
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", envvar="CANARY_LOG_LEVEL", case_sensitive=False, help="How much to log.")
    ] = LogLevel.INFO,
    log_format: Annotated[
        LogFormat,
        typer.Option("--log-format", envvar="CANARY_LOG_FORMAT", case_sensitive=False, help="For people or programs."),
    ] = LogFormat.TEXT,
    metrics_address: Annotated[
        str,
        typer.Option(
            "--metrics-address",
            envvar="CANARY_METRICS_ADDRESS",
            metavar="HOST:PORT",
            help="Where /metrics, /healthz and /readyz are served.",
        ),
    ] = "0.0.0.0:8080",
    lease: Annotated[
        str,
        typer.Option(
            "--lease",
            envvar="CANARY_LEASE",
            metavar="NAMESPACE/NAME",
            show_default=False,
            help="Take turns with other controllers by this Lease: one works, the others stand by with everything "
            "listed. Without it, run one controller only.",
        ),
    ] = "",
    gateway_features: Annotated[
        str | None,
        typer.Option(
            "--gateway-features",
            envvar="CANARY_GATEWAY_FEATURES",
            metavar="FILE",
            show_default=False,
            help="YAML of what gateways can that do not publish it, and how long they settle, by GatewayClass and mesh; read "
            "once, at start.",
        ),
    ] = None,
    cluster: o.Cluster,
) -> None:
    url = _url(prometheus_url)
    address = _address(metrics_address)
    before = getattr(ctx.obj, "namespace", None) or ""
    chosen = _namespaces(namespaces) or _namespaces(before)

    from canary.controller import garbage

    garbage.spare()  # of all that is imported now, none is garbage

    from canary.controller.run import run as run_controller
    from canary.controller.settings import Settings

    run_controller(
        Settings(
            prometheus_url=url,
            allow_hosts=_words(allow_hosts),
            prometheus_bearer_token_file=prometheus_bearer_token_file or None,
            prometheus_username_file=prometheus_username_file or None,
            prometheus_password_file=prometheus_password_file or None,
            prometheus_ca_file=prometheus_ca_file or None,
            prometheus_header_file=prometheus_header_file or None,
            prometheus_client_certificate_file=prometheus_client_certificate_file or None,
            prometheus_client_key_file=prometheus_client_key_file or None,
            notify_services=tuple(service for service in _words(notify_services) if service != "none"),
            namespaces=chosen,
            log_level=log_level.value.upper(),
            log_format=log_format.value,
            metrics_address=address,
            lease=_lease(lease),
            gateway_features=gateway_features or None,
            kubeconfig=cluster.kubeconfig or os.environ.get("KUBECONFIG") or None,
            context=cluster.context,
            overruled=o.overruled(ctx),
        )
    )


def _lease(text: str) -> tuple[str, str] | None:
    if not text:
        return None
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise typer.BadParameter(
            f"{text!r} names no Lease; write for example canary-system/canary-controller", param_hint="--lease"
        )
    return namespace, name


def _namespaces(text: str) -> tuple[str, ...]:
    """Names that namespaces can have, whether there are such or not yet."""
    from canary.model.jsonschema import LABEL_NAME, LONGEST_LABEL

    names, example = _words(text), "write for example team-shop,team-pay"
    if text.strip() and not names:
        raise typer.BadParameter(f"{text!r} names no namespace; {example}", param_hint="--namespaces")
    for name in names:
        if len(name) > LONGEST_LABEL or not re.fullmatch(LABEL_NAME, name):
            raise typer.BadParameter(
                f"{name!r} can name no namespace: a name is made of a-z, 0-9 and -, begins and ends with none of the last, and "
                f"has {LONGEST_LABEL} characters at most; {example}",
                param_hint="--namespaces",
            )
    return names


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text.replace(",", " ").split()))


def _url(text: str | None) -> str | None:
    if not text:
        return None
    if urlsplit(text).scheme not in {"http", "https"} or not urlsplit(text).hostname:
        raise typer.BadParameter(
            "that is no address; write for example http://prometheus.monitoring:9090",
            param_hint="--prometheus-url",
        )
    return text.rstrip("/")


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65535:
        raise typer.BadParameter(
            f"{text!r} is no address to listen at; write for example 0.0.0.0:8080", param_hint="--metrics-address"
        )
    return f"{host or '0.0.0.0'}:{port}"
