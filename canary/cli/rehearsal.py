"""What `plan` and `backtest` begin with: a Rollout with its templates, of files or of a cluster, and a Prometheus to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canary.cli import prometheus_options as shown
from canary.cli.exits import CliError, ExitCode

if TYPE_CHECKING:
    from canary.checks.resolve import ResolvedCheck
    from canary.kube import Kube
    from canary.metrics.credentials import Credentials
    from canary.model.checks import TemplateRef
    from canary.model.rollout import RolloutSpec
    from canary.model.templates import CheckTemplateSpec

Json = dict[str, Any]

RolloutName = Annotated[
    str | None,
    typer.Option(
        "--rollout", metavar="NAME", help="Which Rollout, where files have several of them.", show_default=False
    ),
]


CONTROLLER = "canary-system/canary-controller"
Controller = Annotated[
    str,
    typer.Option(
        "--controller",
        metavar="NAMESPACE/NAME",
        help="ServiceAccount of the controller; Secrets that a ClusterCheckTemplate names lie in its namespace.",
    ),
]

_OPTIONS = {
    "token_file": "--prometheus-bearer-token-file",
    "ca_file": "--prometheus-ca-file",
    "header_file": "--prometheus-header-file",
    "username_file": "--prometheus-username-file",
    "password_file": "--prometheus-password-file",
    "certificate_file": "--prometheus-client-certificate-file",
    "key_file": "--prometheus-client-key-file",
}


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Options of a verb that asks a Prometheus, as it is reached from here. They are those of the controller."""

    prometheus_url: Annotated[
        str | None,
        typer.Option(
            "--prometheus-url",
            envvar="CANARY_PROMETHEUS_URL",
            metavar="URL",
            show_default=False,
            help="Prometheus to ask, as it is reached from here; a check's own address is not asked.",
        ),
    ] = None
    prometheus_bearer_token_file: shown.BearerTokenFile = None
    prometheus_ca_file: shown.CaFile = None
    prometheus_header_file: shown.HeaderFile = None
    prometheus_username_file: shown.UsernameFile = None
    prometheus_password_file: shown.PasswordFile = None
    prometheus_client_certificate_file: shown.ClientCertificateFile = None
    prometheus_client_key_file: shown.ClientKeyFile = None
    secrets: Annotated[
        bool,
        typer.Option(
            "--secrets",
            help="Read the Secrets that checks name, by your rights, and show each to the address of its check, as the controller does.",
        ),
    ] = False
    controller: Controller = CONTROLLER

    def credentials(self) -> Credentials | None:
        """What it is shown; None: nothing. Raises ConfigError: a file cannot be used."""
        from canary.metrics.credentials import Credentials

        given = {
            "token_file": self.prometheus_bearer_token_file,
            "ca_file": self.prometheus_ca_file,
            "header_file": self.prometheus_header_file,
            "username_file": self.prometheus_username_file,
            "password_file": self.prometheus_password_file,
            "certificate_file": self.prometheus_client_certificate_file,
            "key_file": self.prometheus_client_key_file,
        }
        if not any(given.values()):
            return None
        return Credentials(**{name: file or None for name, file in given.items()}, settings=_OPTIONS)


@dataclass(frozen=True, slots=True)
class Subject:
    """A Rollout whose checks are resolved and have their alpha; `unknown` are those that cannot be, and why."""

    namespace: str
    name: str
    spec: RolloutSpec
    checks: tuple[ResolvedCheck, ...]
    unknown: Mapping[str, str] = field(default_factory=dict)


Templates = Callable[["TemplateRef"], "CheckTemplateSpec | str"]
"""The template that is named, or why there is none."""


def account(text: str) -> tuple[str, str]:
    """Namespace and name of the controller's ServiceAccount. Raises typer.BadParameter."""
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise typer.BadParameter(f"{text!r} is no NAMESPACE/NAME", param_hint="--controller")
    return namespace, name


def is_file(argument: str) -> bool:
    """Whether an argument is a file or folder, and not the name of a Rollout: by how it is written, as a shell's command is.

    What the working directory has decides nothing: `plan shop` means the same everywhere, and a folder is `shop/` or `./shop`.
    """
    return argument in {"-", ".", ".."} or "/" in argument or Path(argument).suffix in {".yaml", ".yml", ".json"}


def meant(argument: str) -> str:
    """A word for who got an error of the cluster for a name that the working directory has, too; else nothing."""
    if not Path(argument).exists():
        return ""
    return f"; there is also a {'folder' if Path(argument).is_dir() else 'file'} of that name: for that one write ./{argument}"


