"""A check with its template laid under it, arguments filled in: the one form that everything else works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

from pydantic import BaseModel

from canary.checks.judges import Judge, judge_of
from canary.checks.judges.sliding import Sliding
from canary.checks.judges.threshold import Bounds
from canary.checks.sources import Source, of_platform, source_of
from canary.checks.sources.job import Job
from canary.checks.sources.prometheus import Prometheus
from canary.errors import SpecError
from canary.model.checks import (
    CHECK_SOURCES,
    JUDGES,
    NO_LIMIT_WORDS,
    ONE_COUNT_WORDS,
    OVERRIDES,
    WARM_WORDS,
    Check,
    Settings,
    TemplateKind,
    TemplateRef,
)
from canary.model.rollout import digest
from canary.model.templates import CheckTemplateSpec

_DEFAULTS = Settings()


class Lost(NamedTuple):
    """Why a check cannot be resolved for now: a constant, and a sentence."""

    reason: str
    message: str


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
    sliding: Sliding | None = None
    """How many of the last measurements may fail; None: `settings.failure_limit` in a row."""
    lasts: timedelta | None = None
    """How long it takes at most to measure it, where that is a Job that runs at each step; None: it is asked."""
    definition: str = ""
    """Digest of what it asks and judges by, and of what it makes of no answer; empty where nobody can tell."""
    lost: Lost | None = None
    """Why nobody can tell now what it asks and by what it judges: it is not measured, and what it says is Unknown."""

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
    """The settings of a check: what it sets itself, then what lies under it.

    How many failures are too many is one question: whoever answers it in one way takes back what lies under it of the other.
    """
    own = {name: value for name in OVERRIDES if (value := getattr(check, name)) is not None}
    if "failures" in own or "failure_limit" in own:
        own = {"failures": None, "failure_limit": 0} | own
    return Settings.model_construct(**{name: own.get(name, getattr(under, name)) for name in OVERRIDES})


def is_of_platform(ref: TemplateRef | None) -> bool:
    """Whether what a template says was written by the platform team, and not in the namespace of the Rollout."""
    return ref is not None and ref.kind is TemplateKind.CLUSTER


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
    if is_of_platform(check.template):
        source = of_platform(source)
    args = {} if template is None else arguments(check.args or {}, template, field)
    settings = overlay(check, template or _DEFAULTS)
    compares = declared.compare is not None
    judges_itself = compares or declared.mirrored is not None
    if judges_itself and (settings.failure_limit or settings.failures):
        raise SpecError(f"{field}.{'failureLimit' if settings.failure_limit else 'failures'}", NO_LIMIT_WORDS)
    if declared.compare is not None and declared.compare.slower_than is not None and not settings.initial_delay.seconds:
        raise SpecError(f"{field}.initialDelay", WARM_WORDS)
    return ResolvedCheck(
        name=check.key,
        source=source,
        judge=judge_of(declared, args, field),
        args=args,
        settings=settings,
        per_backend=compares,
        sliding=_sliding(settings, field),
        lasts=timedelta(seconds=source.timeout) if isinstance(source, Job) else None,
        definition=_definition(declared, args, settings),
    )


def _definition(declared: Check | CheckTemplateSpec, args: Mapping[str, str | None], settings: Settings) -> str:
    """What decides what one measurement says; not how often it is taken, nor how many may fail."""
    asked = {name: getattr(declared, name, None) for name in (*CHECK_SOURCES, *JUDGES)}
    return digest(
        [
            {name: _plain(one) for name, one in asked.items() if one is not None},
            dict(args),
            [str(settings.window), settings.on_no_data, settings.on_error],
        ]
    )


def _plain(declared: object) -> object:
    """As a JSON document, of what was declared and nothing else: what a later version knows besides is no edit."""
    return declared.model_dump(mode="json", exclude_defaults=True) if isinstance(declared, BaseModel) else declared


def lost(check: Check, why: Lost, known: ResolvedCheck | None = None) -> ResolvedCheck:
    """A check that cannot be resolved for now: as it was while it could be (`known`), else by what it says itself."""
    if known is not None:
        return replace(known, lost=why)
    return ResolvedCheck(check.key, Prometheus(""), Bounds(), {}, overlay(check, _DEFAULTS), lost=why)


def _sliding(settings: Settings, field: str) -> Sliding | None:
    """Raises SpecError: failures that cannot be so many of so many, or are counted in a row as well."""
    if settings.failures is None:
        return None
    if settings.failure_limit:
        raise SpecError(f"{field}.failures", ONE_COUNT_WORDS)
    try:
        return Sliding.parse(settings.failures)
    except ValueError as error:
        raise SpecError(f"{field}.failures", str(error)) from error
