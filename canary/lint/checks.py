"""Checks and templates by content: arguments, queries, conditions, and a plan that can work at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from canary.checks.judges import Judge, arguments_of
from canary.checks.queries import TRAFFIC, check_query, traffic_check, traffic_queries
from canary.checks.render import variables
from canary.checks.resolve import ResolvedCheck, resolve
from canary.checks.sources import Source, source_of
from canary.errors import RenderError, SpecError
from canary.lint.findings import Finding, Path, Rule, Severity, path_of
from canary.lint.source import Document
from canary.lint.world import World
from canary.model.checks import Argument, Check, CheckTemplateSpec, TemplateKind
from canary.model.rollout import RolloutSpec

_WORST = Severity.ERROR


@dataclass(frozen=True, slots=True)
class Question:
    """A query as it would be asked, and the field it stands in. `template` names the template it comes from."""

    document: Document
    path: Path
    source: Source
    template: str = ""

    @property
    def text(self) -> str:
        return self.source.text


Found = Iterator[Finding | Question]


def template_findings(document: Document) -> Found:
    """A CheckTemplate or ClusterCheckTemplate on its own."""
    try:
        template = CheckTemplateSpec.model_validate(document.content.get("spec"))
    except ValidationError as error:
        yield _unread(document, error)
        return
    declared = {argument.name: argument for argument in template.args}
    try:
        judge = _tried(template, declared).judge
    except SpecError as error:
        yield document.finding(_WORST, Rule.TEMPLATE, path_of(error.field), error.message, "declare it in spec.args")
    else:
        yield from _flaws(document, judge, ("spec",))
    source = source_of(template)
    if source is None:
        return
    path: Path = ("spec", *source.FIELD)
    try:
        used = {name.removeprefix("args.") for name in source.names() if name.startswith("args.")}
        stand_in = {name: _stand_in(argument) for name, argument in declared.items()}
        asked = source.rendered(_anybody(str(template.window), stand_in))
    except RenderError as error:
        yield _render_finding(document, path, source.text, error)
        return
    for index, argument in enumerate(template.args):
        if argument.name not in used | arguments_of(template):
            words = f"neither the query nor the threshold uses the argument {argument.name!r}"
            yield document.finding(Severity.WARNING, Rule.TEMPLATE, ("spec", "args", index), words, "use or remove it")
    yield from _names_the_canary(document, path, source, ())
    if all(declared[name].default is not None for name in used):
        # Without a value nobody can say whether the text around a tag is PromQL; a Rollout that gives one can.
        yield Question(document, path, asked, template=document.subject)


def rollout_findings(document: Document, spec: RolloutSpec, world: World) -> Found:
    """The checks of a Rollout with the templates that `world` has, and its plan."""
    yield from _plan(document, spec)
    for index, check in enumerate(spec.checks):
        yield from _check(document, spec, check, index, world)
    counters = traffic_check(spec)
    if counters is not None:
        path: Path = (*TRAFFIC.split("."), *counters.source.FIELD)
        try:
            asked = traffic_queries(spec, document.namespace, document.name, weight=1)
        except RenderError as error:
            yield _render_finding(document, path, counters.source.text, error)
        else:
            yield Question(document, path, asked[0])


def _check(document: Document, spec: RolloutSpec, check: Check, index: int, world: World) -> Found:
    path: Path = ("spec", "checks", index)
    template: CheckTemplateSpec | None = None
    origin = ""
    if check.template is not None:
        kind, name = check.template.kind, check.template.name
        content = world.get(kind, document.namespace, name)
        if content is None:
            yield _no_template(document, world, kind, name, path)
            return
        try:
            template = CheckTemplateSpec.model_validate(content.get("spec"))
        except ValidationError:
            words = f"{kind} {name} is invalid, so this check cannot work"
            yield document.finding(_WORST, Rule.TEMPLATE, (*path, "template"), words, "correct the template")
            return
        where = "" if kind is TemplateKind.CLUSTER else f"{document.namespace}/"
        origin = f"{kind} {where}{name}"
    try:
        resolved = resolve(check, template, f"spec.checks[{index}]")
    except SpecError as error:
        yield document.finding(_WORST, Rule.TEMPLATE, path_of(error.field), error.message)
        return
    place = (*path, "template") if template is not None else (*path, *resolved.source.FIELD)
    if resolved.settings.interval.seconds < 1:
        words = f"the interval {resolved.settings.interval} is shorter than 1s, and at least 1s is waited"
        yield document.finding(Severity.WARNING, Rule.PLAN, (*path, "interval"), words)
    if template is None:
        yield from _flaws(document, resolved.judge, path)
    try:
        asked = check_query(resolved, spec, document.namespace, document.name, weight=1)
    except RenderError as error:
        yield _render_finding(document, place, resolved.source.text, error, own=template is None)
        return
    if template is None:
        yield from _names_the_canary(document, place, resolved.source, (spec.canary.service,))
    yield Question(document, place, asked, template=origin)


def _plan(document: Document, spec: RolloutSpec) -> Iterator[Finding]:
    if not spec.checks:
        words = "the Rollout has no checks, so its weight rises on time alone"
        yield document.finding(Severity.WARNING, Rule.PLAN, ("spec",), words, "add a check")
    holds = sum(step.hold.milliseconds for step in spec.steps if step.hold is not None)
    if spec.deadline is not None and holds >= spec.deadline.milliseconds:
        words = f"the holds of the steps take {holds / 1000:g} s, and after {spec.deadline} every run fails"
        yield document.finding(
            _WORST, Rule.PLAN, ("spec", "deadline"), words, "raise the deadline, or shorten the holds"
        )
    before = None
    for index, step in enumerate(spec.steps):
        if step.weight is None:
            continue
        if before is not None and step.weight.percent <= before.percent:
            words = f"the weight does not rise: {step.weight} after {before}"
            path: Path = ("spec", "steps", index, "weight")
            yield document.finding(Severity.WARNING, Rule.PLAN, path, words, "order the steps by weight")
        before = step.weight


def _no_template(document: Document, world: World, kind: TemplateKind, name: str, path: Path) -> Finding:
    absent = world.absent(kind, document.namespace, name)
    if absent is None:
        words = f"{kind} {name} is not in {world.place}, so its query and its arguments were not checked"
        return document.finding(
            Severity.NOTE, Rule.TEMPLATE, (*path, "template"), words, "give its file too, or look with --live"
        )
    message, advice = absent
    severity = _WORST if world.complete else Severity.WARNING
    return document.finding(severity, Rule.TEMPLATE, (*path, "template", "name"), message, advice)


def _flaws(document: Document, judge: Judge, path: Path) -> Iterator[Finding]:
    for flaw in judge.flaws():
        words = " ".join(flaw.message.split())
        yield document.finding(_WORST, Rule.CONDITION, (*path, flaw.field), words, flaw.advice)


def _tried(template: CheckTemplateSpec, declared: dict[str, Argument]) -> ResolvedCheck:
    """The template with the defaults of its arguments. Raises SpecError: a judge names one that cannot be what it needs."""
    given = {name: argument.default or "1" for name, argument in declared.items()}
    check = Check.model_validate({"template": {"name": "x"}, "args": given})
    return resolve(check, template, "spec")


def _names_the_canary(document: Document, path: Path, source: Source, literals: tuple[str, ...]) -> Iterator[Finding]:
    """A query that says nothing about the canary measures the same whatever the canary does."""
    used = source.names()
    if any(name.startswith(("canary.", "args.")) or name == "rollout" for name in used):
        return
    if not any(literal in source.text for literal in literals):
        words = "the query names nothing of the canary, so it measures the same whatever the canary does"
        yield document.finding(Severity.WARNING, Rule.QUERY, path, words, "select by {{ canary.service }}")


def _render_finding(document: Document, path: Path, query: str, error: RenderError, *, own: bool = True) -> Finding:
    at = query.find(error.variable) if error.variable else -1
    inside = query.count("\n", 0, at) + 1 if own and at >= 0 else 0
    return document.finding(_WORST, Rule.QUERY, path, str(error), inside=inside)


def _unread(document: Document, error: ValidationError) -> Finding:
    first = error.errors()[0]
    words = str(first["msg"]).removeprefix("Value error, ")
    return document.finding(_WORST, Rule.SCHEMA, ("spec", *first["loc"]), words)


def read_spec(document: Document) -> RolloutSpec | Finding:
    """The spec as the controller reads it, or why it cannot."""
    try:
        return RolloutSpec.model_validate(document.content.get("spec"))
    except ValidationError as error:
        return _unread(document, error)


def _stand_in(argument: Argument) -> str:
    return argument.default if argument.default is not None else "1"


def _anybody(window: str, args: dict[str, str]) -> dict[str, object]:
    backend = {"service": "service", "namespace": "namespace", "port": 80}
    return variables(
        stable=backend,
        canary=backend,
        namespace="namespace",
        rollout="rollout",
        route="route",
        window=window,
        weight=1,
        args=args,
    )
