from __future__ import annotations

import sys
from collections.abc import Awaitable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from canary.cli import options as o
from canary.cli import rehearsal

if TYPE_CHECKING:
    from canary.kube import Kube
    from canary.lint.findings import Finding
    from canary.lint.report import Report
    from canary.lint.run import Linted
    from canary.lint.source import Document
    from canary.lint.world import World

HELP = o.guide(
    "Check manifests: schema, rules, queries, and what they name; with --routes the health of any route, with no Rollout "
    "at all.\n\nEnds with 0 clean, 1 problems found, 2 usage; of a cluster also with 6 not allowed to look, 7 not reached.",
    ("lint deploy/", "every YAML and JSON file of a folder"),
    ("lint rollout.yaml route.yaml services.yaml", "a Rollout next to what it names"),
    ("lint --live -n team-shop rollout.yaml", "also against the cluster: the controller's preflight"),
    ("lint --fail-on warning -o github deploy/", "annotations in a pull request; warnings fail too"),
    ("lint -o junit --output lint.xml deploy/", "a report for CI"),
    ("lint - < manifests.yaml", "what another program prints"),
    ("lint --routes -n team-shop", "every route of a namespace, as its gateways see it"),
    ("lint --routes -A -o junit --output routes.xml", "every route of the cluster, a test case each"),
    ("lint --routes --live deploy/", "routes of files, by what stands around them in the cluster"),
)


