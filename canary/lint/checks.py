"""Checks and templates by content: arguments, queries, conditions, and a plan that can work at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from canary.checks.judges import Answers, Judge, arguments_of
from canary.checks.judges.threshold import Bounds
from canary.checks.queries import check_questions, gate_query, gates_of
from canary.checks.render import variables
from canary.checks.resolve import ResolvedCheck, resolve
from canary.checks.sources import Source, blamed, source_of
from canary.checks.traffic import TRAFFIC, resolve_traffic, traffic_queries
from canary.errors import RenderError, SpecError
from canary.lint import arguments, comparisons, mirrored
from canary.lint.findings import Finding, Path, Rule, Severity, path_of
from canary.lint.source import Document
from canary.lint.world import World
from canary.model.checks import Check, Settings, TemplateKind, TemplateRef
from canary.model.gates import HttpGate
from canary.model.rollout import RolloutSpec
from canary.model.templates import Argument, CheckTemplateSpec
from canary.rehearse.doubts import gate_doubts

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
    counts, compares = template.traffic is not None, template.compare is not None
    if counts:
        yield from _meaningless(document)
    else:
        try:
            judge = _tried(template, declared).judge
        except SpecError as error:
            yield document.finding(
                _WORST, Rule.TEMPLATE, path_of(error.field), error.message, "declare it in spec.args"
            )
        else:
            yield from _flaws(document, judge, ("spec",))
            yield from _no_value_is_good(document, judge if _has_all(template) else None, ("spec", "threshold"))
    source = source_of(template.traffic if counts else template)
    if source is None:
        return
    path: Path = ("spec", *(("traffic",) if counts else ()), *source.FIELD)
    try:
        used = {name.removeprefix("args.") for name in source.names() if name.startswith("args.")}
        stand_in = {name: _stand_in(argument) for name, argument in declared.items()}
        asked = source.rendered(_anybody(str(template.window), stand_in, per_backend=counts or compares))
    except RenderError as error:
        yield _render_finding(
            document, (*path[: -len(source.FIELD)], *path_of(blamed(source, error))), source.text, error
        )
        return
    for index, argument in enumerate(template.args):
        if argument.name not in used | arguments_of(template):
            words = f"neither the query nor the threshold uses the argument {argument.name!r}"
            yield document.finding(Severity.WARNING, Rule.TEMPLATE, ("spec", "args", index), words, "use or remove it")
    if compares:
        yield from comparisons.raw(document, ("spec",), source)
        yield from comparisons.of_applications(document, ("spec",), source)
    if counts or compares:
        yield from comparisons.tells_backends_apart(document, ("spec", "traffic") if counts else ("spec",), source)
    elif template.mirrored is None:
        yield from _names_the_canary(document, path, source, ())
    if all(declared[name].default is not None for name in used):
        # Without a value nobody can say whether the text around a tag is PromQL; a Rollout that gives one can.
        for field, question in asked.parts:
            yield Question(
                document, ("spec", *(("traffic",) if counts else ()), *field), question, template=document.subject
            )


def rollout_findings(document: Document, spec: RolloutSpec, world: World) -> Found:
    """The checks of a Rollout with the templates that `world` has, and its plan."""
    yield from _plan(document, spec)
    for index, check in enumerate(spec.checks):
        yield from _check(document, spec, check, index, world)
    yield from mirrored.unread(document, spec)
    for number, whom in gates_of(spec):
        yield from _gate(document, spec, whom, number)
    for number, step in enumerate(spec.steps):
        if step.approval is not None and step.approval.by is not None:
            words = "who approves is only known where the admission policy of the component approvals is installed"
            advice = "without it the Rollout is Invalid; see docs/gates.md"
            yield document.finding(Severity.NOTE, Rule.PLAN, ("spec", "steps", number, "approval", "by"), words, advice)
    for words in gate_doubts(spec):
        yield document.finding(Severity.WARNING, Rule.PLAN, ("spec", "deadline"), words)
    yield from _traffic(document, spec, world)


def _check(document: Document, spec: RolloutSpec, check: Check, index: int, world: World) -> Found:
    path: Path = ("spec", "checks", index)
    template = _template(document, world, check.template, path)
    if isinstance(template, Finding):
        yield template
        return
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
        yield from _no_value_is_good(document, resolved.judge, (*path, "threshold"))
    elif check.args or not _has_all(template):  # else it is the template's own, and said there
        yield from _no_value_is_good(document, resolved.judge, (*path, "args"))
        yield from arguments.units(document, path, check.args or {}, template, arguments_of(template))
    try:
        questions = check_questions(resolved, spec, document.namespace, document.name, weight=1)
    except RenderError as error:
        at = place if template is not None else (*path, *path_of(blamed(resolved.source, error)))
        yield _render_finding(document, at, resolved.source.text, error, own=template is None)
        return
    if isinstance(resolved.judge, Answers):
        yield from mirrored.check(document, spec, path)
    elif resolved.per_backend:
        yield from comparisons.alone(document, spec, resolved, path)
        if template is None:
            yield from comparisons.raw(document, path, resolved.source)
            yield from comparisons.of_applications(document, path, resolved.source)
    elif template is None:
        yield from _names_the_canary(document, place, resolved.source, (spec.canary.service,))
    for field, question in questions:
        at = place if template is not None else (*path, *field)
        yield Question(document, at, question, template=_origin(document, check.template))


def _gate(document: Document, spec: RolloutSpec, gate: HttpGate, index: int) -> Found:
    """Whether a gate could be asked."""
    path: Path = ("spec", "steps", index, "gate", "http")
    try:
        gate_query(gate, spec, document.namespace, document.name, weight=1)
    except RenderError as error:
        yield _render_finding(document, (*path, "url"), gate.url, error)
    declared = spec.steps[index].gate
    if declared is not None and declared.timeout is not None and declared.timeout.delta <= declared.pause:
        words = f"the gate is given {declared.timeout}, and asked every {declared.pause.total_seconds():g} s, so one no is too many"
        advice = "raise the timeout, or shorten the interval"
        yield document.finding(Severity.WARNING, Rule.PLAN, (*path[:-1], "timeout"), words, advice)


def _traffic(document: Document, spec: RolloutSpec, world: World) -> Found:
    if spec.traffic is None:
        return
    path: Path = path_of(TRAFFIC)
    template = _template(document, world, spec.traffic.template, path)
    if isinstance(template, Finding):
        yield template
        return
    try:
        counters = resolve_traffic(spec.traffic, template)
    except SpecError as error:
        yield document.finding(_WORST, Rule.TEMPLATE, path_of(error.field), error.message)
        return
    if template is not None:
        yield from arguments.units(document, path, spec.traffic.args or {}, template, frozenset())
    source = counters.check.source
    place = (*path, "template") if template is not None else (*path, *source.FIELD)
    try:
        asked = traffic_queries(counters, spec, document.namespace, document.name, weight=1)
    except RenderError as error:
        at = place if template is not None else (*path, *path_of(blamed(source, error)))
        yield _render_finding(document, at, source.text, error, own=template is None)
    else:
        yield Question(document, place, asked[0], template=_origin(document, spec.traffic.template))


def _template(
    document: Document, world: World, ref: TemplateRef | None, path: Path
) -> CheckTemplateSpec | Finding | None:
    """The template that is named at `path`, or why it is of no use; None: none is named."""
    if ref is None:
        return None
    content = world.get(ref.kind, document.namespace, ref.name)
    if content is None:
        return _no_template(document, world, ref.kind, ref.name, path)
    try:
        return CheckTemplateSpec.model_validate(content.get("spec"))
    except ValidationError:
        words = f"{ref.kind} {ref.name} is invalid, so {'this check' if 'checks' in path else 'traffic'} cannot work"
        return document.finding(_WORST, Rule.TEMPLATE, (*path, "template"), words, "correct the template")


def _origin(document: Document, ref: TemplateRef | None) -> str:
    """A template as `Document.subject` calls it; empty: none."""
    if ref is None:
        return ""
    return f"{ref.kind} {'' if ref.kind is TemplateKind.CLUSTER else f'{document.namespace}/'}{ref.name}"


def _meaningless(document: Document) -> Iterator[Finding]:
    """What a template of traffic says, and nobody reads."""
    declared = document.content.get("spec")
    for name, info in Settings.model_fields.items():
        field = info.alias or name
        if isinstance(declared, dict) and field in declared:
            words = f"{field} is a setting of checks, and means nothing in a template of traffic"
            advice = "set it under traffic" if field == "interval" else "remove it"
            yield document.finding(Severity.WARNING, Rule.TEMPLATE, ("spec", field), words, advice)


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


def _no_value_is_good(document: Document, judge: Judge | None, path: Path) -> Iterator[Finding]:
    """Bounds that nothing keeps: the controller takes them at their word, and each run fails."""
    if not isinstance(judge, Bounds) or judge.minimum is None or judge.maximum is None:
        return
    if judge.minimum > judge.maximum:
        words = f"no value is good: min is {float(judge.minimum):g}, above max, {float(judge.maximum):g}"
        yield document.finding(_WORST, Rule.CONDITION, path, words, "exchange them, or leave one of them out")


def _has_all(template: CheckTemplateSpec) -> bool:
    """Whether its threshold is known without a Rollout that gives arguments."""
    used = arguments_of(template)
    return all(argument.default is not None for argument in template.args if argument.name in used)


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


def _anybody(window: str, args: dict[str, str], *, per_backend: bool) -> dict[str, object]:
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
        backend=backend if per_backend else None,
    )
