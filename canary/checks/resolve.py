"""A check with its template laid under it, arguments filled in: the one form that everything else works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from canary.checks.judges import Judge, judge_of
from canary.checks.sources import Source, source_of
from canary.errors import SpecError
from canary.model.checks import NO_LIMIT_WORDS, OVERRIDES, Check, Settings, TemplateRef
from canary.model.templates import CheckTemplateSpec

_DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class ResolvedCheck:
    """A check with nothing left to look up.

    `source` is still a template: {{ weight }} and friends are filled in when it is asked. `args` are all that are declared
    (None: nobody gave a value). `settings` say how it is measured and counted; what they say of judges is in `judge`.
    """

    name: str
    source: Source
    judge: Judge
    args: Mapping[str, str | None]
    settings: Settings
    per_backend: bool = False
    """Whether the source is asked once for each backend, of which it knows then: {{ backend.service }}."""

    @property
    def limit(self) -> str:
        """The limit in words, for a human."""
        return self.judge.limit


def arguments(given: Mapping[str, str], template: CheckTemplateSpec, field: str) -> dict[str, str | None]:
    """Every argument that the template declares, with its value; None where nobody gave one and none is required.

    Raises:
        SpecError: one is missing or unknown; `field` is the path of what has `args`.

    """
    declared = {argument.name: argument for argument in template.args}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        known = ", ".join(sorted(declared)) or "none"
        raise SpecError(f"{field}.args.{unknown[0]}", f"the template takes no such argument; it takes: {known}")
    values: dict[str, str | None] = {}
    for name, argument in declared.items():
        values[name] = given.get(name, argument.default)
        if values[name] is None and argument.required:
            raise SpecError(f"{field}.args.{name}", f"the template needs this argument; add `{name}: …` to args")
    return values


def overlay(check: Check, under: Settings) -> Settings:
    """The settings of a check: what it sets itself, then what lies under it."""
    own = {name: value for name in OVERRIDES if (value := getattr(check, name)) is not None}
    return Settings.model_construct(**{name: own.get(name, getattr(under, name)) for name in OVERRIDES})


def _label(ref: TemplateRef | None) -> str:
    return f"{ref.kind} {ref.name}" if ref is not None else "the template"


def resolve(check: Check, template: CheckTemplateSpec | None, field: str) -> ResolvedCheck:
    """Merge a check with its template (None for an inline check) into the form that is measured and judged.

    Raises:
        SpecError: the template holds no check, or an argument is missing, unknown or no number; `field` prefixes the path
            it names.

    """
    if template is not None and template.traffic is not None:
        raise SpecError(
            f"{field}.template", f"{_label(check.template)} holds traffic, and no check; name it in spec.traffic"
        )
    declared: Check | CheckTemplateSpec = check if template is None else template
    source = source_of(declared)
    if source is None:
        raise SpecError(field, "the check has neither a query nor a template that exists")
    args = {} if template is None else arguments(check.args or {}, template, field)
    settings = overlay(check, template or _DEFAULTS)
    compares = declared.compare is not None
    if (compares or declared.mirrored is not None) and settings.failure_limit:
        raise SpecError(f"{field}.failureLimit", NO_LIMIT_WORDS)
    return ResolvedCheck(
        name=check.key,
        source=source,
        judge=judge_of(declared, args, field),
        args=args,
        settings=settings,
        per_backend=compares,
    )
