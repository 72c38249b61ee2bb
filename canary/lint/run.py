"""All of lint in order: the objects first, then each with its neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from canary.lint import checks, live, neighbours, schema, targets
from canary.lint.checks import Question
from canary.lint.extras import extras, policies
from canary.lint.findings import Finding, Rule, Severity
from canary.lint.source import Document
from canary.lint.world import World, key, known_kind, world_of
from canary.model.rollout import API_VERSION, RolloutSpec


@dataclass(frozen=True, slots=True)
class Linted:
    """`looked_at` are our objects; `questions` are the queries whose PromQL somebody else may parse."""

    findings: tuple[Finding, ...]
    questions: tuple[Question, ...]
    looked_at: tuple[Document, ...]


def lint(documents: Sequence[Document], cluster: World | None = None, now: datetime | None = None) -> Linted:
    """Look at every object. `cluster` is what a cluster has (`--live`), as of `now`."""
    files = world_of((document.default_namespace, document.content) for document in documents)
    ours = [document for document in documents if schema.is_ours(document)]
    found: list[Finding | Question] = [*_strangers(documents), *doubles(documents)]
    broken: set[int] = set()
    for document in ours:
        problems = schema.check(document)
        found += problems
        if any(problem.severity is Severity.ERROR for problem in problems):
            broken.add(id(document))
    world = files if cluster is None else files.over(cluster)
    rollouts: dict[Document, RolloutSpec] = {}
    for document in ours:
        if id(document) in broken:
            continue
        if document.kind in targets.KINDS:
            found += targets.target_findings(document)
            continue
        if document.kind != "Rollout":
            found += checks.template_findings(document)
            continue
        spec = checks.read_spec(document)
        if isinstance(spec, Finding):
            found.append(spec)
            continue
        rollouts[document] = spec
        found += checks.rollout_findings(document, spec, world)
        found += neighbours.routes(document, spec, files)
        found += neighbours.named_rules(document, spec, files)
        found += extras(document, spec, world)
        if cluster is None:
            found += neighbours.backends(document, spec, files)
            found += policies(document, spec, files)
        elif now is not None:
            found += live.findings(document, spec, cluster, files, now)
    found += neighbours.rivals(rollouts, files)
    findings = dict.fromkeys(item for item in found if isinstance(item, Finding))
    questions = tuple(item for item in found if isinstance(item, Question) and item.source.LANGUAGE == "PromQL")
    return Linted(in_order(findings), questions, tuple(ours))


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By file and place."""
    return tuple(sorted(findings, key=lambda finding: (finding.file, finding.line, finding.column)))


def _strangers(documents: Sequence[Document]) -> list[Finding]:
    """Objects that look like ours under a name of the API that is not."""
    found = []
    for document in documents:
        if document.kind in schema.KINDS and not schema.is_ours(document) and document.group != "argoproj.io":
            words = (
                f"a {document.kind} of {document.api_version or 'no apiVersion'} is none of canary's, and is ignored"
            )
            advice = f"write apiVersion: {API_VERSION}"
            found.append(document.finding(Severity.WARNING, Rule.SCHEMA, ("apiVersion",), words, advice))
    return found


def doubles(documents: Sequence[Document]) -> list[Finding]:
    """Objects that are given twice, told at the later one."""
    seen: dict[tuple[str, str, str], Document] = {}
    found = []
    for document in documents:
        if not document.name or not known_kind(document.api_version, document.kind):
            continue
        identity = key(document.kind, document.namespace, document.name)
        first = seen.setdefault(identity, document)
        if first is not document:
            line, _ = first.position(())
            words = f"{document.subject} is given twice, first in {first.file}:{line}"
            advice = "only the last one applied would count: remove one"
            severity = Severity.ERROR if schema.is_ours(document) else Severity.WARNING
            found.append(document.finding(severity, Rule.YAML, ("metadata", "name"), words, advice))
    return found
