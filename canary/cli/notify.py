"""`canary notify test`: has the controller send a test, and waits for what came of it.

The controller sends it, and not this program: what counts is whether it may read the Secret, and reaches the receiver from where it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from canary.cli import options as o

if TYPE_CHECKING:
    from canary.kube import Kube

HELP = "Look after who is told what happens to Rollouts."
TEST_HELP = o.guide(
    "Send a test to a NotificationTarget, by the controller, and say what came of it.",
    ("notify test oncall -n team-shop", "the NotificationTarget oncall"),
    ("notify test platform --cluster", "the ClusterNotificationTarget platform"),
)

Json = dict[str, Any]


@o.grouped()
def send_test(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the target.", show_default=False, callback=o.named)
    ],
    *,
    cluster: Annotated[bool, typer.Option("--cluster", help="It is a ClusterNotificationTarget.")] = False,
    timeout: o.Timeout = "60s",
    common: o.Common,
) -> None:
    from canary.cli.session import run

    raise typer.Exit(run(_test(name, common, o.seconds(timeout, "--timeout"), cluster=cluster)))


async def _test(name: str, common: o.Common, patience: float, *, cluster: bool) -> int:
    from canary.cli.exits import ExitCode
    from canary.cli.output import make_console, show, symbols_for
    from canary.cli.session import connected
    from canary.view.words import clean

    async with connected(common) as (kube, namespace):
        place = None if cluster else namespace
        id_ = await ask(kube, name, place)
        found = await answer(kube, name, place, id_, patience)
    from rich.text import Text

    delivered = found.get("outcome") == "Delivered"
    console = make_console(no_color=common.no_color, stderr=not delivered, wide=True)
    symbols = symbols_for(console)
    sign = (f"{symbols.done} ", "green") if delivered else (f"{symbols.failed} ", "red")
    words = "delivered" if delivered else "not delivered"
    where = name if place is None else f"{place}/{name}"
    show(console, Text.assemble(sign, f"notify {where}: {words}: {clean(str(found.get('message') or ''))}"))
    return ExitCode.OK if delivered else ExitCode.REFUSED


async def ask(kube: Kube, name: str, namespace: str | None) -> str:
    """Leave the annotation that asks for a test; returns its id. Raises CliError."""
    import uuid

    from canary.cli.exits import CliError, ExitCode
    from canary.errors import NotFound, NotServed
    from canary.model.notifications import TEST_ANNOTATION

    id_ = str(uuid.uuid4())
    resource = _resource(namespace)
    body = {"metadata": {"annotations": {TEST_ANNOTATION: id_}}}
    try:
        await kube.merge_patch(resource, name, namespace, body)
    except NotServed as error:
        words = "this cluster knows no targets of notifications; `kubectl apply -f crds/`"
        raise CliError(words, ExitCode.NOT_FOUND) from error
    except NotFound as error:
        where = f" in namespace {namespace}" if namespace else ""
        words = f"no {resource.kind} {name}{where}; `kubectl get {resource.plural}` shows all"
        raise CliError(words, ExitCode.NOT_FOUND) from error
    return id_


async def answer(kube: Kube, name: str, namespace: str | None, id_: str, patience: float) -> Json:
    """Wait for the outcome of a test. Raises CliError."""
    import asyncio
    from contextlib import aclosing

    from canary.cli.exits import CliError, ExitCode
    from canary.model.notifications import TEST_ANNOTATION

    resource = _resource(namespace)
    try:
        async with (
            asyncio.timeout(patience),
            aclosing(kube.list_and_watch(resource, namespace, name=name)) as events,
        ):
            async for event in events:
                last = ((event.object.get("status") or {}).get("lastTest") or {}) if event.object else {}
                if last.get("id") == id_:
                    return dict(last)
                if event.type == "DELETED":
                    raise CliError(f"{resource.kind} {name} was deleted before it was tested", ExitCode.NOT_FOUND)
    except TimeoutError:
        pass
    where = f" -n {namespace}" if namespace else ""
    raise CliError(
        f"nothing came of it within {patience:g} s; is the controller running, and may it watch {resource.plural}? The test is sent "
        f"once it does; take it back with `kubectl annotate {resource.plural} {name}{where} {TEST_ANNOTATION}-`",
        ExitCode.TIMEOUT,
    )


def _resource(namespace: str | None) -> Any:
    from canary.kube import CLUSTERNOTIFICATIONTARGETS, NOTIFICATIONTARGETS

    return CLUSTERNOTIFICATIONTARGETS if namespace is None else NOTIFICATIONTARGETS
