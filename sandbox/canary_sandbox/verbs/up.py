from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canary.cli import options as o
from canary.cli.exits import CliError, ExitCode
from canary_sandbox.verbs import common as c

if TYPE_CHECKING:
    from canary_sandbox.instance.folder import Folder

Json = dict[str, Any]

HELP = o.guide(
    "Start a cluster of your own that stays up in the background: API server, gateway, Prometheus, the controller, and a "
    "shop to release. Resumes the one of before.",
    ("sandbox up", "start or resume it; says where everything is"),
    ("sandbox up --folder ./other --no-example", "another one, empty, with its state in ./other"),
    ("sandbox up -o json", "for a script: addresses and files"),
)


class Gateway(StrEnum):
    """Implementations of the Gateway API."""

    ENVOY = "envoy"
    TRAEFIK = "traefik"


@o.grouped()
def up(
    *,
    gateway: Annotated[
        Gateway | None,
        typer.Option(
            "--gateway",
            show_default=False,
            help="Which gateway serves HTTPRoutes; default: envoy, or the one of before.",
        ),
    ] = None,
    folder: c.Folder = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay here until Ctrl-C instead of going to the background.")
    ] = False,
    no_controller: Annotated[
        bool, typer.Option("--no-controller", help="Run no controller: bring your own, from a checkout say.")
    ] = False,
    no_example: Annotated[bool, typer.Option("--no-example", help="Leave the shop out: no team-shop.")] = False,
    output: c.Output = c.Format.TEXT,
    _: o.Local,
) -> None:
    instance = c.folder(folder)
    options = {
        "gateway": None if gateway is None else gateway.value,
        "controller": not no_controller,
        "example": not no_example,
    }
    if foreground:
        raise typer.Exit(_stay(instance, options, output))
    from canary_sandbox.instance.launch import start

    with c.talking():
        info, before = start(instance, options, _say)
    if gateway is not None and info["gateway"]["kind"] != gateway.value:
        raise CliError(
            f"the sandbox in {instance.path} is up with the gateway {info['gateway']['kind']}; "
            f"choose another --folder, or `canary sandbox down --delete{instance.flag}` first",
            ExitCode.REFUSED,
        )
    if output is c.Format.JSON:
        sys.stdout.write(json.dumps({**info, "before": before}, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(story(info, instance, before=before)) + "\n")


def _say(step: str) -> None:
    """Progress goes where it disturbs no program that reads the answer."""
    sys.stderr.write(f"… {step}\n")
    sys.stderr.flush()


def _stay(instance: Folder, options: Json, output: c.Format) -> int:
    """Be the supervisor ourselves."""
    import asyncio

    try:
        from canary_sandbox.instance.supervisor import Options, supervise
    except ImportError as error:
        raise CliError(
            f"the sandbox needs more packages ({error.name or error} is missing); install canary-sandbox again"
        ) from error

    from canary_sandbox.instance.launch import same_program

    os.environ.update(same_program())

    def ready(info: Json) -> None:
        if output is c.Format.JSON:
            sys.stdout.write(json.dumps({**info, "before": False}, indent=2) + "\n")
        else:
            sys.stdout.write("\n".join([*story(info, instance, before=False), "", "Ctrl-C ends it."]) + "\n")
        sys.stdout.flush()

    with instance.locked() as ours:
        if not ours:
            raise CliError(
                f"a sandbox is up in {instance.path} already; `canary sandbox status{instance.flag}` shows it"
            )
        failure = asyncio.run(supervise(instance, Options(**options), _say, ready))
    if failure:
        raise CliError(f"the sandbox has ended: {failure}")
    return ExitCode.OK


def story(info: Json, instance: Folder, *, before: bool) -> Iterator[str]:
    """Where everything is, and what to try next."""
    yield f"The sandbox is up{' already' if before else ''}. Its folder is {info['folder']}."
    yield ""
    yield f"  export KUBECONFIG={info['kubeconfig']}"
    yield ""
    yield from places(info)
    yield ""
    yield from next_steps(info, instance.flag)


def places(info: Json) -> Iterator[str]:
    """The addresses."""
    yield f"  API server  {info['apiServer']}"
    gateway = info["gateway"]
    if gateway["url"]:
        yield f"  gateway     curl -H 'Host: {gateway['host']}' {gateway['url']}/   ({gateway['kind']})"
    else:
        for name, url in gateway["listeners"].items():
            yield f"  gateway     {url}   ({gateway['kind']}, {name})"
        if not gateway["listeners"]:
            yield f"  gateway     {gateway['kind']}, class `sandbox`; each listener of a Gateway gets a port"
    yield f"  Prometheus  {info['prometheus'] or 'none; checks of `scrape` ask the pods themselves'}"
    controller = info["controller"]
    if controller:
        again = f", started again {controller['restarts']}x" if controller["restarts"] else ""
        yield f"  controller  {controller['metrics']}   (log: {controller['log']}{again})"
    else:
        yield "  controller  none"
    for text in info["troubles"]:
        yield f"  !           {text}"


def next_steps(info: Json, flag: str) -> Iterator[str]:
    """What to type."""
    rows: list[tuple[str, str]] = []
    if not info["controller"]:
        asks = f"--prometheus-url {info['prometheus']}" if info["prometheus"] else "--allow-hosts 127.0.0.0/8"
        command = f"canary controller run --kubeconfig {info['controllerKubeconfig']} {asks}"
        yield "Bring a controller:"
        yield f"  {command} --metrics-address 127.0.0.1:0"
        yield ""
    yield "Try, each in a terminal of its own with that KUBECONFIG:" if info["example"] else "Try:"
    if info["example"]:
        rows += [
            ("kubectl get rollouts -w", "watch; `canary watch shop` shows more"),
            (f"canary sandbox load{flag}", "users: 50 requests a second until Ctrl-C"),
            ("kubectl set env deployment/shop-canary VERSION=v2", "release v2; it goes through in a minute"),
            (f"canary sandbox fault --version v3 --errors 20%{flag}", "v3 will be bad"),
            ("kubectl set env deployment/shop-canary VERSION=v3", "release it; it comes back by itself"),
            ("canary status shop", "why"),
        ]
    else:
        rows += [("kubectl api-resources --categories canary", "what there is to declare")]
    rows.append((f"canary sandbox down{flag}", "the end; `canary sandbox up` resumes it"))
    width = max(len(command) for command, _ in rows)
    yield from (f"  {command.ljust(width)}  # {what}" for command, what in rows)
