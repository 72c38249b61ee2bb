"""What a Prometheus is shown, as options of every verb that asks one: the controller's, and those that ask in its place."""

from __future__ import annotations

from typing import Annotated

import typer


def _file(name: str, help_: str) -> typer.models.OptionInfo:
    """An option that names a file, and its variable."""
    variable = f"CANARY_PROMETHEUS_{name.upper().replace('-', '_')}_FILE"
    found: typer.models.OptionInfo = typer.Option(
        f"--prometheus-{name}-file", envvar=variable, metavar="FILE", show_default=False, help=help_
    )
    return found


BearerTokenFile = Annotated[
    str | None,
    _file(
        "bearer-token",
        "File with a bearer token for the address of --prometheus-url. It is sent there only; like the ones below it is "
        "read again when it changes.",
    ),
]
CaFile = Annotated[
    str | None,
    _file("ca", "PEM certificates of the authorities that sign its certificate, instead of the public ones."),
]
HeaderFile = Annotated[
    str | None, _file("header", "File with lines `NAME: VALUE`, headers to send to it: a tenant, say.")
]
UsernameFile = Annotated[
    str | None, _file("username", "File with a user name for it, for basic authentication instead of a token.")
]
PasswordFile = Annotated[str | None, _file("password", "File with the password that belongs to the user name.")]
ClientCertificateFile = Annotated[
    str | None, _file("client-certificate", "PEM certificate, with its chain, that it is shown.")
]
ClientKeyFile = Annotated[str | None, _file("client-key", "PEM key of that certificate, without a password.")]
