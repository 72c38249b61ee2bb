"""Arguments of templates as a Rollout gives them: text, of which only the template says what it measures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from canary.lint.findings import Finding, Path, Rule, Severity
from canary.lint.source import Document
from canary.model.templates import CheckTemplateSpec
from canary.model.values import Limit


def units(
    document: Document, path: Path, given: Mapping[str, str], template: CheckTemplateSpec, limits: frozenset[str]
) -> Iterator[Finding]:
    """Numbers that measure something else than the defaults of the template do. The controller takes them at their word.

    `path`: of what has `args`; `limits`: the arguments that count as limits.
    """
    for argument in template.args:
        text = given.get(argument.name)
        usual, said = _limit(argument.default), _limit(text)
        if usual is None or said is None or not said.number or usual.measures in {"", said.measures}:
            continue
        of = f"the default of the template is {usual.text}"
        if said.unit:
            words = f"{said.text} is a {said.measures}, and {of}, a {usual.measures}"
        elif argument.name in limits:
            words = f"{said.text} has no unit, so it counts as {_as(said, usual)}; {of}"
        else:
            words = f"{said.text} has no unit, and {of}"
        yield document.finding(
            Severity.WARNING, Rule.TEMPLATE, (*path, "args", argument.name), words, _advice(said, usual)
        )


def _limit(text: str | None) -> Limit | None:
    try:
        return Limit.parse(text)
    except ValueError:
        return None


def _as(said: Limit, usual: Limit) -> str:
    """What a number without a unit is as a limit."""
    if usual.unit == "%" and said.number is not None:
        return f"{float(said.number * 100):g}%"
    return f"{said.text}s"


def _advice(said: Limit, usual: Limit) -> str:
    if said.unit:
        return f"write it as the default is, with {usual.unit}"
    meant = dict.fromkeys((f"{said.text}{usual.unit}", _as(said, usual)))
    return f"say the unit: {' or '.join(meant)}"