class LintFormat(StrEnum):
    """Formats of what lint finds."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    JUNIT = "junit"
    SARIF = "sarif"


class FailOn(StrEnum):
    """The least that makes lint fail."""

    ERROR = "error"
    WARNING = "warning"


@o.grouped()
def lint(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Files and folders; - reads standard input. --routes can do without.",
            show_default=False,
        ),
    ] = None,
    *,
    routes: Annotated[
        bool,
        typer.Option(
            "--routes", help="Look at routes of all kinds, and at nothing else; without FILE at those of the cluster."
        ),
    ] = False,
    all_namespaces: o.AllNamespaces = False,
    live: Annotated[bool, typer.Option("--live", help="Also look at the cluster of the context.")] = False,
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="The least that ends with 1.")] = FailOn.ERROR,
    strict: Annotated[bool, typer.Option("--strict", help="The same as --fail-on warning.")] = False,
    fmt: Annotated[
        LintFormat,
        typer.Option(
            "-o", "--format", help="text for people; json, junit, github (annotations) or sarif for programs."
        ),
    ] = LintFormat.TEXT,
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="FILE", help="Write there and not to standard output.", show_default=False),
    ] = None,
    controller: rehearsal.Controller = rehearsal.CONTROLLER,
    common: o.Common,
) -> None:
    from canary.cli.session import run

    if output in set(LintFormat):
        raise typer.BadParameter(f"names a file; for the format write -o {output}", param_hint="--output")
    if not files and not routes:
        raise typer.BadParameter("there is none; only --routes can do without", param_hint="FILE...")
    if all_namespaces and (files or not routes):
        raise typer.BadParameter("goes with --routes and without FILE", param_hint="-A")
    strict = strict or fail_on is FailOn.WARNING
    if routes:
        looked = _routes(common, files or [], everywhere=all_namespaces, live=live, strict=strict)
    else:
        looked = _lint(common, files or [], live=live, strict=strict, controller=rehearsal.account(controller))
    raise typer.Exit(run(_reported(looked, fmt, output, common)))


async def _reported(looked: Awaitable[Report], fmt: LintFormat, output: str | None, common: o.Common) -> int:
    from canary.cli.exits import ExitCode
    from canary.lint.route_rules import Reason

    report = await looked
    _write(report, fmt, output, common)
    failing = {finding.reason for finding in report.findings if report.fails(finding)}
    if failing == {Reason.MAY_NOT_READ}:
        return ExitCode.FORBIDDEN
    return ExitCode.ERROR if failing else ExitCode.OK


async def _routes(common: o.Common, arguments: Sequence[str], *, everywhere: bool, live: bool, strict: bool) -> Report:
    """Routes of files, of files against a cluster, or of a cluster."""
    from canary.cli.lint_routes import Cluster
    from canary.cli.manifests import read_files
    from canary.cli.session import connected
    from canary.lint.report import Report
    from canary.lint.route_files import lint_routes
    from canary.lint.run import in_order

    if arguments and not live:
        documents, found, count = read_files(arguments, common.namespace or "default")
        return _of_files(lint_routes(documents), found, count, strict=strict, nothing="route")
    async with connected(common) as (kube, namespace):
        cluster = Cluster(kube, everywhere=everywhere)
        if arguments:
            documents, found, count = read_files(arguments, namespace)
            linted = await cluster.files(documents)
            return _of_files(linted, [*found, *cluster.findings], count, strict=strict, nothing="route")
        await cluster.routes(None if everywhere else namespace)
    where = "the cluster" if everywhere else f"namespace {namespace}"
    objects = tuple(("", 0, name) for name in cluster.objects)
    return Report(in_order(cluster.findings), objects, files=0, strict=strict, where=where)


async def _lint(
    common: o.Common, arguments: Sequence[str], *, live: bool, strict: bool, controller: tuple[str, str]
) -> Report:
    """Rollouts and templates of files, with a cluster or without."""
    if live:
        documents, found, count, linted = await _with_cluster(common, arguments, controller)
    else:
        from canary.cli.manifests import read_files
        from canary.lint.run import lint as look

        documents, found, count = read_files(arguments, common.namespace or "default")
        linted = look(documents)
    ours = "Rollout, template of checks or target of notifications"
    return _of_files(linted, [*found, *_promql(linted)], count, strict=strict, nothing=ours)


def _of_files(linted: Linted, found: Sequence[Finding], count: int, *, strict: bool, nothing: str) -> Report:
    """All of it, with a word about files that have nothing to look at."""
    from canary.lint.findings import Finding, Rule, Severity
    from canary.lint.report import Report
    from canary.lint.run import in_order

    if not linted.looked_at and not found:
        words, advice = f"there is no {nothing} in what was given", "name the files or folders that hold them"
        found = [Finding(Severity.WARNING, Rule.YAML, words, advice=advice)]
    objects = tuple((document.file, document.position(())[0], document.subject) for document in linted.looked_at)
    return Report(in_order([*found, *linted.findings]), objects, files=count, strict=strict)


async def _with_cluster(
    common: o.Common, arguments: Sequence[str], controller: tuple[str, str]
) -> tuple[list[Document], list[Finding], int, Linted]:
    from datetime import UTC, datetime

    from canary.cli.manifests import read_files
    from canary.cli.preflight import read_cluster
    from canary.cli.session import connected
    from canary.lint.run import lint as look

    async with connected(common) as (kube, namespace):
        documents, found, count = read_files(arguments, namespace)
        cluster = await read_cluster(kube, documents)
        found += await _secrets(kube, documents, cluster, controller)
    return documents, found, count, look(documents, cluster, datetime.now(UTC))


async def _secrets(
    kube: Kube, documents: Sequence[Document], cluster: World, controller: tuple[str, str]
) -> list[Finding]:
    """What is wrong with the Secrets that are named. Those of the files are about to be applied, and are not looked for."""
    from canary.cli.health import Level
    from canary.cli.named_secrets import Named, objections, of_rollout, of_target, of_template
    from canary.lint.findings import Finding, Rule, Severity
    from canary.lint.world import world_of
    from canary.model.checks import TemplateRef

    files = world_of((one.default_namespace, one.content) for one in documents)
    named: list[tuple[Named, Document]] = []
    for document in documents:
        place, subject = document.namespace, document.subject

        def template(ref: TemplateRef, place: str = place) -> dict[str, Any] | None:
            # What a template of these files names is told at the template.
            there = files.get(ref.kind, place, ref.name) is not None
            return None if there else cluster.get(ref.kind, place, ref.name)

        if document.kind == "Rollout":
            named += [(one, document) for one in of_rollout(subject, place, document.spec, template)]
        own = "" if document.kind.startswith("Cluster") else place
        if document.kind in ("NotificationTarget", "ClusterNotificationTarget"):
            named += [(one, document) for one in of_target(subject, own, document.spec)]
        elif document.kind in ("CheckTemplate", "ClusterCheckTemplate"):
            named += [(one, document) for one in of_template(subject, own, document.spec)]
    given = {(one.namespace, one.name) for one in documents if one.kind == "Secret"}
    named = [(one, of) for one, of in named if (one.namespace or controller[0], one.name) not in given]
    of = dict(named)
    found = []
    for said in await objections(kube, [one for one, _ in named], controller):
        severity = Severity.ERROR if said.level is Level.BROKEN else Severity.NOTE
        if said.named is None:
            found.append(Finding(severity, Rule.LIVE, said.words))
        else:
            found.append(of[said.named].finding(severity, Rule.LIVE, said.named.path, said.words))
    return found


def _promql(linted: Linted) -> list[Finding]:
    """Queries that are no PromQL, by the word of promtool; or a note that nobody has looked."""
    import os

    from canary.cli import promtool
    from canary.lint.findings import Finding, Rule, Severity

    questions = linted.questions
    if not questions:
        return []
    binary = promtool.find(os.environ)
    if binary is None:
        count = f"{len(questions)} {'query was' if len(questions) == 1 else 'queries were'}"
        advice = "put promtool, which comes with Prometheus, on PATH, or name it in CANARY_PROMTOOL"
        return [
            Finding(Severity.NOTE, Rule.PROMQL, f"{count} not parsed as PromQL: no promtool was used", advice=advice)
        ]
    wrong = promtool.parse(binary, [question.text for question in questions])
    # A template's mistake is told once, at the template, and not at every Rollout that uses it.
    told = {questions[index].template for index in wrong if questions[index].document.kind != "Rollout"}
    findings = []
    for index, (line, words) in wrong.items():
        question = questions[index]
        if question.document.kind == "Rollout" and question.template in told and question.template:
            continue
        findings.append(
            question.document.finding(
                Severity.ERROR,
                Rule.PROMQL,
                question.path,
                f"not PromQL: {words}",
                f"asked would be: {' '.join(question.text.split())}",
                inside=line,
            )
        )
    return findings


def _write(report: Report, fmt: LintFormat, output: str | None, common: o.Common) -> None:
    from canary.cli.exits import CliError, ExitCode
    from canary.lint import report as reports
    from canary.lint.sarif import sarif

    if fmt is LintFormat.TEXT and output is None:
        _show(report, common)
        return
    written = {
        LintFormat.TEXT: reports.text,
        LintFormat.JSON: reports.as_json,
        LintFormat.GITHUB: reports.github,
        LintFormat.JUNIT: reports.junit,
        LintFormat.SARIF: sarif,
    }[fmt](report)
    if output is None:
        sys.stdout.write(written)
        return
    try:
        Path(output).write_text(written, encoding="utf-8")
    except OSError as error:
        raise CliError(f"cannot write {output}: {error.strerror or error}", ExitCode.USAGE) from error
    sys.stderr.write(f"{report.summary}; written to {output}\n")


def _show(report: Report, common: o.Common) -> None:
    from rich.text import Text

    from canary.cli.output import make_console, show
    from canary.lint import report as reports
    from canary.view.words import clean

    console = make_console(no_color=common.no_color)
    styles = {" error: ": "red", " warning: ": "yellow", " note: ": "dim"}
    for line in reports.text(report).splitlines():
        text = Text(f"    {clean(line)}" if line.startswith("    ") else clean(line))
        for words, style in styles.items():
            start = f" {line}".find(words)
            if start >= 0:
                text.stylize(style, start, start + len(words) - 2)
                break
        show(console, text, width=10_000)