def of_files(arguments: Sequence[str], namespace: str, name: str | None) -> Subject:
    """The one Rollout of files and folders, with the templates that are in them.

    Raises CliError: there is none, or there are several, or it cannot be read.
    """
    from canary.cli.manifests import read_files
    from canary.lint import schema
    from canary.lint.checks import read_spec
    from canary.lint.findings import Finding, Severity
    from canary.lint.world import world_of

    documents, wrong, _ = read_files(arguments, namespace)
    broken = [finding for finding in wrong if finding.severity is Severity.ERROR]
    if broken:
        raise CliError(f"{broken[0].file}:{broken[0].line}: {broken[0].message}")
    rollouts = [one for one in documents if one.kind == "Rollout" and schema.is_ours(one)]
    mine = [one for one in rollouts if name in (None, one.name)]
    if len(mine) != 1:
        there = ", ".join(sorted(one.name for one in rollouts)) or "none"
        advice = f"; the files have {there}" if rollouts else "; name the file that has it"
        words = f"there is no Rollout {name}" if name else "there is no Rollout"
        if len(mine) > 1:
            words, advice = "there are several Rollouts", f": choose with --rollout one of {there}"
        raise CliError(f"{words}{' in what was given' if not mine else ''}{advice}", ExitCode.USAGE)
    document = mine[0]
    spec = read_spec(document)
    if isinstance(spec, Finding):
        raise CliError(f"{spec.file}:{spec.line}: {spec.field}: {spec.message}; `canary lint` says all of it")
    world = world_of((one.default_namespace, one.content) for one in documents)

    def template(ref: TemplateRef) -> CheckTemplateSpec | str:
        found = world.get(ref.kind, document.namespace, ref.name)
        return _template(ref, found, f"{ref.kind} {ref.name} is not in these files: give its file too")

    return subject(document.namespace, document.name, spec, template)


async def of_cluster(kube: Kube, namespace: str, name: str) -> Subject:
    """A Rollout of the cluster, and the templates that it names. Raises CliError, ApiError."""
    from pydantic import ValidationError

    from canary.cli.session import get_rollout
    from canary.errors import ApiError
    from canary.kube import CHECKTEMPLATES, CLUSTERCHECKTEMPLATES
    from canary.kube.retry import READ
    from canary.model.checks import TemplateKind
    from canary.model.rollout import RolloutSpec

    document = await get_rollout(kube, name, namespace)
    try:
        spec = RolloutSpec.model_validate(document.get("spec"))
    except ValidationError as error:
        raise CliError(f"the spec of {name} is beyond this version of the CLI: {error.errors()[0]['msg']}") from error
    found: dict[TemplateRef, CheckTemplateSpec | str] = {}
    for ref in {check.template for check in spec.checks if check.template is not None}:
        cluster_wide = ref.kind is TemplateKind.CLUSTER
        resource, place = (CLUSTERCHECKTEMPLATES, None) if cluster_wide else (CHECKTEMPLATES, namespace)
        try:
            content = await READ.call(lambda r=resource, n=ref.name, p=place: kube.get(r, n, p))  # type: ignore[misc]
            found[ref] = _template(ref, content, "")
        except ApiError as error:
            found[ref] = f"{ref.kind} {ref.name} cannot be read: {error}"
    return subject(namespace, name, spec, found.__getitem__)


def subject(namespace: str, name: str, spec: RolloutSpec, template: Templates) -> Subject:
    """The Rollout with its checks as they are measured and judged."""
    from canary.checks.comparable import with_alphas
    from canary.checks.resolve import resolve
    from canary.errors import SpecError

    checks, unknown = [], {}
    for index, check in enumerate(spec.checks):
        laid_under = None if check.template is None else template(check.template)
        if isinstance(laid_under, str):
            unknown[check.key] = laid_under
            continue
        try:
            checks.append(resolve(check, laid_under, f"spec.checks[{index}]"))
        except SpecError as error:
            unknown[check.key] = f"{error.field}: {error.message}"
    return Subject(namespace, name, spec, with_alphas(checks, spec, len(unknown)), unknown)


def _template(ref: TemplateRef, content: Json | None, missing: str) -> CheckTemplateSpec | str:
    from pydantic import ValidationError

    from canary.model.templates import CheckTemplateSpec

    if content is None:
        return missing
    try:
        return CheckTemplateSpec.model_validate(content.get("spec"))
    except ValidationError as error:
        return f"{ref.kind} {ref.name} is invalid: {error.errors()[0]['msg']}"


def spoken(seconds: float) -> str:
    """A length of time for people: `1h`, `2m30s`."""
    from datetime import timedelta

    from canary.view.words import span

    return span(timedelta(seconds=seconds))
